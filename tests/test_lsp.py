"""The main job on real photographs: a real network, the command line, and what comes out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import lsp
from vl4pose import get_skeleton

LIMIT = 40
BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module")
def scores(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("lsp")
    return lsp.score_test_images(test_data, folder, LIMIT, ["--batch-size", "16"])


@pytest.fixture(scope="module")
def truth(test_data: Path) -> np.ndarray:
    return lsp.load_annotations(test_data)[1000 : 1000 + LIMIT]


def test_annotations_are_people(test_data: Path) -> None:
    annotations = lsp.load_annotations(test_data)
    assert annotations.shape == (2000, 14, 2)
    height = dict(zip(get_skeleton("lsp").joints, annotations[..., 1].mean(axis=0), strict=True))
    downwards = ["head", "neck", "left_shoulder", "left_hip", "left_knee", "left_ankle"]
    assert sorted(downwards, key=height.__getitem__) == downwards


def test_bones_are_bones(test_data: Path) -> None:
    params = lsp.fit_bones(test_data)
    length = dict(zip(get_skeleton("lsp").link_names, params[:, 0], strict=True))
    for name, pixels in length.items():
        assert 3 < pixels < 30, name
        if name.startswith("left_"):
            assert pixels == pytest.approx(length[name.replace("left_", "right_")], rel=0.1)


def test_every_image_has_its_row(scores: Any) -> None:
    assert scores.failed == 0
    assert scores.image_numbers() == list(range(1001, 1001 + LIMIT))
    for name, shape in (("keypoints", (14, 2)), ("confidence", (14,)), ("per_link", (13,))):
        assert scores.column(name).shape == (LIMIT, *shape)
    np.testing.assert_allclose(
        scores.column("score"), scores.column("per_link").sum(axis=1), rtol=1e-5
    )


def test_both_poses_are_good(scores: Any, truth: np.ndarray) -> None:
    argmax = lsp.joint_errors(scores.column("keypoints"), truth)
    refined = lsp.joint_errors(scores.column("refined_keypoints"), truth)
    assert lsp.pck(argmax, 0.2) > 0.72
    assert lsp.pck(argmax, 0.5) > 0.84
    for threshold in (0.2, 0.5):
        assert lsp.pck(refined, threshold) > lsp.pck(argmax, threshold) - 0.01
    changed = scores.column("changed") != 0
    assert 0 < changed.mean() < 0.2
    assert (refined[~changed] == argmax[~changed]).all()


def test_scores_rank_poses(scores: Any, truth: np.ndarray) -> None:
    errors = lsp.joint_errors(scores.column("keypoints"), truth)
    suspicions = lsp.suspicions(scores)
    assert len(suspicions) == 3
    for name, suspicion in suspicions.items():
        assert lsp.spearman(suspicion, errors) > 0.4, name
        assert lsp.auroc(suspicion, errors) > 0.6, name


def test_report_is_complete(scores: Any, test_data: Path) -> None:
    table = lsp.report(scores, lsp.load_annotations(test_data))
    cells = [list(column.cells) for column in table.columns]
    assert [row for row in cells[0] if not row.startswith("[bold]")] == [
        str(LIMIT),
        "all",
        "networks",
        "vl4pose",
        "argmax",
        "refined",
        "- expected score",
        "multi-peak entropy",
        "1 - mean confidence",
    ]
    numbers = [
        float(cell.removesuffix(" %"))
        for name, *values in zip(*cells, strict=True)
        if not name.startswith("[bold]")
        for cell in values
        if (name, cell) != ("vl4pose", "-")  # in less than 0.01 s, which a handful of images take
    ]
    assert len(numbers) >= 17
    assert np.isfinite(numbers).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "--data: must hold lsp/images, got 'nowhere' without it"),
        (["--limit", "0"], "--limit: must be a whole number between 1 and 1000, got '0'"),
        (["--limit", "1001"], "--limit: must be a whole number between 1 and 1000, got '1001'"),
        (["--limti", "3"], "no such option: --limti (did you mean --limit?)"),
        (["--lim", "3"], "no such option: --lim (did you mean --limit?)"),
        (["--temprature=3"], "no such option: --temprature (did you mean --temperature?)"),
    ],
)
def test_wrong_command_lines_are_one_sentence(
    test_data: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        lsp.parse(["--data", str(test_data), *arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m bench.lsp: ")
    assert line.endswith(message)


def test_other_options_are_passed_on(test_data: Path) -> None:
    own, rest = lsp.parse(["--data", str(test_data), "--limit", "3", "--num-peaks", "2"])
    assert (own.data, own.limit, own.keep) == (test_data, 3, None)
    assert rest == ["--num-peaks", "2"]


def test_the_table_of_a_passing_folder_is_not_named(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lsp.score_test_images(test_data, tmp_path, 1)
    shown = capsys.readouterr().out
    assert "im1001.jpg" in shown
    assert str(tmp_path) not in shown


HIDE = "import runpy, sys; sys.modules[{!r}] = None; runpy.run_path({!r}, run_name='__main__')"


def test_missing_extras_are_one_sentence() -> None:
    code = HIDE.format("scipy", str(BENCH / "lsp.py"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "bench.lsp: scipy is not installed: pip install -e '.[bench]'\n"


def test_figures_by_hand() -> None:
    truth = np.zeros((4, 14, 2))
    truth[:, 2] = [3, 4]  # left shoulder; the right hip is at the origin: a torso of 5
    truth[:, 5] = [1, 1]  # right shoulder; the left hip is at the origin: shorter
    poses = truth.copy()
    for image, num_wrong in enumerate([0, 3, 2, 14]):
        poses[image, :num_wrong, 0] += 2.6
    errors = lsp.joint_errors(poses, truth)
    np.testing.assert_allclose(errors[1], [0.52] * 3 + [0] * 11)
    assert lsp.pck(errors, 0.5) == pytest.approx(1 - 19 / 56)
    assert lsp.pck(errors, 0.53) == 1
    # Bad are images 1 and 3; of the pairs with images 0 and 2, three are in order.
    suspicion = np.array([1.0, 2.0, 3.0, 4.0])
    assert lsp.auroc(suspicion, errors) == 0.75
    assert lsp.auroc(-suspicion, errors) == 0.25
    assert np.isnan(lsp.auroc(suspicion, np.zeros((4, 14))))
    # Ranks 1 2 3 4 against 1 3 2 4.
    assert lsp.spearman(suspicion, errors) == pytest.approx(0.8)
