"""Flips, rotations and changes of scale of network input, and of the keypoints with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from kornia.augmentation import AugmentationSequential, RandomAffine, RandomHorizontalFlip
from torch import Tensor

from vl4pose.image_transform import ImageTransform, Placement
from vl4pose.skeleton import Skeleton

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """Random flips, rotations and changes of scale about the middle of the input.

    Parameters
    ----------
    skeleton : Skeleton
        Whose ``pairs`` say which joints a flip exchanges.
    transform : ImageTransform
        What the images were made with: it tells where heatmap pixels are in the input, and the
        value of black, with which the input is filled where a turned image does not reach.
    flip : float
        Probability of a flip.
    degrees : float
        The largest rotation, to either side; drawn uniformly.
    scale : (float, float)
        The smallest and largest factor by which the image grows; drawn uniformly.

    Notes
    -----
    All draws come from torch's global generator of the CPU, so `torch.manual_seed` repeats them.
    """

    skeleton: Skeleton
    transform: ImageTransform
    flip: float = 0.5
    degrees: float = 30.0
    scale: Sequence[float] = (0.75, 1.25)

    def __call__(
        self, images: Tensor, keypoints: Tensor, visible: Tensor, heatmap_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, keypoints and visible of a batch, each sample changed in its own way.

        Parameters
        ----------
        images : Tensor (B, 3, H, W)
        keypoints : Tensor (B, J, 2)
            Heatmap pixels.
        visible : Tensor (B, J) of bool
        heatmap_size : (int, int)
            (width, height).
        """
        black = self._black().to(images)
        # align_corners, for integers are the centres of pixels here.
        sequence = AugmentationSequential(
            RandomHorizontalFlip(p=self.flip),
            RandomAffine(self.degrees, scale=tuple(self.scale), p=1.0, align_corners=True),
            data_keys=["input", "keypoints"],
        )
        factor, shift = (value.to(keypoints) for value in self._heatmap_to_input(heatmap_size))
        images, points = sequence(images - black, keypoints * factor + shift)
        keypoints = (points - shift) / factor
        matrices = sequence.transform_matrix
        assert matrices is not None
        mirrored = (torch.linalg.det(matrices[:, :2, :2]) < 0).to(visible.device)
        order = torch.tensor(self.skeleton.flip_index, device=visible.device)
        keypoints = torch.where(mirrored[:, None, None], keypoints[:, order], keypoints)
        visible = torch.where(mirrored[:, None], visible[:, order], visible)
        return images + black, keypoints, visible

    def _black(self) -> Tensor:
        mean, std = (
            torch.tensor(value).reshape(-1, 1, 1)
            for value in (self.transform.mean, self.transform.std)
        )
        return -mean / std

    def _heatmap_to_input(self, heatmap_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the factor and shift (2,) that take heatmap pixels to input pixels."""
        width, height = self.transform.input_size
        whole = Placement((0.0, 0.0, float(width), float(height)), (0, 0, width, height))
        origin, one = torch.from_numpy(
            self.transform.heatmap_to_image([[0.0, 0.0], [1.0, 1.0]], heatmap_size, whole)
        )
        return one - origin, origin
