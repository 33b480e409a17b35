"""GPUs as far as none is needed: what says that there is none, and what leaves them alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

import numpy as np
import on_gpu
import pytest
import torch
from strategies import tree
from torch.utils._python_dispatch import TorchDispatchMode

import vl4pose
from vl4pose import _arrays, _core
from vl4pose.losses import nll_loss, offset_nll_loss


def test_the_core_s_tests_run_on_a_gpu() -> None:
    if (why := on_gpu.missing()) is not None:
        pytest.skip(f"the core's tests do not run on a GPU here: {why}")


NOT_INITIALISED = """
import ctypes
import torch
import vl4pose
from vl4pose import losses, nn, scorer

heatmaps, params = torch.rand(2, 16, 20, 20), torch.rand(15, 2, requires_grad=True)
vl4pose.score(heatmaps, params).sum().backward()
vl4pose.analyze(heatmaps.numpy(), params.detach().numpy())
assert not torch.cuda.is_initialized()
try:
    driver = ctypes.CDLL("libcuda.so.1")
except OSError:
    print("no driver")
else:  # nor has anybody else made use of a device
    flags, active = ctypes.c_uint(), ctypes.c_int()
    if driver.cuInit(0) == 0:
        assert driver.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active)) == 0
        assert not active.value
"""


def test_cuda_is_not_initialised_without_need() -> None:
    command = [sys.executable, "-P", "-c", NOT_INITIALISED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_call_that_no_gpu_can_answer_is_one_sentence(dtype: Any) -> None:
    if _core.build_info()["cuda"] is None:
        message = (
            r"^this build of vl4pose has no CUDA kernels: install it from source where nvcc is on "
            r"the PATH, or pass arrays in CPU memory$"
        )
    else:
        with contextlib.suppress(RuntimeError):
            if devices := _core.cuda_devices():
                pytest.skip(f"needs a build or a machine without: this one has {devices[0]}")
        message = "^the CUDA kernels of vl4pose need |^CUDA: "
    values, weights = np.zeros((1, 2, 3), dtype), np.empty((1, 2, 3), dtype)
    stream = _core.CudaStream(0, 0, lambda num_bytes: None)
    with pytest.raises(RuntimeError, match=message):
        _core.peak_weights(Elsewhere(values), None, 1.0, Elsewhere(weights), stream)


class Elsewhere:
    """An array that says that it is on a GPU, and holds nothing."""

    def __init__(self, array: np.ndarray) -> None:
        self.__cuda_array_interface__ = {**array.__array_interface__, "version": 3, "stream": None}


class Called(TorchDispatchMode):
    """Notes which operations of torch are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_no_index_is_copied_to_a_gpu() -> None:
    skeleton = tree([(1, 0), (1, 2), (2, 3)])
    keypoints, visible = torch.rand(5, 4, 2), torch.rand(5, 4) < 0.8
    params, offsets = torch.rand(5, 3, 2), torch.rand(5, 3, 2)
    factors = torch.eye(2).repeat(5, 3, 1, 1)

    def formula(keypoints: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        return vl4pose.pose_log_likelihood(keypoints, params[0], skeleton=skeleton, visible=visible)

    with Called() as called:
        nll_loss(params, keypoints, skeleton=skeleton, visible=visible)
        offset_nll_loss(offsets, factors, keypoints, skeleton=skeleton, visible=visible)
        torch.func.vmap(formula)(keypoints, visible)
    assert {"stack", "sum"} <= called.names
    assert not called.names & {"index", "index_select", "lift_fresh"}  # as of a list


def test_counts_in_the_core_s_form_are_not_converted_on_a_gpu() -> None:
    counts = torch.empty(2, 3, dtype=torch.int32, device="meta")
    _, kind = _arrays.take(torch.zeros(1), "values")
    assert kind.contiguous(kind.integers(counts), kind.int32) is counts
    others = counts.to(torch.uint16)
    assert kind.integers(others) is others
