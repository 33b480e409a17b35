"""Scoring a pool in shards: runs that were stopped go on, and end with the same bytes."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from pool_cases import (  # noqa: E402
    NUM_IMAGES,
    NUM_SHARDS,
    SHARD_ROWS,
    command,
    contents,
    saved_images,  # noqa: F401
    saved_models,  # noqa: F401
    score,
    stop_after,
    stopped_folder,
)

from vl4pose.pool import PoolError  # noqa: E402
from vl4pose.pool.manifest import INPUTS, MANIFEST  # noqa: E402
from vl4pose.pool.outputs import MismatchError  # noqa: E402
from vl4pose.score_table import read_scores  # noqa: E402


def test_resume_begins_where_there_is_nothing(models, images, tmp_path):
    score(models, images, tmp_path / "expected")
    score(models, images, tmp_path / "scores", resume=True)
    (tmp_path / "empty").mkdir()
    score(models, images, tmp_path / "empty", resume=True)
    assert contents(tmp_path / "scores") == contents(tmp_path / "expected")
    assert contents(tmp_path / "empty") == contents(tmp_path / "expected")


@pytest.mark.parametrize("writes", range(2 + 2 * NUM_SHARDS))
def test_a_full_disk_stops_with_a_sentence_and_the_rest_follows(
    models, images, tmp_path, monkeypatch, writes
):
    score(models, images, tmp_path / "expected")
    out = tmp_path / "scores"
    with monkeypatch.context() as patch:
        stop_after(patch, writes, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(PoolError, match=f"^cannot write '{out}': No space left") as caught:
            score(models, images, out)
    rows = min(max(writes - 2, 0) // 2 * SHARD_ROWS, NUM_IMAGES)
    if writes > 0:  # else there was no folder yet
        assert caught.value.__notes__ == [f"{rows} of 17 rows are in '{out}', to be resumed"]
    result = score(models, images, out, resume=True)
    assert contents(out) == contents(tmp_path / "expected")
    assert result.num_scored == NUM_IMAGES - rows
    counts = result.tally.counts()
    assert counts == {"found": 17, "scored": 14, "flagged": 2, "failed": 1}  # of both runs


def test_a_finished_shard_is_not_written_again(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")

    def written() -> list[tuple[int, int]]:  # not st_atime, which reading changes
        stats = [(out / name).stat() for name in ("scores-000000.parquet", INPUTS)]
        return [(stat.st_ino, stat.st_mtime_ns) for stat in stats]

    before = written()
    result = score(models, images, out, resume=True)
    assert result.num_scored == NUM_IMAGES - 2 * SHARD_ROWS
    assert written() == before
    again = score(models, images, out, resume=True)
    assert again.num_scored == 0
    assert again.tally == result.tally


def test_the_same_images_by_another_name_are_the_same(models, images, tmp_path, monkeypatch):
    score(models, images, tmp_path / "expected")
    out = stopped_folder(models, images, tmp_path / "scores")
    monkeypatch.chdir(images.parent)
    score(models, images.name, out, resume=True)
    assert contents(out) == contents(tmp_path / "expected")


def test_the_summary_of_a_resumed_run_is_of_all_rows(models, images, tmp_path):
    whole = command(models, images, tmp_path / "whole").stdout
    out = stopped_folder(models, images, tmp_path / "scores")
    resumed = command(models, images, out, "--resume")
    assert resumed.exit_code == 0, resumed.output

    def without_times(text: str) -> list[str]:
        return [
            line
            for line in text.splitlines()
            if not re.search(r"\d%|images/s|seconds|written", line)
        ]

    assert without_times(resumed.stdout) == without_times(whole)
    for part in ("waiting for images", "networks", "vl4pose", "rows", "writing", "reading images"):
        assert re.search(rf"{part} +\d+\.\d\d +\d+\.\d%", resumed.stdout), part


DAMAGES = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "altered": lambda path: path.write_bytes(path.read_bytes().replace(b"PAR1", b"PAR2", 1)),
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_is_scored_again(models, images, tmp_path, damage):
    out = tmp_path / "scores"
    score(models, images, out)
    expected = contents(out)
    damage(out / "scores-000001.parquet")
    damage(out / INPUTS)
    with pytest.raises(ValueError, match=r"scores-000001.parquet' must be as it was written"):
        read_scores(out)
    told = []
    result = score(models, images, out, resume=True, tell=told.append)
    assert result.num_scored == SHARD_ROWS
    assert contents(out) == expected
    assert any("'_inputs.parquet' is damaged or missing" in text for text in told)
    assert any(re.search(r"'scores-000001.parquet' .* is scored again", text) for text in told)


def test_left_over_files_of_dead_runs_are_removed(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")
    (out / ".scores-000003.parquet.4711.tmp").write_bytes(b"PAR1")
    (out / f".{MANIFEST}.4711.tmp").write_bytes(b"{")
    (out / ".notes.4711.tmp").write_bytes(b"of somebody else")
    score(models, images, out, resume=True)
    assert [name for name in contents(out) if name.endswith(".tmp")] == [".notes.4711.tmp"]


def test_the_recorded_number_of_threads_is_taken(models, images, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)  # it is the whole process's
    other = torch.get_num_threads() + 1
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            score(models, images, tmp_path / "scores", num_threads=other)
    assert asked == [other]
    with pytest.raises(MismatchError, match=f"num_threads was {other} and is {other + 1}$"):
        score(models, images, tmp_path / "scores", resume=True, num_threads=other + 1)
    score(models, images, tmp_path / "scores", resume=True)
    assert asked == [other, other]
    run = read_scores(tmp_path / "scores").metadata["settings"]["run"]
    assert run["num_threads"] == other


def test_what_a_shard_was_scored_with_elsewhere_is_recorded(models, images, tmp_path, monkeypatch):
    out = stopped_folder(models, images, tmp_path / "scores")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    score(models, images, out, resume=True)
    table = read_scores(out)
    elsewhere = {"machine.cpu": "another"}
    assert table.metadata["differs"] == [{"rows": 5, **elsewhere}, {"rows": 2, **elsewhere}]
    assert "differs" not in read_scores(out / "scores-000001.parquet").metadata
    assert read_scores(out / "scores-000002.parquet").metadata["differs"] == elsewhere
