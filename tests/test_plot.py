"""Figures for notebooks: what is drawn where, and that it is the report's."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")
matplotlib.use("Agg")

from made_scores import made_scores  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.patches import Circle  # noqa: E402
from report_tables import selection_of, table_with_images, with_column  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose import bone_drawing as drawing  # noqa: E402
from vl4pose import plot  # noqa: E402
from vl4pose.bone_scores import link_z_scores  # noqa: E402
from vl4pose.score_histogram import score_histogram  # noqa: E402

LSP = vl4pose.get_skeleton("lsp")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def row_of(table, index=0):
    return {name: table.arrays(name)[index] for name in (
        "keypoints", "refined_keypoints", "link_params", "heatmap_scale",
    )}  # fmt: skip


def lines_of(ax, style):
    """Bones of a style: lines of two points that are neither joints nor marks."""
    bones = {*drawing.Z_COLOURS, drawing.NO_Z_COLOUR}
    return [
        line
        for line in ax.lines
        if line.get_linestyle() == style and to_hex(line.get_color()) in bones
        and len(line.get_xdata()) == 2 and line.get_marker() == "None"
    ]  # fmt: skip


def test_the_distribution_has_the_bins_and_ticks_of_the_report():
    scores = made_scores(50, failed=(3,)).numbers("score")
    chosen = np.argsort(scores)[:10]
    ax = plot.score_distribution(scores, chosen)
    mask = np.isin(np.arange(50), chosen)
    histogram = score_histogram(scores, mask)
    assert [bar.get_height() for bar in ax.containers[0]] == histogram.counts.tolist()
    assert [bar.get_height() for bar in ax.containers[1]] == histogram.selected.tolist()
    assert ax.get_xticks().tolist() == [where for _, where in histogram.ticks]
    # The same of a table and of a mask, on axes that are given.
    _, mine = plt.subplots()
    assert plot.score_distribution(made_scores(50, failed=(3,)), mask, ax=mine) is mine
    assert [bar.get_height() for bar in mine.containers[1]] == histogram.selected.tolist()
    assert len(plot.score_distribution([1.0, 2.0]).containers) == 1


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ([50], ValueError, "selection must index scores 0 to 1, got"),
        ([-1], ValueError, "selection must index scores 0 to 1, got"),
        ([0.5], TypeError, "selection must hold indices or bools, got float64"),
        ([True], ValueError, r"selection must have one bool per score \(2\), got 1"),
        (made_scores(2), TypeError, "selection must hold indices or bools, got ScoreTable$"),
    ],
)
def test_a_selection_that_does_not_fit_is_refused(chosen, error, message):
    with pytest.raises(error, match=message):
        plot.score_distribution([1.0, 2.0], chosen)


def test_bones_have_the_colours_of_their_z_and_end_at_their_joints():
    row = row_of(made_scores(1))
    image = np.zeros((32, 48, 3), np.uint8)
    ax = plot.pose(
        image, row["keypoints"], "lsp", link_params=row["link_params"],
        heatmap_scale=row["heatmap_scale"], refined=row["refined_keypoints"],
    )  # fmt: skip
    z = link_z_scores(row["keypoints"], row["link_params"], LSP, row["heatmap_scale"])
    bones = lines_of(ax, "-")
    assert len(bones) == LSP.num_links
    for line, link, value in zip(bones, LSP.links, z, strict=True):
        np.testing.assert_allclose(line.get_xydata(), row["keypoints"][list(link)])
        assert to_hex(line.get_color()) == drawing.Z_COLOURS[drawing.z_class(value)]
        assert line.get_linewidth() == (3.2 if abs(value) >= 2 else 2.0)
    differ = (row["keypoints"] != row["refined_keypoints"]).any(1)
    assert differ.any()
    assert len(lines_of(ax, "--")) == sum(differ[list(link)].any() for link in LSP.links)
    labels = [float(text.get_text()) for text in ax.texts]
    unusual = sorted(z[np.abs(z) >= 2], key=abs, reverse=True)[:6]
    np.testing.assert_allclose(labels, unusual, atol=0.051)
    assert ax.yaxis_inverted()


def test_marks_are_those_of_the_report():
    row = row_of(made_scores(1))
    options = {"link_params": row["link_params"], "heatmap_scale": row["heatmap_scale"]}
    ax = plot.pose(None, row["keypoints"], LSP, **options)
    marks = drawing.expected_marks(row["keypoints"], row["link_params"], LSP, row["heatmap_scale"])
    drawn = [line.get_xydata() for line in ax.lines if line.get_color() == plot._EXPECTED]
    assert len(drawn) == 2 * len(marks)
    for points, expected in zip(drawn, (p for mark in marks for p in mark), strict=True):
        np.testing.assert_allclose(points, expected)
    without = plot.pose(None, row["keypoints"], LSP, **options, expected=False)
    assert len(without.lines) == len(ax.lines) - len(drawn)


def test_without_params_bones_are_grey_and_missing_joints_are_left_out():
    keypoints = row_of(made_scores(1))["keypoints"].copy()
    keypoints[LSP.joint_index("left_knee")] = np.nan
    ax = plot.pose(None, keypoints, "lsp")
    bones = lines_of(ax, "-")
    assert len(bones) == LSP.num_links - 2
    assert {to_hex(line.get_color()) for line in bones} == {drawing.NO_Z_COLOUR}
    assert len(ax.texts) == 0
    assert ax.yaxis_inverted()


def test_a_single_joint_is_a_pose_too():
    dot = vl4pose.Skeleton("dot", ["dot"], [])
    ax = plot.pose(None, [[3.0, 4.0]], dot, link_params=[], refined=[[5.0, 4.0]])
    assert ax.lines[0].get_xydata().tolist() == [[3, 4]]


def test_a_heatmap_lies_where_it_was_computed_with_its_peaks():
    values = np.zeros((4, 8))
    values[1, 6] = 5
    ax = plot.heatmap(values, [[6, 1, 0.75, 1.0], [2, 2, 0.25, 0.0]], chosen=0)
    [image] = ax.images
    assert image.get_extent() == [-0.5, 7.5, 3.5, -0.5]
    circles = [patch for patch in ax.patches if isinstance(patch, Circle)]
    assert [circle.center for circle in circles] == [(6, 1), (2, 2)]
    assert circles[0].radius > circles[1].radius
    assert to_hex(circles[0].get_edgecolor()) == plot._EXPECTED
    assert [text.get_text() for text in ax.texts] == ["75% → 100%", "25% → 0%"]

    photo = np.zeros((40, 60, 3), np.uint8)
    ax = plot.heatmap(values, image=photo, place=(0, -10, 120, 60))
    assert ax.images[1].get_extent() == [-0.5, 119.5, 49.5, -10.5]
    assert ax.get_xlim() == (-0.5, 59.5)
    assert ax.get_ylim() == (39.5, -0.5)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((np.zeros(3),), {}, r"values must be \(H, W\), got \(3,\)"),
        ((np.zeros((3, 3)), [[1, 2]]), {}, r"peaks must be \(K, 3\) or \(K, 4\), got \(1, 2\)"),
        ((np.zeros((3, 3)),), {"image": np.zeros((3, 3))}, "place must be given with image, got"),
    ],
)
def test_heatmaps_that_cannot_be_drawn(args, options, message):
    with pytest.raises(ValueError, match=message):
        plot.heatmap(*args, **options)
    plot.heatmap(np.zeros((3, 3)), [])


def test_a_sheet_shows_the_least_likely_or_what_is_asked_for(tmp_path):
    table = table_with_images(tmp_path, 12, failed=(7,))
    (tmp_path / "003.png").unlink()
    order = np.argsort(table.numbers("score"))

    def names(figure):
        return [ax.get_title().split("  ")[-1] for ax in figure.axes if ax.get_title()]

    figure = plot.contact_sheet(table, num_pictures=4, columns=3)
    assert names(figure) == [f"{row:03d}.png" for row in order[:4]]
    assert len(figure.axes) == 6
    figure = plot.contact_sheet(table, [5, 3, 7], max_image_size=24)
    assert names(figure) == ["005.png", "003.png", "007.png"]
    drawn, gone, failed = figure.axes
    assert gone.texts[0].get_text() == "the image cannot be read: no such file or directory"
    assert failed.texts[0].get_text() == "cannot be read"
    assert drawn.images[0].get_array().shape == (16, 24, 3)
    # The pose is on the small picture where it was on the image, and so are its z-scores.
    bones = lines_of(drawn, "-")
    raw = table.arrays("keypoints")[5]
    np.testing.assert_allclose(bones[0].get_xydata(), (raw[[0, 1]] + 0.5) / 2 - 0.5)
    z = link_z_scores(raw, table.arrays("link_params")[5], LSP, table.arrays("heatmap_scale")[5])
    colours = [drawing.Z_COLOURS[i] for i in drawing.z_class(z)]
    assert [to_hex(line.get_color()) for line in bones] == colours
    figure = plot.contact_sheet(selection_of(table, [2, 9]), images=tmp_path)
    assert names(figure) == ["002.png", "009.png"]


def test_a_sheet_draws_names_as_they_are(tmp_path):
    table = table_with_images(tmp_path, 2, failed=())
    table = with_column(table, "person_id", ["$x^2_{", "$\\frac"])
    figure = plot.contact_sheet(replace(table), [0, 1])
    figure.canvas.draw()
    assert figure.axes[0].get_title().endswith("#$x^2_{")


@pytest.mark.parametrize("rows", [[12], [-1], [0.5]])
def test_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(ValueError, match="rows must hold rows of the table, 0 to 2, got"):
        plot.contact_sheet(made_scores(3), rows)
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        plot.contact_sheet(made_scores(3), columns=0)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"vl4pose\.plot needs matplotlib: pip install"):
        vl4pose.plot.score_distribution([1.0, 2.0])
