"""``python -m bench.gpu.sanitized``: every operation on a GPU, small, for compute-sanitizer.

The sizes take every way through the kernels: one launch and two, memory of their own and none,
pixels read in pairs and alone, equal values, maps that are not finite. All answers are compared
with the CPU's. Arrays are copied there and back, so that hardly a kernel of others runs beside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vl4pose
from bench.answers import parts
from vl4pose.losses import nll_loss

METHODS = ("expected", "max", "marginal", "sum")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Maps:
    """A batch of maps and how peaks are sought in it."""

    name: str
    heatmaps: Tensor
    options: dict[str, Any] = field(default_factory=dict)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return random maps."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def batches(multiprocessors: int) -> Iterator[Maps]:
    """Yield maps; batches as large as the number of multiprocessors are done in one launch."""
    many = multiprocessors + 3
    for dtype in DTYPES:
        yield Maps(f"two launches, {dtype}", noise(2, 3, 18, 20).to(dtype), {"min_distance": 2})
        yield Maps(f"one launch, {dtype}", noise(many, 2, 9, 12).to(dtype), {"min_distance": 2})
    yield Maps("d = 1, odd sizes", noise(3, 3, 13, 11), {"min_distance": 1, "num_peaks": 3})
    yield Maps("one launch, d = 1, odd sizes", noise(many, 2, 7, 9), {"min_distance": 1})
    yield Maps("one peak, d = 8", noise(3, 3, 33, 47), {"min_distance": 8, "num_peaks": 1})
    yield Maps("one joint", noise(2, 1, 16, 16))
    yield Maps("one pixel", noise(2, 2, 1, 1))
    yield Maps("five warps of joints", noise(many, 5, 8, 8), {"min_distance": 1})
    large = {"min_distance": 1, "num_peaks": 2000}
    yield Maps("poses in a workspace", noise(2, 3, 40, 40), large)
    yield Maps("one launch, poses in a workspace", noise(many, 3, 12, 12), large)
    yield Maps("cells in a workspace", noise(1, 2, 176, 176).double(), {"min_distance": 1})
    ties = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (3, 3, 20, 20))).float()
    yield Maps("ties", ties, {"min_distance": 2})
    yield Maps("one launch, ties", ties.repeat(many // 3 + 1, 1, 1, 1), {"min_distance": 1})
    yield Maps("constant", torch.ones(2, 3, 16, 16))
    spoilt = noise(4, 3, 16, 16)
    spoilt[1, 2, 5, 5], spoilt[2, 0, 3, 3], spoilt[3, 1, :] = torch.nan, torch.inf, -torch.inf
    yield Maps("not finite", spoilt)
    yield Maps("one launch, not finite", spoilt.repeat(many // 4 + 1, 1, 1, 1))
    thresholds = {"threshold_abs": 0.5, "threshold_rel": 0.2, "exclude_border": 3}
    yield Maps("thresholds", noise(3, 3, 24, 24), thresholds)
    yield Maps("channels last", noise(3, 16, 18, 4).permute(0, 3, 1, 2))
    yield Maps("every second column", noise(3, 3, 16, 32)[..., ::2])


def main() -> int:
    """Run all; return how many answers differ."""
    if not torch.cuda.is_available():
        print("bench.gpu.sanitized: torch finds no GPU here", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
    different = sum(differing(device, multiprocessors))
    print("all answers are the CPU's" if not different else f"{different} answers differ")
    return 1 if different else 0


def differing(device: torch.device, multiprocessors: int) -> Iterator[bool]:
    """Yield of each call whether its answer is another one than the CPU's."""
    for maps in batches(multiprocessors):
        for name, call in calls_on(maps):
            yield is_different(f"{name}, {maps.name}", call, device)
    for name, call in other_calls():
        yield is_different(name, call, device)


def is_different(name: str, call: Callable[[torch.device], Any], device: torch.device) -> bool:
    """Return, and say, whether an answer is another one than the CPU's."""
    pairs = zip(parts(call(device)), parts(call(torch.device("cpu"))), strict=True)
    differs = any(found.tobytes() != right.tobytes() for found, right in pairs)
    if differs:
        print(f"DIFFERENT: {name}")
    return differs


def there(array: Tensor, device: torch.device) -> Tensor:
    """Return an array on a device, with its strides, of which no kernel makes a copy."""
    span = 1 + sum((n - 1) * step for n, step in zip(array.shape, array.stride(), strict=True))
    memory = array.as_strided((span,), (1,)).to(device)
    return memory.as_strided(array.shape, array.stride())


def chain(joints: int) -> vl4pose.Skeleton:
    """Return a skeleton."""
    names = [str(joint) for joint in range(joints)]
    return vl4pose.Skeleton("chain", names, [(j, j + 1) for j in range(joints - 1)])


def calls_on(maps: Maps) -> Iterator[tuple[str, Callable[[torch.device], Any]]]:
    """Yield the operations on heatmaps."""
    batch, joints = maps.heatmaps.shape[:2]
    params = torch.from_numpy(np.tile(np.float32([5.0, 1.0]), (batch, joints - 1, 1)))
    options = {**maps.options, "skeleton": chain(joints)}

    def on(device: torch.device, operation: str, **more: Any) -> Any:
        function, heatmaps = getattr(vl4pose, operation), there(maps.heatmaps, device)
        if operation in ("local_maxima", "multi_peak_entropy"):
            return function(heatmaps, **maps.options, **more)
        if operation == "decode":
            return function(heatmaps, **more)
        return function(heatmaps, params.to(device), **options, **more)

    yield "analyze", lambda device: on(device, "analyze", subpixel="dark")
    yield "refine", lambda device: on(device, "refine", objective="eq6", subpixel="centroid")
    yield "decode", lambda device: on(device, "decode", subpixel="quarter")
    yield "local_maxima", lambda device: on(device, "local_maxima")
    yield "multi_peak_entropy", lambda device: on(device, "multi_peak_entropy")
    for method in METHODS:
        yield f"score {method}", lambda device, method=method: on(device, "score", method=method)


def other_calls() -> Iterator[tuple[str, Callable[[torch.device], Any]]]:
    """Yield the operations on peaks and poses, and the gradients."""
    values, count = noise(70, 3, 5), torch.tensor([[5, 2, 0]], dtype=torch.int32).repeat(70, 1)
    poses, params = noise(70, 4, 2), noise(70, 3, 2)
    spatial, offsets = noise(70, 4, 3), noise(70, 3, 3)
    factors = torch.linalg.cholesky(torch.eye(3) + torch.ones(3, 3)).repeat(70, 3, 1, 1)
    visible = torch.from_numpy(np.random.default_rng(0).random((70, 4)) < 0.7)
    skeleton = chain(4)

    yield (
        "peak_weights",
        lambda device: vl4pose.peak_weights(values.to(device), count=count.to(device)),
    )
    yield (
        "pose_log_likelihood",
        lambda device: vl4pose.pose_log_likelihood(
            poses.to(device),
            params.to(device),
            skeleton=skeleton,
            visible=visible.to(device),
            per_link=True,
        ),
    )
    yield (
        "offset_log_likelihood",
        lambda device: vl4pose.offset_log_likelihood(
            spatial.to(device), offsets.to(device), factors.to(device), skeleton=skeleton
        ),
    )

    def gradient(function: Callable[..., Tensor], *arrays: Tensor) -> Callable[..., Any]:
        def of(device: torch.device) -> tuple[Tensor, ...]:
            leaves = [array.to(device, copy=True).requires_grad_() for array in arrays]
            return torch.autograd.grad(function(*leaves).sum(), leaves)

        return of

    heatmaps = noise(3, 4, 16, 16)
    for method in METHODS[:3]:
        yield (
            f"gradient of score {method}",
            gradient(
                lambda maps, params, method=method: vl4pose.score(
                    maps, params, skeleton=skeleton, method=method
                ),
                heatmaps,
                params[:3],
            ),
        )
    yield "gradient of peak_weights", gradient(lambda v: vl4pose.peak_weights(v) ** 2, values)
    yield (
        "gradient of nll_loss",
        gradient(lambda p, k: nll_loss(p, k, skeleton=skeleton), params, poses),
    )
    yield (
        "gradient of offset_log_likelihood",
        gradient(
            lambda *arrays: vl4pose.offset_log_likelihood(*arrays, skeleton=skeleton),
            spatial,
            offsets,
            factors,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
