"""Checks of what the command line gives, made before any work is done."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vl4pose.cli.errors import RunError, UsageError, did_you_mean
from vl4pose.skeleton import Skeleton, get_skeleton

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_file",
    "check_out",
    "finite",
    "parse_border",
    "parse_device",
    "read_skeleton",
]


def check_file(option: str, path: Path) -> None:
    """Raise an error, with the nearest name in the folder, unless a file exists."""
    if path.is_file():
        return
    if path.is_dir():
        raise UsageError(f"{option} must be a file, got the folder '{path}'")
    if not path.parent.is_dir():
        raise UsageError(f"{option} must exist, got '{path}' in a folder that does not exist")
    near = did_you_mean(path.name, (sibling.name for sibling in path.parent.iterdir()))
    raise UsageError(f"{option} must exist, got '{path}'{near}")


def check_out(path: Path) -> None:
    """Raise an error unless a table can be put at ``path``."""
    if path.suffix != ".parquet":
        raise UsageError(f"--out must end in .parquet, got '{path}'")
    if path.is_dir():
        raise UsageError(f"--out must be a file, got the folder '{path}'")
    if not path.parent.is_dir():
        raise UsageError(f"--out must be in a folder that exists, got '{path}'")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise RunError(f"cannot write into '{path.parent}': permission denied")


def finite(option: str, value: float | None) -> float | None:
    """Return a number that is finite, so that JSON can hold it, or None."""
    if value is not None and not math.isfinite(value):
        raise UsageError(f"{option} must be finite, got {value}")
    return value


def parse_border(text: str) -> int | bool:
    """Return the value of --exclude-border."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"--exclude-border must be a whole number or 'true', got {text!r}"
        ) from None


def read_skeleton(name: str) -> Skeleton:
    """Return the skeleton of a preset's name or of a file."""
    try:
        if name.lower().endswith(".json"):
            check_file("--skeleton", Path(name))
            return Skeleton.from_file(name)
        return get_skeleton(name)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--{error}" if str(error).startswith("skeleton ") else f"--skeleton: {error}"
        ) from error


def parse_device(name: str) -> torch.device:
    """Return a torch device that can be used here."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        near = did_you_mean(name, ("cpu", "cuda"))
        raise UsageError(f"--device must be cpu, cuda or cuda:N, got {name!r}{near}") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise RunError("--device cuda: torch finds no usable CUDA device (see vl4pose doctor)")
        if (device.index or 0) >= count:
            raise UsageError(f"--device must be below cuda:{count}, got {name!r}")
    return device
