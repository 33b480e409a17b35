"""``python -m bench.operations``: each operation's time, and everybody else's as a multiple."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

MISSING = "bench.operations: {} is not installed: pip install -e '.[bench]'"

try:
    import pytest
    import pytest_benchmark  # noqa: F401
    from rich import box
    from rich.console import Console
    from rich.table import Table
except ModuleNotFoundError as error:
    sys.exit(MISSING.format(error.name))

OURS = "vl4pose"
SECONDS_PER_ROW = {"default": "0.25", "quick": "0.1"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> int:
    """Run, print, and return the exit status of the run."""
    arguments = parse()
    for module in ("cv2", "scipy", "skimage", "torch"):
        if importlib.util.find_spec(module) is None:
            sys.exit(MISSING.format(module))
    if arguments.check:
        return ended(run(arguments, ["--benchmark-disable"]), arguments.k)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.json or Path(folder) / "operations.json"
        length = "quick" if arguments.quick else "default"
        status = run(
            arguments,
            [
                f"--benchmark-json={path.resolve()}",
                f"--benchmark-max-time={SECONDS_PER_ROW[length]}",
                "--benchmark-min-rounds=3",
                "--benchmark-disable-gc",
                "--benchmark-quiet",
            ],
        )
        if path.exists() and path.stat().st_size > 0:
            report(json.loads(path.read_text(encoding="utf-8")), Console())
    return ended(status, arguments.k)


def ended(status: int, expression: str | None) -> int:
    """Return the exit status for pytest's, saying what an empty choice means."""
    if status != pytest.ExitCode.NO_TESTS_COLLECTED:
        return status
    print(f"no benchmark matches -k {expression!r}", file=sys.stderr)
    return 2


def parse() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.operations", description=__doc__.partition(":")[2]
    )
    parser.add_argument("--quick", action="store_true", help="a part of it, in under a minute")
    parser.add_argument("-k", metavar="EXPRESSION", help="only names that match, as in pytest")
    parser.add_argument("--json", type=Path, metavar="PATH", help="keep pytest-benchmark's JSON")
    parser.add_argument("--threads", type=int, default=1, help="for everybody (default: 1)")
    parser.add_argument("--check", action="store_true", help="check all answers, time nothing")
    return parser.parse_args()


def run(arguments: argparse.Namespace, options: list[str]) -> int:
    """Run pytest on this folder in a process of its own and return its exit status.

    The variables that set numbers of threads count only before the libraries are loaded; and with
    ``-P`` the installed package is measured even where the source folder lies in the way.
    """
    here = Path(__file__).resolve().parent
    if arguments.quick:
        options = [*options, "-m", "quick"]
    if arguments.k:
        options = [*options, "-k", arguments.k]
    threads = str(arguments.threads)
    command = [sys.executable, "-P", "-m", "pytest", str(here), "-q", "--no-header"]
    # Of an empty choice pytest-benchmark warns, and the project makes errors of warnings.
    command += ["-W", "ignore:Not saving anything"]
    return subprocess.run(
        [*command, f"--bench-threads={threads}", *options],
        cwd=here.parent,
        env=_environment() | dict.fromkeys(THREAD_VARIABLES, threads),
        check=False,
    ).returncode


def _environment() -> dict[str, str]:
    """Return this process's, but not that it is a worker of pytest-xdist: workers time nothing."""
    return {name: value for name, value in os.environ.items() if "XDIST" not in name}


def report(data: dict[str, Any], console: Console) -> None:
    """Print one table for each operation, with a section for each case."""
    microseconds: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for benchmark in data["benchmarks"]:
        info, stats = benchmark["extra_info"], benchmark["stats"]
        microseconds[info["operation"]][info["case"]][info["contestant"]] = {
            "images": info["images"],
            "median": stats["median"] * 1e6 / info["images"],
            "spread": stats["iqr"] / stats["median"],
        }
    for operation, cases in microseconds.items():
        console.print(table(operation, cases))
    console.print(machine(data["machine_info"]), highlight=False)


def table(operation: str, cases: dict[str, dict[str, dict[str, Any]]]) -> Table:
    """Return the table of one operation."""
    result = Table(title=operation, title_justify="left", box=box.SIMPLE_HEAD)
    result.add_column("contestant")
    for header in ("images", "us/image", "spread", f"/ {OURS}"):
        result.add_column(header, justify="right")
    for case, rows in cases.items():
        result.add_section()
        result.add_row(f"[bold]{case}")
        for name, row in rows.items():
            ratio = f"{row['median'] / rows[OURS]['median']:,.1f}" if OURS in rows else "-"
            result.add_row(
                name, str(row["images"]), number(row["median"]), f"{row['spread']:.0%}", ratio
            )
    return result


def number(value: float) -> str:
    """Return a time to about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine(info: dict[str, Any]) -> str:
    """Return on what it was measured, in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
    cpu = info["cpu"]
    return (
        f"{cpu.get('brand_raw', info['machine'])}, {cpu['count']} cores, threads used: "
        f"{info['threads']}; Python {info['python_version']}\n{versions}"
    )


if __name__ == "__main__":
    sys.exit(main())
