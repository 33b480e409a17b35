"""A detector of pytorch-ood: images whose poses are unlikely are out of distribution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vl4pose.results import Analysis
from vl4pose.scorer import Scorer

try:
    from pytorch_ood.api import DetectorInfo, Paper, StructuredDetector, Task
except ImportError as error:
    raise ImportError(
        f"vl4pose.adapters.pytorch_ood needs pytorch-ood 0.4 or newer ({error}): pip install "
        "pytorch-ood"
    ) from error

__all__ = ["PoseDetector"]


class PoseDetector(StructuredDetector):  # type: ignore[misc]
    """Outlier scores of images by the likelihood of their predicted poses.

    Higher is farther out of distribution, as everywhere in pytorch-ood: the outlier score is minus
    the score of vl4pose.

    Parameters
    ----------
    scorer : vl4pose.Scorer
        Its networks have been trained, and so there is nothing to fit.

    Raises
    ------
    TypeError
        ``scorer must be a vl4pose.Scorer, got ...``

    Notes
    -----
    An image without a score, because a heatmap or a param is not finite, has the outlier score inf:
    it counts as out of distribution at every threshold.
    """

    requires_fit = False
    info = DetectorInfo(
        tasks=frozenset({Task.CLASSIFICATION}),  # one outlier score per image
        paper=Paper(
            "VL4Pose: Active Learning Through Out-Of-Distribution Detection For Pose Estimation",
            "BMVC",
            2022,
            "https://arxiv.org/abs/2210.06028",
        ),
    )

    def __init__(self, scorer: Scorer) -> None:
        if not isinstance(scorer, Scorer):
            raise TypeError(f"scorer must be a vl4pose.Scorer, got {type(scorer).__name__}")
        self.scorer = scorer
        # By these the base class finds the device, and moves to another.
        self.networks = [
            network for network in (scorer._pose, scorer._aux) if isinstance(network, nn.Module)
        ]

    def predict(self, x: Tensor) -> Tensor:
        """Return the outlier scores of images.

        Parameters
        ----------
        x : Tensor (B, 3, H, W)
            As the pose network takes them.

        Returns
        -------
        Tensor (B,)
        """
        device = self.device
        return _outlier_scores(self.scorer(x if device is None else x.to(device)))

    def predict_structured(self, heatmaps: Tensor, params: Tensor) -> Tensor:
        """Return the outlier scores of what networks have said about images.

        Parameters
        ----------
        heatmaps : Tensor (B, J, H, W)
        params : Tensor (B, L, 2) or (L, 2)
            Length in heatmap pixels and log-variance of each link.

        Returns
        -------
        Tensor (B,)
        """
        return _outlier_scores(self.scorer.analyze(heatmaps, params))

    def to(self, device: str | torch.device) -> PoseDetector:
        """Move the networks, those of the scorer itself, and have images moved there."""
        super().to(device)
        self.scorer._device = torch.device(device)
        return self


def _outlier_scores(analysis: Analysis[Any]) -> Tensor:
    scores: Tensor = -analysis.score
    return torch.where(scores.isnan(), torch.inf, scores)
