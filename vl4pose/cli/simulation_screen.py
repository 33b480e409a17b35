"""What ``vl4pose simulate`` shows: what is done, of all processes, as the folder tells it."""

from __future__ import annotations

import threading
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from vl4pose.cli.errors import printable
from vl4pose.simulation.claims import read_claims
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.folder import SimulationFolder
from vl4pose.simulation.records import CycleRecord
from vl4pose.simulation.workload import num_cycles, num_steps, steps_done
from vl4pose.training.reporting import Reporter

__all__ = ["SimulationScreen", "spoken_duration", "spoken_time"]

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_LINES = 30.0
_TOTAL = "all"


class SimulationScreen(Reporter):
    """Shows bars on a terminal, and everywhere a line for each cycle that is done.

    A context manager: a thread looks at the folder inside, so that it is all the same which
    processes do the work.

    Parameters
    ----------
    console : rich.console.Console
    config : SimulationConfig
    folder : SimulationFolder
    """

    def __init__(
        self, console: Console, config: SimulationConfig, folder: SimulationFolder
    ) -> None:
        self._console = console
        self._config = config
        self._folder = folder
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            _TimeLeft(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._num_steps = num_steps(config)
        self._shown: set[tuple[str, int, int]] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="vl4pose-screen", daemon=True)
        self._begun: tuple[float, float] | None = None  # when, and what was done by then
        self._last_line = time.monotonic()
        self._reading: tuple[str, int, int] | None = None

    def __enter__(self) -> SimulationScreen:
        self._shown = self._folder.done()
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._bars.stop()

    def stage(self, what: str, total: int) -> None:
        """Show what this process itself does before there is anything in the folder."""
        with self._lock:
            self._reading = what, 0, total

    def advance(self, count: int) -> None:
        """Move its bar."""
        with self._lock:
            if self._reading is not None:
                what, done, total = self._reading
                self._reading = what, done + count, total

    def note(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def _follow(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        for place in sorted(self._folder.done() - self._shown):
            self._shown.add(place)
            self._print(self._line(self._folder.record(*place)))
        claims = read_claims(self._folder.claim(""))
        bars: dict[str, tuple[str, int, int]] = {}
        with self._lock:
            if self._reading is not None and not claims:
                bars["reading"] = self._reading
        done = float(steps_done(self._config, self._folder))
        for name, note in claims.items():
            if "stage" in note:
                done += note["done"] if note["stage"].startswith("training") else 0
                cycle = f"cycle {note['cycle'] + 1} of {self._config.simulation.cycles}"
                title = f"{note['title']}, {cycle}: {note['stage']}"
                bars[name] = title, note["done"], note["total"]
        now = time.monotonic()
        if claims and self._begun is None:
            self._begun = now, done
        left = None
        if self._begun is not None and done > self._begun[1]:
            left = (now - self._begun[0]) * (self._num_steps - done) / (done - self._begun[1])
        self._show(bars, done, left)

    def _show(self, bars: dict[str, tuple[str, int, int]], done: float, left: float | None) -> None:
        text = f"{len(self._shown):,} of {num_cycles(self._config):,} cycles"
        if self._console.is_terminal:
            for name in [name for name in self._tasks if name not in bars and name != _TOTAL]:
                self._bars.remove_task(self._tasks.pop(name))
            shown = {name: (what, d, t, f"{d:,} of {t:,}") for name, (what, d, t) in bars.items()}
            every = {_TOTAL: ("simulation", done, self._num_steps, text), **shown}
            for name, (what, so_far, total, label) in every.items():
                fields: dict[str, Any] = {"done": label, "left": left if name == _TOTAL else None}
                if name not in self._tasks:
                    self._tasks[name] = self._bars.add_task(printable(what), total=total, **fields)
                self._bars.update(
                    self._tasks[name],
                    description=printable(what),
                    completed=so_far,
                    total=total,
                    **fields,
                )
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            doing = "; ".join(f"{what}, {d:,} of {t:,}" for what, d, t in bars.values())
            rest = "" if left is None else f", about {spoken_time(left)} left"
            self._print(f"{text}{rest}" + (f"; {doing}" if doing else ""))

    def _line(self, record: CycleRecord) -> str:
        metric, value = next(iter(record.metrics.items()))
        cycle = f"cycle {record.cycle + 1} of {self._config.simulation.cycles}"
        width = max(len(chosen.label) for chosen in self._config.strategies)
        return (
            f"{record.strategy:<{width}}  seed {record.seed}  {cycle}  "
            f"{record.num_labels:>6,} labels  {metric} {value:.4f}"
        )

    def _print(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(Text(printable(text)), soft_wrap=True)


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return Text("" if left is None else f"about {spoken_time(left)} left")


def spoken_time(seconds: float) -> str:
    """Return a time for people: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def spoken_duration(seconds: float) -> str:
    """Return a short time for people: ``3.4 s``, ``120 ms``, ``85 us``."""
    for unit, length in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
