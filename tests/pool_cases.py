"""A small pool, its network and settings, and runs of it that are stopped."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import vl4pose
from vl4pose.cli.app import app
from vl4pose.image_transform import ImageTransform
from vl4pose.pool import PoolSettings, score_pool
from vl4pose.pool import storage as storage_module

NUM_IMAGES, SHARD_ROWS, BATCH_SIZE = 17, 5, 2
NUM_SHARDS = 4
TRANSFORM = ImageTransform(input_size=(32, 32))


class Brightness(torch.nn.Module):
    def forward(self, images):
        if bool((images.mean([1, 2, 3]) > 0.95).any()):
            raise RuntimeError("white images are too bright")
        return 30 * torch.nn.functional.avg_pool2d(images, 4)


# Fixtures, for test files to import; tests ask for `models` and `images`.


@pytest.fixture(scope="module", name="models")
def saved_models(tmp_path_factory) -> Path:
    """A folder with a network, its bones and its skeleton."""
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Brightness()), folder / "pose.pt")
    (folder / "bones.json").write_text(json.dumps([[4.0, 2.0]] * 2))
    vl4pose.Skeleton("rgb", ["red", "green", "blue"], [(0, 1), (1, 2)]).to_file(folder / "rgb.json")
    return folder


@pytest.fixture(name="images")
def saved_images(tmp_path) -> Path:
    """A folder of images: two are black, whose maps have no peak, and one cannot be read."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(NUM_IMAGES):
        pixels = rng.integers(0, 256, (24, 32, 3), np.uint8) * (index % 11 != 5)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    (folder / "07.png").write_bytes(b"torn")
    return folder


def settings(models: Path, **more) -> PoolSettings:
    return PoolSettings(
        models / "pose.pt",
        params=models / "bones.json",
        skeleton=vl4pose.Skeleton.from_file(models / "rgb.json"),
        transform=TRANSFORM,
        **{"shard_rows": SHARD_ROWS, "batch_size": BATCH_SIZE, **more},
    )


def score(models, images, out, *, trust=True, **more):
    """Score, `settings` and options of `score_pool` together in ``more``."""
    options = {name: more.pop(name) for name in ("resume", "tell", "workers") if name in more}
    return score_pool(images, out, settings(models, **more), trust=trust, **options)


def command(models: Path, images, out, *more: str):
    args = [
        "score", str(images), "--pose", str(models / "pose.pt"), "--trust",
        "--params", str(models / "bones.json"), "--skeleton", str(models / "rgb.json"),
        "--input-size", "32x32", "--shard-rows", str(SHARD_ROWS), "--batch-size", str(BATCH_SIZE),
        "--out", str(out), *more,
    ]  # fmt: skip
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, args)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Refusing:
    """Stands for a function that fails from a call on, as on a full disk, and then works again."""

    def __init__(self, function, good_calls: int, error: BaseException) -> None:
        self.function, self.good_calls, self.error = function, good_calls, error

    def __call__(self, *args):
        self.good_calls -= 1
        if self.good_calls < 0:
            raise self.error
        return self.function(*args)


def stop_after(monkeypatch, writes: int, error: BaseException) -> None:
    """Let the first writes of files succeed, and those after them fail."""
    refusing = Refusing(storage_module.write_atomically, writes, error)
    monkeypatch.setattr(storage_module, "write_atomically", refusing)


def stopped_folder(models, images, out: Path, shards: int = 2) -> Path:
    """Return a folder of a run that was stopped after so many shards."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2 + 2 * shards, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            score(models, images, out)
    return out
