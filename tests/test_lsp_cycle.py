"""The whole cycle on a few real images: fit, score, select, two tools and back, fit again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("torch")
from typer.testing import CliRunner

from bench import lsp_cycle
from vl4pose.cli.app import app
from vl4pose.score_table import read_scores

SIZES = {"training": 16, "pool": 12, "flies": 6, "budget": 8, "test": 6, "epochs": 2}


def run(*arguments: str | Path) -> None:
    """Run a command in this process, where torch is loaded already."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def cycle(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    options = [f"--{name}={value}" for name, value in SIZES.items()]
    arguments = lsp_cycle.parse([f"--data={test_data}", *options])
    cycle = lsp_cycle.Cycle(arguments, tmp_path_factory.mktemp("cycle"), run)
    return cycle, cycle.figures()


def test_what_was_chosen_is_annotated_and_trained_on(cycle) -> None:
    cycle, figures = cycle
    found = figures["selection"]
    assert found["selected"] == SIZES["budget"]
    assert found["flies"] == SIZES["flies"]
    people = SIZES["training"] + SIZES["budget"] - found["flies_selected"]
    assert figures["training_people"] == {"second": people, "random": people}
    report = json.loads((cycle.folder / "second.report.json").read_text())
    assert report != json.loads((cycle.folder / "first.report.json").read_text())
    chosen = set(read_scores(cycle.folder / "selection.parquet").rows["image"].to_pylist())
    trained = cycle.people_of(cycle.folder / "training-cvat.json")
    first = {f"im{number:04d}.jpg" for number in range(1, SIZES["training"] + 1)}
    assert set(trained) == first | {name for name in chosen if not name.startswith("fly")}


def test_both_tools_give_back_what_was_annotated(cycle) -> None:
    cycle, figures = cycle
    assert figures["difference_of_tools_px"] <= 1e-3
    for tool in ("cvat", "label-studio"):
        people = cycle.people_of(cycle.folder / f"training-{tool}.json")
        for name, joints in people.items():
            np.testing.assert_allclose(joints, cycle.truth[name], atol=1e-3)


def test_flies_are_less_likely_than_people(cycle) -> None:
    _, figures = cycle
    assert figures["selection"]["auroc_of_flies"] > 0.5
    assert all(np.isfinite(value) for value in figures["nll"].values())


def test_the_table_holds_every_figure(cycle) -> None:
    _, figures = cycle
    screen = io.StringIO()
    Console(file=screen, width=100).print(lsp_cycle.table_of(figures))
    for name in ("first", "second", "random"):
        assert f"{figures['nll'][name]:.3f}" in screen.getvalue()
    report = cycle[0].folder / "report.html"
    assert report.read_bytes().startswith(b"<!doctype html>")


def test_tools_that_disagree_are_seen() -> None:
    pose = np.zeros((14, 2))
    assert lsp_cycle.largest_difference({"a": pose}, {"a": pose + np.array([0, 3])}) == 3
    with pytest.raises(ValueError, match="images must be the same, got"):
        lsp_cycle.largest_difference({"a": pose}, {"b": pose})


@pytest.mark.parametrize("option", ["--training=900", "--pool=0", "--dta=x"])
def test_wrong_options_are_one_sentence(option: str, test_data: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        lsp_cycle.parse([f"--data={test_data}", option])
    assert capsys.readouterr().err.count("\n") == 1
