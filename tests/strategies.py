"""What the tests of the operations share: input for Hypothesis, judges, and odd arrays.

The judges are independent of this package: scikit-image for the peaks of a map, and an enumeration
of all poses of a small tree for everything that is computed from them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy.ndimage
from hypothesis import settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from skimage.feature import peak_local_max

import vl4pose
from vl4pose import Skeleton

METHODS = ("expected", "max", "marginal", "sum")
OBJECTIVES = ("map", "eq6")
SUBPIXELS = (None, "quarter", "centroid", "dark")
LOG_2PI = math.log(2 * math.pi)


def examples(per_default: float) -> settings:
    """Scale the number of cases with the profile's, so that one option makes a longer run."""
    return settings(max_examples=max(1, int(per_default * settings.default.max_examples)))


def tree(links: Sequence[tuple[int, int]]) -> Skeleton:
    joints = [f"joint_{j}" for j in range(len(links) + 1)]
    return Skeleton("tree", joints, links)


CHAIN = tree([(0, 1), (1, 2)])
ALONE = tree([])


def gaussian(
    center_x: float, center_y: float, *, shape: tuple[int, int] = (64, 64), sigma: float = 2.0
) -> np.ndarray:
    """Return a map with one bump of height 1."""
    y, x = np.indices(shape)
    return np.exp(-0.5 * ((x - center_x) ** 2 + (y - center_y) ** 2) / sigma**2)


def noise(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def wide(dtype: Any) -> Any:
    """Return the dtype of results for heatmaps of ``dtype``."""
    return np.float64 if dtype == np.float64 else np.float32


# Results -----------------------------------------------------------------------------------------


def named_arrays(result: Any, prefix: str = "") -> dict[str, Any]:
    """Return every array of nested named tuples by its path, such as ``refined.keypoints``."""
    named = {}
    for name, value in result._asdict().items():
        if hasattr(value, "_asdict"):
            named.update(named_arrays(value, f"{prefix}{name}."))
        else:
            named[prefix + name] = value
    return named


def assert_same_bits(result: Any, expected: Any) -> None:
    """Compare arrays, or named tuples of them, in shape, dtype and every bit."""
    if hasattr(result, "_asdict"):
        named, expected_named = named_arrays(result), named_arrays(expected)
    else:
        named, expected_named = {"": result}, {"": expected}
    for name, array in expected_named.items():
        found, wanted = np.asarray(named[name]), np.asarray(array)
        assert found.dtype == wanted.dtype, name
        assert found.shape == wanted.shape, name
        if found.tobytes() != wanted.tobytes():  # equal bits are fast to tell, others worth a look
            assert_array_equal(found, wanted, err_msg=name)
            raise AssertionError(f"{name} differs in the sign of a zero or the bits of a NaN")


# Maps --------------------------------------------------------------------------------------------


@dataclass
class Canvas:
    """What the kinds of maps below are drawn from; ``distance`` is the min_distance to come."""

    rng: np.random.Generator
    height: int
    width: int
    distance: int
    levels: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    def spikes(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return zeros with one of few positive values at each of the pixels that are inside."""
        heatmap = np.zeros(self.shape)
        inside = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width)
        y, x = y[inside], x[inside]
        heatmap[y, x] = self.rng.integers(1, self.levels + 2, size=len(y))
        return heatmap


def white(canvas: Canvas) -> np.ndarray:
    return canvas.rng.normal(size=canvas.shape)


def blobs(canvas: Canvas) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(white(canvas), 2.0)


def few_levels(canvas: Canvas) -> np.ndarray:
    return canvas.rng.integers(0, canvas.levels + 1, size=canvas.shape).astype(float)


def plateaus(canvas: Canvas) -> np.ndarray:
    block = canvas.rng.integers(2, 10)
    coarse = few_levels(Canvas(canvas.rng, *(n // block + 1 for n in canvas.shape), 1, 5))
    return np.kron(coarse, np.ones((block, block)))[: canvas.height, : canvas.width]


def scattered(canvas: Canvas) -> np.ndarray:
    number = canvas.rng.integers(1, 21)
    y, x = (canvas.rng.integers(n, size=number) for n in canvas.shape)
    return canvas.spikes(y, x)


def on_cells(canvas: Canvas) -> np.ndarray:
    """Equal values where the cells of (d + 1) // 2 by 2 pixels meet, or a pixel beside it."""
    rng, number = canvas.rng, canvas.rng.integers(2, 40)
    cell = (canvas.distance + 1) // 2
    y = rng.integers(canvas.height // cell + 1, size=number) * cell + rng.integers(-1, 2, number)
    x = rng.integers(canvas.width // 2 + 1, size=number) * 2 + rng.integers(-1, 2, number)
    return canvas.spikes(y, x)


def lattice(canvas: Canvas) -> np.ndarray:
    """Few values, the minimum distance or a pixel less or more apart."""
    step_y, step_x = np.maximum(1, canvas.distance + canvas.rng.integers(-1, 2, size=2))
    y = np.arange(canvas.rng.integers(step_y), canvas.height, step_y)
    x = np.arange(canvas.rng.integers(step_x), canvas.width, step_x)
    grid = np.meshgrid(y, x, indexing="ij")
    return canvas.spikes(grid[0].ravel(), grid[1].ravel())


def frame(canvas: Canvas) -> np.ndarray:
    """Peaks in the corners and along the border only."""
    heatmap = few_levels(canvas)
    heatmap[1:-1, 1:-1] = -1.0
    return heatmap


def ramp(canvas: Canvas) -> np.ndarray:
    slope_y, slope_x = canvas.rng.integers(-1, 2, size=2)
    y, x = np.indices(canvas.shape)
    return (slope_y * y + slope_x * x).astype(float)


def checkerboard(canvas: Canvas) -> np.ndarray:
    period_y, period_x = canvas.rng.integers(1, 4, size=2)
    y, x = np.indices(canvas.shape)
    return ((y // period_y + x // period_x) % 2).astype(float)


def saturated(canvas: Canvas) -> np.ndarray:
    return np.minimum(blobs(canvas), canvas.rng.choice([0.05, 0.2]))


def rectified(canvas: Canvas) -> np.ndarray:
    return np.maximum(blobs(canvas) - canvas.rng.choice([0.0, 0.3]), 0.0)


def mirrored(canvas: Canvas) -> np.ndarray:
    heatmap = blobs(canvas)
    return np.maximum(heatmap, heatmap[::-1, :: canvas.rng.choice([-1, 1])])


def close(canvas: Canvas) -> np.ndarray:
    """Values that are equal in a lower precision, if not in the map's own."""
    return 1.0 + few_levels(canvas) * 2.0 ** -canvas.rng.choice([8, 11, 16, 22, 40])


def constant(canvas: Canvas) -> np.ndarray:
    return np.full(canvas.shape, float(canvas.levels))


SMOOTH = (white, blobs)  # without ties, but for those that a low precision makes
KINDS = (
    *SMOOTH,
    few_levels,
    plateaus,
    scattered,
    on_cells,
    lattice,
    frame,
    ramp,
    checkerboard,
    saturated,
    rectified,
    mirrored,
    close,
    constant,
)


@st.composite
def maps(draw: st.DrawFn, height: int, width: int, distance: int, dtype: Any) -> np.ndarray:
    """Draw a map of any kind and magnitude, with -0.0 and -inf among its values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    canvas = Canvas(rng, height, width, distance, levels=draw(st.integers(0, 4)))
    heatmap = draw(st.sampled_from(KINDS))(canvas)
    limits = np.finfo(dtype)
    shift, scale = draw(
        st.sampled_from(
            [(0.0, 1.0)] * 4
            + [(-50.0, 1.0), (30.0, 1.0), (0.0, -1.0)]
            + [(0.0, float(limits.smallest_subnormal)), (0.0, float(limits.max) / 4)]
        )
    )
    with np.errstate(over="ignore"):
        heatmap = np.clip(heatmap * scale + shift, limits.min, limits.max)
    if draw(st.booleans()):
        heatmap[(heatmap == 0) & (rng.random(heatmap.shape) < 0.5)] = -0.0
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.05, 0.9, 1.0]))
        heatmap[rng.random(heatmap.shape) < share] = -np.inf
    return heatmap.astype(dtype)


sizes = st.one_of(st.integers(1, 8), st.integers(1, 70))
dtypes = st.sampled_from([np.float16, np.float32, np.float64])


@st.composite
def maps_and_options(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw maps (1, J, H, W) and the options of local_maxima."""
    distance = draw(st.integers(1, 16))
    height, width, dtype = draw(sizes), draw(sizes), draw(dtypes)
    number = draw(st.integers(1, 3))
    heatmaps = [draw(maps(height, width, distance, dtype)) for _ in range(number)]
    stack = np.stack(heatmaps)[None]
    some_value = st.sampled_from(np.unique(stack.astype(float)).tolist())  # a strict bound bites
    some_number = st.floats(-60, 60)
    options: dict[str, Any] = {
        "min_distance": distance,
        "num_peaks": draw(st.one_of(st.integers(1, 3), st.integers(1, 64))),
        "exclude_border": draw(st.one_of(st.just(0), st.integers(0, 20), st.booleans())),
        "threshold_abs": draw(st.one_of(st.none(), some_value, some_number)),
        "threshold_rel": draw(st.one_of(st.none(), st.floats(-1, 1.5), st.just(1.0))),
    }
    return stack, options


def scikit_image_peaks(heatmap: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """Return (x, y) of each peak of a map; the first maximum where scikit-image finds none.

    Half precision, which scikit-image does not take, is widened to float32.
    """
    heatmap = heatmap.astype(wide(heatmap.dtype))
    options = {"min_distance": 5, "num_peaks": 5, "exclude_border": 0, **options}
    with np.errstate(invalid="ignore", over="ignore"):  # threshold_rel times -inf or a huge value
        peaks = peak_local_max(heatmap, **options)[:, ::-1]
    if len(peaks) == 0:
        y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
        peaks = np.array([[x, y]])
    return peaks


def assert_peaks_are_scikit_image_s(
    peaks: Any, heatmaps: np.ndarray, options: dict[str, Any]
) -> None:
    """Compare the peaks of heatmaps (B, J, H, W) in coordinates, order, number and bits."""
    for image, joint in np.ndindex(heatmaps.shape[:2]):
        heatmap = heatmaps[image, joint]
        expected = scikit_image_peaks(heatmap, options)
        n = int(peaks.count[image, joint])
        xy, values = peaks.xy[image, joint], peaks.values[image, joint]
        assert_array_equal(xy[:n], expected)
        assert_array_equal(xy[n:], -1)
        x, y = expected.T
        assert_same_bits(values[:n], heatmap[y, x].astype(wide(heatmap.dtype)))
        assert_array_equal(values[n:], -np.inf)


# Trees whose poses can be enumerated --------------------------------------------------------------


def spikes(peaks: Sequence[Sequence[tuple[int, int, float]]], size: int = 12) -> np.ndarray:
    """Return maps (1, J, size, size) of 0 whose peaks at min_distance=1 are these (x, y, value)."""
    heatmaps = np.zeros((1, len(peaks), size, size))
    for heatmap, of_joint in zip(heatmaps[0], peaks, strict=True):
        for x, y, value in of_joint:
            heatmap[y, x] = value
    return heatmaps


@dataclass
class Case:
    """A small tree, and for each joint its peaks (x, y, value) in the order of local_maxima.

    An array "over poses" has an axis for each joint, which runs over the joint's peaks.
    """

    links: list[tuple[int, int]]
    peaks: list[list[tuple[int, int, float]]]
    params: np.ndarray  # (L, 2) float64
    temperature: float

    def rounded(self, dtype: Any) -> Case:
        """Return the case in the precision of heatmaps of ``dtype``."""
        limit = float(np.finfo(dtype).max)
        peaks = [[(x, y, min(value, limit)) for x, y, value in row] for row in self.peaks]
        params = self.params.astype(wide(dtype)).astype(np.float64)
        return Case(self.links, peaks, params, self.temperature)

    @property
    def root(self) -> int:
        (root,) = set(range(len(self.peaks))) - {child for _, child in self.links}
        return root

    def log_weights(self) -> list[np.ndarray]:
        rows = []
        for of_joint in self.peaks:
            highest = of_joint[0][2]
            scaled = [(value - highest) / self.temperature for _, _, value in of_joint]
            total = math.log(math.fsum(math.exp(term) for term in scaled))
            rows.append(np.array([term - total for term in scaled]))
        return rows

    def quadratic(self, link: int) -> np.ndarray:
        """Return (r - d)^2 exp(-s) of the link for its parent's and child's peaks."""
        parent, child = (self.peaks[joint] for joint in self.links[link])
        r = np.array([[math.dist(u[:2], v[:2]) for v in child] for u in parent])
        length, log_variance = self.params[link]
        return (r - length) ** 2 / math.exp(log_variance)

    def ell(self, link: int) -> np.ndarray:
        return -0.5 * (LOG_2PI + self.params[link, 1] + self.quadratic(link))

    def ell_scale(self, link: int) -> np.ndarray:
        """Return the sum of the absolute terms of `ell`, against which its error is measured."""
        return 0.5 * (LOG_2PI + abs(self.params[link, 1]) + self.quadratic(link))

    def on_axes(self, table: np.ndarray, *joints: int) -> np.ndarray:
        """Return a table over the peaks of some joints as an array over poses."""
        shape = [1] * len(self.peaks)
        for joint, n in zip(joints, table.shape, strict=True):
            shape[joint] = n
        return table.transpose(np.argsort(joints)).reshape(shape)

    def over_poses(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        everything = np.zeros([len(of_joint) for of_joint in self.peaks])
        with np.errstate(over="ignore"):  # -inf is right for two peaks of -1e308 each
            return reduce(np.add, arrays, everything)

    def log_p(self) -> np.ndarray:
        rows = self.log_weights()
        return self.over_poses([self.on_axes(row, joint) for joint, row in enumerate(rows)])

    def link_terms(self) -> list[np.ndarray]:
        return [self.on_axes(self.ell(link), *ends) for link, ends in enumerate(self.links)]

    def log_joint(self) -> np.ndarray:
        """Return log p + log q of every pose."""
        return self.over_poses([self.log_p(), *self.link_terms()])

    def scale(self) -> np.ndarray:
        """Return the sum of the absolute terms of `log_joint`."""
        rows = [self.on_axes(-row, joint) for joint, row in enumerate(self.log_weights())]
        terms = [self.on_axes(self.ell_scale(link), *ends) for link, ends in enumerate(self.links)]
        return self.over_poses([*rows, *terms])

    def expectation(self, terms: np.ndarray) -> float:
        return float(np.sum(np.exp(self.log_p()) * terms))

    def marginal(self) -> float:
        return float(np.logaddexp.reduce(self.log_joint(), axis=None))

    def posterior(self, num_peaks: int) -> np.ndarray:
        """Return (J, num_peaks), 0 in unused slots."""
        share = np.exp(self.log_joint() - self.marginal())
        posterior = np.zeros((share.ndim, num_peaks))
        for joint, n in enumerate(share.shape):
            others = tuple(axis for axis in range(share.ndim) if axis != joint)
            posterior[joint, :n] = share.sum(axis=others)
        return posterior

    def objective(self, name: str) -> np.ndarray:
        """Return what `refine` maximises, over poses."""
        if name == "map":
            return self.log_joint()
        weights = [np.exp(row) for row in self.log_weights()]
        return self.over_poses(
            [
                self.on_axes(weights[child] * self.ell(link), parent, child)
                for link, (parent, child) in enumerate(self.links)
            ]
        )

    def released_sum(self) -> float:
        """Return the released recursion, as its definition says: exponential in the depth."""
        rows = [row.tolist() for row in self.log_weights()]
        tables = [self.ell(link).tolist() for link in range(len(self.links))]

        def below(joint: int, a: int) -> float:
            links = [link for link, (parent, _) in enumerate(self.links) if parent == joint]
            return sum(through(link, a) for link in links)

        def through(link: int, a: int) -> float:
            child = self.links[link][1]
            return sum(
                ell + rows[child][b] + below(child, b) for b, ell in enumerate(tables[link][a])
            )

        return sum(row + below(self.root, a) for a, row in enumerate(rows[self.root]))

    def keypoints(self, pose: Sequence[int]) -> np.ndarray:
        return np.array([row[k][:2] for row, k in zip(self.peaks, pose, strict=True)])

    def relabelled(self, new: Sequence[int]) -> Case:
        """Return the same case with joint j renamed to ``new[j]``."""
        links = [(int(new[parent]), int(new[child])) for parent, child in self.links]
        peaks = [self.peaks[joint] for joint in np.argsort(new)]
        return Case(links, peaks, self.params, self.temperature)

    def analyze(
        self, analyze: Callable[..., Any], *, dtype: Any = np.float64, **options: Any
    ) -> Any:
        """Call an ``analyze`` with heatmaps of these peaks."""
        size = 2 + max(max(x, y) for x, y, _ in itertools.chain(*self.peaks))
        return analyze(
            spikes(self.peaks, size).astype(dtype),
            self.params,
            skeleton=tree(self.links),
            min_distance=1,
            num_peaks=4,
            temperature=self.temperature,
            **options,
        )


def assert_pose_is_best(case: Case, refined: Any, objective: str, rtol: float = 1e-9) -> None:
    """Compare a refined pose with that of the greatest objective, and what is said about it.

    Where poses tie but for rounding, any of them will do.
    """
    values = case.objective(objective)
    chosen = tuple(refined.peak_index[0].tolist())
    margin = 1e-9 * max(1.0, abs(values.max()))
    assert values[chosen] >= values.max() - margin
    if np.count_nonzero(values >= values.max() - margin) == 1:
        assert chosen == np.unravel_index(np.argmax(values), values.shape)
    assert_allclose(refined.log_prob[0], case.log_joint()[chosen], rtol=rtol, atol=1e-9)
    assert_array_equal(refined.changed[0], np.array(chosen) != 0)
    assert_array_equal(refined.keypoints[0], case.keypoints(chosen))


@st.composite
def trees(draw: st.DrawFn, max_joints: int) -> list[tuple[int, int]]:
    """Draw the links of a tree, joints and links in any order."""
    joints = draw(st.integers(1, max_joints))
    names = draw(st.permutations(range(joints)))
    links = [(names[draw(st.integers(0, child - 1))], names[child]) for child in range(1, joints)]
    return draw(st.permutations(links))


@st.composite
def cases(
    draw: st.DrawFn, max_log_variance: float = 3.0, max_length: float = 12.0, size: int = 6
) -> Case:
    """Draw a case whose values tie often, with lengths that are often a distance of two peaks."""
    links = draw(trees(5))
    # Every other pixel, so that no peak is in another's window. Equal values are likely; 1e308
    # among the others gives them a log-weight of -inf, a temperature of 1e-6 a weight of 0.
    pixel = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))
    value = st.sampled_from([0.5, 1.0, 1.0, 2.5, 1e308])
    peaks = []
    for _ in range(len(links) + 1):
        pixels = draw(st.lists(pixel, min_size=1, max_size=3, unique=True))
        of_joint = [(2 * x, 2 * y, draw(value)) for x, y in pixels]
        peaks.append(sorted(of_joint, key=lambda peak: (-peak[2], peak[1], peak[0])))
    params = np.zeros((len(links), 2))
    for link, (parent, child) in enumerate(links):
        r = math.dist(peaks[parent][0][:2], peaks[child][-1][:2])
        near = st.sampled_from([0.0, 1e-6, -1e-3, 0.3]).map(lambda step, r=r: r + step)
        params[link, 0] = draw(st.one_of(near, st.floats(-max_length / 6, max_length)))
        params[link, 1] = draw(st.floats(-max_log_variance, max_log_variance))
    return Case(links, peaks, params, draw(st.sampled_from([0.5, 1.0, 1.0, 3.0, 1e-6])))


# Batches -----------------------------------------------------------------------------------------


@dataclass
class Batch:
    """Arguments of `analyze`."""

    heatmaps: np.ndarray
    params: np.ndarray
    options: dict[str, Any]

    def analyze(self, analyze: Callable[..., Any] = vl4pose.analyze, **changed: Any) -> Any:
        return analyze(self.heatmaps, self.params, **{**self.options, **changed})


@st.composite
def batches(draw: st.DrawFn, *, kinds: Sequence[Callable[[Canvas], np.ndarray]] = KINDS) -> Batch:
    """Draw a batch of finite images and valid params, and all options."""
    links = draw(trees(6))
    images, dtype = draw(st.integers(1, 5)), draw(dtypes)
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    distance = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    canvas = Canvas(rng, height, width, distance, levels=draw(st.integers(1, 4)))
    heatmaps = np.empty((images, len(links) + 1, height, width), dtype)
    for index in np.ndindex(heatmaps.shape[:2]):
        heatmaps[index] = kinds[rng.integers(len(kinds))](canvas)
    # With s > -log(2 pi) every term of a score has the same sign, so that nothing cancels.
    own_params = draw(st.sampled_from([(len(links),), (images, len(links))]))
    params = np.stack([rng.uniform(-2, 20, own_params), rng.uniform(-1.5, 6, own_params)], axis=-1)
    options = {
        "skeleton": tree(links),
        "method": draw(st.sampled_from(METHODS)),
        "objective": draw(st.sampled_from(OBJECTIVES)),
        "subpixel": draw(st.sampled_from(SUBPIXELS)),
        "num_peaks": draw(st.one_of(st.integers(1, 5), st.integers(1, 20))),
        "min_distance": distance,
        "threshold_abs": draw(st.sampled_from([None, None, -10.0, 0.5])),
        "threshold_rel": draw(st.sampled_from([None, None, 0.0, 0.7])),
        "exclude_border": draw(st.sampled_from([0, 0, 1, 3, True])),
        "temperature": draw(st.sampled_from([1.0, 1.0, 0.3, 20.0])),
    }
    return Batch(heatmaps, params.astype(draw(st.sampled_from([np.float32, np.float64]))), options)


# The same values in other memory -----------------------------------------------------------------


def unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    result = memory.view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def inside_larger(array: np.ndarray) -> np.ndarray:
    result = np.zeros([n + 3 for n in array.shape], array.dtype)
    result = result[tuple(slice(2, 2 + n) for n in array.shape)]
    result[...] = array
    return result


def every_second(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    def layout(array: np.ndarray) -> np.ndarray:
        return np.repeat(array, 2, axis)[
            (slice(None),) * (axis % array.ndim) + (slice(1, None, 2),)
        ]

    return layout


def moved_axis(source: int, target: int) -> Callable[[np.ndarray], np.ndarray]:
    def layout(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, source, target)), target, source)

    return layout


def backwards(array: np.ndarray) -> np.ndarray:
    axes = tuple(range(array.ndim))
    return np.flip(np.ascontiguousarray(np.flip(array, axes)), axes)


def in_records(array: np.ndarray) -> np.ndarray:
    """Return values that are one byte more than their size apart."""
    records = np.zeros(array.shape, [("pad", np.uint8), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


def rows_in_records(array: np.ndarray) -> np.ndarray:
    """Return contiguous rows whose alignment differs."""
    row = ("row", array.dtype, array.shape[-1:])
    records = np.zeros(array.shape[:-1], [("pad", np.uint8), row])
    records["row"] = array
    return records["row"]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "every second image": every_second(0),
    "every second column": every_second(-1),
    "inside a larger array": inside_larger,
    "channels last": moved_axis(1, -1),
    "last axes swapped": moved_axis(-1, -2),
    "Fortran": np.asfortranarray,
    "backwards": backwards,
    "unaligned": unaligned,
    "in records": in_records,
    "rows in records": rows_in_records,
    "read only": read_only,
}
