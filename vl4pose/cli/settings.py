"""Settings of the input: the command line over the JSON beside the model over the defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from vl4pose._options import checked_temperature
from vl4pose.cli.errors import UsageError, naming_options, printable, reason
from vl4pose.image_transform import ImageTransform
from vl4pose.link_params import without_repeats
from vl4pose.skeleton import nearest

__all__ = ["InputSettings", "input_settings", "settings_file", "settled"]

_TEXT_KEYS = ("fit", "heatmap_align")
_KEYS = (*ImageTransform.parameter_names(), "temperature")

InputSettings = tuple[ImageTransform, float]


def settings_file(pose: Path, aux: Path | None = None, params: Path | None = None) -> Path | None:
    """Return the JSON beside the auxiliary network, or else beside the pose network, if any.

    That is aux.json for aux.pt, which ``vl4pose fit`` wrote for both networks, before pose.json for
    pose.pt. A file of link params by such a name is not mistaken for it.
    """
    for network in filter(None, (aux, pose)):
        path = network.with_suffix(".json")
        is_params = params is not None and params.resolve() == path.resolve()
        if path.is_file() and not is_params:
            return path
    return None


def settled(
    transform: ImageTransform, file: Path | None, console: Console, *, has_boxes: bool
) -> ImageTransform:
    """Say where settings are from; letterbox where there are no boxes to crop to, and say so."""

    def say(text: str) -> None:
        console.print(Text(printable(text)), soft_wrap=True)

    if file is not None:
        say(f"Settings are from '{file}', where no option says otherwise.")
    if transform.fit != "crop" or has_boxes:
        return transform
    say("Warning: the fit 'crop' needs boxes, and there are none: whole images are letterboxed.")
    return replace(transform, fit="letterbox")


def input_settings(options: Mapping[str, str | None], file: Path | None) -> InputSettings:
    """Return the transform of images and the temperature of heatmaps.

    Parameters
    ----------
    options : mapping
        What the command line gave for each key, or None.
    file : Path, optional
        JSON object with any of the same keys, spelled with ``-`` or ``_``; numbers may be text
        (``"256x256"``) as on the command line, or numbers and lists.

    Raises
    ------
    UsageError
        If a key is unknown, or a value not allowed.
    """
    given = {key: value for key, value in options.items() if value is not None}
    merged = {} if file is None else _read(file)
    if file is not None:
        try:
            _transform(merged)  # on its own, so that an error names the file
        except (TypeError, ValueError) as error:
            raise UsageError(f"'{file}': {error}") from error
    with naming_options(*_KEYS):
        return _transform({**merged, **given})


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=without_repeats)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{file}' must hold settings as JSON: {reason(error)}") from error
    if not isinstance(data, dict):
        raise UsageError(f"'{file}' must hold settings as a JSON object, got {json.dumps(data)}")
    settings: dict[str, Any] = {}
    for name, value in data.items():
        key = name.replace("-", "_")
        if key not in _KEYS:
            raise UsageError(f"'{file}': key must be {nearest(key, _KEYS)}, got {name!r}")
        if value is None:
            raise UsageError(f"'{file}': {key} must have a value, got null")
        if key in settings:
            raise UsageError(f"'{file}': keys must be there once each, got {key!r} twice")
        settings[key] = value
    return settings


def _transform(settings: Mapping[str, Any]) -> InputSettings:
    values = {
        key: value if key in _TEXT_KEYS else _numbers(key, value) for key, value in settings.items()
    }
    temperature = values.pop("temperature", 1.0)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"temperature must be a number, got {temperature!r}")
    return ImageTransform(**values), checked_temperature(temperature)


def _numbers(key: str, value: Any) -> Any:
    """Return numbers for their text: 0.5, or a list for 256x192 and for 0.4,0.5,0.6."""
    if key == "input_size" and isinstance(value, int):
        return value, value
    if not isinstance(value, str):
        return value
    try:
        if key == "input_size":
            sides = [int(side) for side in value.lower().split("x")]
            return sides * 2 if len(sides) == 1 else sides
        numbers = [float(number) for number in value.split(",")]
    except ValueError:
        form = "WIDTHxHEIGHT" if key == "input_size" else "a number"
        form = "one number or three with commas" if key in ("mean", "std") else form
        raise ValueError(f"{key} must be {form}, got {value!r}") from None
    return numbers[0] if len(numbers) == 1 else numbers
