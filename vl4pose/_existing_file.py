"""Files that a user names and that must be there."""

from __future__ import annotations

from pathlib import Path

from vl4pose._sentences import did_you_mean

__all__ = ["check_file"]


def check_file(argument: str, path: Path) -> None:
    """Raise a ValueError, with the nearest name in the folder, unless a file exists."""
    if path.is_file():
        return
    if path.is_dir():
        raise ValueError(f"{argument} must be a file, got the folder '{path}'")
    if not path.parent.is_dir():
        raise ValueError(f"{argument} must exist, got '{path}' in a folder that does not exist")
    near = did_you_mean(path.name, (sibling.name for sibling in path.parent.iterdir()))
    raise ValueError(f"{argument} must exist, got '{path}'{near}")
