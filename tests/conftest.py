"""Fixtures that every test file may use."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import vl4pose

sys.path.insert(0, str(Path(__file__).parent))  # for strategies.py, which the tests share
# For bench/; last, so that the installed package comes before the source folder beside it.
sys.path.append(str(Path(__file__).parents[1]))

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


KERNELS = ["baseline"]
if platform.machine().lower() in ("x86_64", "amd64"):
    KERNELS += ["avx2", "avx512"]
if "cuda_emulated" in vl4pose.cpu_capabilities():  # of builds for tests
    KERNELS.append("cuda_emulated")
if on_gpu.missing() is None:  # else test_cuda.py says why
    KERNELS.append("cuda")


@pytest.fixture(scope="module", params=KERNELS)
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a module's tests on each set of kernels; those of the core use it."""
    if request.param == "cuda":
        with on_gpu.run_there():
            yield request.param
        return
    if request.param not in vl4pose.cpu_capabilities():
        pytest.skip(f"needs a CPU with {request.param}: this one has none")
    before = vl4pose.get_cpu_capability()
    vl4pose.set_cpu_capability(request.param)
    yield request.param
    vl4pose.set_cpu_capability(before)


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
