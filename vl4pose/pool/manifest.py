"""What a folder of scores says of itself: inputs, settings, and the shards that are finished."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vl4pose.pool.shards import Shard, ShardEntry, shards_of

__all__ = ["INPUTS", "MANIFEST", "Manifest", "flat", "setting_differences"]

# Readers of folders of Parquet files leave out what begins with an underscore.
MANIFEST = "_manifest.json"
INPUTS = "_inputs.parquet"
_FORMAT = "vl4pose scores 1"
# What no row depends on; and what may be another for some shards, which then say so themselves.
_FREE = {"source.arguments", "source.ignored", "models.settings", "machine"}


@dataclass
class Manifest:
    """The manifest of a folder of scores.

    Attributes
    ----------
    metadata : dict
        Of every row: version, software, settings, skeleton, models, link_params, source. It is what
        each shard's file says as well.
    num_people : int
    people_sha256 : str
        ``People.digest`` of those in ``_inputs.parquet``.
    entries : dict of int to ShardEntry
        The finished shards by their indices.
    """

    metadata: dict[str, Any]
    num_people: int
    people_sha256: str
    entries: dict[int, ShardEntry] = field(default_factory=dict)

    @property
    def shards(self) -> list[Shard]:
        """All shards, finished or not."""
        return shards_of(self.num_people, self.metadata["settings"]["run"]["shard_rows"])

    @property
    def num_rows(self) -> int:
        """How many rows are in finished shards."""
        return sum(entry.rows for entry in self.entries.values())

    @property
    def is_complete(self) -> bool:
        """Whether every shard is finished."""
        return len(self.entries) == len(self.shards)

    def counts(self) -> dict[str, int]:
        """Return how many rows were found, scored, flagged and failed, in finished shards."""
        names = ("found", "scored", "flagged", "failed")
        return {name: sum(e.counts[name] for e in self.entries.values()) for name in names}

    def heatmap_size(self) -> tuple[int, int] | None:
        """Return (width, height) as the first shard that has one says, or None."""
        sizes = (self.entries[index].heatmap_size for index in sorted(self.entries))
        return next((size for size in sizes if size is not None), None)

    def table_metadata(self) -> dict[str, Any]:
        """Return what `read_scores` gives as the metadata of all rows."""
        data = {**self.metadata, "heatmap_size": self.heatmap_size(), "counts": self.counts()}
        differing = [e for _, e in sorted(self.entries.items()) if e.differs is not None]
        if differing:
            data["differs"] = [{"rows": entry.rows, **(entry.differs or {})} for entry in differing]
        same: dict[str, Any] = json.loads(json.dumps(data))  # lists, as they are read from one file
        return same

    def to_bytes(self) -> bytes:
        """Return the content of the file: the same whatever came before."""
        data = {
            "format": _FORMAT,
            **self.metadata,
            "inputs": {
                "file": INPUTS,
                "people": self.num_people,
                "people_sha256": self.people_sha256,
            },
            "rows": self.num_rows,
            "counts": self.counts(),
            "shards": [self.entries[index].to_json() for index in sorted(self.entries)],
        }
        shards = data.pop("shards")
        # A line for each part and each shard, for people who look at it.
        lines = [f"{json.dumps(key)}: {_json(value)}" for key, value in data.items()]
        listed = ",\n  ".join(map(_json, shards))
        lines.append(f'"shards": [\n  {listed}\n ]' if shards else '"shards": []')
        return ("{\n " + ",\n ".join(lines) + "\n}\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Return the manifest that is in a file.

        Raises
        ------
        ValueError
            If it is none, or one that contradicts itself; the message continues a sentence.
        """
        try:
            data = json.loads(content)
        except ValueError as error:
            raise ValueError(f"is no JSON: {error}") from error
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            found = data.get("format") if isinstance(data, dict) else data
            raise ValueError(f"must have the format '{_FORMAT}', got {json.dumps(found)[:80]}")
        try:
            inputs, listed = data["inputs"], data["shards"]
            num_rows, counts = data["rows"], data["counts"]
            for key in ("format", "inputs", "shards", "rows", "counts"):
                del data[key]
            manifest = cls(data, inputs["people"], inputs["people_sha256"])
            shards = {shard.file: shard for shard in manifest.shards}
            for item in listed:
                entry = ShardEntry.from_json(item)
                shard = shards[entry.file]
                if entry.rows != len(shard) or sum(entry.counts.values()) != 2 * entry.rows:
                    raise ValueError(f"miscounts the rows of {entry.file}")
                manifest.entries[shard.index] = entry
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"lacks what a manifest has ({type(error).__name__} {error})"
            ) from error
        if (manifest.num_rows, manifest.counts()) != (num_rows, counts):
            raise ValueError("has counts that are not those of its shards")
        return manifest


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def setting_differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return the name, the earlier and the present value of all that differs between metadata."""
    old, new = dict(flat(before)), dict(flat(now))
    return [
        (name, old.get(name), new.get(name))
        for name in {**old, **new}
        if not any(f"{name}.".startswith(f"{free}.") for free in _FREE)
        and not (name.startswith("models.") and name.endswith(".file"))  # its hash is what counts
        and old.get(name) != new.get(name)
    ]


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names, with dots between their parts, and the values of nested mappings."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
