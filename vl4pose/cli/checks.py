"""Checks of what the command line gives, made before any work is done."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vl4pose import _existing_file
from vl4pose._options import SUBPIXELS
from vl4pose.cli.errors import RunError, UsageError, did_you_mean, naming_options, reason
from vl4pose.pool.storage import is_url, open_folder
from vl4pose.skeleton import Skeleton, get_skeleton, nearest

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_file",
    "check_images",
    "check_out",
    "check_subpixel",
    "check_table_out",
    "check_trust",
    "finite_number",
    "parse_actors",
    "parse_border",
    "parse_device",
    "read_skeleton",
    "whole_number",
]


_OTHER_TABLES = (".arrow", ".csv", ".feather", ".html", ".json", ".parq", ".pq", ".tsv", ".xlsx")


def check_file(option: str, path: Path) -> None:
    """Raise an error, with the nearest name in the folder, unless a file exists."""
    with naming_options():
        _existing_file.check_file(option, path)


def check_images(images: str) -> str:
    """Return the absolute path, or the URL, of the folder that --images names.

    Raises
    ------
    UsageError
        Unless the folder exists, or the URL is one that can be opened.
    """
    if not is_url(images):
        if not Path(images).is_dir():
            raise UsageError(f"--images must be a folder, got '{images}'")
        return str(Path(images).absolute())
    try:
        open_folder(images)
    except (ModuleNotFoundError, ValueError) as error:
        raise UsageError(f"--images: {error}") from error
    return images


def check_out(path: Path, suffix: str) -> None:
    """Raise an error unless a file with a suffix can be put at ``path``."""
    if path.suffix != suffix:
        raise UsageError(f"--out must end in {suffix}, got '{path}'")
    if path.is_dir():
        raise UsageError(f"--out must be a file, got the folder '{path}'")
    folder = path.resolve().parent  # of a symbolic link, the folder of its target
    if not folder.is_dir():
        raise UsageError(f"--out must be in a folder that exists, got '{path}'")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(f"cannot write into '{folder}': permission denied")


def check_table_out(out: str) -> None:
    """Raise an error unless a table can be put at ``out``: a .parquet, or a folder of shards."""
    if is_url(out):
        return
    path = Path(out)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        check_out(path, path.suffix)
        return
    if suffix in _OTHER_TABLES or difflib.get_close_matches(suffix, [".parquet"], cutoff=0.7):
        raise UsageError(f"--out must end in .parquet or be a folder, got '{out}'")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"--out must be in a folder that exists, got '{out}'")
    written = path if path.is_dir() else folder
    if not os.access(written, os.W_OK | os.X_OK):
        raise RunError(f"cannot write into '{written}': permission denied")


def check_trust(trust: bool) -> None:
    """Raise an error unless the user said that model files may run code."""
    if not trust:
        raise UsageError(
            "--trust must be given: loading a TorchScript or .pt2 file can run code that is in it, "
            "so use files from people you trust only"
        )


def whole_number(
    option: str, low: int | None = None, high: int | None = None
) -> Callable[[str | int], int]:
    """Return a parser for the values of an option, in a range of which both ends are allowed."""

    def parse(text: str | int) -> int:
        try:
            number = int(text)
        except ValueError:
            raise UsageError(f"{option} must be a whole number, got {text!r}") from None
        if (low is not None and number < low) or (high is not None and number > high):
            rule = f"at least {low}" if high is None else f"between {low} and {high}"
            raise UsageError(f"{option} must be {rule}, got {number}")
        return number

    return parse


def finite_number(option: str) -> Callable[[str | float], float]:
    """Return a parser for numbers that are finite, so that JSON can hold them."""

    def parse(text: str | float) -> float:
        try:
            number = float(text)
        except ValueError:
            raise UsageError(f"{option} must be a number, got {text!r}") from None
        if not math.isfinite(number):
            raise UsageError(f"{option} must be finite, got {number}")
        return number

    return parse


def check_subpixel(name: str | None) -> None:
    """Raise an error for a wrong name; leaving the option out is what means no move."""
    if name is not None and name not in SUBPIXELS:
        raise UsageError(f"--subpixel must be {nearest(name, SUBPIXELS)}, got {name!r}")


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
        if isinstance(error, OSError):
            raise UsageError(f"--skeleton: cannot read '{name}': {reason(error)}") from error
        raise UsageError(
            f"--{error}" if str(error).startswith("skeleton ") else f"--skeleton: {error}"
        ) from error


def parse_actors(text: str) -> tuple[int, int | None]:
    """Return the fewest and the most of --ray-actors; of ``2:`` the most is None."""
    fewest, colon, most = text.partition(":")
    try:
        low = int(fewest)
        high = (int(most) if most else None) if colon else low
    except ValueError:
        raise UsageError(f"--ray-actors must be a whole number or MIN:MAX, got {text!r}") from None
    if low < 1 or (high is not None and high < low):
        raise UsageError(f"--ray-actors must be at least 1, MIN not above MAX, got {text!r}")
    return low, high


def parse_device(name: str, *, is_here: bool = True) -> torch.device:
    """Return a torch device: one that can be used, if it is of this machine."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        near = did_you_mean(name, ("cpu", "cuda"))
        raise UsageError(f"--device must be cpu, cuda or cuda:N, got {name!r}{near}") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and is_here:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise RunError("--device cuda: torch finds no usable CUDA device (see vl4pose doctor)")
        if (device.index or 0) >= count:
            raise UsageError(f"--device must be below cuda:{count}, got {name!r}")
    return device
