"""Strategies of active learning, one small class each, with one interface: `Strategy`."""

from __future__ import annotations

from vl4pose.active.strategies.pool import ARRAYS, Pool
from vl4pose.active.strategies.registry import STRATEGIES, make_strategy
from vl4pose.active.strategies.strategy import Strategy

__all__ = ["ARRAYS", "STRATEGIES", "Pool", "Strategy", "make_strategy"]
