"""Active learning: which images are worth annotating, and why.

:func:`select`, which is also ``vl4pose.select``, chooses rows of a scored pool, as they come from
``vl4pose score`` or :func:`vl4pose.analyze`. Behind it, and behind ``vl4pose simulate``, are the
strategies of :mod:`vl4pose.active.strategies`, which are here too: `make_strategy`, the names
``STRATEGIES``, the classes, and `Pool`, what they choose from.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vl4pose.active import strategies
from vl4pose.active.rankings import RANKINGS
from vl4pose.active.selection import DIVERSITIES, Selection, select
from vl4pose.active.strategies import (
    ARRAYS,
    STRATEGIES,
    Pool,
    StepwiseStrategy,
    Strategy,
    make_strategy,
)
from vl4pose.active.strategies.registry import CLASS_NAMES

if TYPE_CHECKING:
    from vl4pose.active.selection_table import write_selection as write_selection
    from vl4pose.active.strategies import MCDCKE as MCDCKE
    from vl4pose.active.strategies import Aleatoric as Aleatoric
    from vl4pose.active.strategies import Confidence as Confidence
    from vl4pose.active.strategies import CoreGCN as CoreGCN
    from vl4pose.active.strategies import CoreSet as CoreSet
    from vl4pose.active.strategies import EGLPlusPlus as EGLPlusPlus
    from vl4pose.active.strategies import KaplanLensu as KaplanLensu
    from vl4pose.active.strategies import LearningLoss as LearningLoss
    from vl4pose.active.strategies import LearningLossPlusPlus as LearningLossPlusPlus
    from vl4pose.active.strategies import MCDropout as MCDropout
    from vl4pose.active.strategies import MultiPeakEntropy as MultiPeakEntropy
    from vl4pose.active.strategies import Random as Random
    from vl4pose.active.strategies import UncertainGCN as UncertainGCN
    from vl4pose.active.strategies import VL4Pose as VL4Pose
    from vl4pose.active.strategies import VL4PoseEntropy as VL4PoseEntropy
    from vl4pose.active.strategies import VL4PosePrefiltered as VL4PosePrefiltered

__all__ = [
    "ARRAYS",
    "DIVERSITIES",
    "RANKINGS",
    "STRATEGIES",
    "Pool",
    "Selection",
    "StepwiseStrategy",
    "Strategy",
    "make_strategy",
    "select",
]

# These need an extra package, which selecting from arrays does without.
_LAZY_MODULES = {"write_selection": "vl4pose.active.selection_table"}


def __getattr__(name: str) -> Any:
    if name in CLASS_NAMES:
        return getattr(strategies, name)
    if name not in _LAZY_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY_MODULES, *CLASS_NAMES})
