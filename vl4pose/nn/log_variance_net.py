"""From a pose network's features to how far each of its keypoints may be off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vl4pose._options import integer
from vl4pose.nn.feature_trunk import feature_trunk

__all__ = ["LogVarianceNet"]

_MAX_SIZE = 2**16
_USUAL_LOG_VARIANCE = 3.0
_LARGEST_LOG_VARIANCE = 20.0


class LogVarianceNet(nn.Module):
    """Predict the log of the squared distance between each keypoint and the truth.

    Parameters
    ----------
    features : sequence of Tensor (B, C, H, W)
        Of any batch, from high to low resolution: their shapes say what the network is like.
    num_joints : int
        J.

    Raises
    ------
    TypeError, ValueError
        ``num_joints must be ...``, ``features must ...``, as for `AuxiliaryNet.for_features`.

    Notes
    -----
    The body of `AuxiliaryNet` with a log-variance for each joint as its head. It is trained by
    `vl4pose.losses.log_variance_loss` and starts at 3 for every joint and image; it is bounded
    smoothly, to less than 20 away from 0. Kendall and Gal predict mean and variance with one
    network. Here the mean is the pose network's highest pixel, which has no gradient, and features
    are detached: the variance describes the pose network and does not change it.

    References
    ----------
    Kendall and Gal: "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?",
    NeurIPS 2017.

    Examples
    --------
    >>> features = [torch.rand(2, 32, size, size) for size in (64, 32, 16)]
    >>> LogVarianceNet(features, 14)(features).shape
    torch.Size([2, 14])
    """

    def __init__(self, features: Sequence[Tensor], num_joints: int) -> None:
        super().__init__()
        num_joints = integer(num_joints, "num_joints", 1, _MAX_SIZE)
        self.trunk, size = feature_trunk(features)
        self.head = nn.Linear(size, num_joints)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features (B, C, H, W), one per scale, to log-variances (B, J) in pixels squared."""
        raw: Tensor = self.head(self.trunk(features))
        raw = raw if raw.dtype == torch.float64 else raw.float()
        limit = _LARGEST_LOG_VARIANCE - _USUAL_LOG_VARIANCE
        return _USUAL_LOG_VARIANCE + raw / (1 + raw.abs() / limit)
