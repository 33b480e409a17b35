"""How long a simulation may work, and whom it tells what it does."""

from __future__ import annotations

import re
import time

from vl4pose.training.reporting import Reporter

__all__ = ["Pace", "SimulationError", "TimeUpError", "parse_duration"]

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|min|m|h)")


class SimulationError(RuntimeError):
    """What went wrong in a simulation: a sentence."""


class TimeUpError(Exception):
    """The time that a simulation was given is over, and what it has done is on the disk."""


class Pace:
    """The clock of a simulation's work.

    Parameters
    ----------
    until : float, optional
        ``time.monotonic()`` at which to stop at the next safe point; None for never.
    checkpoint_seconds : float
        Between two checkpoints.
    reporter : Reporter, optional
        Is told what is done.
    """

    def __init__(
        self,
        until: float | None = None,
        checkpoint_seconds: float = 20.0,
        reporter: Reporter | None = None,
    ) -> None:
        self.until = until
        self.checkpoint_seconds = checkpoint_seconds
        self.reporter = reporter or Reporter()
        self._has_kept = False

    def is_over(self) -> bool:
        """Return whether to stop now; to be asked where more is known than when it began."""
        return self.until is not None and time.monotonic() >= self.until

    def keep(self) -> None:
        """Take note that something is on the disk that was not, and need not be done again."""
        self._has_kept = True

    def stop_if_over(self) -> None:
        """Raise TimeUpError where the time is over and something has been kept.

        So every process, in however little time, takes the simulation further.
        """
        if self.is_over() and self._has_kept:
            raise TimeUpError


def parse_duration(text: str) -> float:
    """Return the seconds of ``8min``, ``90s``, ``1h30min``.

    Raises
    ------
    ValueError
        ``time limit must be like 8min, 90s or 1h30min, got ...``.
    """
    parts = _PART.findall(text.strip().lower())
    whole = "".join(number + unit for number, unit in parts)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if whole != re.sub(r"\s+", "", text.lower()) or not seconds > 0:
        raise ValueError(f"time limit must be like 8min, 90s or 1h30min, got {text!r}")
    return seconds
