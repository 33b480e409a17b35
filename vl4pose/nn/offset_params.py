"""Offsets and covariances of links that are the same for every pose, fitted to annotations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = ["fit_offset_params"]

_SMALLEST_VARIANCE = 1e-2


def fit_offset_params(
    keypoints: Any, visible: Any = None, skeleton: Skeleton | str | None = None
) -> tuple[Tensor, Tensor]:
    """Fit the offset of each link and its covariance to annotated poses.

    Parameters
    ----------
    keypoints : (N, J, D) array_like or Tensor
        Annotated positions, D of 2 or 3, in the unit that the network is to predict.
    visible : (N, J) bool array_like or Tensor, optional
        Which joints are annotated; None means all. The coordinates of the others are never read
        and may be NaN.
    skeleton : Skeleton, str or None
        None goes by the number of joints.

    Returns
    -------
    offsets : Tensor (L, D), float64
        Mean step from parent to child of each link, over the poses in which both are annotated.
    scale_tril : Tensor (L, D, D), float64
        Lower-triangular Cholesky factor of its covariance.

    Raises
    ------
    TypeError
        ``visible must be bool``.
    ValueError
        ``keypoints must be (N, J, D)``, ``visible must be (N, J)``, ``keypoints must be finite
        where visible``; ``visible must leave a sample of every link``, naming those without.

    Notes
    -----
    Mean and population covariance maximise the likelihood (Eq. 4 of the paper). To the variance in
    every direction 0.01 is added, so that the factor exists where bones are alike or few.

    Examples
    --------
    >>> arm = Skeleton("arm", ["shoulder", "elbow"], [("shoulder", "elbow")])
    >>> offsets, scale_tril = fit_offset_params([[[0, 0], [3, 4]], [[0, 0], [5, 4]]], None, arm)
    >>> offsets
    tensor([[4., 4.]], dtype=torch.float64)
    """
    poses = torch.as_tensor(keypoints, dtype=torch.float64).detach().cpu()
    if poses.ndim != 3 or poses.shape[2] not in (2, 3):
        raise ValueError(f"keypoints must be (N, J, D) with D 2 or 3, got {tuple(poses.shape)}")
    skeleton = resolve_skeleton(skeleton, poses.shape[1])
    if visible is None:
        annotated = torch.ones(poses.shape[:2], dtype=torch.bool)
    else:
        annotated = torch.as_tensor(visible).cpu()
    if annotated.dtype != torch.bool:
        raise TypeError(f"visible must be bool, got {annotated.dtype}")
    if annotated.shape != poses.shape[:2]:
        raise ValueError(
            f"visible must be (N, J) = {tuple(poses.shape[:2])}, got {tuple(annotated.shape)}"
        )
    if not torch.isfinite(poses[annotated]).all():
        raise ValueError("keypoints must be finite where visible, got inf or NaN there")
    offsets, factors, unseen = [], [], []
    for name, (parent, child) in zip(skeleton.link_names, skeleton.links, strict=True):
        both = annotated[:, parent] & annotated[:, child]
        steps = poses[both, child] - poses[both, parent]
        if len(steps) == 0:
            unseen.append(name)
            continue
        rest = steps - steps.mean(dim=0)
        covariance = rest.T @ rest / len(steps) + _SMALLEST_VARIANCE * torch.eye(poses.shape[2])
        offsets.append(steps.mean(dim=0))
        factors.append(torch.linalg.cholesky(covariance))
    if unseen:
        raise ValueError(
            f"visible must leave a sample of every link, got none of {', '.join(unseen)}"
        )
    return torch.stack(offsets), torch.stack(factors)
