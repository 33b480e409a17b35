"""The calls that are timed, and the maps they are given.

Whoever makes a call compares its answer first (ours with ``vl4pose.reference`` on three images,
everybody else's with ours), so that nothing is timed that is not right.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch

import vl4pose
from bench import competitors
from bench.answers import IMAGES_OF_REFERENCE, check, parts
from bench.cases import Case
from bench.competitors import BlockedScore
from bench.heatmaps import aligned, synthetic_heatmaps
from bench.read_limit import reads
from bench.rounds import Call
from vl4pose import reference

Choose: TypeAlias = Callable[[Mapping[str, Call]], str]  # the name of one of several calls
Maps: TypeAlias = np.ndarray | torch.Tensor

DIFFERENT_IMAGES = 256  # a larger batch repeats them
IMAGES_IN_CACHE = 3  # they fit into 1 MB, and are too many for a processor to learn by heart
IMAGES_AT_ONCE = (1, 2, 4, 8)  # that the compiled torch code is tried with


def typical(case: Case) -> np.ndarray:
    """Return a batch of float32 maps on a cache line; of 1024 images the first 256 differ."""
    return _typical(case.batch, case.joints, case.height, case.width)


@functools.lru_cache(maxsize=2)  # up to 256 MB each
def _typical(batch: int, joints: int, height: int, width: int) -> np.ndarray:
    repeats = 1 if batch % DIFFERENT_IMAGES else batch // DIFFERENT_IMAGES
    return aligned(synthetic_heatmaps(batch // repeats, joints, height, width), repeats)


def batches_in_cache(case: Case) -> list[np.ndarray]:
    """Return a few batches of single images, or one of more."""
    batches = max(IMAGES_IN_CACHE // case.batch, 1)
    maps = typical(replace(case, batch=max(case.batch, DIFFERENT_IMAGES)))
    return [maps[i * case.batch :][: case.batch] for i in range(batches)]


def in_turn(calls: Iterable[Call]) -> Call:
    """Return a call of the next one each time."""
    cycle = itertools.cycle(list(calls))
    return lambda: next(cycle)()


def limit(maps: np.ndarray, num_threads: int, choose: Choose) -> Call:
    """Return a call of the one that is chosen of the ways to read all maps once."""
    calls = reads(maps, num_threads)
    return calls[choose(calls)]


def ours(
    operation: str, case: Case, maps: Maps, *, capability: str | None = None, num_threads: int = 1
) -> Call:
    """Return a call of one of our operations on tensors, with a CPU capability if one is named."""
    call = functools.partial(
        getattr(vl4pose, operation),
        torch.as_tensor(maps),
        torch.from_numpy(case.params),
        **case.peak_options,
        num_threads=num_threads,
    )
    if capability is not None:
        call = functools.partial(_with_capability, capability, call)
    answer = [part[:IMAGES_OF_REFERENCE] for part in parts(call())]
    some = torch.as_tensor(maps)[:IMAGES_OF_REFERENCE].float().numpy()
    params = case.params[:IMAGES_OF_REFERENCE]
    right = getattr(reference, operation)(some, params, skeleton=case.skeleton, **case.peak_options)
    check(answer, parts(right))
    return call


def _with_capability(capability: str, call: Call) -> object:
    before = vl4pose.get_cpu_capability()
    vl4pose.set_cpu_capability(capability)
    try:
        return call()
    finally:
        vl4pose.set_cpu_capability(before)


def numpy_decode(maps: np.ndarray) -> Call:
    """Return a call of MMPose's decode on a tensor."""
    tensor = torch.from_numpy(maps)

    def call() -> tuple[np.ndarray, np.ndarray]:
        return competitors.get_heatmap_maximum(tensor.numpy())

    check(call(), vl4pose.decode(maps))
    return call


def torch_decode(maps: np.ndarray) -> Call:
    """Return a call of torch's maximum, which knows where it is."""
    tensor = torch.from_numpy(maps)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        return tensor.flatten(2).max(-1)

    values, index = (part.numpy() for part in call())
    y, x = np.divmod(index, maps.shape[3])
    check([np.stack([x, y], -1), values], vl4pose.decode(maps))
    return call


def blocked_scores(case: Case) -> list[BlockedScore]:
    """Return the compiled torch code for so many images at once, and so many."""
    torch.compiler.reset()  # so that every case is compiled for its own sizes, never for any size
    return [
        BlockedScore(**case.peak_options, links=case.links, images_at_once=images_at_once)
        for images_at_once in IMAGES_AT_ONCE
    ]


def compiled_torch(
    case: Case, maps: np.ndarray, scores: Sequence[BlockedScore], choose: Choose
) -> Call:
    """Return a call of the compiled torch code, for as many images at once as are chosen."""
    tensors = torch.from_numpy(maps), torch.from_numpy(case.params)
    calls = {
        str(score.images_at_once): functools.partial(score, *tensors)
        for score in scores
        if case.batch % score.images_at_once == 0
    }
    for call in calls.values():
        with competitors.compiling():
            answer = call()
        check_score(case, maps, answer)
    return calls[choose(calls)]


def check_score(case: Case, maps: np.ndarray, answer: Any) -> None:
    """Raise unless a score agrees with ours on the images, of 256, where no peaks tie."""
    different = maps[:DIFFERENT_IMAGES]
    params = case.params[:DIFFERENT_IMAGES]
    comparable = ~competitors.tied(different, case.min_distance, case.num_peaks)
    right = vl4pose.score(different, params, **case.peak_options)
    check([np.asarray(answer)[:DIFFERENT_IMAGES][comparable]], [right[comparable]])
