"""Arrays as callers bring them: NumPy, torch, or anything that speaks DLPack.

Each kind is one :class:`ArrayKind`, which checks an argument and makes the outputs, so that the
operations are written once. torch is never imported here: a torch tensor can only arrive when its
caller has imported torch.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose import _core

FLOATING = "float16, bfloat16, float32 or float64"
# DLPack's numbers of memory that the CPU can read (pinned memory too), and that a GPU can.
_DLPACK_CPU, _DLPACK_CUDA = (1, 3), (2, 13)
_CPU = "cpu"
# Whether this build has kernels for GPUs.
HAS_CUDA = _core.build_info()["cuda"] is not None


class Allocator(ABC):
    """Makes the outputs of an operation, arrays of one kind and precision.

    Attributes
    ----------
    empty : callable
        Makes an array of what :meth:`layout` returns.
    """

    empty: Callable[..., Any]

    @abstractmethod
    def layout(self, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
        """Return the arguments of :attr:`empty` for a contiguous array of a shape and dtype.

        ``dtype`` is a name; "result" is float32 for a 16- or 32-bit argument and float64 for a
        64-bit one.
        """

    def result(self, shape: tuple[int, ...]) -> Any:
        """Return a new array of the dtype of the results."""
        return self.empty(*self.layout(shape, "result"))


class ArrayKind(ABC):
    """What the operations need of one kind of array.

    Attributes
    ----------
    int32, bool_ : dtype of this kind
    """

    int32: Any
    bool_: Any

    @abstractmethod
    def take(self, array: Any, argument: str, first: str, device: str) -> Any:
        """Return an array of this kind in the form that the compiled core reads: see `take`."""

    @abstractmethod
    def device_of(self, array: Any) -> str:
        """Return where an array is, as "cpu" or "cuda:0"."""

    @abstractmethod
    def where(self, array: Any, num_threads: int) -> int | _core.CudaStream:
        """Return what the compiled core runs on where an array is, so many threads or a GPU."""

    @abstractmethod
    def check_floating(self, array: Any, argument: str) -> Allocator:
        """Return what makes the outputs of operations on a floating array.

        Raises
        ------
        TypeError
            If the array has another dtype.
        """

    @abstractmethod
    def integers(self, array: Any) -> Any:
        """Return an array of integers, or None for other dtypes; in CPU memory it has a range."""

    @abstractmethod
    def contiguous(self, array: Any, dtype: Any) -> Any:
        """Return a small array converted to ``dtype`` and a contiguous layout."""

    @abstractmethod
    def finish(self, results: list[Any], is_batch: bool) -> list[Any]:
        """Return results as the caller gets them; those of a batch have one axis at least."""


class _NumpyAllocator(Allocator):
    empty = staticmethod(np.empty)

    def __init__(self, result_dtype: Any) -> None:
        self._result_dtype = np.dtype(result_dtype)

    def layout(self, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
        return shape, self._result_dtype if dtype == "result" else np.dtype(dtype)


class _NumpyKind(ArrayKind):
    int32 = np.dtype(np.int32)
    bool_ = np.dtype(np.bool_)

    _SINGLE, _DOUBLE = _NumpyAllocator(np.float32), _NumpyAllocator(np.float64)
    _ALLOCATORS = {  # noqa: RUF012
        np.dtype(np.float16): _SINGLE,
        np.dtype(np.float32): _SINGLE,
        np.dtype(np.float64): _DOUBLE,
    }

    def take(self, array: Any, argument: str, first: str, device: str) -> Any:
        if device != _CPU:
            raise ValueError(_elsewhere(argument, first, device, _CPU))
        return array

    def device_of(self, array: Any) -> str:
        return _CPU

    def where(self, array: Any, num_threads: int) -> int | _core.CudaStream:
        return num_threads

    def check_floating(self, array: Any, argument: str) -> Allocator:
        allocator = self._ALLOCATORS.get(array.dtype)
        if allocator is None:
            if array.dtype.name == "bfloat16":  # from ml_dtypes: NumPy has none of its own
                return self._SINGLE
            raise TypeError(
                f"{argument} must be {FLOATING} in native byte order, got {array.dtype}"
            )
        return allocator

    def integers(self, array: Any) -> Any:
        return array if array.dtype.kind in "iu" else None

    def contiguous(self, array: Any, dtype: Any) -> Any:
        return np.ascontiguousarray(array, dtype)

    def finish(self, results: list[Any], is_batch: bool) -> list[Any]:
        if is_batch:
            return results
        return [result if result.ndim else result[()] for result in results]


class _DLPackKind(_NumpyKind):
    """Arrays of other libraries: read as NumPy arrays, given back through their from_dlpack."""

    def __init__(self, example: Any) -> None:
        namespace = getattr(example, "__array_namespace__", lambda: None)()
        self._from_dlpack = getattr(namespace, "from_dlpack", None)

    def take(self, array: Any, argument: str, first: str, device: str) -> Any:
        super().take(array, argument, first, device)
        try:
            return np.from_dlpack(array)
        except (BufferError, RuntimeError):  # NumPy's DLPack has no bfloat16
            return np.asarray(array)

    def finish(self, results: list[Any], is_batch: bool) -> list[Any]:
        if self._from_dlpack is None:
            return super().finish(results, is_batch)
        return [self._from_dlpack(result) for result in results]


class _GpuAllocator(Allocator):
    def __init__(self, empty: Callable[..., Any], result_dtype: str) -> None:
        self.empty, self._result_dtype = empty, result_dtype

    def layout(self, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
        return shape, self._result_dtype if dtype == "result" else dtype


class _GpuKind(ArrayKind):
    """Arrays on a GPU of other libraries than torch, through DLPack or __cuda_array_interface__.

    CuPy lends the memory of the results. Of libraries whose arrays do not change, as JAX's, it is
    vl4pose's own, which their from_dlpack makes an array of; those that have none get what can be
    read through either protocol.
    """

    int32, bool_ = np.dtype(np.int32), np.dtype(np.bool_)

    def __init__(self, example: Any, index: int) -> None:
        self._index = index
        library = sys.modules.get(type(example).__module__.partition(".")[0])
        self._cupy: Any = library if getattr(library, "__name__", "") == "cupy" else None
        namespace = getattr(example, "__array_namespace__", lambda: None)()
        self._from_dlpack = getattr(namespace, "from_dlpack", None)
        self._allocators: dict[str, Allocator] = {}

    def take(self, array: Any, argument: str, first: str, device: str) -> Any:
        if first and device != self.device_of(array):
            raise ValueError(_elsewhere(argument, first, device, self.device_of(array)))
        if not HAS_CUDA:
            raise RuntimeError(
                f"{argument} must be in CPU memory, got an array on {self.device_of(array)}: this "
                "build of vl4pose has CPU kernels only"
            )
        return array

    def device_of(self, array: Any) -> str:
        return f"cuda:{self._index}"

    def where(self, array: Any, num_threads: int) -> int | _core.CudaStream:
        return _core.CudaStream(
            self._index, self._stream(), lambda num_bytes: self._empty((num_bytes,), "uint8")
        )

    def _stream(self) -> int:
        if self._cupy is None:
            return 0  # the default one, for which DLPack has the others wait
        with self._cupy.cuda.Device(self._index):
            return int(self._cupy.cuda.get_current_stream().ptr)

    def _empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        if self._cupy is None:
            return _core.CudaMemory(self._index, self._stream(), shape, dtype)
        with self._cupy.cuda.Device(self._index):
            return self._cupy.empty(shape, dtype)

    def check_floating(self, array: Any, argument: str) -> Allocator:
        name = str(array.dtype)
        if name not in ("float16", "bfloat16", "float32", "float64"):
            raise TypeError(f"{argument} must be {FLOATING}, got {name}")
        result_dtype = "float64" if name == "float64" else "float32"
        return self._allocators.setdefault(result_dtype, _GpuAllocator(self._empty, result_dtype))

    def integers(self, array: Any) -> Any:
        return array if np.dtype(array.dtype).kind in "iu" else None

    def contiguous(self, array: Any, dtype: Any) -> Any:
        return array if array.dtype == dtype else array.astype(dtype)

    def finish(self, results: list[Any], is_batch: bool) -> list[Any]:
        if self._cupy is not None or self._from_dlpack is None:
            return results
        return [self._from_dlpack(result) for result in results]


class _TorchAllocator(Allocator):
    def __init__(self, torch: Any, result_dtype: Any, device: Any = _CPU) -> None:
        self._torch, self.result_dtype = torch, result_dtype
        self.empty = lambda shape, strides, dtype: torch.empty_strided(
            shape, strides, dtype=dtype, device=device
        )
        if device is _CPU:
            # Made for the code that torch compiles: the tensors of torch.empty in a third of the
            # time, and that time is most of a call for one image.
            with contextlib.suppress(AttributeError):
                self.empty = torch._C._dynamo.guards._empty_strided_cpu

    def layout(self, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
        own = self.result_dtype if dtype == "result" else getattr(self._torch, dtype)
        return shape, _row_major(shape), own


@functools.lru_cache(maxsize=256)
def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous array."""
    strides: tuple[int, ...] = ()
    step = 1
    for size in reversed(shape):
        strides = (step, *strides)
        step *= max(size, 1)
    return strides


class _TorchKind(ArrayKind):
    def __init__(self, torch: Any) -> None:
        self.int32, self._int64, self.bool_ = torch.int32, torch.int64, torch.bool
        self._torch = torch
        self._on_device: dict[tuple[Any, Any], _TorchAllocator] = {}
        self._is_grad_enabled = torch.is_grad_enabled
        self._forward_ad = torch.autograd.forward_ad
        single = _TorchAllocator(torch, torch.float32)
        double = _TorchAllocator(torch, torch.float64)
        self._allocators = {
            torch.float16: single,
            torch.bfloat16: single,
            torch.float32: single,
            torch.float64: double,
        }

    def take(self, array: Any, argument: str, first: str, device: str) -> Any:
        try:  # a tensor that is not strided has no address to tell
            is_readable = array.is_cpu and array.data_ptr() and not array.is_nested
        except RuntimeError:
            is_readable = False
        if not (is_readable and device is _CPU):
            self._check_device_and_layout(array, argument, first, device)
            is_readable = is_readable or (array.is_cuda and array.data_ptr())
        if array.requires_grad:
            if self._is_grad_enabled():
                raise RuntimeError(
                    f"{argument} must not require grad, got a tensor that does: this operation "
                    f"gives no gradient; pass {argument}.detach() or call it under torch.no_grad()"
                )
            array = array.detach()  # __dlpack__ would refuse it all the same
        if self._forward_ad._current_level >= 0 and self._has_tangent(array):
            raise RuntimeError(
                f"{argument} must not carry a tangent, got one that does: this operation has no "
                "forward-mode derivative"
            )
        if not is_readable and array.numel() > 0:
            raise TypeError(
                f"{argument} must be a tensor that holds data, got one that does not, as in "
                "torch.export, torch.vmap or torch.func, or with its storage freed"
            )
        # A negative view, as .imag of a conjugate is, holds the opposite of its values.
        return array.resolve_neg() if array.is_neg() else array

    def _has_tangent(self, array: Any) -> bool:
        return self._forward_ad.unpack_dual(array).tangent is not None

    def _check_device_and_layout(self, array: Any, argument: str, first: str, device: str) -> None:
        if first and self.device_of(array) != device:
            raise ValueError(_elsewhere(argument, first, device, array.device))
        check_dense(array, argument)
        if not has_kernels(array.device.type):
            raise RuntimeError(no_kernels(array, argument))

    def device_of(self, array: Any) -> str:
        return _CPU if array.is_cpu else str(array.device)

    def where(self, array: Any, num_threads: int) -> int | _core.CudaStream:
        if array.is_cpu:
            return num_threads
        torch, device = self._torch, array.device
        stream = torch.cuda.current_stream(device).cuda_stream
        return _core.CudaStream(
            device.index,
            stream,
            lambda num_bytes: torch.empty(num_bytes, dtype=torch.uint8, device=device),
        )

    def check_floating(self, array: Any, argument: str) -> Allocator:
        allocator = self._allocators.get(array.dtype)
        if allocator is None:
            raise TypeError(f"{argument} must be {FLOATING}, got {array.dtype}")
        return allocator if array.is_cpu else self._allocator_of(array)

    def _allocator_of(self, array: Any) -> Allocator:
        key = (array.dtype, array.device)
        if key not in self._on_device:
            result_dtype = self._allocators[array.dtype].result_dtype
            self._on_device[key] = _TorchAllocator(self._torch, result_dtype, array.device)
        return self._on_device[key]

    def integers(self, array: Any) -> Any:
        dtype = array.dtype
        if dtype.is_floating_point or dtype.is_complex or dtype == self.bool_:
            return None
        # torch has no min of its unsigned integers; a GPU is not asked for it.
        return array.to(self._int64) if array.is_cpu else array

    def contiguous(self, array: Any, dtype: Any) -> Any:
        return array.to(dtype).contiguous()

    def finish(self, results: list[Any], is_batch: bool) -> list[Any]:
        return results


def check_dense(tensor: Any, argument: str) -> None:
    """Raise unless a tensor has its numbers at strides."""
    if str(tensor.layout) != "torch.strided" or tensor.is_nested:
        got = "a nested one" if tensor.is_nested else f"layout {tensor.layout}"
        raise TypeError(f"{argument} must be a dense tensor, got {got}")


def has_kernels(device: str) -> bool:
    """Return whether this build computes on devices of a type; meta tensors hold nothing."""
    return device in (_CPU, "meta") or (device == "cuda" and HAS_CUDA)


def no_kernels(tensor: Any, argument: str) -> str:
    """Return what is wrong with a tensor on a device that has no kernels."""
    rule, build = ("on the CPU", "CPU kernels only")
    if HAS_CUDA:
        rule, build = ("on the CPU or a CUDA device", "kernels for these only")
    return (
        f"{argument} must be {rule}, got {tensor.device}: this build of vl4pose has {build}; "
        f"pass {argument}.cpu()"
    )


def _elsewhere(argument: str, first: str, device: str, got: object) -> str:
    return f"{argument} must be on the device of {first} ({device}), got {got}"


# By type, of the types that most arguments are. torch's is here once a tensor has come.
_KINDS: dict[type, ArrayKind] = {np.ndarray: _NumpyKind()}
_GPU_KINDS: dict[tuple[type, int], ArrayKind] = {}


def take(array: Any, argument: str, first: str = "", device: str = _CPU) -> tuple[Any, ArrayKind]:
    """Return an argument as an array that the compiled core reads, and its kind.

    ``first`` names the operation's first argument where this is another one, and ``device`` is
    where that is.

    Raises
    ------
    TypeError
        If it is no array: ``<argument> must be a NumPy array, ..., got <type>``.
    ValueError
        If it is a tensor on another device than the first argument.
    RuntimeError
        If its memory is on a device that this build has no kernels for, or it requires grad.
    """
    kind = _KINDS.get(type(array)) or _kind_of(array, argument)
    return kind.take(array, argument, first, device), kind


def _kind_of(array: Any, argument: str) -> ArrayKind:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{argument} must be an array without a mask, got a masked array: fill it first"
        )
    if isinstance(array, np.ndarray):
        return _KINDS[np.ndarray]
    if is_tensor(array):
        torch = sys.modules["torch"]
        if torch.Tensor not in _KINDS:
            _KINDS[torch.Tensor] = _TorchKind(torch)
        return _KINDS[torch.Tensor]
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        number, index = array.__dlpack_device__()
        if number in _DLPACK_CPU:
            return _DLPackKind(array)
        if number in _DLPACK_CUDA:
            return _gpu_kind(array, index)
        raise RuntimeError(
            f"{argument} must be in the memory of the CPU or of an NVIDIA GPU, got DLPack device "
            f"{int(number)}:{index}"
        )
    if hasattr(array, "__cuda_array_interface__"):
        return _gpu_kind(array, _core.cuda_device_of(array.__cuda_array_interface__["data"][0]))
    raise TypeError(
        f"{argument} must be a NumPy array, a torch tensor or an array with __dlpack__, got "
        f"{type(array).__name__}"
    )


def _gpu_kind(array: Any, index: int) -> ArrayKind:
    """Return the kind of a type's arrays on a GPU, the same one for all: plans are kept for it."""
    key = (type(array), index)
    if key not in _GPU_KINDS:
        _GPU_KINDS[key] = _GpuKind(array, index)
    return _GPU_KINDS[key]


def is_tensor(array: Any) -> bool:
    """Return whether an argument is a torch tensor, without importing torch for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def as_numpy(array: Any) -> npt.NDArray[Any]:
    """Return anything array-like as NumPy, a tensor without its gradient and from its device."""
    if not is_tensor(array):
        return np.asarray(array)
    array = array.detach().cpu()
    # NumPy has no bfloat16.
    return np.asarray(array.float() if str(array.dtype) == "torch.bfloat16" else array)


def is_compiling() -> bool:
    """Return whether torch.compile or torch.export traces this call, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def through_torch(first: Any, second: Any = None, *others: Any) -> bool:
    """Return whether torch must see an operation: to trace, transform or differentiate it.

    ``first`` is the argument whose kind the results have. Where this is False, no result needs a
    gradient, and tensors are where this build has kernels and no subclass's. Asked at every call,
    and so written for speed.
    """
    if type(first) is np.ndarray:
        return False
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(first, torch.Tensor):
        return False
    if torch.compiler.is_compiling():
        return True
    Tensor = torch.Tensor
    for array in (first, second, *others) if others else (first, second):
        if type(array) is Tensor:
            if array.requires_grad and torch.is_grad_enabled():
                return True
            if not (array.is_cpu or (array.is_cuda and HAS_CUDA)):
                return True
        elif isinstance(array, Tensor):
            return True
    return bool(
        torch.autograd.forward_ad._current_level >= 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
    )


def default_num_threads() -> int:
    """Return torch's number of threads when torch is loaded, else the CPUs this process may use."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
