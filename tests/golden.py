"""Cases for the core's conformance test: inputs, and what the core and the twin make of them.

``python tests/golden.py FILE`` writes them to a file for conformance.cpp, which needs no Python and
can run on another processor. All of it is little-endian:

- file: the 8 bytes ``VL4POSE1``, then cases until the end;
- case: text (description), text (operation), uint32 (how many arrays), the arrays;
- array: text (name), uint8 (number of its DType in csrc/array.h), uint8 (rank), int64 (shape) for
  each axis, int64 (stride in bytes) for each axis, int64 (where in its memory the first element
  is), int64 (bytes of memory), the memory;
- text: uint32 (bytes), UTF-8.

The arrays of a case are the operation's arguments by their names. Options are scalars: float64, a
missing one is none, and a name is its number in the enumeration of csrc/options.h. A tree is
``parents`` and ``child_of_link``. Then come the outputs that are asked for. For each, ``core.NAME``
is what the core gave here, to be met bit for bit. ``twin.NAME`` is what the twin gives: to be met
bit for bit as well, unless there is a ``tolerance.NAME``, relative and absolute.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds
from strategies import (
    ALONE,
    KINDS,
    LAYOUTS,
    METHODS,
    OBJECTIVES,
    SUBPIXELS,
    Canvas,
    gaussian,
    named_arrays,
    tree,
)

import vl4pose
from vl4pose import Skeleton, _core, get_skeleton, reference
from vl4pose._options import check_options, core_options

Value = TypeVar("Value")

MAGIC = b"VL4POSE1"
# NumPy has no bfloat16: the bits of one are a uint16 here.
DTYPES = {"float16": 0, "uint16": 1, "float32": 2, "float64": 3, "int32": 4, "uint8": 5, "bool": 5}
PRECISIONS = ("float16", "bfloat16", "float32", "float64")

# What is asked for of a pass over heatmaps; of all of it three times in four.
PEAKS = ("xy", "values", "count")
DECODED = ("keypoints", "confidence")
REFINED = ("refined_keypoints", "peak_index", "changed", "log_prob")
ENTROPIES = ("entropy", "entropy_sum")
ALL = (*PEAKS, *ENTROPIES, *DECODED, "score", "per_link", "posterior", *REFINED, "status")
ASKED = (*(ALL,) * 15, PEAKS, DECODED, REFINED, ENTROPIES, ("score",))
WITHOUT_PARAMS = {*PEAKS, *ENTROPIES, *DECODED}
ROUNDED = {*ENTROPIES, "score", "per_link", "posterior", "log_prob"}
# What differences between poses decide. Where terms are so huge that these are beyond the digits of
# a double, the twin may decide otherwise.
DECIDED = {*REFINED, "posterior"}


@dataclass
class Case:
    """Arguments of an operation and what is expected of it."""

    description: str
    operation: str
    arrays: dict[str, np.ndarray]

    def expect(
        self, name: str, core: np.ndarray, twin: np.ndarray | None, *, rounded: bool, atol: float
    ) -> None:
        """Add an output; ``rounded`` if the twin's may differ in the last digits."""
        self.arrays[f"core.{name}"] = core
        if twin is None:
            return
        self.arrays[f"twin.{name}"] = twin
        if rounded:
            rtol = 2.0**-23 if core.dtype == np.float32 else 1e-15
            self.arrays[f"tolerance.{name}"] = np.array([rtol + 1e-11, atol])


def write(path: Path, cases: Iterable[Case]) -> None:
    with path.open("wb") as file:
        file.write(MAGIC)
        for case in cases:
            _write_text(file, case.description)
            _write_text(file, case.operation)
            file.write(struct.pack("<I", len(case.arrays)))
            for name, array in case.arrays.items():
                _write_text(file, name)
                _write_array(file, np.asarray(array))


def _write_text(file: BinaryIO, text: str) -> None:
    encoded = text.encode()
    file.write(struct.pack("<I", len(encoded)) + encoded)


def _write_array(file: BinaryIO, array: np.ndarray) -> None:
    low, high = byte_bounds(array) if array.size > 0 else (array.ctypes.data,) * 2
    size, offset = high - low, array.ctypes.data - low
    file.write(struct.pack("<BB", DTYPES[array.dtype.name], array.ndim))
    file.write(struct.pack(f"<{2 * array.ndim + 2}q", *array.shape, *array.strides, offset, size))
    file.write(ctypes.string_at(low, size))


# What cases are drawn from ------------------------------------------------------------------------


class Deck(Generic[Value]):
    """Deals values in random order, each of them once before any comes again."""

    def __init__(self, rng: np.random.Generator, values: Iterable[Value]) -> None:
        self._rng, self._values, self._left = rng, list(values), list[Value]()

    def deal(self) -> Value:
        if not self._left:
            self._left = [self._values[i] for i in self._rng.permutation(len(self._values))]
        return self._left.pop()


def rounded_noise(canvas: Canvas) -> np.ndarray:
    return np.round(2 * canvas.rng.normal(size=canvas.shape)) / 2


def as_is(array: np.ndarray) -> np.ndarray:
    return array


def random_tree(rng: np.random.Generator, joints: int) -> Skeleton:
    """Return a tree with joints and links in any order."""
    name = rng.permutation(joints)
    links = [(int(name[rng.integers(child)]), int(name[child])) for child in range(1, joints)]
    return tree([links[i] for i in rng.permutation(joints - 1)])


def skeletons(rng: np.random.Generator) -> list[Skeleton]:
    presets = [get_skeleton(name) for name in ("lsp", "mpii", "coco", "hand")]
    trees = [random_tree(rng, joints) for joints in (3, 4, 5, 8, 14, 16)]
    return [ALONE, ALONE, tree([(0, 1)]), tree([(1, 0)]), *presets, *trees]


def in_precision(values: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values rounded to a precision: for NumPy, and as they are stored."""
    if precision != "bfloat16":
        rounded = values.astype(precision)
        return rounded, rounded
    bits = values.astype(np.float32).view(np.uint32) >> 16
    return (bits << 16).view(np.float32), bits.astype(np.uint16)


def limits(precision: str) -> tuple[float, float]:
    """Return the smallest and the greatest positive number of a precision."""
    if precision == "bfloat16":
        return 2.0**-133, 2.0**127
    info = np.finfo(precision)
    return float(info.smallest_subnormal), float(info.max)


PARAMS = ("ordinary",) * 6 + ("beyond", "beyond", "not finite", "extreme")


def draw_params(rng: np.random.Generator, kind: str, *shape: int) -> np.ndarray:
    """Return lengths and log-variances (*shape, 2); "beyond" leaves the range and is clamped."""
    params = np.stack([rng.uniform(-2, 30, shape), rng.uniform(-1.5, 6, shape)], axis=-1)
    if params.size == 0 or kind == "ordinary":
        return params
    link = params.reshape(-1, 2)[rng.integers(params.size // 2)]
    if kind == "beyond":
        link[:] = [(2e6, 25.0), (-3e7, 1e30), (5.0, 21.0), (5.0, -30.0)][rng.integers(4)]
    elif kind == "not finite":
        link[rng.integers(2)] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    else:
        link[:] = [(1e6, -20.0), (-1e6, -19.0), (1e5, -15.0)][rng.integers(3)]
    return params


def largest_term(params: np.ndarray, height: int, width: int) -> float:
    """Return a bound of every link's log-density, of which the last digits are rounded off."""
    distance, log_variance = np.nan_to_num(params[..., 0]), np.nan_to_num(params[..., 1])
    longest = np.hypot(height, width) + np.abs(np.clip(distance, -1e6, 1e6))
    precision = np.exp(-np.clip(log_variance, -20.0, 20.0))
    return float(np.max(longest**2 * precision / 2, initial=0.0))


def tree_arrays(skeleton: Skeleton) -> dict[str, np.ndarray]:
    parents = np.full(skeleton.num_joints, -1, np.int32)
    child_of_link = np.array([child for _, child in skeleton.links], np.int32)
    parents[child_of_link] = [parent for parent, _ in skeleton.links]
    return {"parents": parents, "child_of_link": child_of_link}


# Heatmaps -----------------------------------------------------------------------------------------


def analysis(
    description: str,
    stored: np.ndarray,
    heatmaps: np.ndarray,
    params: np.ndarray,
    skeleton: Skeleton,
    asked: Sequence[str],
    *,
    undecided: bool = False,
    **options: Any,
) -> Case:
    """Return a case of a pass over ``stored`` heatmaps, whose values are ``heatmaps``."""
    names = {"method": METHODS, "objective": OBJECTIVES, "subpixel": SUBPIXELS}
    case = Case(description, "score", {"heatmaps": stored})
    if not WITHOUT_PARAMS.issuperset(asked):
        per_image = np.broadcast_to(params, (len(heatmaps), *params.shape[-2:]))
        case.arrays |= {"params": per_image, **tree_arrays(skeleton)}
    for name, value in options.items():
        if name in names or value is not None:
            number = names[name].index(value) if name in names else value
            case.arrays[name] = np.float64(number)

    of_entropy = {name: value for name, value in options.items() if name not in names}

    def everything(module: Any) -> dict[str, np.ndarray]:
        found = named_arrays(module.analyze(heatmaps, params, skeleton=skeleton, **options))
        found["refined_keypoints"] = found.pop("refined.keypoints")
        found["entropy_sum"] = module.multi_peak_entropy(heatmaps, **of_entropy)
        return {name.rpartition(".")[2]: array for name, array in found.items()}

    core, twin = everything(vl4pose), everything(reference)
    steps = options["subpixel"] in ("centroid", "dark")
    of_terms = np.finfo(float).eps * largest_term(params, *heatmaps.shape[2:])
    for name in asked:
        is_keypoints = name.endswith("keypoints")
        case.expect(
            name,
            core[name],
            None if undecided and name in DECIDED else twin[name],
            rounded=name in ROUNDED or (steps and is_keypoints),
            # A Newton step's determinant may be small; a posterior is exp of differences of terms.
            atol=1e-5 if is_keypoints else 1e-9 + (of_terms if name == "posterior" else 0.0),
        )
    return case


SIZES = ((1, 1), (1, 7), (5, 3), (7, 61), (16, 15), (33, 47), (48, 64))


def heatmap_cases(number: int) -> Iterator[Case]:
    rng = np.random.default_rng(1)

    def deck(values: Iterable[Value]) -> Deck[Value]:
        return Deck(rng, values)

    precisions, kinds, sizes = deck(PRECISIONS), deck((*KINDS, rounded_noise)), deck(SIZES)
    scales = deck([*("one",) * 8, "tiny", "huge"])
    specials = deck([*(None,) * 6, -0.0, -np.inf, -np.inf, np.nan, np.inf])
    trees, params_kinds, asked = deck(skeletons(rng)), deck(PARAMS), deck(ASKED)
    layouts = deck([("contiguous", as_is)] * 9 + list(LAYOUTS.items()))
    options: dict[str, Deck[Any]] = {
        "num_peaks": deck([1, 2, 5, 5, 8, 9, 64]),
        "min_distance": deck([*range(1, 10), 16, 40]),
        "threshold_abs": deck([None, None, None, -0.3, 0.5, 2.0]),
        "threshold_rel": deck([None, None, None, 0.0, 0.7]),
        "exclude_border": deck([0, 0, 0, 2, "d"]),
        "temperature": deck([1.0, 1.0, 1e-3, 7.0]),
        "method": deck(METHODS),
        "objective": deck(OBJECTIVES),
        "subpixel": deck(SUBPIXELS),
    }
    for i in range(number):
        precision, kind, scale, special = (
            each.deal() for each in (precisions, kinds, scales, specials)
        )
        (height, width), skeleton, params_kind = sizes.deal(), trees.deal(), params_kinds.deal()
        layout_name, layout = layouts.deal()
        chosen = {name: values.deal() for name, values in options.items()}
        if chosen["exclude_border"] == "d":
            chosen["exclude_border"] = chosen["min_distance"]
        J, L = skeleton.num_joints, skeleton.num_links
        B = int(np.clip(20_000 // (J * height * width), 1, 3))

        values = np.empty((B, J, height, width))
        for index in np.ndindex(B, J):
            values[index] = kind(Canvas(rng, height, width, chosen["min_distance"], levels=3))
        tiny, huge = limits(precision)
        values *= {"one": 1.0, "tiny": tiny, "huge": huge / 4}[scale]
        values = np.clip(values, -huge, huge)
        if special == -np.inf:
            values[rng.random(values.shape) < rng.choice([0.1, 0.9])] = special
        elif special is not None and special == 0:
            values[(values == 0) & (rng.random(values.shape) < 0.5)] = special
        elif special is not None:
            values.reshape(B, -1)[-1, rng.integers(J * height * width)] = special
        heatmaps, stored = in_precision(values, precision)
        params = draw_params(rng, params_kind, *((B, L) if i % 2 else (L,)))
        words = (
            f"heatmaps {i}: {precision} {B}x{J}x{height}x{width} {kind.__name__}, {scale}, "
            f"special {special}, {layout_name}, params {params_kind}, {skeleton.links}"
        )
        yield analysis(
            ", ".join([words, *(f"{name} {value}" for name, value in chosen.items())]),
            layout(stored),
            heatmaps,
            params.astype(np.float32) if i % 3 and params_kind != "not finite" else params,
            skeleton,
            asked.deal(),
            undecided=params_kind == "extreme",
            **chosen,
        )


OPTIONS: dict[str, Any] = {
    "num_peaks": 5,
    "min_distance": 5,
    "temperature": 1.0,
    "method": "expected",
    "objective": "map",
    "subpixel": None,
}


def typical_cases() -> Iterator[Case]:
    """Maps of the sizes that networks give, of two bumps each."""
    rng = np.random.default_rng(2)
    for i in range(9):
        precision, skeleton = PRECISIONS[i % 4], get_skeleton("mpii" if i % 2 else "lsp")
        size = (64, 64) if i < 8 else (96, 72)
        values = 0.02 * rng.normal(size=(1, skeleton.num_joints, *size))
        for heatmap in values[0]:
            for height in (1.0, 0.6):
                heatmap += height * gaussian(*rng.uniform(0, size[::-1]), shape=size)
        heatmaps, stored = in_precision(values, precision)
        options: dict[str, Any] = {
            **OPTIONS,
            "method": METHODS[i % 4],
            "subpixel": SUBPIXELS[(i + i // 4) % 4],
            **({"num_peaks": 1, "min_distance": 8} if i in (2, 5) else {}),
        }
        yield analysis(
            f"typical {i}: {precision} {size[0]}x{size[1]} {skeleton.name} {options}",
            stored,
            heatmaps,
            draw_params(rng, "ordinary", skeleton.num_links),
            skeleton,
            ALL,
            **options,
        )


def many_images() -> Iterator[Case]:
    """Batches that are worth several threads; their images overlap, so that the file is small."""
    rng = np.random.default_rng(3)
    shape, skeleton = (100, 2, 64, 64), tree([(1, 0)])
    for precision in PRECISIONS:
        _, stored = in_precision(rng.normal(size=20_000), precision)
        size = stored.itemsize
        strides = (97 * size, 5003 * size, 64 * size, size)
        stored = np.lib.stride_tricks.as_strided(stored, shape, strides)
        heatmaps = stored
        if precision == "bfloat16":
            heatmaps = (stored.astype(np.uint32) << 16).view(np.float32)
        params = draw_params(rng, "ordinary", 100, 1)
        yield analysis(
            f"many images: {precision}", stored, heatmaps, params, skeleton, ALL, **OPTIONS
        )


# Weights, and poses that are given ----------------------------------------------------------------


def weight_cases(number: int) -> Iterator[Case]:
    rng = np.random.default_rng(4)
    precisions, layouts = Deck(rng, PRECISIONS), Deck(rng, [as_is, as_is, *LAYOUTS.values()])
    peaks, temperatures = Deck(rng, [1, 2, 5, 8, 9, 64]), Deck(rng, [1e-6, 1e-3, 1.0, 7.0, 1e6])
    specials = Deck(rng, [None, None, None, -np.inf, np.nan, np.inf])
    for i in range(number):
        K, temperature, precision, special = (
            deck.deal() for deck in (peaks, temperatures, precisions, specials)
        )
        shape = (8, 25, 64) if i == 0 else (2, 3, K)  # the first is worth several threads
        exact = rng.normal(size=shape)
        if special is not None:
            exact[rng.random(shape) < 0.2] = special
        values, stored = in_precision(exact, precision)
        options: dict[str, Any] = {"temperature": temperature}
        case = Case(
            f"weights {i}: {precision} {shape}, special {special}, temperature {temperature}",
            "peak_weights",
            {"values": layouts.deal()(stored), "temperature": np.float64(temperature)},
        )
        if i % 2:
            options["count"] = rng.integers(0, shape[-1] + 1, shape[:2]).astype(np.int32)
            case.arrays["count"] = options["count"]
        core = vl4pose.peak_weights(values, **options)
        twin = reference.peak_weights(values, **options)
        case.expect("weights", core, twin, rounded=True, atol=1e-9)
        yield case


def given_pose_cases(number: int) -> Iterator[Case]:
    rng = np.random.default_rng(5)
    precisions, layouts = Deck(rng, PRECISIONS), Deck(rng, [as_is, as_is, *LAYOUTS.values()])
    trees, params_kinds = Deck(rng, skeletons(rng)), Deck(rng, PARAMS)
    for i in range(number):
        precision, skeleton, layout = precisions.deal(), trees.deal(), layouts.deal()
        B = 3
        if i == 0:  # worth several threads
            B, skeleton = 12_300, tree([(1, 0)])
        J, L = skeleton.num_joints, skeleton.num_links
        visible = rng.random((B, J)) < 0.8 if i % 2 else None

        def points(D: int, B: int = B, J: int = J, visible: Any = visible) -> np.ndarray:
            values = 20 * rng.normal(size=(B, J, D))
            if visible is not None:
                values[~visible] = np.nan
            return values

        kind = params_kinds.deal()
        values, stored = in_precision(points(2), precision)
        params = draw_params(rng, kind, B, L)
        yield given_pose(
            f"pose {i}: {precision}, {B} images, params {kind}, {skeleton.links}",
            "pose_log_likelihood",
            (layout(stored), values),
            {"params": params.astype(np.float32) if kind == "ordinary" else params},
            skeleton,
            visible,
        )
        D = 2 + i % 2
        values, stored = in_precision(points(D), precision)
        offsets = 5 * rng.normal(size=(B, L, D))
        scale_tril = rng.normal(size=(B, L, D, D))
        scale_tril[..., range(D), range(D)] = rng.uniform(0.01, 30, (B, L, D))
        scale_tril[..., ~np.tri(D, dtype=bool)] = np.nan  # never read
        if i % 5 == 1 and L > 0:
            scale_tril[0, -1, -1, -1] = rng.choice([0.0, -1.0, np.inf])
            offsets[-1, 0, 0] = rng.choice([np.nan, -np.inf])
        yield given_pose(
            f"offsets {i}: {precision}, {B} images in {D} dimensions, {skeleton.links}",
            "offset_log_likelihood",
            (layout(stored), values),
            {"offsets": layout(offsets), "scale_tril": layout(scale_tril)},
            skeleton,
            visible,
        )


# 2 of 100,000 numbers have a logarithm that glibc rounds otherwise on CPUs without fused
# multiply-add. These are some, and then numbers of all magnitudes.
DIAGONALS = (
    *("0x1.5b8926fb4a8p+1", "0x1.5471a71848586p+3", "0x1.cdc0332546795p+0"),
    *("0x1.d7ca1fd50f69fp-1", "0x1.529ebfb75373dp+0", "0x1.6c00e5ed47f43p+2"),
    *("0x1.79204fe246d1cp-1", "0x1.1bbd80af1c84cp+0", "0x1.a1959c26faefdp+0"),
    *("0x1.8fe12866d7e16p+4", "0x1.5e63c7d0bdf9ap+0", "0x1.0a6c3d0c8f858p+4"),
    *("0x1.36ed957c9af35p+4", "0x1.89f448075269dp-1", "0x1.a5f247a5da17ap+4"),
    *("0x1p-1074", "0x1.8p-1040", "0x1p-1022", "0x1p-300", "0x1p+0", "0x1p+300", "0x1.fp+1023"),
)


def logarithm_cases() -> Iterator[Case]:
    """Offsets that are met exactly, so that only the logarithm of a diagonal counts."""
    diagonals = [float.fromhex(text) for text in DIAGONALS]
    offsets = np.tile([3.0, 4.0], (len(diagonals), 1, 1))
    keypoints = np.concatenate([np.zeros_like(offsets), offsets], axis=1)
    scale_tril = np.tile(np.eye(2), (len(diagonals), 1, 1, 1))
    scale_tril[:, 0, 1, 1] = diagonals
    of_links = {"offsets": offsets, "scale_tril": scale_tril}
    words = "logarithms of diagonals"
    points = (keypoints, keypoints)
    yield given_pose(words, "offset_log_likelihood", points, of_links, tree([(0, 1)]), None)


def given_pose(
    description: str,
    operation: str,
    keypoints: tuple[np.ndarray, np.ndarray],
    of_links: dict[str, np.ndarray],
    skeleton: Skeleton,
    visible: np.ndarray | None,
) -> Case:
    """Return a case of keypoints, as they are stored and their values."""
    stored, values = keypoints
    case = Case(description, operation, {"keypoints": stored, **of_links, **tree_arrays(skeleton)})
    if visible is not None:
        case.arrays["visible"] = visible
    for name in ("total", "per_link"):
        core, twin = (
            getattr(module, operation)(
                values,
                *of_links.values(),
                skeleton=skeleton,
                visible=visible,
                per_link=name == "per_link",
            )
            for module in (vl4pose, reference)
        )
        case.expect(name, core, twin, rounded=True, atol=1e-9)
    return case


# Gradients ----------------------------------------------------------------------------------------


def gradient_cases(number: int) -> Iterator[Case]:
    """Gradients and, of every other case, their derivatives along a direction: the core's bits."""
    rng = np.random.default_rng(6)
    layouts, trees = Deck(rng, [as_is, as_is, *LAYOUTS.values()]), Deck(rng, skeletons(rng))
    params_kinds, methods = Deck(rng, PARAMS), Deck(rng, METHODS)
    for i in range(number):
        skeleton, layout, dtype = trees.deal(), layouts.deal(), ("float32", "float64")[i // 2 % 2]
        J, L, K, B, D = skeleton.num_joints, skeleton.num_links, 4, 3, 2 + i % 2
        is_along, is_shared = i % 2 == 1, i % 3 == 0
        lead = () if is_shared else (B,)

        def draw(*shape: int, dtype: str = dtype) -> np.ndarray:
            return rng.normal(size=shape).astype(dtype)

        def moving(
            arrays: dict[str, np.ndarray], is_along: bool = is_along
        ) -> dict[str, np.ndarray | None]:
            return {
                f"{name}_tangent": draw(*array.shape) if is_along else None
                for name, array in arrays.items()
            }

        peaks = vl4pose.local_maxima(draw(B, J, 12, 9), num_peaks=K, min_distance=1)
        params = draw_params(rng, params_kinds.deal(), *lead, L)
        links = {"params": params.astype(np.float32) if i % 5 else params}
        grad = draw(B)
        grad[0] = 0.0
        visible = rng.random((B, J)) < 0.8 if i % 4 < 2 else None
        method, temperature = methods.deal(), float(rng.choice([0.1, 1.0, 7.0]))
        words = f"gradients {i}: {dtype}, {method}, {skeleton.links}"
        values = layout(peaks.values)
        yield gradients(
            words,
            "score_backward",
            {"xy": peaks.xy, "values": values, "count": peaks.count, **links},
            {"grad_score": grad if i % 7 else None, "grad_entropy": grad if i % 3 else None},
            skeleton,
            {"temperature": temperature, "method": method, "num_peaks": K},
            moving({"values": peaks.values, **links}),
            {"by_values": peaks.values, "by_params": params[..., :2]},
            {"score": grad, "entropy": grad},
        )
        count = None if i % 4 else peaks.count
        yield gradients(
            words,
            "peak_weights_backward",
            {"grad": draw(*values.shape), "values": values, "count": count},
            {},
            None,
            {"temperature": temperature},
            moving({"values": peaks.values}),
            {"by_values": peaks.values},
            {"weights": peaks.values},
        )
        keypoints = 9 * draw(B, J, D)
        of_pose = {"keypoints": layout(keypoints[..., :2]), **links}
        grad = draw(B, L)
        yield gradients(
            words,
            "pose_log_likelihood_backward",
            {"grad": grad, **of_pose, "visible": visible},
            {},
            skeleton,
            {},
            moving(of_pose),
            {f"by_{name}": array for name, array in of_pose.items()},
            {"per_link": grad},
        )
        scale_tril = draw(*lead, L, D, D)
        scale_tril[..., range(D), range(D)] = rng.uniform(0.1, 9, (*lead, L, D))
        of_offsets = {
            "keypoints": layout(keypoints),
            "offsets": 5 * draw(*lead, L, D),
            "scale_tril": scale_tril,
        }
        yield gradients(
            words,
            "offset_log_likelihood_backward",
            {"grad": grad, **of_offsets, "visible": visible},
            {},
            skeleton,
            {},
            moving(of_offsets),
            {f"by_{name}": array for name, array in of_offsets.items()},
            {"per_link": grad},
        )


def k_centre_cases(num_cases: int) -> Iterator[Case]:
    """Yield rows to choose from, clusters and copies among them, with and without labelled ones."""
    rng = np.random.default_rng(7)
    for i in range(num_cases):
        N, D = int(rng.integers(1, 80)), [1, 3, 15, 16, 17, 40, 64, 100][i % 8]
        dtype = (np.float32, np.float64)[i // 8 % 2]
        rows = rng.normal(size=(N, D))
        if i % 3 == 1:
            rows = np.round(rows)[rng.integers(0, N, N)]
        if i % 3 == 2:
            rows = rows / 32 + rows[rng.integers(0, min(N, 5), N)]
        rows = rows.astype(dtype)
        labelled = rng.normal(size=(3 * (i % 2), D)).astype(dtype)
        options = {"first": int(rng.integers(N)), "min_separation": (0.0, 0.0, 1.0)[i % 3]}
        number = int(rng.integers(1, N + 1))
        core = np.zeros(number, np.int32), np.zeros(number, dtype)
        n = _core.k_centre(rows, labelled, *options.values(), *core, 1)
        for output in core:
            output[n:] = 0
        twin = np.zeros(number, np.int32), np.zeros(number, dtype)
        found = reference.k_centre(rows, number, labelled=labelled, **options)
        for output, of_twin in zip(twin, found, strict=True):
            output[: len(of_twin)] = of_twin
        numbers = {name: np.float64(value) for name, value in options.items()}
        case = Case(
            f"k-centre {i}", "k_centre", {"embeddings": rows, "labelled": labelled, **numbers}
        )
        for name, of_core, of_twin in zip(("indices", "distances"), core, twin, strict=True):
            case.expect(name, of_core, of_twin, rounded=False, atol=0.0)
        yield case


def gradients(
    description: str,
    operation: str,
    arguments: dict[str, np.ndarray | None],
    grads: dict[str, np.ndarray | None],
    skeleton: Skeleton | None,
    options: dict[str, Any],
    tangents: dict[str, np.ndarray | None],
    like: dict[str, np.ndarray],
    along: dict[str, np.ndarray],
) -> Case:
    """Return a case of a gradient, whose outputs are as large as ``like`` and ``along``."""
    dtype = next(iter(like.values())).dtype
    outputs: dict[str, Any] = {name: np.empty(array.shape, dtype) for name, array in like.items()}
    is_along = any(tangent is not None for tangent in tangents.values())
    for name, array in along.items():
        outputs[f"{name}_tangent"] = np.empty(array.shape, dtype) if is_along else None
    given = options.values()
    if "num_peaks" in options:
        given = [core_options(check_options(**options))]
    getattr(_core, operation)(
        *arguments.values(),
        *grads.values(),
        *(() if skeleton is None else (skeleton._tree,)),
        *given,
        *tangents.values(),
        *outputs.values(),
        1,
    )
    arrays = {**arguments, **grads, **tangents}
    case = Case(description, operation, {k: v for k, v in arrays.items() if v is not None})
    if skeleton is not None:
        case.arrays |= tree_arrays(skeleton)
    for name, value in options.items():
        case.arrays[name] = np.float64(METHODS.index(value) if name == "method" else value)
    for name, output in outputs.items():
        if output is not None:
            case.expect(name, output, None, rounded=False, atol=0.0)
    return case


FAMILIES: tuple[Callable[[], Iterator[Case]], ...] = (
    lambda: heatmap_cases(270),
    typical_cases,
    many_images,
    lambda: weight_cases(36),
    lambda: given_pose_cases(30),
    logarithm_cases,
    lambda: gradient_cases(40),
    lambda: k_centre_cases(48),
)


def golden_cases() -> list[Case]:
    with np.errstate(all="ignore"):
        return [case for family in FAMILIES for case in family()]


if __name__ == "__main__":
    write(Path(sys.argv[1]), golden_cases())
