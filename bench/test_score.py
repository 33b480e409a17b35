"""The fused pass: a score from heatmaps, by all four methods."""

from __future__ import annotations

import pytest

import vl4pose
from bench import competitors
from bench.cases import AROUND_BASE, BASE, ONE_PEAK, Case, runs
from bench.measure import Measure
from vl4pose import reference

QUICK = ["vl4pose", "OpenCV + numpy", "torch.compile"]
SOME = ["vl4pose", "OpenCV + numpy", "torch eager"]
FULL = [*SOME, "scipy + numpy", "torch.compile"]
RELEASED = "scikit-image + recursion"
DECODERS = ["numpy", "torch"]  # no score, but what people pay for a plain decode already
SQUARE = ["torch eager, square window", "torch.compile, square window"]
EXPECTED_RUNS = [
    *runs([BASE, ONE_PEAK], [*FULL, *SQUARE, *DECODERS], quick=[*QUICK, *DECODERS]),
    *(
        run
        for case in AROUND_BASE
        for run in runs(
            [case],
            [
                *(["vl4pose on numpy"] if case.batch == 1 else []),
                "vl4pose",
                "OpenCV + numpy",
                "torch.compile",
                *DECODERS,
            ],
        )
    ),
]


@pytest.mark.parametrize(("case", "name"), EXPECTED_RUNS)
def test_expected(measure: Measure, case: Case, name: str) -> None:
    if name in DECODERS:
        decode_alone(measure, case, name)
    else:
        score(measure, case, name, "expected")


def decode_alone(measure: Measure, case: Case, name: str) -> None:
    measure(
        "score, expected",
        case,
        name,
        [case.heatmaps],
        ours=lambda h: vl4pose.decode(h, num_threads=measure.num_threads),
        reference=reference.decode,
        theirs=lambda _, h: competitors.decode(h),
        label=f"{name}: argmax decode alone",
    )


@pytest.mark.parametrize(("case", "name"), runs([BASE, ONE_PEAK], [*FULL, RELEASED]))
def test_max(measure: Measure, case: Case, name: str) -> None:
    score(measure, case, name, "max")


@pytest.mark.parametrize(("case", "name"), runs([BASE, ONE_PEAK], SOME, quick=SOME))
def test_marginal(measure: Measure, case: Case, name: str) -> None:
    score(measure, case, name, "marginal")


@pytest.mark.parametrize(
    ("case", "name"), runs([BASE, ONE_PEAK], [*SOME, RELEASED], quick=["vl4pose", RELEASED])
)
def test_sum(measure: Measure, case: Case, name: str) -> None:
    score(measure, case, name, "sum")


def score(measure: Measure, case: Case, name: str, method: str) -> None:
    options = case.peak_options

    def theirs(find, h, p):
        peaks = find(h, *options.values())
        if name != RELEASED:
            return competitors.score(*peaks, p, case.links, method)
        if method == "sum":
            return competitors.released_score(*peaks, p, case.links)
        return competitors.released_refine(*peaks, p, case.links)[1]

    measure(
        f"score, {method}",
        case,
        name,
        [case.heatmaps, case.params],
        ours=lambda h, p: vl4pose.score(
            h, p, method=method, **options, num_threads=measure.num_threads
        ),
        reference=lambda h, p: reference.score(
            h, p, method=method, skeleton=case.skeleton, **options
        ),
        theirs=theirs,
    )
