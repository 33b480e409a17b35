"""The limit: how long one read of the same bytes takes."""

from __future__ import annotations

import ctypes
import functools

import numpy as np

from bench import native
from bench.rounds import Call


def reads(array: np.ndarray, num_threads: int) -> dict[str, Call]:
    """Return every way to read a float32 array for its maximum, each of them checked."""
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    library = _library()
    right = array.max()

    def read(variant: int) -> Call:
        # The array itself is held by the call, not only its address.
        call = functools.partial(_read, array, array.ctypes.data, variant, num_threads)
        assert call() == right, f"variant {variant} of the limit gives {call()}, not {right}"
        return call

    return {str(variant): read(variant) for variant in range(library.num_variants())}


def _read(array: np.ndarray, address: int, variant: int, num_threads: int) -> float:
    return _library().read_maximum(address, array.size, variant, num_threads)


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(native.shared_library("read_limit")))
    library.read_maximum.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_int]
    library.read_maximum.restype = ctypes.c_float
    return library
