"""The benchmarks run, their contestants agree, and the table says what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="the benchmarks need OpenCV: pip install 'vl4pose[bench]'")
ROOT = Path(__file__).parents[1]


def bench(*arguments: str) -> str:
    """Return what ``python -m bench`` prints, or fail with it."""
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_contestants_of_the_short_run_agree() -> None:
    # Compiling takes longer than the rest together; the benchmarks themselves check it.
    assert " passed" in bench("--check", "--quick", "-k", "not compile")


def test_table_is_made_of_the_saved_json(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    printed = bench("--quick", "-k", "peak_weights", "--json", str(path))
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
    assert "Claim" not in printed  # nothing is claimed that was not measured


def test_a_wrong_answer_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Last on the path: the installed package comes before the source folder beside bench/.
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    from bench.cases import Case
    from bench.measure import Measure

    one_image = Case(batch=1)

    def highest(heatmaps):
        return heatmaps.max((2, 3))

    def contest(name, **wrong):
        timed = []
        functions = {"ours": highest, "reference": highest, "theirs": lambda _, h: highest(h)}
        Measure(Timer(timed), 1)("highest", one_image, name, [maps], **functions | wrong)
        return timed

    maps = one_image.heatmaps
    assert contest("numpy") == ["highest; " + str(one_image)]
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
