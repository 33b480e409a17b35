"""Ray's workers: the bytes of the local engine, also where one of them is killed; errors."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from PIL import Image  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose.cli.app import app  # noqa: E402
from vl4pose.pool import PoolError, PoolSettings, find_people, score_pool  # noqa: E402
from vl4pose.pool import ray_engine as engine_module  # noqa: E402
from vl4pose.pool.outputs import ShardFolder  # noqa: E402
from vl4pose.pool.ray_options import RayOptions  # noqa: E402
from vl4pose.pool.shards import Shard  # noqa: E402

needs_ray = pytest.mark.skipif(
    not engine_module.is_ray_installed(), reason="needs Ray: pip install 'vl4pose[ray]'"
)
# Ray calls what it has deprecated itself.
pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.")

IMAGES, SHARD_ROWS, BATCH = 40, 8, 2
TWO_ACTORS = RayOptions(actors=(2, 2))


class SlowNet(torch.nn.Module):
    """Heatmaps whose bits depend on every pixel, after a while; fails on white images."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(3, 3, 5, 5, generator=generator) / 9)

    def forward(self, images):
        if bool((images.mean([1, 2, 3]) > 0.95).any()):
            raise RuntimeError("white images are too bright")
        maps = torch.nn.functional.avg_pool2d(images, 4)
        for _ in range(self.rounds):
            maps = torch.tanh(torch.nn.functional.conv2d(maps, self.weight, padding=2))
        return 20 * maps


@pytest.fixture(scope="session")
def pool(tmp_path_factory) -> Path:
    """A folder with fast.pt, slow.pt, bones.json, rgb.json and photos, one of them damaged."""
    folder = tmp_path_factory.mktemp("pool")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, rounds in (("fast.pt", 1), ("slow.pt", 800)):
            torch.jit.save(torch.jit.script(SlowNet(rounds)), folder / name)
    (folder / "bones.json").write_text(json.dumps([[12.0, 3.0]] * 2))
    vl4pose.Skeleton("rgb", ["red", "green", "blue"], [(0, 1), (1, 2)]).to_file(folder / "rgb.json")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, (20 + i, 30, 3), np.uint8)
        Image.fromarray(pixels).resize((120, 90)).save(folder / "photos" / f"{i:02d}.png")
    (folder / "photos" / "17.png").write_bytes(b"no image")
    return folder


def settings_of(pool: Path, pose: str = "fast.pt", num_threads: int = 1) -> PoolSettings:
    return PoolSettings(
        pool / pose,
        None,
        pool / "bones.json",
        skeleton=vl4pose.Skeleton.from_file(pool / "rgb.json"),
        batch_size=BATCH,
        shard_rows=SHARD_ROWS,
        num_threads=num_threads,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def cluster():
    """A Ray of four CPUs, whatever the machine has, for the tests of this module."""
    with engine_module.session(None, 4):
        yield


@needs_ray
def test_a_killed_worker_is_replaced_and_the_bytes_are_those_of_the_local_engine(
    cluster, pool, tmp_path, monkeypatch, capfd
):
    begun, killed = tmp_path / "begun", tmp_path / "killed"

    class KillingLedger(engine_module.Ledger):  # in a process of its own, beside the workers
        def begin(self, index, node, process):
            with begun.open("a") as file:
                file.write(f"{index} {process}\n")
            return super().begin(index, node, process)

        def advance(self, index, count):
            if not killed.exists():  # in the middle of a shard: its first batch is done
                process = self._begun[index][-1][1]
                killed.write_text(f"{index} {process} {len(begun.read_text().splitlines())}")
                os.kill(process, signal.SIGKILL)
            super().advance(index, count)

    monkeypatch.setattr(engine_module, "Ledger", KillingLedger)
    images, settings = f"file://{pool / 'photos'}", settings_of(pool, "slow.pt")
    told: list[str] = []
    counted: list[int] = []

    @contextlib.contextmanager
    def progress(tally):
        yield counted.append

    result = score_pool(
        images, tmp_path / "ray", settings, trust=True, engine="ray", ray=TWO_ACTORS,
        progress=progress, tell=told.append,
    )  # fmt: skip

    shard, victim, num_before = map(int, killed.read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)
    attempts = [tuple(map(int, line.split())) for line in begun.read_text().splitlines()]
    who = [process for index, process in attempts if index == shard]
    assert len(attempts) == IMAGES // SHARD_ROWS + 1, "one shard was begun twice"
    assert len(who) == 2
    assert who[0] == victim
    assert who[1] not in {process for _, process in attempts[:num_before]}, (
        "another process took its place"
    )
    assert len(told) == 1
    assert f"was lost while it scored 'scores-{shard:06d}.parquet'" in told[0]
    assert capfd.readouterr() == ("", ""), "Ray says nothing of its own"

    local = score_pool(images, tmp_path / "local", settings, trust=True)
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert json.loads((tmp_path / "ray" / "_manifest.json").read_text())["rows"] == IMAGES
    assert b"differs" not in (tmp_path / "ray" / "_manifest.json").read_bytes()
    assert sum(counted) == IMAGES, "what was lost is not counted twice"
    assert result.tally == local.tally
    assert result.num_scored == IMAGES
    assert 0 < result.timing.network_s < result.timing.workers_s


class StopError(Exception):
    pass


@needs_ray
def test_ray_goes_on_where_the_local_engine_was_stopped(cluster, pool, tmp_path, monkeypatch):
    # Five threads: more than Ray has CPUs for, and so not the number that Ray would choose.
    settings = settings_of(pool, num_threads=5)
    images, out = pool / "photos", tmp_path / "out"
    score_pool(images, tmp_path / "whole", settings, trust=True)
    add = ShardFolder.add

    def add_two(self, scored):
        if self._manifest.num_rows == 2 * SHARD_ROWS:
            raise StopError
        add(self, scored)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "add", add_two)
        with pytest.raises(StopError):
            score_pool(images, out, settings, trust=True)
    assert json.loads((out / "_manifest.json").read_text())["rows"] == 2 * SHARD_ROWS
    result = score_pool(images, out, settings, trust=True, engine="ray", resume=True)
    assert result.num_scored == IMAGES - 2 * SHARD_ROWS
    assert content(out) == content(tmp_path / "whole")


@needs_ray
def test_a_network_that_fails_stops_ray_with_one_sentence_and_the_local_engine_goes_on(
    cluster, pool, tmp_path, capfd
):
    images, settings = tmp_path / "photos", settings_of(pool)
    shutil.copytree(pool / "photos", images)
    last = images / f"{IMAGES - 1:02d}.png"
    Image.new("RGB", (90, 90), "white").save(last)
    said = []
    for engine in ("local", "ray"):
        with pytest.raises(PoolError, match="white images are too bright") as raised:
            score_pool(
                images, tmp_path / engine, settings, trust=True, engine=engine,
                ray=RayOptions(actors=(1, 1)),
            )  # fmt: skip
        said.append((type(raised.value), str(raised.value)))
    assert said[0] == said[1]
    assert capfd.readouterr() == ("", ""), "neither traces nor Ray's own messages"
    rows = json.loads((tmp_path / "ray" / "_manifest.json").read_text())["rows"]
    assert rows == IMAGES - SHARD_ROWS, "what was finished before is kept"

    shutil.copy(pool / "photos" / last.name, last)
    result = score_pool(images, tmp_path / "ray", settings, trust=True, resume=True)
    assert result.num_scored == SHARD_ROWS
    score_pool(images, tmp_path / "whole", settings, trust=True)
    assert content(tmp_path / "ray") == content(tmp_path / "whole")


def score_command(pool: Path, out: Path, *more: str) -> list[str]:
    return [
        "score", str(pool / "photos"), "--pose", str(pool / "fast.pt"),
        "--params", str(pool / "bones.json"), "--skeleton", str(pool / "rgb.json"),
        "--out", str(out), "--trust", "--batch-size", str(BATCH),
        "--shard-rows", str(SHARD_ROWS), "--num-threads", "1", *more,
    ]  # fmt: skip


@needs_ray
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="needs a CPU with vector units"
)
def test_the_command_starts_a_ray_and_the_manifest_names_another_kind_of_cpu(pool, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, score_command(pool, out))
    assert result.exit_code == 0, result.output
    whole = json.loads((out / "_manifest.json").read_text())
    (out / "scores-000003.parquet").unlink()
    command = [sys.executable, "-c", "from vl4pose.cli import main; main()"]
    finished = subprocess.run(
        [*command, *score_command(pool, out, "--engine", "ray", "--resume")],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.strip() == "'scores-000003.parquet' is missing and is scored again."
    assert finished.stdout.startswith("found")
    assert "all workers together" in finished.stdout
    manifest = json.loads((out / "_manifest.json").read_text())
    differing = {e["file"]: e["differs"] for e in manifest["shards"] if e.get("differs")}
    assert differing == {"scores-000003.parquet": {"machine.cpu": "DEFAULT"}}
    assert manifest["counts"] == whole["counts"]


# --- without a Ray ----------------------------------------------------------------------------


def test_without_ray_the_extra_is_named(pool, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vl4pose\[ray\]'"):
        score_pool(pool / "photos", tmp_path / "out", settings_of(pool), trust=True, engine="ray")
    result = CliRunner().invoke(app, score_command(pool, tmp_path / "out", "--engine", "ray"))
    assert result.exit_code == 1
    assert result.output == "Error: ray is not installed: pip install 'vl4pose[ray]'\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        (["--ray-gpus", "0.5"], 2, "--ray-gpus goes with --engine ray, got --engine local"),
        (["--engine", "rya"], 2, "(did you mean 'ray'?), got 'rya'"),
        (["--ray-actors", "3:2"], 2, "--ray-actors must be at least 1, MIN not above MAX"),
        (["--ray-actors", "many"], 2, "--ray-actors must be a whole number or MIN:MAX"),
        (["--ray-gpus", "1.5"], 2, "--ray-gpus must be a share of one GPU or a whole number"),
        (["--ray-gpus", "0.5"], 2, "--ray-gpus must go with device cuda, not cpu, got 0.5"),
        (["--device", "cuda:1"], 2, "--device must be cpu or cuda where Ray chooses the GPU"),
        (["--ray-address", "there"], 2, "--ray-address must be HOST:PORT or auto, got 'there'"),
        (["--ray-address", "127.0.0.1:9"], 1, "no Ray cluster answers at '127.0.0.1:9'"),
    ],
)
def test_options_that_cannot_be_used(pool, tmp_path, monkeypatch, more, code, sentence):
    if "goes with" not in sentence and "rya" not in sentence:
        more = ["--engine", "ray", *more]
        pytest.importorskip("ray")
        monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever ran before
    result = CliRunner().invoke(app, score_command(pool, tmp_path / "out", *more))
    assert result.exit_code == code
    assert sentence in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"actors": (0, 1)}, ValueError, "actors must be at least 1"),
        ({"actors": (2, 1)}, ValueError, "actors must be the fewest and the most"),
        ({"actors": (1.0, None)}, TypeError, "actors must be whole numbers"),
        ({"gpus": "1"}, TypeError, "gpus must be a number"),
        ({"gpus": -1}, ValueError, "gpus must be a share"),
        ({"gpus": float("nan")}, ValueError, "gpus must be a share"),
    ],
)
def test_ray_options_are_checked(options, error, match):
    with pytest.raises(error, match=match):
        RayOptions(**options)


def test_gpus_follow_the_device():
    assert RayOptions().gpus_of("cpu") == 0
    assert RayOptions().gpus_of("cuda") == 1
    assert RayOptions(gpus=0.25).gpus_of("cuda") == 0.25
    with pytest.raises(ValueError, match="gpus must be more than 0 where device is cuda, got 0"):
        RayOptions(gpus=0).gpus_of("cuda")


@pytest.fixture
def task(pool) -> engine_module.Task:
    """What a worker is told, of one who sees all that this process sees."""
    settings = settings_of(pool)
    models = settings.metadata(1)["models"]
    images = str(pool / "photos")
    return engine_module.Task(settings, True, 1, images, "00.png", models, vl4pose.__version__)


class Calls:
    """A ledger without Ray, as an actor sees it."""

    def __init__(self, ledger: engine_module.Ledger) -> None:
        self.begin = SimpleNamespace(remote=ledger.begin)
        self.advance = SimpleNamespace(remote=ledger.advance)


def outcome_of(task, ledger=None, people=()):
    pytest.importorskip("ray")
    scorer = engine_module.ShardScorer(pickle.dumps(task), Calls(ledger or engine_module.Ledger()))
    scorer._ray = SimpleNamespace(get=lambda value: value)
    return scorer.outcome(Shard(3, 0, len(people)), people)


def test_a_worker_scores_what_it_is_given(pool, task):
    ledger = engine_module.Ledger()
    people = find_people(pool / "photos").people[:3]
    outcome = outcome_of(task, ledger, people)
    assert outcome.error is None
    assert outcome.rows["image"].to_pylist() == ["00.png", "01.png", "02.png"]
    assert outcome.environment["settings"]["run"]["num_threads"] == 1
    assert ledger.rows() == 3


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"version": "0.0.1"}, f"has vl4pose {vl4pose.__version__}, and this machine 0.0.1"),
        ({"image": "elsewhere.png"}, "does not see '.*photos/elsewhere.png': images and models"),
        ({"images_url": "/nowhere"}, "does not see '/nowhere/00.png': images and models"),
        ({"models": {"pose": {}}}, "fast.pt' is another file on the node .* than on this machine"),
    ],
)
def test_a_node_that_differs_is_named(task, what, sentence):
    outcome = outcome_of(dataclasses.replace(task, **what))
    assert re.search(f"node .*{sentence}|{sentence}", str(outcome.error))


def test_a_node_without_the_models_is_named(task, pool, tmp_path):
    (tmp_path / "pose.pt").write_bytes((pool / "fast.pt").read_bytes())
    settings = dataclasses.replace(task.settings, pose=tmp_path / "pose.pt")
    (tmp_path / "pose.pt").unlink()
    outcome = outcome_of(dataclasses.replace(task, settings=settings))
    assert f"does not see '{tmp_path / 'pose.pt'}'" in str(outcome.error)


def test_a_shard_that_loses_every_worker_ends_the_run(task):
    ledger = engine_module.Ledger()
    for attempt in range(5):
        assert len(ledger.begin(3, f"10.0.0.{attempt}", attempt)) == attempt
    outcome = outcome_of(task, ledger)
    assert "'scores-000003.parquet' was begun 5 times" in str(outcome.error)
    assert "at last on the node 10.0.0.4" in str(outcome.error)


def test_rows_of_a_lost_attempt_are_not_counted():
    ledger = engine_module.Ledger()
    for index in (0, 1):
        assert ledger.begin(index, "here", 10 + index) == []
        ledger.advance(index, 4)
    assert ledger.rows() == 8
    assert ledger.begin(1, "there", 12) == ["here"]
    assert ledger.rows() == 4
