"""Losses that train an auxiliary network: negative log-likelihoods of annotated poses.

They take tensors on any device and work under autocast, torch.compile, torch.func and in
distributed training. Annotations are in heatmap pixels: :func:`vl4pose.to_heatmap_pixels`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vl4pose import _torch_ops  # noqa: F401  # registers what exported programs may name
from vl4pose._options import choice
from vl4pose.scoring import offset_log_likelihood, pose_log_likelihood
from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = ["NLLLoss", "OffsetNLLLoss", "nll_loss", "offset_nll_loss"]

REDUCTIONS = ("mean", "sum", "none")


def nll_loss(
    params: Tensor,
    keypoints: Tensor,
    *,
    skeleton: Skeleton | str | None = None,
    visible: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of annotated poses under predicted bone lengths.

    Parameters
    ----------
    params : (B, L, 2) or (L, 2) Tensor, floating
        Of each link: expected length in heatmap pixels, and log of the variance in pixels squared,
        as :class:`vl4pose.nn.AuxiliaryNet` predicts them.
    keypoints : (B, J, 2) or (J, 2) Tensor, floating
        Annotated (x, y) in heatmap pixels.
    skeleton : Skeleton or str, optional
        A skeleton or a preset's name; default by J, as for :func:`vl4pose.score`.
    visible : (B, J) or (J,) Tensor of bool, optional
        Which joints are annotated, default all. A link counts when both its joints are; the
        coordinates of the others are never read, in value or gradient, and may be NaN.
    reduction : {"mean", "sum", "none"}
        "mean": over the links that count, of all images together; 0 where there is none.
        "none": every link's term, 0 for those that do not count.

    Returns
    -------
    Tensor of shape (), or (B, L) with "none"
        float32, or float64 for float64 keypoints, under autocast too. In nats.

    Raises
    ------
    TypeError, ValueError
        ``reduction must be one of mean, sum, none``, and as for
        :func:`vl4pose.pose_log_likelihood`.

    Notes
    -----
    Of each link 1/2 (log 2 pi + s + (r - d)^2 exp(-s)), the negative of Eq. 5, with r the annotated
    length. The authors' released code leaves the constant log(2 pi) / 2 out and divides by the
    number of all links. s is clamped to [-20, 20] and d to [-1e6, 1e6], beyond which the gradient
    is 0; so is that of a bone of length 0 by its ends. Second derivatives work as well.

    Examples
    --------
    >>> import torch
    >>> params = torch.zeros(8, 13, 2, requires_grad=True)
    >>> loss = nll_loss(params, torch.rand(8, 14, 2) * 64, skeleton="lsp")
    >>> loss.backward()
    """
    _check(reduction, {"params": params, "keypoints": keypoints}, visible)
    ell = pose_log_likelihood(keypoints, params, skeleton=skeleton, visible=visible, per_link=True)
    return _reduced(ell, visible, skeleton, keypoints.shape[-2], reduction)


def offset_nll_loss(
    offsets: Tensor,
    scale_tril: Tensor,
    keypoints: Tensor,
    *,
    skeleton: Skeleton | str,
    visible: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of annotated poses under predicted offsets along the links.

    Parameters
    ----------
    offsets : (B, L, D) or (L, D) Tensor, floating
        Expected step from parent to child of each link, in the unit of the keypoints.
    scale_tril : (B, L, D, D) or (L, D, D) Tensor, floating
        Cholesky factor T of each link's covariance T T^t: lower triangular, with a positive
        diagonal.
    keypoints : (B, J, D) or (J, D) Tensor, floating
        Annotated positions, D of 2 or 3.
    skeleton, visible, reduction
        As for :func:`nll_loss`.

    Returns
    -------
    Tensor of shape (), or (B, L) with "none"
        As :func:`nll_loss` returns it.

    Raises
    ------
    TypeError, ValueError
        ``reduction must be one of mean, sum, none``, and as for
        :func:`vl4pose.offset_log_likelihood`.

    Notes
    -----
    Of each link 1/2 (D log 2 pi + 2 sum log diag T + |T^-1 (y_child - y_parent - o)|^2), the
    negative of Eq. 4.
    """
    given = {"offsets": offsets, "scale_tril": scale_tril, "keypoints": keypoints}
    _check(reduction, given, visible)
    ell = offset_log_likelihood(
        keypoints, offsets, scale_tril, skeleton=skeleton, visible=visible, per_link=True
    )
    return _reduced(ell, visible, skeleton, keypoints.shape[-2], reduction)


def _check(reduction: object, given: Mapping[str, object], visible: object) -> None:
    choice(reduction, "reduction", REDUCTIONS)
    for argument, array in {**given, "visible": visible}.items():
        if not isinstance(array, Tensor) and not (argument == "visible" and array is None):
            raise TypeError(f"{argument} must be a tensor, got {type(array).__name__}")


def _reduced(
    ell: Tensor,
    visible: Tensor | None,
    skeleton: Skeleton | str | None,
    num_joints: int,
    reduction: str,
) -> Tensor:
    nll = 0.0 - ell  # and not -ell, for the sign of the zeros
    if reduction == "none":
        return nll
    total = nll.sum()
    if reduction == "sum":
        return total
    if visible is None:
        return total / max(nll.numel(), 1)
    links = resolve_skeleton(skeleton, num_joints).links
    parents, children = [parent for parent, _ in links], [child for _, child in links]
    counted = visible[..., parents] & visible[..., children]
    return total / counted.sum().clamp(min=1)


class _Loss(nn.Module):
    def __init__(self, skeleton: Skeleton | str | None, reduction: str) -> None:
        super().__init__()
        self.skeleton = skeleton
        self.reduction = choice(reduction, "reduction", REDUCTIONS)

    def extra_repr(self) -> str:
        name = self.skeleton.name if isinstance(self.skeleton, Skeleton) else self.skeleton
        return f"skeleton={name!r}, reduction={self.reduction!r}"


class NLLLoss(_Loss):
    """:func:`nll_loss` as a module.

    Parameters
    ----------
    skeleton, reduction
        As for :func:`nll_loss`.
    """

    def __init__(self, skeleton: Skeleton | str | None = None, *, reduction: str = "mean") -> None:
        super().__init__(skeleton, reduction)

    def forward(self, params: Tensor, keypoints: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return the loss: see :func:`nll_loss`."""
        return nll_loss(
            params,
            keypoints,
            skeleton=self.skeleton,
            visible=visible,
            reduction=self.reduction,
        )


class OffsetNLLLoss(_Loss):
    """:func:`offset_nll_loss` as a module.

    Parameters
    ----------
    skeleton, reduction
        As for :func:`nll_loss`.
    """

    def __init__(self, skeleton: Skeleton | str, *, reduction: str = "mean") -> None:
        super().__init__(skeleton, reduction)

    def forward(
        self,
        offsets: Tensor,
        scale_tril: Tensor,
        keypoints: Tensor,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Return the loss: see :func:`offset_nll_loss`."""
        return offset_nll_loss(
            offsets,
            scale_tril,
            keypoints,
            skeleton=self.skeleton,  # type: ignore[arg-type]
            visible=visible,
            reduction=self.reduction,
        )
