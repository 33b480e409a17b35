"""Fixtures that every test file may use."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import vl4pose

sys.path.insert(0, str(Path(__file__).parent))  # for strategies.py, which the tests share
# For bench/; last, so that the installed package comes before the source folder beside it.
sys.path.append(str(Path(__file__).parents[1]))

# Several processes run tests, and torch has threads for each core in all of them: these sleep where
# they wait for each other, for those that spin keep the others from what they wait for. (Read once,
# when torch is imported.)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import on_gpu

# A plain run draws the same cases every time; `pytest --hypothesis-profile=long` draws many others.
settings.register_profile(
    "ci",
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault of the strategy
)
settings.register_profile(
    "long",
    parent=settings.get_profile("ci"),
    max_examples=2000,
    derandomize=False,
    print_blob=True,
)
# For builds that take far longer for each case: sanitizers, emulated threads.
settings.register_profile("short", parent=settings.get_profile("ci"), max_examples=25)
settings.load_profile("ci")


OF_CPUS = ["baseline"]
if platform.machine().lower() in ("x86_64", "amd64"):
    OF_CPUS += ["avx2", "avx512"]
KERNELS = OF_CPUS.copy()
if "cuda_emulated" in vl4pose.cpu_capabilities():  # of builds for tests
    KERNELS.append("cuda_emulated")
KERNELS += on_gpu.GPUS  # where torch has none, test_cuda.py says why


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernels",
        choices=KERNELS,
        help="run the core's tests on this set of kernels alone, not on each",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the core's tests on each set of kernels.

    A test that draws cases runs each of them on all sets of this CPU in turn: to draw one takes
    longer than what is done with it.
    """
    if "kernels" not in metafunc.fixturenames:
        return
    only = metafunc.config.getoption("--kernels")
    wanted = [name for name in KERNELS if only in (None, name)]
    together: list[str] = []
    test = getattr(metafunc.function, "hypothesis", None)
    if test is not None:
        here = vl4pose.cpu_capabilities()
        together = [name for name in wanted if name in OF_CPUS and name in here]
        if not hasattr(test.inner_test, "on_each_set"):
            test.inner_test = on_each_set(test.inner_test)
    sets = [tuple(together)] if together else []
    sets += [(name,) for name in wanted if name not in together]
    metafunc.parametrize("kernels", sets, ids="+".join, indirect=True, scope="module")


chosen: tuple[str, ...] = ()  # by the fixture


def on_each_set(test: Callable[..., None]) -> Callable[..., None]:
    """Return a test that runs a case on each of the chosen sets of kernels."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        for name in chosen:
            with running_on(name):
                try:
                    test(*args, **kwargs)
                except Exception as error:
                    error.add_note(f"on the kernels {name}")
                    raise

    run.on_each_set = True  # type: ignore[attr-defined]
    return run


@contextmanager
def running_on(name: str) -> Iterator[None]:
    if name in on_gpu.GPUS:
        with on_gpu.run_there(name):
            yield
        return
    before = vl4pose.get_cpu_capability()
    vl4pose.set_cpu_capability(name)
    try:
        yield
    finally:
        vl4pose.set_cpu_capability(before)


@pytest.fixture(scope="module")
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests on sets of kernels; those of the core use it."""
    global chosen
    chosen = request.param
    first = chosen[0]
    if first not in (*vl4pose.cpu_capabilities(), *on_gpu.GPUS):
        pytest.skip(f"needs a CPU with {first}: this one has none")
    with running_on(first):
        yield


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    """Give torch back its number of threads: who scores a pool sets it, for the whole process."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else None
    yield
    if torch is not None and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The directory of real images, annotations and frozen outputs, or a skip that says why."""
    value = os.environ.get("VL4POSE_TEST_DATA")
    if not value:
        pytest.skip("needs real data: set VL4POSE_TEST_DATA to its directory")
    path = Path(value)
    assert path.is_dir(), f"VL4POSE_TEST_DATA must be a directory, got {value}"
    return path
