"""Direct regression of keypoints through a pose prior, after Oberweger, Wohlhart and Lepetit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vl4pose._arrays import is_tensor
from vl4pose._options import integer
from vl4pose.nn.hourglass import Residual

__all__ = ["DeepPrior"]

_WIDTHS = (32, 64, 128, 256, 256)
_LAST_SIZE = 4
_MAX_SIZE = 2**16
_MAX_BLOCKS = 64
_USUAL_PRIOR_SIZE = 30

# Named here because TorchScript takes mypy's comment in a method for one of its own.
_is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]


class DeepPrior(nn.Module):
    """Regress D-dimensional keypoints from a crop, and return the features behind them too.

    Parameters
    ----------
    num_joints : int
        Keypoints, J.
    dimensions : {2, 3}, default 3
        Coordinates of a keypoint, D.
    in_channels : int, default 1
        Of the crops: 1 for depth, 3 for colour.
    prior_size : int, optional
        Units of the bottleneck before the last layer, at most J D: how many numbers describe a
        pose. By default 30, or J D if that is less.
    num_blocks : int, default 2
        Residual blocks of each of the four stages.
    hidden_size : int, default 1024
        Units of the two fully connected layers before the bottleneck.

    Attributes
    ----------
    feature_channels : tuple of int
        Width of each feature map, for `AuxiliaryNet`.

    Raises
    ------
    TypeError, ValueError
        ``<argument> must <rule>, got <value>``.

    Notes
    -----
    A 5x5 convolution and four stages of residual blocks, a max pooling of 2 before each stage and
    after the convolution's own, bring the crop to a 32nd of its size; two fully connected layers
    with dropout follow, then the bottleneck and a linear layer from it to the J D coordinates. That
    last layer is the prior: `init_prior` sets it to the principal components of training poses, and
    training goes on from there. The bottleneck's weights start at zero, so that the network
    predicts the mean pose until it is trained.

    `torch.jit.script` and `torch.export.export` take the network as it is.

    References
    ----------
    Oberweger, Wohlhart, Lepetit: "Hands Deep in Deep Learning for Hand Pose Estimation", CVWW 2015.
    Oberweger, Lepetit: "DeepPrior++: Improving Fast and Accurate 3D Hand Pose Estimation",
    ICCV Workshops 2017.

    Examples
    --------
    >>> keypoints, features = DeepPrior(num_joints=16).eval()(torch.zeros(2, 1, 128, 128))
    >>> tuple(keypoints.shape)
    (2, 16, 3)
    >>> [tuple(f.shape) for f in features]
    [(2, 64, 32, 32), (2, 128, 16, 16), (2, 256, 8, 8), (2, 256, 4, 4)]
    """

    feature_channels = _WIDTHS[1:]

    def __init__(
        self,
        num_joints: int,
        dimensions: int = 3,
        *,
        in_channels: int = 1,
        prior_size: int | None = None,
        num_blocks: int = 2,
        hidden_size: int = 1024,
    ) -> None:
        super().__init__()
        self.num_joints = integer(num_joints, "num_joints", 1, _MAX_SIZE)
        self.dimensions = integer(dimensions, "dimensions", 2, 3)
        self.in_channels = integer(in_channels, "in_channels", 1, _MAX_SIZE)
        size = self.num_joints * self.dimensions
        if prior_size is None:
            prior_size = min(_USUAL_PRIOR_SIZE, size)
        prior_size = integer(prior_size, "prior_size", 1, size)
        num_blocks = integer(num_blocks, "num_blocks", 1, _MAX_BLOCKS)
        hidden_size = integer(hidden_size, "hidden_size", 1, _MAX_SIZE)
        self.arguments = {
            "num_joints": self.num_joints,
            "dimensions": self.dimensions,
            "in_channels": self.in_channels,
            "prior_size": prior_size,
            "num_blocks": num_blocks,
            "hidden_size": hidden_size,
        }
        self.stem = nn.Sequential(
            nn.Conv2d(self.in_channels, _WIDTHS[0], 5, padding=2), nn.MaxPool2d(2)
        )
        self.stages = nn.ModuleList(
            _stage(_WIDTHS[i], _WIDTHS[i + 1], num_blocks) for i in range(len(_WIDTHS) - 1)
        )
        last = _WIDTHS[-1]
        self.layers = nn.Sequential(
            *(nn.BatchNorm2d(last), nn.ReLU(), nn.AdaptiveAvgPool2d(_LAST_SIZE), nn.Flatten()),
            *(nn.Linear(last * _LAST_SIZE**2, hidden_size), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Dropout(0.3)),
        )
        self.bottleneck = nn.Linear(hidden_size, prior_size)
        nn.init.zeros_(self.bottleneck.weight)
        nn.init.zeros_(self.bottleneck.bias)
        self.prior = nn.Linear(prior_size, size)

    @torch.jit.unused
    @torch.no_grad()
    def init_prior(self, keypoints: Any) -> None:
        """Set the last layer to the principal components of training poses.

        Parameters
        ----------
        keypoints : (N, J, D) array_like or Tensor
            Finite, N more than ``prior_size``; in the unit that the network is to predict.

        Raises
        ------
        ValueError
            ``keypoints must be (N, J, D)``, ``keypoints must be finite``, ``keypoints must be more
            poses than prior_size``.

        Notes
        -----
        The layer is the mean pose plus the components times their standard deviations, so that each
        unit of the bottleneck has variance 1 over the training poses.
        """
        poses = keypoints.detach().cpu() if is_tensor(keypoints) else np.asarray(keypoints)
        poses = torch.as_tensor(poses, dtype=torch.float64)
        if poses.ndim != 3 or poses.shape[1:] != (self.num_joints, self.dimensions):
            raise ValueError(
                f"keypoints must be (N, {self.num_joints}, {self.dimensions}), "
                f"got {tuple(poses.shape)}"
            )
        if not torch.isfinite(poses).all():
            raise ValueError("keypoints must be finite, got inf or NaN among them")
        prior_size = self.prior.in_features
        if len(poses) <= prior_size:
            raise ValueError(
                f"keypoints must be more poses than prior_size ({prior_size}), got {len(poses)}"
            )
        rows = poses.flatten(1)
        mean = rows.mean(dim=0)
        _, deviations, components = torch.linalg.svd(rows - mean, full_matrices=False)
        scaled = components * (deviations / len(rows) ** 0.5)[:, None]
        self.prior.weight.copy_(scaled[:prior_size].T)
        self.prior.bias.copy_(mean)

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Predict the keypoints of each crop.

        Parameters
        ----------
        images : Tensor (B, in_channels, H, W)
            H and W multiples of 32; 128 in the paper.

        Returns
        -------
        keypoints : Tensor (B, J, D)
            In the unit of the poses it was trained with.
        features : tuple of 4 Tensors (B, 64, H/4, W/4) ... (B, 256, H/32, W/32)
            What an `AuxiliaryNet` with the offset head takes, from high to low resolution.

        Raises
        ------
        ValueError
            ``images must be (B, C, H, W) with H and W multiples of 32``.
        """
        if not _is_tracing():  # a trace would warn that it turns sizes into constants
            _check_images(images, self.in_channels)
        x = self.stem(images)
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        pose = self.prior(self.bottleneck(self.layers(x)))
        features = (maps[0], maps[1], maps[2], maps[3])
        return pose.reshape(-1, self.num_joints, self.dimensions), features


def _stage(in_channels: int, out_channels: int, num_blocks: int) -> nn.Module:
    rest = (Residual(out_channels, out_channels) for _ in range(num_blocks - 1))
    return nn.Sequential(nn.MaxPool2d(2), Residual(in_channels, out_channels), *rest)


def _check_images(images: Tensor, in_channels: int) -> None:
    fits = images.dim() == 4 and images.shape[1] == in_channels
    if not fits or images.shape[2] % 32 != 0 or images.shape[3] % 32 != 0:
        raise ValueError(
            f"images must be (B, {in_channels}, H, W) with H and W multiples of 32, "
            f"got {list(images.shape)}"
        )
