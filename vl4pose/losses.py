"""Losses that train the small networks beside a pose network.

Negative log-likelihoods of annotated poses train an auxiliary network. The others are for networks
that competitors of the likelihood need: one that tells how large the pose network's loss is going
to be, and one that tells how far each joint is going to be off.

They take tensors on any device and work under autocast, torch.compile, torch.func and in
distributed training. Annotations are in heatmap pixels: :func:`vl4pose.to_heatmap_pixels`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from vl4pose import _torch_ops  # noqa: F401  # registers what exported programs may name
from vl4pose._options import choice, real
from vl4pose._torch_formulas import joints_at, result_dtype
from vl4pose.scoring import offset_log_likelihood, pose_log_likelihood
from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = [
    "LearningLoss",
    "LearningLossPlusPlus",
    "LogVarianceLoss",
    "NLLLoss",
    "OffsetNLLLoss",
    "learning_loss",
    "learning_loss_plus_plus",
    "log_variance_loss",
    "nll_loss",
    "offset_nll_loss",
]

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


def learning_loss(
    predicted: Tensor,
    losses: Tensor,
    *,
    margin: float = 1.0,
    annotated: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """How badly predicted losses rank the images of each pair (Learning Loss).

    Parameters
    ----------
    predicted : (B,) Tensor, floating
        What a network says of the loss of each image: any numbers, larger for a larger loss.
    losses : (B,) Tensor, floating
        The pose network's loss of each image. No gradient flows into them.
    margin : float, at least 0
        How much larger the prediction for the larger loss should be.
    annotated : (B,) Tensor of bool, optional
        Which images have a loss, default all. That of the others is never read, nor are their
        predictions.
    reduction : {"mean", "sum", "none"}
        "mean": over the pairs that count; 0 where there is none. "none": each pair's term, 0 for
        those that do not count.

    Returns
    -------
    Tensor of shape (), or (B // 2,) with "none"
        float32, or float64 for float64 predictions, under autocast too.

    Raises
    ------
    TypeError, ValueError
        ``reduction must be one of mean, sum, none``, ``margin must be ...``, ``predicted must be
        (B,)``, ``losses must be (B,) like predicted``.

    Notes
    -----
    Image i and image i + B // 2 are a pair; the last image of an odd number is in none. A pair
    whose losses are l > k, predicted as p and q, adds max(0, margin - (p - q)). The paper counts
    equal losses as if the second were larger; here such a pair does not count, for nothing is known
    of its order.

    References
    ----------
    Yoo and Kweon: "Learning Loss for Active Learning", CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> learning_loss(torch.tensor([0.5, 2.0]), torch.tensor([3.0, 1.0]))
    tensor(2.5000)
    """
    choice(reduction, "reduction", REDUCTIONS)
    margin = real(margin, "margin", 0.0)
    predicted, losses = _checked_losses(predicted, losses, annotated)
    (p, q), (first, second) = _paired(predicted), _paired(losses)
    counted = _paired_counted(annotated, first) & (first != second)
    terms = functional.relu(margin - torch.where(first > second, p - q, q - p))
    terms = torch.where(first.isnan() | second.isnan(), torch.nan, terms)  # and not any order
    return _reduced_pairs(terms, counted, reduction)


def learning_loss_plus_plus(
    predicted: Tensor,
    losses: Tensor,
    *,
    annotated: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """How far predicted losses are from the true shares of the images of each pair.

    Parameters
    ----------
    predicted, losses, annotated, reduction
        As for :func:`learning_loss`; losses are at least 0.

    Returns
    -------
    Tensor of shape (), or (B // 2,) with "none"
        As :func:`learning_loss` returns it. In nats.

    Raises
    ------
    TypeError, ValueError
        As for :func:`learning_loss`.

    Notes
    -----
    Pairs are those of :func:`learning_loss`. A pair whose losses are l and k, predicted as p and q,
    adds the Kullback-Leibler divergence of the shares (l, k) / (l + k) from softmax(p, q). Its
    gradient by p is softmax(p, q)'s first minus l / (l + k): smooth, with no margin to choose, and
    small for pairs of nearly equal losses, whose order hardly matters. Two losses of 0 have shares
    of a half.

    References
    ----------
    Shukla and Ahmed: "A Mathematical Analysis of Learning Loss for Active Learning in Regression",
    CVPR workshops 2021.

    Examples
    --------
    >>> import torch
    >>> learning_loss_plus_plus(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 2.0]))
    tensor(0.)
    """
    choice(reduction, "reduction", REDUCTIONS)
    predicted, losses = _checked_losses(predicted, losses, annotated)
    (p, q), (first, second) = _paired(predicted), _paired(losses)
    total = first + second
    share = torch.where(total == 0, 0.5, first / torch.where(total == 0, 1.0, total))
    entropy = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))
    # The two log-softmaxes are -softplus(q - p) and -softplus(p - q).
    cross = share * functional.softplus(q - p) + (1 - share) * functional.softplus(p - q)
    return _reduced_pairs(cross - entropy, _paired_counted(annotated, first), reduction)


def log_variance_loss(
    log_variance: Tensor,
    predicted: Tensor,
    keypoints: Tensor,
    *,
    visible: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """How badly log-variances foretell the squared distance of keypoints to their annotation.

    Parameters
    ----------
    log_variance : (B, J) Tensor, floating
        Of each joint, the log of the squared distance to expect, in heatmap pixels squared.
    predicted : (B, J, D) Tensor
        Where the pose network sees the joints: (x, y) in heatmap pixels. No gradient flows into it.
    keypoints : (B, J, D) Tensor, floating
        Where they are annotated.
    visible : (B, J) Tensor of bool, optional
        Which joints are annotated, default all. The coordinates of the others are never read, in
        value or gradient, and may be NaN.
    reduction : {"mean", "sum", "none"}
        "mean": over the visible joints of all images together; 0 where there is none. "none": every
        joint's term, 0 for those that are not visible.

    Returns
    -------
    Tensor of shape (), or (B, J) with "none"
        float32, or float64 for float64 log-variances, under autocast too.

    Raises
    ------
    TypeError, ValueError
        ``reduction must be one of mean, sum, none``, ``log_variance must be (B, J)``, ``keypoints
        must be (B, J, D) like predicted``, ``visible must be (B, J) of bool``.

    Notes
    -----
    (exp(-s) d^2 + s) / 2 of a joint at a distance d: the loss of Kendall and Gal for regression
    with s the log-variance, whose minimum over s is at s = log d^2. So exp(s) foretells the whole
    squared distance, the sum over the axes and not their mean.

    References
    ----------
    Kendall and Gal: "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?",
    NeurIPS 2017.

    Examples
    --------
    >>> import torch
    >>> log_variance_loss(torch.zeros(1, 1), torch.zeros(1, 1, 2), torch.tensor([[[3.0, 4.0]]]))
    tensor(12.5000)
    """
    given = {"log_variance": log_variance, "predicted": predicted, "keypoints": keypoints}
    _check(reduction, given, visible)
    if log_variance.ndim != 2 or not log_variance.is_floating_point():
        raise ValueError(
            f"log_variance must be (B, J) and floating, got {_described(log_variance)}"
        )
    B, J = log_variance.shape
    if predicted.ndim != 3 or predicted.shape[:2] != (B, J):
        raise ValueError(
            f"predicted must be ({B}, {J}, D) like log_variance, got {_described(predicted)}"
        )
    if keypoints.shape != predicted.shape:
        raise ValueError(
            f"keypoints must be {tuple(predicted.shape)} like predicted, got "
            f"{_described(keypoints)}"
        )
    if visible is None:
        visible = torch.ones(B, J, dtype=torch.bool, device=log_variance.device)
    if visible.shape != (B, J) or visible.dtype != torch.bool:
        raise ValueError(f"visible must be ({B}, {J}) of bool, got {_described(visible)}")
    s = log_variance.to(result_dtype(log_variance))
    offset = (keypoints - predicted).detach().to(s.dtype)
    squared = torch.where(visible[..., None], offset, 0.0).square().sum(-1)
    terms = torch.where(visible, 0.5 * (torch.exp(-s) * squared + s), 0.0)
    if reduction == "none":
        return terms
    total = terms.sum()
    return total if reduction == "sum" else total / visible.sum().clamp(min=1)


def _checked_losses(predicted: object, losses: object, annotated: object) -> tuple[Tensor, Tensor]:
    """Return predicted and true losses in one dtype, the true ones without a gradient."""
    for argument, array in {"predicted": predicted, "losses": losses}.items():
        if not isinstance(array, Tensor):
            raise TypeError(f"{argument} must be a tensor, got {type(array).__name__}")
        if not array.is_floating_point():
            raise TypeError(f"{argument} must be floating, got {array.dtype}")
    assert isinstance(predicted, Tensor)
    assert isinstance(losses, Tensor)
    if predicted.ndim != 1:
        raise ValueError(f"predicted must be (B,), got shape {tuple(predicted.shape)}")
    if losses.shape != predicted.shape:
        raise ValueError(
            f"losses must be ({len(predicted)},) like predicted, got shape {tuple(losses.shape)}"
        )
    if annotated is not None:
        if not isinstance(annotated, Tensor):
            raise TypeError(f"annotated must be a tensor, got {type(annotated).__name__}")
        if annotated.shape != predicted.shape or annotated.dtype != torch.bool:
            raise ValueError(
                f"annotated must be ({len(predicted)},) of bool, got {_described(annotated)}"
            )
        losses = torch.where(annotated, losses, 0.0)
        predicted = torch.where(annotated, predicted, 0.0)
    predicted = predicted.to(result_dtype(predicted))
    return predicted, losses.detach().to(predicted.dtype)


def _paired(values: Tensor) -> tuple[Tensor, Tensor]:
    half = len(values) // 2
    return values[:half], values[half : 2 * half]


def _paired_counted(annotated: Tensor | None, pairs: Tensor) -> Tensor:
    if annotated is None:
        return torch.ones_like(pairs, dtype=torch.bool)
    first, second = _paired(annotated)
    return first & second


def _reduced_pairs(terms: Tensor, counted: Tensor, reduction: str) -> Tensor:
    terms = torch.where(counted, terms, 0.0)
    if reduction == "none":
        return terms
    total = terms.sum()
    return total if reduction == "sum" else total / counted.sum().clamp(min=1)


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


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
    parents, children = (joints_at(visible, [link[end] for link in links], -1) for end in (0, 1))
    counted = parents & children
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


class _PlainLoss(nn.Module):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = choice(reduction, "reduction", REDUCTIONS)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class LearningLoss(_PlainLoss):
    """:func:`learning_loss` as a module.

    Parameters
    ----------
    margin, reduction
        As for :func:`learning_loss`.
    """

    def __init__(self, *, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = real(margin, "margin", 0.0)

    def forward(self, predicted: Tensor, losses: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Return the loss: see :func:`learning_loss`."""
        return learning_loss(
            predicted, losses, margin=self.margin, annotated=annotated, reduction=self.reduction
        )

    def extra_repr(self) -> str:  # noqa: D102 (torch's)
        return f"margin={self.margin}, {super().extra_repr()}"


class LearningLossPlusPlus(_PlainLoss):
    """:func:`learning_loss_plus_plus` as a module.

    Parameters
    ----------
    reduction
        As for :func:`learning_loss`.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, predicted: Tensor, losses: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Return the loss: see :func:`learning_loss_plus_plus`."""
        return learning_loss_plus_plus(
            predicted, losses, annotated=annotated, reduction=self.reduction
        )


class LogVarianceLoss(_PlainLoss):
    """:func:`log_variance_loss` as a module.

    Parameters
    ----------
    reduction
        As for :func:`log_variance_loss`.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(
        self,
        log_variance: Tensor,
        predicted: Tensor,
        keypoints: Tensor,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Return the loss: see :func:`log_variance_loss`."""
        return log_variance_loss(
            log_variance, predicted, keypoints, visible=visible, reduction=self.reduction
        )
