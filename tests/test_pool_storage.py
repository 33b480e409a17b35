"""Scoring a pool in shards: images and tables at URLs, and storage that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from pool_cases import (
    NUM_IMAGES,
    NUM_SHARDS,
    SHARD_ROWS,
    command,
    contents,
    saved_images,  # noqa: F401
    saved_models,  # noqa: F401
    score,
    settings,
)

from vl4pose.pool import PoolError, find_people, score_pool
from vl4pose.pool import storage as storage_module
from vl4pose.pool.storage import LocalFolder, is_url, open_folder
from vl4pose.score_table import read_scores


@pytest.fixture
def memory():
    """A folder in fsspec's file system in memory."""
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


def upload(filesystem, images: Path, place: str) -> None:
    for path in sorted(images.rglob("*")):
        if path.is_file():
            filesystem.pipe_file(
                f"{place}/{path.relative_to(images).as_posix()}", path.read_bytes()
            )


def test_images_and_tables_at_urls(models, images, tmp_path, memory):
    (images / "sub").mkdir()
    (images / "03.png").rename(images / "sub" / "03.png")
    (images / "notes.txt").write_text("no image")
    (images / ".hidden.png").write_text("")
    score(models, images, tmp_path / "local")
    upload(memory, images, "/photos")
    everything = find_people("memory://")
    assert (everything.root, everything.people[0].image) == ("memory://", "photos/00.png")
    assert everything.images.has("photos/00.png")
    source = find_people("memory://photos/")
    assert source.kind == "folder"
    assert [(item.what, item.number) for item in source.left_out] == [("other files", 2)]
    result = command(models, "memory://photos", "memory://results/scores")
    assert result.exit_code == 0, result.output
    remote, local = read_scores("memory://results/scores"), read_scores(tmp_path / "local")
    assert remote.rows.equals(local.rows)
    assert remote.root == "memory://photos"
    result = command(models, "memory://photos", "memory://results/scores")
    assert result.exit_code == 2
    assert "--out must be new unless --resume is given" in result.stderr
    result = command(models, "memory://photos", "memory://results/scores", "--resume")
    assert result.exit_code == 0, result.output
    result = command(models, "memory://photos", "memory://results/one.parquet")
    assert result.exit_code == 0, result.output
    assert read_scores("memory://results/one.parquet").rows.equals(local.rows)
    assert not [name for name in memory.find("/results") if name.endswith(".tmp")]


def test_globs_files_and_annotations_at_urls(images, tmp_path, memory):
    upload(memory, images, "/photos")
    upload(memory, images, "/photos/below")
    found = find_people("memory://photos/**/0[12].png")
    assert [person.image for person in found.people] == [
        "01.png", "02.png", "below/01.png", "below/02.png",
    ]  # fmt: skip
    found = find_people(["memory://photos/below/01.png", "memory://photos/below/04.png"])
    assert [person.image for person in found.people] == ["01.png", "04.png"]
    assert found.images.has("04.png")
    rows = "image,x,y,width,height\n01.png,0,0,9,9\n"
    memory.pipe_file("/photos/people.csv", rows.encode())
    assert find_people("memory://photos/people.csv").images.url == "memory://photos"
    (tmp_path / "people.csv").write_text(rows)
    found = find_people(tmp_path / "people.csv", "memory://photos")
    assert (found.kind, found.people[0].box) == ("csv", (0, 0, 9, 9))
    for wrong, message in [
        (
            "memory://photos/*.gif",
            "match at least one file, got none for 'memory://photos/\\*.gif'",
        ),
        ("memory://nowhere", "hold at least one image, got none in 'memory://nowhere'"),
        (["memory://photos/01.png", str(images)], "must all be URLs or all be paths"),
        ("memory://photos/none.csv", "images must exist, got 'memory://photos/none.csv'"),
        ("mmeory://photos", r"protocol that fsspec knows, .*\(did you mean 'memory'\?\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            find_people(wrong)
    with pytest.raises(ValueError, match="holds no image of"):
        find_people(tmp_path / "people.csv", "memory://nowhere")


def test_files_of_this_machine_are_files_under_any_name(models, images, tmp_path):
    pytest.importorskip("fsspec")
    score(models, images, tmp_path / "expected")
    score(models, f"file://{images}", f"file://{tmp_path / 'scores'}")
    assert is_url(f"file://{images}")
    assert isinstance(open_folder(f"file://{images}"), LocalFolder)
    expected = contents(tmp_path / "expected")
    scores = contents(tmp_path / "scores")
    assert set(scores) == set(expected)
    assert read_scores(f"file://{tmp_path}/scores").rows.equals(
        read_scores(tmp_path / "expected").rows
    )


class ClientError(Exception):
    """What a storage's own client raises."""


def faulty_filesystem(root: Path):
    """Return a file system without atomic puts, that fails when it is told to."""
    fsspec = pytest.importorskip("fsspec")

    class FaultyFileSystem(fsspec.implementations.dirfs.DirFileSystem):
        protocol = "faulty"
        puts = 10_000
        reads_to_fail = 0
        torn = False

        def pipe_file(self, path, value, **options):
            type(self).puts -= 1
            if self.puts < 0:
                super().pipe_file(path, value[: len(value) // 2], **options)
                raise ClientError("503 Slow Down")
            super().pipe_file(path, value[: len(value) // 2] if self.torn else value, **options)

        def cat_file(self, path, *args, **options):
            if self.reads_to_fail > 0:
                type(self).reads_to_fail -= 1
                raise ClientError("connection reset")
            return super().cat_file(path, *args, **options)

    return FaultyFileSystem(path=str(root), fs=fsspec.filesystem("file"), skip_instance_cache=True)


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    pytest.importorskip("fsspec.implementations.dirfs")
    (tmp_path / "bucket").mkdir()
    filesystem = faulty_filesystem(tmp_path / "bucket")
    monkeypatch.setattr(storage_module, "_SECONDS_BETWEEN_TRIES", 0.0)

    def opened(location):
        path = str(location).removeprefix("faulty://")
        if path == str(location):
            return LocalFolder(Path(location))
        return storage_module.RemoteFolder(str(location), filesystem, path)

    for module in ("outputs", "sources", "storage"):
        monkeypatch.setattr(f"vl4pose.pool.{module}.open_folder", opened)
    return filesystem


@pytest.mark.parametrize("puts", range(2 * NUM_SHARDS + 2))
def test_a_storage_that_fails_while_it_is_written(models, images, tmp_path, faulty, puts):
    score(models, images, "faulty://expected")
    type(faulty).puts = puts
    with pytest.raises(
        PoolError, match="cannot write 'faulty://scores': ClientError: 503 Slow Down"
    ):
        score(models, images, "faulty://scores")
    type(faulty).puts = 10_000
    score(models, images, "faulty://scores", resume=True)
    bucket = tmp_path / "bucket"
    assert contents(bucket / "scores") == contents(bucket / "expected")
    assert len(read_scores("faulty://scores")) == NUM_IMAGES


def test_a_storage_that_tears_files_silently_is_found_out(models, images, tmp_path, faulty):
    score(models, images, "faulty://scores")
    expected = contents(tmp_path / "bucket" / "scores")
    shard = expected["scores-000001.parquet"]
    (tmp_path / "bucket" / "scores" / "scores-000001.parquet").write_bytes(shard[: len(shard) // 2])
    with pytest.raises(ValueError, match="must be as it was written"):
        read_scores("faulty://scores")
    assert score(models, images, "faulty://scores", resume=True).num_scored == SHARD_ROWS
    assert contents(tmp_path / "bucket" / "scores") == expected


def test_reading_is_tried_again(images, tmp_path, faulty):
    folder = storage_module.open_folder("faulty://photos")
    folder.make()
    folder.write("a.bin", b"content")
    type(faulty).reads_to_fail = 2
    assert folder.read("a.bin") == b"content"
    type(faulty).reads_to_fail = 3
    with pytest.raises(ClientError):
        folder.read("a.bin")
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        folder.read("b.bin")
    assert folder.names() == ["a.bin"]
    folder.remove("a.bin")
    folder.remove("a.bin")
    assert folder.names() == []


def test_an_image_that_is_gone_is_a_row(models, images, tmp_path, memory):
    upload(memory, images, "/photos")
    source = find_people("memory://photos")
    memory.rm_file("/photos/02.png")
    memory.pipe_file("/photos/03.png", b"")
    score_pool(source, tmp_path / "scores", settings(models), trust=True)
    errors = read_scores(tmp_path / "scores").rows["error"].to_pylist()
    assert errors[2:4] == ["no such file or directory", "the file is empty"]


def test_fsspec_is_asked_for_where_it_is_needed(models, images, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    result = command(models, "s3://bucket/photos", tmp_path / "scores")
    assert result.exit_code == 1
    assert result.stderr == "Error: fsspec is not installed: pip install 'vl4pose[remote]'\n"
    assert command(models, images, tmp_path / "scores").exit_code == 0
