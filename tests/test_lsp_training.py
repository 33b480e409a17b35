"""What is reported of trained auxiliary networks: on a handful of images, and by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from bench import lsp, lsp_training
from vl4pose.losses import nll_loss
from vl4pose.nn import load

LIMIT = 12


def arguments(test_data: Path, *more: str) -> Any:
    return lsp_training.parse(["--data", str(test_data), "--limit", str(LIMIT), *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lsp_training")


@pytest.fixture(scope="module")
def figures(test_data: Path, folder: Path) -> Any:
    return lsp_training.measure(arguments(test_data, "--seeds", "1", "--num-peaks", "3"), folder)


def test_every_row_has_every_temperature(figures: Any) -> None:
    columns = ["T = 0.5", "T = 1", "T = 2", "T = 5", "T fitted"]
    bones = ["constant bones", "auxiliary network"]
    bones += [f"{name}, allowing for peaks" for name in bones]
    for name in ("PCK@0.2", "PCK@0.5"):
        assert set(figures[name]) == {"argmax", *bones}
    rows = {f"{method}: {name}" for method in ("expected", "max", "marginal") for name in bones}
    rows |= {f"max at T = 1 + entropy: {name}" for name in bones[:2]}
    for name in ("Spearman", "AUROC"):
        assert set(figures[name]) == {*rows, "Multi-Peak Entropy", "1 - mean confidence"}
    for name in ("PCK@0.2", "PCK@0.5", "Spearman", "AUROC"):
        for cells in figures[name].values():
            assert list(cells) == columns
            assert all(-1 <= value <= 1 for values in cells.values() for value in values)


def test_figures_are_those_of_the_library(test_data: Path, folder: Path, figures: Any) -> None:
    """By another way: the command line's table, with the network as it is."""
    pose, aux = folder / "pose.pt", folder / "aux0.pt"
    (folder / "aux0.json").rename(folder / "settings of fit.json")
    out = folder / "scores.parquet"
    images = [str(lsp.image_path(test_data, number)) for number in lsp.TEST[:LIMIT]]
    from typer.testing import CliRunner

    from vl4pose.cli.app import app

    options = ["--pose", str(pose), "--aux", str(aux), "--skeleton", "lsp", "--trust"]
    options += ["--num-peaks", "3", "--temperature", "2", "--out", str(out)]
    result = CliRunner().invoke(app, ["score", *images, *options])
    assert result.exit_code == 0, result.output
    scores = lsp.read_scores(out)
    truth = lsp.load_annotations(test_data)[1000 : 1000 + LIMIT]
    errors = lsp.joint_errors(scores.column("keypoints"), truth)
    refined = lsp.joint_errors(scores.column("refined_keypoints"), truth)
    name, column = "auxiliary network", "T = 2"
    assert figures["PCK@0.2"]["argmax"][column] == [pytest.approx(lsp.pck(errors, 0.2))]
    assert figures["PCK@0.5"][name][column] == [pytest.approx(lsp.pck(refined, 0.5))]
    expected = lsp.spearman(-scores.column("score"), errors)
    assert figures["Spearman"][f"expected: {name}"][column] == [pytest.approx(expected, abs=0.02)]
    entropy = lsp.auroc(scores.column("multi_peak_entropy"), errors)
    assert figures["AUROC"]["Multi-Peak Entropy"][column] == [pytest.approx(entropy, abs=0.02)]


def test_likelihoods_are_of_the_true_bones(test_data: Path, folder: Path, figures: Any) -> None:
    params = torch.from_numpy(lsp.fit_bones(test_data)).float()
    pose = lsp_training.StackedHourglass.from_released(test_data / "lsp_hourglass32.pth").eval()
    aux = load(folder / "aux0.safetensors")
    poses = lsp_training.Poses(test_data, lsp.TEST[:LIMIT], pose, [aux])
    nll = {"constant bones": params, "auxiliary network": poses.params[0]}
    for name, of_bones in nll.items():
        expected = nll_loss(of_bones, poses.truth, skeleton="lsp").item()
        assert figures["nll"][name] == [pytest.approx(expected, rel=1e-4)]


def test_networks_that_are_there_are_used(test_data: Path, folder: Path, figures: Any) -> None:
    before = (folder / "aux0.safetensors").stat().st_mtime_ns
    lsp_training.trained(test_data, folder, 0, LIMIT, 3)
    assert (folder / "aux0.safetensors").stat().st_mtime_ns == before


def some_figures() -> dict[str, Any]:
    columns = ("T = 1", "T fitted")

    def row(*means: float) -> dict[str, list[float]]:
        return {c: [m - 0.01, m, m + 0.01] for c, m in zip(columns, means, strict=True)}

    argmax = {column: [0.7] * 3 for column in columns}
    return {
        "nll": {"constant bones": [2.25], "auxiliary network": [2.0, 2.01, 2.02]},
        "PCK@0.2": {"argmax": argmax, "a": row(0.72, 0.72), "b": row(0.705, 0.72)},
        "PCK@0.5": {"argmax": argmax, "a": row(0.72, 0.73), "b": row(0.72, 0.72)},
        "Spearman": {"a": row(0.5, 0.6), "b": row(0.55, 0.5)},
        "AUROC": {"a": row(0.7, 0.71), "b": row(0.75, 0.7)},
    }


def test_tables_and_sentences_by_hand() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    for table in lsp_training.tables(some_figures()):
        console.print(table)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["constant", "bones", "2.250"] in lines
    assert ["auxiliary", "network", "2.010", "±.010"] in lines
    assert ["argmax", "0.700", "0.700"] in lines
    assert ["a", "0.500", "±.010", "0.600", "±.010"] in lines
    assert list(lsp_training.conclusions(some_figures())) == [
        "Best by Spearman: a, T fitted.",
        "Best by AUROC: b, T = 1.",
        "Refining with a lowers no PCK at any temperature.",
        "Refining with b lowers PCK@0.2 at T = 1.",
    ]


def test_the_variance_of_peaks_is_added() -> None:
    params = torch.tensor([[[10.0, 0.0], [5.0, 2.0]]])
    wider = lsp_training.Bones(params, 1.0, 3.0).widened()
    torch.testing.assert_close(wider[..., 0], params[..., 0])
    torch.testing.assert_close(wider[..., 1].exp(), params[..., 1].exp() + 3)
    torch.testing.assert_close(lsp_training.Bones(params, 1.0, 0.0).widened(), params)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "0"], "--seeds: must be a positive whole number, got '0'"),
        (["--num-peaks", "x"], "--num-peaks: must be a positive whole number, got 'x'"),
        (["--limit", "1001"], "--limit: must be a whole number between 1 and 1000, got '1001'"),
    ],
)
def test_wrong_command_lines_are_one_sentence(
    test_data: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments(test_data, *more)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"python -m bench.lsp_training: argument {message}"
