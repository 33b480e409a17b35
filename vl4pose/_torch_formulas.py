"""Log-likelihoods of given poses and weights of peaks as torch formulas.

They serve where the compiled kernels do not: on devices that have none, and under transforms that
look inside an operation, such as torch.vmap, torch.func.jacrev or forward-mode differentiation.
What they compute is defined in :mod:`vl4pose.reference`. Arguments have been checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vl4pose.reference import MAX_LENGTH, MAX_LOG_VARIANCE

__all__ = [
    "joints_at",
    "offset_log_likelihood",
    "peak_weights",
    "pose_log_likelihood",
    "result_dtype",
]

LOG_2PI = math.log(2 * math.pi)


def pose_log_likelihood(
    keypoints: Tensor,
    params: Tensor,
    visible: Tensor | None,
    links: Sequence[int],
    per_link: bool,
) -> Tensor:
    """Return Eq. 5 of every link, (B, L), or their sum, (B,)."""
    step, counted = _steps(keypoints, visible, links)
    params = _widened(params, keypoints)
    finite = torch.isfinite(params).flatten(-2).all(-1)[..., None]
    params, step = _keep(params, finite[..., None], 0.0), _keep(step, finite[..., None], 1.0)
    length = params[..., 0].clamp(-MAX_LENGTH, MAX_LENGTH)
    log_variance = params[..., 1].clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
    squared = (step**2).sum(-1)
    has_direction = squared != 0  # the root has no gradient at 0
    r = torch.where(has_direction, torch.sqrt(torch.where(has_direction, squared, 1)), 0)
    terms = LOG_2PI + log_variance + (r - length) ** 2 * torch.exp(-log_variance)
    return _over_links(-0.5 * terms, finite, counted, per_link).to(result_dtype(keypoints))


def offset_log_likelihood(
    keypoints: Tensor,
    offsets: Tensor,
    scale_tril: Tensor,
    visible: Tensor | None,
    links: Sequence[int],
    per_link: bool,
) -> Tensor:
    """Return Eq. 4 of every link, (B, L), or their sum, (B,)."""
    step, counted = _steps(keypoints, visible, links)
    offsets, scale = _widened(offsets, keypoints), _widened(scale_tril, keypoints).tril()
    finite = torch.isfinite(offsets).flatten(-2).all(-1)
    finite = (finite & torch.isfinite(scale).flatten(-3).all(-1))[..., None]
    usable = finite & (scale.diagonal(dim1=-2, dim2=-1) > 0).all(-1)
    if counted is not None:
        usable = usable & counted
    residual = _keep(step - offsets, usable[..., None], 0.0)
    identity = torch.eye(keypoints.shape[-1], dtype=scale.dtype, device=scale.device)
    scale = _keep(scale, usable[..., None, None], identity)
    diagonal = scale.diagonal(dim1=-2, dim2=-1)
    whitened: list[Tensor] = []  # T^-1 residual, by forward substitution
    for i in range(keypoints.shape[-1]):
        rest = residual[..., i]
        for k, known in enumerate(whitened):
            rest = rest - scale[..., i, k] * known
        whitened.append(rest / diagonal[..., i])
    squared_norm = torch.stack(whitened, -1).square().sum(-1)
    terms = len(whitened) * LOG_2PI + 2 * torch.log(diagonal).sum(-1) + squared_norm
    ell = _keep(-0.5 * terms, usable, math.nan)
    return _over_links(ell, finite, counted, per_link).to(result_dtype(keypoints))


def peak_weights(values: Tensor, count: Tensor | None, temperature: float) -> Tensor:
    """Return the softmax of the used slots of every row of values, (B, J, K)."""
    dtype = result_dtype(values)
    values = _widened(values, values)
    if values.shape[-1] == 0:
        return values.to(dtype)
    slots = torch.arange(values.shape[-1], device=values.device)
    used = values != -math.inf if count is None else slots < count[..., None]
    invalid = (values.isnan() | values.isposinf()).any(-1, keepdim=True)
    read = torch.where(used, _keep(values, ~invalid, 0.0), -math.inf)
    highest = read.detach().amax(-1, keepdim=True)
    scaled = (read - torch.where(highest.isneginf(), 0.0, highest)) / temperature
    # Where all that is used is -inf, the first slot has weight 1.
    alone = torch.where(slots == 0, 0.0, -math.inf).to(values.dtype)
    weights = torch.softmax(torch.where(highest.isneginf(), alone, scaled), -1)
    return _keep(torch.where(used, weights, 0.0), ~invalid, math.nan).to(dtype)


def result_dtype(array: Tensor) -> torch.dtype:
    """Return the precision of results from an array: float64 for float64, else float32."""
    return torch.float64 if array.dtype == torch.float64 else torch.float32


def joints_at(array: Tensor, joints: Sequence[int], dim: int) -> Tensor:
    """Return what an array has of these joints: an index of a list would have a GPU waited for."""
    if not joints:
        return array.narrow(dim, 0, 0)
    return torch.stack([array.select(dim, joint) for joint in joints], dim)


def _widened(array: Tensor, first: Tensor) -> Tensor:
    """Return an argument rounded to the dtype of the results, in that of the arithmetic."""
    rounded = array.to(result_dtype(first))
    return rounded if array.device.type == "mps" else rounded.double()  # which has no float64


class _Keep(torch.autograd.Function):
    """Numbers where they are valid, others elsewhere; there the gradient is NaN, but 0 stays 0.

    With torch.where, results that are NaN would have gradient 0, or one of NaN where nothing
    depends on them.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(array: Tensor, is_valid: Tensor, otherwise: Tensor) -> Tensor:
        return torch.where(is_valid, array, otherwise)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (is_valid,) = ctx.saved_tensors
        return torch.where(is_valid, grad, torch.where(grad == 0, 0.0, math.nan)), None, None


class _KeepWithTangent(_Keep):
    """The same in forward mode; apart, because torch.compile takes no function that has a jvp."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        is_valid, otherwise = ctx.saved_tensors
        return torch.where(is_valid, tangent, otherwise * 0)


def _keep(array: Tensor, is_valid: Tensor, otherwise: float | Tensor) -> Tensor:
    if not isinstance(otherwise, Tensor):
        otherwise = torch.full((), otherwise, dtype=array.dtype, device=array.device)
    array, is_valid = torch.broadcast_tensors(array, is_valid)  # type: ignore[no-untyped-call]
    is_forward = torch.autograd.forward_ad._current_level >= 0
    function = _KeepWithTangent if is_forward else _Keep
    kept: Tensor = function.apply(array, is_valid, otherwise)  # type: ignore[no-untyped-call]
    return kept


def _steps(
    keypoints: Tensor, visible: Tensor | None, links: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Return the way from parent to child (B, L, D), and which links (B, L) count, None for all."""
    keypoints = _widened(keypoints, keypoints)
    parents, children = (joints_at(keypoints, links[end::2], -2) for end in (0, 1))
    if visible is None:
        return children - parents, None
    counted = joints_at(visible, links[::2], -1) & joints_at(visible, links[1::2], -1)
    # The others are not read.
    parents, children = (torch.where(counted[..., None], end, 0) for end in (parents, children))
    return children - parents, counted


def _over_links(ell: Tensor, finite: Tensor, counted: Tensor | None, per_link: bool) -> Tensor:
    """Return the terms that count, or their sum; NaN for images that are not finite."""
    if counted is not None:
        ell = torch.where(counted, ell, 0)
    ell = _keep(ell, finite, math.nan)
    return ell if per_link else ell.sum(-1)
