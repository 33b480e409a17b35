"""Crops of Leeds Sports Pose as datasets, and the simulations that are run on them."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")
pytest.importorskip("matplotlib")
pytest.importorskip("typer")

from PIL import Image  # noqa: E402

from bench import lsp, lsp_crops, lsp_simulation  # noqa: E402
from vl4pose import get_skeleton  # noqa: E402
from vl4pose.simulation.config import read_config  # noqa: E402
from vl4pose.simulation.records import read_records  # noqa: E402

LSP = get_skeleton("lsp")
BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def made_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of the same form: 6 crops of which 4 are for training, and 5 of the extended set."""
    monkeypatch.setattr(lsp_crops, "NUM_TRAINING", 4)
    rng = np.random.default_rng(0)
    for name, count in zip(lsp_crops.FILES, (6, 5), strict=True):
        jpegs = []
        for index in range(count):
            picture = np.full((128, 128, 3), 40 * index, np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "jpeg", quality=95)
            jpegs.append(buffer.getvalue())
        joints = np.zeros((count, 14, 3), np.float32)
        joints[..., :2] = rng.uniform(20, 107, (count, 14, 2))
        if count == 5:  # as many are annotated: 14, 13, 12, 14 and 0
            for index, missing in enumerate((0, 1, 2, 0, 14)):
                joints[index, missing:, 2] = 1
        else:
            joints[0, 3, 2] = 1  # the left hip is occluded
        offset = np.cumsum([0, *map(len, jpegs)])
        jpeg = np.frombuffer(b"".join(jpegs), np.uint8)
        np.savez(tmp_path / name, jpeg=jpeg, offset=offset, joints=joints)
    return tmp_path


def joints_of(folder: Path, extended: bool) -> np.ndarray:
    with np.load(folder / lsp_crops.FILES[extended]) as arrays:
        return arrays["joints"]


# --- the crops --------------------------------------------------------------------------------


def test_occluded_joints_of_the_first_set_are_annotated(made_crops):
    dataset = lsp_crops.training_set(made_crops)
    keypoints, visible = dataset.annotations()
    assert len(dataset) == 4
    assert visible.all()
    image, own, seen = dataset[2]
    assert image.dtype == torch.uint8
    assert image.shape == (3, 128, 128)
    assert (image.int() - 80).abs().max() <= 1
    assert torch.equal(own, keypoints[2])
    assert seen.all()
    # Corners of heatmap and crop coincide, and the left hip is the tenth of our joints.
    left_hip = joints_of(made_crops, False)[:4, 3, :2]
    np.testing.assert_allclose(keypoints[:, LSP.joint_index("left_hip")], left_hip * 31 / 127)
    test = lsp_crops.evaluation_set(made_crops)
    assert len(test) == 2
    head = joints_of(made_crops, False)[4:, 13, :2]
    np.testing.assert_allclose(test.annotations().keypoints[:, 0], head * 31 / 127)


def test_the_flag_of_the_extended_set_means_the_opposite(made_crops):
    joints = joints_of(made_crops, True)
    for least, chosen in ((14, [0, 3]), (13, [0, 1, 3]), (12, [0, 1, 2, 3]), (0, [0, 1, 2, 3, 4])):
        dataset = lsp_crops.training_set(made_crops, min_joints=least)
        keypoints, visible = dataset.annotations()
        assert len(dataset) == 4 + len(chosen)
        assert visible[:4].all()
        for row, index in enumerate(chosen, 4):
            annotated = joints[index, lsp_crops.ANNOTATED_AS, 2] == 1
            assert visible[row].tolist() == annotated.tolist()
            expected = joints[index, lsp_crops.ANNOTATED_AS, :2][annotated] * 31 / 127
            np.testing.assert_allclose(keypoints[row][visible[row]], expected, rtol=1e-5)
            assert (dataset[row][0].int() - 40 * index).abs().max() <= 1


def test_smaller_input_has_smaller_heatmaps(made_crops):
    large, small = (lsp_crops.training_set(made_crops, size=size) for size in (128, 64))
    assert small[0][0].shape == (3, 64, 64)
    # A point of the crop is at the same share of both maps, by the centres of their pixels.
    as_share = (large.annotations().keypoints * 127 / 31 + 0.5) / 128
    np.testing.assert_allclose(
        (small.annotations().keypoints * 63 / 15 + 0.5) / 64, as_share, rtol=1e-5
    )


def test_a_limit_takes_crops_at_equal_distances(made_crops):
    whole = lsp_crops.training_set(made_crops, min_joints=12)
    some = lsp_crops.training_set(made_crops, min_joints=12, limit=4)
    assert torch.equal(some.images, whole.images[[0, 2, 4, 6]])
    assert torch.equal(some.annotations().keypoints, whole.annotations().keypoints[[0, 2, 4, 6]])
    assert len(lsp_crops.evaluation_set(made_crops, limit=10)) == 2


def test_the_folder_is_that_of_the_environment(made_crops, monkeypatch):
    monkeypatch.setenv("VL4POSE_TEST_DATA", str(made_crops))
    assert len(lsp_crops.training_set()) == 4
    monkeypatch.delenv("VL4POSE_TEST_DATA")
    with pytest.raises(ValueError, match=r"data must be a folder, got none, nor the variable"):
        lsp_crops.training_set()


def test_joints_are_in_the_order_of_the_photographs():
    assert lsp_crops.ANNOTATED_AS == lsp.ANNOTATED_AS
    assert lsp_simulation.FILES == lsp_crops.FILES


def test_real_crops_are_people(test_data):
    pool = lsp_crops.training_set(test_data, size=64, min_joints=14, limit=500)
    test = lsp_crops.evaluation_set(test_data, size=64)
    assert len(test) == 1000
    for dataset in (pool, test):
        keypoints, visible = dataset.annotations()
        assert visible.all()
        assert (keypoints > 0).all()
        assert (keypoints < 15).all()
        height = dict(zip(LSP.joints, keypoints[..., 1].mean(dim=0), strict=True))
        downwards = ["head", "neck", "left_shoulder", "left_hip", "left_knee"]
        assert sorted(downwards, key=height.__getitem__) == downwards
    # The photographs' own joints, by another file: as far apart, but for the scale of the crop.
    whole = lsp.load_annotations(test_data)[1000:]
    bones = [np.linalg.norm(xy[:, 7] - xy[:, 6], axis=1) for xy in (whole, keypoints.numpy())]
    torsos = [np.linalg.norm(xy[:, 8] - xy[:, 2], axis=1) for xy in (whole, keypoints.numpy())]
    np.testing.assert_allclose(bones[0] / torsos[0], bones[1] / torsos[1], rtol=1e-3)


def test_how_many_labels_the_paper_can_have(test_data):
    """What lsp_paper.toml says of the sizes of pools."""
    _, joints = lsp_crops.read_crops(test_data / lsp_crops.FILES[1])
    annotated = (joints[..., 2] > 0).sum(axis=1)
    sizes = [1000 + int((annotated >= least).sum()) for least in (14, 13, 12)]
    assert sizes == [4945, 6597, 8091]


# --- the configurations -----------------------------------------------------------------------


def test_the_papers_labels_go_from_2000_to_6000():
    config = read_config(BENCH / "lsp_paper.toml")
    labels = [config.num_labels(cycle) for cycle in range(config.simulation.cycles)]
    assert labels == [2000, 3000, 4000, 5000, 6000]
    assert config.simulation.seed_list == [0, 1, 2, 3, 4]
    labels = [strategy.label for strategy in config.strategies]
    first = ["vl4pose", "random", "multi-peak-entropy", "confidence", "core-set"]
    assert labels[:5] == first
    assert config.run.order == "strategy"
    others = {strategy.name for strategy in config.strategies}
    from vl4pose.active.strategies.registry import STRATEGIES

    assert others == set(STRATEGIES)


def test_the_small_one_has_three_networks_of_four_strategies():
    config = read_config(BENCH / "lsp_simulation.toml")
    assert {strategy.name for strategy in config.strategies} == {
        "random", "multi-peak-entropy", "vl4pose", "confidence",
    }  # fmt: skip
    assert (config.simulation.cycles, len(config.simulation.seed_list)) == (3, 3)
    assert config.run.device == "cpu"


@pytest.mark.parametrize("paper", [False, True])
def test_a_trial_differs_by_its_sizes_alone(tmp_path, monkeypatch, paper):
    monkeypatch.syspath_prepend(str(BENCH))
    path = lsp_simulation.configuration(paper, True, tmp_path / "out")
    assert path == tmp_path / "out.toml"
    whole, small = (
        tomllib.loads(file.read_text()) for file in (lsp_simulation.CONFIGS[paper], path)
    )
    read_config(path)
    for table, values in small.items():
        for key, value in values.items():
            changed = lsp_simulation.SMALL.get(table, {})
            if key not in changed:
                assert value == whole[table][key]
            elif not isinstance(value, dict):
                assert value == changed[key]
            else:
                assert value == {**whole[table][key], **changed[key]}
    assert lsp_simulation.configuration(paper, False, tmp_path) == lsp_simulation.CONFIGS[paper]
    assert tomllib.loads(lsp_simulation.as_toml(whole)) == whole


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trial(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trial that the command did, on real crops."""
    out = tmp_path_factory.mktemp("lsp") / "trial"
    command = [sys.executable, "-m", "bench.lsp_simulation", "--small", "--out", str(out)]
    done = subprocess.run(
        [*command, "--data", str(test_data)],
        cwd=BENCH.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Multi-Peak Entropy" in done.stdout
    return out


def test_a_trial_has_all_records_and_pictures(trial):
    records = read_records(trial)
    strategies = ["confidence", "multi-peak-entropy", "random", "vl4pose"]
    assert [(r.strategy, r.seed, r.cycle) for r in records] == [
        (name, seed, cycle) for name in strategies for seed in (0, 1) for cycle in (0, 1, 2)
    ]
    for record in records:
        assert record.num_labels == 16 + 8 * record.cycle
        assert len(record.selected) == (8 if record.cycle < 2 else 0)
        assert 0 <= record.metrics["PCK@0.2"] <= record.metrics["PCK@0.5"] <= 1
    firsts = {(r.strategy, r.seed): r for r in records if r.cycle == 0}
    for seed in (0, 1):  # of one network, which they share
        assert len({firsts[name, seed].metrics["PCK@0.5"] for name in strategies}) == 1
        assert len({tuple(firsts[name, seed].selected) for name in strategies}) == 4
    names = ["summary.json", "simulation.html", "curves.png", "picks.png"]
    for name in [*names, *(f"picks/{name}.png" for name in strategies)]:
        assert (trial / name).stat().st_size > 1000, name


def test_after_a_piece_there_is_what_is_done_so_far(trial, test_data, tmp_path, capsys):
    part = tmp_path / "part"
    shutil.copytree(trial, part)
    for name in ("runs/vl4pose/seed-1/cycle-2.json", "summary.json", "picks.png", "curves.png"):
        (part / name).unlink()
    shutil.rmtree(part / "runs" / "confidence")
    lsp_simulation.show_so_far(trial.with_name("trial.toml"), part, test_data)
    shown = capsys.readouterr().out
    assert "Not begun: Confidence." in shown
    assert "of seed 1 is not there: VL4Pose." in shown
    assert (part / "picks.png").exists()
    assert (part / "curves.png").exists()
    assert not (part / "summary.json").exists()
    before = sorted(path.name for path in tmp_path.iterdir())
    lsp_simulation.show_so_far(trial.with_name("trial.toml"), tmp_path / "nothing", test_data)
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "--data: must hold lsp_crops128.npz, got 'nowhere' without it"),
        (["--out"], "--out: expected one argument"),
    ],
)
def test_wrong_command_lines_are_one_sentence(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        lsp_simulation.parse(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"python -m bench.lsp_simulation: argument {message}"


def test_other_options_are_passed_on(made_crops):
    own, more = lsp_simulation.parse(
        ["--data", str(made_crops), "--paper", "--small", "--time-limit", "8min", "--estimate"]
    )
    assert (own.data, own.paper, own.small) == (made_crops, True, True)
    assert own.out == BENCH.parent / "build" / "lsp-paper-small"
    assert more == ["--time-limit", "8min", "--estimate"]
