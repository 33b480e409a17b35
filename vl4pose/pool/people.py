"""People to score, millions of them, in a few bytes each."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import pyarrow as pa
import pyarrow.parquet as pq

from vl4pose.annotations import Person

__all__ = ["People", "difference"]

_PEOPLE_AT_ONCE = 65_536
# Binary, for names of files are bytes, and not all of them are UTF-8.
_SCHEMA = pa.schema(
    [
        ("image", pa.binary()),
        ("person_id", pa.binary()),
        ("box", pa.list_(pa.float64())),
        ("error", pa.binary()),
    ]
)


class People(Sequence[Person]):
    """A sequence of `Person`, without keypoints, that keeps its columns and makes its items.

    Parameters
    ----------
    people : iterable of Person

    Notes
    -----
    A person without a box takes the name of the image and five bytes; as objects they took some 250
    bytes beside the name.
    """

    def __init__(self, people: Iterable[Person]) -> None:
        remaining = iter(people)
        tables = [_SCHEMA.empty_table()]
        while chunk := list(islice(remaining, _PEOPLE_AT_ONCE)):
            tables.append(_table(chunk))
        self._table = pa.concat_tables(tables)

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Person: ...
    @overload
    def __getitem__(self, index: slice) -> list[Person]: ...
    def __getitem__(self, index: int | slice) -> Person | list[Person]:
        if not isinstance(index, slice):
            place = range(len(self))[index]
            return _people(self._table.slice(place, 1))[0]
        start, stop, step = index.indices(len(self))
        if step != 1:
            return [self[place] for place in range(start, stop, step)]
        return _people(self._table.slice(start, max(stop - start, 0)))

    def __iter__(self) -> Iterator[Person]:
        for start in range(0, len(self), _PEOPLE_AT_ONCE):
            yield from self[start : start + _PEOPLE_AT_ONCE]

    def digest(self) -> str:
        """Return a SHA-256 of all that is said of these people, in their order."""
        digest = hashlib.sha256()
        for batch in self._table.to_batches(_PEOPLE_AT_ONCE):
            columns = [batch.column(name).to_pylist() for name in _SCHEMA.names]
            for row in zip(*columns, strict=True):
                digest.update(json.dumps(row, default=_latin, allow_nan=False).encode())
        return digest.hexdigest()

    def to_parquet(self) -> bytes:
        """Return them as a file."""
        file = io.BytesIO()
        pq.write_table(self._table, file, compression="zstd", store_schema=False)
        return file.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes) -> People:
        """Return those of a file.

        Raises
        ------
        ValueError
            If it is none of `to_parquet`.
        """
        people = cls(())
        people._table = pq.read_table(pa.BufferReader(content)).cast(_SCHEMA)
        return people


def difference(before: People, now: People) -> str:
    """Return in words how the people of two lists, which are not the same, differ."""
    there, here = Counter(map(str, before)), Counter(map(str, now))
    said = []
    for one, other, what in ((here, there, "not there before"), (there, here, "gone")):
        names = list((one - other).elements())
        if names:
            said.append(f"{len(names):,} of them {what}, such as '{min(names)}'")
    if said:
        return "; ".join(said)
    if len(before) != len(now):
        return f"there were {len(before):,}, and are {len(now):,}"
    for old, new in zip(before, now, strict=True):
        if str(old) != str(new):
            return f"the same in another order, from '{new}' on"
        if old.box != new.box:
            return f"'{new}' has the box {_shown(new.box)}, and had {_shown(old.box)}"
        if old.error != new.error:
            return f"'{new}': {new.error or 'no error'}, and before {old.error or 'no error'}"
    raise AssertionError


def _shown(box: Sequence[float] | None) -> str:
    return "none" if box is None else str(list(box))


def _table(people: Sequence[Person]) -> pa.Table:
    columns = [
        [_bytes(person.image) for person in people],
        [_bytes(person.person_id) for person in people],
        [person.box for person in people],
        [_bytes(person.error) for person in people],
    ]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _people(table: pa.Table) -> list[Person]:
    columns = [table.column(name).to_pylist() for name in _SCHEMA.names]
    return [
        Person(_text(image) or "", _text(person_id), None if box is None else tuple(box), _text(e))
        for image, person_id, box, e in zip(*columns, strict=True)
    ]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "surrogatepass")


def _latin(content: bytes) -> str:
    return content.decode("latin-1")
