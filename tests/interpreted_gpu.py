"""Arrays on the GPUs of tests/interpreted_cuda, which builds with VL4POSE_INTERPRET_CUDA have.

Their memory is the host's, but what is in it counts as written only where a copy or a kernel wrote
it: a result that is not all there is an error.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vl4pose import _core

_library = ctypes.CDLL(_core.__file__)
HERE = hasattr(_library, "interpreted_cuda_copy")
if HERE:
    _copy = _library.interpreted_cuda_copy
    _copy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    _copy.restype = ctypes.c_char_p
_data_of_capsule = ctypes.pythonapi.PyCapsule_GetPointer
_data_of_capsule.argtypes = [ctypes.py_object, ctypes.c_char_p]
_data_of_capsule.restype = ctypes.c_void_p


def copy(to: int, source: int, num_bytes: int, *, is_upload: bool) -> None:
    """Copy from the host to a GPU, or back."""
    if (error := _copy(to, source, num_bytes, is_upload)) is not None:
        raise RuntimeError(error.decode())


class _DLTensor(ctypes.Structure):
    """How DLPack's structure begins."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_index", ctypes.c_int32),
    )


@dataclass(frozen=True)
class Array:
    """An array on one of the GPUs: a tensor that torch takes for one in CPU memory."""

    memory: _core.CudaMemory
    tensor: Tensor

    def __dlpack__(self, *, stream: int) -> object:
        """Return what torch says of the tensor, but for where it is."""
        capsule = self.tensor.__dlpack__()
        begin = _DLTensor.from_address(_data_of_capsule(capsule, b"dltensor"))
        begin.device_type, begin.device_index = self.memory.__dlpack_device__()
        return capsule


def address(memory: _core.CudaMemory) -> int:
    """Return where memory begins."""
    return memory.__cuda_array_interface__["data"][0]


def upload(device: int, tensor: Tensor) -> Array:
    """Return a copy of a tensor, with its strides; what lies between its values is not written."""
    runs = contiguous_runs(tensor)
    span = sum(runs[-1]) or 1  # of no numbers, one: torch has no tensor on less memory
    size = tensor.element_size()
    memory = _core.CudaMemory(device, 0, (span * size,), "uint8")
    begin, source = address(memory), tensor.data_ptr()
    for first, n in runs:
        copy(begin + first * size, source + first * size, n * size, is_upload=True)
    there = (ctypes.c_uint8 * (span * size)).from_address(begin)
    own = torch.frombuffer(there, dtype=torch.uint8).view(tensor.dtype)
    return Array(memory, own.as_strided(tensor.shape, tensor.stride()))


def contiguous_runs(tensor: Tensor) -> list[tuple[int, int]]:
    """Return where values without a gap between them begin, counted in values, and how many."""
    if tensor.is_contiguous():
        return [(0, tensor.numel())]
    offsets = np.zeros((), np.int64)
    for size, step in zip(tensor.shape, tensor.stride(), strict=True):
        offsets = np.add.outer(offsets, step * np.arange(size))
    offsets = np.unique(offsets)
    begins = np.flatnonzero(np.diff(offsets, prepend=-2) != 1)
    lengths = np.diff(begins, append=len(offsets))
    return list(zip(offsets[begins].tolist(), lengths.tolist(), strict=True))


class InterpretedGpu:
    """One of the GPUs: which one depends on the shapes of a call's arguments."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        shapes = [tuple(a.shape) for a in arguments if hasattr(a, "shape")]
        self._device = zlib.crc32(repr(shapes).encode()) % len(_core.cuda_devices())
        self.where = _core.CudaStream(
            self._device, 0, lambda num_bytes: self._empty((num_bytes,), "uint8")
        )

    def _empty(self, shape: tuple[int, ...], dtype: str) -> _core.CudaMemory:
        return _core.CudaMemory(self._device, 0, shape, dtype)

    def upload(self, tensor: Tensor) -> Array:
        """Return a copy of a tensor, with its strides."""
        return upload(self._device, tensor)

    def output(self, tensor: Tensor) -> _core.CudaMemory:
        """Return memory for what a tensor is to become."""
        return self._empty(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))

    def download(self, to: Tensor, source: _core.CudaMemory) -> None:
        """Copy an output."""
        copy(to.data_ptr(), address(source), to.nbytes, is_upload=False)
