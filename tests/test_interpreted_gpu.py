"""Arrays of libraries other than torch, on the GPUs of tests/interpreted_cuda.

That the kernels are right is what the tests of the core say, which run there too (conftest.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import interpreted_gpu
import numpy as np
import pytest
import torch
from strategies import assert_same_bits, named_arrays, noise, tree

import vl4pose
from vl4pose import _core

if not interpreted_gpu.HERE:
    pytest.skip("needs a build with VL4POSE_INTERPRET_CUDA", allow_module_level=True)

# Of an old and of a new architecture, with little shared memory and with much.
DEVICES = [0, 18, 21, 39]
OPTIONS: dict[str, Any] = {"skeleton": tree([(1, 0), (1, 2), (2, 3)]), "min_distance": 2}
HEATMAPS = noise(3, 4, 17, 24, dtype=np.float32)
PARAMS = 1 + noise(3, 2, seed=1, dtype=np.float32)


class OfInterface:
    """An array of a library that knows __cuda_array_interface__ alone."""

    def __init__(self, array: np.ndarray, device: int) -> None:
        low, high = np.lib.array_utils.byte_bounds(array)
        self.shape, self.dtype = array.shape, array.dtype
        self._memory = _core.CudaMemory(device, 0, (high - low,), "uint8")
        begin = interpreted_gpu.address(self._memory)
        interpreted_gpu.copy(begin, low, high - low, is_upload=True)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (begin + array.ctypes.data - low, True),
            "strides": array.strides,
            "stream": 2,
        }


class OfDLPack:
    """An array of a library that speaks DLPack."""

    def __init__(self, array: np.ndarray, device: int) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._device = device
        self._array = interpreted_gpu.upload(device, torch.from_numpy(array))

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.memory.__dlpack_device__()

    def __dlpack__(self, *, stream: int) -> object:
        return self._array.__dlpack__(stream=stream)


KINDS = [OfInterface, OfDLPack]


def to_numpy(result: _core.CudaMemory) -> np.ndarray:
    interface = result.__cuda_array_interface__
    array = np.empty(interface["shape"], interface["typestr"])
    interpreted_gpu.copy(array.ctypes.data, interface["data"][0], array.nbytes, is_upload=False)
    return array


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "analyze": lambda heatmaps, params: vl4pose.analyze(heatmaps, params, **OPTIONS),
    "decode": lambda heatmaps, params: vl4pose.decode(heatmaps, subpixel="dark"),
    "local_maxima": lambda heatmaps, params: vl4pose.local_maxima(heatmaps, min_distance=2),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_results_are_the_cpu_s(name: str, kind: Callable[..., Any], device: int) -> None:
    expected = named_arrays(CALLS[name](HEATMAPS, PARAMS))
    found = named_arrays(CALLS[name](kind(HEATMAPS, device), kind(PARAMS, device)))
    assert found.keys() == expected.keys()
    for key, result in found.items():
        assert result.__dlpack_device__() == (2, device)
        assert_same_bits(to_numpy(result), expected[key])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("heatmaps", "options"),
    [
        (noise(2, 3, 40, 40, dtype=np.float32), {"num_peaks": 2000, "min_distance": 1}),
        (noise(1, 3, 200, 200), {"min_distance": 1}),
        (noise(30, 3, 12, 12), {"num_peaks": 2000, "min_distance": 1}),
        (noise(2, 3, 300, 250, dtype=np.float32), {"min_distance": 30}),
        (noise(2, 3, 128, 128, dtype=np.float32), {"num_peaks": 40, "min_distance": 1}),
    ],
)
def test_sizes_that_need_memory_of_their_own(
    heatmaps: np.ndarray, options: Any, device: int
) -> None:
    params = np.array([[5.0, 1.0], [9.0, 2.0]])
    options = {"skeleton": tree([(0, 1), (1, 2)]), **options}
    found = vl4pose.analyze(OfDLPack(heatmaps, device), OfDLPack(params, device), **options)
    expected = named_arrays(vl4pose.analyze(heatmaps, params, **options))
    for key, result in named_arrays(found).items():
        assert_same_bits(to_numpy(result), expected[key])


def test_what_lies_between_values_is_not_written() -> None:
    memory = interpreted_gpu.upload(0, torch.ones(3, 4)[:, :2]).memory
    found = np.zeros(10, np.float32)
    begin, to = interpreted_gpu.address(memory), found.ctypes.data
    interpreted_gpu.copy(to + 16, begin + 16, 8, is_upload=False)
    np.testing.assert_array_equal(found, [0, 0, 0, 0, 1, 1, 0, 0, 0, 0])
    with pytest.raises(RuntimeError, match=r"^initcheck: .* byte 8 of 40 was never written$"):
        interpreted_gpu.copy(to, begin, 40, is_upload=False)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_strides_of_any_sign(dtype: Any) -> None:
    values = noise(6, 5, 8, dtype=dtype)[::-2, ::-1, 1::3]
    found = vl4pose.peak_weights(OfInterface(values, 21))
    assert_same_bits(to_numpy(found), vl4pose.peak_weights(values))


def test_places_between_the_values() -> None:
    heatmaps = OfInterface(HEATMAPS, 0)
    address, is_read_only = heatmaps.__cuda_array_interface__["data"]
    heatmaps.__cuda_array_interface__["data"] = (address + 2, is_read_only)
    message = r"^heatmaps must lie at multiples of their values' size on a GPU$"
    with pytest.raises(ValueError, match=message):
        vl4pose.decode(heatmaps)


def test_an_address_of_the_cpu() -> None:
    class Wrong:
        __cuda_array_interface__ = HEATMAPS.__array_interface__

    message = r"^__cuda_array_interface__ must give an address on a GPU$"
    with pytest.raises(ValueError, match=message):
        vl4pose.decode(Wrong())


@pytest.mark.parametrize("kind", KINDS)
def test_params_elsewhere(kind: Callable[..., Any]) -> None:
    message = r"^params must be on the device of heatmaps \(cuda:3\), got cuda:4$"
    with pytest.raises(ValueError, match=message):
        vl4pose.analyze(kind(HEATMAPS, 3), kind(PARAMS, 4), **OPTIONS)
