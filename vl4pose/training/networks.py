"""A pose network and its auxiliary network as one module, that takes one step together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vl4pose.scorer import in_eval_mode, split_output

__all__ = ["Networks", "frozen_output", "heatmaps_and_features", "pose_output"]


class Networks(nn.Module):
    """Both networks, or the auxiliary one with a frozen pose network or with none.

    Parameters
    ----------
    aux : torch.nn.Module
    pose : torch.nn.Module, optional
        Trained along.
    frozen_pose : callable, optional
        Not a part of this module: neither trained nor stored with it. Without either pose network
        the inputs are features.
    """

    def __init__(
        self,
        aux: nn.Module,
        pose: nn.Module | None = None,
        frozen_pose: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__()
        self.aux = aux
        self.pose = pose
        self._frozen = [frozen_pose]  # which keeps it from becoming a submodule

    def without_pose(self) -> None:
        """Take features for inputs from now on."""
        self._frozen = [None]

    def forward(self, inputs: Any) -> tuple[Tensor | None, Tensor]:
        """Map images, or features, to heatmaps (B, S, J, H, W) or None, and params (B, L, 2)."""
        heatmaps, features = None, inputs
        (frozen_pose,) = self._frozen
        if self.pose is not None:
            heatmaps, features = pose_output(self.pose, inputs)
        elif frozen_pose is not None:
            _, features = frozen_output(frozen_pose, inputs)
        params = self.aux([maps.detach() for maps in features])
        return heatmaps, params.reshape(len(params), -1, 2)


def frozen_output(pose: Callable[[Tensor], Any], images: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Return what `pose_output` does, without gradients and in eval mode."""
    with torch.no_grad(), in_eval_mode(pose):
        return pose_output(pose, images)


def pose_output(pose: Callable[[Tensor], Any], images: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Return heatmaps (B, S, J, H, W) and features of a pose network, checked.

    Raises
    ------
    TypeError, ValueError
        ``pose must return ...``.
    """
    heatmaps, features = heatmaps_and_features(pose(images))
    if features is None:
        raise ValueError("pose must return (heatmaps, features), got heatmaps alone")
    if not isinstance(features, Sequence) or not all(isinstance(f, Tensor) for f in features):
        raise TypeError(
            f"pose must return features as a sequence of Tensors, got {type(features).__name__}"
        )
    return heatmaps, features


def heatmaps_and_features(output: Any) -> tuple[Tensor, Any]:
    """Return heatmaps (B, S, J, H, W), and features or None, of what a network returned.

    Raises
    ------
    TypeError, ValueError
        ``pose must return ...``.
    """
    heatmaps, features = split_output(output)
    if not isinstance(heatmaps, Tensor) or heatmaps.ndim not in (4, 5):
        got = tuple(heatmaps.shape) if isinstance(heatmaps, Tensor) else type(heatmaps).__name__
        raise ValueError(
            f"pose must return heatmaps (B, J, H, W) or (B, S, J, H, W) as a Tensor, got {got}"
        )
    return heatmaps if heatmaps.ndim == 5 else heatmaps[:, None], features
