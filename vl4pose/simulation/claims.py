"""Which process does which piece of work: locks that end with their process, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

__all__ = ["Claim", "claim", "read_claims"]

_SECONDS_BETWEEN_NOTES = 0.5


class Claim:
    """A piece of work that is this process's alone; a context manager that gives it up.

    Notes
    -----
    The lock is ``flock``'s: the kernel, or the server of a network file system, holds it for the
    process and lets it go when the process is gone, by whatever signal. So there is nothing to
    clean up, and no age at which a claim would be taken for dead. The file stays; what is in it
    is for those who watch.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last_note = 0.0

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *error: object) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def tell(self, note: dict[str, Any], *, now: bool = False) -> None:
        """Write what is being done into the file, now and then."""
        if not now and time.monotonic() - self._last_note < _SECONDS_BETWEEN_NOTES:
            return
        self._last_note = time.monotonic()
        content = json.dumps({**note, "process": os.getpid()}).encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))


def claim(path: Path) -> Claim | None:
    """Claim a piece of work, or return None where another process has it.

    Parameters
    ----------
    path : Path
        A file that stands for the work; made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Claim(descriptor)


def read_claims(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what processes have last written of the work that they do, by the name of the file."""
    notes = {}
    for path in sorted(folder.glob("*")):
        try:
            note = json.loads(path.read_text())
        except (OSError, ValueError):  # none, or half of one
            continue
        if isinstance(note, dict) and _is_claimed(path):
            notes[path.name] = note
    return notes


def _is_claimed(path: Path) -> bool:
    # A process that asks for the claim at this very moment is told no, and asks again.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
