"""Scoring a pool in shards: what must not mix is refused by name."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from PIL import Image
from pool_cases import (
    NUM_IMAGES,
    command,
    contents,
    saved_images,  # noqa: F401
    saved_models,  # noqa: F401
    score,
    stopped_folder,
)

import vl4pose
from vl4pose.annotations import Person
from vl4pose.pool.manifest import INPUTS, MANIFEST
from vl4pose.pool.outputs import OutputError
from vl4pose.pool.people import People, difference
from vl4pose.pool.storage import LocalFolder
from vl4pose.score_table import read_scores


def test_an_existing_folder_is_refused_without_resume(models, images, tmp_path):
    out = tmp_path / "scores"
    assert command(models, images, out).exit_code == 0
    result = command(models, images, out)
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"Error: --out must be new unless --resume is given, got '{out}"
    )
    result = command(models, images, images, "--resume")
    assert result.exit_code == 2
    assert "--out must be a new folder or one of vl4pose score" in result.stderr
    (tmp_path / "file").write_text("")
    result = command(models, images, tmp_path / "file", "--resume")
    assert result.exit_code == 2
    assert f"--out must be a folder, got the file '{tmp_path / 'file'}'" in result.stderr


DIFFERENCES = [
    (["--num-peaks", "3"], "--num-peaks was 5 and is 3"),
    (["--method", "max"], "--method was expected and is max"),
    (["--threshold-abs", "0.5"], "--threshold-abs was not set and is 0.5"),
    (["--std", "0.5"], r"--std was \[1.0\] and is \[0.5\]"),
    (["--embeddings"], "--embeddings was False and is True"),
    (["--batch-size", "3"], "--batch-size was 2 and is 3"),
    (["--shard-rows", "4", "--min-distance", "1"], "--min-distance was 5 and is 1, --shard-rows"),
]


@pytest.mark.parametrize(
    ("more", "message"), DIFFERENCES, ids=[str(more) for more, _ in DIFFERENCES]
)
def test_other_settings_are_refused_by_name(models, images, tmp_path, more, message):
    out = stopped_folder(models, images, tmp_path / "scores")
    before = contents(out)
    result = command(models, images, out, "--resume", *more)
    assert result.exit_code == 2, result.output
    rule = f"Error: --out must be resumed with the settings it was begun with, got '{out}', where "
    assert result.stderr.startswith(rule)
    assert re.search(message, result.stderr)
    assert contents(out) == before


def test_other_models_and_versions_are_refused(models, images, tmp_path, monkeypatch):
    out = stopped_folder(models, images, tmp_path / "scores")
    for name in ("bones.json", "rgb.json"):
        (tmp_path / name).write_bytes((models / name).read_bytes())
    renamed = tmp_path / "renamed.pt"
    renamed.write_bytes((models / "pose.pt").read_bytes())
    result = command(models, images, out, "--resume", "--pose", str(renamed))
    assert result.exit_code == 0, result.output  # the same network by another name
    renamed.write_bytes((models / "pose.pt").read_bytes() + b"\0")
    result = command(models, images, out, "--resume", "--pose", str(renamed))
    assert re.search(
        r"--pose was another file \(SHA-256 \w{12}, now \w{12}\)$", result.stderr, re.M
    )
    (tmp_path / "bones.json").write_text(json.dumps([[5.0, 2.0]] * 2))
    result = command(models, images, out, "--resume", "--params", str(tmp_path / "bones.json"))
    assert re.search(r"--params was another file \(SHA-256", result.stderr)
    monkeypatch.setattr("vl4pose.pool.settings.__version__", "9.9")
    result = command(models, images, out, "--resume")
    assert f"the version of vl4pose was {vl4pose.__version__} and is 9.9" in result.stderr


def test_other_images_are_refused_by_name(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")

    def error() -> str:
        result = command(models, images, out, "--resume")
        assert result.exit_code == 2, result.output
        assert f"IMAGES must be those that '{out}' was begun with: " in result.stderr
        return result.stderr

    (images / "03.png").rename(images / "x.png")
    assert (
        "1 of them not there before, such as 'x.png'; 1 of them gone, such as '03.png'" in error()
    )
    (images / "x.png").rename(images / "03.png")
    (images / "99.png").touch()
    assert "1 of them not there before, such as '99.png'\n" in error()
    (out / INPUTS).write_bytes(b"")
    assert "they are others, and '_inputs.parquet' cannot tell which" in error()
    (images / "99.png").unlink()
    assert command(models, images, out, "--resume").exit_code == 0
    moved = images.rename(tmp_path / "moved")
    result = command(models, moved, out, "--resume")
    assert f"the root of the images was {images} and is {moved}" in result.stderr


def test_other_boxes_and_another_order_are_told():
    before = People([Person("a.png", "1", (0, 0, 5, 5)), Person("b.png", "2", (1, 1, 5, 5))])
    boxed = People([Person("a.png", "1", (0, 0, 5, 5)), Person("b.png", "2", (1, 1, 5, 6))])
    assert difference(before, boxed) == (
        "'b.png #2' has the box [1.0, 1.0, 5.0, 6.0], and had [1.0, 1.0, 5.0, 5.0]"
    )
    turned = People([before[1], before[0]])
    assert difference(before, turned) == "the same in another order, from 'b.png #2' on"
    wrong = People([Person("a.png", "1", None, "no image"), before[1]])
    assert difference(before, wrong).startswith("'a.png #1' has the box none, and had [0.0")
    twice = People([*before, before[0]])
    assert difference(before, twice) == "1 of them not there before, such as 'a.png #1'"
    assert len({people.digest() for people in (before, boxed, turned, wrong, twice)}) == 5


def test_a_manifest_that_is_none_is_refused(models, images, tmp_path):
    out = tmp_path / "scores"
    score(models, images, out)
    good = (out / MANIFEST).read_text()
    data = json.loads(good)
    for content, message in [
        ("{", "is no JSON"),
        ("[]", "must have the format 'vl4pose scores 1'"),
        ('{"format": "vl4pose scores 2"}', r"must have the format .*got \"vl4pose scores 2\""),
        (
            json.dumps({**data, "counts": {**data["counts"], "failed": 2}}),
            "has counts that are not",
        ),
        (json.dumps({**data, "rows": 3}), "has counts that are not"),
        (good.replace('"rows": 5', '"rows": 6', 1), "miscounts the rows of scores-000000"),
        (json.dumps({k: v for k, v in data.items() if k != "inputs"}), "lacks what a manifest has"),
    ]:
        (out / MANIFEST).write_text(content)
        with pytest.raises(ValueError, match=message):
            read_scores(out)
        with pytest.raises(OutputError, match=f"out must have a whole manifest: .*{message}"):
            score(models, images, out, resume=True)


def test_one_run_at_a_time(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")
    with LocalFolder(out).lock() as locked:
        assert locked
        result = command(models, images, out, "--resume")
    assert result.exit_code == 2
    rule = f"--out must be of one run at a time, got '{out}', where another is writing"
    assert rule in result.stderr
    assert command(models, images, out, "--resume").exit_code == 0  # nothing of the lock is left


def test_two_runs_that_begin_at_once(models, images, tmp_path, monkeypatch):
    out = tmp_path / "scores"
    make = LocalFolder.make

    def be_overtaken(self):
        monkeypatch.setattr(LocalFolder, "make", make)
        score(models, images, out)
        make(self)

    monkeypatch.setattr(LocalFolder, "make", be_overtaken)
    with pytest.raises(OutputError, match=f"out must be new, got '{out}', which has just been"):
        score(models, images, out)
    assert len(read_scores(out)) == NUM_IMAGES


def test_runs_of_other_settings_are_found_where_there_are_no_locks(
    models, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(LocalFolder, "_lock", lambda self, descriptor: False)
    out = tmp_path / "scores"
    score(models, images, tmp_path / "other", scoring={"num_peaks": 1})
    other = (tmp_path / "other" / MANIFEST).read_bytes()
    write = LocalFolder.write

    def meddle(self, name, content):
        write(self, name, content)
        if name == "scores-000001.parquet":
            write(self, MANIFEST, other)

    monkeypatch.setattr(LocalFolder, "write", meddle)
    with pytest.raises(OutputError, match="where another has put its manifest"):
        score(models, images, out)


def test_a_network_that_fails_says_what_is_there(models, images, tmp_path):
    Image.new("RGB", (64, 64), (255, 255, 255)).save(images / "12.png")
    result = command(models, images, tmp_path / "scores")
    assert result.exit_code == 1
    assert "white images are too bright" in result.stderr
    assert result.stderr.endswith(f"10 of 17 rows are in '{tmp_path / 'scores'}', to be resumed\n")
    assert len(read_scores(tmp_path / "scores", partial=True)) == 10


def test_a_wrong_model_leaves_no_folder(models, images, tmp_path):
    result = command(models, images, tmp_path / "scores", "--pose", str(models / "bones.json"))
    assert result.exit_code == 2
    assert not (tmp_path / "scores").exists()
