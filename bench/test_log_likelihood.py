"""Log-likelihood of a given pose: under link lengths, and under offsets of two or three axes."""

from __future__ import annotations

import pytest

import vl4pose
from bench import competitors
from bench.cases import AROUND_BASE, BASE, Case, runs
from bench.heatmaps import synthetic_pose
from bench.measure import Measure
from vl4pose import reference

NAMES = ["vl4pose", "numpy", "torch"]
RUNS = [
    *runs([BASE], [*NAMES, "torch, compiled"], quick=NAMES),
    *runs(AROUND_BASE, NAMES),
]


@pytest.mark.parametrize(("case", "name"), RUNS)
def test_pose_log_likelihood(measure: Measure, case: Case, name: str) -> None:
    keypoints, _, _ = synthetic_pose(case.batch, case.joints, case.skeleton.num_links, 2)
    measure(
        "pose_log_likelihood",
        case,
        name,
        [keypoints, case.params],
        ours=vl4pose.pose_log_likelihood,
        reference=lambda y, p: reference.pose_log_likelihood(y, p, skeleton=case.skeleton),
        theirs=lambda _, y, p: competitors.pose_log_likelihood(y, p, case.links),
    )


@pytest.mark.parametrize(("case", "name"), RUNS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_offset_log_likelihood(measure: Measure, case: Case, name: str, dimensions: int) -> None:
    pose = synthetic_pose(case.batch, case.joints, case.skeleton.num_links, dimensions)
    measure(
        f"offset_log_likelihood, D={dimensions}",
        case,
        name,
        pose,
        ours=lambda *a: vl4pose.offset_log_likelihood(*a, skeleton=case.skeleton),
        reference=lambda *a: reference.offset_log_likelihood(*a, skeleton=case.skeleton),
        theirs=lambda _, *a: competitors.offset_log_likelihood(*a, case.links),
    )
