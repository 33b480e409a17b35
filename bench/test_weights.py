"""Weights of peaks, and the entropy they give."""

from __future__ import annotations

import pytest

import vl4pose
from bench import competitors
from bench.cases import AROUND_BASE, BASE, Case, runs
from bench.measure import Measure
from vl4pose import reference

QUICK = ["vl4pose", "scikit-image", "OpenCV + numpy", "torch eager"]
ALL = [*QUICK, "scipy + numpy", "torch.compile"]
SOFTMAX = ["vl4pose", "scipy", "torch"]


@pytest.mark.parametrize(
    ("case", "name"),
    [*runs([BASE], SOFTMAX, quick=SOFTMAX), *runs(AROUND_BASE, SOFTMAX)],
)
def test_peak_weights(measure: Measure, case: Case, name: str) -> None:
    _, values = competitors.opencv_peaks(case.heatmaps, case.min_distance, case.num_peaks)
    measure(
        "peak_weights",
        case,
        name,
        [values],
        ours=vl4pose.peak_weights,
        reference=reference.peak_weights,
        theirs=lambda _, v: competitors.softmax_weights(v),
    )


@pytest.mark.parametrize(
    ("case", "name"), [*runs([BASE], ALL, quick=QUICK), *runs(AROUND_BASE, QUICK)]
)
def test_multi_peak_entropy(measure: Measure, case: Case, name: str) -> None:
    options = case.peak_options
    measure(
        "multi_peak_entropy",
        case,
        name,
        [case.heatmaps],
        ours=lambda h: vl4pose.multi_peak_entropy(h, **options, num_threads=measure.num_threads),
        reference=lambda h: reference.multi_peak_entropy(h, **options),
        theirs=lambda find, h: competitors.multi_peak_entropy(find(h, *options.values())[1]),
    )
