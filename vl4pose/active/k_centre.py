"""Rows that lie far from each other: greedy k-centre, known in active learning as Core-Set.

:func:`k_centre` is exact, in the compiled core: a row is compared with a centre only while it may
still be the farthest. A greedy choice of 1,000 among 100,000 rows so takes from a fifteenth of all
comparisons, where rows are normally distributed, to a half, where they are in as many clusters as
there are centres.

With ``approximate=True`` the nearest centre of a row is asked of an index of the centres instead,
whose time grows less than in proportion to them. But it takes many of them: for 1,000 centres of
1,000,000 x 256, or with 100,000 labelled rows among 100,000 x 64, the exact choice still took a
quarter of the index's processor time, or less.

The index is usearch's: one small wheel that needs NumPy alone, and whose index built on one thread
is the same every time. faiss brings an OpenMP and a BLAS of its own into a process that has torch's
already, in a wheel of ten times the size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose import _core
from vl4pose._arrays import FLOATING, as_numpy
from vl4pose._options import flag, integer, threads
from vl4pose.skeleton import shown

__all__ = ["Centres", "finite_rows", "index_class", "k_centre"]

# Squares of larger numbers would not fit a double.
MAX_MAGNITUDE = 1e150
# How much nearer than the farthest row a centre may be, where the index is used.
SLACK = 0.05
# Rows that are looked up at once. Those of them that are far are compared with each other.
_CHUNK = 1024
_CHECKED_AT_ONCE = 2**22  # values

Array = npt.NDArray[Any]


class Centres(NamedTuple):
    """Chosen rows, in the order in which they were chosen.

    Attributes
    ----------
    indices : (n,) int64
        Which rows.
    distances : (n,) floating
        How far each was from the nearest labelled row or row chosen before it; infinite for the
        first one where nothing is labelled.
    """

    indices: npt.NDArray[np.int64]
    distances: npt.NDArray[np.floating[Any]]


def k_centre(
    embeddings: Any,
    num_centres: int,
    *,
    labelled: Any | None = None,
    first: int | None = None,
    min_separation: float = 0.0,
    num_threads: int | None = None,
    approximate: bool = False,
    seed: int = 0,
) -> Centres:
    """Choose rows so that every row is near a chosen or a labelled one (k-centre greedy, Core-Set).

    Each step takes the row that is farthest from all labelled and chosen ones; of equally far ones
    the first.

    Parameters
    ----------
    embeddings : (N, D) floating
        One row per image or pose, finite and at most 1e150 in magnitude. 16-bit numbers are widened
        to float32. Tensors may be on any device; the work is done on the CPU.
    num_centres : int, 0 to N
        How many rows to choose.
    labelled : (M, D) floating, optional
        Rows that count as chosen from the beginning, such as those of images that are annotated.
    first : int, optional
        The row to begin with where nothing is labelled; default 0.
    min_separation : float, at least 0
        Stop when no row is farther than this from all labelled and chosen ones; then fewer rows
        come back. By default that leaves out copies of rows.
    num_threads : int, optional
        As for :func:`vl4pose.local_maxima`. The result is the same bit for bit.
    approximate : bool
        Find each row's nearest centre in an approximate-neighbour index (extra ``ann``): for more
        centres or labelled rows than every row can be compared with. Up to 100,000 of them, the
        exact choice was faster where we measured.
    seed : int, at least 0
        Of the order in which rows are looked at, where ``approximate``.

    Returns
    -------
    Centres
        ``indices`` and ``distances``, NumPy arrays whatever ``embeddings`` is; distances are
        float64 for float64 embeddings, else float32.

    Raises
    ------
    TypeError
        ``embeddings must be ...``, if an argument is of another kind or dtype.
    ValueError
        ``embeddings must be finite, got nan in row 3``, and likewise of other shapes and values.
    ImportError
        If ``approximate`` and usearch is not installed.

    Notes
    -----
    The greedy choice of Sener and Savarese [1]_, after Gonzalez [2]_: the largest distance from a
    row to its nearest centre is at most twice that of the best choice possible. Distances are
    Euclidean, of differences in double.

    With ``approximate``, rows are taken in random order if they are farther from all centres than a
    radius, which then shrinks to 0.95 of the largest distance left, until there are enough. If the
    index always finds the nearest centre, every row taken is at least 0.95 times as far as the
    farthest one, and the largest distance that remains is at most 2 / 0.95 of the best. Where it
    finds another centre, a row is believed to be farther than it is and may be taken in vain, but
    no distance is ever believed to be smaller than it is. The result is the same for a seed, on
    CPUs of one kind.

    References
    ----------
    .. [1] Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
       Approach", ICLR 2018.
    .. [2] Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.

    Examples
    --------
    >>> import numpy as np
    >>> from vl4pose.active.k_centre import k_centre
    >>> indices, distances = k_centre(np.array([[0.0], [1.0], [9.0], [5.0]]), 3)
    >>> print(indices, distances)
    [0 2 3] [inf  9.  4.]
    """
    rows = finite_rows(embeddings, "embeddings")
    N, D = rows.shape
    if N >= 2**31:
        raise ValueError(f"embeddings must have fewer than 2**31 rows, got {N}")
    num_centres = integer(num_centres, "num_centres", 0)
    if num_centres > N:
        raise ValueError(
            f"num_centres must be at most the number of embeddings ({N}), got {num_centres}"
        )
    given = np.empty((0, D), rows.dtype)
    if labelled is not None:
        given = finite_rows(labelled, "labelled", rows.dtype)
        if given.shape[1] != D:
            raise ValueError(f"labelled must be (M, {D}) like embeddings, got {given.shape}")
    if first is not None:
        first = integer(first, "first", 0, max(N - 1, 0))
        if len(given):
            raise ValueError(f"first must be None where rows are labelled, got {first}")
    separation = _separation(min_separation)
    num_threads = threads(num_threads, N)
    seed = integer(seed, "seed", 0)
    if flag(approximate, "approximate"):
        return _with_index(rows, num_centres, given, first or 0, separation, num_threads, seed)
    indices, distances = np.empty(num_centres, np.int32), np.empty(num_centres, rows.dtype)
    n = _core.k_centre(rows, given, first or 0, separation, indices, distances, num_threads)
    return Centres(indices[:n].astype(np.int64), distances[:n])


def finite_rows(array: Any, argument: str, dtype: Any = None) -> Array:
    """Return an argument as aligned, contiguous rows of float32 or float64, all finite."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{argument} must be an array without a mask, got a masked array")
    found = as_numpy(array)
    name = found.dtype.name
    if name not in ("float16", "bfloat16", "float32", "float64") or not found.dtype.isnative:
        raise TypeError(f"{argument} must be {FLOATING} in native byte order, got {found.dtype}")
    if found.ndim != 2:
        raise ValueError(f"{argument} must be (N, D), got shape {found.shape}")
    if dtype is None:
        dtype = np.float64 if name == "float64" else np.float32
    with np.errstate(over="ignore"):
        rows = np.require(found, dtype, ["C_CONTIGUOUS", "ALIGNED"])
    largest = min(MAX_MAGNITUDE, float(np.finfo(rows.dtype).max))
    step = max(_CHECKED_AT_ONCE // max(rows.shape[1], 1), 1)
    for begin in range(0, len(rows), step):
        part = rows[begin : begin + step]
        is_good = np.abs(part) <= largest
        if not is_good.all():
            row, column = np.argwhere(~is_good)[0]
            value = part[row, column]
            rule = f"at most {MAX_MAGNITUDE:g} in magnitude" if np.isfinite(value) else "finite"
            raise ValueError(f"{argument} must be {rule}, got {value} in row {begin + row}")
    return rows


def _separation(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"min_separation must be a real number, got {shown(value)}")
    if not 0 <= value < math.inf:
        raise ValueError(f"min_separation must be finite and at least 0, got {shown(value)}")
    return float(value)


def _with_index(
    rows: Array,
    num_centres: int,
    labelled: Array,
    first: int,
    min_separation: float,
    num_threads: int,
    seed: int,
) -> Centres:
    """Return what `k_centre` does with ``approximate``."""
    parts = [part for part in (rows, labelled) if part.size]
    largest = max((max(float(part.max()), -float(part.min())) for part in parts), default=0.0)
    centres = _CentreIndex(rows.shape[1], rows.dtype, largest, num_threads)
    # Of every row, its distance from the nearest centre that was found: never too small.
    nearest = np.full(len(rows), np.inf)
    indices, distances = list[int](), list[float]()

    def take(row: int) -> None:
        indices.append(row)
        distances.append(float(nearest[row]))

    def look_up(chunk: npt.NDArray[np.int64]) -> None:
        nearest[chunk] = np.minimum(nearest[chunk], centres.distances_to(rows[chunk]))

    if len(labelled):
        centres.add(labelled)
    elif num_centres > 0:
        take(first)
        centres.add(rows[[first]])
    order = np.random.default_rng(seed).permutation(len(rows))
    if len(indices) < num_centres:
        for chunk in _chunks(order):
            look_up(chunk)
    while len(indices) < num_centres and nearest.max() > min_separation:
        radius = max((1 - SLACK) * float(nearest.max()), min_separation)
        for chunk in _chunks(order[nearest[order] > radius]):
            look_up(chunk)
            far = chunk[nearest[chunk] > radius]
            num_before = len(indices)
            while len(far) and len(indices) < num_centres:
                take(int(far[0]))
                differences = rows[far].astype(np.float64) - rows[far[0]]
                nearest[far] = np.minimum(nearest[far], np.sqrt((differences**2).sum(axis=1)))
                far = far[nearest[far] > radius]
            if len(indices) > num_before:
                centres.add(rows[indices[num_before:]])
            if len(indices) == num_centres:
                break
    return Centres(np.array(indices, np.int64), np.array(distances, rows.dtype))


def _chunks(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for begin in range(0, len(rows), _CHUNK):
        yield rows[begin : begin + _CHUNK]


def index_class() -> Any:
    """Return what indexes are made by, or raise an ImportError that says what to install."""
    try:
        from usearch.index import Index
    except ImportError as error:
        raise ImportError(
            "approximate k-centre needs usearch: pip install 'vl4pose[ann]'"
        ) from error
    return Index


class _CentreIndex:
    """An index of centres that tells how far rows are from the nearest of them, or nearly so."""

    def __init__(self, ndim: int, dtype: np.dtype[Any], largest: float, num_threads: int) -> None:
        name = "f64" if dtype == np.float64 else "f32"
        self._index = index_class()(ndim=ndim, metric="l2sq", dtype=name, enable_key_lookups=False)
        self._num_threads = num_threads
        # The index tells squares in float32, where those of large numbers are infinite and those of
        # small ones 0. A power of two changes no digit.
        self._exponent = math.frexp(largest)[1]

    def add(self, rows: Array) -> None:
        keys = np.arange(len(self._index), len(self._index) + len(rows), dtype=np.uint64)
        scaled = np.ldexp(rows, -self._exponent)
        self._index.add(keys, scaled, threads=1)  # more would add them in any order

    def distances_to(self, rows: Array) -> npt.NDArray[np.float64]:
        scaled = np.ldexp(rows, -self._exponent)
        found: Array = self._index.search(scaled, 1, threads=self._num_threads).distances
        distances = np.sqrt(found.reshape(len(rows)).astype(np.float64))
        return np.asarray(np.ldexp(distances, self._exponent), np.float64)
