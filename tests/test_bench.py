"""The benchmarks run, their contestants agree, and the tables say what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vl4pose

pytest.importorskip("cv2", reason="the benchmarks need OpenCV: pip install 'vl4pose[bench]'")
ROOT = Path(__file__).parents[1]

from bench import __main__ as command  # noqa: E402
from bench import batch_sizes, calls, competitors, k_centre, operations  # noqa: E402
from bench.cases import Case  # noqa: E402
from bench.goals import GOALS, MEMORY, Goal  # noqa: E402
from bench.heatmaps import aligned  # noqa: E402
from bench.measure import Measure  # noqa: E402
from bench.read_limit import reads  # noqa: E402

ONE_IMAGE = Case(batch=1)


def run(module: str, *arguments: str) -> str:
    """Return what ``python -m module`` prints, or fail with it."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------
# python -m bench
# ------------------------------------------------------------------------------------------------


def test_contestants_of_goals_agree() -> None:
    # Of the smallest contest: each of them is checked in any case before it is timed.
    assert run("bench", "--check", "-k", "one image") == "all answers agree\n"


def test_table_of_goals_is_made_of_the_saved_json(tmp_path: Path) -> None:
    path = tmp_path / "goals.json"
    printed = run("bench", "-k", MEMORY, "--json", str(path))
    saved = json.loads(path.read_text(encoding="utf-8"))

    assert [goal["name"] for goal in saved["goals"]] == [goal.name for goal in GOALS[MEMORY]]
    for goal in saved["goals"]:
        (row,) = [line for line in printed.splitlines() if goal["name"] in line]
        cells = row.partition(goal["name"])[2].split()
        for verdict in goal["columns"].values():
            number, sign, bound, holds = cells[:4]
            del cells[:4]
            assert float(number) == pytest.approx(verdict["measured"], rel=0.01, abs=0.006)
            assert f"{sign} {bound}" == verdict["bound"]
            assert holds == ("yes" if verdict["holds"] else "NO")
    assert saved["machine"]["cpu"] in printed


def test_a_goal_holds_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    at_most, at_least = Goal("a / b", "<=", (1.5, 2)), Goal("a", ">=", (1.5, 2))
    times = {"a": 3.0, "b": 2.0}
    assert command.verdict(at_most, 0, times) == {"measured": 1.5, "bound": "<= 1.5", "holds": True}
    assert not at_most.holds(1.51, 0)
    assert at_most.holds(2, 1)
    assert command.verdict(at_least, 1, times) == {"measured": 3, "bound": ">= 2", "holds": True}
    assert not at_least.holds(1.99, 1)

    monkeypatch.setattr(vl4pose, "cpu_capabilities", lambda: ("baseline",))
    skipped = {"skipped": "needs avx2, not one of baseline"}
    assert command.verdict(Goal("a / b", "<=", (1, 1), "avx2"), 0, {}) == skipped
    assert command.cells(skipped)[0] == "skipped"


def test_no_goal_matches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "-k", "nothing"])
    assert command.main() == 2
    assert capsys.readouterr().err == "no goal matches -k 'nothing'\n"


@pytest.mark.parametrize("size", [1, 63, 1000, 100_003])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_limit_is_the_maximum(size: int, num_threads: int) -> None:
    array = aligned(np.random.default_rng(size).normal(size=size).astype(np.float32), offset=4)
    for position in (0, size // 2, size - 1):
        array[position] += 10
        for read in reads(array, num_threads).values():  # which checks it too
            assert read() == array.max()


def test_wrong_calls_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    case, maps = ONE_IMAGE, ONE_IMAGE.heatmaps
    right, read = vl4pose.score, competitors.get_heatmap_maximum
    assert calls.ours("score", case, maps)() == right(maps, case.params)
    monkeypatch.setattr(vl4pose, "score", lambda *a, **options: right(*a, **options) + 0.1)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        calls.ours("score", case, maps)

    calls.numpy_decode(maps)
    monkeypatch.setattr(competitors, "get_heatmap_maximum", lambda h: (read(h)[0] + 1, read(h)[1]))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        calls.numpy_decode(maps)


# ------------------------------------------------------------------------------------------------
# python -m bench.batch_sizes
# ------------------------------------------------------------------------------------------------


def test_plot_is_drawn_of_the_saved_times(tmp_path: Path) -> None:
    rows = [{"images": images, "us_per_image": 10 + images} for images in (1, 2, 4)]
    panel = {"title": "5 peaks", "times": dict.fromkeys(batch_sizes.COLORS, rows)}
    data = {"panels": [panel, panel], "machine": {"cpu": "A processor"}}
    batch_sizes.draw(data, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[1:4] == b"PNG"


def test_names_beside_lines_stand_apart() -> None:
    heights = batch_sizes.apart({"c": 100.0, "a": 10.0, "b": 10.1})
    assert heights == {"a": 10.0, "b": 10.0 * batch_sizes.NAME_RATIO, "c": 100.0}


# ------------------------------------------------------------------------------------------------
# python -m bench.operations
# ------------------------------------------------------------------------------------------------


def test_contestants_of_the_short_run_agree() -> None:
    # Compiling takes longer than the rest together; the benchmarks themselves check it.
    printed = run("bench.operations", "--check", "--quick", "-k", "not compile")
    assert " passed" in printed


def test_table_of_operations_is_made_of_the_saved_json(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    printed = run("bench.operations", "--quick", "-k", "peak_weights", "--json", str(path))
    saved = json.loads(path.read_text(encoding="utf-8"))

    rows = {
        (info["case"], info["contestant"]): benchmark["stats"]["median"]
        for benchmark in saved["benchmarks"]
        if (info := benchmark["extra_info"])["operation"] == "peak_weights"
    }
    case = "B=256 J=16 64x64 float32 d=5 K=5"
    ratio = rows[case, "torch"] / rows[case, "vl4pose"]
    table = printed[printed.index(case) :].splitlines()
    (row,) = [line.split() for line in table if line.split()[:1] == ["torch"]]
    assert row[1] == "256"
    assert float(row[-1]) == pytest.approx(ratio, abs=0.06)
    assert f"threads used: {saved['machine_info']['threads']}" in printed


def test_a_wrong_answer_is_never_timed() -> None:
    def highest(heatmaps):
        return heatmaps.max((2, 3))

    def contest(name, **wrong):
        timed = []
        functions = {"ours": highest, "reference": highest, "theirs": lambda _, h: highest(h)}
        Measure(Timer(timed), 1)("highest", ONE_IMAGE, name, [maps], **functions | wrong)
        return timed

    maps = ONE_IMAGE.heatmaps
    assert contest("numpy") == ["highest; " + str(ONE_IMAGE)]
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        contest("numpy", theirs=lambda _, h: highest(h) + 1e-3)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        contest("vl4pose on numpy", reference=lambda h: highest(h) + 1e-3)


class Timer:
    """Takes the place of pytest-benchmark's fixture and notes what it is asked to time."""

    def __init__(self, timed: list[str]) -> None:
        self.timed = timed
        self.group = ""
        self.extra_info: dict[str, object] = {}

    def __call__(self, call: object) -> None:
        self.timed.append(self.group)


def test_no_benchmark_matches(capsys: pytest.CaptureFixture[str]) -> None:
    assert operations.ended(0, "score") == 0
    assert capsys.readouterr().err == ""
    assert operations.ended(5, "nothing") == 2
    assert capsys.readouterr().err == "no benchmark matches -k 'nothing'\n"


# ------------------------------------------------------------------------------------------------
# python -m bench.k_centre
# ------------------------------------------------------------------------------------------------


def test_k_centre_of_all_contestants_agree() -> None:
    pytest.importorskip("usearch", reason="the index is usearch's: pip install 'vl4pose[ann]'")
    size = ("--rows", "300", "--columns", "8", "--centres", "20", "--rounds", "1")
    printed = run("bench.k_centre", *size)
    assert "20 of 300 x 8 float32" in printed
    for made in ("spread", "clustered"):
        _, _, rows = printed.partition(f"{made}: seconds")
        lines = rows.splitlines()
        for name in k_centre.CONTESTANTS:
            (line,) = [line for line in lines[:12] if line.startswith(f"  {name}  ")]
            assert float(line.split()[-2]) > 0  # the ratio: so short times may be 0.000


# ------------------------------------------------------------------------------------------------
# Without the extra "bench"
# ------------------------------------------------------------------------------------------------

HIDE = "import runpy, sys; sys.modules[{!r}] = None; runpy.run_module({!r}, run_name='__main__')"


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("bench", "rich"),
        ("bench", "cv2"),
        ("bench.batch_sizes", "matplotlib"),
        ("bench.operations", "pytest_benchmark"),
    ],
)
def test_missing_extras_are_one_sentence(module: str, package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(package, module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"{module}: {package} is not installed: pip install -e '.[bench]'\n"


def test_packages_of_the_competitors_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.operations"])
    monkeypatch.setattr(operations.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"^bench.operations: cv2 is not installed: pip install"):
        operations.main()
