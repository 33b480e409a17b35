"""Which file it was: what tables and reports say of the models they come from."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_identity"]


def file_identity(path: Path) -> dict[str, str]:
    """Return the name of a file and the SHA-256 of its bytes."""
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
