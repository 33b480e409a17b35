"""What was run and measured on a GPU, as JSON and as Markdown. Needs nothing but Python.

``python -m bench.gpu.report OUT STEPS`` adds what gpu.sh says of its steps, and their logs.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

JSON, MARKDOWN = "gpu.json", "gpu.md"
NOISY = 0.1  # spread

# Of ncu: its name, ours, and what to divide by.
COUNTERS = {
    "gpu__time_duration.sum": ("microseconds", 1e3),
    "dram__bytes_read.sum": ("MB read", 1e6),
    "dram__bytes_write.sum": ("MB written", 1e6),
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": ("memory, % of peak", 1),
    "sm__inst_issued.avg.pct_of_peak_sustained_active": ("issue slots, % busy", 1),
    "smsp__inst_executed.sum": ("million instructions of warps", 1e6),
    "sm__warps_active.avg.pct_of_peak_sustained_active": ("warps, % of most", 1),
    "launch__registers_per_thread": ("registers", 1),
}
UNIT_FACTORS = {  # to bytes, nanoseconds and numbers
    **{"byte": 1, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9},
    **{"ns": 1, "nsecond": 1, "us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6},
    **{"s": 1e9, "second": 1e9, "inst": 1, "%": 1, "register/thread": 1, "": 1},
}


def main() -> None:
    """Add the steps to what was measured, and write both again."""
    out = Path(sys.argv[1])
    data = load(out)
    data["steps"] = steps(sys.argv[2])
    data["counters"] = counters(out / "ncu.log")
    save(data, out)


def load(out: Path) -> dict[str, Any]:
    """Return what was saved, if anything was."""
    path = out / JSON
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(data: Mapping[str, Any], out: Path) -> None:
    """Write both files."""
    (out / JSON).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (out / MARKDOWN).write_text(markdown(data), encoding="utf-8")


def steps(lines: str) -> list[dict[str, Any]]:
    """Return the steps, of lines of a name, an exit status, seconds and what there is to say."""
    rows = [line.split("\t") for line in lines.splitlines() if line]
    return [
        {"name": name, "status": int(status), "seconds": float(seconds), "says": says}
        for name, status, seconds, says in rows
    ]


# ------------------------------------------------------------------------------------------------
# Markdown
# ------------------------------------------------------------------------------------------------


def markdown(data: Mapping[str, Any]) -> str:
    """Return the report."""
    parts = ["# The kernels of GPUs", machine_lines(data.get("machine"))]
    if "steps" in data:
        parts += ["## Steps", steps_table(data["steps"])]
    if "goals" in data:
        parts += ["## Goals", goals_table(data["goals"]), MEANING]
    if counted := data.get("counters"):
        parts += ["## Counters of ncu", counters_text(counted)]
    if missing := missing_lines(data):
        parts += ["## Not measured, or wrong", missing]
    for name, rows in data.get("measured", {}).items():
        if rows:
            parts += [f"## {name}", rows_table(rows, data.get("failed", {}).get(name, {}))]
    return "\n\n".join(part for part in parts if part) + "\n"


MEANING = """\
Copy bandwidth counts the bytes that a copy of 1 GiB reads and those that it writes; ours counts \
the bytes of the heatmaps. Of several others, a ratio is to the fastest."""


def machine_lines(machine: Mapping[str, Any] | None) -> str:
    """Return on what it was measured."""
    if machine is None:
        return "Nothing was measured."
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    clocks = [
        f"{when} " + ", ".join(f"{name} {value}" for name, value in of_moment.items())
        for when, of_moment in (
            ("before:", machine.get("clocks_before")),
            ("after:", machine.get("clocks_after")),
        )
        if of_moment
    ]
    return "\n".join(
        [
            f"{machine['gpu']}, compute capability {machine['capability']}, "
            f"{machine['multiprocessors']} multiprocessors, "
            f"last cache {machine['last_cache_bytes'] / 2**20:.0f} MiB; "
            f"driver {machine['driver']}; "
            f"compiled with CUDA {machine['cuda']}, torch with {machine['cuda_of_torch']}.",
            f"{machine['cpu']}, {machine['cpus']} CPUs; Python {machine['python']}, {packages}.",
            *([f"Clocks (MHz) {'; '.join(clocks)}."] if clocks else []),
        ]
    )


def steps_table(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return what ran, how long, and what failed."""
    rows = [
        (
            step["name"],
            "ok" if step["status"] == 0 else f"**FAILED** ({step['status']})",
            f"{step['seconds']:.0f}",
            step["says"],
        )
        for step in steps
    ]
    return table(("", "", "seconds", ""), rows)


def goals_table(goals: Sequence[Mapping[str, Any]]) -> str:
    """Return the ratios, their bounds and whether they hold."""
    rows = []
    for goal in goals:
        if "missing" in goal:
            cells = "not measured", goal["bound"], "", goal["missing"]
        else:
            holds = "yes" if goal["holds"] else "**NO**"
            but = f"but {goal['but']}" if goal["but"] else ""
            cells = number(goal["measured"], goal["unit"]), goal["bound"], holds, but
        rows.append((f"{goal['contest']}: {goal['name']}", *cells))
    return table(("", "measured", "goal", "holds", ""), rows)


def rows_table(rows: Mapping[str, Mapping[str, float]], wrong: Mapping[str, str]) -> str:
    """Return times, beside their ratios to the first of ours, or to the first.

    The names in ``wrong`` are marked.
    """
    copies = [row for name, row in rows.items() if name.startswith("copy")]
    first = next(row for name, row in rows.items() if not name.startswith("copy") or len(rows) == 1)
    columns = ["", "ratio", "us", "us/image", "images", "GB/s"]
    if copies:
        columns.append("of a copy")
    columns.append("spread")
    lines = []
    for name, row in rows.items():
        is_copy = name.startswith("copy")
        rate = row["bytes"] / row["us"] / 1e3  # GB/s
        cells = [
            f"**WRONG** {name}" if name in wrong else name,
            "" if is_copy else f"{row['us_per_image'] / first['us_per_image']:.3g}",
            number(row["us"]),
            "" if is_copy else number(row["us_per_image"]),
            "" if is_copy else str(row["images"]),
            f"{rate:,.0f}" if row["bytes"] else "",
        ]
        if copies:
            cells.append(f"{rate / (copies[0]['bytes'] / copies[0]['us'] / 1e3):.2f}")
        cells.append(f"{row['spread']:.0%}" + (" (noisy)" if row["spread"] > NOISY else ""))
        lines.append(cells)
    return table(columns, lines)


def missing_lines(data: Mapping[str, Any]) -> str:
    """Return what could not be measured or is wrong, and why."""
    lines = [
        f"- {contest}: {name}: {why}" if name != contest else f"- {contest}: {why}"
        for contest, reasons in data.get("failed", {}).items()
        for name, why in reasons.items()
    ]
    if "counters" in data and "missing" in data["counters"]:
        lines.append(f"- counters of ncu: {data['counters']['missing']}")
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; all columns but the first are to the right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines)


def escape(cell: str) -> str:
    """Return text that ends no cell."""
    return cell.replace("|", "\\|").replace("\n", " ")


def number(value: float, unit: str = "") -> str:
    """Return three digits, or all before the point."""
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{digits} {unit}".strip()


# ------------------------------------------------------------------------------------------------
# What ncu counted
# ------------------------------------------------------------------------------------------------


def counters(log: Path) -> dict[str, Any]:
    """Return what ncu's raw page says, or why there is none."""
    if not log.exists():
        return {"missing": "ncu was not run"}
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        said = [line for line in lines if "==ERROR==" in line or "not installed" in line]
        return {"missing": said[0].strip() if said else "ncu wrote no counters: see ncu.log"}
    csv_lines = []
    for line in lines[start:]:
        if not line.startswith('"'):
            break
        csv_lines.append(line)
    head, units, *rows = csv.reader(csv_lines)
    return {"kernels": [kernel(head, units, row) for row in rows]}


def kernel(head: Sequence[str], units: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    """Return a launch's counters."""
    found: dict[str, Any] = {}
    for name, unit, text in zip(head, units, row, strict=True):
        if name in ("Kernel Name", "Block Size", "Grid Size"):
            found[name] = text
        elif name in COUNTERS:
            label, divisor = COUNTERS[name]
            with contextlib.suppress(ValueError):  # "n/a"
                found[label] = float(text.replace(",", "")) * UNIT_FACTORS.get(unit, 1) / divisor
    return found


def counters_text(counted: Mapping[str, Any]) -> str:
    """Return a table of them."""
    if "missing" in counted:
        return f"None: {counted['missing']}"
    labels = [label for label, _ in COUNTERS.values()]
    rows = [
        (
            f"{launch.get('Kernel Name', '').partition('(')[0]} {launch.get('Grid Size', '')}",
            *(number(launch[label]) if label in launch else "" for label in labels),
        )
        for launch in counted["kernels"]
    ]
    return table(("", *labels), rows)


if __name__ == "__main__":
    main()
