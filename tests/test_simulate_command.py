"""`vl4pose simulate`: the command, its errors, and its processes, wherever they are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("kornia")
pytest.importorskip("matplotlib")

from simulated_figures import process_as_before, results, write_config  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from vl4pose.cli.app import app  # noqa: E402
from vl4pose.pool.ray_engine import is_ray_installed, session  # noqa: E402
from vl4pose.simulation.claims import claim  # noqa: E402
from vl4pose.simulation.config import read_config  # noqa: E402
from vl4pose.simulation.folder import SimulationFolder  # noqa: E402
from vl4pose.simulation.pace import Pace  # noqa: E402
from vl4pose.simulation.records import read_records  # noqa: E402
from vl4pose.simulation.simulate import do_work  # noqa: E402
from vl4pose.simulation.work import make_bench  # noqa: E402

MAIN = [sys.executable, "-m", "vl4pose"]
SMALL = {"simulation": {"strategies": ["random", "vl4pose"], "cycles": 2}}
NUM_CYCLES = 2 * 2 * 2


@pytest.fixture(autouse=True)
def module_search_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def simulate(*args):
    """Run the command in this process."""
    return CliRunner().invoke(app, ["simulate", *map(str, args)])


def command(*args, before=MAIN, **options) -> subprocess.Popen[str]:
    """Run the command in a process of its own."""
    return subprocess.Popen(
        [*before, "simulate", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What `SMALL` finds out in one process."""
    folder = tmp_path_factory.mktemp("expected")
    with process_as_before():
        outcome = simulate(write_config(folder, **SMALL), "--out", folder / "out")
    assert outcome.exit_code == 0, outcome.output
    return outcome, folder / "out"


def test_what_is_printed_and_written(expected):
    outcome, out = expected
    lines = outcome.stderr.splitlines()
    assert len(lines) == NUM_CYCLES
    record = read_records(out)[0]
    value = f"{record.metrics['PCK@0.2']:.4f}"
    assert f"random   seed 0  cycle 1 of 2       6 labels  PCK@0.2 {value}" in lines
    assert "PCK@0.2 in %" in outcome.stdout
    assert "VL4Pose" in outcome.stdout
    assert outcome.stdout.rstrip().endswith(f"written to {out}")
    assert (out / "picks" / "vl4pose.png").is_file()


def test_the_example_is_a_configuration(tmp_path):
    outcome = simulate("--example")
    assert outcome.exit_code == 0
    assert tomllib.loads(outcome.stdout)["simulation"]["cycles"] == 2
    (tmp_path / "example.toml").write_text(outcome.stdout)
    config = read_config(tmp_path / "example.toml")
    assert config.data.train == "vl4pose.demo.drawn_people:drawn_people"


def test_the_example_works(tmp_path):
    """With fewer pictures and steps, and without figures, it does."""
    text = simulate("--example").stdout
    less = {
        "number = 300": 12, "number = 100": 3, "start = 50": 4, "budget = 50": 2, "seeds = 2": 1,
        "steps = 60": 1, "steps = 30": 1, "channels = 32": 4,
    }  # fmt: skip
    for before, number in less.items():
        assert before in text
        text = text.replace(before, f"{before.partition(' = ')[0]} = {number}")
    (tmp_path / "example.toml").write_text(text)
    bench = make_bench(
        read_config(tmp_path / "example.toml"), tmp_path / "out", torch.device("cpu"), Pace()
    )
    do_work(bench)
    assert len(read_records(tmp_path / "out")) == 4 * 2


def test_pieces_of_time_end_with_the_same(expected, tmp_path):
    config = write_config(tmp_path, **SMALL)
    outcome = simulate(config, "--time-limit", "0.001s")
    assert outcome.exit_code == 3
    assert outcome.stdout == ""
    assert outcome.stderr == (
        "Stopped after 0 s, as asked: 0 of 8 cycles are done. The same command goes on from here.\n"
    )
    outcome = simulate(config, "--time-limit", "1h")
    assert outcome.exit_code == 0
    assert results(tmp_path / "figures") == results(expected[1])


def test_the_estimate(tmp_path):
    outcome = simulate(write_config(tmp_path, **SMALL), "--estimate", "--time-limit", "8min")
    assert outcome.exit_code == 0
    assert not (tmp_path / "figures").exists()
    lines = outcome.stdout.splitlines()
    assert lines[0].split() == [
        "all", "seeds", "and", "cycles", "train", "evaluate", "score", "select", "together",
    ]  # fmt: skip
    assert [line.split("  ")[0] for line in lines[1:4]] == [
        "start sets, shared", "Random", "VL4Pose",
    ]  # fmt: skip
    assert lines[4].startswith("A step of training takes ")
    assert lines[-1] == "In pieces of 8 min: 1."


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "CONFIG.toml must be given, or --example, which prints one"),
        (
            ["{folder}/figrues.toml"],
            "CONFIG.toml must exist, got '{folder}/figrues.toml' (did you mean 'figures.toml'?)",
        ),
        (
            ["{config}", "--time-limit", "8 minutes"],
            "--time-limit must be like 8min, 90s or 1h30min, got '8 minutes'",
        ),
        (
            ["{config}", "--engine", "lcoal"],
            "--engine must be one of local, ray (did you mean 'local'?), got 'lcoal'",
        ),
        (
            ["{config}", "--ray-gpus", "1"],
            "--ray-gpus goes with --engine ray, got --engine local",
        ),
        (["{config}", "--processes", "0"], "--processes must be at least 1, got 0"),
        (
            ["{config}", "--device", "tpu"],
            "--device must be cpu, cuda or cuda:N, got 'tpu' (did you mean 'cpu'?)",
        ),
        (["{config}", "--out", "{config}"], "--out must be a folder, got the file '{config}'"),
        (
            ["{config}", "--out", "{folder}/a/b"],
            "--out must be in a folder that exists, got '{folder}/a/b'",
        ),
        (
            ["{config}", "--out", "{folder}"],
            "--out must be new or of a simulation, got '{folder}'",
        ),
        (
            ["{config}", "--tiem-limit", "3s"],
            "No such option: --tiem-limit (did you mean --time-limit?)",
        ),
    ],
)
def test_mistakes_on_the_command_line(args, message, tmp_path):
    names = {"folder": str(tmp_path), "config": str(write_config(tmp_path))}
    outcome = simulate(*(arg.format(**names) for arg in args))
    assert outcome.exit_code == 2
    assert outcome.stderr.splitlines()[0] == f"Error: {message.format(**names)}"
    assert outcome.stderr.splitlines()[1].startswith("Try ")


def test_mistakes_in_the_file(expected, tmp_path):
    for args, code, message in (
        (
            [write_config(tmp_path, training={"steps": 0})],
            2,
            f"'{tmp_path}/figures.toml': training.steps must be at least 1, got 0",
        ),
        (
            [write_config(tmp_path, "n", network={"factory": "simulated_figures:TinyPoes"})],
            2,
            f"'{tmp_path}/n.toml': network.factory must name what is in 'simulated_figures', got "
            "'TinyPoes' (did you mean 'TinyPose'?)",
        ),
        (
            [write_config(tmp_path, "o"), "--out", expected[1]],
            2,
            f"--out must be of the same simulation, got '{expected[1]}' with another "
            "simulation.cycles: 2 there, 3 now: choose another --out for another simulation",
        ),
        (
            [write_config(tmp_path, "d", network={"factory": "simulated_figures:Diverging"})],
            1,
            "start set, seed 0, cycle 1: the loss must stay finite, got nan by step 6: train with "
            "a lower learning_rate",
        ),
    ):
        outcome = simulate(*args)
        assert outcome.exit_code == code
        assert outcome.stderr.splitlines()[0] == f"Error: {message}"


def test_a_damaged_folder(expected, tmp_path):
    config = write_config(tmp_path, **SMALL)
    for name, message in (
        ("runs/random/seed-0/cycle-0.json", "must hold the record of a cycle, and does not"),
        ("simulation.json", "must hold an object, got list"),
    ):
        out = tmp_path / Path(name).stem
        shutil.copytree(expected[1], out)
        (out / name).write_text("[]")
        outcome = simulate(config, "--out", out)
        assert outcome.exit_code == 1
        assert outcome.stderr.startswith(f"Error: '{out / name}' {message}")


def test_processes_take_each_others_work_and_leave_that_of_others(expected, tmp_path):
    """One of two is killed, while somebody else works on a run."""
    config = write_config(tmp_path, **SMALL)
    out = tmp_path / "out"
    assert simulate(config, "--out", out, "--time-limit", "0.001s").exit_code == 3
    other = claim(SimulationFolder(out).claim("random-seed-0"))
    assert other is not None
    done = command(config, "--out", out, "--processes", 2)
    try:
        while not (
            notes := [path for path in (out / "claims").glob("*-seed-*") if path.stat().st_size]
        ):
            assert done.poll() is None, done.communicate()
            time.sleep(0.01)
        worker = int(notes[0].read_text().partition('"process": ')[2].strip("}"))
        assert worker not in (done.pid, os.getpid())
        os.kill(worker, signal.SIGKILL)
        while len(list(out.glob("runs/*/seed-*/cycle-1.json"))) < 3:  # of 4 runs
            assert done.poll() is None, done.communicate()
            time.sleep(0.05)
        assert not (out / "runs" / "random" / "seed-0").exists()
    finally:
        other.__exit__(None, None, None)
    stdout, stderr = done.communicate()
    assert done.returncode == 0, stderr
    assert "A process was ended by signal 9; the others have done its work.\n" in stderr
    assert len(stderr.splitlines()) == NUM_CYCLES + 1
    assert "written to" in stdout
    assert results(out) == results(expected[1])


def test_ctrl_c(tmp_path):
    """Ends at once, with its processes."""
    tables = {**SMALL, "training": {"steps": 100_000}}
    out = tmp_path / "out"
    args = write_config(tmp_path, **tables), "--out", out, "--processes", 2
    done = command(*args, start_new_session=True)
    claims = out / "claims"
    while not any(path.stat().st_size for path in claims.glob("shared-seed-0")):
        assert done.poll() is None, done.communicate()
        time.sleep(0.01)
    os.killpg(done.pid, signal.SIGINT)
    stdout, stderr = done.communicate(timeout=60)
    assert done.returncode == 130
    assert stderr == "Interrupted: the same command goes on from the last checkpoint.\n"
    assert stdout == ""
    with claim(claims / "shared-seed-0"):  # which is nobody's any more
        pass


def test_torchrun(expected, tmp_path):
    config = write_config(tmp_path, **SMALL)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc-per-node", "2", "-m", "vl4pose"]
    done = command(config, "--out", tmp_path / "out", before=launch)
    stdout, stderr = done.communicate()
    assert done.returncode == 0, stderr
    assert stdout.count("written to") == 1
    assert results(tmp_path / "out") == results(expected[1])


@pytest.mark.skipif(not is_ray_installed(), reason="needs Ray: pip install 'vl4pose[ray]'")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.")
def test_ray(expected, tmp_path):
    config = write_config(tmp_path, **SMALL)
    out = tmp_path / "out"
    ray = ["--engine", "ray", "--processes", "2"]
    with session(None, 2):
        outcome = simulate(config, "--out", out, *ray, "--time-limit", "0.001s")
        assert outcome.exit_code == 3
        outcome = simulate(config, "--out", out, *ray)
        assert outcome.exit_code == 0, outcome.output
        assert results(out) == results(expected[1])
        wrong = write_config(
            tmp_path, "d", **SMALL, network={"factory": "simulated_figures:Diverging"}
        )
        outcome = simulate(wrong, *ray)
        assert outcome.exit_code == 1
        assert "cycle 1: the loss must stay finite, got nan by step 6: train" in outcome.stderr


def test_without_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = simulate(write_config(tmp_path), "--engine", "ray")
    assert outcome.exit_code == 1
    assert "ray is not installed: pip install 'vl4pose[ray]'" in outcome.stderr
