"""A pool in shards: which rows each has, and the files of them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vl4pose.score_table import METADATA_KEY, SCHEMA

__all__ = [
    "ScoredShard",
    "Shard",
    "ShardEntry",
    "add_metadata",
    "encode_table",
    "sha256_of",
    "shards_of",
    "table_writer",
]


@dataclass(frozen=True)
class Shard:
    """Neighbours in a pool that go into one file. What it is depends on positions alone.

    Attributes
    ----------
    index : int
    start, stop : int
        Positions in the pool, ``stop`` exclusive.
    """

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"scores-{self.index:06d}.parquet"

    def cuts(self, batch_size: int) -> Iterator[slice]:
        """Yield the positions of each of its batches."""
        for start in range(self.start, self.stop, batch_size):
            yield slice(start, min(start + batch_size, self.stop))


def shards_of(num_people: int, shard_rows: int) -> list[Shard]:
    """Return the shards of a pool, in order: all of ``shard_rows`` but perhaps the last."""
    starts = range(0, num_people, shard_rows)
    return [
        Shard(index, start, min(start + shard_rows, num_people))
        for index, start in enumerate(starts)
    ]


@dataclass(frozen=True)
class ScoredShard:
    """A shard with its rows, in the form of ``SCHEMA``.

    Attributes
    ----------
    shard : Shard
    rows : pyarrow.Table
    heatmap_size : (width, height), optional
        None where nobody of the shard has pixels.
    environment : dict
        Of the process that scored it: see `environment`.
    """

    shard: Shard
    rows: pa.Table
    heatmap_size: tuple[int, int] | None
    environment: dict[str, Any]


@dataclass(frozen=True)
class ShardEntry:
    """What the manifest says of a finished shard.

    Attributes
    ----------
    file : str
    rows : int
    sha256 : str
        Of the file.
    counts : dict
        Of its rows: found, scored, flagged, failed.
    heatmap_size : (width, height), optional
        There where any person has pixels.
    differs : dict, optional
        What the shard was scored with in another environment than the manifest says: dotted names,
        such as ``machine.cpu``, and values.
    """

    file: str
    rows: int
    sha256: str
    counts: dict[str, int]
    heatmap_size: tuple[int, int] | None
    differs: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ShardEntry:
        """Return the entry that :meth:`to_json` describes."""
        size = data["heatmap_size"]
        return cls(**{**data, "heatmap_size": None if size is None else tuple(size)})

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain numbers, strings and lists."""
        data = asdict(self)
        if self.differs is None:
            del data["differs"]
        return data


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def encode_table(rows: pa.Table, metadata: Mapping[str, Any]) -> bytes:
    """Return a Parquet file: the same bytes for the same rows and metadata.

    Parameters
    ----------
    rows : pyarrow.Table
        In the form of ``SCHEMA``.
    metadata : mapping
        For JSON.
    """
    file = io.BytesIO()
    with table_writer(file) as writer:
        writer.write_table(rows.combine_chunks(), row_group_size=max(len(rows), 1))
        add_metadata(writer, metadata)
    return file.getvalue()


def table_writer(file: Any) -> pq.ParquetWriter:
    """Return a writer of tables of scores."""
    # Without the Arrow schema, readers find the metadata in the table's schema too.
    return pq.ParquetWriter(file, SCHEMA, compression="zstd", store_schema=False)


def add_metadata(writer: pq.ParquetWriter, metadata: Mapping[str, Any]) -> None:
    """Put a table's metadata into its file."""
    text = json.dumps(metadata, allow_nan=False)
    writer.add_key_value_metadata({METADATA_KEY: text.encode()})
