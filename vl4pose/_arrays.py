"""Arrays as callers bring them: NumPy, torch, or anything that speaks DLPack.

Each kind is one :class:`ArrayKind`, which checks an argument and makes the outputs, so that the
operations are written once. torch is never imported here: a torch tensor can only arrive when its
caller has imported torch.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

_FLOATING = "float16, bfloat16, float32 or float64"
_DLPACK_CPU = 1


class ArrayKind(ABC):
    """What the operations need of one kind of array.

    Attributes
    ----------
    float32, float64, int32, bool_, uint8 : dtype of this kind
    """

    float32: Any
    float64: Any
    int32: Any
    bool_: Any
    uint8: Any

    @abstractmethod
    def result_dtype(self, array: Any, argument: str) -> Any:
        """Return float32 for a 16- or 32-bit floating array, float64 for a 64-bit one.

        Raises
        ------
        TypeError
            If the array has another dtype.
        """

    @abstractmethod
    def integers(self, array: Any) -> Any:
        """Return an array of integers, of which the range can be asked; None for other dtypes."""

    @abstractmethod
    def check_usable(self, array: Any, argument: str) -> None:
        """Raise an error for an array whose memory the kernels cannot read."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any, like: Any) -> Any:
        """Return a new contiguous array on the device of ``like``."""

    @abstractmethod
    def contiguous(self, array: Any, dtype: Any) -> Any:
        """Return a small array converted to ``dtype`` and a contiguous layout."""

    @abstractmethod
    def finish(self, result: Any) -> Any:
        """Return a result as the caller gets it."""


class _NumpyKind(ArrayKind):
    float32 = np.dtype(np.float32)
    float64 = np.dtype(np.float64)
    int32 = np.dtype(np.int32)
    bool_ = np.dtype(np.bool_)
    uint8 = np.dtype(np.uint8)

    _RESULT = {  # noqa: RUF012
        np.dtype(np.float16): np.dtype(np.float32),
        np.dtype(np.float32): np.dtype(np.float32),
        np.dtype(np.float64): np.dtype(np.float64),
    }

    def result_dtype(self, array: Any, argument: str) -> Any:
        dtype = self._RESULT.get(array.dtype)
        if dtype is None:
            if array.dtype.name == "bfloat16":  # from ml_dtypes: NumPy has none of its own
                return self.float32
            raise TypeError(
                f"{argument} must be {_FLOATING} in native byte order, got {array.dtype}"
            )
        return dtype

    def integers(self, array: Any) -> Any:
        return array if array.dtype.kind in "iu" else None

    def check_usable(self, array: Any, argument: str) -> None:
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(
                f"{argument} must be an array without a mask, got a masked array: fill it first"
            )

    def empty(self, shape: tuple[int, ...], dtype: Any, like: Any) -> Any:
        return np.empty(shape, dtype)

    def contiguous(self, array: Any, dtype: Any) -> Any:
        return np.ascontiguousarray(array, dtype)

    def finish(self, result: Any) -> Any:
        return result if result.ndim else result[()]


class _DLPackKind(_NumpyKind):
    """Arrays of other libraries: read as NumPy arrays, given back through their from_dlpack."""

    def __init__(self, namespace: Any) -> None:
        self._from_dlpack = getattr(namespace, "from_dlpack", None)

    def finish(self, result: Any) -> Any:
        return super().finish(result) if self._from_dlpack is None else self._from_dlpack(result)


class _TorchKind(ArrayKind):
    def __init__(self, torch: Any) -> None:
        self._strided = torch.strided
        self._empty, self._is_grad_enabled = torch.empty, torch.is_grad_enabled
        self.float32, self.float64 = torch.float32, torch.float64
        self.int32, self._int64 = torch.int32, torch.int64
        self.bool_, self.uint8 = torch.bool, torch.uint8
        self._result = {
            torch.float16: torch.float32,
            torch.bfloat16: torch.float32,
            torch.float32: torch.float32,
            torch.float64: torch.float64,
        }

    def result_dtype(self, array: Any, argument: str) -> Any:
        dtype = self._result.get(array.dtype)
        if dtype is None:
            raise TypeError(f"{argument} must be {_FLOATING}, got {array.dtype}")
        return dtype

    def integers(self, array: Any) -> Any:
        dtype = array.dtype
        if dtype.is_floating_point or dtype.is_complex or dtype == self.bool_:
            return None
        return array.to(self._int64)  # torch has no min of its unsigned integers

    def check_usable(self, array: Any, argument: str) -> None:
        if array.layout is not self._strided or array.is_nested:
            got = "a nested one" if array.is_nested else f"layout {array.layout}"
            raise TypeError(f"{argument} must be a dense tensor, got {got}")
        if not array.is_cpu:
            raise RuntimeError(
                f"{argument} must be on the CPU, got {array.device}: this build of vl4pose has "
                f"CPU kernels only; pass {argument}.cpu()"
            )
        if array.requires_grad and self._is_grad_enabled():
            raise RuntimeError(
                f"{argument} must not require grad, got a tensor that does: this operation gives "
                f"no gradient; pass {argument}.detach() or call it under torch.no_grad()"
            )
        try:
            holds_data = array.data_ptr() or array.numel() == 0
        except RuntimeError:
            holds_data = False
        if not holds_data:
            raise TypeError(
                f"{argument} must be a tensor that holds data, got one that does not, as in "
                "torch.export, torch.vmap or torch.func, or with its storage freed"
            )

    def empty(self, shape: tuple[int, ...], dtype: Any, like: Any) -> Any:
        return self._empty(shape, dtype=dtype, device=like.device)

    def contiguous(self, array: Any, dtype: Any) -> Any:
        return array.to(dtype).contiguous()

    def finish(self, result: Any) -> Any:
        return result


_NUMPY = _NumpyKind()
_torch_kind: _TorchKind | None = None


def take(array: Any, argument: str) -> tuple[Any, ArrayKind]:
    """Return an argument as an array that the compiled core reads, and its kind.

    Raises
    ------
    TypeError
        If it is no array: ``<argument> must be a NumPy array, ..., got <type>``.
    RuntimeError
        If its memory is on a device that this build has no kernels for, or it requires grad.
    """
    global _torch_kind
    if isinstance(array, np.ndarray):
        if type(array) is not np.ndarray:
            _NUMPY.check_usable(array, argument)
        return array, _NUMPY
    if is_tensor(array):
        if _torch_kind is None:
            _torch_kind = _TorchKind(sys.modules["torch"])
        _torch_kind.check_usable(array, argument)
        if array.requires_grad:  # under no_grad, but __dlpack__ would refuse it all the same
            array = array.detach()
        # A negative view, as .imag of a conjugate is, holds the opposite of its values.
        return array.resolve_neg() if array.is_neg() else array, _torch_kind
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        return _take_dlpack(array, argument)
    raise TypeError(
        f"{argument} must be a NumPy array, a torch tensor or an array with __dlpack__, got "
        f"{type(array).__name__}"
    )


def is_tensor(array: Any) -> bool:
    """Return whether an argument is a torch tensor, without importing torch for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _take_dlpack(array: Any, argument: str) -> tuple[Any, ArrayKind]:
    device, index = array.__dlpack_device__()
    if device != _DLPACK_CPU:
        raise RuntimeError(
            f"{argument} must be in CPU memory, got DLPack device {int(device)}:{index}: this "
            "build of vl4pose has CPU kernels only"
        )
    namespace = getattr(array, "__array_namespace__", lambda: None)()
    try:
        taken = np.from_dlpack(array)
    except (BufferError, RuntimeError):  # NumPy's DLPack has no bfloat16
        taken = np.asarray(array)
    return taken, _DLPackKind(namespace)


def check_same_device(array: Any, other: Any, argument: str, other_argument: str) -> None:
    """Raise an error unless ``array`` is on the device of ``other``, which has been taken.

    Of the devices of other libraries, which go by names of their own, :func:`take` judges.
    """
    device, other_device = getattr(array, "device", "cpu"), getattr(other, "device", "cpu")
    if device == other_device or str(device) == str(other_device):
        return
    if isinstance(array, np.ndarray) or is_tensor(array):
        raise ValueError(
            f"{argument} must be on the device of {other_argument} ({other_device}), got {device}"
        )


def default_num_threads() -> int:
    """Return torch's number of threads when torch is loaded, else the CPUs this process may use."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
