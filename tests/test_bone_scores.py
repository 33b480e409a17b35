"""Lengths and z-scores of bones, against their definition."""

from __future__ import annotations

import numpy as np
import pytest

import vl4pose
from vl4pose import reference
from vl4pose.bone_scores import expected_lengths, link_lengths, link_z_scores

LSP = vl4pose.get_skeleton("lsp")


def poses(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 200, (*shape, LSP.num_joints, 2))


def test_lengths_are_in_heatmap_pixels_along_each_axis():
    chain = vl4pose.Skeleton("chain", ["a", "b", "c"], [("a", "b"), ("b", "c")])
    keypoints = [[10.0, 10.0], [16.0, 10.0], [16.0, 18.0]]
    np.testing.assert_array_equal(link_lengths(keypoints, chain), [6, 8])
    np.testing.assert_array_equal(link_lengths(keypoints, chain, [2, 4]), [3, 2])


def test_z_gives_the_log_likelihood_of_the_spec():
    keypoints, scale = poses(5), np.array([3.0, 3.0])
    params = np.random.default_rng(1).uniform([5, -2], [40, 6], (5, LSP.num_links, 2))
    z = link_z_scores(keypoints, params, LSP, np.tile(scale, (5, 1)))
    assert z.shape == (5, LSP.num_links)
    parent, child = np.array(LSP.links).T
    expected = reference.link_log_likelihood(
        keypoints[:, parent] / scale, keypoints[:, child] / scale, params[..., 0], params[..., 1]
    )
    of_z = -0.5 * (np.log(2 * np.pi) + params[..., 1] + z**2)
    np.testing.assert_allclose(of_z, expected, rtol=1e-12)
    longer = np.hypot(*((keypoints[:, child] - keypoints[:, parent]) / scale).transpose(2, 0, 1))
    np.testing.assert_array_equal(z > 0, longer > params[..., 0])


def test_params_are_clamped_as_in_every_score():
    length, deviation = expected_lengths([[2e6, 50.0], [-3e6, -90.0], [7.0, 2.0]])
    np.testing.assert_array_equal(length, [1e6, -1e6, 7])
    np.testing.assert_allclose(deviation, np.exp([10, -10, 1]), rtol=1e-15)


def test_what_is_missing_stays_missing_and_alone():
    keypoints = poses(2)
    keypoints[1, LSP.joint_index("left_knee")] = np.nan
    z = link_z_scores(keypoints, np.full((LSP.num_links, 2), 3.0), LSP)
    missing = [name for name, value in zip(LSP.link_names, z[1], strict=True) if np.isnan(value)]
    assert missing == ["left_hip>left_knee", "left_knee>left_ankle"]
    assert np.isfinite(z[0]).all()


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"keypoints must be \(..., J, 2\) = \(..., 14, 2\)"):
        link_lengths(np.zeros((3, 16, 2)), LSP)
    with pytest.raises(ValueError, match=r"link_params must be \(..., L, 2\), got \(13,\)"):
        link_z_scores(poses(), np.zeros(13), LSP)
    with pytest.raises(ValueError, match=r"= \(..., 13, 2\), got \(15, 2\)"):
        link_z_scores(poses(), np.zeros((15, 2)), LSP)
