"""The operations: peaks, weights, scores, refined poses, and everything of them in one pass.

Sizes: B images, J joints, L links, H x W heatmap pixels, K peaks kept per joint. Every operation
takes NumPy arrays, torch tensors or arrays with ``__dlpack__``, and gives back the kind that its
first argument is. A single image, without the axis B, gives results without it. float16, bfloat16
and float32 input gives float32 results, float64 gives float64. Coordinates are (x, y) in heatmap
pixels; an integer is the centre of a pixel.

Errors read ``<argument> must <rule>, got <value>``: TypeError for a kind of array or dtype,
ValueError for a shape or value, RuntimeError for a device that this build has no kernels for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy.typing as npt

from vl4pose import _core
from vl4pose._arrays import Allocator, is_compiling, is_tensor, take, through_torch
from vl4pose._options import check_options, checked_temperature, core_options, flag, threads
from vl4pose.results import Analysis, Decoded, Peaks, Refined
from vl4pose.skeleton import Skeleton, check_skeleton, resolve_skeleton

if TYPE_CHECKING:
    import torch

__all__ = [
    "analyze",
    "decode",
    "local_maxima",
    "multi_peak_entropy",
    "offset_log_likelihood",
    "peak_weights",
    "pose_log_likelihood",
    "refine",
    "score",
]


class _DLPackArray(Protocol):
    def __dlpack__(self) -> Any: ...
    def __dlpack_device__(self) -> Any: ...


# Constrained, so that the type of a result says its kind and not the shape and dtype of the input.
A = TypeVar("A", "npt.NDArray[Any]", "torch.Tensor", _DLPackArray)

# A float32 coordinate is exact up to here.
_MAX_MAP_SIZE = 2**24

# Of each output of the fused pass: its shape for one image, given (J, L, K), and the name of its
# dtype, "result" for that of the results.
_OUTPUTS: dict[str, tuple[Callable[[int, int, int], tuple[int, ...]], str]] = {
    "xy": (lambda J, L, K: (J, K, 2), "result"),
    "values": (lambda J, L, K: (J, K), "result"),
    "count": (lambda J, L, K: (J,), "int32"),
    "entropy": (lambda J, L, K: (J,), "result"),
    "entropy_sum": (lambda J, L, K: (), "result"),
    "keypoints": (lambda J, L, K: (J, 2), "result"),
    "confidence": (lambda J, L, K: (J,), "result"),
    "score": (lambda J, L, K: (), "result"),
    "per_link": (lambda J, L, K: (L,), "result"),
    "posterior": (lambda J, L, K: (J, K), "result"),
    "refined_keypoints": (lambda J, L, K: (J, 2), "result"),
    "peak_index": (lambda J, L, K: (J,), "int32"),
    "changed": (lambda J, L, K: (J,), "bool"),
    "log_prob": (lambda J, L, K: (), "result"),
    "status": (lambda J, L, K: (), "uint8"),
}
# The outputs of each kind of result, in the order of its fields.
_PEAKS = ("xy", "values", "count")
_DECODED = ("keypoints", "confidence")
_REFINED = ("refined_keypoints", "peak_index", "changed", "log_prob")
_ANALYSIS = (
    *("score", "per_link", "entropy", "posterior", "keypoints", "confidence"),
    *_REFINED,
    *_PEAKS,
    "status",
)


def local_maxima(
    heatmaps: A,
    *,
    num_peaks: int = 5,
    min_distance: int = 5,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    exclude_border: int | bool = 0,
    num_threads: int | None = None,
) -> Peaks[A]:
    """Find the local maxima of every heatmap, exactly as scikit-image's ``peak_local_max`` does.

    Parameters
    ----------
    heatmaps : (B, J, H, W) or (J, H, W) floating
        One map per joint, of any scale.
    num_peaks : int, 1 to 4096
        K, how many peaks to keep per joint at most.
    min_distance : int, at least 1
        A peak is at least as high as every pixel within this many pixels (Chebyshev), and not
        closer than that to a kept one.
    threshold_abs, threshold_rel : float, optional
        Peaks lie strictly above ``threshold_abs`` (default: the map's minimum) and above
        ``threshold_rel`` times the map's maximum.
    exclude_border : int or bool
        Keep no peak within this many pixels of the border; True means ``min_distance``.
    num_threads : int, optional
        Threads to use at most; default torch's setting when torch is loaded, else every CPU that
        the process may use. The result is the same bit for bit.

    Returns
    -------
    Peaks
        ``xy`` (B, J, K, 2), ``values`` (B, J, K), ``count`` (B, J) int32; the highest peak first,
        equal ones in row-major order. Unused slots hold xy = -1 and value -inf. A map without a
        peak gives its first maximum.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.

    Notes
    -----
    An image with NaN or +inf in any map has values NaN, xy -1 and count 0; others are unaffected.
    """
    outputs = _fused_pass(
        _PEAKS,
        heatmaps,
        num_threads=num_threads,
        num_peaks=num_peaks,
        min_distance=min_distance,
        threshold_abs=threshold_abs,
        threshold_rel=threshold_rel,
        exclude_border=exclude_border,
    )
    return Peaks(*outputs)


def peak_weights(
    values: A, *, count: Any | None = None, temperature: float = 1.0, num_threads: int | None = None
) -> A:
    """Weight the peaks of each joint by a softmax over their values.

    Parameters
    ----------
    values : (B, J, K) or (J, K) floating
        Peak values as :func:`local_maxima` gives them.
    count : (B, J) or (J,) integer, optional
        How many values of each joint are used, the first ones. By default all but -inf.
    temperature : float, 1e-6 to 1e6
        T; a small one favours the highest peak, a large one evens them out.
    num_threads : int, optional
        As for :func:`local_maxima`.

    Returns
    -------
    (B, J, K) floating
        Weights that sum to one per joint, 0 in unused slots; a joint without a used slot is all 0,
        one with NaN or +inf is all NaN.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.

    Notes
    -----
    log p(k) = (v_k - max v) / T - log sum_i exp((v_i - max v) / T). A joint whose used values are
    all -inf has weight 1 on its first.
    """
    return _peak_weights(values, count, temperature, num_threads)  # type: ignore[no-any-return]


def multi_peak_entropy(
    heatmaps: A,
    *,
    num_peaks: int = 5,
    min_distance: int = 5,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    exclude_border: int | bool = 0,
    temperature: float = 1.0,
    num_threads: int | None = None,
) -> A:
    """Sum the entropies of the joints' peak weights (Liu and Ferrari 2017).

    Parameters
    ----------
    heatmaps : (B, J, H, W) or (J, H, W) floating
        One map per joint.
    num_peaks, min_distance, threshold_abs, threshold_rel, exclude_border, num_threads
        As for :func:`local_maxima`.
    temperature : float, 1e-6 to 1e6
        As for :func:`peak_weights`.

    Returns
    -------
    (B,) floating
        sum_j -sum_k p_j(k) log p_j(k), in nats; high means ambiguous.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.
    """
    [entropy_sum] = _fused_pass(
        ("entropy_sum",),
        heatmaps,
        num_threads=num_threads,
        num_peaks=num_peaks,
        min_distance=min_distance,
        threshold_abs=threshold_abs,
        threshold_rel=threshold_rel,
        exclude_border=exclude_border,
        temperature=temperature,
    )
    return entropy_sum  # type: ignore[no-any-return]


def score(
    heatmaps: A,
    params: Any,
    *,
    skeleton: Skeleton | str | None = None,
    method: str = "expected",
    num_peaks: int = 5,
    min_distance: int = 5,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    exclude_border: int | bool = 0,
    temperature: float = 1.0,
    num_threads: int | None = None,
) -> A:
    """Score images by the log-likelihood of their poses: low means annotate.

    Parameters
    ----------
    heatmaps : (B, J, H, W) or (J, H, W) floating
        One map per joint.
    params : (B, L, 2) or (L, 2) floating
        Of each link: expected length d in heatmap pixels, and s = log of the variance in pixels
        squared. (L, 2) means the same for every image.
    skeleton : Skeleton or str, optional
        A skeleton or a preset's name; default by J: 14 lsp, 16 mpii, 17 coco, 21 hand.
    method : {"expected", "max", "marginal", "sum"}
        "expected": Eq. 3, the expectation over the peaks' weights. "max": log-probability of the
        best pose. "marginal": log of the sum over all poses. "sum": the recursion of the authors'
        released code, for comparison only.
    num_peaks, min_distance, threshold_abs, threshold_rel, exclude_border, num_threads
        As for :func:`local_maxima`.
    temperature : float, 1e-6 to 1e6
        As for :func:`peak_weights`.

    Returns
    -------
    (B,) floating
        The scores; NaN for an image with NaN or +inf in its heatmaps or NaN or inf in its params.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.

    Notes
    -----
    With ell(a, b) = -1/2 (log 2 pi + s + (r_ab - d)^2 exp(-s)) (Eq. 5), the expected score is
    sum over links of sum_{a,b} p_parent(a) p_child(b) ell(a, b) (Eq. 3; the root's own term is a
    constant and left out). s is clamped to [-20, 20] and d to [-1e6, 1e6].

    Examples
    --------
    >>> import numpy as np, vl4pose
    >>> heatmaps = np.random.default_rng(0).random((8, 14, 64, 64), dtype=np.float32)
    >>> params = np.tile(np.float32([10.0, 2.0]), (13, 1))
    >>> vl4pose.score(heatmaps, params).shape
    (8,)
    """
    [result] = _fused_pass(
        ("score",),
        heatmaps,
        params,
        skeleton,
        num_threads=num_threads,
        num_peaks=num_peaks,
        min_distance=min_distance,
        threshold_abs=threshold_abs,
        threshold_rel=threshold_rel,
        exclude_border=exclude_border,
        temperature=temperature,
        method=method,
    )
    return result  # type: ignore[no-any-return]


def refine(
    heatmaps: A,
    params: Any,
    *,
    skeleton: Skeleton | str | None = None,
    objective: str = "map",
    subpixel: str | None = None,
    num_peaks: int = 5,
    min_distance: int = 5,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    exclude_border: int | bool = 0,
    temperature: float = 1.0,
    num_threads: int | None = None,
) -> Refined[A]:
    """Choose for every joint the peak that agrees best with the skeleton, by Viterbi.

    Parameters
    ----------
    heatmaps, params, skeleton
        As for :func:`score`.
    objective : {"map", "eq6"}
        "map": the pose of largest log p + log q. "eq6": the paper's Eq. 6 as printed,
        sum over links of p_child(b) ell(a, b), which leaves the root's term out; its weights
        multiply the log-density, which rewards unlikely peaks where ell < 0.
    subpixel : {None, "quarter", "centroid", "dark"}
        As for :func:`decode`, around the chosen peaks.
    num_peaks, min_distance, threshold_abs, threshold_rel, exclude_border, num_threads
        As for :func:`local_maxima`.
    temperature : float, 1e-6 to 1e6
        As for :func:`peak_weights`.

    Returns
    -------
    Refined
        ``keypoints`` (B, J, 2), ``peak_index`` (B, J) int32 with 0 for the highest peak,
        ``changed`` (B, J) bool where it is not, ``log_prob`` (B,), log p + log q of the pose for
        either objective.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.

    Notes
    -----
    Exact max-product over the tree; of equal poses the one with the lower peak index. An image
    that :func:`score` gives NaN for has keypoints NaN, peak_index -1 and changed False.
    """
    outputs = _fused_pass(
        _REFINED,
        heatmaps,
        params,
        skeleton,
        num_threads=num_threads,
        num_peaks=num_peaks,
        min_distance=min_distance,
        threshold_abs=threshold_abs,
        threshold_rel=threshold_rel,
        exclude_border=exclude_border,
        temperature=temperature,
        objective=objective,
        subpixel=subpixel,
    )
    return Refined(*outputs)


def analyze(
    heatmaps: A,
    params: Any,
    *,
    skeleton: Skeleton | str | None = None,
    method: str = "expected",
    objective: str = "map",
    subpixel: str | None = None,
    num_peaks: int = 5,
    min_distance: int = 5,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    exclude_border: int | bool = 0,
    temperature: float = 1.0,
    num_threads: int | None = None,
) -> Analysis[A]:
    """Score, refine and explain images in one pass over their heatmaps.

    Parameters
    ----------
    heatmaps, params, skeleton, method
        As for :func:`score`.
    objective
        As for :func:`refine`.
    subpixel : {None, "quarter", "centroid", "dark"}
        As for :func:`decode`, for both poses.
    num_peaks, min_distance, threshold_abs, threshold_rel, exclude_border, num_threads
        As for :func:`local_maxima`.
    temperature : float, 1e-6 to 1e6
        As for :func:`peak_weights`.

    Returns
    -------
    Analysis
        ``score`` (B,), ``per_link`` (B, L) each link's expected term, ``entropy`` (B, J) in nats,
        ``posterior`` (B, J, K) of the peaks by belief propagation, ``keypoints`` (B, J, 2) and
        ``confidence`` (B, J) of the maps' maxima, ``refined`` as of :func:`refine`, ``peaks`` as of
        :func:`local_maxima`, and ``status`` (B,) uint8, bits of :class:`vl4pose.Status`.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.

    Notes
    -----
    posterior_j(k) is the share of the poses with y_j = k in the marginal, sum_Y p(Y) q(Y). Where
    only the params are not finite, what does not depend on them is still valid.
    """
    results = _fused_pass(
        _ANALYSIS,
        heatmaps,
        params,
        skeleton,
        num_threads=num_threads,
        num_peaks=num_peaks,
        min_distance=min_distance,
        threshold_abs=threshold_abs,
        threshold_rel=threshold_rel,
        exclude_border=exclude_border,
        temperature=temperature,
        method=method,
        objective=objective,
        subpixel=subpixel,
    )
    *plain, keypoints, peak_index, changed, log_prob, xy, values, count, status = results
    refined = Refined(keypoints, peak_index, changed, log_prob)
    return Analysis._make([*plain, refined, Peaks(xy, values, count), status])


def decode(
    heatmaps: A, *, subpixel: str | None = None, num_threads: int | None = None
) -> Decoded[A]:
    """Take every heatmap's maximum, the first in row-major order, as its joint's keypoint.

    Parameters
    ----------
    heatmaps : (B, J, H, W) or (J, H, W) floating
        One map per joint.
    subpixel : {None, "quarter", "centroid", "dark"}
        A step from the pixel's centre. "quarter": 0.25 sign(h[x+1] - h[x-1]) per axis, 0 at the
        border. "centroid": to the mean of the 5 x 5 pixels around, weighted by max(h, 0).
        "dark": one Newton step on the logarithm of the map blurred by a Gaussian of 11 pixels
        (sigma 2); none where that is singular, longer than a pixel, or within 2 pixels of the
        border.
    num_threads : int, optional
        As for :func:`local_maxima`.

    Returns
    -------
    Decoded
        ``keypoints`` (B, J, 2) in pixels, ``confidence`` (B, J), the maximum.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.
    """
    outputs = _fused_pass(_DECODED, heatmaps, num_threads=num_threads, subpixel=subpixel)
    return Decoded(*outputs)


def pose_log_likelihood(
    keypoints: A,
    params: Any,
    *,
    skeleton: Skeleton | str | None = None,
    visible: Any | None = None,
    per_link: bool = False,
    num_threads: int | None = None,
) -> A:
    """Log-likelihood of given poses, one per image.

    Parameters
    ----------
    keypoints : (B, J, 2) or (J, 2) floating
        Heatmap pixels.
    params, skeleton
        As for :func:`score`.
    visible : (B, J) or (J,) bool, optional
        Which joints count, default all. A link counts when both its joints do; the coordinates of
        the others are not read and may be NaN.
    per_link : bool
        Return the links' terms instead of their sum.
    num_threads : int, optional
        As for :func:`local_maxima`.

    Returns
    -------
    (B,) floating, or (B, L) with ``per_link``
        Sum over the links that count; 0 for those that do not. NaN for an image with NaN or inf
        in its params.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.

    Notes
    -----
    Per link ell = -1/2 (log 2 pi + s + (r - d)^2 exp(-s)), Eq. 5.
    """
    return _given_pose(  # type: ignore[no-any-return]
        "pose_log_likelihood",
        keypoints,
        {"params": params},
        skeleton,
        visible,
        per_link,
        num_threads,
    )


def offset_log_likelihood(
    keypoints: A,
    offsets: Any,
    scale_tril: Any,
    *,
    skeleton: Skeleton | str,
    visible: Any | None = None,
    per_link: bool = False,
    num_threads: int | None = None,
) -> A:
    """Log-likelihood of directly regressed poses in two or three dimensions, Eq. 4.

    Parameters
    ----------
    keypoints : (B, J, D) or (J, D) floating
        D of 2 or 3.
    offsets : (B, L, D) or (L, D) floating
        Expected step from parent to child of each link.
    scale_tril : (B, L, D, D) or (L, D, D) floating
        Cholesky factor T of each link's covariance T T^t: lower triangular with a positive
        diagonal. What stands above the diagonal is not read.
    skeleton : Skeleton or str
        A skeleton or a preset's name.
    visible, per_link, num_threads
        As for :func:`pose_log_likelihood`.

    Returns
    -------
    (B,) floating, or (B, L) with ``per_link``
        Sum over the links that count; NaN where a diagonal is not positive, and for an image with
        NaN or inf in its offsets or scale_tril.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the module's documentation says.

    Notes
    -----
    Per link -1/2 (D log 2 pi + 2 sum log diag T + |T^-1 (y_child - y_parent - o)|^2), Eq. 4.
    """
    if skeleton is None:
        raise TypeError("skeleton must be a Skeleton or a preset's name, got None")
    return _given_pose(  # type: ignore[no-any-return]
        "offset_log_likelihood",
        keypoints,
        {"offsets": offsets, "scale_tril": scale_tril},
        skeleton,
        visible,
        per_link,
        num_threads,
    )


def _fused_pass(
    names: tuple[str, ...],
    heatmaps: Any,
    params: Any = None,
    skeleton: Skeleton | str | None = None,
    *,
    num_threads: int | None,
    num_peaks: int = 5,
    min_distance: int = 5,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    exclude_border: int | bool = 0,
    temperature: float = 1.0,
    method: str = "expected",
    objective: str = "map",
    subpixel: str | None = None,
) -> list[Any]:
    """Return the named outputs of one pass; those that need params only where params are given."""
    options = (
        num_peaks,
        min_distance,
        threshold_abs,
        threshold_rel,
        exclude_border,
        temperature,
        method,
        objective,
        subpixel,
    )
    if skeleton is not None:
        check_skeleton(skeleton)  # others might be no key for a cache
    if through_torch(heatmaps, params):
        from vl4pose import _torch_ops

        return _torch_ops.fused_pass(names, heatmaps, options, num_threads, params, skeleton)
    return compute_pass(names, heatmaps, options, num_threads, params, skeleton)


def compute_pass(
    names: tuple[str, ...],
    heatmaps: Any,
    options: tuple[Any, ...],
    num_threads: int | None,
    params: Any,
    skeleton: Skeleton | str | None,
) -> list[Any]:
    """Return the named outputs of one pass over arrays that hold data, without a gradient."""
    maps, kind = take(heatmaps, "heatmaps")
    allocator = kind.check_floating(maps, "heatmaps")
    plan = _plan(maps.shape, names, options, skeleton, allocator)
    links = None
    if plan.tree is not None:
        links = _take_per_image(
            params, "params", plan.params_shapes, "heatmaps", kind.device_of(maps)
        )
    outputs = list(starmap(allocator.empty, plan.layouts))
    where = kind.where(maps, threads(num_threads, plan.num_images))
    _core.score(maps, links, plan.tree, plan.options, names, outputs, where)
    return kind.finish(outputs, plan.is_batch)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fused pass needs besides its arrays."""

    num_images: int
    is_batch: bool
    tree: _core.Tree | None  # None when no output needs one
    params_shapes: tuple[tuple[int, ...], ...]  # those that params may have
    options: _core.ScoreOptions
    layouts: list[tuple[Any, ...]]  # what the allocator makes each output of


def plan_pass(
    shape: tuple[int, ...],
    names: tuple[str, ...],
    skeleton: Skeleton | str | None,
    allocator: Allocator,
    *options: Any,
) -> Plan:
    """Check options and the shape of heatmaps, and return the plan of a pass over them."""
    checked = check_options(*options)
    *lead, J, _, _ = checked_heatmap_shape(shape)
    tree_skeleton, L = None, 0
    if needs_tree(names):
        tree_skeleton = resolve_skeleton(skeleton, J)
        L = tree_skeleton.num_links
    outputs = [_OUTPUTS[name] for name in names]
    return Plan(
        num_images=lead[0] if lead else 1,
        is_batch=len(lead) > 0,
        tree=None if tree_skeleton is None else tree_skeleton._tree,
        params_shapes=_per_image_shapes(tuple(lead), (L, 2)),
        options=core_options(checked),
        layouts=[
            allocator.layout((*lead, *of_image(J, L, checked.num_peaks)), dtype)
            for of_image, dtype in outputs
        ],
    )


# Cached because a pass over one image may take no longer than this; typed because 1, 1.0 and True
# are equal and yet not all of them valid.
_cached_plan = functools.lru_cache(maxsize=256, typed=True)(plan_pass)


def _plan(
    shape: tuple[int, ...],
    names: tuple[str, ...],
    options: tuple[Any, ...],
    skeleton: Skeleton | str | None,
    allocator: Allocator,
) -> Plan:
    try:
        return _cached_plan(shape, names, skeleton, allocator, *options)
    except TypeError:
        pass
    # Either a wrong type or an option that cannot be a cache key: say which and why.
    return plan_pass(shape, names, skeleton, allocator, *options)


def checked_heatmap_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of heatmaps, or raise."""
    shape = tuple(shape)
    if any(map(is_tensor, shape)):
        raise TypeError(
            "heatmaps must not be traced by torch.jit.trace, which takes sizes for constants: use "
            "torch.export or torch.compile"
        )
    if len(shape) not in (3, 4):
        hint = " (take one stack, as heatmaps[:, -1])" if len(shape) == 5 else ""
        raise ValueError(
            f"heatmaps must have axes (B, J, H, W) or (J, H, W), got shape {shape}{hint}"
        )
    J, H, W = shape[-3:]
    if J < 1 or H < 1 or W < 1:
        raise ValueError(f"heatmaps must have J, H and W of at least 1, got shape {shape}")
    if H > _MAX_MAP_SIZE or W > _MAX_MAP_SIZE:
        raise ValueError(f"heatmaps must have H and W of at most 2^24, got shape {shape}")
    return shape


def needs_tree(names: tuple[str, ...]) -> bool:
    """Return whether the named outputs depend on params and a skeleton."""
    return "score" in names or "peak_index" in names


def _peak_weights(values: Any, count: Any, temperature: float, num_threads: int | None) -> Any:
    temperature = checked_temperature(temperature)
    if through_torch(values, count):
        from vl4pose import _torch_ops

        return _torch_ops.peak_weights(values, count, temperature, num_threads)
    return compute_peak_weights(values, count, temperature, num_threads)


def compute_peak_weights(
    values: Any, count: Any, temperature: float, num_threads: int | None
) -> Any:
    """Return the weights of an array of values that holds data, without a gradient."""
    values, kind = take(values, "values")
    allocator = kind.check_floating(values, "values")
    shape = checked_values_shape(values.shape)
    counts = None if count is None else _checked_count(count, values, kind.device_of(values))
    result = allocator.result(shape)
    num_images = shape[0] if len(shape) == 3 else 1
    where = kind.where(values, threads(num_threads, num_images))
    _core.peak_weights(values, counts, temperature, result, where)
    return kind.finish([result], is_batch=True)[0]


def checked_values_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of values, or raise."""
    shape = tuple(shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"values must have axes (B, J, K) or (J, K), got shape {shape}")
    return shape


# Of each log-likelihood of given poses: in how many dimensions they may be.
_DIMENSIONS = {"pose_log_likelihood": (2,), "offset_log_likelihood": (2, 3)}
# Of each array that describes the links: its shape for one link, in D dimensions.
_OF_LINK: dict[str, Callable[[int], tuple[int, ...]]] = {
    "params": lambda D: (2,),
    "offsets": lambda D: (D,),
    "scale_tril": lambda D: (D, D),
}


def _given_pose(
    name: str,
    keypoints: Any,
    of_links: dict[str, Any],
    skeleton: Skeleton | str | None,
    visible: Any,
    per_link: bool,
    num_threads: int | None,
) -> Any:
    """Return the named log-likelihood of poses that are given by keypoints."""
    per_link = flag(per_link, "per_link")
    if through_torch(keypoints, *of_links.values(), visible):
        from vl4pose import _torch_ops

        return _torch_ops.given_pose(
            name, keypoints, of_links, skeleton, visible, per_link, num_threads
        )
    return compute_given_pose(name, keypoints, of_links, skeleton, visible, per_link, num_threads)


def compute_given_pose(
    name: str,
    keypoints: Any,
    of_links: dict[str, Any],
    skeleton: Skeleton | str | None,
    visible: Any,
    per_link: bool,
    num_threads: int | None,
) -> Any:
    """Return the log-likelihood of arrays that hold data, without a gradient."""
    points, kind = take(keypoints, "keypoints")
    allocator = kind.check_floating(points, "keypoints")
    shapes = shapes_of_pose(name, points.shape, skeleton)
    device = kind.device_of(points)
    links = [
        _take_per_image(array, argument, shapes.of_links[argument], "keypoints", device)
        for argument, array in of_links.items()
    ]
    mask = None if visible is None else _take_visible(visible, shapes.visible, device)
    result = allocator.result(shapes.per_link if per_link else shapes.lead)
    where = kind.where(points, threads(num_threads, shapes.num_images))
    operation = getattr(_core, name)
    operation(points, *links, mask, shapes.tree, result, per_link, where)
    return kind.finish([result], is_batch=shapes.lead != ())[0]


@dataclass(frozen=True, slots=True)
class PoseShapes:
    """What goes with the keypoints of given poses."""

    num_images: int
    lead: tuple[int, ...]  # (B,), or () for one image
    per_link: tuple[int, ...]
    visible: tuple[int, ...]
    of_links: dict[str, tuple[tuple[int, ...], ...]]  # the shapes that each array may have
    skeleton: Skeleton
    tree: _core.Tree


def pose_shapes(name: str, shape: tuple[int, ...], skeleton: Skeleton | str | None) -> PoseShapes:
    """Check the shape of keypoints and return what goes with it."""
    shape = tuple(shape)
    if len(shape) not in (2, 3) or shape[-1] not in _DIMENSIONS[name]:
        last = " or ".join(str(dimension) for dimension in _DIMENSIONS[name])
        raise ValueError(
            f"keypoints must have axes (B, J, D) or (J, D) with D of {last}, got shape {shape}"
        )
    lead, (J, D) = shape[:-2], shape[-2:]
    if J < 1:
        raise ValueError(f"keypoints must have J of at least 1, got shape {shape}")
    tree_skeleton = resolve_skeleton(skeleton, J)
    L = tree_skeleton.num_links
    return PoseShapes(
        num_images=lead[0] if lead else 1,
        lead=lead,
        per_link=(*lead, L),
        visible=(*lead, J),
        of_links={
            argument: _per_image_shapes(lead, (L, *of_link(D)))
            for argument, of_link in _OF_LINK.items()
        },
        skeleton=tree_skeleton,
        tree=tree_skeleton._tree,
    )


_cached_pose_shapes = functools.lru_cache(maxsize=256)(pose_shapes)


def shapes_of_pose(
    name: str, shape: tuple[int, ...], skeleton: Skeleton | str | None
) -> PoseShapes:
    """Return what :func:`pose_shapes` does, from a cache unless torch traces the call."""
    if skeleton is not None:
        check_skeleton(skeleton)  # others might be no key for a cache
    find = pose_shapes if is_compiling() else _cached_pose_shapes
    return find(name, shape, skeleton)


def _per_image_shapes(lead: tuple[int, ...], own: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that an argument may have of which there is one per image, or one."""
    return (lead + own, own) if lead else (own,)


def _take_per_image(
    array: Any, argument: str, shapes: tuple[tuple[int, ...], ...], first: str, device: str
) -> Any:
    """Return a floating argument of one of the shapes, beside the first one on its device."""
    taken, kind = take(array, argument, first, device)
    kind.check_floating(taken, argument)
    check_shape(taken.shape, argument, shapes)
    return taken


def check_shape(shape: tuple[int, ...], argument: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Raise unless the shape of an argument is one of those that it may have."""
    if shape not in shapes:
        rule = " or ".join(map(str, shapes))
        raise ValueError(f"{argument} must have shape {rule}, got {tuple(shape)}")


def _take_visible(visible: Any, shape: tuple[int, ...], device: str) -> Any:
    mask, kind = take(visible, "visible", "keypoints", device)
    if mask.dtype != kind.bool_:
        raise TypeError(f"visible must be bool, got {mask.dtype}")
    if tuple(mask.shape) != shape:
        raise ValueError(f"visible must have shape {shape}, got {tuple(mask.shape)}")
    return mask


def _checked_count(count: Any, values: Any, device: str) -> Any:
    counts, kind = take(count, "count", "values", device)
    integers = kind.integers(counts)
    if integers is None:
        raise TypeError(f"count must be integer, got {counts.dtype}")
    *shape, K = values.shape
    if tuple(integers.shape) != tuple(shape):
        raise ValueError(f"count must have shape {tuple(shape)}, got {tuple(integers.shape)}")
    if 0 not in shape and device == "cpu":  # a GPU would have to be waited for
        lowest, highest = int(integers.min()), int(integers.max())
        if lowest < 0 or highest > K:
            worst = lowest if lowest < 0 else highest
            raise ValueError(f"count must be between 0 and K = {K}, got {worst}")
    return kind.contiguous(integers, kind.int32)
