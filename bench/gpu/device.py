"""A GPU, and the ways to time what it does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from bench.rounds import Call

MAX_REPEATS = 400  # of a call in one sample: twice as many launches find room in the queue
CYCLES_A_SECOND = 2.5e9  # no GPU's clock is faster
MAX_HEAD_START = 0.1  # seconds
CLOCKS = ("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "temperature.gpu")


@dataclass(frozen=True, eq=False)
class AfterOthers:
    """A call, and what the GPU does before it, with other maps."""

    call: Call
    others: Call

    def __call__(self) -> None:
        """Do both."""
        self.others()
        self.call()


class Gpu:
    """The current device.

    Attributes
    ----------
    device : torch.device
    cache_bytes : int
        Of its last cache.
    """

    def __init__(self) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.properties = torch.cuda.get_device_properties(self.device)
        self.cache_bytes = int(self.properties.L2_cache_size)
        # That a call takes to return. To keep the call would keep its maps.
        self._host_seconds: MutableMapping[Call, float] = WeakKeyDictionary()

    def device_sample(self, call: Call, repeats: int) -> float:
        """Return the seconds that a call keeps the GPU busy.

        The GPU waits until all calls are in its queue, so that it never waits for the host.
        """
        repeats = min(repeats, MAX_REPEATS)
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(4):
            head_start = 1.5 * repeats * self._host_seconds.get(call, 0) + 1e-4
            torch.cuda.synchronize()
            torch.cuda._sleep(int(min(head_start, MAX_HEAD_START) * CYCLES_A_SECOND))
            start.record()
            began = time.perf_counter()
            for _ in range(repeats):
                call()
            is_in_time = not start.query()
            self._host_seconds[call] = (time.perf_counter() - began) / repeats
            stop.record()
            stop.synchronize()
            if is_in_time:
                break
        return start.elapsed_time(stop) / 1e3 / repeats

    def latency_sample(self, call: AfterOthers, repeats: int) -> float:
        """Return the seconds from an event before one call to one after it, however many repeats.

        What is done before lasts until the GPU has all three in its queue.
        """
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        call.others()
        start.record()
        call.call()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1e3

    def host_sample(self, call: Call, repeats: int) -> float:
        """Return the seconds until a call returns, which the GPU need not have done by then."""
        repeats = min(repeats, MAX_REPEATS)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(repeats):
            call()
        seconds = (time.perf_counter() - began) / repeats
        torch.cuda.synchronize()
        return seconds

    def wall_sample(self, call: Call, repeats: int) -> float:
        """Return the seconds until the GPU has done what a call asks for."""
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(repeats):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - began) / repeats

    def graph(self, calls: Sequence[Callable[[], Any]]) -> tuple[Call, list[Any]]:
        """Return a replay of a CUDA graph of calls, one after another, and where their answers are.

        Nobody else may use the GPU meanwhile.
        """
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is done once, as loading kernels, is no part of it
            for _ in range(2):
                calls[0]()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answers = [call() for call in calls]
        graph.replay()
        torch.cuda.synchronize()
        return graph.replay, answers

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy in memory of the host that the GPU reads by itself."""
        return tensor.pin_memory()

    def describe(self) -> dict[str, Any]:
        """Return what it is, and the versions of what drives it."""
        properties = self.properties
        return {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "last_cache_bytes": self.cache_bytes,
            "driver": self.nvidia_smi("driver_version").get("driver_version"),
        }

    def clocks(self) -> dict[str, str]:
        """Return the clocks at this moment, in MHz, and the temperature."""
        return self.nvidia_smi(*CLOCKS)

    def nvidia_smi(self, *names: str) -> dict[str, str]:
        """Return what nvidia-smi says, or nothing."""
        command = [
            "nvidia-smi",
            f"--id={torch.cuda.current_device()}",
            f"--query-gpu={','.join(names)}",
            "--format=csv,noheader,nounits",
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return {}
        values = done.stdout.strip().split(", ")
        return dict(zip(names, values, strict=True)) if len(values) == len(names) else {}
