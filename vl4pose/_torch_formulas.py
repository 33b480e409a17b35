"""Log-likelihoods of given poses and weights of peaks as torch formulas.

They serve where the compiled kernels do not: on devices that have none, and under transforms that
look inside an operation, such as torch.vmap, torch.func.jacrev or forward-mode differentiation.
What they compute is defined in :mod:`vl4pose.reference`. Arguments have been checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vl4pose.reference import MAX_LENGTH, MAX_LOG_VARIANCE

__all__ = ["offset_log_likelihood", "peak_weights", "pose_log_likelihood"]

LOG_2PI = math.log(2 * math.pi)


def pose_log_likelihood(
    keypoints: Tensor,
    params: Tensor,
    visible: Tensor | None,
    links: Sequence[int],
    per_link: bool,
) -> Tensor:
    """Return Eq. 5 of every link, (B, L), or their sum, (B,)."""
    dtype = _result_dtype(keypoints)
    step, counted = _steps(keypoints.to(dtype), visible, links)
    params = params.to(dtype)
    finite = torch.isfinite(params).flatten(-2).all(-1)
    length = params[..., 0].clamp(-MAX_LENGTH, MAX_LENGTH)
    log_variance = params[..., 1].clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
    squared = (step**2).sum(-1)
    has_direction = squared > 0  # the root has no gradient at 0
    r = torch.where(has_direction, torch.sqrt(torch.where(has_direction, squared, 1)), 0)
    terms = LOG_2PI + log_variance + (r - length) ** 2 * torch.exp(-log_variance)
    return _over_links(-0.5 * terms, counted, finite, per_link)


def offset_log_likelihood(
    keypoints: Tensor,
    offsets: Tensor,
    scale_tril: Tensor,
    visible: Tensor | None,
    links: Sequence[int],
    per_link: bool,
) -> Tensor:
    """Return Eq. 4 of every link, (B, L), or their sum, (B,)."""
    dtype = _result_dtype(keypoints)
    step, counted = _steps(keypoints.to(dtype), visible, links)
    offsets, scale = offsets.to(dtype), scale_tril.to(dtype).tril()
    finite = torch.isfinite(offsets).flatten(-2).all(-1)
    finite = finite & torch.isfinite(scale).flatten(-3).all(-1)
    diagonal = scale.diagonal(dim1=-2, dim2=-1)
    diagonal = torch.where(diagonal > 0, diagonal, math.nan)
    residual = step - offsets
    whitened: list[Tensor] = []  # T^-1 residual, by forward substitution
    for i in range(keypoints.shape[-1]):
        rest = residual[..., i]
        for k, known in enumerate(whitened):
            rest = rest - scale[..., i, k] * known
        whitened.append(rest / diagonal[..., i])
    squared_norm = torch.stack(whitened, -1).square().sum(-1)
    terms = len(whitened) * LOG_2PI + 2 * torch.log(diagonal).sum(-1) + squared_norm
    return _over_links(-0.5 * terms, counted, finite, per_link)


def peak_weights(values: Tensor, count: Tensor | None, temperature: float) -> Tensor:
    """Return the softmax of the used slots of every row of values, (B, J, K)."""
    values = values.to(_result_dtype(values))
    if values.shape[-1] == 0:
        return values.clone()
    slots = torch.arange(values.shape[-1], device=values.device)
    used = values != -math.inf if count is None else slots < count[..., None]
    invalid = (values.isnan() | values.isposinf()).any(-1, keepdim=True)
    read = torch.where(used & ~invalid, values, -math.inf)
    highest = read.detach().amax(-1, keepdim=True)
    scaled = (read - torch.where(highest.isneginf(), 0.0, highest)) / temperature
    # Where all that is used is -inf, the first slot has weight 1.
    alone = torch.where(slots == 0, 0.0, -math.inf).to(values.dtype)
    weights = torch.softmax(torch.where(highest.isneginf(), alone, scaled), -1)
    return torch.where(invalid, math.nan, torch.where(used, weights, 0.0))


def _result_dtype(array: Tensor) -> torch.dtype:
    return torch.float64 if array.dtype == torch.float64 else torch.float32


def _steps(
    keypoints: Tensor, visible: Tensor | None, links: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Return the way from parent to child (B, L, D), and which links (B, L) count, None for all."""
    parents, children = list(links[::2]), list(links[1::2])
    counted = None
    if visible is not None:
        keypoints = torch.where(visible[..., None], keypoints, 0)  # the others are not read
        counted = visible[..., parents] & visible[..., children]
    return keypoints[..., children, :] - keypoints[..., parents, :], counted


def _over_links(ell: Tensor, counted: Tensor | None, finite: Tensor, per_link: bool) -> Tensor:
    if counted is not None:
        ell = torch.where(counted, ell, 0)
    ell = torch.where(finite[..., None], ell, math.nan)
    return ell if per_link else ell.sum(-1)
