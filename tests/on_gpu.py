"""The compiled core as the tests see it where they run on a GPU: takes their arrays there and back.

So the tests of the core, which hand NumPy arrays and tensors in CPU memory to vl4pose, are those of
the GPU's kernels too. Strides are kept, but for negative ones, which no tensor has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import interpreted_gpu
import numpy as np
import pytest
import torch
from interpreted_gpu import InterpretedGpu
from torch import Tensor

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
    """Return why no test can run on a GPU of torch's, or None."""
    if _core.build_info()["cuda"] is None:
        return "needs a build with CUDA kernels: this one was made without nvcc"
    if interpreted_gpu.HERE:
        return "needs a GPU: the kernels of this build are interpreted"
    if not torch.cuda.is_available():
        return "needs a GPU: torch finds none"
    return None


class TorchGpu:
    """The current one of torch's GPUs."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        stream = torch.cuda.current_stream()
        self._memory: list[Tensor] = []
        self.where = _core.CudaStream(stream.device_index, stream.cuda_stream, self._empty)

    def _empty(self, num_bytes: int) -> Tensor:
        self._memory.append(torch.empty(num_bytes, dtype=torch.uint8, device="cuda"))
        self._memory[-1].fill_(0xCD)  # nothing may depend on what was there
        return self._memory[-1]

    def upload(self, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor, with its strides."""
        if tensor.numel() == 0:
            return tensor.cuda()
        sizes, steps = tensor.shape, tensor.stride()
        span = 1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        return tensor.as_strided((span,), (1,)).cuda().as_strided(sizes, steps)

    def output(self, tensor: Tensor) -> Tensor:
        """Return memory for what a tensor is to become."""
        return tensor.cuda()

    def download(self, to: Tensor, source: Tensor) -> None:
        """Copy an output."""
        to.copy_(source)


# The kinds of GPUs that are here.
GPUS: dict[str, Callable[[Sequence[Any]], Any]] = {}
if missing() is None:
    GPUS["cuda"] = TorchGpu
if interpreted_gpu.HERE:
    GPUS["cuda_interpreted"] = InterpretedGpu


def each(function: Callable[[Tensor], Any], argument: Any) -> Any:
    """Call a function with an array, or with each of a list's; return anything else as it is."""
    if isinstance(argument, list):
        return [each(function, item) for item in argument]
    if isinstance(argument, np.ndarray):
        argument = as_tensor(argument)
    return function(argument) if isinstance(argument, Tensor) else argument


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor that shares a NumPy array's memory, if one can."""
    if array.dtype.name == "bfloat16":
        return as_tensor(array.view(np.uint16)).view(torch.bfloat16)
    if any(step < 0 or step % array.itemsize for step in array.strides):
        array = array.copy()  # which has strides of its own, of axes of size 1 too
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def download(to: Any, source: Any, gpu: Any) -> None:
    """Copy what an output holds on the GPU to where the test looks for it."""
    if isinstance(to, list):
        for own, on_gpu in zip(to, source, strict=True):
            download(own, on_gpu, gpu)
    else:
        each(lambda own: gpu.download(own, source), to)


class Core:
    """Stands in for the compiled core."""

    def __init__(self, kind: Callable[[Sequence[Any]], Any]) -> None:
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        value = getattr(_core, name)
        return self._on_gpu(value, OUTPUTS[name]) if name in OUTPUTS else value

    def _on_gpu(self, operation: Callable[..., None], outputs: slice) -> Callable[..., None]:
        def run(*arguments: Any) -> None:
            gpu = self._kind(arguments)
            on_gpu = [each(gpu.upload, item) for item in arguments[:-1]]
            on_gpu[outputs] = [each(gpu.output, item) for item in arguments[outputs]]
            operation(*on_gpu, gpu.where)
            for own, result in zip(arguments[outputs], on_gpu[outputs], strict=True):
                download(own, result, gpu)

        return run


@contextmanager
def run_there(name: str) -> Iterator[None]:
    """Run the operations on a kind of GPU, whatever arrays they are given."""
    core = Core(GPUS[name])
    with pytest.MonkeyPatch.context() as patch:
        for module in (scoring, _torch_ops):
            patch.setattr(module, "_core", core)
        yield
