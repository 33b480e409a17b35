"""Checks of the values in a simulation's configuration, by key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from vl4pose._options import SUBPIXELS, checked_temperature, choice, flag, integer
from vl4pose.lsp_annotations import FLAGS
from vl4pose.metrics.reference_lengths import NORMALIZATIONS
from vl4pose.skeleton import shown

__all__ = ["checked_value"]

_ENTRY_POINT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_ORDERS = ("seed", "strategy")
_BEGINNINGS = ("scratch", "fine-tune")

Check = Callable[[object, str], Any]


def _whole(low: int) -> Check:
    return lambda value, name: integer(value, name, low)


def _number(rule: str, holds: Callable[[float], bool]) -> Check:
    def check(value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {shown(value)}")
        if not math.isfinite(value) or not holds(value):
            raise ValueError(f"{name} must be {rule}, got {value!r}")
        return float(value)

    return check


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be text, got {shown(value)}")
    return value


def _entry_point(value: object, name: str) -> str:
    if not isinstance(value, str) or not _ENTRY_POINT.fullmatch(value):
        raise ValueError(f"{name} must be like 'package.module:function', got {shown(value)}")
    return value


def _keywords(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a table, got {shown(value)}")
    return dict(value)


def _names(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of names, got {shown(value)}")
    return value


def _input_size(value: object, name: str) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list) and len(value) == 2:
        return value
    raise ValueError(f"{name} must be a whole number, or [width, height], got {shown(value)}")


def _channels(value: object, name: str) -> Any:
    if isinstance(value, int | float | list) and not isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be one number or three, got {shown(value)}")


def _scale_range(value: object, name: str) -> list[float]:
    rule = f"{name} must be [smallest, largest] with 0 < smallest <= largest"
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or not all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in numbers
    ):
        raise ValueError(f"{rule}, got {value!r}")
    if not 0 < numbers[0] <= numbers[1] < math.inf:
        raise ValueError(f"{rule}, got {value!r}")
    return [float(number) for number in numbers]


def _seeds(value: object, name: str) -> Any:
    if isinstance(value, list):
        seeds = [integer(seed, name, 0) for seed in value]
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"{name} must be different and at least one, got {value!r}")
        return seeds
    return integer(value, name, 1)


def _strategy_list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of names or tables, got {shown(value)}")
    return value


def _one_of(*valid: str) -> Check:
    return lambda value, name: choice(value, name, valid)


_positive = _number("above 0", lambda value: value > 0)
_not_negative = _number("at least 0", lambda value: value >= 0)
_share = _number("at least 0 and below 1", lambda value: 0 <= value < 1)


def _temperature(value: object, name: str) -> float:
    try:
        return checked_temperature(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}{str(error).removeprefix('temperature')}") from error


# By key, or by table and key where one key has two meanings.
_CHECKS: dict[str, Check] = {
    "skeleton": _text,
    "annotations": _text,
    "images": _text,
    "test_annotations": _text,
    "test_images": _text,
    "mat_flag": _one_of(*FLAGS),
    "train": _entry_point,
    "test": _entry_point,
    "train_options": _keywords,
    "test_options": _keywords,
    "input_size": _input_size,
    "fit": _text,
    "crop_scale": _positive,
    "data.scale": _positive,
    "mean": _channels,
    "std": _channels,
    "heatmap_align": _text,
    "start": _whole(1),
    "budget": _whole(1),
    "cycles": _whole(1),
    "seeds": _seeds,
    "strategies": _strategy_list,
    "baseline": _text,
    "metrics": _names,
    "normalize_by": _one_of(*NORMALIZATIONS),
    "flip": flag,
    "flip_shift": _whole(-(2**15)),
    "level": _number("above 0 and below 1", lambda value: 0 < value < 1),
    "subpixel": _one_of(*SUBPIXELS),
    "factory": _entry_point,
    "options": _keywords,
    "weights": _text,
    "from": _one_of(*_BEGINNINGS),
    "epochs": _positive,
    "steps": _whole(1),
    "batch_size": _whole(1),
    "learning_rate": _positive,
    "weight_decay": _not_negative,
    "warmup": _share,
    "sigma": _positive,
    "augment": flag,
    "degrees": _not_negative,
    "scale": _scale_range,
    "amp": flag,
    "compile": flag,
    "num_peaks": _whole(1),
    "min_distance": _whole(1),
    "temperature": _temperature,
    "device": _text,
    "threads": _whole(1),
    "processes": _whole(1),
    "order": _one_of(*_ORDERS),
    "checkpoint_seconds": _not_negative,
}


def checked_value(table: str, key: str, value: object) -> Any:
    """Return the value of a key, or raise ``<table>.<key> must <rule>, got <value>``."""
    check = _CHECKS.get(f"{table}.{key}") or _CHECKS[key]
    try:
        return check(value, f"{table}.{key}")
    except TypeError as error:
        raise ValueError(str(error)) from error
