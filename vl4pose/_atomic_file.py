"""Files that are there completely or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["move_into_place", "unfinished", "write_atomically"]


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Give a place beside a file's own to write it at; nothing is left there afterwards."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Put a file in its place; a link there stays one, to the new content."""
    path = path.resolve()
    try:
        with unfinished(path) as temporary:
            temporary.write_bytes(content)
            move_into_place(temporary, path)
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)  # of a full disk there is none
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Move a finished file to its place in the same folder, and both to the disk."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # its entry for the file is written separately
    finally:
        os.close(folder)
