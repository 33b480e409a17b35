"""What malloc does with memory that networks free."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc's malloc keep freed memory for the next allocation, however large it is.

    It returns blocks above 32 MB to the system at once, such as the feature maps of some eight
    images, and each page that comes back has to be mapped and cleared anew: on a CPU that took a
    network longer than its arithmetic (measured: 67 ms an image in batches of 32, 24 ms without). A
    process of its own may set this; a library may not.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # there is none in musl
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, _LARGEST)
