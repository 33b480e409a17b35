"""``python -m bench.gpu`` as far as no GPU is needed: contestants, verdicts, tables, the script."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import vl4pose

pytest.importorskip("skimage", reason="the benchmarks need scikit-image")
ROOT = Path(__file__).parents[1]

from bench import competitors  # noqa: E402
from bench.answers import check, parts  # noqa: E402
from bench.cases import Case  # noqa: E402
from bench.gpu import __main__ as command  # noqa: E402
from bench.gpu import contests, device, report, sanitized  # noqa: E402
from bench.gpu.contests import CONTESTS, COPY, Contest, Contestant, Prepared  # noqa: E402
from bench.gpu.goals import GOALS, Goal, share_of_bandwidth, times_faster  # noqa: E402
from bench.rounds import Call, host_sample, interleaved  # noqa: E402

SCALE = 128  # one in so many images


class Host:
    """Stands in for a GPU."""

    device = torch.device("cpu")
    cache_bytes = 1

    device_sample = latency_sample = host_sample = wall_sample = staticmethod(host_sample)

    def graph(self, calls: Sequence[Callable[[], Any]]) -> tuple[Call, list[Any]]:
        answers = [call() for call in calls]

        def replay() -> None:
            for call in calls:
                call()

        return replay, answers

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def describe(self) -> dict[str, Any]:
        return {
            "gpu": "none",
            "capability": "0.0",
            "multiprocessors": 1,
            "memory_bytes": 1,
            "last_cache_bytes": 1,
            "driver": None,
        }

    def clocks(self) -> dict[str, str]:
        return {"clocks.sm": "1980"}


@pytest.fixture(autouse=True)
def _one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "interleaved", functools.partial(interleaved, min_rounds=1))


# ------------------------------------------------------------------------------------------------
# Contests
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contest", [name for name in CONTESTS if "compiled" not in name])
def test_contestants_agree_and_are_timed(contest: str, tmp_path: Path) -> None:
    chosen = {contest: CONTESTS[contest]}
    data = command.measure(Host(), chosen, tmp_path, seconds=0, scale=SCALE)
    assert data == json.loads((tmp_path / report.JSON).read_text(encoding="utf-8"))
    rows = data["measured"][contest]
    failed = data["failed"].get(contest, {})
    if contests.CUCIM in failed:
        assert failed.pop(contests.CUCIM).startswith(command.ABSENT)
    assert failed == {}
    for row in rows.values():
        assert row["us"] > 0
        assert row["us_per_image"] == row["us"] / row["images"]
    for goal in data["goals"]:
        assert "measured" in goal
    text = (tmp_path / report.MARKDOWN).read_text(encoding="utf-8")
    assert f"## {contest}" in text
    for name in rows:
        assert f"| {name} |" in text


def test_goals_are_of_contests_that_are_measured() -> None:
    for goal in GOALS:
        contestants = CONTESTS[goal.contest].contestants(Host(), SCALE)
        assert {goal.ours, *goal.others} <= contestants.keys()


@pytest.mark.parametrize("find", ["torch_separable_peaks", "torch_strip_peaks", "torch_peaks"])
@pytest.mark.parametrize("case", [Case(batch=20), Case(batch=20, min_distance=8, num_peaks=1)])
def test_torch_s_analysis_is_the_core_s_where_no_peaks_tie(case: Case, find: str) -> None:
    # Random maps of float32: none of the highest values are equal.
    maps = torch.from_numpy(np.random.default_rng(0).random((20, 16, 64, 64), dtype=np.float32))
    params = torch.from_numpy(case.params)
    assert not competitors.tied(maps, **case.peak_options).any()
    found = contests.torch_analysis(getattr(competitors, find), case)(maps, params)
    comparable, right = contests.comparable_analysis(maps, params, case)
    assert comparable.all()
    check(parts(found), right)
    peaks = getattr(competitors, find)(maps, **case.peak_options)
    score = competitors.score(*peaks, params, case.links, "expected")
    check([score.numpy()], [vl4pose.score(maps, params, **case.peak_options).numpy()])


def test_ties_are_found_in_tensors_as_in_arrays() -> None:
    maps = np.random.default_rng(0).integers(0, 50, (30, 3, 24, 24)).astype(np.float32)
    maps[:10] += np.random.default_rng(1).random((10, 3, 24, 24), dtype=np.float32)
    tied = competitors.tied(maps, 4, 3)
    assert 0 < tied.sum() < len(tied)
    np.testing.assert_array_equal(competitors.tied(torch.from_numpy(maps), 4, 3), tied)


def test_buffers_are_more_than_five_times_the_cache() -> None:
    gpu = SimpleNamespace(cache_bytes=1000)
    for size in (1, 7, 400, 999, 1000, 5000):
        copies = contests.num_copies(gpu, size)
        assert copies >= 2
        assert copies * size > 5 * gpu.cache_bytes


class Queue:
    """Stands in for torch.cuda and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        self.now = self.free_at = 0.0
        queue = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                self.at = queue.free_at

            def query(self) -> bool:
                return queue.now > self.at

            def synchronize(self) -> None:
                pass

            def elapsed_time(self, other: Event) -> float:
                return 1e3 * (other.at - self.at)

        properties = SimpleNamespace(L2_cache_size=1000)
        for name, value in {
            "current_device": lambda: 0,
            "get_device_properties": lambda device: properties,
            "synchronize": lambda: None,
            "_sleep": self.sleep,
            "Event": Event,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(device, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def sleep(self, cycles: int) -> None:
        self.slept.append(cycles / device.CYCLES_A_SECOND)
        self.free_at = self.now + self.slept[-1]

    def work(self, on_host: float, on_gpu: float) -> None:
        self.now += on_host
        self.free_at = max(self.free_at, self.now) + on_gpu


def test_a_gpu_never_waits_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(monkeypatch)
    gpu = device.Gpu()

    def call() -> None:
        queue.work(on_host=1e-3, on_gpu=1e-4)

    assert gpu.device_sample(call, 10) == pytest.approx(1e-4)
    assert queue.slept == pytest.approx([1e-4, 1.51e-2])  # the first, of nothing known, in vain
    assert gpu.device_sample(call, 20) == pytest.approx(1e-4)
    assert queue.slept[2:] == pytest.approx([3.01e-2])
    assert gpu.host_sample(call, 3) == pytest.approx(1e-3)


def test_one_call_is_timed_behind_others(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(monkeypatch)
    call = device.AfterOthers(
        call=lambda: queue.work(on_host=1e-5, on_gpu=6e-6),
        others=lambda: queue.work(on_host=1e-3, on_gpu=5e-3),
    )
    gpu = device.Gpu()
    assert gpu.latency_sample(call, 300) == pytest.approx(6e-6)
    assert queue.now == pytest.approx(1e-3 + 1e-5)
    call()
    assert queue.now == pytest.approx(2 * (1e-3 + 1e-5))


def test_calls_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    Queue(monkeypatch)
    gpu = device.Gpu()

    def call() -> None:
        pass

    gpu.device_sample(call, 2)
    of_call = weakref.ref(call)
    del call
    assert of_call() is None


def test_wrong_answers_are_timed_and_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def contestants(gpu: Any, scale: int) -> dict[str, Contestant]:
        case = Case(batch=2)
        good = contests.ours(gpu, "score", case)

        def spoilt(after: int) -> Contestant:
            def prepare() -> Prepared:
                ready = good.prepare()

                def late_check() -> None:
                    calls.append("check")
                    assert len(calls) <= after, "bits differ"

                return Prepared(ready.call, late_check)

            return replace(good, prepare=prepare)

        def broken() -> Prepared:
            raise RuntimeError("no memory\nat all")

        return {
            "good": good,
            "wrong": spoilt(after=0),
            "wrong in the end": spoilt(after=2),
            "broken": replace(good, prepare=broken),
        }

    chosen = {"a contest": Contest("device", contestants)}
    data = command.measure(Host(), chosen, tmp_path, seconds=0.001)
    assert list(data["measured"]["a contest"]) == ["good", "wrong", "wrong in the end"]
    assert data["failed"]["a contest"] == {
        "wrong": "WRONG ANSWER: bits differ",
        "broken": "RuntimeError: no memory",
        "wrong in the end": "WRONG ANSWER: bits differ",
    }
    text = report.markdown(data)
    assert "- a contest: wrong: WRONG ANSWER: bits differ\n" in text
    for name in ("**WRONG** wrong", "**WRONG** wrong in the end", "good"):
        assert float(cells(text, name)[2]) > 0


def test_an_absent_package_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def contest(error: Exception) -> Contest:
        def broken() -> Prepared:
            raise error

        def contestants(gpu: Any, scale: int) -> dict[str, Contestant]:
            ours = contests.ours(gpu, "score", Case(batch=2))
            return {"ours": ours, "theirs": replace(ours, prepare=broken)}

        return Contest("wall", contestants)

    monkeypatch.setattr(command, "Gpu", Host)
    monkeypatch.setattr(command, "missing", lambda: None)
    absent = contests.NotHereError("No module named 'cucim'")
    monkeypatch.setattr(
        command, "CONTESTS", {"absent": contest(absent), "broken": contest(ValueError("odd"))}
    )
    out = str(tmp_path / "out")
    for text, status, why in (
        ("absent", 0, "not on this machine: No module named 'cucim'"),
        ("broken", 1, "ValueError: odd"),
    ):
        monkeypatch.setattr(sys, "argv", ["bench.gpu", out, "-k", text, "--seconds", "0"])
        assert command.main() == status
        printed = capsys.readouterr().out
        assert f"- {text}: theirs: {why}\n" in printed
        assert printed.endswith("1 not measured or wrong; theirs\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda answer: answer.double(), "dtype float64, not float32"),
        (lambda answer: answer[:1], r"shape \(1,\), not \(2,\)"),
        (lambda answer: answer + 1e-5, "Arrays are not equal"),
        (lambda answer: -answer, "a zero's sign or a NaN's bits differ"),
    ],
)
def test_bits_are_compared(change: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    answer = torch.tensor([0.0, torch.nan])
    contests.check_bits(answer, answer.clone())
    with pytest.raises(AssertionError, match=message):
        contests.check_bits(change(answer), answer)


def test_answers_elsewhere_are_wrong() -> None:
    peaks = vl4pose.Peaks(*(torch.empty(1, device="meta") for _ in range(3)))
    contests.check_device((torch.empty(1, device="meta"), peaks), torch.device("meta"))
    with pytest.raises(AssertionError, match="the answer is on meta, not on cpu"):
        contests.check_device((torch.empty(1), peaks), torch.device("cpu"))


# ------------------------------------------------------------------------------------------------
# What compute-sanitizer is shown
# ------------------------------------------------------------------------------------------------


def test_sanitized_calls_are_right_on_the_cpu() -> None:
    different = list(sanitized.differing(torch.device("cpu"), multiprocessors=3))
    assert len(different) > 200
    assert not any(different)


def test_differences_are_seen(capsys: pytest.CaptureFixture[str]) -> None:
    def call(device: torch.device) -> torch.Tensor:
        return torch.zeros(1) if device.type == "cpu" else -torch.zeros(1)

    assert sanitized.is_different("zero", call, torch.device("meta"))
    assert capsys.readouterr().out == "DIFFERENT: zero\n"


# ------------------------------------------------------------------------------------------------
# Verdicts and tables
# ------------------------------------------------------------------------------------------------

ROW = {"us": 10.0, "us_per_image": 5.0, "spread": 0.01, "rounds": 9, "images": 2, "bytes": 10**6}
AT_LEAST = Goal("contest", "share", ">=", 0.5, share_of_bandwidth, "ours", (COPY,))
AT_MOST = Goal("contest", "times", "<=", 4, times_faster, "ours", ("a", "b"))


def test_verdicts_at_the_bound() -> None:
    copy = {**ROW, "bytes": 2 * 10**6}
    verdict = AT_LEAST.verdict({"ours": ROW, COPY: copy}, {})
    assert verdict["measured"] == 0.5
    assert verdict["holds"]
    assert not AT_LEAST.holds(0.499)

    rows = {"ours": ROW, "a": {**ROW, "us": 50.0}, "b": {**ROW, "us": 40.0}}
    verdict = AT_MOST.verdict(rows, {})
    assert verdict["measured"] == 4  # to the fastest of the others
    assert verdict["holds"]
    assert verdict["but"] == ""
    del rows["b"]
    verdict = AT_MOST.verdict(rows, {"b": "did not compile"})
    assert not verdict["holds"]
    assert verdict["but"] == "b: did not compile"


def test_no_bound_holds_of_wrong_answers() -> None:
    rows = {"ours": ROW, "a": {**ROW, "us": 40.0}, "b": {**ROW, "us": 20.0}}
    verdict = AT_MOST.verdict(rows, {"ours": "WRONG ANSWER"})
    assert verdict["measured"] == 2
    assert not verdict["holds"]
    assert verdict["but"] == "ours: WRONG ANSWER"
    verdict = AT_MOST.verdict(rows, {"b": "WRONG ANSWER"})  # the other one is right
    assert verdict["measured"] == 4
    assert verdict["holds"]
    verdict = AT_MOST.verdict(rows, {"a": "WRONG ANSWER", "b": "WRONG ANSWER"})
    assert verdict["measured"] == 2
    assert not verdict["holds"]


def test_no_verdict_without_times() -> None:
    for rows in ({"ours": ROW}, {"a": ROW, "b": ROW}, {}):
        verdict = AT_MOST.verdict(rows, {"b": "did not compile"})
        assert "holds" not in verdict
        assert verdict["missing"]
    assert AT_MOST.verdict({"ours": ROW}, {"b": "did not compile"})["missing"] == (
        "a: not measured; b: did not compile"
    )


NCU = """\
==PROF== Connected to process 1
"ID","Kernel Name","Block Size","Grid Size","dram__bytes_read.sum","gpu__time_duration.sum","odd"
"","","","","byte","nsecond",""
"0","void score_kernel<float>(Arguments)","(128, 1, 1)","(1024, 1, 1)","268,435,456","64,000","x"
"1","void score_kernel<half>","(128, 1, 1)","(1024, 1, 1)","134217728","n/a","x"

counted
"""


def report_data() -> dict[str, Any]:
    machine = {**Host().describe(), **command.versions(), "clocks_before": Host().clocks()}
    rows = {COPY: {**ROW, "bytes": 2 * 10**6}, "ours": ROW, "a": {**ROW, "us": 20.0}}
    return {
        "machine": machine,
        "measured": {"contest": rows},
        "failed": {"contest": {"b": "did not compile"}, "other": {"other": "no memory"}},
        "goals": [goal.verdict(rows, {"b": "did not compile"}) for goal in (AT_LEAST, AT_MOST)],
    }


def cells(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_say_what_was_saved(tmp_path: Path) -> None:
    report.save(report_data(), tmp_path)
    (tmp_path / "ncu.log").write_text(NCU, encoding="utf-8")
    steps = "build\t0\t61\tGCC 13\ntests\t1\t9\t2 failed\n"
    subprocess.run(
        [sys.executable, "-m", "bench.gpu.report", str(tmp_path), steps], cwd=ROOT, check=True
    )
    text = (tmp_path / report.MARKDOWN).read_text(encoding="utf-8")
    assert cells(text, "build") == ["build", "ok", "61", "GCC 13"]
    assert cells(text, "tests") == ["tests", "**FAILED** (1)", "9", "2 failed"]
    assert cells(text, "contest: share") == ["contest: share", "0.5", ">= 0.5", "yes", ""]
    assert cells(text, "contest: times")[1:] == ["2", "<= 4", "yes", "but b: did not compile"]
    assert cells(text, COPY)[4:] == ["", "200", "1.00", "1%"]
    assert cells(text, "ours") == ["ours", "1", "10", "5", "2", "100", "0.50", "1%"]
    assert "- contest: b: did not compile\n- other: no memory\n" in text
    assert cells(text, "void score_kernel<float> (1024, 1, 1)")[1:3] == ["64", "268"]

    saved = json.loads((tmp_path / report.JSON).read_text(encoding="utf-8"))
    assert [step["status"] for step in saved["steps"]] == [0, 1]
    assert saved["counters"]["kernels"][1]["MB read"] == pytest.approx(134.217728)
    assert "microseconds" not in saved["counters"]["kernels"][1]


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (None, "ncu was not run"),
        ("ncu is not installed here\n", "ncu is not installed here"),
        (
            "==PROF==\n==ERROR== ERR_NVGPUCTRPERM - The user does not have permission\n",
            "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission",
        ),
        ("", "ncu wrote no counters: see ncu.log"),
    ],
)
def test_missing_counters_are_said(log: str | None, why: str, tmp_path: Path) -> None:
    if log is not None:
        (tmp_path / "ncu.log").write_text(log, encoding="utf-8")
    counted = report.counters(tmp_path / "ncu.log")
    assert counted == {"missing": why}
    text = report.markdown({**report_data(), "counters": counted})
    assert f"None: {why}" in text
    assert f"- counters of ncu: {why}" in text


def test_a_report_of_nothing() -> None:
    assert report.markdown({}) == "# The kernels of GPUs\n\nNothing was measured.\n"
    failed = report.steps("build\t1\t3\tno nvcc\n")
    assert "| build | **FAILED** (1) | 3 | no nvcc |" in report.markdown({"steps": failed})


# ------------------------------------------------------------------------------------------------
# Without a GPU
# ------------------------------------------------------------------------------------------------


def test_without_a_gpu_it_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.gpu", str(tmp_path / "out")])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main() == 2
    assert capsys.readouterr().err == "bench.gpu: torch finds no GPU here\n"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(command._core, "build_info", lambda: {"cuda": None})
    assert command.main() == 2
    assert capsys.readouterr().err == (
        "bench.gpu: this build of vl4pose has no CUDA kernels: "
        "install it from source where nvcc is\n"
    )
    monkeypatch.setattr(command._core, "build_info", lambda: {"cuda": "13.0"})
    monkeypatch.setattr(sys, "argv", ["bench.gpu", str(tmp_path / "out"), "-k", "nothing"])
    assert command.main() == 2
    assert capsys.readouterr().err == "bench.gpu: no contest matches -k 'nothing'\n"
    assert not (tmp_path / "out").exists()


def run_script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "bench" / name), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_script_without_a_gpu(tmp_path: Path) -> None:
    usage = 'usage: [STEPS="build benchmark"] bench/gpu.sh OUT [WHEELS]\n'
    assert run_script("gpu.sh").stderr == usage
    assert run_script("gpu.sh", "out", STEPS="build test").stderr == (
        "bench/gpu.sh: STEPS must be some of build benchmark tests sanitize plant_bugs count, "
        "got test\n"
    )
    out = tmp_path / "out"
    done = run_script("gpu.sh", str(out), PYTHON=sys.executable, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stderr == "bench/gpu.sh: torch finds no GPU here\n"
    assert not out.exists()
