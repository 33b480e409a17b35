"""Where rows go: a folder of shards that a run can be resumed in, or one file."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq

from vl4pose._atomic_file import move_into_place
from vl4pose.pool.manifest import INPUTS, MANIFEST, Manifest, flat, setting_differences
from vl4pose.pool.people import People, difference
from vl4pose.pool.shards import (
    ScoredShard,
    Shard,
    ShardEntry,
    add_metadata,
    encode_table,
    sha256_of,
    shards_of,
    table_writer,
)
from vl4pose.pool.storage import (
    BusyError,
    Folder,
    final_name,
    is_url,
    open_folder,
)
from vl4pose.pool.tally import TALLIED, counts_of

__all__ = ["MismatchError", "Output", "OutputError", "ShardFolder", "TableFile", "open_output"]

_SHARD_FILE = re.compile(r"scores-\d{6,}\.parquet")
_SHOWN_DIFFERENCES = 5
_SHOWN_LETTERS = 300
_SHOWN_DIGITS = 12  # of a SHA-256


class OutputError(ValueError):
    """The place for the rows cannot be used: ``out must ...``."""


class MismatchError(OutputError):
    """A folder holds rows of other settings or other people: they must not mix.

    Attributes
    ----------
    folder : str
    differences : list of (name, earlier value, present value)
        Names as in the metadata, with dots: ``settings.scoring.num_peaks``.
    """

    def __init__(self, folder: str, differences: list[tuple[str, Any, Any]]) -> None:
        self.folder = folder
        self.differences = differences
        super().__init__(f"out must {self.sentence()}")

    def sentence(self, naming: Callable[[str], str] = str) -> str:
        """Return what differs; ``naming`` says what a parameter is called."""
        said: dict[str, str] = {}
        for name, before, now in self.differences:
            what, is_file = _parameter(name)
            if is_file:
                old, new = (_digits(value) for value in (before, now))
                text = f"was another file (SHA-256 {old}, now {new})"
            else:
                text = f"was {_shown(before)} and is {_shown(now)}"
            said.setdefault(what, f"{naming(what)} {text}")
        shown = list(said.values())[:_SHOWN_DIFFERENCES]
        more = f", and {len(said) - len(shown)} more" if len(said) > len(shown) else ""
        return (
            f"be resumed with the settings it was begun with, got '{self.folder}', where "
            f"{', '.join(shown)}{more}"
        )


def _parameter(name: str) -> tuple[str, bool]:
    """Return what is called so in the metadata, and whether it is a file by its hash."""
    section, _, rest = name.partition(".")
    if section == "settings":
        return name.rpartition(".")[2], False
    if section == "models":
        return rest.partition(".")[0], True
    if section == "link_params":
        return "params", False
    if section == "software":
        return f"the version of {rest}", False
    if section == "source":
        return f"the {rest} of the images", False
    return {"version": "the version of vl4pose"}.get(section, section), False


def _digits(sha256: object) -> str:
    return sha256[:_SHOWN_DIGITS] if isinstance(sha256, str) else "none"


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."


class Output(Protocol):
    """Takes the rows of shards. A context manager, that keeps others away meanwhile.

    Attributes
    ----------
    num_threads : int, optional
        What a run that is resumed was begun with.
    """

    num_threads: int | None

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def check(self, metadata: Mapping[str, Any], people: People) -> None:
        """Raise a MismatchError where rows of these would not belong."""

    def begin(
        self,
        metadata: Mapping[str, Any],
        people: People,
        *,
        tell: Callable[[str], None],
        count: Callable[[pa.Table], None],
    ) -> list[Shard]:
        """Make ready for the rows, and return the shards that there are none of.

        ``count`` is called with the rows of each of the others, of which it needs ``TALLIED``.
        """

    def add(self, scored: ScoredShard) -> None:
        """Take the rows of a shard; in any order."""

    def finish(self) -> None:
        """Say that all shards were given."""


def open_output(out: str | os.PathLike[str], *, resume: bool) -> Output:
    """Return where rows go: one file where ``out`` ends in .parquet, or else a folder.

    Raises
    ------
    OutputError
        If nothing can be put there.
    """
    if str(out).lower().endswith(".parquet"):
        if resume:
            raise OutputError(f"resume must go with a folder, got the file '{out}'")
        return TableFile(out)
    return ShardFolder(out, resume=resume)


class ShardFolder:
    """A folder of shards with a manifest.

    Parameters
    ----------
    out : path or URL
    resume : bool
        Go on where an earlier run was stopped, if there was one.

    Notes
    -----
    What is in the folder at any moment is whole: every file is written beside its place, flushed to
    the disk and moved there (`Folder.write`), first the shard and then the manifest that lists it.
    A shard counts as finished from when the manifest lists it with the SHA-256 that its file has;
    until then it is made again, which gives the same bytes.
    """

    def __init__(self, out: str | os.PathLike[str], *, resume: bool) -> None:
        self.out = str(out)
        self.resume = resume
        self.num_threads: int | None = None
        self._folder: Folder = open_folder(out)
        self._manifest: Manifest | None = None
        self._locks = ExitStack()
        self._has_lock = False
        self._has_begun = False

    def __enter__(self) -> Self:
        if not self._folder.exists():
            return self
        if not self.resume:
            raise OutputError(f"out must be new unless resume=True, got '{self.out}'")
        try:
            self._open()
        except BaseException:
            self._locks.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._locks.close()
        if error is not None and self._manifest is not None and self._has_begun:
            rows, total = self._manifest.num_rows, self._manifest.num_people
            error.add_note(f"{rows:,} of {total:,} rows are in '{self.out}', to be resumed")

    def check(self, metadata: Mapping[str, Any], people: People) -> None:
        """Raise a MismatchError where rows of these would not belong."""
        if self._manifest is None:
            return
        differences = setting_differences(self._manifest.metadata, metadata)
        if differences:
            raise MismatchError(self.out, differences)
        if self._manifest.people_sha256 != people.digest():
            raise OutputError(
                f"images must be those that '{self.out}' was begun with: {self._changes(people)}"
            )

    def begin(
        self,
        metadata: Mapping[str, Any],
        people: People,
        *,
        tell: Callable[[str], None],
        count: Callable[[pa.Table], None],
    ) -> list[Shard]:
        """Write the manifest, or find out which shards are finished; return the others."""
        if self._manifest is None:
            self._folder.make()
            self._lock()
            if self._folder.has(MANIFEST):
                raise OutputError(f"out must be new, got '{self.out}', which has just been begun")
            self._folder.write(INPUTS, people.to_parquet())
            self._manifest = Manifest(dict(metadata), len(people), people.digest())
            self._has_begun = True
            self._folder.write(MANIFEST, self._manifest.to_bytes())
        else:
            self._has_begun = True
            self._verify(people, tell, count)
        entries = self._manifest.entries
        return [shard for shard in self._manifest.shards if shard.index not in entries]

    def add(self, scored: ScoredShard) -> None:
        """Write a shard, and then the manifest."""
        assert self._manifest is not None
        shard, metadata = scored.shard, self._manifest.metadata
        counts = counts_of(scored.rows)
        differs = _differing(metadata, scored.environment)
        own = {**metadata, "heatmap_size": scored.heatmap_size, "counts": counts}
        content = encode_table(scored.rows, own if differs is None else {**own, "differs": differs})
        self._folder.write(shard.file, content)
        digest = sha256_of(content)
        entry = ShardEntry(shard.file, len(shard), digest, counts, scored.heatmap_size, differs)
        if not self._has_lock:
            self._check_alone()
        self._manifest.entries[shard.index] = entry
        try:
            self._folder.write(MANIFEST, self._manifest.to_bytes())
        except BaseException:
            del self._manifest.entries[shard.index]  # it is not finished
            raise

    def finish(self) -> None:
        """Check that no row is missing."""
        assert self._manifest is not None
        assert self._manifest.is_complete, "an engine left out shards"

    def _open(self) -> None:
        self._lock()
        names = self._folder.names()
        if MANIFEST not in names:
            for name in names:
                if not _is_own(name):
                    raise OutputError(
                        f"out must be a new folder or one of vl4pose score, got '{self.out}' with "
                        f"'{name}' in it"
                    )
        else:
            self._manifest = _read_manifest(self._folder, self.out)
            self.num_threads = self._manifest.metadata["settings"]["run"]["num_threads"]
        for name in names:
            if final_name(name) is not None and _is_own(name):
                self._folder.remove(name)  # of a run that was killed

    def _lock(self) -> None:
        if self._has_lock:
            return
        try:
            self._has_lock = self._locks.enter_context(self._folder.lock())
        except NotADirectoryError:
            raise OutputError(f"out must be a folder, got the file '{self.out}'") from None
        except BusyError:
            raise OutputError(
                f"out must be of one run at a time, got '{self.out}', where another is writing"
            ) from None

    def _verify(
        self, people: People, tell: Callable[[str], None], count: Callable[[pa.Table], None]
    ) -> None:
        """Keep the entries of shards whose files are what was written."""
        assert self._manifest is not None
        if self._read(INPUTS) != (inputs := people.to_parquet()):
            tell(f"'{INPUTS}' is damaged or missing and is written again.")
            self._folder.write(INPUTS, inputs)
        for index, entry in sorted(self._manifest.entries.items()):
            content = self._read(entry.file)
            if content is not None and sha256_of(content) == entry.sha256:
                count(pq.read_table(pa.BufferReader(content), columns=list(TALLIED)))
                continue
            what = "is missing" if content is None else "does not match its SHA-256"
            tell(f"'{entry.file}' {what} and is scored again.")
            del self._manifest.entries[index]

    def _read(self, name: str) -> bytes | None:
        try:
            return self._folder.read(name)
        except FileNotFoundError:
            return None

    def _changes(self, people: People) -> str:
        try:
            before = People.from_parquet(self._folder.read(INPUTS))
        except (OSError, ValueError):
            return f"they are others, and '{INPUTS}' cannot tell which"
        return difference(before, people)

    def _check_alone(self) -> None:
        """Find another run with other settings, where no lock keeps it away."""
        assert self._manifest is not None
        other = _read_manifest(self._folder, self.out)
        if (other.metadata, other.people_sha256) != (
            self._manifest.metadata,
            self._manifest.people_sha256,
        ):
            raise OutputError(
                f"out must be of one run at a time, got '{self.out}', where another has put its "
                "manifest"
            )


class TableFile:
    """One file, which is there when all rows are; what was there before stays until then.

    Parameters
    ----------
    out : path or URL
        A symbolic link stays, and its target is written. At a URL, the file is kept in memory until
        it is complete.
    """

    num_threads: int | None = None

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self._stack = ExitStack()
        self._metadata: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._heatmap_size: tuple[int, int] | None = None
        self._differs: dict[int, dict[str, Any]] = {}
        self._waiting: dict[int, pa.Table] = {}
        self._next = 0
        self._file: io.BytesIO | Path
        if is_url(out):
            folder, _, name = str(out).rpartition("/")
            self._folder: Folder = open_folder(folder)
            self._file = io.BytesIO()
        else:
            path = Path(out).resolve()
            self._folder, name = open_folder(path.parent), path.name
            self._file = path.with_name(f".{path.name}.{os.getpid():x}.tmp")
        self._name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._metadata:
            error.add_note("nothing was written")
        self._stack.close()

    def check(self, metadata: Mapping[str, Any], people: People) -> None:
        """Accept all: nothing was begun."""

    def begin(
        self,
        metadata: Mapping[str, Any],
        people: People,
        *,
        tell: Callable[[str], None],
        count: Callable[[pa.Table], None],
    ) -> list[Shard]:
        """Begin a file, and return all shards."""
        self._metadata = dict(metadata)
        if isinstance(self._file, Path):
            self._stack.callback(self._file.unlink, missing_ok=True)
        self._parquet = table_writer(self._file)
        self._stack.callback(self._close)
        return shards_of(len(people), metadata["settings"]["run"]["shard_rows"])

    def add(self, scored: ScoredShard) -> None:
        """Write the rows when it is their turn, as a row group."""
        self._heatmap_size = self._heatmap_size or scored.heatmap_size
        differs = _differing(self._metadata, scored.environment)
        if differs is not None:
            self._differs[scored.shard.index] = {"rows": len(scored.rows), **differs}
        for name, count in counts_of(scored.rows).items():
            self._counts[name] = self._counts.get(name, 0) + count
        self._waiting[scored.shard.index] = scored.rows
        while (waiting := self._waiting.pop(self._next, None)) is not None:
            self._parquet.write_table(waiting.combine_chunks(), row_group_size=len(waiting))
            self._next += 1

    def finish(self) -> None:
        """Store the metadata and put the file in its place."""
        assert not self._waiting, "an engine left out shards"
        results: dict[str, Any] = {"heatmap_size": self._heatmap_size, "counts": self._counts}
        if self._differs:
            results["differs"] = [self._differs[index] for index in sorted(self._differs)]
        add_metadata(self._parquet, {**self._metadata, **results})
        self._parquet.close()
        if isinstance(self._file, io.BytesIO):
            self._folder.write(self._name, self._file.getvalue())
            return
        move_into_place(self._file, self._file.with_name(self._name))

    def _close(self) -> None:
        # After an error there may be no space for the footer either.
        with contextlib.suppress(OSError):
            self._parquet.close()


def _differing(metadata: Mapping[str, Any], environment: dict[str, Any]) -> dict[str, Any] | None:
    """Return what of the environment of a shard is not what the metadata says, if anything."""
    there = dict(flat(metadata))
    return {n: value for n, value in flat(environment) if there.get(n) != value} or None


def _is_own(name: str) -> bool:
    """Return whether this is a file of a folder of scores, or was to become one."""
    name = final_name(name) or name
    return name in (MANIFEST, INPUTS) or _SHARD_FILE.fullmatch(name) is not None


def _read_manifest(folder: Folder, out: str) -> Manifest:
    try:
        return Manifest.from_bytes(folder.read(MANIFEST))
    except ValueError as error:
        raise OutputError(f"out must have a whole manifest: '{out}/{MANIFEST}' {error}") from error
