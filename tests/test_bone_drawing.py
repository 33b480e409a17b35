"""What pictures of poses show: colours, marks of expected lengths, words."""

from __future__ import annotations

import numpy as np
import pytest

import vl4pose
from vl4pose import bone_drawing as drawing
from vl4pose.bone_scores import link_lengths, link_z_scores

CHAIN = vl4pose.Skeleton("chain", ["a_b", "c", "d"], [("a_b", "c"), ("c", "d")])


def test_a_colour_for_each_class_of_z_and_bounds_belong_outwards():
    z = [-99, -3, -2.5, -2, -1.5, -1, -0.9, 0, 0.9, 1, 1.5, 2, 2.5, 3, 99, np.nan]
    assert drawing.z_class(z).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6, -1]
    assert len(drawing.Z_COLOURS) == len(drawing.Z_LABELS) == len(drawing.Z_CLASSES) + 1


def test_lightness_says_how_far_and_hue_which_way():
    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light = [luminance(colour) for colour in drawing.Z_COLOURS]
    assert light[:4] == sorted(light[:4])
    assert light[3:] == sorted(light[3:], reverse=True)
    for colour in drawing.Z_COLOURS:  # WCAG's contrast of graphical objects, over the halo
        assert (luminance(colour) + 0.05) / (luminance(drawing.HALO) + 0.05) >= 3


@pytest.mark.parametrize("scale", [(1.0, 1.0), (3.0, 2.0)])
def test_marks_are_at_the_expected_length_around_the_parent(scale):
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 60, (3, 2))
    params = np.array([[9.0, 2.0], [4.0, 0.5]])
    marks = drawing.expected_marks(keypoints, params, CHAIN, scale)
    assert len(marks) == 2
    for (parent, child), (length, log_variance), (arc, ends) in zip(
        CHAIN.links, params, marks, strict=True
    ):

        def away(points, parent=parent):
            return np.hypot(*((points - keypoints[parent]) / scale).T)

        np.testing.assert_allclose(away(arc), length, rtol=1e-12)
        deviation = np.exp(log_variance / 2)
        np.testing.assert_allclose(away(ends), [length - deviation, length + deviation], rtol=1e-12)
        # The middle of the arc and the deviation are on the bone's line, on the child's side.
        bone = (keypoints[child] - keypoints[parent]) / scale
        for point in [arc[len(arc) // 2], *ends]:
            there = (point - keypoints[parent]) / scale
            assert abs(bone[0] * there[1] - bone[1] * there[0]) < 1e-9
            assert bone @ there > 0


def test_a_bone_of_expected_length_ends_on_its_mark():
    keypoints = np.array([[0.0, 0.0], [6.0, 8.0], [6.0, 9.0]])
    params = np.stack([link_lengths(keypoints, CHAIN), [0.0, 0.0]], -1)
    assert link_z_scores(keypoints, params, CHAIN).tolist() == [0, 0]
    for (_, child), (arc, _) in zip(
        CHAIN.links, drawing.expected_marks(keypoints, params, CHAIN), strict=True
    ):
        np.testing.assert_allclose(arc[len(arc) // 2], keypoints[child], atol=1e-12)


def test_a_bone_without_direction_has_a_whole_circle_and_nothing_is_behind_the_parent():
    keypoints = np.array([[5.0, 5.0], [5.0, 5.0], [9.0, 5.0]])
    params = [[2.0, 0.0], [1.0, 4.0]]  # the second is 1 +- e^2
    (circle, _), (_, ends) = drawing.expected_marks(keypoints, params, CHAIN)
    np.testing.assert_allclose(circle[0], circle[-1], atol=1e-12)
    np.testing.assert_allclose(circle.mean(axis=0), [5, 5], atol=0.2)
    np.testing.assert_array_equal(ends[0], keypoints[1])


def test_bones_in_words():
    names = CHAIN.link_names
    assert drawing.describe_bones([2.5, -7.25], names) == (
        "C to d much too short (z −7.2); a b to c too long (z +2.5)."
    )
    assert drawing.describe_bones([1.9, np.nan], names).startswith(
        "Every bone is within 2 standard"
    )
    assert drawing.describe_bones([np.nan, np.nan], names) == "No bone has a known length."
    many = vl4pose.get_skeleton("lsp").link_names
    assert drawing.describe_bones(np.full(13, 4.0), many).endswith("; 10 more bones are unusual.")
    assert drawing.describe_bones([9, 9, 9, 9], many[:4]).endswith("; 1 more bone is unusual.")
