"""Python code that a configuration names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from vl4pose._sentences import did_you_mean

__all__ = ["entry_point"]


def entry_point(name: str, argument: str, folder: Path) -> Any:
    """Return what ``package.module:name`` names.

    Parameters
    ----------
    name : str
    argument : str
        What errors call it.
    folder : Path
        Where modules are looked for too, as Python does beside a script.

    Raises
    ------
    ValueError
        ``<argument> must name ...``.
    """
    module_name, _, attribute = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(f"{missing}."):
            raise ValueError(
                f"{argument} must name a module that can be imported, got {name!r}: {error}"
            ) from error
        raise ValueError(
            f"{argument} must name a module that is installed or lies in '{folder}', got {name!r}"
        ) from error
    except Exception as error:  # it is the user's code
        raise ValueError(
            f"{argument} must name a module that can be imported, got {name!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, attribute):
        raise ValueError(
            f"{argument} must name what is in '{module_name}', got {attribute!r}"
            f"{did_you_mean(attribute, vars(module))}"
        )
    found = getattr(module, attribute)
    if not callable(found):
        raise ValueError(
            f"{argument} must name a function or class, got {name!r}, a {type(found).__name__}"
        )
    return found
