"""What a simulation found out, written for people and for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vl4pose._atomic_file import write_atomically
from vl4pose.active.strategies.registry import STRATEGIES, strategy_class
from vl4pose.simulation.records import PLAN, read_plan, read_records
from vl4pose.simulation.statistics import Plan, Summary, summarise

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["read_summary", "terminal_summary", "write_outputs"]

_OUTPUTS = (
    *("cycles.csv", "joints.csv", "differences.csv", "summary.json"),
    *("curves.png", "simulation.html"),
)


def write_outputs(
    folder: str | os.PathLike[str], *, baseline: str | None = None, level: float = 0.95
) -> Summary:
    """Write all outputs of a simulation, finished or not, from its records.

    Parameters
    ----------
    folder : path
        Of the simulation: with ``runs/`` and, where there is one, ``simulation.json``, which says
        what should be there. The outputs are written beside them: ``cycles.csv``,
        ``joints.csv``, ``differences.csv`` and ``summary.json`` (`vl4pose.simulation.tables`
        describes them), ``curves.png``, and ``simulation.html``, one page that needs neither a
        server nor a network and holds ``picks.png`` and ``picks/*.png`` where these exist.
    baseline : str, optional
        The strategy that others are compared with. By default that of ``simulation.json``, or
        "random", or the first.
    level : float, default 0.95
        Of all intervals.

    Returns
    -------
    Summary

    Raises
    ------
    FileNotFoundError
        ``'...' holds no records of a simulation: there is no runs/STRATEGY/seed-S/cycle-C.json``.
    ImportError
        Without the extra ``cli``, which brings scipy and matplotlib.
    ValueError
        As `vl4pose.simulation.statistics.summarise`; ``'.../simulation.json' must ...``.

    Notes
    -----
    Each file is there completely or not at all. The page is written last.
    """
    from vl4pose.simulation.curves import curves_png
    from vl4pose.simulation.page import simulation_page
    from vl4pose.simulation.tables import cycles_csv, differences_csv, joints_csv, summary_json

    folder = Path(folder)
    summary = read_summary(folder, baseline=baseline, level=level)
    values = json.dumps(summary_json(summary), indent=1, ensure_ascii=False, allow_nan=False)
    page = simulation_page(
        summary,
        name=folder.resolve().name,
        configuration=_configuration(_content(folder)),
        pictures=_pictures(folder, summary.titles),
    )
    made = (
        cycles_csv(summary).encode(),
        joints_csv(summary).encode(),
        differences_csv(summary).encode(),
        f"{values}\n".encode(),
        curves_png(summary),
        page.encode("utf-8", "backslashreplace"),
    )
    for name, content in zip(_OUTPUTS, made, strict=True):
        write_atomically(folder / name, content)
    return summary


def read_summary(
    folder: str | os.PathLike[str], *, baseline: str | None = None, level: float = 0.95
) -> Summary:
    """Return what the records in a simulation's folder say; the parameters are `write_outputs`'."""
    folder = Path(folder)
    records = read_records(folder)
    if not records:
        raise FileNotFoundError(
            f"'{folder}' holds no records of a simulation: there is no "
            "runs/STRATEGY/seed-S/cycle-C.json"
        )
    content = _content(folder)
    if content is None:
        summary = summarise(records, baseline=baseline, level=level)
        return replace(summary, titles={name: _title(name) for name in summary.strategies})
    plan = _plan(content, folder / PLAN)
    baseline = content.get("baseline") if baseline is None else baseline
    return summarise(records, plan=plan, baseline=baseline, level=level)


def terminal_summary(summary: Summary, *, width: int = 80) -> RenderableType:
    """Return what the terminal shows of a summary; ``console.print`` it.

    Parameters
    ----------
    summary : Summary
        As `write_outputs` or `read_summary` return it.
    width : int, default 80
        Of the terminal: ``console.width``.

    Returns
    -------
    rich renderable
    """
    from vl4pose.simulation import terminal

    return terminal.terminal_summary(summary, width=width)


def _content(folder: Path) -> dict[str, Any] | None:
    """Return what ``simulation.json`` holds, None where there is none."""
    return read_plan(folder) if (folder / PLAN).is_file() else None


def _plan(content: Mapping[str, Any], path: Path) -> Plan:
    for key, kind in (("strategies", dict), ("seeds", list), ("num_labels", list)):
        if not isinstance(content.get(key), kind):
            raise ValueError(f"'{path}' must hold {key!r}, got {content.get(key)!r}")
    config = content.get("config", {})
    skeleton = config.get("data", {}).get("skeleton", {})
    return Plan(
        tuple(content["strategies"]),
        tuple(content["seeds"]),
        len(content["num_labels"]),
        content["strategies"],
        config.get("training", {}).get("from") == "fine-tune",
        tuple(skeleton.get("joints", ())),
        tuple(">".join(link) for link in skeleton.get("links", ())),
    )


def _title(name: str) -> str:
    return strategy_class(name).title if name in STRATEGIES else name


def _configuration(content: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what the page shows of ``simulation.json``: not what other parts of it show."""
    if content is None:
        return None
    shown = {"version": content.get("version"), "dataset": content.get("data")}
    return {**shown, **content.get("config", {})}


def _pictures(folder: Path, titles: Mapping[str, str]) -> list[tuple[str, Path]]:
    """Return the pictures of what was chosen, with their titles, the strategies in their order."""
    overview = folder / "picks.png"
    found = [("The pool, and what each strategy chose first", overview)]
    sheets = {path.stem: path for path in sorted((folder / "picks").glob("*.png"))}
    names = [*(name for name in titles if name in sheets), *(n for n in sheets if n not in titles)]
    found += [(f"{titles.get(name, name)}: what it chose first", sheets[name]) for name in names]
    return found if overview.is_file() else found[1:]
