"""``python -m bench``: measure what vl4pose aims at, and say which goals hold on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

try:
    import cv2
    import torch
    from rich import box
    from rich.console import Console
    from rich.table import Table

    import vl4pose
    from bench.allocations import BATCHES, allocations_of_score
    from bench.calls import Choose
    from bench.cases import Case
    from bench.contests import CONTESTS, Contest
    from bench.goals import COLUMNS, GOALS, MEMORY, Goal
    from bench.machine import machine
    from bench.rounds import Call, fastest, interleaved
except ModuleNotFoundError as error:
    sys.exit(f"bench: {error.name} is not installed: pip install -e '.[bench]'")

Goals: TypeAlias = Mapping[str, Sequence[Goal]]  # by contest

RESULTS = Path(__file__).with_name("results") / "goals.json"
SECONDS_OF_CONTESTANT = 1.0  # of measuring, for each column
NOISY = 0.1  # spread


def main() -> int:
    """Measure, print and save; return the exit status, which a missed goal does not change."""
    arguments = parse()
    chosen = choose_goals(arguments.k)
    if not chosen:
        print(f"no goal matches -k {arguments.k!r}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)  # of everybody, where nothing else is said
    cv2.setNumThreads(1)
    if arguments.check:
        check_answers(chosen)
        print("all answers agree")
        return 0
    data = measure(chosen)
    report(data, Console())
    path = arguments.json or (RESULTS if arguments.k is None else None)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        print(f"saved in {path}")
    return 0


def parse() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition(":")[2])
    parser.add_argument("-k", metavar="TEXT", help="only goals with this text in their names")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        help="where to save (default: bench/results/goals.json; with -k nowhere)",
    )
    parser.add_argument("--check", action="store_true", help="check all answers, time nothing")
    return parser.parse_args()


def choose_goals(text: str | None) -> Goals:
    """Return the goals whose names, with their contest's before them, contain a text."""
    chosen = {
        contest: [goal for goal in goals if text is None or text in f"{contest}: {goal.name}"]
        for contest, goals in GOALS.items()
    }
    return {contest: goals for contest, goals in chosen.items() if goals}


# ------------------------------------------------------------------------------------------------
# Checking and measuring
# ------------------------------------------------------------------------------------------------


def check_answers(chosen: Goals) -> None:
    """Prepare every contestant, which checks its answers, and time none."""
    for contest, case in steps(chosen, "checking"):
        if contest == MEMORY:
            allocations_of_score(**case.peak_options)
        else:
            prepare(contest, case, lambda calls: next(iter(calls)))


def measure(chosen: Goals) -> dict[str, Any]:
    """Return what was measured and whether the goals hold, as it is saved."""
    start = time.perf_counter()
    measured: dict[str, dict[str, Any]] = defaultdict(dict)
    numbers: dict[str, list[dict[str, float]]] = defaultdict(list)
    for contest, case in steps(chosen, "measuring"):
        if contest == MEMORY:
            counts = allocations_of_score(**case.peak_options)
            measured[contest][head(case)] = counts
            numbers[contest].append(kilobytes(counts))
        else:
            times = timed(contest, case)
            measured[contest][head(case)] = times
            numbers[contest].append({name: row["us_per_image"] for name, row in times.items()})
    return {
        "goals": [
            {
                "contest": contest,
                "name": goal.name,
                "columns": {
                    head(case): verdict(goal, i, numbers[contest][i])
                    for i, case in enumerate(COLUMNS)
                },
            }
            for contest, goals in chosen.items()
            for goal in goals
        ],
        "measured": measured,
        "machine": machine(),
        "capability": vl4pose.get_cpu_capability(),
        "seconds": round(time.perf_counter() - start, 1),
    }


def steps(chosen: Goals, doing: str) -> Iterator[tuple[str, Case]]:
    """Yield each contest with the case of each column, and tell a terminal where we are."""
    with Console(stderr=True).status(doing) as status:
        for contest in chosen:
            for case in COLUMNS:
                status.update(f"{doing}: {contest}, {head(case)}")
                yield contest, case


def timed(contest: str, case: Case) -> dict[str, dict[str, float]]:
    """Return the time of each contestant."""
    contestants, calls = prepare(contest, case, fastest)
    times = interleaved(calls, seconds=len(calls) * SECONDS_OF_CONTESTANT)
    return {
        name: {
            "us_per_image": taken.median * 1e6 / contestants[name].images,
            "spread": taken.spread,
            "rounds": taken.rounds,
            "images": contestants[name].images,
        }
        for name, taken in times.items()
    }


def prepare(contest: str, case: Case, choose: Choose) -> tuple[Contest, dict[str, Call]]:
    """Return the contestants, and the calls of those that can run here; their answers are right.

    Even if few goals are chosen, all contestants take part: a ratio is the same as in a whole run.
    """
    contestants = CONTESTS[contest](case, choose)
    wanted = {
        name for goal in GOALS[contest] if goal.lacking() is None for name in goal.contestants
    }
    assert wanted <= contestants.keys()
    return contestants, {
        name: contestant.prepare() for name, contestant in contestants.items() if name in wanted
    }


def kilobytes(counts: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Return the numbers of the memory's goals."""
    a_thread = {
        (count["images"], count["num_threads"]): count["extra_bytes"] / count["num_threads"] / 1024
        for count in counts
    }
    # On one thread: whether two of them are at work at the same time is a matter of chance.
    few, many = (a_thread[images, 1] for images in BATCHES)
    names = [name for goal in GOALS[MEMORY] for name in goal.contestants]
    return dict(zip(names, [max(a_thread.values()), many - few], strict=True))


def verdict(goal: Goal, i: int, numbers: Mapping[str, float]) -> dict[str, Any]:
    """Return the measured value, its bound and whether it holds, or why it was skipped."""
    lacking = goal.lacking()
    if lacking is not None:
        return {"skipped": lacking}
    over, *under = (numbers[name] for name in goal.contestants)
    value = over / under[0] if under else over
    return {
        "measured": value,
        "bound": f"{goal.sign} {goal.bounds[i]:g}",
        "holds": goal.holds(value, i),
    }


# ------------------------------------------------------------------------------------------------
# The report, made of what is saved
# ------------------------------------------------------------------------------------------------


def head(case: Case) -> str:
    """Return the head of a case's column."""
    return f"d={case.min_distance} K={case.num_peaks}"


def report(data: Mapping[str, Any], console: Console) -> None:
    """Print the table, and below it what was skipped, on what machine, and how noisy it was."""
    console.print(table(data))
    verdicts = [(goal, of) for goal in data["goals"] for of in goal["columns"].values()]
    kept = [of["holds"] for _, of in verdicts if "holds" in of]
    lines = [f"{sum(kept)} of {len(kept)} goals hold."]
    skipped = {
        f"{goal['contest']}: {goal['name']}": of["skipped"]
        for goal, of in verdicts
        if "skipped" in of
    }
    lines += [f"Skipped: {name}: {why}." for name, why in skipped.items()]
    spreads = [
        row["spread"]
        for contest, columns in data["measured"].items()
        if contest != MEMORY
        for times in columns.values()
        for row in times.values()
    ]
    if noisy := sum(spread > NOISY for spread in spreads):
        busy = "the machine was busy, run it again"
        lines.append(f"{noisy} of {len(spreads)} times spread by more than {NOISY:.0%}: {busy}.")
    for line in [*lines, *machine_lines(data)]:
        console.print(line, highlight=False, soft_wrap=True)


def table(data: Mapping[str, Any]) -> Table:
    """Return the table of goals, with a section for each contest."""
    result = Table(box=box.SIMPLE_HEAD, padding=0)  # 80 columns wide
    result.add_column("", no_wrap=True)
    for name in data["goals"][0]["columns"]:
        result.add_column(name, justify="right", no_wrap=True)
        result.add_column("goal", justify="right", no_wrap=True)
        result.add_column("holds", no_wrap=True)
    contest = None
    for goal in data["goals"]:
        if goal["contest"] != contest:
            contest = goal["contest"]
            result.add_section()
            result.add_row(f"[bold]{contest}")
        result.add_row(
            goal["name"], *(cell for of in goal["columns"].values() for cell in cells(of))
        )
    return result


def cells(verdict: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the cells of one column."""
    if "skipped" in verdict:
        return "skipped", "", ""
    holds = "[green]yes[/]" if verdict["holds"] else "[bold red]NO[/]"
    return number(verdict["measured"]), verdict["bound"], holds


def number(value: float) -> str:
    """Return a ratio to two or three digits."""
    return f"{value:.3g}" if abs(value) >= 10 else f"{value:.2f}"


def machine_lines(data: Mapping[str, Any]) -> list[str]:
    """Return on what it was measured, and in what time."""
    machine = data["machine"]
    size = machine["last_cache_bytes"]
    cache = f", last cache {size / 2**20:.0f} MB" if size else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return [
        f"{machine['cpu']}, {machine['cpus']} CPUs{cache}; capability used: {data['capability']}",
        f"Python {machine['python']}, {versions}",
        f"One thread where nothing else is said; {data['seconds']:.0f} seconds in all",
    ]


if __name__ == "__main__":
    sys.exit(main())
