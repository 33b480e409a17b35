"""Every operation in plain NumPy: slow, readable, and the definition that the tests trust.

The functions at the end carry the names and keywords of the public ones. They take NumPy arrays
with a batch axis, already checked; their shapes and defaults are documented there. What they are
made of comes first, on one heatmap or one image, in the order of the paper [1]_: peaks, weights,
the log-likelihood of a link (Eq. 5), the scores of an image (Eq. 3), refinement (Eq. 6). Heatmaps
are compared in their own precision (half precision in float32); all arithmetic after that is
float64, and results are rounded once, at the end.

For one image, ``log_weights`` is a list with an array (n,) for each joint, the log-probabilities
of its n kept peaks; ``ell`` a list with an array (n_parent, n_child) for each link, in the order
of ``skeleton.links``. Index a runs over the parent's peaks and b over the child's.

References
----------
.. [1] Shukla et al., "VL4Pose: Active Learning Through Out-Of-Distribution Detection For Pose
   Estimation", BMVC 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from vl4pose.results import Analysis, Decoded, Peaks, Refined, Status
from vl4pose.skeleton import Skeleton, resolve_skeleton

Array: TypeAlias = npt.NDArray[Any]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Float64Array: TypeAlias = npt.NDArray[np.float64]
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IndexArray: TypeAlias = npt.NDArray[np.intp]
PerJoint: TypeAlias = Sequence[Float64Array]
PerLink: TypeAlias = Sequence[Float64Array]
Subpixel: TypeAlias = Literal["quarter", "centroid", "dark"]

LOG_2PI = np.log(2 * np.pi)
MAX_LENGTH = 1e6
MAX_LOG_VARIANCE = 20.0


class PeakOptions(TypedDict, total=False):
    """What makes a pixel a peak: the keywords of `peak_pixels` that every operation hands on."""

    min_distance: int
    threshold_abs: float | None
    threshold_rel: float | None
    exclude_border: int | bool


class PoseOptions(PeakOptions, total=False):
    """The keywords of `analyze` that `score` and `refine` hand on."""

    num_peaks: int
    temperature: float


# ------------------------------------------------------------------------------------------------
# Local maxima of one heatmap
# ------------------------------------------------------------------------------------------------


def window_maximum(heatmap: FloatArray, reach: int) -> FloatArray:
    """Return the maximum over the square window of 2 ``reach`` + 1 pixels around each pixel."""
    for axis, size in enumerate(heatmap.shape):
        n = min(reach, size)
        padding = [(n, n) if axis == padded else (0, 0) for padded in range(2)]
        padded_map = np.pad(heatmap, padding, constant_values=-np.inf)
        heatmap = np.lib.stride_tricks.sliding_window_view(padded_map, 2 * n + 1, axis).max(-1)
    return heatmap


def peak_threshold(
    heatmap: FloatArray, threshold_abs: float | None, threshold_rel: float | None
) -> np.floating[Any]:
    """Return the value that a peak must exceed, in the precision of the map.

    By default the map's minimum; ``threshold_rel`` can only raise it.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # 1e300 is inf in float32; 0 * -inf
        number: type[np.floating[Any]] = heatmap.dtype.type
        threshold = number(heatmap.min() if threshold_abs is None else threshold_abs)
        if threshold_rel is not None:
            threshold = max(threshold, number(threshold_rel) * number(heatmap.max()))
    return threshold


def peak_pixels(
    heatmap: FloatArray,
    *,
    num_peaks: int = 5,
    min_distance: int = 5,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    exclude_border: int | bool = 0,
) -> IndexArray:
    """Return the local maxima of one heatmap, highest first, exactly as scikit-image 0.26 does.

    Parameters
    ----------
    heatmap : (H, W) float32 or float64
        Without NaN or +inf; -inf is an ordinary value.

    Returns
    -------
    (n, 2) int
        Coordinates (x, y) of at most ``num_peaks`` peaks; none for a constant map of more than
        one pixel, or if all lie in the border or below the threshold.
    """
    height, width = heatmap.shape
    is_flag = isinstance(exclude_border, bool | np.bool_)
    border = min_distance * int(exclude_border) if is_flag else int(exclude_border)

    candidate = heatmap > peak_threshold(heatmap, threshold_abs, threshold_rel)
    candidate &= heatmap == window_maximum(heatmap, min_distance)
    if heatmap.size > 1 and heatmap.min() == heatmap.max():
        candidate[:] = False
    y, x = np.nonzero(candidate)
    highest_first = np.argsort(-heatmap[y, x], kind="stable")  # equal ones in row-major order
    y, x = y[highest_first], x[highest_first]
    # After the window test: a larger peak in the border still suppresses its neighbours.
    inside = (border <= y) & (y <= height - 1 - border) & (border <= x) & (x <= width - 1 - border)
    waiting = np.column_stack([x, y])[inside]
    kept: list[IndexArray] = []
    while len(waiting) > 0 and len(kept) < num_peaks:
        kept.append(waiting[0])
        distance = np.abs(waiting - waiting[0]).max(axis=-1)
        waiting = waiting[distance >= min_distance]  # equal peaks exactly that far apart both stay
    return np.array(kept, dtype=np.intp).reshape(-1, 2)


def highest_pixel(heatmap: FloatArray) -> IndexArray:
    """Return (x, y) of the maximum, the first in row-major order."""
    y, x = divmod(int(np.argmax(heatmap)), heatmap.shape[1])
    return np.array([x, y])


# ------------------------------------------------------------------------------------------------
# Weights of the peaks
# ------------------------------------------------------------------------------------------------


def log_peak_weights(values: FloatArray, temperature: float) -> Float64Array:
    """Return the log of the softmax of n >= 1 peak values over ``temperature``, (n,) float64.

    If all are -inf, the first peak has the weight 1.
    """
    v = values.astype(np.float64)
    if v.max() == -np.inf:
        return np.where(np.arange(len(v)) == 0, 0.0, -np.inf)
    with np.errstate(over="ignore"):  # far apart and cold: a weight of exactly 0
        scaled: Float64Array = (v - v.max()) / temperature
    return scaled - log_sum_exp(scaled)


def joint_log_weights(
    values: FloatArray, count: npt.NDArray[np.int32], temperature: float
) -> list[Float64Array]:
    """Return the log-weights of the first ``count`` (J,) of an image's peak values (J, K)."""
    return [log_peak_weights(v[:n], temperature) for v, n in zip(values, count, strict=True)]


def entropy(log_weights: Float64Array) -> float:
    """Return H = -sum_k p(k) log p(k), in nats; a peak of weight 0 adds nothing."""
    weights = np.exp(log_weights)
    return 0.0 - float(np.sum(weights * np.where(weights > 0, log_weights, 0.0)))


def log_sum_exp(terms: Float64Array, axis: int | None = None) -> Float64Array:
    """Return log sum exp(terms) without overflow, for terms that are not all -inf."""
    highest = terms.max(axis=axis, keepdims=True)
    total: Float64Array = highest + np.log(np.exp(terms - highest).sum(axis=axis, keepdims=True))
    return np.squeeze(total, axis=axis)


# ------------------------------------------------------------------------------------------------
# Log-likelihood of a link (Eq. 5)
# ------------------------------------------------------------------------------------------------


def link_log_likelihood(
    parent_xy: Float64Array, child_xy: Float64Array, length: Any, log_variance: Any
) -> Float64Array:
    """Return ell(u, v) = -1/2 (log(2 pi) + s + (r - d)^2 exp(-s)), Eq. 5.

    r = |u - v| is the distance from ``parent_xy`` (..., 2) to ``child_xy`` (..., 2) in pixels, d
    the expected ``length`` and s the ``log_variance``, both within their ranges (`clamp_params`).
    """
    # Not hypot: the root of an exact sum of squares makes equal distances equal, hence real ties.
    r = np.sqrt(((child_xy - parent_xy) ** 2).sum(axis=-1))
    ell: Float64Array = LOG_2PI + log_variance + (r - length) ** 2 * np.exp(-log_variance)
    return -0.5 * ell


def clamp_params(
    params: FloatArray, batch: int, dtype: npt.DTypeLike
) -> tuple[Float64Array, npt.NDArray[np.uint8]]:
    """Return params (B, L, 2) float64 within their ranges, and the status bits (B,) they cause.

    Params (L, 2) go for every image. They are rounded to ``dtype``, that of the results, first.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, hence NONFINITE_PARAMS
        rounded = params.astype(dtype).astype(np.float64)
    rounded = np.broadcast_to(rounded, (batch, *params.shape[-2:]))
    limits = np.array([MAX_LENGTH, MAX_LOG_VARIANCE])
    finite = np.isfinite(rounded).all(axis=-1)
    outside = (np.abs(rounded) > limits).any(axis=-1)
    status = np.zeros(batch, dtype=np.uint8)
    status[(finite & outside).any(axis=-1)] |= np.uint8(Status.CLAMPED_PARAMS)
    status[~finite.all(axis=-1)] |= np.uint8(Status.NONFINITE_PARAMS)
    return np.clip(rounded, -limits, limits), status


def sum_in_order(terms: Float64Array) -> Float64Array:
    """Return the sum over the last axis from left to right, which ``np.sum`` does not promise."""
    total = np.zeros(terms.shape[:-1])
    for k in range(terms.shape[-1]):
        total = total + terms[..., k]
    return total


# ------------------------------------------------------------------------------------------------
# Scores, refinement and posterior of one image, from the weights of its peaks and its links
# ------------------------------------------------------------------------------------------------


def expected_per_link(skeleton: Skeleton, log_weights: PerJoint, ell: PerLink) -> Float64Array:
    """Return sum_{a,b} p_parent(a) p_child(b) ell(a, b) of each link, (L,): the terms of Eq. 3.

    The joints are independent under the pose network, so that every other joint sums to one. The
    root's own term is a constant and left out.
    """
    p = [np.exp(log_weight) for log_weight in log_weights]
    terms = [
        sum_in_order(p[parent] * sum_in_order(p[child] * ell[link]))
        for link, (parent, child) in enumerate(skeleton.links)
    ]
    return np.array(terms, dtype=np.float64)


def links_from(skeleton: Skeleton, joint: int) -> list[tuple[int, int]]:
    """Return (link, child) for each link that starts at the joint, in the order of the links."""
    links = enumerate(skeleton.links)
    return [(link, child) for link, (parent, child) in links if parent == joint]


def root_first(skeleton: Skeleton) -> list[int]:
    """Return the joints in an order where children follow their parents."""
    joints = [skeleton.root]
    for joint in joints:  # which grows meanwhile, until the leaves are reached
        joints += [child for _, child in links_from(skeleton, joint)]
    return joints


def collect(
    skeleton: Skeleton,
    own: PerJoint,
    pair: PerLink,
    reduce: Callable[..., Any],
) -> tuple[list[Float64Array], list[Float64Array]]:
    """Carry terms from the leaves to the root.

    Every score but the expected one, and refinement, are this recursion with another ``reduce``
    over the child's peaks: maximum, log-sum-exp or sum. With ``own`` (n,) per joint and ``pair``
    (n_parent, n_child) per link::

        message_v(a) = reduce_b [pair_v(a, b) + node_v(b)]
        node_u(a)    = own_u(a) + sum over the children v of u of message_v(a)

    Returns
    -------
    node : list of (n,)
        One for each joint.
    message : list of (n_parent,)
        One for each link.
    """
    node = list(own)
    message: list[Float64Array] = [np.empty(0)] * skeleton.num_links
    for joint in reversed(root_first(skeleton)):
        for link, child in links_from(skeleton, joint):
            message[link] = reduce(pair[link] + node[child], axis=1)
            node[joint] = node[joint] + message[link]
    return node, message


def marginal(skeleton: Skeleton, log_weights: PerJoint, ell: PerLink) -> float:
    """Return log sum_Y p(Y) q(Y) over all poses Y: the marginal log-likelihood."""
    node, _ = collect(skeleton, log_weights, ell, log_sum_exp)
    return float(log_sum_exp(node[skeleton.root]))


def released_sum(skeleton: Skeleton, log_weights: PerJoint, ell: PerLink) -> float:
    """Return the total of the released scoring code's recursion, for comparison only.

    L_v(a) = sum_b [ell(a, b) + log p_v(b) + sum_w L_w(b)] and the total is
    sum_a [log p_root(a) + sum_v L_v(a)]: no expectation, for it grows with the number of poses.
    """
    node, _ = collect(skeleton, log_weights, ell, np.sum)
    return float(np.sum(node[skeleton.root]))


def viterbi(skeleton: Skeleton, own: PerJoint, pair: PerLink) -> npt.NDArray[np.int32]:
    """Return the peak of each joint (J,) in the pose with the greatest sum of own and pair terms.

    Exact max-product, from the leaves to the root and back; ties go to the lower index.
    """
    node, _ = collect(skeleton, own, pair, np.max)
    chosen = np.zeros(skeleton.num_joints, dtype=np.int32)
    chosen[skeleton.root] = np.argmax(node[skeleton.root])
    for joint in root_first(skeleton):
        for link, child in links_from(skeleton, joint):
            chosen[child] = np.argmax(pair[link][chosen[joint]] + node[child])
    return chosen


def best_pose(
    skeleton: Skeleton,
    log_weights: PerJoint,
    ell: PerLink,
    objective: Literal["map", "eq6"],
) -> npt.NDArray[np.int32]:
    """Return the peak index of each joint (J,) in the refined pose.

    "map" maximises log p(Y) + log q(Y). "eq6" maximises Eq. 6 as printed, the sum over links of
    p_child(b) ell(a, b): the root's own term is left out, and where ell < 0 an unlikely peak wins.
    """
    if objective == "map":
        return viterbi(skeleton, log_weights, ell)
    nothing = [np.zeros(len(log_weight)) for log_weight in log_weights]
    weighted = [
        np.exp(log_weights[child]) * ell[link] for link, (_, child) in enumerate(skeleton.links)
    ]
    return viterbi(skeleton, nothing, weighted)


def pose_log_prob(
    skeleton: Skeleton,
    log_weights: PerJoint,
    ell: PerLink,
    chosen: npt.NDArray[np.int32],
) -> float:
    """Return log p(Y) + log q(Y) of the pose made of the peaks ``chosen`` (J,)."""
    root = skeleton.root
    total = float(log_weights[root][chosen[root]])
    for link, (parent, child) in enumerate(skeleton.links):
        a, b = chosen[parent], chosen[child]
        total += float(log_weights[child][b] + ell[link][a, b])
    return total


def posterior(skeleton: Skeleton, log_weights: PerJoint, ell: PerLink) -> list[Float64Array]:
    """Return the probability of each peak given all heatmaps and the skeleton, (n,) per joint.

    The sum of p(Y) q(Y) over the poses through that peak, divided by that over all poses: belief
    propagation, up the tree and down again.
    """
    inside, message = collect(skeleton, log_weights, ell, log_sum_exp)
    outside: list[Float64Array] = [np.zeros(len(log_weight)) for log_weight in log_weights]
    for joint in root_first(skeleton):
        for link, child in links_from(skeleton, joint):
            # What the joint knows from everywhere but this child. Added up anew, for subtracting
            # the child's message from the whole would cancel.
            known = log_weights[joint] + outside[joint]
            for sibling, _ in links_from(skeleton, joint):
                if sibling != link:
                    known = known + message[sibling]
            outside[child] = log_sum_exp(known[:, None] + ell[link], axis=0)
    belief = [below + above for below, above in zip(inside, outside, strict=True)]
    share = [np.exp(log_p - log_p.max()) for log_p in belief]
    return [p / p.sum() for p in share]


# ------------------------------------------------------------------------------------------------
# Sub-pixel steps from one pixel of one heatmap
# ------------------------------------------------------------------------------------------------


def refine_subpixel(heatmap: FloatArray, xy: IndexArray, subpixel: Subpixel | None) -> Float64Array:
    """Return pixel (x, y) after its sub-pixel step, (2,) float64."""
    x, y = (int(coordinate) for coordinate in xy)
    if subpixel is None:
        step = np.zeros(2)
    elif subpixel == "quarter":
        step = quarter_step(heatmap, x, y)
    elif subpixel == "centroid":
        step = centroid_step(heatmap, x, y)
    else:
        step = dark_step(heatmap, x, y)
    return xy + step


def quarter_step(heatmap: FloatArray, x: int, y: int) -> Float64Array:
    """Return a quarter pixel towards the higher neighbour on each axis; 0 at the border."""

    def towards_higher(line: FloatArray, i: int) -> float:
        if not 0 < i < len(line) - 1:
            return 0.0
        before, after = line[i - 1], line[i + 1]
        # Not the sign of a difference, which is NaN between two -inf.
        return 0.25 * (float(after > before) - float(after < before))

    return np.array([towards_higher(heatmap[y], x), towards_higher(heatmap[:, x], y)])


def centroid_step(heatmap: FloatArray, x: int, y: int) -> Float64Array:
    """Return the way to the mean of the 5 x 5 pixels around, weighted by max(h, 0).

    The window is clipped at the border. No step where all weights are 0.
    """
    top, left = max(y - 2, 0), max(x - 2, 0)
    weights = np.maximum(heatmap[top : y + 3, left : x + 3].astype(np.float64), 0.0)
    if weights.max() == 0:
        return np.zeros(2)
    weights /= weights.max()  # so that no sum of theirs overflows
    dy, dx = np.indices(weights.shape) + np.array([top - y, left - x])[:, None, None]
    mean: Float64Array = np.array([(weights * dx).sum(), (weights * dy).sum()]) / weights.sum()
    return mean


def dark_step(heatmap: FloatArray, x: int, y: int) -> Float64Array:
    """Return one Newton step towards the maximum of the log of the smoothed map.

    No step within two pixels of the border, where the Hessian is singular, or where the step would
    be longer than a pixel.
    """
    height, width = heatmap.shape
    no_step = np.zeros(2)
    if not (1 < x < width - 2 and 1 < y < height - 2):
        return no_step
    log_h = np.log(np.maximum(gaussian_blur(heatmap), 1e-10))

    def h(dx: int, dy: int) -> float:
        return float(log_h[y + dy, x + dx])

    h_x = (h(1, 0) - h(-1, 0)) / 2
    h_y = (h(0, 1) - h(0, -1)) / 2
    h_xx = (h(2, 0) - 2 * h(0, 0) + h(-2, 0)) / 4
    h_yy = (h(0, 2) - 2 * h(0, 0) + h(0, -2)) / 4
    h_xy = ((h(1, 1) - h(1, -1)) - (h(-1, 1) - h(-1, -1))) / 4  # 0 on a ridge, however rounded
    determinant = h_xx * h_yy - h_xy**2
    if determinant == 0:
        return no_step
    step: Float64Array = -np.array([h_yy * h_x - h_xy * h_y, h_xx * h_y - h_xy * h_x]) / determinant
    return step if np.hypot(*step) <= 1 else no_step


def gaussian_blur(heatmap: FloatArray) -> Float64Array:
    """Return the map smoothed by a normalised Gaussian, 11 pixels wide, sigma 2, zero outside."""
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 2.0) ** 2)
    kernel /= kernel.sum()
    blurred = heatmap.astype(np.float64)
    for axis in range(2):
        padding = [(5, 5) if axis == padded else (0, 0) for padded in range(2)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(blurred, padding), 11, axis)
        blurred = (windows * kernel).sum(axis=-1)
    return blurred


# ------------------------------------------------------------------------------------------------
# The public operations, on batches
# ------------------------------------------------------------------------------------------------


def widen(array: FloatArray) -> FloatArray:
    """Return the array in the precision of the results: float64 stays, all else is float32."""
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32)


def without_nan_or_inf(heatmaps: FloatArray) -> BoolArray:
    """Return which images (B,) have neither NaN nor +inf in any map."""
    valid: BoolArray = np.all(heatmaps < np.inf, axis=(1, 2, 3))  # NaN is not below inf
    return valid


def peaks_and_fallback(
    heatmaps: FloatArray, num_peaks: int, options: PeakOptions
) -> tuple[Peaks[Array], BoolArray]:
    """Return the peaks of all maps, and whether an image (B,) has a map without a peak."""
    batch, joints = heatmaps.shape[:2]
    valid = without_nan_or_inf(heatmaps)
    xy = np.full((batch, joints, num_peaks, 2), -1, dtype=heatmaps.dtype)
    values = np.full((batch, joints, num_peaks), -np.inf, dtype=heatmaps.dtype)
    values[~valid] = np.nan
    count = np.zeros((batch, joints), dtype=np.int32)
    fallback = np.zeros(batch, dtype=np.bool_)
    for image in np.flatnonzero(valid):
        for joint, heatmap in enumerate(heatmaps[image]):
            pixels = peak_pixels(heatmap, num_peaks=num_peaks, **options)
            if len(pixels) == 0:
                pixels = highest_pixel(heatmap)[None]
                fallback[image] = True
            n = len(pixels)
            xy[image, joint, :n] = pixels
            values[image, joint, :n] = heatmap[pixels[:, 1], pixels[:, 0]]
            count[image, joint] = n
    return Peaks(xy, values, count), fallback


def local_maxima(
    heatmaps: FloatArray, *, num_peaks: int = 5, **peak_options: Unpack[PeakOptions]
) -> Peaks[Array]:
    """Return the highest ``num_peaks`` local maxima of every map; its maximum if it has none."""
    return peaks_and_fallback(widen(heatmaps), num_peaks, peak_options)[0]


def peak_weights(
    values: FloatArray, *, count: npt.NDArray[np.int32] | None = None, temperature: float = 1.0
) -> FloatArray:
    """Return the softmax of the used slots of every row of ``values`` (..., K) over temperature.

    Used are the first ``count`` (...) slots of a row, or without ``count`` those above -inf; the
    others get 0. A row with NaN or +inf anywhere is NaN.
    """
    values = widen(values)
    weights = np.zeros_like(values)
    for row in np.ndindex(values.shape[:-1]):
        if np.isnan(values[row]).any() or np.isposinf(values[row]).any():
            weights[row] = np.nan
            continue
        slots = np.arange(values.shape[-1])
        used = values[row] > -np.inf if count is None else slots < count[row]
        if used.any():
            weights[row][used] = np.exp(log_peak_weights(values[row][used], temperature))
    return weights


def multi_peak_entropy(
    heatmaps: FloatArray,
    *,
    num_peaks: int = 5,
    temperature: float = 1.0,
    **peak_options: Unpack[PeakOptions],
) -> FloatArray:
    """Return the sum over joints of the entropy of their peak weights, (B,) (Liu and Ferrari)."""
    peaks = local_maxima(heatmaps, num_peaks=num_peaks, **peak_options)
    result = np.full(len(heatmaps), np.nan, dtype=peaks.values.dtype)
    for image in np.flatnonzero(without_nan_or_inf(heatmaps)):
        log_weights = joint_log_weights(peaks.values[image], peaks.count[image], temperature)
        result[image] = sum_in_order(np.array([entropy(log_weight) for log_weight in log_weights]))
    return result


def decode(heatmaps: FloatArray, *, subpixel: Subpixel | None = None) -> Decoded[Array]:
    """Return the highest pixel of every map and its value."""
    heatmaps = widen(heatmaps)
    keypoints = np.full((*heatmaps.shape[:2], 2), np.nan, dtype=heatmaps.dtype)
    confidence = np.full(heatmaps.shape[:2], np.nan, dtype=heatmaps.dtype)
    for image in np.flatnonzero(without_nan_or_inf(heatmaps)):
        for joint, heatmap in enumerate(heatmaps[image]):
            x, y = xy = highest_pixel(heatmap)
            keypoints[image, joint] = refine_subpixel(heatmap, xy, subpixel)
            confidence[image, joint] = heatmap[y, x]
    return Decoded(keypoints, confidence)


@np.errstate(over="ignore")  # -inf is right where "sum" or an unlikely peak is beyond the range
def analyze(
    heatmaps: FloatArray,
    params: FloatArray,
    *,
    skeleton: Skeleton | str | None = None,
    method: Literal["expected", "max", "marginal", "sum"] = "expected",
    objective: Literal["map", "eq6"] = "map",
    subpixel: Subpixel | None = None,
    num_peaks: int = 5,
    temperature: float = 1.0,
    **peak_options: Unpack[PeakOptions],
) -> Analysis[Array]:
    """Return everything that can be said about each image; NaN where its input forbids it."""
    heatmaps = widen(heatmaps)
    batch, joints = heatmaps.shape[:2]
    skeleton = resolve_skeleton(skeleton, joints)
    dtype = heatmaps.dtype
    valid = without_nan_or_inf(heatmaps)
    links, status = clamp_params(params, batch, dtype)
    peaks, fallback = peaks_and_fallback(heatmaps, num_peaks, peak_options)
    decoded = decode(heatmaps, subpixel=subpixel)
    status[fallback] |= np.uint8(Status.PEAK_FALLBACK)
    status[~valid] |= np.uint8(Status.NONFINITE_HEATMAP)

    def unknown(*shape: int) -> FloatArray:
        return np.full((batch, *shape), np.nan, dtype=dtype)

    result = Analysis(
        score=unknown(),
        per_link=unknown(skeleton.num_links),
        entropy=unknown(joints),
        posterior=unknown(joints, num_peaks),
        keypoints=decoded.keypoints,
        confidence=decoded.confidence,
        refined=Refined(
            keypoints=unknown(joints, 2),
            peak_index=np.full((batch, joints), -1, dtype=np.int32),
            changed=np.zeros((batch, joints), dtype=np.bool_),
            log_prob=unknown(),
        ),
        peaks=peaks,
        status=status,
    )
    for image in np.flatnonzero(valid):
        log_weights = joint_log_weights(peaks.values[image], peaks.count[image], temperature)
        result.entropy[image] = [entropy(log_weight) for log_weight in log_weights]
        if status[image] & Status.NONFINITE_PARAMS:
            continue

        pixels = [xy[:n] for xy, n in zip(peaks.xy[image], peaks.count[image], strict=True)]
        xy = [pixel.astype(np.float64) for pixel in pixels]
        ell = [
            link_log_likelihood(xy[parent][:, None], xy[child], *links[image, link])
            for link, (parent, child) in enumerate(skeleton.links)
        ]
        per_link = expected_per_link(skeleton, log_weights, ell)
        chosen = best_pose(skeleton, log_weights, ell, objective)
        match method:
            case "expected":
                score = float(sum_in_order(per_link))
            case "max":
                most_likely = best_pose(skeleton, log_weights, ell, "map")
                score = pose_log_prob(skeleton, log_weights, ell, most_likely)
            case "marginal":
                score = marginal(skeleton, log_weights, ell)
            case "sum":
                score = released_sum(skeleton, log_weights, ell)
        result.score[image] = score
        result.per_link[image] = per_link
        result.posterior[image] = 0
        for joint, probability in enumerate(posterior(skeleton, log_weights, ell)):
            result.posterior[image, joint, : len(probability)] = probability
            result.refined.keypoints[image, joint] = refine_subpixel(
                heatmaps[image, joint], pixels[joint][chosen[joint]], subpixel
            )
        result.refined.peak_index[image] = chosen
        result.refined.changed[image] = chosen != 0
        result.refined.log_prob[image] = pose_log_prob(skeleton, log_weights, ell, chosen)
    return result


def score(
    heatmaps: FloatArray,
    params: FloatArray,
    *,
    skeleton: Skeleton | str | None = None,
    method: Literal["expected", "max", "marginal", "sum"] = "expected",
    **options: Unpack[PoseOptions],
) -> FloatArray:
    """Return the score of every image, (B,): low means out of distribution, so annotate.

    By ``method``, the sum over links of `expected_per_link` (Eq. 3), the maximum over poses of
    log p + log q, `marginal`, or `released_sum`. All agree when every joint has one peak.
    """
    return analyze(heatmaps, params, skeleton=skeleton, method=method, **options).score


def refine(
    heatmaps: FloatArray,
    params: FloatArray,
    *,
    skeleton: Skeleton | str | None = None,
    objective: Literal["map", "eq6"] = "map",
    subpixel: Subpixel | None = None,
    **options: Unpack[PoseOptions],
) -> Refined[Array]:
    """Return the best pose of every image among its peaks (Eq. 6, `best_pose`)."""
    result = analyze(
        heatmaps, params, skeleton=skeleton, objective=objective, subpixel=subpixel, **options
    )
    return result.refined


def pose_log_likelihood(
    keypoints: FloatArray,
    params: FloatArray,
    *,
    skeleton: Skeleton | str | None = None,
    visible: BoolArray | None = None,
    per_link: bool = False,
) -> FloatArray:
    """Return the log-likelihood of one pose (B, J, 2) for each image: the sum of ell (Eq. 5).

    A link counts where both its joints are visible; the coordinates of the others are never read.
    """
    keypoints = widen(keypoints)
    links, status = clamp_params(params, len(keypoints), keypoints.dtype)
    parent, child, counted = link_ends(keypoints, skeleton, visible)
    ell = link_log_likelihood(parent, child, links[..., 0], links[..., 1])
    ell = np.where(counted, ell, 0.0)
    ell[(status & Status.NONFINITE_PARAMS) > 0] = np.nan
    return (ell if per_link else sum_in_order(ell)).astype(keypoints.dtype)


def offset_log_likelihood(
    keypoints: FloatArray,
    offsets: FloatArray,
    scale_tril: FloatArray,
    *,
    skeleton: Skeleton | str | None = None,
    visible: BoolArray | None = None,
    per_link: bool = False,
) -> FloatArray:
    """Return the log-likelihood of one pose (B, J, D) under Gaussian offsets along the links.

    With the offset o (D,) and the Cholesky factor T of the covariance (D, D) of each link, Eq. 4::

        ell = -1/2 (D log(2 pi) + 2 sum log diag T + |T^-1 (y_child - y_parent - o)|^2)

    ``offsets`` (B, L, D) or (L, D) and ``scale_tril`` (B, L, D, D) or (L, D, D), of which only the
    lower triangle is read. A link counts where both its joints are visible. One whose diagonal is
    not positive is NaN; NaN or inf in offsets or factors makes the whole image NaN.
    """
    keypoints = widen(keypoints)
    parent, child, counted = link_ends(keypoints, skeleton, visible)
    B, L, D = parent.shape
    o = np.broadcast_to(offsets.astype(keypoints.dtype).astype(np.float64), (B, L, D))
    T = np.tril(scale_tril.astype(keypoints.dtype).astype(np.float64))
    T = np.broadcast_to(T, (B, L, D, D))
    finite: BoolArray = np.all(np.isfinite(o), axis=(1, 2)) & np.all(np.isfinite(T), axis=(1, 2, 3))
    T = np.where(finite[:, None, None, None], T, np.nan)
    diagonal = np.diagonal(T, axis1=-2, axis2=-1)
    diagonal = np.where(diagonal > 0, diagonal, np.nan)

    residual = child - parent - o
    whitened = np.zeros((B, L, D))  # T^-1 residual, by forward substitution
    for i in range(D):
        known = (T[..., i, :i] * whitened[..., :i]).sum(axis=-1)
        whitened[..., i] = (residual[..., i] - known) / diagonal[..., i]
    log_determinant = 2 * np.log(diagonal).sum(axis=-1)
    ell = -0.5 * (D * LOG_2PI + log_determinant + (whitened**2).sum(axis=-1))
    ell = np.where(counted, ell, 0.0)
    ell[~finite] = np.nan
    return (ell if per_link else sum_in_order(ell)).astype(keypoints.dtype)


def link_ends(
    keypoints: FloatArray, skeleton: Skeleton | str | None, visible: BoolArray | None
) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Return parent and child coordinates (B, L, D) in float64, and which links (B, L) count."""
    if visible is None:
        visible = np.ones(keypoints.shape[:2], dtype=np.bool_)
    read = np.where(visible[..., None], keypoints.astype(np.float64), 0.0)
    tree = resolve_skeleton(skeleton, keypoints.shape[1])
    links = np.array(tree.links, dtype=np.intp).reshape(-1, 2)
    parent, child = links.T
    return read[:, parent], read[:, child], visible[:, parent] & visible[:, child]


# ------------------------------------------------------------------------------------------------
# Rows that lie far from each other
# ------------------------------------------------------------------------------------------------


def squared_distances(rows: FloatArray, center: FloatArray) -> Float64Array:
    """Return the squared distance of each row (N, D) from a point (D,).

    The square of column d goes to sum d % 16, and the sums are added up by halves.
    """
    squares = (rows.astype(np.float64) - center.astype(np.float64)) ** 2
    sums = np.zeros((len(rows), 16))
    for column in range(squares.shape[1]):
        sums[:, column % 16] += squares[:, column]
    for half in (8, 4, 2, 1):
        sums = sums[:, :half] + sums[:, half:]
    return sums[:, 0]


def k_centre(
    embeddings: FloatArray,
    num_centres: int,
    *,
    labelled: FloatArray | None = None,
    first: int = 0,
    min_separation: float = 0.0,
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return the rows that the greedy choice takes, and how far each was from those before."""
    embeddings = widen(embeddings)
    nearest = np.full(len(embeddings), np.inf)
    for center in () if labelled is None else labelled.astype(embeddings.dtype):
        nearest = np.minimum(nearest, squared_distances(embeddings, center))
    indices, distances = list[int](), list[float]()
    while len(indices) < num_centres:
        is_start = labelled is None or len(labelled) == 0
        row = first if is_start and not indices else int(nearest.argmax())
        if not np.sqrt(nearest[row]) > min_separation:
            break
        indices.append(row)
        distances.append(np.sqrt(nearest[row]))
        nearest = np.minimum(nearest, squared_distances(embeddings, embeddings[row]))
    return np.array(indices, np.int64), np.array(distances, embeddings.dtype)
