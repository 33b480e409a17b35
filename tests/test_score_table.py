"""Tables of scores: some rows of a file or of a folder of shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from made_scores import made_scores, save_file, save_folder  # noqa: E402

from vl4pose.score_table import read_scores  # noqa: E402

POOL = made_scores(40, failed=(3, 17))


@pytest.fixture(params=["file", "folder"])
def scores(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "file":
        return save_file(POOL, tmp_path / "scores.parquet", rows_per_group=7)
    return save_folder(POOL, tmp_path / "scores", shard_rows=7)


@pytest.mark.parametrize(
    "rows", [[], [0], [39, 0], [5, 5, 6, 5], [7, 6, 13, 14], list(range(39, -1, -1))]
)
def test_some_rows_are_those_of_all(scores: Path, rows: list[int]) -> None:
    some = read_scores(scores, rows=rows)
    assert some.rows.equals(POOL.take(rows).rows)
    assert some.metadata == read_scores(scores).metadata
    few = read_scores(scores, rows=np.array(rows, np.int64), columns=["score", "image"])
    assert few.rows.equals(POOL.take(rows).rows.select(["score", "image"]))


@pytest.mark.parametrize("row", [-1, 40])
def test_rows_must_be_there(scores: Path, row: int) -> None:
    with pytest.raises(ValueError, match=rf"rows must be from 0 to 39, got {row}"):
        read_scores(scores, rows=[0, row])


@pytest.mark.parametrize("rows", [None, [3]])
def test_columns_must_be_there(scores: Path, rows: list[int] | None) -> None:
    with pytest.raises(
        ValueError, match=r"^columns must each be one of image, .*'score'\?\), got 'scor'$"
    ):
        read_scores(scores, columns=["image", "scor"], rows=rows)


def test_what_holds_none_of_the_rows_is_not_read(scores: Path) -> None:
    torn = scores
    start = 4  # behind the magic number
    if scores.is_dir():
        torn = scores / "scores-000001.parquet"
    else:
        second = pq.ParquetFile(scores).metadata.row_group(1)
        start = min(second.column(c).data_page_offset for c in range(second.num_columns))
    content = bytearray(torn.read_bytes())
    content[start : start + 40] = bytes(40)
    torn.write_bytes(content)
    assert read_scores(scores, rows=[0, 39]).rows.equals(POOL.take([0, 39]).rows)
    with pytest.raises((OSError, ValueError)):
        read_scores(scores, rows=[8])
