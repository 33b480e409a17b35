"""Everything at once: score, terms, entropies, posterior, decode, refined pose."""

from __future__ import annotations

import pytest

import vl4pose
from bench import competitors
from bench.cases import AROUND_BASE, BASE, ONE_PEAK, Case, runs
from bench.measure import Measure
from vl4pose import reference

QUICK = ["vl4pose", "OpenCV + numpy", "torch eager"]
RUNS = [
    *runs([BASE], [*QUICK, "torch.compile"], quick=QUICK),
    *runs([ONE_PEAK, *AROUND_BASE], QUICK),
]


@pytest.mark.parametrize(("case", "name"), RUNS)
def test_analyze(measure: Measure, case: Case, name: str) -> None:
    options = case.peak_options

    def parts(analysis):
        refined = analysis.refined
        return (*analysis[:6], refined.keypoints, refined.log_prob)

    measure(
        "analyze",
        case,
        name,
        [case.heatmaps, case.params],
        ours=lambda h, p: parts(vl4pose.analyze(h, p, **options, num_threads=measure.num_threads)),
        reference=lambda h, p: parts(reference.analyze(h, p, skeleton=case.skeleton, **options)),
        theirs=lambda find, h, p: competitors.analyze(*find(h, *options.values()), p, case.links),
    )
