"""What an auxiliary network does before its head, for small networks with another one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vl4pose.nn.auxiliary_net import AuxiliaryNet

__all__ = ["feature_trunk"]


def feature_trunk(features: Sequence[Tensor]) -> tuple[nn.Module, int]:
    """Return an auxiliary network without its head, for features of these shapes.

    Parameters
    ----------
    features : sequence of Tensor (B, C, H, W)
        As for `AuxiliaryNet.for_features`.

    Returns
    -------
    trunk : torch.nn.Module
        Maps features, which it detaches, to a vector (B, size): see `AuxiliaryNet`.
    size : int

    Raises
    ------
    TypeError, ValueError
        ``features must ...``.
    """
    trunk = AuxiliaryNet.for_features(features, 1)
    linear = trunk.head.linear
    assert isinstance(linear, nn.Linear)
    trunk.head = nn.Identity()
    return trunk, linear.in_features
