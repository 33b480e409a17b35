"""Images on their way to the network: read and resized ahead in threads, cut into batches."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vl4pose.cli.annotations import Person
from vl4pose.cli.decoding import UnreadableImageError, read_rgb
from vl4pose.cli.sources import Source
from vl4pose.image_transform import ImageTransform, Placement

__all__ = ["Batch", "Decoded", "decoded_batches"]

# Batches that are being decoded or wait for the network: what bounds the memory of a run.
_AHEAD = 2


@dataclass(frozen=True)
class Decoded:
    """One person's network input, or why there is none.

    Attributes
    ----------
    image_size : (int, int), optional
        (width, height) of the upright image, once it is known.
    pixels : (3, H, W) float32, optional
    placement : Placement, optional
        There exactly when ``pixels`` is.
    error : str, optional
        There exactly when ``pixels`` is not.
    """

    image_size: tuple[int, int] | None = None
    pixels: npt.NDArray[np.float32] | None = None
    placement: Placement | None = None
    error: str | None = None


@dataclass(frozen=True)
class Batch:
    """Neighbours in the source. Where batches end depends on position alone, never on errors."""

    people: list[Person]
    decoded: list[Decoded]


def decoded_batches(
    source: Source, transform: ImageTransform, *, batch_size: int, workers: int
) -> Generator[Batch]:
    """Yield every person of the source, in order, in batches of ``batch_size``."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vl4pose-decode")
    waiting: deque[tuple[list[Person], list[Future[Decoded]]]] = deque()
    people = iter(source.people)
    try:
        while True:
            while len(waiting) <= _AHEAD and (cut := list(itertools.islice(people, batch_size))):
                waiting.append((cut, [pool.submit(_decode, p, source, transform) for p in cut]))
            if not waiting:
                return
            cut, futures = waiting.popleft()
            yield Batch(cut, [future.result() for future in futures])
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(person: Person, source: Source, transform: ImageTransform) -> Decoded:
    if person.error is not None:
        return Decoded(error=person.error)
    try:
        image = read_rgb(source.root / person.image)
    except UnreadableImageError as error:
        return Decoded(error=str(error))
    try:
        pixels, placement = transform.apply(image, person.box)
    except ValueError as error:
        return Decoded(image.size, error=str(error))
    return Decoded(image.size, pixels, placement)
