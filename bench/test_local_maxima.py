"""Peaks: the exact definition (ours, scikit-image) and window maxima that pass for it."""

from __future__ import annotations

import pytest

import vl4pose
from bench.cases import AROUND_BASE, BASE, ONE_PEAK, Case, runs
from bench.measure import Measure
from vl4pose import reference

QUICK = ["vl4pose", "scikit-image", "OpenCV + numpy", "torch eager"]
ALL = [*QUICK, "scipy + numpy", "torch eager, square window", "torch.compile"]
RUNS = [
    *runs([BASE], ALL, quick=QUICK),
    *runs([ONE_PEAK], ALL),
    *runs(AROUND_BASE, QUICK),
]


@pytest.mark.parametrize(("case", "name"), RUNS)
def test_local_maxima(measure: Measure, case: Case, name: str) -> None:
    options = case.peak_options
    measure(
        "local_maxima",
        case,
        name,
        [case.heatmaps],
        ours=lambda h: vl4pose.local_maxima(h, **options, num_threads=measure.num_threads)[:2],
        reference=lambda h: reference.local_maxima(h, **options)[:2],
        theirs=lambda find, h: find(h, *case.peak_options.values()),
    )
