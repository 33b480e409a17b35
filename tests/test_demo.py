"""``vl4pose demo``: what it measures with, and the whole of it through the command line."""

from __future__ import annotations

import json
import re
import runpy
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("kornia")
pq = pytest.importorskip("pyarrow.parquet")

from PIL import Image  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose.cli.app import app  # noqa: E402
from vl4pose.cli.demo_run import QUICK  # noqa: E402
from vl4pose.demo.contact_sheet import Panel, draw_contact_sheet  # noqa: E402
from vl4pose.demo.evaluation import auroc, joint_errors  # noqa: E402
from vl4pose.demo.pictures import draw_picture  # noqa: E402
from vl4pose.demo.training import (  # noqa: E402
    HEATMAP_SIZE,
    TRANSFORM,
    PictureDataset,
)
from vl4pose.pool.decoding import read_rgb  # noqa: E402

MAIN = [sys.executable, "-c", "from vl4pose.cli import main; main()"]
FILES = {
    "aux.pt", "contact_sheet.png", "images", "pose.json", "pose.pt", "scores.parquet", "truth.json",
}  # fmt: skip


def invoke(*args: object):
    return CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(app, list(map(str, args)))


# --- measures ---------------------------------------------------------------------------------


def test_auroc_is_the_share_of_pairs_in_order():
    suspicion = np.array([5.0, 3.0, 1.0, 4.0, 2.0, 0.0])
    found = np.array([True, True, True, False, False, False])
    assert auroc(suspicion, found, ~found) == pytest.approx(6 / 9)
    assert auroc(-suspicion, found, ~found) == pytest.approx(3 / 9)
    assert auroc(np.zeros(6), found, ~found) == 0.5  # equal ones count half
    assert np.isnan(auroc(suspicion, found, np.zeros(6, np.bool_)))


def test_errors_are_in_torsos():
    truth = np.zeros((1, 14, 2))
    joint = vl4pose.get_skeleton("lsp").joint_index
    truth[0, joint("left_shoulder")] = (3, 4)  # 5 to the right hip
    truth[0, joint("right_shoulder")] = (6, 8)  # 10 to the left hip: the longer one
    found = truth.copy()
    found[0, joint("head")] = (0, 2)
    errors = joint_errors(found, truth)
    assert errors[0, joint("head")] == pytest.approx(0.2)
    assert errors.sum() == pytest.approx(0.2)


def test_training_sees_every_picture_and_its_mirror_image():
    picture = draw_picture("ordinary", 5)
    dataset = PictureDataset([picture, draw_picture("ordinary", 6)], mirrored=True)
    assert len(dataset) == 4
    (image, keypoints, visible), (mirrored, other_side, _) = dataset[0], dataset[2]
    expected, placement = TRANSFORM.apply(picture.image)
    np.testing.assert_allclose(image, expected, atol=1e-6)
    in_image = TRANSFORM.heatmap_to_image(keypoints, HEATMAP_SIZE, placement)
    np.testing.assert_allclose(in_image, picture.keypoints, atol=1e-3)
    assert visible.all()
    torch.testing.assert_close(mirrored, image.flip(-1))
    joint = vl4pose.get_skeleton("lsp").joint_index
    for ours, theirs in (
        ("left_wrist", "right_wrist"),
        ("right_hip", "left_hip"),
        ("neck", "neck"),
    ):
        x, y = keypoints[joint(ours)]
        torch.testing.assert_close(other_side[joint(theirs)], torch.stack([31 - x, y]))
    assert len(PictureDataset([picture], mirrored=False)) == 1


# --- the contact sheet ------------------------------------------------------------------------


def panel(title: str, at: float, moved: float = 0.0) -> Panel:
    arm = np.array([(at, at), (at + 30, at)])
    return Panel(
        image=Image.new("RGB", (100, 100), (90, 120, 90)),
        keypoints=arm,
        refined=np.add(arm, (0, moved)),
        lengths=np.array([30.0]),
        per_link=np.array([-1.0]),
        title=title,
    )


def test_a_contact_sheet_is_twice_as_wide_as_a_readme_and_shows_poses(tmp_path):
    arm = vl4pose.Skeleton("arm", ["shoulder", "elbow"], [("shoulder", "elbow")])
    panels = [panel(f"{number}  ordinary", 30) for number in range(3)]
    draw_contact_sheet([("Least", panels), ("Most", panels)], arm, tmp_path / "sheet.png")
    moved = [panel(f"{number}  ordinary", 30, moved=20) for number in range(3)]
    draw_contact_sheet([("Least", panels), ("Most", moved)], arm, tmp_path / "moved.png")
    with Image.open(tmp_path / "sheet.png") as one, Image.open(tmp_path / "moved.png") as other:
        assert one.size == other.size
        assert one.width == 1800
        before, after = (np.asarray(sheet.convert("RGB"), np.int32) for sheet in (one, other))
    changed = np.abs(before - after).max(axis=2) > 60  # by more than another palette does
    rows, columns = np.nonzero(changed)
    assert rows.min() > len(before) / 3  # of the second row alone, and there in every panel
    assert set(columns // 600) == {0, 1, 2}


# --- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A finished run: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    result = invoke("demo", "--quick", "--out", folder, "--num-threads", 1)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def truth_of(folder: Path) -> dict[str, dict]:
    return {entry["image"]: entry for entry in json.loads((folder / "truth.json").read_text())}


def line_of(shown: str, beginning: str) -> list[str]:
    """Return the columns of the line that begins so."""
    (line,) = [line for line in shown.splitlines() if re.match(rf"{beginning}\b", line)]
    return re.split(r"\s{2,}", line.strip())


def test_everything_is_in_the_folder(quick):
    folder, shown = quick
    assert {path.name for path in folder.iterdir()} == FILES
    kinds = [entry["kind"] for entry in truth_of(folder).values()]
    assert kinds == QUICK.pool()
    assert {path.name for path in (folder / "images").iterdir()} == truth_of(folder).keys()
    table = pq.read_table(folder / "scores.parquet")
    assert table["image"].to_pylist() == sorted(truth_of(folder))
    assert table["status"].to_pylist() == [0] * len(kinds)
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width == 1800
    assert f"Least and most likely poses: {folder}/contact_sheet.png" in shown.replace("\n", "")


def test_the_networks_are_torchscript_with_their_settings(quick):
    folder, _ = quick
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pose, aux = (torch.jit.load(folder / name) for name in ("pose.pt", "aux.pt"))
    with torch.no_grad():
        heatmaps, features = pose(torch.zeros(2, 3, 128, 128))
        params = aux(features)
    assert heatmaps.shape == (2, 1, 14, 32, 32)
    assert params.shape == (2, 13, 2)
    metadata = json.loads(pq.read_metadata(folder / "scores.parquet").metadata[b"vl4pose"])
    settings = json.loads((folder / "pose.json").read_text())
    assert metadata["settings"]["input"]["input_size"] == settings["input_size"] == [128, 128]
    assert set(metadata["models"]) == {"pose", "aux", "settings"}


def test_the_figures_are_those_of_the_table(quick):
    folder, shown = quick
    truth = truth_of(folder)
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    kinds = np.array([truth[row["image"]]["kind"] for row in rows])
    entropies = entropies_of(folder, [row["image"] for row in rows])
    suspicions = {
        "likelihood": [-row["score"] for row in rows],
        "entropy": entropies,
        "confidence": [-np.mean(row["confidence"]) for row in rows],
        "both": ranks([-row["log_prob"] for row in rows]) + ranks(entropies),
    }

    def share_in_order(suspicion, found, others) -> float:
        pairs = [(a > b) + (a == b) / 2 for a in suspicion[found] for b in suspicion[others]]
        return float(np.mean(pairs))

    ordinary = kinds == "ordinary"
    expected = [share_in_order(np.array(s), ~ordinary, ordinary) for s in suspicions.values()]
    assert line_of(shown, "8 out of distribution")[1:] == [f"{value:.3f}" for value in expected]
    blurred = [share_in_order(np.array(s), kinds == "blur", ordinary) for s in suspicions.values()]
    assert line_of(shown, " +2 blur")[1:] == [f"{value:.3f}" for value in blurred]

    joints = np.array([truth[row["image"]]["keypoints"] for row in rows])
    torso = np.maximum(
        np.linalg.norm(joints[:, 2] - joints[:, 11], axis=1),
        np.linalg.norm(joints[:, 5] - joints[:, 8], axis=1),
    )
    shares = []
    for threshold in (0.2, 0.5):
        for column in ("keypoints", "refined_keypoints"):
            found = np.array([row[column] for row in rows])
            errors = np.linalg.norm(found - joints, axis=2) / torso[:, None]
            shares.append((errors < threshold).mean())
    figures = [float(value) for value in line_of(shown, "16 all")[1:]]
    np.testing.assert_allclose(figures, shares, atol=6e-4)  # the truth is rounded in the file
    num_bad = int(((errors_of(rows, joints, torso) > 0.5).sum(axis=1) >= 3).sum())
    assert len(line_of(shown, f"{num_bad} bad poses of 16")) == 5


def ranks(values) -> np.ndarray:
    """Return how many are below each, and half of those that are equal."""
    values = np.array(values)
    below = values[:, None] > values
    return below.sum(axis=1) + (values[:, None] == values).sum(axis=1) / 2


def entropies_of(folder: Path, names: list[str]) -> np.ndarray:
    """Return Multi-Peak Entropy as it is defined: of 5 peaks, 5 pixels apart."""
    scorer = vl4pose.Scorer(folder / "pose.pt", folder / "aux.pt", "lsp", trust=True)
    entropies = []
    for name in names:
        pixels, _ = TRANSFORM.apply(read_rgb(folder / "images" / name))
        heatmaps = scorer.predict(torch.from_numpy(pixels)[None]).heatmaps
        entropies.append(vl4pose.multi_peak_entropy(heatmaps)[0].item())
    return np.array(entropies)


def errors_of(rows, joints, torso) -> np.ndarray:
    found = np.array([row["keypoints"] for row in rows])
    return np.linalg.norm(found - joints, axis=2) / torso[:, None]


def test_the_command_that_is_shown_gives_the_same_scores(quick, tmp_path):
    folder, shown = quick
    (command,) = [line for line in shown.splitlines() if line.startswith("$ vl4pose score ")]
    args = command.removeprefix("$ vl4pose ").split()
    args[args.index("--out") + 1] = str(tmp_path / "again.parquet")
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    again = pq.read_table(tmp_path / "again.parquet")
    np.testing.assert_allclose(
        again["score"].to_pylist(),
        pq.read_table(folder / "scores.parquet")["score"].to_pylist(),
        rtol=1e-5,
    )


def test_the_same_seed_gives_the_same_and_another_replaces_it(quick, tmp_path):
    folder, shown = quick
    out = tmp_path / "again"
    (out / "images").mkdir(parents=True)
    (out / "images" / "999-ordinary.jpg").write_bytes(b"of an earlier demo")
    result = invoke("demo", "--quick", "--out", out, "--num-threads", 1)
    assert result.exit_code == 0, result.output

    def without_times(text: str) -> str:  # nor the spaces that line them up
        text = re.sub(r"\d+\.\d+ +\d+\.\d%|\d+\.\d+  \d+\.\d images/s", "", text)
        return re.sub(r" +", " ", text)

    assert without_times(result.stdout).replace(str(out), "") == without_times(shown).replace(
        str(folder), ""
    )
    assert not (out / "images" / "999-ordinary.jpg").exists()
    for name in ("truth.json", "pose.json", "contact_sheet.png"):
        assert (out / name).read_bytes() == (folder / name).read_bytes(), name

    result = invoke("demo", "--quick", "--out", out, "--num-threads", 1, "--seed", 1)
    assert result.exit_code == 0, result.output
    assert truth_of(out) != truth_of(folder)
    assert {path.name for path in (out / "images").iterdir()} == truth_of(out).keys()


WRONG = [
    (["--seed", "-1"], "--seed must be at least 0, got -1"),
    (["--seed", "x"], "--seed must be a whole number, got 'x'"),
    (["--num-threads", "0"], "--num-threads must be between 1 and 1024, got 0"),
    (["--quik"], "No such option: --quik (did you mean --quick?)"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda value: str(value)[:20])
def test_wrong_options_are_one_sentence(tmp_path, options, message):
    result = invoke("demo", "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert result.stderr == f"Error: {message}\nTry 'vl4pose demo --help'.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"mine")
    (tmp_path / "pose.pt").write_bytes(b"mine too")
    result = invoke("demo", "--quick", "--out", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "Error: --out must be a new folder or that of an earlier demo, got "
        f"'{tmp_path}' with 'images/holiday.jpg' in it\n"
    )
    assert (tmp_path / "pose.pt").read_bytes() == b"mine too"

    result = invoke("demo", "--out", tmp_path / "pose.pt")
    assert result.exit_code == 2
    assert f"--out must be a folder, got the file '{tmp_path / 'pose.pt'}'" in result.stderr
    result = invoke("demo", "--out", tmp_path / "no" / "out")
    assert result.exit_code == 2
    assert "--out must be in a folder that exists, got" in result.stderr


def test_a_training_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def fail(*datasets, **options):
        raise RuntimeError("not enough memory: you tried to allocate 1 byte\nand a trace")

    monkeypatch.setattr("vl4pose.cli.demo_run.train", fail)
    result = invoke("demo", "--quick", "--out", tmp_path / "out")
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last == "Error: the training fails: not enough memory: you tried to allocate 1 byte"


def test_help_says_what_it_does():
    page = invoke("demo", "--help").stdout
    for words in ("--out", "--seed", "--quick", "[default: vl4pose-demo]"):
        assert words in page
    assert "demo" in invoke("--help").stdout


# --- real processes ---------------------------------------------------------------------------


def test_a_stopped_demo_says_so(tmp_path):
    process = subprocess.Popen(
        [*MAIN, "demo", "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored here
    )
    while not (tmp_path / "out").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr == f"Interrupted: what is in '{tmp_path / 'out'}' is not complete.\n"


def test_the_module_alone_is_the_demo(monkeypatch):
    given = []
    monkeypatch.setattr("vl4pose.cli.main", lambda: given.append(sys.argv[1:]))
    for args in ([], ["score", "photos"]):
        monkeypatch.setattr(sys, "argv", ["python -m vl4pose", *args])
        runpy.run_module("vl4pose", run_name="__main__")
    assert given == [["demo"], ["score", "photos"]]
