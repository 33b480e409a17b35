"""Images on their way to the network: read and resized ahead in threads, cut into batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vl4pose.annotations import Person
from vl4pose.image_transform import ImageTransform, Placement
from vl4pose.pool.decoding import UnreadableImageError, read_rgb
from vl4pose.pool.storage import Folder

__all__ = ["Batch", "Decoded", "DecodingTime", "decoded_batches"]

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

    people: Sequence[Person]
    decoded: list[Decoded]


class DecodingTime:
    """Seconds that the threads spend reading images, and cutting and resizing them."""

    def __init__(self) -> None:
        self._read_s = 0.0
        self._crop_s = 0.0
        self._lock = threading.Lock()

    def add(self, read_s: float, crop_s: float) -> None:
        """Add what one image took."""
        with self._lock:
            self._read_s += read_s
            self._crop_s += crop_s

    def spent(self) -> tuple[float, float]:
        """Return the seconds of reading, and those of cutting and resizing."""
        with self._lock:
            return self._read_s, self._crop_s


def decoded_batches(
    images: Folder,
    cuts: Iterable[Sequence[Person]],
    transform: ImageTransform,
    *,
    workers: int,
    time_taken: DecodingTime | None = None,
) -> Generator[Batch]:
    """Yield the people of each cut as a batch, in order, and read two more batches meanwhile.

    Parameters
    ----------
    images : Folder
        Where their images are.
    cuts : iterable of sequences of Person
    transform : ImageTransform
    workers : int
        Threads that read images.
    time_taken : DecodingTime, optional
        Is added to.
    """
    spent = DecodingTime() if time_taken is None else time_taken
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vl4pose-decode")
    waiting: deque[tuple[Sequence[Person], list[Future[Decoded]]]] = deque()
    remaining = iter(cuts)
    try:
        while True:
            while len(waiting) <= _AHEAD and (cut := next(remaining, None)) is not None:
                futures = [pool.submit(_decode, p, images, transform, spent) for p in cut]
                waiting.append((cut, futures))
            if not waiting:
                return
            cut, futures = waiting.popleft()
            yield Batch(cut, [future.result() for future in futures])
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(
    person: Person, images: Folder, transform: ImageTransform, spent: DecodingTime
) -> Decoded:
    if person.error is not None:
        return Decoded(error=person.error)
    start = time.perf_counter()
    read = None
    try:
        image = read_rgb(person.image, images)
        read = time.perf_counter()
        pixels, placement = transform.apply(image, person.box)
    except UnreadableImageError as error:
        return Decoded(error=str(error))
    except ValueError as error:
        return Decoded(image.size, error=str(error))
    finally:
        end = time.perf_counter()
        spent.add((read or end) - start, end - (read or end))
    return Decoded(image.size, pixels, placement)
