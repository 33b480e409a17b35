"""Who is timed against whom: a contest is a set of calls that take turns in the same rounds.

But for single images, nobody finds its maps in the cache: batches of 1024 images are 256 MB, and
smaller ones take turns with several others. All maps lie in memory from NumPy, which asks for large
pages where torch does not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from bench import heatmaps
from bench.calls import (
    Choose,
    Maps,
    batches_in_cache,
    blocked_scores,
    compiled_torch,
    in_turn,
    limit,
    numpy_decode,
    ours,
    torch_decode,
    typical,
)
from bench.cases import Case
from bench.heatmaps import aligned
from bench.rounds import Call

MANY, FEWER = 1024, 256  # images
OTHER_SIZES = {
    "96x72": Case(height=96, width=72),
    "72x96": Case(height=72, width=96),
    "128x128": Case(height=128, width=128),
    "48x64": Case(height=48, width=64),
    "33x47": Case(height=33, width=47),
    "J=14": Case(joints=14),
    "J=17": Case(joints=17),
    "J=21": Case(joints=21),
}


@dataclass(frozen=True)
class Contestant:
    """One that is timed.

    Attributes
    ----------
    images : int
        Of one call.
    prepare : callable
        Checks the answer and returns the call.
    """

    images: int
    prepare: Callable[[], Call]


Contest: TypeAlias = dict[str, Contestant]


def large_batch(case: Case, choose: Choose) -> Contest:
    """Measure our operations and what others do, on 1024 images."""
    case = replace(case, batch=MANY)
    maps = typical(case)
    our = functools.partial(ours, case=case, maps=maps)
    return _alike(
        case,
        {
            "limit": lambda: limit(maps, 1, choose),
            "numpy h.max()": lambda: maps.max,
            "score": lambda: our("score"),
            "score on AVX-512": lambda: our("score", capability="avx512"),
            "score on AVX2": lambda: our("score", capability="avx2"),
            "refine": lambda: our("refine"),
            "analyze": lambda: our("analyze"),
            "numpy argmax + max": lambda: numpy_decode(maps),
            "torch flatten(2).max(-1)": lambda: torch_decode(maps),
            "best compiled torch": lambda: compiled_torch(case, maps, blocked_scores(case), choose),
        },
    )


def two_threads(case: Case, choose: Choose) -> Contest:
    """Measure the limit of two threads, and our score on them."""
    case = replace(case, batch=MANY)
    maps = typical(case)
    return _alike(
        case,
        {
            "limit": lambda: limit(maps, 2, choose),
            "score": lambda: ours("score", case, maps, num_threads=2),
        },
    )


def other_precisions(case: Case, choose: Choose) -> Contest:
    """Measure the same maps in three precisions."""
    case = replace(case, batch=MANY)
    maps = typical(case)

    def bfloat16() -> torch.Tensor:  # which NumPy has not: copied as integers, so as all others
        rounded = torch.from_numpy(maps).bfloat16().view(torch.int16)
        return torch.from_numpy(aligned(rounded.numpy())).view(torch.bfloat16)

    return _scores(
        case,
        {
            "float32": lambda: maps,
            "float16": lambda: aligned(maps.astype(np.float16)),
            "bfloat16": bfloat16,
        },
    )


def equal_values(case: Case, choose: Choose) -> Contest:
    """Measure maps with equal values, some or as many as can be."""
    case = replace(case, batch=FEWER)
    maps = typical(case)
    return _scores(
        case,
        {
            "typical": lambda: maps,
            "zeros after ReLU": lambda: aligned(heatmaps.zeros_after_relu(maps)),
            "integers 0..3": lambda: aligned(heatmaps.integers(maps)),
            "saturated plateaus": lambda: aligned(heatmaps.saturated_plateaus(maps)),
            "checkerboard": lambda: aligned(heatmaps.checkerboard(maps)),
            "constant": lambda: aligned(heatmaps.constant(maps)),
        },
    )


def base_addresses(case: Case, choose: Choose) -> Contest:
    """Measure the same maps, so many bytes behind the start of a cache line."""
    case = replace(case, batch=FEWER)
    maps = typical(case)
    return _scores(
        case,
        {
            "aligned": lambda: maps,
            "off by 4 bytes": lambda: aligned(maps, offset=4),
            "off by 16 bytes": lambda: aligned(maps, offset=16),
            "off by 32 bytes": lambda: aligned(maps, offset=32),
        },
    )


def other_layouts(case: Case, choose: Choose) -> Contest:
    """Measure the same maps as views of larger arrays, and in another order."""
    case = replace(case, batch=FEWER)
    maps = typical(case)
    return _scores(
        case,
        {
            "contiguous": lambda: maps,
            "sliced batch x[::2]": lambda: aligned(np.repeat(maps, 2, axis=0))[::2],
            "last stack x[:, -1]": lambda: aligned(np.stack([maps, maps], axis=1))[:, -1],
            "channels_last": lambda: np.moveaxis(aligned(np.moveaxis(maps, 1, 3)), 3, 1),
        },
    )


def other_sizes(case: Case, choose: Choose) -> Contest:
    """Measure the limit and our score on the bytes of 256 usual images.

    First all limits, then all scores: between two reads of the same maps lie all the others.
    """
    limits, scores = {}, {}
    for name, size in OTHER_SIZES.items():
        images = FEWER * 16 * 64 * 64 // (size.joints * size.height * size.width)
        size = replace(size, **case.peak_options, batch=images)
        maps = typical(size)
        limits[f"limit {name}"] = Contestant(images, functools.partial(limit, maps, 1, choose))
        scores[f"score {name}"] = Contestant(images, functools.partial(ours, "score", size, maps))
    return limits | scores


def one_image_a_call(case: Case, choose: Choose) -> Contest:
    """Measure single images, as torch tensors in the cache, where a network has just left them."""
    case = replace(case, batch=1)
    images = batches_in_cache(case)
    return _alike(
        case,
        {
            "numpy argmax + max": lambda: in_turn(numpy_decode(image) for image in images),
            "score": lambda: in_turn(ours("score", case, image) for image in images),
            "refine": lambda: in_turn(ours("refine", case, image) for image in images),
            "analyze": lambda: in_turn(ours("analyze", case, image) for image in images),
        },
    )


CONTESTS: dict[str, Callable[[Case, Choose], Contest]] = {
    "1024 images": large_batch,
    "1024 images, two threads": two_threads,
    "1024 images, other precisions": other_precisions,
    "256 images, equal values": equal_values,
    "256 images, base address": base_addresses,
    "256 images, other layouts": other_layouts,
    "other sizes, bytes of 256 images": other_sizes,
    "one image a call": one_image_a_call,
}


def _alike(case: Case, prepare: Mapping[str, Callable[[], Call]]) -> Contest:
    return {name: Contestant(case.batch, of_name) for name, of_name in prepare.items()}


def _scores(case: Case, maps: Mapping[str, Callable[[], Maps]]) -> Contest:
    """Return the contest of our score on different maps."""
    return _alike(
        case, {name: lambda make=make: ours("score", case, make()) for name, make in maps.items()}
    )
