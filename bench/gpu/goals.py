"""The goals: bounds on ratios of times that were measured in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bench.gpu.contests import (
    COMPILED,
    COMPILED_STRIPS,
    COPY,
    EAGER,
    EAGER_SQUARE,
    FORWARD,
    FORWARD_GRAPH,
    ONE_REPLAY,
)

Row: TypeAlias = Mapping[str, float]  # of a contestant, as it is saved


def bandwidth(row: Row) -> float:
    """Return bytes a second."""
    return row["bytes"] / row["us"] * 1e6


def share_of_bandwidth(ours: Row, others: Sequence[Row]) -> float:
    """Return the bytes that ours reads a second over those that a copy reads and writes."""
    return bandwidth(ours) / max(map(bandwidth, others))


def times_faster(ours: Row, others: Sequence[Row]) -> float:
    """Return the time of the fastest of others over ours."""
    return min(row["us"] for row in others) / ours["us"]


def share_of_time(ours: Row, others: Sequence[Row]) -> float:
    """Return our time over that of the fastest of others."""
    return 1 / times_faster(ours, others)


def microseconds(ours: Row, others: Sequence[Row]) -> float:
    """Return our time for an image."""
    return ours["us_per_image"]


def images_a_second(ours: Row, others: Sequence[Row]) -> float:
    """Return their number."""
    return 1e6 / ours["us_per_image"]


UNITS = {microseconds: "microseconds", images_a_second: "images/s"}  # of what is no ratio


@dataclass(frozen=True)
class Goal:
    """A bound.

    Attributes
    ----------
    contest : str
    name : str
    sign : str
        ``"<="`` or ``">="``.
    bound : float
    value : callable
        Takes the rows of ``ours`` and of others.
    ours : str
        A contestant.
    others : tuple of str
        Contestants, of which one suffices.
    """

    contest: str
    name: str
    sign: str
    bound: float
    value: Callable[[Row, Sequence[Row]], float]
    ours: str
    others: tuple[str, ...] = ()

    def holds(self, measured: float) -> bool:
        """Return whether a measured value keeps the bound."""
        return measured <= self.bound if self.sign == "<=" else measured >= self.bound

    def verdict(self, rows: Mapping[str, Row], failed: Mapping[str, str]) -> dict[str, Any]:
        """Return the measured value and whether it holds, or why there is none.

        ``rows`` and ``failed`` say of the contest's contestants what was measured, and what is
        wrong with them: of times of wrong answers no bound holds.
        """
        unit = UNITS.get(self.value, "")
        of_goal = {
            "contest": self.contest,
            "name": self.name,
            "bound": f"{self.sign} {self.bound:g}",
            "unit": unit,
        }
        timed = [name for name in self.others if name in rows]
        others = [name for name in timed if name not in failed] or timed
        bad = [name for name in (self.ours, *self.others) if name not in rows or name in failed]
        reasons = "; ".join(f"{name}: {failed.get(name, 'not measured')}" for name in bad)
        if self.ours not in rows or (self.others and not others):
            return {**of_goal, "missing": reasons}
        measured = self.value(rows[self.ours], [rows[name] for name in others])
        is_right = not failed.keys() & {self.ours, *others}
        return {
            **of_goal,
            "measured": measured,
            "holds": is_right and self.holds(measured),
            "but": reasons,
        }


BYTES = "bytes read / copy bandwidth"

GOALS = (
    Goal("1024 images", f"analyze: {BYTES}", ">=", 0.85, share_of_bandwidth, "analyze", (COPY,)),
    Goal("256 images", f"analyze: {BYTES}", ">=", 0.75, share_of_bandwidth, "analyze", (COPY,)),
    Goal(
        "1024 images, precisions",
        f"analyze float16: {BYTES}",
        ">=",
        0.65,
        share_of_bandwidth,
        "analyze float16",
        (COPY,),
    ),
    Goal(
        "one image, one replay of a CUDA graph",
        "analyze, median of single replays, from event to event",
        "<=",
        8,
        microseconds,
        f"analyze, {ONE_REPLAY}",
    ),
    Goal(
        "1024 images, compiled",
        "torch.compile / analyze",
        ">=",
        20,
        times_faster,
        "analyze",
        (COMPILED, COMPILED_STRIPS),
    ),
    Goal(
        "1024 images",
        "torch eager / analyze",
        ">=",
        50,
        times_faster,
        "analyze",
        (EAGER, EAGER_SQUARE),
    ),
    Goal(
        "32 images, 2-stack hourglass",
        "analyze / forward pass",
        "<=",
        0.01,
        share_of_time,
        "analyze",
        (FORWARD, FORWARD_GRAPH),
    ),
    Goal(
        "one image, end to end", "images to scores", ">=", 300, images_a_second, "images to scores"
    ),
)
