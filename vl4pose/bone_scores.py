"""How far each bone of a pose is from the length that was expected of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.reference import MAX_LENGTH, MAX_LOG_VARIANCE
from vl4pose.skeleton import Skeleton

__all__ = ["expected_lengths", "link_lengths", "link_z_scores"]

Float64Array = npt.NDArray[np.float64]


def link_lengths(
    keypoints: npt.ArrayLike, skeleton: Skeleton, heatmap_scale: npt.ArrayLike = 1.0
) -> Float64Array:
    """Return the length of every bone, in heatmap pixels.

    Parameters
    ----------
    keypoints : (..., J, 2) array_like
        In image pixels; NaN where there are none.
    skeleton : Skeleton
    heatmap_scale : (..., 2) array_like, default 1.0
        Image pixels to a heatmap pixel, along x and y, as in the table of scores; 1 for keypoints
        that are in heatmap pixels already.

    Returns
    -------
    lengths : (..., L) float64

    Raises
    ------
    ValueError
        ``keypoints must be (..., J, 2)``.
    """
    xy = np.asarray(keypoints, np.float64)
    if xy.shape[-2:] != (skeleton.num_joints, 2):
        raise ValueError(
            f"keypoints must be (..., J, 2) = (..., {skeleton.num_joints}, 2), got {xy.shape}"
        )
    scale = np.asarray(heatmap_scale, np.float64)
    links = np.array(skeleton.links, np.int64).reshape(-1, 2)
    bones = xy[..., links[:, 1], :] - xy[..., links[:, 0], :]
    bones /= scale[..., None, :] if scale.ndim else scale
    lengths: Float64Array = np.hypot(bones[..., 0], bones[..., 1])
    return lengths


def expected_lengths(link_params: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Return what link parameters say: lengths and standard deviations, in heatmap pixels.

    Parameters
    ----------
    link_params : (..., L, 2) array_like
        Length and log-variance of each link. As in every score, the first is clamped to [-1e6, 1e6]
        and the second to [-20, 20].

    Returns
    -------
    length, deviation : (..., L) float64

    Raises
    ------
    ValueError
        ``link_params must be (..., L, 2)``.
    """
    params: Any = np.asarray(link_params, np.float64)
    if params.ndim < 2 or params.shape[-1] != 2:
        raise ValueError(f"link_params must be (..., L, 2), got {params.shape}")
    length = np.clip(params[..., 0], -MAX_LENGTH, MAX_LENGTH)
    log_variance = np.clip(params[..., 1], -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
    return length, np.exp(log_variance / 2)


def link_z_scores(
    keypoints: npt.ArrayLike,
    link_params: npt.ArrayLike,
    skeleton: Skeleton,
    heatmap_scale: npt.ArrayLike = 1.0,
) -> Float64Array:
    """Return by how many standard deviations each bone is longer than expected.

    Parameters
    ----------
    keypoints : (..., J, 2) array_like
        In image pixels; NaN where there are none.
    link_params : (..., L, 2) array_like
        Length and log-variance of each link, in heatmap pixels.
    skeleton : Skeleton
    heatmap_scale : (..., 2) array_like, default 1.0
        As for `link_lengths`.

    Returns
    -------
    z : (..., L) float64
        Below 0 is shorter than expected; NaN where the input is.

    Raises
    ------
    ValueError
        ``keypoints must be (..., J, 2)``, ``link_params must be (..., L, 2)``.

    Notes
    -----
    ``z = (r - d) exp(-s / 2)``, so that a bone's log-likelihood (Eq. 5 of Shukla et al., BMVC 2022)
    is ``-(log(2 pi) + s + z^2) / 2``.
    """
    length, deviation = expected_lengths(link_params)
    if length.shape[-1] != skeleton.num_links:
        raise ValueError(
            f"link_params must be (..., L, 2) = (..., {skeleton.num_links}, 2), "
            f"got {np.shape(link_params)}"
        )
    z: Float64Array = (link_lengths(keypoints, skeleton, heatmap_scale) - length) / deviation
    return z
