"""Strategies by name."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from vl4pose.active.strategies.strategy import Strategy
from vl4pose.skeleton import nearest, shown

__all__ = [
    "CLASS_NAMES",
    "STRATEGIES",
    "class_named",
    "make_strategy",
    "spelled",
    "strategy_class",
]

# Where the class of each name is: in which file beside this one. Imported when it is asked for.
_CLASSES = {
    "random": "chance:Random",
    "confidence": "confidence:Confidence",
    "kaplan-lensu": "kaplan_lensu:KaplanLensu",
    "multi-peak-entropy": "multi_peak_entropy:MultiPeakEntropy",
    "core-set": "core_set:CoreSet",
    "learning-loss": "learned_loss:LearningLoss",
    "learning-loss++": "learned_loss:LearningLossPlusPlus",
    "aleatoric": "aleatoric:Aleatoric",
    "mc-dropout": "mc_dropout:MCDropout",
    "mcd-cke": "mc_dropout:MCDCKE",
    "egl++": "gradient_length:EGLPlusPlus",
    "core-gcn": "graph:CoreGCN",
    "uncertain-gcn": "graph:UncertainGCN",
    "vl4pose": "likelihood:VL4Pose",
    "vl4pose+entropy": "likelihood_entropy:VL4PoseEntropy",
    "vl4pose-prefiltered": "prefiltered:VL4PosePrefiltered",
}

STRATEGIES = tuple(_CLASSES)
CLASS_NAMES = tuple(place.partition(":")[2] for place in _CLASSES.values())


def make_strategy(name: str, /, **options: Any) -> Strategy:
    """Return a strategy by its name.

    Parameters
    ----------
    name : str
        One of ``STRATEGIES``, in any case, with spaces, hyphens or underscores.
    **options
        What its class is made with.

    Raises
    ------
    TypeError
        ``strategy must be a name, got ...``.
    ValueError
        ``strategy must be one of ...``, with the nearest; ``options of 'vl4pose' must be one of
        method, got 'metod'``; and what the class says of a value.

    Examples
    --------
    >>> make_strategy("Random").title
    'Random'
    """
    kind = strategy_class(name)
    known = list(inspect.signature(kind).parameters)
    for option in options:
        if option not in known:
            rule = f"must be {nearest(option, known)}" if known else "must be left out"
            raise ValueError(f"options of {kind.name!r} {rule}, got {option!r}")
    return kind(**options)


def strategy_class(name: str) -> type[Strategy]:
    """Return the class of a name; raises as `make_strategy` does."""
    if not isinstance(name, str):
        raise TypeError(f"strategy must be a name, got {shown(name)}")
    place = _CLASSES.get(spelled(name))
    if place is None:
        raise ValueError(f"strategy must be {nearest(name, STRATEGIES)}, got {name!r}")
    return _imported(place)


def class_named(class_name: str) -> type[Strategy]:
    """Return the class of one of ``CLASS_NAMES``."""
    return _imported(tuple(_CLASSES.values())[CLASS_NAMES.index(class_name)])


def _imported(place: str) -> type[Strategy]:
    module, _, class_name = place.partition(":")
    kind: type[Strategy] = getattr(importlib.import_module(f"{__package__}.{module}"), class_name)
    return kind


def spelled(name: str) -> str:
    """Return a name in small letters, its words parted by hyphens."""
    return "+".join(re.sub(r"[\s_-]+", "-", part.strip().lower()) for part in name.split("+"))
