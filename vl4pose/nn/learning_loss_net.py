"""From a pose network's features to the loss that it is going to have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vl4pose._options import integer
from vl4pose.nn.auxiliary_net import Standardisation
from vl4pose.nn.feature_trunk import feature_trunk

__all__ = ["LearningLossNet", "MultiScaleLossNet"]

_WIDTH = 128
_MAX_SIZE = 2**16


class LearningLossNet(nn.Module):
    """Predict a pose network's loss from the averages of its feature maps.

    Parameters
    ----------
    channels : sequence of int
        Of each feature map.
    width : int, default 128
        Numbers that are made of each feature map.

    Raises
    ------
    TypeError, ValueError
        ``channels must be ...``, ``width must be ...``.

    Notes
    -----
    The loss prediction module of Yoo and Kweon: each feature map is averaged over its pixels and
    goes through a fully connected layer and ReLU; what comes out is joined and goes through a last
    layer to one number. It is trained by `vl4pose.losses.learning_loss`, which asks for the right
    order alone; its unit means nothing.

    Two things differ from the paper. The feature maps are standardised first (batch normalisation
    without weights shared between maps), for maps as a network has them between its layers may be
    of any scale. And they are detached: in the paper the module's gradient reaches the pose network
    and is stopped late in the training; here the pose network is the same whatever is asked of it,
    so that strategies can be compared on equal networks.

    References
    ----------
    Yoo and Kweon: "Learning Loss for Active Learning", CVPR 2019.

    Examples
    --------
    >>> features = [torch.rand(2, 256, size, size) for size in (64, 32, 16)]
    >>> LearningLossNet.for_features(features)(features).shape
    torch.Size([2])
    """

    def __init__(self, channels: Sequence[int], width: int = _WIDTH) -> None:
        super().__init__()
        of_maps = [integer(size, "channels", 1, _MAX_SIZE) for size in channels]
        if not of_maps:
            raise ValueError("channels must be at least one, got none")
        width = integer(width, "width", 1, _MAX_SIZE)
        self.entries = nn.ModuleList(Standardisation(size) for size in of_maps)
        self.layers = nn.ModuleList(nn.Linear(size, width) for size in of_maps)
        self.head = nn.Linear(width * len(of_maps), 1)

    @classmethod
    def for_features(cls, features: Sequence[Tensor], width: int = _WIDTH) -> LearningLossNet:
        """Build a network for the features that a pose network returned for some batch."""
        return cls(_checked_channels(features), width)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features (B, C, H, W), one per scale, to predicted losses (B,).

        Raises
        ------
        ValueError
            ``features must be one map per scale``.
        """
        if len(features) != len(self.layers):
            raise ValueError(
                f"features must be one map per scale ({len(self.layers)}), got {len(features)}"
            )
        vectors = [
            functional.relu(layer(entry(feature.detach()).mean((2, 3))))
            for entry, layer, feature in zip(self.entries, self.layers, features, strict=True)
        ]
        out: Tensor = self.head(torch.cat(vectors, 1))
        return out[:, 0]


class MultiScaleLossNet(nn.Module):
    """Predict a pose network's loss from its feature maps, brought together from scale to scale.

    Parameters
    ----------
    features : sequence of Tensor (B, C, H, W)
        Of any batch, from high to low resolution: their shapes say what the network is like.

    Raises
    ------
    TypeError, ValueError
        ``features must ...``, as for `AuxiliaryNet.for_features`.

    Notes
    -----
    Shukla and Ahmed predict the loss with convolutions that take features of one scale to the next,
    and not from averages. Here that is the body of `AuxiliaryNet`, which is made in the same way,
    with one number for a head. It is trained by `vl4pose.losses.learning_loss_plus_plus`. Features
    are detached, for the reason that `LearningLossNet` has.

    References
    ----------
    Shukla and Ahmed: "A Mathematical Analysis of Learning Loss for Active Learning in Regression",
    CVPR workshops 2021.

    Examples
    --------
    >>> features = [torch.rand(2, 32, size, size) for size in (64, 32, 16)]
    >>> MultiScaleLossNet(features)(features).shape
    torch.Size([2])
    """

    def __init__(self, features: Sequence[Tensor]) -> None:
        super().__init__()
        self.trunk, size = feature_trunk(features)
        self.head = nn.Linear(size, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features (B, C, H, W), one per scale, to predicted losses (B,)."""
        out: Tensor = self.head(self.trunk(features))
        return out[:, 0]


def _checked_channels(features: Sequence[Tensor]) -> list[int]:
    if isinstance(features, Tensor) or not isinstance(features, Sequence):
        raise TypeError(
            f"features must be tensors (B, C, H, W) in a sequence, got {type(features).__name__}"
        )
    channels = []
    for feature in features:
        if not isinstance(feature, Tensor):
            raise TypeError(f"features must be tensors, got {type(feature).__name__}")
        if feature.ndim != 4 or 0 in feature.shape[1:]:
            raise ValueError(
                f"features must be (B, C, H, W) and not empty, got {tuple(feature.shape)}"
            )
        channels.append(feature.shape[1])
    if not channels:
        raise ValueError("features must be at least one map, got none")
    return channels
