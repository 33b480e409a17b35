"""What a pose network's heatmaps are trained towards: a Gaussian at each annotated joint."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PEAK", "SIGMA", "heatmap_loss", "heatmap_targets"]

# Those of the released networks.
PEAK = 30.0
SIGMA = 1.75


def heatmap_targets(
    keypoints: Tensor,
    size: tuple[int, int],
    *,
    visible: Tensor | None = None,
    sigma: float = SIGMA,
    peak: float = PEAK,
) -> Tensor:
    """Draw a Gaussian at each joint.

    Parameters
    ----------
    keypoints : Tensor (B, J, 2)
        (x, y) in heatmap pixels, of any fraction; one outside the map leaves what of its Gaussian
        reaches inside.
    size : (int, int)
        (width, height) of the heatmaps.
    visible : Tensor (B, J) of bool, optional
        Which joints are annotated; the maps of the others are zero, and their coordinates, which
        may be NaN, are not read.
    sigma : float
        Standard deviation of the Gaussian, in heatmap pixels.
    peak : float
        Its value at the joint.

    Returns
    -------
    heatmaps : Tensor (B, J, H, W)
        ``peak * exp(-((x - u)**2 + (y - v)**2) / (2 * sigma**2))`` for a joint at (u, v), in the
        dtype and on the device of ``keypoints``.
    """
    annotated = _annotated(keypoints, visible)
    centres = torch.where(annotated[..., None], keypoints, 0.0)
    # The Gaussian is the product of one along each axis.
    along_x, along_y = (
        torch.exp(
            -0.5
            * (torch.arange(length, device=keypoints.device, dtype=keypoints.dtype) - centre) ** 2
            / sigma**2
        )
        for length, centre in zip(size, centres[..., None].unbind(-2), strict=True)
    )
    height = peak * annotated.to(keypoints.dtype)
    return height[..., None, None] * along_y[..., :, None] * along_x[..., None, :]


def heatmap_loss(
    heatmaps: Tensor,
    keypoints: Tensor,
    *,
    visible: Tensor | None = None,
    sigma: float = SIGMA,
    peak: float = PEAK,
    reduction: str = "mean",
) -> Tensor:
    """Return the mean squared error between heatmaps and their targets.

    Parameters
    ----------
    heatmaps : Tensor (B, S, J, H, W) or (B, J, H, W)
        Of every stack, or of one.
    keypoints, visible, sigma, peak
        As for `heatmap_targets`. The maps of joints that are not visible do not count.
    reduction : {"mean", "sum", "image"}
        Over visible joints and stacks; over the pixels of a map it is always the mean. "image" is
        the mean of each image by itself.

    Returns
    -------
    loss : Tensor (), or (B,) with "image"
        Zero where no joint is visible. Computed in float32 for half precision.
    """
    if heatmaps.ndim == 4:
        heatmaps = heatmaps[:, None]
    num_stacks = heatmaps.shape[1]
    size = (heatmaps.shape[-1], heatmaps.shape[-2])
    targets = heatmap_targets(keypoints, size, visible=visible, sigma=sigma, peak=peak)
    errors = (heatmaps.to(targets.dtype) - targets[:, None]).square().mean((-2, -1))  # (B, S, J)
    annotated = _annotated(keypoints, visible)
    counted = torch.where(annotated[:, None], errors, 0.0)
    if reduction == "image":
        return counted.sum((-2, -1)) / (num_stacks * annotated.sum(-1)).clamp(min=1)
    total = counted.sum()
    return total if reduction == "sum" else total / (num_stacks * annotated.sum()).clamp(min=1)


def _annotated(keypoints: Tensor, visible: Tensor | None) -> Tensor:
    if visible is None:
        return torch.ones(keypoints.shape[:-1], dtype=torch.bool, device=keypoints.device)
    return visible
