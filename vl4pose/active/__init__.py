"""Active learning: which rows of a scored pool are worth annotating, and why.

:func:`select` is also ``vl4pose.select``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vl4pose.active.rankings import STRATEGIES
from vl4pose.active.selection import DIVERSITIES, Selection, select

if TYPE_CHECKING:
    from vl4pose.active.selection_table import write_selection as write_selection

__all__ = ["DIVERSITIES", "STRATEGIES", "Selection", "select"]

# These need an extra package, which selecting from arrays does without.
_LAZY_MODULES = {"write_selection": "vl4pose.active.selection_table"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY_MODULES[name]), name)
