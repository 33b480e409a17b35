"""Refinement: the most likely pose among the peaks."""

from __future__ import annotations

import pytest

import vl4pose
from bench import competitors
from bench.cases import AROUND_BASE, BASE, ONE_PEAK, Case, runs
from bench.measure import Measure
from vl4pose import reference

RELEASED = "scikit-image + recursion"
QUICK = ["vl4pose", "OpenCV + numpy", "torch eager", RELEASED]
RUNS = [
    *runs([BASE], [*QUICK, "torch.compile"], quick=QUICK),
    *runs([ONE_PEAK], QUICK),
    *runs(AROUND_BASE, [name for name in QUICK if name != RELEASED]),
]


@pytest.mark.parametrize(("case", "name"), RUNS)
def test_refine(measure: Measure, case: Case, name: str) -> None:
    options = case.peak_options
    refine = competitors.released_refine if name == RELEASED else competitors.refine

    def pose(refined):
        return refined.keypoints, refined.log_prob

    measure(
        "refine",
        case,
        name,
        [case.heatmaps, case.params],
        ours=lambda h, p: pose(vl4pose.refine(h, p, **options, num_threads=measure.num_threads)),
        reference=lambda h, p: pose(reference.refine(h, p, skeleton=case.skeleton, **options)),
        theirs=lambda find, h, p: refine(*find(h, *options.values()), p, case.links),
    )
