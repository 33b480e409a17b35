"""What people run today for the same results, written as well as each library allows.

Every competitor is a way to find peaks (scikit-image, SciPy, OpenCV, torch) followed by the same
vectorised mathematics, which is written once for NumPy and torch alike. The released algorithm is
another: it recurses in Python over all peaks of all joints.

Where they do less than ours: only scikit-image keeps equal peaks apart (the others keep all pixels
of a plateau, and torch does not order equal values), so results differ in images where two peaks of
a map tie. They know no fallback for a map without a peak, no NaN rule, no bounds on params.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.ndimage import maximum_filter
from scipy.special import softmax
from skimage.feature import peak_local_max
from torch.nn import functional

try:
    import cv2
except ModuleNotFoundError:  # which competitors on tensors do without
    cv2 = None

Array: TypeAlias = Any  # np.ndarray or torch.Tensor: the functions below take either
Links: TypeAlias = tuple[tuple[int, int], ...]  # (parent, child), a child's own links after it
Found: TypeAlias = tuple[Array, Array]  # xy (B, J, K, 2) and values (B, J, K)

LOG_2PI = math.log(2 * math.pi)


def namespace(array: Array) -> Any:
    """Return the module whose functions take ``array``: torch or NumPy."""
    return torch if isinstance(array, torch.Tensor) else np


def arange(like: Array, size: int) -> Array:
    """Return the numbers below a size, on the device of an array."""
    if isinstance(like, torch.Tensor):
        return torch.arange(size, device=like.device)
    return np.arange(size)


# ------------------------------------------------------------------------------------------------
# Peaks: xy (B, J, K, 2) and values (B, J, K), highest first; unused slots -1 and -inf
# ------------------------------------------------------------------------------------------------


def scikit_image_peaks(heatmaps: np.ndarray, min_distance: int, num_peaks: int) -> Found:
    """Find peaks map by map with peak_local_max, which is what ours is defined by."""
    heatmaps = heatmaps.astype(np.float32, copy=False)
    xy = np.full((*heatmaps.shape[:2], num_peaks, 2), -1, np.float32)
    values = np.full((*heatmaps.shape[:2], num_peaks), -np.inf, np.float32)
    for i in np.ndindex(heatmaps.shape[:2]):
        found = peak_local_max(
            heatmaps[i], min_distance=min_distance, num_peaks=num_peaks, exclude_border=False
        )
        xy[i][: len(found)] = found[:, ::-1]
        values[i][: len(found)] = heatmaps[i][tuple(found.T)]
    return xy, values


def scipy_peaks(heatmaps: np.ndarray, min_distance: int, num_peaks: int) -> Found:
    """Find peaks with maximum_filter over the whole batch."""
    heatmaps = heatmaps.astype(np.float32, copy=False)
    window = 2 * min_distance + 1
    highest = maximum_filter(heatmaps, size=(1, 1, window, window), mode="nearest")
    return _highest_candidates(heatmaps, highest, num_peaks)


def opencv_peaks(heatmaps: np.ndarray, min_distance: int, num_peaks: int) -> Found:
    """Find peaks with a grey dilation of every map."""
    heatmaps = heatmaps.astype(np.float32, copy=False)
    window = np.ones((2 * min_distance + 1, 2 * min_distance + 1), np.uint8)
    highest = np.empty_like(heatmaps)
    for i in np.ndindex(heatmaps.shape[:2]):
        cv2.dilate(heatmaps[i], window, dst=highest[i])
    return _highest_candidates(heatmaps, highest, num_peaks)


def _highest_candidates(heatmaps: np.ndarray, highest: np.ndarray, num_peaks: int) -> Found:
    batch, joints, height, width = heatmaps.shape
    lowest = heatmaps.min(axis=(2, 3), keepdims=True)
    index = np.flatnonzero((heatmaps == highest) & (heatmaps > lowest))
    values = heatmaps.ravel()[index]
    order = np.lexsort((-values, index // (height * width)))
    index, values = index[order], values[order]
    which_map, pixel = np.divmod(index, height * width)
    first_of_map = np.searchsorted(which_map, np.arange(batch * joints))
    rank = np.arange(len(index)) - first_of_map[which_map]
    kept = rank < num_peaks

    xy_of_map = np.full((batch * joints, num_peaks, 2), -1, np.float32)
    values_of_map = np.full((batch * joints, num_peaks), -np.inf, np.float32)
    slot = which_map[kept], rank[kept]
    xy_of_map[slot] = np.stack([pixel[kept] % width, pixel[kept] // width], axis=-1)
    values_of_map[slot] = values[kept]
    return (
        xy_of_map.reshape(batch, joints, num_peaks, 2),
        values_of_map.reshape(batch, joints, num_peaks),
    )


def torch_peaks(heatmaps: torch.Tensor, min_distance: int, num_peaks: int) -> Found:
    """Find peaks with max_pool2d as code in the wild has it: a square window."""
    heatmaps = heatmaps.float()
    window = 2 * min_distance + 1
    highest = functional.max_pool2d(heatmaps, window, stride=1, padding=min_distance)
    return _topk_candidates(heatmaps, highest, num_peaks)


def torch_separable_peaks(heatmaps: torch.Tensor, min_distance: int, num_peaks: int) -> Found:
    """Find peaks with max_pool2d along rows, then columns: the same maximum for less work."""
    heatmaps = heatmaps.float()
    d, window = min_distance, 2 * min_distance + 1
    highest = functional.max_pool2d(heatmaps, (1, window), stride=1, padding=(0, d))
    highest = functional.max_pool2d(highest, (window, 1), stride=1, padding=(d, 0))
    return _topk_candidates(heatmaps, highest, num_peaks)


def torch_strip_peaks(heatmaps: torch.Tensor, min_distance: int, num_peaks: int) -> Found:
    """Find peaks as BlockedScore does, in all maps at once."""
    framed = functional.pad(heatmaps.float(), [min_distance] * 4, value=-torch.inf)
    highest = framed_window_maximum(framed, min_distance)
    return framed_peaks(framed, highest, min_distance, num_peaks)


def _topk_candidates(heatmaps: torch.Tensor, highest: torch.Tensor, num_peaks: int) -> Found:
    width = heatmaps.shape[3]
    candidate = (heatmaps == highest) & (heatmaps > heatmaps.amin((2, 3), keepdim=True))
    values, index = torch.where(candidate, heatmaps, -torch.inf).flatten(2).topk(num_peaks)
    xy = torch.stack([index % width, index // width], -1).float()
    used = values > -torch.inf
    return torch.where(used[..., None], xy, -1.0), values


class BlockedScore:
    """The expected score, as fast as we could make it with torch.compile.

    A few images at a time stay in the cache. The maximum over a window is made of maxima of shifted
    slices whose width doubles, along rows, then columns; a frame of -inf around the maps spares
    the slices the masks of a padding, which would take twice as long. topk on whole maps would
    take half of the time: it gets the highest candidate of each strip down a column that is too
    short for two peaks. Weights and scores are computed at the end, for all images at once.

    Attributes
    ----------
    images_at_once : int
        A divisor of every batch.
    """

    def __init__(
        self, min_distance: int, num_peaks: int, links: Links, *, images_at_once: int
    ) -> None:
        self.images_at_once = images_at_once
        self.min_distance = min_distance
        self.num_peaks = num_peaks
        self.links = links
        compiled = functools.partial(torch.compile, fullgraph=True)
        self._window_maximum = compiled(self._window_maximum, dynamic=False)
        self._peaks = compiled(self._peaks, dynamic=False)
        self._score = compiled(self._score)
        self._framed: torch.Tensor | None = None

    def __call__(self, heatmaps: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """Return the score (B,) of float32 heatmaps; the first call for a size compiles."""
        d, at_once = self.min_distance, self.images_at_once
        batch, joints, height, width = heatmaps.shape
        if self._framed is None:
            self._framed = torch.full((at_once, joints, height + 2 * d, width + 2 * d), -torch.inf)
        inside = inside_frame(self._framed, d)
        xy = torch.empty(batch, joints, self.num_peaks, 2)
        values = torch.empty(batch, joints, self.num_peaks)
        for begin in range(0, batch, at_once):
            some = slice(begin, begin + at_once)
            inside.copy_(heatmaps[some])
            highest = self._window_maximum(self._framed)
            xy[some], values[some] = self._peaks(self._framed, highest)
        return self._score(xy, values, params)

    def _window_maximum(self, framed: torch.Tensor) -> torch.Tensor:
        return framed_window_maximum(framed, self.min_distance)

    def _peaks(self, framed: torch.Tensor, highest: torch.Tensor) -> Found:
        return framed_peaks(framed, highest, self.min_distance, self.num_peaks)

    def _score(self, xy: torch.Tensor, values: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        return score(xy, values, params, self.links, "expected")


def inside_frame(framed: torch.Tensor, d: int) -> torch.Tensor:
    """Return maps without their frame."""
    return framed[:, :, d:-d, d:-d]


def framed_window_maximum(framed: torch.Tensor, d: int) -> torch.Tensor:
    """Return the maximum of the window around each pixel of maps in a frame of d pixels."""
    for axis in (3, 2):
        window, reached = 2 * d + 1, 1
        size = framed.shape[axis] - window + 1
        while 2 * reached <= window:
            rest = framed.shape[axis] - reached
            framed = torch.maximum(framed.narrow(axis, 0, rest), framed.narrow(axis, reached, rest))
            reached *= 2
        framed = torch.maximum(
            framed.narrow(axis, 0, size), framed.narrow(axis, window - reached, size)
        )
    return framed


def framed_peaks(framed: torch.Tensor, highest: torch.Tensor, d: int, num_peaks: int) -> Found:
    """Find the peaks of maps in a frame, given the maxima of the windows."""
    heatmaps = inside_frame(framed, d)
    height, width = heatmaps.shape[2:]
    candidate = (heatmaps == highest) & (heatmaps > heatmaps.amin((2, 3), keepdim=True))
    rows = max(n for n in range(1, d + 2) if height % n == 0)
    strips = (height // rows, rows)
    value = torch.where(candidate, heatmaps, -torch.inf).unflatten(2, strips).amax(3)
    own_row = torch.arange(height, dtype=torch.float32, device=framed.device)[:, None]
    y_of_strip = torch.where(candidate, own_row, -1.0).unflatten(2, strips).amax(3)
    values, index = value.flatten(2).topk(num_peaks)
    x, y = (index % width).float(), y_of_strip.flatten(2).gather(2, index)
    used = values > -torch.inf
    return torch.where(used[..., None], torch.stack([x, y], -1), -1.0), values


# ------------------------------------------------------------------------------------------------
# From peaks to scores, for NumPy and torch
# ------------------------------------------------------------------------------------------------


def log_weights(values: Array) -> Array:
    """Return the log of the softmax over the last axis."""
    xp = namespace(values)
    values = values - xp.amax(values, -1)[..., None]
    return values - xp.log(xp.sum(xp.exp(values), -1))[..., None]


def logsumexp(terms: Array, axis: int) -> Array:
    """Return log sum exp(terms) along one axis, without overflow."""
    if isinstance(terms, torch.Tensor):
        return torch.logsumexp(terms, axis)
    highest = terms.max(axis, keepdims=True)  # a third of the time of scipy.special.logsumexp
    return (highest + np.log(np.exp(terms - highest).sum(axis, keepdims=True))).squeeze(axis)


def entropy(log_p: Array) -> Array:
    """Return -sum p log p over the last axis."""
    xp = namespace(log_p)
    return -xp.sum(xp.exp(log_p) * xp.where(log_p > -math.inf, log_p, 0.0), -1)


def link_log_likelihood(xy: Array, params: Array, links: Links) -> Array:
    """Return ell (B, L, K, K) of every pair of a parent's and a child's peaks (Eq. 5)."""
    xp = namespace(xy)
    parents, children = _ends(xy, links)
    way = parents[:, :, :, None] - children[:, :, None]
    r = xp.sqrt(xp.sum(way * way, -1))
    d, s = params[:, :, 0][..., None, None], params[:, :, 1][..., None, None]
    return -0.5 * (LOG_2PI + s + (r - d) ** 2 * xp.exp(-s))


def _ends(of_joints: Array, links: Links) -> tuple[Array, Array]:
    """Return what each link's parent and child have, of what the joints have, (B, J, ...)."""
    parents, children = zip(*links, strict=True)
    if isinstance(of_joints, torch.Tensor):  # a list of places would have a GPU waited for
        return tuple(
            torch.stack([of_joints[:, j] for j in ends], 1) for ends in (parents, children)
        )
    return of_joints[:, parents], of_joints[:, children]


def expected_per_link(log_p: Array, ell: Array, links: Links) -> Array:
    """Return each link's term of Eq. 3, (B, L)."""
    xp = namespace(ell)
    parents, children = _ends(xp.exp(log_p), links)
    return xp.sum(parents[:, :, :, None] * children[:, :, None] * ell, (2, 3))


def collect(
    log_p: Array, ell: Array, links: Links, reduce: Callable[[Array, int], Array]
) -> tuple[list[Array], list[Array]]:
    """Carry terms from the leaves to the root: those of each joint, and each link's message."""
    node = [log_p[:, joint] for joint in range(log_p.shape[1])]
    message = [node[0]] * len(links)
    for link in reversed(range(len(links))):
        parent, child = links[link]
        message[link] = reduce(ell[:, link] + node[child][:, None], -1)
        node[parent] = node[parent] + message[link]
    return node, message


def score(xy: Array, values: Array, params: Array, links: Links, method: str) -> Array:
    """Return the score (B,) by any method; "sum" as a recurrence, no longer exponential.

    "sum" needs every slot in use.
    """
    xp = namespace(values)
    log_p = log_weights(values)
    ell = link_log_likelihood(xy, params, links)
    if method == "expected":
        return xp.sum(expected_per_link(log_p, ell, links), -1)
    reduce = {"max": xp.amax, "marginal": logsumexp, "sum": xp.sum}[method]
    node, _ = collect(log_p, ell, links, reduce)
    return reduce(node[links[0][0]], -1)


def multi_peak_entropy(values: Array) -> Array:
    """Return Multi-Peak Entropy (B,)."""
    return namespace(values).sum(entropy(log_weights(values)), -1)


def viterbi(log_p: Array, ell: Array, links: Links) -> tuple[Array, Array]:
    """Return the peak index of each joint (B, J) in the most likely pose, and its log p + log q."""
    xp = namespace(ell)
    node, _ = collect(log_p, ell, links, xp.amax)
    root = links[0][0]
    rows = arange(ell, len(ell))
    chosen = [xp.argmax(node[root], -1)] * len(node)
    for link, (parent, child) in enumerate(links):
        chosen[child] = xp.argmax(ell[:, link][rows, chosen[parent]] + node[child], -1)
    return xp.stack(chosen, -1), xp.amax(node[root], -1)


def refine(xy: Array, values: Array, params: Array, links: Links) -> tuple[Array, Array]:
    """Return the refined keypoints (B, J, 2) and log_prob (B,)."""
    chosen, log_prob = viterbi(log_weights(values), link_log_likelihood(xy, params, links), links)
    return _take_peaks(xy, chosen), log_prob


def _take_peaks(xy: Array, chosen: Array) -> Array:
    images, joints = arange(xy, xy.shape[0])[:, None], arange(xy, xy.shape[1])
    return xy[images, joints, chosen]


def posterior(log_p: Array, ell: Array, links: Links) -> Array:
    """Return the probability of each peak given the whole skeleton, (B, J, K)."""
    xp = namespace(ell)
    inside, message = collect(log_p, ell, links, logsumexp)
    belief = list(inside)
    for link, (parent, child) in enumerate(links):
        without_child = belief[parent] - message[link]
        belief[child] = inside[child] + logsumexp(ell[:, link] + without_child[..., None], 1)
    return xp.exp(log_weights(xp.stack(belief, 1)))


def analyze(xy: Array, values: Array, params: Array, links: Links) -> tuple[Array, ...]:
    """Return score, per_link, entropy, posterior, argmax, confidence, refined pose, log_prob."""
    xp = namespace(values)
    log_p = log_weights(values)
    ell = link_log_likelihood(xy, params, links)
    per_link = expected_per_link(log_p, ell, links)
    chosen, log_prob = viterbi(log_p, ell, links)
    return (
        xp.sum(per_link, -1),
        per_link,
        entropy(log_p),
        posterior(log_p, ell, links),
        xy[:, :, 0],
        values[:, :, 0],
        _take_peaks(xy, chosen),
        log_prob,
    )


# ------------------------------------------------------------------------------------------------
# The released algorithm: a recursion over all peaks of all joints, exponential in depth
# ------------------------------------------------------------------------------------------------


def released_score(xy: np.ndarray, values: np.ndarray, params: np.ndarray, links: Links) -> Array:
    """Return the score of the released scoring code (method "sum"), (B,)."""
    return np.array([_Recursion(*image, links).total() for image in _images(xy, values, params)])


def released_refine(
    xy: np.ndarray, values: np.ndarray, params: np.ndarray, links: Links
) -> tuple[Array, Array]:
    """Return the refined keypoints (B, J, 2) and log_prob (B,) as the visualisation code does."""
    poses = [_Recursion(*image, links).best() for image in _images(xy, values, params)]
    chosen = np.array([[pose[joint] for joint in range(xy.shape[1])] for _, pose in poses])
    return _take_peaks(xy, chosen), np.array([log_prob for log_prob, _ in poses])


def _images(
    xy: np.ndarray, values: np.ndarray, params: np.ndarray
) -> zip[tuple[list[Any], list[Any], list[Any]]]:
    # Lists of Python numbers: this recursion on array elements would be ten times slower still.
    log_p = log_weights(values.astype(np.float64))
    return zip(xy.tolist(), log_p.tolist(), params.tolist(), strict=True)


class _Recursion:
    def __init__(
        self, xy: list[Any], log_p: list[list[float]], params: list[list[float]], links: Links
    ) -> None:
        self.xy, self.log_p, self.params = xy, log_p, params
        self.root = links[0][0]
        self.below: list[list[tuple[int, int]]] = [[] for _ in log_p]
        for link, (parent, child) in enumerate(links):
            self.below[parent].append((link, child))

    def ell(self, link: int, parent_xy: list[float], child_xy: list[float]) -> float:
        length, log_variance = self.params[link]
        error = math.dist(parent_xy, child_xy) - length
        return -0.5 * (LOG_2PI + log_variance + error * error * math.exp(-log_variance))

    def total(self) -> float:
        return sum(
            log_p + self.sum_below(self.root, a) for a, log_p in enumerate(self.log_p[self.root])
        )

    def sum_below(self, joint: int, a: int) -> float:
        here = self.xy[joint][a]
        return sum(
            self.ell(link, here, self.xy[child][b]) + log_p + self.sum_below(child, b)
            for link, child in self.below[joint]
            for b, log_p in enumerate(self.log_p[child])
        )

    def best(self) -> tuple[float, dict[int, int]]:
        candidates = []
        for a, log_p in enumerate(self.log_p[self.root]):
            value, pose = self.best_below(self.root, a)
            candidates.append((log_p + value, {self.root: a, **pose}))
        return max(candidates, key=_value)

    def best_below(self, joint: int, a: int) -> tuple[float, dict[int, int]]:
        here = self.xy[joint][a]
        total, pose = 0.0, {}
        for link, child in self.below[joint]:
            candidates = []
            for b, log_p in enumerate(self.log_p[child]):
                value, below = self.best_below(child, b)
                value += self.ell(link, here, self.xy[child][b]) + log_p
                candidates.append((value, {child: b, **below}))
            value, below = max(candidates, key=_value)
            total += value
            pose.update(below)
        return total, pose


def _value(candidate: tuple[float, dict[int, int]]) -> float:
    return candidate[0]


# ------------------------------------------------------------------------------------------------
# Weights, plain decoding with its sub-pixel steps, and likelihoods of a given pose
# ------------------------------------------------------------------------------------------------


def softmax_weights(values: Array) -> Array:
    """Return the library's own softmax of peak values."""
    return (
        torch.softmax(values, -1) if isinstance(values, torch.Tensor) else softmax(values, axis=-1)
    )


def decode(heatmaps: Array, subpixel: str | None = None) -> tuple[Array, Array]:
    """Return the highest pixel of each map (B, J, 2) and its value (B, J)."""
    if isinstance(heatmaps, torch.Tensor):
        return _torch_decode(heatmaps, subpixel)
    return _numpy_decode(heatmaps, subpixel)


def get_heatmap_maximum(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest pixel of each map (B, K, 2) and its value (B, K).

    MMPose's own (mmpose/codecs/utils/post_processing.py), for a batch; K is what we call J.
    """
    B, K, H, W = heatmaps.shape
    heatmaps_flatten = heatmaps.reshape(B * K, -1)
    y_locs, x_locs = np.unravel_index(np.argmax(heatmaps_flatten, axis=1), shape=(H, W))
    locs = np.stack((x_locs, y_locs), axis=-1).astype(np.float32)
    vals = np.amax(heatmaps_flatten, axis=1)
    locs[vals <= 0.0] = -1
    return locs.reshape(B, K, 2), vals.reshape(B, K)


def _numpy_decode(heatmaps: np.ndarray, subpixel: str | None) -> tuple[Array, Array]:
    # Argmax, then maximum, as MMPose's get_heatmap_maximum has it: two reads.
    heatmaps = heatmaps.astype(np.float32, copy=False)
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    y, x = np.unravel_index(flat.argmax(axis=-1), heatmaps.shape[2:])
    return _moved(heatmaps, x, y, subpixel), flat.max(axis=-1)


def _torch_decode(heatmaps: torch.Tensor, subpixel: str | None) -> tuple[Array, Array]:
    heatmaps = heatmaps.float()
    values, index = heatmaps.flatten(2).max(-1)
    width = heatmaps.shape[3]
    return _moved(heatmaps, index % width, index // width, subpixel), values


def _moved(heatmaps: Array, x: Array, y: Array, subpixel: str | None) -> Array:
    xp = namespace(heatmaps)
    xy = xp.stack([x, y], -1)
    if subpixel is None:
        return xy.float() if xp is torch else xy.astype(np.float32)
    return xy + {"quarter": _quarter, "centroid": _centroid, "dark": _dark}[subpixel](
        heatmaps, x, y
    )


def _at(heatmaps: Array, x: Array, y: Array) -> Array:
    xp = namespace(heatmaps)
    batch, joints, height, width = heatmaps.shape
    map_index = xp.arange(batch * joints).reshape(batch, joints, *[1] * (x.ndim - 2))
    x, y = xp.clip(x, 0, width - 1), xp.clip(y, 0, height - 1)
    return heatmaps.reshape(-1)[(map_index * height + y) * width + x]


def _patch(heatmaps: Array, x: Array, y: Array, reach: int) -> Array:
    """Return the pixels around (x, y), 0 outside the map: (B, J, 2 reach + 1, 2 reach + 1)."""
    xp = namespace(heatmaps)
    height, width = heatmaps.shape[2:]
    step = xp.arange(-reach, reach + 1)
    px, py = x[..., None, None] + step, y[..., None, None] + step[:, None]
    inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
    return xp.where(inside, _at(heatmaps, px, py), 0.0)


def _quarter(heatmaps: Array, x: Array, y: Array) -> Array:
    xp = namespace(heatmaps)
    height, width = heatmaps.shape[2:]
    towards_x = xp.sign(_at(heatmaps, x + 1, y) - _at(heatmaps, x - 1, y))
    towards_y = xp.sign(_at(heatmaps, x, y + 1) - _at(heatmaps, x, y - 1))
    step_x = xp.where((x > 0) & (x < width - 1), 0.25 * towards_x, 0.0)
    step_y = xp.where((y > 0) & (y < height - 1), 0.25 * towards_y, 0.0)
    return xp.stack([step_x, step_y], -1)


def _centroid(heatmaps: Array, x: Array, y: Array) -> Array:
    xp = namespace(heatmaps)
    step = xp.arange(-2, 3)
    weights = xp.clip(_patch(heatmaps, x, y, 2), 0, None)
    total = xp.sum(weights, (-2, -1))
    moment_x = xp.sum(weights * step, (-2, -1))
    moment_y = xp.sum(weights * step[:, None], (-2, -1))
    return xp.stack([moment_x, moment_y], -1) / xp.where(total == 0, 1.0, total)[..., None]


def _dark(heatmaps: Array, x: Array, y: Array) -> Array:
    xp = namespace(heatmaps)
    height, width = heatmaps.shape[2:]
    log_h = xp.log(xp.clip(_blurred_patch(heatmaps, x, y), 1e-10, None))

    def h(dx: int, dy: int) -> Array:
        return log_h[..., 2 + dy, 2 + dx]

    h_x, h_y = (h(1, 0) - h(-1, 0)) / 2, (h(0, 1) - h(0, -1)) / 2
    h_xx = (h(2, 0) - 2 * h(0, 0) + h(-2, 0)) / 4
    h_yy = (h(0, 2) - 2 * h(0, 0) + h(0, -2)) / 4
    h_xy = (h(1, 1) - h(-1, 1) - h(1, -1) + h(-1, -1)) / 4
    determinant = h_xx * h_yy - h_xy * h_xy
    divisor = xp.where(determinant == 0, 1.0, determinant)
    step_x = (h_xy * h_y - h_yy * h_x) / divisor
    step_y = (h_xy * h_x - h_xx * h_y) / divisor
    good = (determinant != 0) & (step_x * step_x + step_y * step_y <= 1)
    good &= (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return xp.where(good[..., None], xp.stack([step_x, step_y], -1), 0.0)


def _blurred_patch(heatmaps: Array, x: Array, y: Array) -> Array:
    """Return 5 x 5 pixels of the map under a Gaussian of 11, (B, J, 5, 5)."""
    if isinstance(heatmaps, torch.Tensor):  # only what the patch needs: torch blurs maps slowly
        kernel = torch.from_numpy(cv2.getGaussianKernel(11, 0, cv2.CV_32F))[:, 0]
        band = torch.stack([functional.pad(kernel, (row, 4 - row)) for row in range(5)])
        return band @ _patch(heatmaps, x, y, 7) @ band.T
    blurred = np.empty_like(heatmaps)  # all of it, as everybody does with OpenCV
    for i in np.ndindex(heatmaps.shape[:2]):
        cv2.GaussianBlur(heatmaps[i], (11, 11), 0, dst=blurred[i], borderType=cv2.BORDER_CONSTANT)
    return _patch(blurred, x, y, 2)


def pose_log_likelihood(keypoints: Array, params: Array, links: Links) -> Array:
    """Return the log-likelihood (B,) of one given pose (B, J, 2)."""
    ell = link_log_likelihood(keypoints[:, :, None], params, links)
    return namespace(ell).sum(ell, (1, 2, 3))


def offset_log_likelihood(
    keypoints: Array, offsets: Array, scale_tril: Array, links: Links
) -> Array:
    """Return the log-likelihood (B,) of Eq. 4: torch.distributions, or numpy.linalg.solve."""
    parents, children = _ends(keypoints, links)
    way = children - parents
    if isinstance(way, torch.Tensor):
        normal = torch.distributions.MultivariateNormal(
            offsets, scale_tril=scale_tril, validate_args=False
        )
        return normal.log_prob(way).sum(-1)
    residual = way - offsets
    whitened = np.linalg.solve(scale_tril, residual[..., None])[..., 0]
    log_diagonal = np.log(np.diagonal(scale_tril, axis1=-2, axis2=-1))
    constant = residual.shape[-1] * LOG_2PI
    ell = -0.5 * (constant + 2 * log_diagonal.sum(-1) + (whitened * whitened).sum(-1))
    return ell.sum(-1)


# ------------------------------------------------------------------------------------------------
# Who takes part
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Competitor:
    """A library: the arrays it takes, how it finds peaks, how many images it can bear.

    Attributes
    ----------
    name : str
        As it stands in the table.
    find_peaks : callable, optional
        (heatmaps, min_distance, num_peaks) -> xy, values.
    takes_tensors : bool
        torch tensors, else NumPy arrays.
    compiled : bool
        Through torch.compile, for the very shapes it is timed on.
    images : int
        It is timed on so many images at most; times are given per image.
    """

    name: str
    find_peaks: Callable[[Array, int, int], Found] | None = None
    takes_tensors: bool = False
    compiled: bool = False
    images: int = 256

    def prepare(
        self, function: Callable[..., Any], arrays: Sequence[np.ndarray]
    ) -> tuple[Callable[[], Any], int]:
        """Return a call of ``function`` on the first images of ``arrays``, and how many these are.

        Compilation is over when this returns.
        """
        images = min(self.images, len(arrays[0]))
        parts: list[Array] = [array[:images] for array in arrays]
        if self.takes_tensors:
            parts = [torch.from_numpy(part) for part in parts]
        if self.compiled:
            function = _compiled(function, parts)
        return (lambda: function(*parts)), images


def _compiled(function: Callable[..., Any], arrays: list[torch.Tensor]) -> Callable[..., Any]:
    torch.compiler.reset()  # so that every case is compiled for its own shapes, never for any shape
    compiled = torch.compile(function, fullgraph=True, dynamic=False)
    with compiling():
        compiled(*arrays)
    return compiled


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Keep torch's own deprecations quiet, which come up as its compiler is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


COMPETITORS = {
    competitor.name: competitor
    for competitor in (
        Competitor("scikit-image", scikit_image_peaks, images=16),
        Competitor("scikit-image + recursion", scikit_image_peaks, images=1),
        Competitor("scipy + numpy", scipy_peaks, images=64),
        Competitor("OpenCV + numpy", opencv_peaks),
        Competitor("torch eager", torch_separable_peaks, takes_tensors=True, images=64),
        Competitor("torch.compile", torch_separable_peaks, takes_tensors=True, compiled=True),
        Competitor("torch eager, square window", torch_peaks, takes_tensors=True, images=16),
        Competitor(
            "torch.compile, square window",
            torch_peaks,
            takes_tensors=True,
            compiled=True,
            images=64,
        ),
        # Without peaks:
        Competitor("numpy"),
        Competitor("scipy"),
        Competitor("torch", takes_tensors=True),
        Competitor("torch, compiled", takes_tensors=True, compiled=True),
    )
}


def tied(heatmaps: Array, min_distance: int, num_peaks: int) -> Array:
    """Return whether two peaks of one map are equal, (B,): there the definitions may differ."""
    find = torch_separable_peaks if isinstance(heatmaps, torch.Tensor) else opencv_peaks
    _, values = find(heatmaps, min_distance, num_peaks + 1)
    higher, lower = values[..., :-1], values[..., 1:]
    equal = (higher == lower) & (lower > -math.inf)
    return equal.reshape(len(equal), -1).any(1)
