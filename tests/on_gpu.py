"""The compiled core as the tests see it where they run on a GPU: takes their arrays there and back.

So the tests of the core, which hand NumPy arrays and tensors in CPU memory to vl4pose, are those of
the GPU's kernels too. Strides are kept, but for negative ones, which no tensor has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from vl4pose import _core, _torch_ops, scoring

# Of each operation: which of its arguments are outputs. The last one says where it runs.
OUTPUTS = {
    "score": slice(5, 6),
    "peak_weights": slice(3, 4),
    "pose_log_likelihood": slice(4, 5),
    "offset_log_likelihood": slice(5, 6),
    "score_backward": slice(10, 14),
    "peak_weights_backward": slice(5, 7),
    "pose_log_likelihood_backward": slice(7, 10),
    "offset_log_likelihood_backward": slice(9, 13),
}


def missing() -> str | None:
    """Return why no test can run on a GPU, or None."""
    if _core.build_info()["cuda"] is None:
        return "needs a build with CUDA kernels: this one was made without nvcc"
    if not torch.cuda.is_available():
        return "needs a GPU: torch finds none"
    return None


def uploaded(argument: Any) -> Any:
    """Return an array on the GPU, with its strides; anything else as it is."""
    if isinstance(argument, list):
        return [uploaded(item) for item in argument]
    if isinstance(argument, np.ndarray):
        argument = as_tensor(argument)
    if not isinstance(argument, torch.Tensor):
        return argument
    if argument.numel() == 0:
        return argument.cuda()
    sizes, steps = argument.shape, argument.stride()
    span = 1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    memory = argument.as_strided((span,), (1,)).cuda()
    return memory.as_strided(sizes, steps)


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """Return a tensor that shares a NumPy array's memory, if one can."""
    if array.dtype.name == "bfloat16":
        return as_tensor(array.view(np.uint16)).view(torch.bfloat16)
    if any(step < 0 or step % array.itemsize for step in array.strides):
        array = array.copy()  # which has strides of its own, of axes of size 1 too
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def download(to: Any, source: Any) -> None:
    """Copy what an output holds on the GPU to where the test looks for it."""
    if isinstance(to, list):
        for own, on_gpu in zip(to, source, strict=True):
            download(own, on_gpu)
    elif isinstance(to, np.ndarray):
        to[...] = source.cpu().numpy()
    elif isinstance(to, torch.Tensor):
        to.copy_(source)


class Core:
    """Stands in for the compiled core."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(_core, name)
        return self._on_gpu(value, OUTPUTS[name]) if name in OUTPUTS else value

    @staticmethod
    def _on_gpu(operation: Callable[..., None], outputs: slice) -> Callable[..., None]:
        def run(*arguments: Any) -> None:
            stream = torch.cuda.current_stream()
            memory: list[torch.Tensor] = []

            def empty(num_bytes: int) -> torch.Tensor:
                memory.append(torch.empty(num_bytes, dtype=torch.uint8, device="cuda"))
                memory[-1].fill_(0xCD)  # nothing may depend on what was there
                return memory[-1]

            where = _core.CudaStream(stream.device_index, stream.cuda_stream, empty)
            on_gpu = [uploaded(argument) for argument in arguments[:-1]]
            operation(*on_gpu, where)
            for own, result in zip(arguments[outputs], on_gpu[outputs], strict=True):
                download(own, result)

        return run


@contextmanager
def run_there() -> Iterator[None]:
    """Run the operations on the GPU, whatever arrays they are given."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (scoring, _torch_ops):
            patch.setattr(module, "_core", Core())
        yield
