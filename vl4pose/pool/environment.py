"""What a process computes with: what the bits of a score may depend on beside the settings."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import torch

__all__ = ["environment"]

_SOFTWARE = ("torch", "numpy", "pillow", "pyarrow")  # what else has a hand in the bits of a table


def environment(device: str) -> dict[str, Any]:
    """Return the versions of libraries, the kind of machine and torch's number of threads.

    Under the names that they have in the metadata of a table: ``software``, ``machine`` and
    ``settings.run.num_threads``.

    Parameters
    ----------
    device : str
        Where the networks run. A GPU that torch does not find is None.

    Notes
    -----
    vl4pose gives the same bits on every CPU. torch does not: which of its kernels run depends on
    what the CPU can do.
    """
    gpu = None
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(device)
    return {
        "software": {name: importlib.metadata.version(name) for name in _SOFTWARE},
        "machine": {"cpu": torch.backends.cpu.get_cpu_capability(), "gpu": gpu},
        "settings": {"run": {"num_threads": torch.get_num_threads()}},
    }
