"""Simulations killed at any moment, that go on: they find out what they would have without it.

VL4POSE_KILLS is how often one is killed at random moments: 5 times unless it says otherwise.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("kornia")
pytest.importorskip("matplotlib")

from killed_processes import Server
from simulated_figures import results, write_config

SEED = 20221128


class Processes:
    """Runs simulations in processes that can be killed."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.server = Server("simulation_commands.py")

    def run(self, folder: Path, **when: float) -> int:
        """Go on with a simulation, and return the exit code, or minus the signal."""
        return self.server.ask({"config": str(self.config), "folder": str(folder), **when})


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """A simulation with a checkpoint after every step."""
    config = write_config(
        tmp_path_factory.mktemp("config"),
        simulation={"seeds": [0], "cycles": 2, "strategies": ["random", "vl4pose"]},
        training={"steps": 3},
        heads={"steps": 2},
        scoring={"batch_size": 16},
        run={"threads": 1, "checkpoint_seconds": 0},
    )
    processes = Processes(config)
    yield processes
    processes.server.close()


@pytest.fixture(scope="module")
def expected(processes, tmp_path_factory):
    """What a simulation finds out that nothing happens to."""
    folder = tmp_path_factory.mktemp("expected") / "out"
    assert processes.run(folder) == 0
    found = results(folder)
    assert len(found) == 2 * 2 + 1  # the cycles, and what was seen at the start
    return found


def check_unfinished(folder: Path, expected) -> None:
    """Check that what is there is what it will be."""
    for name, content in results(folder).items():
        assert content == expected[name], name


def test_a_simulation_that_is_killed_at_random_moments(processes, expected, tmp_path):
    kills = int(os.environ.get("VL4POSE_KILLS", "5"))
    rng = random.Random(SEED)
    start = time.monotonic()
    assert processes.run(tmp_path / "timed") == 0
    longest = time.monotonic() - start
    done = num_folders = 0
    while done < kills:
        folder = tmp_path / f"out{num_folders}"
        num_folders += 1
        while processes.run(folder, kill_after=rng.uniform(0, longest)) == -signal.SIGKILL:
            done += 1
            check_unfinished(folder, expected)
        assert results(folder) == expected


def test_a_simulation_that_is_killed_at_each_step_of_each_write(processes, expected, tmp_path):
    # All of them where there is time; else some of each kind: there are five to a write.
    stride = 1 if "VL4POSE_KILLS" in os.environ else 61
    step = 0
    while processes.run(folder := tmp_path / f"out{step}", step=step) == -signal.SIGKILL:
        check_unfinished(folder, expected)
        assert processes.run(folder) == 0
        assert results(folder) == expected
        step += stride
    assert results(folder) == expected
    assert not list(folder.glob("runs/**/.*.tmp"))
    assert step > 5 * 2 * len(expected)  # there are checkpoints between what is counted here
