"""What strategies chose first: where it is drawn, and that it is what the records say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402
from PIL import Image  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose.image_transform import ImageTransform  # noqa: E402
from vl4pose.simulation import picks  # noqa: E402
from vl4pose.simulation.records import CycleRecord, write_record  # noqa: E402
from vl4pose.simulation.start import (  # noqa: E402
    Start,
    read_start,
    start_path,
    start_seeds,
    write_start,
)

ARM = vl4pose.Skeleton("arm", ["shoulder", "elbow", "wrist"], [(0, 1), (1, 2)])
TRANSFORM = ImageTransform((32, 32), mean=(0.5, 0.4, 0.3), std=0.25, scale=255.0)
HEATMAP_SIZE = (8, 8)
N = 30
START = np.arange(N) < 5
CHOSEN = {"random": [10, 7, 25, 13], "core-set": [29, 6, 18, 11]}


class Pictures:
    """A dataset: picture n is of the brightness n, its last joint is hidden where n is odd."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int):
        image = torch.full((3, 32, 32), index / 255.0)
        mean = torch.tensor([0.5, 0.4, 0.3])[:, None, None]
        keypoints = torch.tensor([[1.0, 2.0], [3.0, 4.0], [6.0, 5.0]])
        visible = torch.tensor([True, True, index % 2 == 0])
        keypoints[~visible] = torch.nan
        return (image - mean) / 0.25, keypoints, visible


def made_start(seed: int = 0) -> Start:
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(N, 5)) * [4, 2, 1, 0.5, 0.1]
    true = np.array([[1.0, 2.0], [3.0, 4.0], [6.0, 5.0]])
    predicted = np.tile(true, (N, 1, 1)) + np.arange(N)[:, None, None] * [0.3, 0.4]
    return Start(START, embeddings, predicted)  # of errors of n / 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (3, 1):
        write_start(tmp_path, seed, made_start(seed))
        for name, chosen in CHOSEN.items():
            ordered = chosen if seed == 1 else chosen[::-1]
            write_record(tmp_path, CycleRecord(name, seed, 0, 6, {}, selected=ordered))
            write_record(tmp_path, CycleRecord(name, seed, 1, 10, {}, selected=[20, 21]))
    return tmp_path


def offsets_of(ax, label):
    [points] = [part for part in ax.collections if part.get_label() == label]
    return np.asarray(points.get_offsets())


def sheet(folder: Path, strategy: str = "core-set", **options):
    return picks.draw_contact_sheet(
        folder, strategy, Pictures(), ARM, TRANSFORM, HEATMAP_SIZE, **options
    )


# --- the start --------------------------------------------------------------------------------


def test_a_start_comes_back_as_it_was_written(tmp_path):
    start = made_start()
    write_start(tmp_path, 7, start)
    assert start_path(tmp_path, 7) == tmp_path / "start" / "seed-7.npz"
    assert start_seeds(tmp_path) == [7]
    again = read_start(tmp_path, 7)
    assert again.embeddings.dtype == np.float32
    for name in ("labelled", "embeddings", "keypoints"):
        np.testing.assert_array_equal(getattr(again, name), getattr(start, name))
    before = start_path(tmp_path, 7).read_bytes()
    write_start(tmp_path, 7, again)
    assert start_path(tmp_path, 7).read_bytes() == before
    with pytest.raises(FileNotFoundError):
        read_start(tmp_path, 8)
    assert start_seeds(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labelled": [0, 1]}, TypeError, "labelled must hold bools, got int64"),
        ({"labelled": [[True]]}, ValueError, r"labelled must be \(N,\), got \(1, 1\)"),
        ({"embeddings": np.zeros((3, 2))}, ValueError, r"embeddings must be \(N, D\) with N = 2, "),
        ({"embeddings": np.zeros(2)}, ValueError, r"with N = 2, got \(2,\)"),
        ({"keypoints": np.zeros((2, 4))}, ValueError, r"keypoints must be \(N, J, 2\) with N = 2,"),
        ({"keypoints": np.zeros((2, 4, 3))}, ValueError, r"got \(2, 4, 3\)"),
    ],
)
def test_a_start_of_other_shapes_is_refused(change, error, message):
    arrays = {
        "labelled": [True, False],
        "embeddings": np.zeros((2, 3)),
        "keypoints": np.zeros((2, 4, 2)),
    }
    Start(**arrays)
    with pytest.raises(error, match=message):
        Start(**{**arrays, **change})


# --- the plane --------------------------------------------------------------------------------


def test_the_plane_is_that_of_the_largest_variances():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(200, 3)) * [10, 3, 1]
    flat -= flat.mean(axis=0)
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    points, shares = picks._principal_plane((flat @ rotation[:3] + 100).astype(np.float32))
    _, singular, directions = np.linalg.svd(flat, full_matrices=False)
    for axis in range(2):
        along = flat @ directions[axis]
        correlation = np.corrcoef(points[:, axis], along)[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-6)
        assert points[:, axis].std() == pytest.approx(along.std(), rel=1e-4)
    np.testing.assert_allclose(shares, (singular**2 / (singular**2).sum())[:2], rtol=1e-4)
    again, _ = picks._principal_plane((flat[::-1] @ rotation[:3] + 100).astype(np.float32))
    np.testing.assert_allclose(again[::-1], points, atol=1e-3)  # in whatever order, never mirrored


def test_few_dimensions_and_missing_embeddings():
    line = np.array([[0.0], [np.nan], [2.0], [4.0]], np.float32)
    points, shares = picks._principal_plane(line)
    np.testing.assert_allclose(points[[0, 2, 3]], [[-2, 0], [0, 0], [2, 0]])
    assert np.isnan(points[1]).all()
    assert shares.tolist() == [1, 0]
    same, shares = picks._principal_plane(np.ones((3, 4), np.float32))
    assert not same.any()
    assert shares.tolist() == [0, 0]
    with pytest.raises(ValueError, match="embeddings must be finite for an image, got none of 2"):
        picks._principal_plane(np.array([[np.inf], [np.nan]], np.float32))


def test_spread_by_hand():
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1], [np.nan, 0]], np.float32)
    assert picks._spread(square) == pytest.approx(np.sqrt(2))
    assert np.isnan(picks._spread(square[4:]))


# --- the figure of all strategies -------------------------------------------------------------


def test_picks_are_where_their_embeddings_are(folder):
    titles = {"random": "Random", "core-set": "Core-Set"}
    figure = picks.draw_picks(folder, titles=titles, num_ringed=3)
    panels = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in panels] == ["what there is", "Random", "Core-Set"]
    start = made_start(1)  # the first seed
    points, _ = picks._principal_plane(start.embeddings)
    np.testing.assert_allclose(offsets_of(panels[0], "pool, 25"), points[~START])
    np.testing.assert_allclose(offsets_of(panels[0], "start set, 5"), points[START])
    whole = picks._spread(start.embeddings[~START])
    for ax, chosen in zip(panels[1:], CHOSEN.values(), strict=True):
        np.testing.assert_allclose(offsets_of(ax, "all"), points)
        np.testing.assert_allclose(offsets_of(ax, "picks"), points[chosen])
        np.testing.assert_allclose(offsets_of(ax, "first"), points[chosen[:3]])
        spread = picks._spread(start.embeddings[chosen]) / whole
        assert ax.get_xlabel() == f"4 picks, spread {spread:.2f}"
    limits = {(ax.get_xlim(), ax.get_ylim()) for ax in panels}
    assert len(limits) == 1
    [((x0, x1), (y0, y1))] = limits
    assert (points > [x0, y0]).all()
    assert (points < [x1, y1]).all()
    assert figure.get_suptitle() == (
        "What was chosen first: after the first cycle, seed 1; rings: the first 3"
    )


def test_another_seed_can_be_asked_for(folder):
    figure = picks.draw_picks(folder, seed=3, num_ringed=0)
    assert figure.get_suptitle() == "What was chosen first: after the first cycle, seed 3"
    points, _ = picks._principal_plane(made_start(3).embeddings)
    assert [ax.get_title() for ax in figure.axes[1:3]] == ["core-set", "random"]
    np.testing.assert_allclose(
        offsets_of(figure.axes[1], "picks"), points[CHOSEN["core-set"][::-1]]
    )


def test_images_without_an_embedding_are_left_out_and_counted(folder):
    start = made_start(1)
    start.embeddings[[2, 7]] = np.nan
    write_start(folder, 1, start)
    figure = picks.draw_picks(folder)
    assert figure.get_suptitle().endswith("; 2 images without an embedding are left out")
    picks._save(folder / "drawn.png", figure, dpi=40)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 17])
def test_panels_of_any_number_fill_their_rows(tmp_path, count):
    write_start(tmp_path, 0, made_start())
    for index in range(count):
        write_record(tmp_path, CycleRecord(f"s{index:02d}", 0, 0, 6, {}, selected=[9 + index]))
    figure = picks.draw_picks(tmp_path)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == count + 1
    rows = {ax.get_subplotspec().rowspan.start for ax in shown}
    assert len(figure.axes) - len(shown) < len(rows)


# --- contact sheets ---------------------------------------------------------------------------


def test_a_sheet_has_the_first_picks_in_their_order(folder):
    figure = sheet(folder, num_pictures=3)
    # An error of n / 2 in every joint that is annotated.
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["1: image 29, 14.5 px", "2: image 6, 3.0 px", "3: image 18, 9.0 px"]
    for ax, index in zip(figure.axes, CHOSEN["core-set"], strict=False):
        np.testing.assert_allclose(ax.images[0].get_array(), index / 255, atol=1e-6)
    picked, pool = np.mean(CHOSEN["core-set"]) / 2, np.arange(5, N).mean() / 2
    assert figure.get_suptitle() == (
        "core-set: the first 3 of 4 picks after the first cycle, seed 1\nmean distance from the "
        f"true joints, heatmap pixels: picks {picked:.1f}, all of the pool {pool:.1f}"
    )
    named = sheet(folder, "random", seed=3, title="Random", num_pictures=15)
    begin = "Random: the first 4 of 4 picks after the first cycle, seed 3\n"
    assert named.get_suptitle().startswith(begin)


def test_both_poses_are_drawn_in_pixels_of_the_input(folder):
    ax = sheet(folder).axes[0]  # of image 29, whose wrist is not annotated
    predicted = made_start(1).keypoints[29] * 31 / 7
    true = np.array([[1.0, 2.0], [3.0, 4.0]]) * 31 / 7
    bones = {
        colour: [
            line.get_xydata()
            for line in ax.lines
            if line.get_marker() == "None" and to_hex(line.get_color()) == colour
            and np.isfinite(line.get_xydata()).all()
        ]
        for colour in (picks._PREDICTED, picks._TRUE)
    }  # fmt: skip
    np.testing.assert_allclose(bones[picks._PREDICTED], [predicted[:2], predicted[1:]], rtol=1e-5)
    np.testing.assert_allclose(bones[picks._TRUE], [true], rtol=1e-5)
    assert ax.get_xlim() == (-0.5, 31.5)
    assert ax.get_ylim() == (31.5, -0.5)


def test_images_of_8_bits_are_drawn_as_they_are():
    image = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    np.testing.assert_allclose(
        picks._pixels(image, TRANSFORM), image.transpose(1, 2, 0) / 255, rtol=1e-12
    )
    values = (image / 255.0 - np.reshape(TRANSFORM.mean, (3, 1, 1))) / 0.25
    np.testing.assert_allclose(
        picks._pixels(values, TRANSFORM), image.transpose(1, 2, 0) / 255, atol=1e-12
    )


def test_poses_without_a_known_joint_do_not_keep_a_sheet_from_being_drawn(folder):
    start = made_start(1)
    start.keypoints[:] = np.nan
    write_start(folder, 1, start)
    figure = sheet(folder)
    assert figure.axes[0].get_title() == "1: image 29, nan px"
    assert figure.get_suptitle().endswith("picks nan, all of the pool nan")
    picks._save(folder / "drawn.png", figure, dpi=40)


# --- files and errors -------------------------------------------------------------------------


def test_all_files_are_written(folder):
    titles = {"random": "Random $x_{", "core-set": "Core-Set"}
    written = picks.write_picks(folder, Pictures(), ARM, TRANSFORM, HEATMAP_SIZE, titles=titles)
    assert written == [
        folder / "picks.png", folder / "picks" / "random.png", folder / "picks" / "core-set.png",
    ]  # fmt: skip
    for path in written:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    before = [path.read_bytes() for path in written]
    picks.write_picks(folder, Pictures(), ARM, TRANSFORM, HEATMAP_SIZE, titles=titles)
    assert [path.read_bytes() for path in written] == before


def test_a_network_without_features_has_contact_sheets_alone(folder):
    start = made_start(1)
    write_start(folder, 1, Start(START, np.full((N, 1), np.nan), start.keypoints))
    written = picks.write_picks(folder, Pictures(), ARM, TRANSFORM, HEATMAP_SIZE)
    assert [path.name for path in written] == ["core-set.png", "random.png"]
    assert not (folder / "picks.png").exists()


def test_where_nothing_was_chosen_there_is_nothing_to_write(tmp_path):
    write_start(tmp_path, 0, made_start())
    write_record(tmp_path, CycleRecord("random", 0, 0, 6, {}))
    assert picks.write_picks(tmp_path, Pictures(), ARM, TRANSFORM, HEATMAP_SIZE) == []
    assert not (tmp_path / "picks.png").exists()
    with pytest.raises(ValueError, match="folder must hold a cycle after which images were chosen"):
        picks.draw_picks(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: picks.draw_picks(f, seed=2), "seed must be one of 1, 3, got 2"),
        (
            lambda f: picks.draw_picks(f, titles={"rnadom": "Random"}),
            r"titles must name .*random.*, got 'rnadom'",
        ),
        (lambda f: sheet(f, "coreset"), r"strategy must be .*core-set.*, got 'coreset'"),
        (lambda f: sheet(f, num_pictures=0), "num_pictures must be at least 1, got 0"),
        (lambda f: picks.draw_picks(f, num_ringed=-1), "num_ringed must be at least 0, got -1"),
        (
            lambda f: picks.draw_contact_sheet(
                f, "random", Pictures(), "lsp", TRANSFORM, HEATMAP_SIZE
            ),
            "skeleton must have 3 joints, got 'lsp' with 14",
        ),
        (
            lambda f: picks.draw_contact_sheet(
                f, "random", [Pictures()[0]] * 4, ARM, TRANSFORM, HEATMAP_SIZE
            ),
            "dataset must hold the training set's 30 images, got 4",
        ),
    ],
)
def test_what_does_not_fit_is_refused(folder, call, message):
    with pytest.raises(ValueError, match=message):
        call(folder)


def test_without_matplotlib_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'vl4pose\[cli\]'"):
        picks.draw_picks(folder)
