"""``python -m bench.gpu OUT``: time the kernels of this GPU, and say which goals hold."""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import platform
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import vl4pose
from bench.gpu import contests, report
from bench.gpu.contests import CONTESTS, Contest, NotHereError, Prepared
from bench.gpu.device import Gpu
from bench.gpu.goals import GOALS
from bench.machine import cpu_name, num_cpus
from bench.rounds import Call, interleaved
from vl4pose import _core

SECONDS_OF_CONTESTANT = 0.3  # of measuring
ABSENT = "not on this machine: "  # of others, which is no failure
WRONG = "WRONG ANSWER: "  # of whom there is a time all the same
PACKAGES = ("vl4pose", "torch", "triton", "numpy", "cupy-cuda13x", "cupy-cuda12x", "cucim-cu13")


def main() -> int:
    """Measure and save; return 0, 1 if anything went wrong, or 2 without a GPU."""
    arguments = parse()
    if (why := missing()) is not None:
        print(f"bench.gpu: {why}", file=sys.stderr)
        return 2
    chosen = {name: contest for name, contest in CONTESTS.items() if arguments.k in name}
    if not chosen:
        print(f"bench.gpu: no contest matches -k {arguments.k!r}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = measure(Gpu(), chosen, arguments.out, seconds=arguments.seconds)
    print(report.markdown(data))
    reasons = [item for of_contest in data["failed"].values() for item in of_contest.items()]
    print(f"{len(reasons)} not measured or wrong{''.join(f'; {name}' for name, _ in reasons)}")
    return 1 if any(not why.startswith(ABSENT) for _, why in reasons) else 0


def parse() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__.partition(":")[2]
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for gpu.json and gpu.md")
    parser.add_argument(
        "-k", metavar="TEXT", default="", help="only contests with it in their names"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS_OF_CONTESTANT,
        help=f"of measuring each contestant (default: {SECONDS_OF_CONTESTANT})",
    )
    return parser.parse_args()


def missing() -> str | None:
    """Return why nothing can be measured here, or None."""
    if not torch.cuda.is_available():
        return "torch finds no GPU here"
    if _core.build_info()["cuda"] is None:
        return "this build of vl4pose has no CUDA kernels: install it from source where nvcc is"
    return None


def measure(
    gpu: Gpu, chosen: Mapping[str, Contest], out: Path, *, seconds: float, scale: int = 1
) -> dict[str, Any]:
    """Return what was measured. It is saved after each contest, should there be no time for all.

    ``scale`` is for tests: one in so many images.
    """
    began = time.perf_counter()
    data = report.load(out)
    data |= {
        "machine": {**gpu.describe(), **versions(), "clocks_before": gpu.clocks()},
        "measured": {},
        "failed": {},
        "contest_seconds": {},
    }
    for name, contest in chosen.items():
        start = time.perf_counter()
        rows, failed = run(gpu, name, contest, seconds, scale)
        data["measured"][name] = rows
        if failed:
            data["failed"][name] = failed
        data["contest_seconds"][name] = round(time.perf_counter() - start, 1)
        data["goals"] = [
            goal.verdict(*(data[what].get(goal.contest, {}) for what in ("measured", "failed")))
            for goal in GOALS
            if goal.contest in chosen
        ]
        data["machine"]["clocks_after"] = gpu.clocks()
        data["seconds"] = round(time.perf_counter() - began, 1)
        report.save(data, out)
        print(f"{name}: {data['contest_seconds'][name]} s", file=sys.stderr, flush=True)
    return data


def run(
    gpu: Gpu, title: str, contest: Contest, seconds: float, scale: int
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return what was measured of the contestants, and what is wrong with them.

    Who could not be measured has a reason and no row; whose answer is wrong has both.
    """
    failed: dict[str, str] = {}
    try:
        contestants = contest.contestants(gpu, scale)
        prepared = prepare(contestants, failed)
        sample = getattr(gpu, f"{contest.clock}_sample")
        calls: dict[str, Call] = {name: ready.call for name, ready in prepared.items()}
        times = interleaved(calls, len(calls) * seconds, sample=sample) if calls else {}
        for name, ready in prepared.items():  # what went wrong only while it was timed counts too
            if name not in failed and (why := wrong(ready)) is not None:
                failed[name] = why
    except Exception as error:
        failed[title] = said(error)
        return {}, failed
    finally:
        contests.forget()
        gc.collect()
    rows = {
        name: {
            "us": taken.median * 1e6,
            "us_per_image": taken.median * 1e6 / contestants[name].images,
            "spread": taken.spread,
            "rounds": taken.rounds,
            "images": contestants[name].images,
            "bytes": contestants[name].num_bytes,
        }
        for name, taken in times.items()
    }
    return rows, failed


def prepare(contestants: contests.Contestants, failed: dict[str, str]) -> dict[str, Prepared]:
    """Return those that answer, right or wrong; say of the others why not, and what is wrong."""
    prepared = {}
    for name, contestant in contestants.items():
        try:
            ready = contestant.prepare()
        except Exception as error:
            failed[name] = said(error)
            continue
        why = wrong(ready)
        if why is not None:
            failed[name] = why
        if why is None or why.startswith(WRONG):
            prepared[name] = ready
    return prepared


def wrong(ready: Prepared) -> str | None:
    """Return what is wrong with an answer, or None."""
    try:
        ready.check()
    except AssertionError as error:
        traceback.print_exc()
        return WRONG + first_line(error)
    except Exception as error:
        return said(error)
    return None


def said(error: Exception) -> str:
    """Return an error in a line; all of it goes to the log."""
    if isinstance(error, NotHereError):
        return ABSENT + str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {first_line(error)}"


def first_line(error: Exception) -> str:
    """Return what an error says first."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def versions() -> dict[str, Any]:
    """Return what else is at work."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cuda": _core.build_info()["cuda"],
        "cuda_of_torch": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cpu": cpu_name(),
        "cpus": num_cpus(),
        "capability_of_cpu": vl4pose.get_cpu_capability(),
        "python": platform.python_version(),
        "packages": packages,
    }


if __name__ == "__main__":
    sys.exit(main())
