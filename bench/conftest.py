"""Options and fixtures of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.machine import versions
from bench.measure import Measure


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bench-threads", type=int, default=1, help="threads for every contestant (default: 1)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quick: part of the short run")


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    machine_info["threads"] = config.getoption("--bench-threads")
    machine_info["versions"] = versions()


@pytest.fixture(scope="session")
def num_threads(pytestconfig: pytest.Config) -> Iterator[int]:
    """Threads that each contestant may use; it is the same for all."""
    threads = pytestconfig.getoption("--bench-threads")
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    yield threads
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture
def measure(benchmark: BenchmarkFixture, num_threads: int) -> Measure:
    """Return what checks and times one contestant."""
    return Measure(benchmark, num_threads)
