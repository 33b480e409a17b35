"""Checks of the options that the operations share."""

from __future__ import annotations

import math
import numbers
import os
from typing import Any, NamedTuple

import numpy as np

from vl4pose import _core
from vl4pose._arrays import default_num_threads
from vl4pose.skeleton import nearest, shown

METHODS = ("expected", "max", "marginal", "sum")
OBJECTIVES = ("map", "eq6")
SUBPIXELS = ("quarter", "centroid", "dark")
MAX_NUM_PEAKS = 4096
MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-6, 1e6
# Beyond any map's size a distance in pixels changes nothing; this one fits the core's integers.
_MAX_PIXELS = 2**31
_MOST_WORKERS = 8


class Options(NamedTuple):
    """Options of the fused pass, in the order in which they are handed on."""

    num_peaks: int
    min_distance: int
    threshold_abs: float | None
    threshold_rel: float | None
    exclude_border: int
    temperature: float
    method: str
    objective: str
    subpixel: str | None


def core_options(options: Options) -> _core.ScoreOptions:
    """Return options in the form of the compiled core."""
    return _core.ScoreOptions(*options[:-1], options.subpixel or "none")


def check_options(
    num_peaks: Any = 5,
    min_distance: Any = 5,
    threshold_abs: Any = None,
    threshold_rel: Any = None,
    exclude_border: Any = 0,
    temperature: Any = 1.0,
    method: Any = "expected",
    objective: Any = "map",
    subpixel: Any = None,
) -> Options:
    """Return options, checked; those that have been are left as they are.

    Raises
    ------
    TypeError, ValueError
        ``<option> must <rule>, got <value>``.
    """
    distance = integer(min_distance, "min_distance", 1)
    if isinstance(exclude_border, (bool, np.bool_)):
        border = distance if exclude_border else 0
    else:
        border = integer(exclude_border, "exclude_border", 0)
    step = None if subpixel is None else choice(subpixel, "subpixel", SUBPIXELS, " or None")
    return Options(
        num_peaks=integer(num_peaks, "num_peaks", 1, MAX_NUM_PEAKS),
        min_distance=min(distance, _MAX_PIXELS),
        threshold_abs=_threshold(threshold_abs, "threshold_abs"),
        threshold_rel=_threshold(threshold_rel, "threshold_rel"),
        exclude_border=min(border, _MAX_PIXELS),
        temperature=checked_temperature(temperature),
        method=choice(method, "method", METHODS),
        objective=choice(objective, "objective", OBJECTIVES),
        subpixel=step,
    )


def integer(value: object, argument: str, low: int, high: int | None = None) -> int:
    """Return ``value`` as an int between ``low`` and ``high``, both allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, numbers.Integral)):
        raise TypeError(f"{argument} must be an integer, got {shown(value)}")
    number = int(value)
    if number < low or (high is not None and number > high):
        rule = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{argument} must be {rule}, got {shown(number)}")
    return number


def real(value: object, argument: str, low: float, high: float = math.inf) -> float:
    """Return ``value`` as a finite float between ``low`` and ``high``, both allowed."""
    number = _real(value, argument, "a real number")
    if not (math.isfinite(number) and low <= number <= high):
        rule = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{argument} must be finite and {rule}, got {shown(value)}")
    return number


def choice(value: object, argument: str, valid: tuple[str, ...], otherwise: str = "") -> str:
    """Return ``value`` if it is one of the valid names; ``otherwise`` is said after them."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be {nearest('', valid)}{otherwise}, got {shown(value)}")
    if value not in valid:
        raise ValueError(f"{argument} must be {nearest(value, valid)}{otherwise}, got {value!r}")
    return value


def flag(value: object, argument: str) -> bool:
    """Return ``value`` as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be True or False, got {shown(value)}")
    return bool(value)


def checked_temperature(value: object) -> float:
    """Return a softmax temperature as a float."""
    temperature = _real(value, "temperature", "a real number")
    if not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise ValueError(
            f"temperature must be between {MIN_TEMPERATURE:g} and {MAX_TEMPERATURE:g}, "
            f"got {shown(value)}"
        )
    return temperature


def threads(num_threads: int | None, num_images: int) -> int:
    """Return how many threads to use at most."""
    if num_threads is not None:
        return min(integer(num_threads, "num_threads", 1), 2**20)
    return 1 if num_images <= 1 else default_num_threads()


def default_workers() -> int:
    """Return how many threads read images where nobody says it: one per CPU, at most 8."""
    return min(os.cpu_count() or 1, _MOST_WORKERS)


def _threshold(value: object, argument: str) -> float | None:
    if value is None:
        return None
    threshold = _real(value, argument, "a real number or None")
    if math.isnan(threshold):
        raise ValueError(f"{argument} must be a real number or None, got {shown(value)}")
    return threshold


def _real(value: object, argument: str, rule: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (float, numbers.Real)):
        raise TypeError(f"{argument} must be {rule}, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]
