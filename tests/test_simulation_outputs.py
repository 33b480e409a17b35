"""The outputs of a simulation: tables, figure, page; finished or not, and what a person sees."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
pytest.importorskip("PIL")

from made_records import made_records
from PIL import Image
from rich.console import Console

from vl4pose.simulation.curve_svg import nice_ticks, with_minus
from vl4pose.simulation.curves import (
    COLOURS,
    MARKERS,
    curves_of,
    label_ticks,
    spread,
    styles_of,
    value_range,
)
from vl4pose.simulation.outputs import read_summary, terminal_summary, write_outputs
from vl4pose.simulation.records import CycleRecord, record_path, write_record
from vl4pose.simulation.statistics import Summary, summarise
from vl4pose.simulation.verdicts import scale_of

FILES = [
    *("curves.png", "cycles.csv", "differences.csv", "joints.csv"),
    *("simulation.html", "summary.json"),
]
JOINTS = ["head", "left_hand", "right_hand"]
EVIL = "<img src=x onerror=alert(1)>\"'&amp;"
TITLES = {"random": "Random", "vl4pose": "VL4Pose", "core-set": "Core-Set"}
PLAN = {
    "version": "0.1.0",
    "strategies": TITLES,
    "seeds": [0, 1, 2, 3, 4],
    "num_labels": [2000, 3000, 4000, 5000, 6000],
    "metrics": ["PCK@0.2", "MPJPE"],
    "baseline": "random",
    "data": {"num_training_images": 8000},
    "config": {
        "training": {"from": "scratch", "epochs": 30},
        "data": {
            "images": "photos",
            "skeleton": {"joints": JOINTS, "links": [["head", name] for name in JOINTS[1:]]},
        },
    },
}
MANY = ["random", *(f"strategy-{i}" for i in range(17))]


def folder_of(folder: Path, records: list[CycleRecord], plan: Any = None) -> Path:
    for record in records:
        write_record(folder, record)
    if plan is not None:
        (folder / "simulation.json").write_text(json.dumps(plan))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def text_of(summary: Summary, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(terminal_summary(summary, width=width))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished simulation with its outputs and two pictures of what was chosen."""
    path = folder_of(tmp_path_factory.mktemp("sim") / "pool", made_records(), PLAN)
    (path / "picks").mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("picks.png", (300, 2000, 3)), ("picks/vl4pose.png", (200, 400, 3))):
        Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(path / name)
    write_outputs(path)
    return path


# --- for programs -------------------------------------------------------------------------------


def test_all_files_are_written_and_again_are_the_same(folder):
    assert sorted(path.name for path in folder.iterdir() if path.suffix in
                  (".csv", ".png", ".html", ".json")) == sorted(
        [*FILES, "picks.png", "simulation.json"]
    )  # fmt: skip
    before = {name: (folder / name).read_bytes() for name in FILES}
    write_outputs(folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_cycles_hold_means_of_the_seeds(folder):
    rows = rows_of(folder / "cycles.csv")
    assert len(rows) == 2 * 3 * 5
    for row in rows:
        values = [
            record.metrics[row["metric"]]
            for record in made_records()
            if record.strategy == row["strategy"] and record.cycle == int(row["cycle"])
        ]
        assert float(row["mean"]) == pytest.approx(np.mean(values))
        assert float(row["std"]) == pytest.approx(np.std(values, ddof=1))
        assert float(row["low"]) < float(row["mean"]) < float(row["high"])
        assert int(row["num_labels"]) == 2000 + 1000 * int(row["cycle"])
        assert row["num_seeds"] == "5"
        assert row["train_seconds"] == "62"
        assert row["score_seconds"] == ("" if row["cycle"] == "4" else "3")


def test_joints_hold_means_of_the_seeds(folder):
    rows = rows_of(folder / "joints.csv")
    assert len(rows) == 3 * 5 * 3
    assert [row["joint"] for row in rows[:3]] == JOINTS
    of_cycles = {
        (row["strategy"], row["cycle"]): (float(row["mean"]), row["num_labels"])
        for row in rows_of(folder / "cycles.csv")
        if row["metric"] == "PCK@0.2"
    }
    for row in rows:
        mean, num_labels = of_cycles[row["strategy"], row["cycle"]]
        assert row["metric"] == "PCK@0.2"
        assert row["num_labels"] == num_labels
        if row["joint"] == "right_hand":
            assert row["mean"] == ""
        else:
            expected = mean + (0.1 if row["joint"] == "head" else -0.1)
            assert float(row["mean"]) == pytest.approx(expected)


def test_joints_are_means_of_the_seeds_that_tell_of_them(tmp_path):
    records = [
        CycleRecord("random", 0, 0, 10, {"PCP@0.5": 0.5}, {"PCP@0.5": [0.25, None]}),
        CycleRecord("random", 1, 0, 10, {"PCP@0.5": 0.5}, {"PCP@0.5": [0.75, 0.5]}),
        CycleRecord("vl4pose", 0, 0, 10, {"PCP@0.5": 0.5}),
    ]
    plan = {"strategies": {"random": "Random", "vl4pose": "VL4Pose"}, "seeds": [0, 1]}
    write_outputs(folder_of(tmp_path, records, PLAN | plan | {"num_labels": [10]}))
    rows = [tuple(row.values())[1:] for row in rows_of(tmp_path / "joints.csv")]
    assert rows == [
        ("random", "0", "10", "head>left_hand", "0.5"),
        ("random", "0", "10", "head>right_hand", "0.5"),
        ("vl4pose", "0", "10", "head>left_hand", ""),
        ("vl4pose", "0", "10", "head>right_hand", ""),
    ]
    page = (tmp_path / "simulation.html").read_text()
    assert "The same for each bone" in page
    assert '<th scope="row">head to left hand</th><td class="number">50.0</td>' in page


def test_joints_without_names_are_numbered(tmp_path):
    write_outputs(folder_of(tmp_path, made_records(num_seeds=1, num_cycles=1)))
    assert [row["joint"] for row in rows_of(tmp_path / "joints.csv")[:3]] == ["1", "2", "3"]


def test_differences_hold_every_pair_and_cycle(folder):
    rows = rows_of(folder / "differences.csv")
    assert len(rows) == 2 * 3 * 6
    curves = [row for row in rows if row["metric"] == "PCK@0.2" and row["cycle"] == "curve"]
    pairs = [(row["strategy"], row["versus"], row["verdict"]) for row in curves]
    assert pairs == [
        ("vl4pose", "random", "better"),
        ("core-set", "random", "not separated"),
        ("vl4pose", "core-set", "better"),
    ]
    means: dict[tuple[str, int], list[float]] = {}
    for record in made_records():
        if record.cycle:
            key = (record.strategy, record.seed)
            means.setdefault(key, []).append(record.metrics["PCK@0.2"])
    away = [np.mean(means["vl4pose", s]) - np.mean(means["random", s]) for s in range(5)]
    assert float(curves[0]["difference"]) == pytest.approx(np.mean(away))
    last = next(row for row in rows if row["cycle"] == "4" and row["strategy"] == "core-set")
    assert last["labels_saved_low"] == "not reached"
    assert float(last["labels_saved_high"]) < 2000
    assert last["verdict"] == ""


def test_the_summary_is_json_and_says_what_the_tables_say(folder):
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = (folder / "summary.json").read_text()
    content = json.loads(text, parse_constant=refuse)
    assert content["format"] == 1
    assert content["baseline"] == "random"
    assert content["strategies"] == TITLES
    assert content["seeds"] == [0, 1, 2, 3, 4]
    assert content["num_labels"] == PLAN["num_labels"]
    assert content["missing"] == []
    assert content["seconds"]["random"]["score"] == 3.0
    metric, error = content["metrics"]
    assert (metric["metric"], metric["higher_is_better"]) == ("PCK@0.2", True)
    assert (error["metric"], error["higher_is_better"]) == ("MPJPE", False)
    assert metric["growth"]["verdict"] == "grows"
    assert "VL4Pose is better than Random" in metric["headline"]
    values = np.array(metric["values"]["vl4pose"])
    assert values.shape == (5, 5)
    of = metric["estimates"]["vl4pose"][2]
    assert of["mean"] == pytest.approx(values[:, 2].mean())
    assert (metric["joints"], error["joints"]) == (JOINTS, [])
    assert metric["per_joint"]["vl4pose"][2] == pytest.approx(
        [of["mean"] + 0.1, of["mean"] - 0.1, None]
    )
    [first, *_] = metric["comparisons"]
    assert first["verdict"] == "better"
    assert first["sentence"].startswith("VL4Pose is better than Random: +")
    assert first["curve"]["p_holm"] >= first["curve"]["p"]
    saved = first["labels_saved"][-1]
    assert (saved["cycle"], saved["num_labels"]) == (4, 6000)
    assert saved["low"] < saved["needed"] < saved["high"] < 6000
    assert metric["comparisons"][1]["labels_saved"][-1]["high"] == "not reached"


def test_a_folder_alone_is_enough(tmp_path):
    write_outputs(folder_of(tmp_path / "sim", made_records(num_seeds=2)))
    content = json.loads((tmp_path / "sim" / "summary.json").read_text())
    assert content["strategies"]["vl4pose"] == "VL4Pose"
    assert content["strategies"]["core-set"] == "Core-Set"
    assert content["missing"] == []


def test_the_baseline_is_that_of_the_configuration_unless_another_is_asked_for(tmp_path):
    folder_of(tmp_path, made_records(num_seeds=2), PLAN | {"seeds": [0, 1], "baseline": "vl4pose"})
    assert read_summary(tmp_path).baseline == "vl4pose"
    assert read_summary(tmp_path, baseline="core-set").baseline == "core-set"
    with pytest.raises(ValueError, match=r"baseline must be .*, got 'core set'"):
        read_summary(tmp_path, baseline="core set")


def test_a_simulation_that_is_not_finished_has_its_outputs_too(tmp_path):
    records = [r for r in made_records() if r.strategy != "core-set" and r.seed != 4]
    records = [r for r in records if not (r.seed == 3 and r.cycle > 0 and r.strategy == "random")]
    summary = write_outputs(folder_of(tmp_path, records, PLAN))
    said = [
        "Cycles 2 to 5 of seed 3 are not there: Random.",
        "Cycles 1 to 5 of seed 4 are not there: Random and VL4Pose.",
        "Not begun: Core-Set.",
    ]
    assert json.loads((tmp_path / "summary.json").read_text())["missing"] == said
    page = (tmp_path / "simulation.html").read_text()
    assert all(sentence in page for sentence in said)
    text = text_of(summary)
    assert "not there yet" in text
    assert "(4)" in text
    assert "So far: 3 of 5 seeds." in " ".join(text.split())


def test_what_is_not_a_simulation_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no records of a simulation"):
        write_outputs(tmp_path)
    folder_of(tmp_path, made_records(num_seeds=1))
    for content, message in (
        ("{", r"simulation.json' must hold JSON: "),
        ("[]", r"simulation.json' must hold an object, got list"),
        ("{}", r"simulation.json' must hold 'strategies', got None"),
    ):
        (tmp_path / "simulation.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            read_summary(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name in FILES] == []


@pytest.mark.parametrize("content", ["", '{"strategy": "random"', "{}", "[]", "null"])
def test_a_damaged_record_is_named(tmp_path, content):
    folder_of(tmp_path, made_records(num_seeds=1))
    record_path(tmp_path, "random", 0, 1).write_text(content)
    with pytest.raises(ValueError, match=r"cycle-1\.json' must hold the record of a cycle"):
        write_outputs(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name in FILES] == []


ODD = {
    "one seed": {"num_seeds": 1},
    "one cycle": {"num_cycles": 1},
    "one strategy": {"strategies": ["vl4pose"]},
    "two seeds": {"num_seeds": 2, "gain": 0},
    "all equal": {"noise": 0, "seed_noise": 0, "gain": 0, "effects": {}},
    "one of all": {"num_seeds": 1, "num_cycles": 1, "strategies": ["random"]},
    "many": {"strategies": MANY[:8], "num_seeds": 2, "num_cycles": 12},
}


@pytest.mark.parametrize("options", ODD.values(), ids=ODD)
def test_odd_simulations_have_all_outputs(tmp_path, options):
    records = made_records(**options)
    summary = write_outputs(folder_of(tmp_path, records))
    assert all((tmp_path / name).stat().st_size > 0 for name in FILES)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == 1650
    text = text_of(summary)
    assert max(map(len, text.splitlines())) <= 80
    page = (tmp_path / "simulation.html").read_text()
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()
    assert "inf" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()


def test_tables_show_no_share_that_cannot_be(tmp_path):
    records = made_records(["random", "vl4pose"], num_seeds=2, noise=0.2)
    summary = write_outputs(folder_of(tmp_path, records))
    assert summary.metrics[0].comparisons[0].curve.detectable > 1
    lines = text_of(summary).splitlines()
    head = next(index for index, line in enumerate(lines) if "seen from" in line)
    end = lines[head].index("seen from") + len("seen from")
    assert lines[head + 1][:end].endswith(" none")
    assert '<td class="number">none</td>' in (tmp_path / "simulation.html").read_text()


def test_a_metric_without_a_number_has_a_page_that_says_so(tmp_path):
    records = [
        CycleRecord(name, seed, 0, 10, {"PCK@0.2": math.nan})
        for name in ("random", "vl4pose")
        for seed in (0, 1)
    ]
    write_outputs(folder_of(tmp_path, records))
    assert "No cycle has a number to show." in (tmp_path / "simulation.html").read_text()
    assert "PCK@0.2 is not a number in cycle 1" in (tmp_path / "summary.json").read_text()


# --- for people ---------------------------------------------------------------------------------


def test_the_terminal_shows_tables_and_verdicts_at_80_columns(folder):
    text = text_of(read_summary(folder))
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    assert lines[0] == "PCK@0.2 in %: mean ± std of 5 seeds"
    [head] = [line for line in lines if line.startswith("          2,000 labels")]
    assert head.split() == ["2,000", "labels", "3,000", "4,000", "5,000", "6,000"]
    flat = " ".join(text.split())
    assert re.search(r"VL4Pose is better than Random: \+\d\.\d points, 95 % interval \d", flat)
    assert "5 seeds cannot separate Core-Set from Random" in flat
    assert "seconds a cycle train evaluate score select" in flat


def test_a_table_of_many_cycles_is_cut_into_several(tmp_path):
    summary = summarise(made_records(MANY[:6], num_cycles=12))
    text = text_of(summary)
    heads = re.findall(r"^ +(\d[\d,]*(?: labels)?(?: +\d[\d,]*)*) *$", text, re.MULTILINE)
    numbers = " ".join(heads).replace("labels", "").replace(",", "").split()
    assert numbers == [str(2000 + 1000 * i) for i in range(12)]
    wide = text_of(summary, 200)
    assert max(map(len, wide.splitlines())) <= 200
    assert len(wide.splitlines()) < len(text.splitlines())


def test_every_strategy_looks_different_in_all_figures():
    summary = summarise(made_records(MANY, num_seeds=2, num_cycles=2))
    styles = styles_of(summary)
    assert len(set(styles.values())) == len(styles) == 18
    assert styles["random"].colour is None
    assert len(COLOURS) * len(MARKERS) >= 18
    curves = curves_of(summary, summary.metrics[0])
    assert [curve.strategy for curve in curves] == list(summary.strategies)
    low, high = value_range(curves)
    assert all(low < value < high for curve in curves for value in curve.mean)


def test_labels_of_curves_are_apart_and_near():
    assert spread([], 1, 0, 10) == []
    assert spread([3, 8], 1, 0, 10) == [3, 8]
    np.testing.assert_allclose(spread([5, 5], 1, 0, 10), [4.5, 5.5])
    np.testing.assert_allclose(spread([5.2, 5, 9], 1, 0, 10), [5.6, 4.6, 9])
    rng = np.random.default_rng(0)
    for count in (3, 10, 30):
        places = rng.uniform(0, 10, count)
        placed = np.array(spread(places.tolist(), 0.5, 0, 10))
        gap = min(0.5, 10 / (count - 1))
        assert (np.diff(np.sort(placed)) >= gap - 1e-9).all()
        assert placed.min() >= -1e-9
        assert placed.max() <= 10 + 1e-9
        np.testing.assert_array_equal(np.argsort(placed), np.argsort(places))


def test_ticks_are_round_and_few():
    assert nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    np.testing.assert_allclose(nice_ticks(59.7, 72.4), [60, 65, 70])
    np.testing.assert_allclose(nice_ticks(0.031, 0.0345), [0.031, 0.032, 0.033, 0.034])
    rng = np.random.default_rng(0)
    for low, size in zip(rng.normal(0, 100, 200), 10 ** rng.uniform(-6, 6, 200), strict=True):
        ticks = nice_ticks(low, low + size)
        assert 1 <= len(ticks) <= 6
        assert low - 1e-6 * size <= min(ticks)
        assert max(ticks) <= low + size * (1 + 1e-6)
    with pytest.raises(ValueError, match="high must be above low"):
        nice_ticks(1, 1)
    assert label_ticks([100]) == [100]
    assert label_ticks([1, 2, 3]) == [1, 2, 3]
    assert label_ticks(list(range(0, 9)), 5) == [0, 2, 4, 6, 8]
    assert label_ticks(list(range(0, 12)), 5)[0] == 0
    assert label_ticks(list(range(0, 12)), 5)[-1] == 11


def test_numbers_are_shown_with_what_their_seeds_allow():
    scale = scale_of(summarise(made_records()).metrics[0])
    assert (scale.digits, scale.unit, scale.points) == (1, " %", " points")
    assert scale.value(0.6543) == "65.4"
    assert scale.difference(0.0123) == "+1.2"
    assert scale.difference(-0.0001) == "0.0"
    assert scale.interval(-0.01, 0.02) == "-1.0 to 2.0"
    fine = scale_of(summarise(made_records(noise=0.0002, seed_noise=0.0002)).metrics[0])
    assert fine.digits == 2
    assert with_minus("core-set: -0.5 to 1, 95 %, p < 0.1") == (
        "core-set: −0.5 to 1, 95\u00a0%, p\u00a0<\u00a00.1"
    )


def test_the_page_is_one_file_whose_policy_lets_nothing_else_in(folder):
    page = (folder / "simulation.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = policy[1].split("; ")
    assert rules[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'"]
    assert not any(rule.startswith("script-src") for rule in rules)
    assert "<script" not in page
    assert 'style="' not in page
    assert "http" not in page.replace('http-equiv="', "")
    assert page.count('src="data:image/webp;base64,') == 2
    assert page.count("src=") == 2


def test_names_from_outside_are_text(tmp_path):
    titles = {"random": "Random", "vl4pose": EVIL, "core-set": "</style><script>x</script>"}
    plan = PLAN | {"strategies": titles, "config": {"data": {EVIL: EVIL}}}
    write_outputs(folder_of(tmp_path, made_records(), plan))
    page = (tmp_path / "simulation.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "<script" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("</style>") == 1
    assert text_of(read_summary(tmp_path)).count("<img") > 0
