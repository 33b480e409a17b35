"""Strategies of active learning, one small class each, with one interface: `Strategy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vl4pose.active.strategies.pool import ARRAYS, Pool
from vl4pose.active.strategies.registry import (
    CLASS_NAMES,
    STRATEGIES,
    class_named,
    make_strategy,
)
from vl4pose.active.strategies.strategy import StepwiseStrategy, Strategy

if TYPE_CHECKING:
    from vl4pose.active.strategies.chance import Random as Random
    from vl4pose.active.strategies.confidence import Confidence as Confidence
    from vl4pose.active.strategies.core_set import CoreSet as CoreSet
    from vl4pose.active.strategies.kaplan_lensu import KaplanLensu as KaplanLensu
    from vl4pose.active.strategies.likelihood import VL4Pose as VL4Pose
    from vl4pose.active.strategies.likelihood_entropy import VL4PoseEntropy as VL4PoseEntropy
    from vl4pose.active.strategies.multi_peak_entropy import MultiPeakEntropy as MultiPeakEntropy
    from vl4pose.active.strategies.prefiltered import VL4PosePrefiltered as VL4PosePrefiltered

__all__ = ["ARRAYS", "STRATEGIES", "Pool", "StepwiseStrategy", "Strategy", "make_strategy"]


def __getattr__(name: str) -> Any:
    if name not in CLASS_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return class_named(name)


def __dir__() -> list[str]:
    return sorted({*__all__, *CLASS_NAMES})
