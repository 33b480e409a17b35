"""`vl4pose score` killed at any moment, and resumed: the folder ends as if nothing had happened.

VL4POSE_KILLS is how often it is killed at random moments: 20 times unless it says otherwise. A
release is tested with 200.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from killed_processes import Server  # noqa: E402
from PIL import Image  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose.pool.manifest import MANIFEST, Manifest  # noqa: E402
from vl4pose.score_table import read_scores  # noqa: E402

NUM_IMAGES, SHARD_ROWS, BATCH_SIZE = 31, 7, 3  # neither divides the other
SEED = 20221128


class Brightness(torch.nn.Module):
    def forward(self, images):
        return 30 * torch.nn.functional.avg_pool2d(images, 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder of models and of images, of which some cannot be read and some are black."""
    folder = tmp_path_factory.mktemp("data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Brightness()), folder / "pose.pt")
    (folder / "bones.json").write_text(json.dumps([[4.0, 2.0]] * 2))
    vl4pose.Skeleton("rgb", ["red", "green", "blue"], [(0, 1), (1, 2)]).to_file(folder / "rgb.json")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for index in range(NUM_IMAGES):
        pixels = rng.integers(0, 256, (24, 32, 3), np.uint8) * (index % 11 != 5)
        Image.fromarray(pixels).save(folder / "images" / f"{index:02d}.png")
    (folder / "images" / "13.png").write_bytes(b"torn")
    return folder


class Commands:
    """Runs commands in processes that can be killed."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.server = Server("pool_commands.py")

    def run(self, out: Path, **when: float) -> int:
        """Score into a folder, perhaps resumed, and return the exit code, or minus the signal."""
        args = [
            "score", self.data / "images", "--pose", self.data / "pose.pt",
            "--params", self.data / "bones.json", "--skeleton", self.data / "rgb.json", "--trust",
            "--out", out, "--input-size", "32x32", "--num-threads", 1, "--workers", 2,
            "--shard-rows", SHARD_ROWS, "--batch-size", BATCH_SIZE, "--resume",
        ]  # fmt: skip
        return self.server.ask({"args": list(map(str, args)), **when})


@pytest.fixture(scope="module")
def commands(data):
    commands = Commands(data)
    yield commands
    commands.server.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def expected(commands, tmp_path_factory) -> dict[str, bytes]:
    """What is in the folder of a run that nothing happens to."""
    out = tmp_path_factory.mktemp("expected") / "scores"
    assert commands.run(out) == 0
    table = read_scores(out)
    assert len(table) == NUM_IMAGES
    assert table.metadata["counts"] == {
        "found": NUM_IMAGES, "scored": 27, "flagged": 3, "failed": 1,
    }  # fmt: skip
    return contents(out)


def check_unfinished(out: Path, expected: dict[str, bytes]) -> None:
    """Check that what is there is whole: of every file what it will be, or a temporary one."""
    if not out.exists():
        return
    for name, content in contents(out).items():
        if name.endswith(".tmp"):
            assert name.startswith(".")
        elif name == MANIFEST:
            manifest = Manifest.from_bytes(content)
            assert len(read_scores(out, partial=True)) == manifest.num_rows
        else:
            assert content == expected[name], name


def test_a_run_that_is_killed_at_random_moments(commands, expected, tmp_path):
    kills = int(os.environ.get("VL4POSE_KILLS", "20"))
    rng = random.Random(SEED)
    start = time.monotonic()
    assert commands.run(tmp_path / "timed") == 0
    longest = time.monotonic() - start
    done = num_folders = 0
    states = set()  # that folders were in
    while done < kills or len(states) < 4:
        out = tmp_path / f"scores{num_folders}"
        num_folders += 1
        # Of a folder, the runs: killed until one of them is faster than that.
        while commands.run(out, kill_after=rng.uniform(0, longest)) == -signal.SIGKILL:
            done += 1
            check_unfinished(out, expected)
            state = tuple(sorted(contents(out))) if out.exists() else None
            if state in states:
                longest *= 1.05  # the machine may be busier than it was
            states.add(state)
        longest /= 1.2  # or less busy
        assert contents(out) == expected


def test_a_run_that_is_killed_at_each_step_of_each_write(commands, expected, tmp_path):
    # All of them where there is time; else some of each kind: there are five to a write.
    stride = 1 if "VL4POSE_KILLS" in os.environ else 9
    step = 0
    while commands.run(out := tmp_path / f"scores{step}", step=step) == -signal.SIGKILL:
        check_unfinished(out, expected)
        assert commands.run(out) == 0
        assert contents(out) == expected
        step += stride
    assert contents(out) == expected
    num_writes = 2 * (len(expected) - 1)  # the manifest is written with the inputs and each shard
    assert 5 * num_writes <= step < 5 * num_writes + 1 + stride
