"""The small networks that strategies need beside the pose network, by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vl4pose._torch_formulas import result_dtype
from vl4pose.losses import (
    learning_loss,
    learning_loss_plus_plus,
    log_variance_loss,
    nll_loss,
)
from vl4pose.nn import AuxiliaryNet, LearningLossNet, LogVarianceNet, MultiScaleLossNet
from vl4pose.skeleton import Skeleton
from vl4pose.training.heatmap_targets import PEAK, SIGMA, heatmap_loss

__all__ = ["HEADS", "Head", "LabelledBatch", "highest_pixels"]


@dataclass(frozen=True)
class LabelledBatch:
    """What heads learn from: labelled images, and what the pose network says of them.

    Attributes
    ----------
    heatmaps : Tensor (B, S, J, H, W)
        The pose network's, of all stacks. No gradient flows into them.
    keypoints : Tensor (B, J, 2)
        Annotated (x, y) in heatmap pixels.
    visible : Tensor (B, J) of bool
        Which of them are annotated.
    skeleton : Skeleton
    sigma, peak : float
        What heatmaps are trained towards: see `vl4pose.training.heatmap_targets`.
    """

    heatmaps: Tensor
    keypoints: Tensor
    visible: Tensor
    skeleton: Skeleton
    sigma: float = SIGMA
    peak: float = PEAK


class Head(ABC):
    """A small network on a pose network's features: how it is made, trained and asked.

    It is trained on features and heatmaps without gradients, so that the pose network does not
    depend on which heads are trained beside it, and strategies with different heads can be compared
    on the same pose network.

    Attributes
    ----------
    array : str or None
        Which of `vl4pose.active.strategies.pool.ARRAYS` it observes; None for "aux", whose link
        parameters are what poses are scored with.
    learns_from_pairs : bool
        Whether its loss compares two images, and is 0 for one alone.
    """

    array: ClassVar[str | None]
    learns_from_pairs: ClassVar[bool] = False

    @abstractmethod
    def make(
        self, features: Sequence[Tensor], skeleton: Skeleton, params: Any | None = None
    ) -> nn.Module:
        """Return a new network, its weights drawn by torch's global generator.

        Parameters
        ----------
        features : sequence of Tensor (B, C, H, W)
            Of any batch, from high to low resolution, for their shapes.
        skeleton : Skeleton
        params : (L, 2) array_like, optional
            Length and log-variance of each link in the training set, which "aux" starts at.
        """

    @abstractmethod
    def loss(self, output: Tensor, batch: LabelledBatch) -> Tensor:
        """Return the loss of a batch, a scalar.

        Parameters
        ----------
        output : Tensor
            What the network returned for the batch's features.
        batch : LabelledBatch
        """

    def observe(self, output: Tensor) -> Tensor:
        """Return what the pool is told of each image, (B, ...), of what the network returned."""
        return output.detach().to(result_dtype(output))


class _Bones(Head):
    array = None

    def make(
        self, features: Sequence[Tensor], skeleton: Skeleton, params: Any | None = None
    ) -> nn.Module:
        return AuxiliaryNet.for_features(features, skeleton.num_links, params=params)

    def loss(self, output: Tensor, batch: LabelledBatch) -> Tensor:
        return nll_loss(output, batch.keypoints, skeleton=batch.skeleton, visible=batch.visible)


class _LearnedLoss(Head):
    array = "predicted_loss"
    learns_from_pairs = True

    def make(
        self, features: Sequence[Tensor], skeleton: Skeleton, params: Any | None = None
    ) -> nn.Module:
        return LearningLossNet.for_features(features)

    def loss(self, output: Tensor, batch: LabelledBatch) -> Tensor:
        losses = heatmap_loss(
            batch.heatmaps.detach(),
            batch.keypoints,
            visible=batch.visible,
            sigma=batch.sigma,
            peak=batch.peak,
            reduction="image",
        )
        return self._of_pairs(output, losses, batch.visible.any(-1))

    def _of_pairs(self, predicted: Tensor, losses: Tensor, annotated: Tensor) -> Tensor:
        return learning_loss(predicted, losses, annotated=annotated)


class _LearnedLossPlusPlus(_LearnedLoss):
    def make(
        self, features: Sequence[Tensor], skeleton: Skeleton, params: Any | None = None
    ) -> nn.Module:
        return MultiScaleLossNet(features)

    def _of_pairs(self, predicted: Tensor, losses: Tensor, annotated: Tensor) -> Tensor:
        return learning_loss_plus_plus(predicted, losses, annotated=annotated)


class _LogVariance(Head):
    array = "log_variance"

    def make(
        self, features: Sequence[Tensor], skeleton: Skeleton, params: Any | None = None
    ) -> nn.Module:
        return LogVarianceNet(features, skeleton.num_joints)

    def loss(self, output: Tensor, batch: LabelledBatch) -> Tensor:
        predicted = highest_pixels(batch.heatmaps[:, -1].detach())
        return log_variance_loss(output, predicted, batch.keypoints, visible=batch.visible)


HEADS: Mapping[str, Head] = MappingProxyType(
    {
        "aux": _Bones(),
        "learning-loss": _LearnedLoss(),
        "learning-loss++": _LearnedLossPlusPlus(),
        "log-variance": _LogVariance(),
    }
)


def highest_pixels(heatmaps: Tensor) -> Tensor:
    """Return (x, y) of the first highest pixel of each heatmap, (..., H, W) to (..., 2)."""
    index = heatmaps.flatten(-2).argmax(-1)
    width = heatmaps.shape[-1]
    return torch.stack([index % width, index // width], -1).to(result_dtype(heatmaps))
