"""Images and their annotations in memory, where networks are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vl4pose.image_transform import ImageTransform
from vl4pose.training.dataset import Annotations, PoseDataset, batches_of
from vl4pose.training.features import tensors_digest
from vl4pose.training.positions import batches_in_order

__all__ = ["ImageStack", "LabelledImages"]

Indices = npt.NDArray[np.int64]

_READ_AT_ONCE = 64
_TOLERANCE = 0.01  # of 8-bit values: what float32 may make of them


class ImageStack:
    """Images as 8-bit network input, without annotations.

    Parameters
    ----------
    pixels : Tensor (N, 3, H, W) of uint8
    transform : ImageTransform
        Its mean, std and scale make network input of the pixels.
    """

    def __init__(self, pixels: Tensor, transform: ImageTransform) -> None:
        self.pixels = pixels
        self.transform = transform
        self._mean, self._std = (
            torch.tensor(value, device=pixels.device).reshape(1, -1, 1, 1)
            for value in (transform.mean, transform.std)
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Return network input (B, 3, H, W) float32 of pixels (B, 3, H, W) uint8."""
        return (pixels.float() / self.transform.scale - self._mean) / self._std


class LabelledImages(ImageStack):
    """Images and where their joints are; a `vl4pose.training.PoseDataset` too.

    Parameters
    ----------
    pixels : Tensor (N, 3, H, W) of uint8
    annotations : Annotations
        In heatmap pixels.
    transform : ImageTransform
    """

    def __init__(self, pixels: Tensor, annotations: Annotations, transform: ImageTransform) -> None:
        super().__init__(pixels, transform)
        keypoints, visible = annotations
        self.keypoints = keypoints.float().to(pixels.device)
        self.visible = visible.to(pixels.device)

    @classmethod
    def read(
        cls,
        dataset: PoseDataset,
        name: str,
        num_joints: int,
        transform: ImageTransform,
        device: torch.device,
        *,
        workers: int = 0,
        advance: Callable[[int], None] = lambda count: None,
    ) -> LabelledImages:
        """Read every item of a dataset once.

        Parameters
        ----------
        dataset : PoseDataset
            Whose images are network input, as the transform says, or uint8 before its scale, mean
            and std.
        name : str
            What errors call it.
        num_joints : int
        transform : ImageTransform
        device : torch.device
        workers : int
            Threads that read.
        advance : callable
            Is told of how many more images are read.

        Raises
        ------
        ValueError
            ``<name> must hold ...``.
        """
        if len(dataset) == 0:
            raise ValueError(f"{name} must hold at least one image, got none")
        width, height = transform.input_size
        pixels = torch.empty(len(dataset), 3, height, width, dtype=torch.uint8)
        keypoints = torch.empty(len(dataset), num_joints, 2)
        visible = torch.empty(len(dataset), num_joints, dtype=torch.bool)
        batches = batches_in_order(len(dataset), _READ_AT_ONCE)
        for rows, batch in zip(batches, batches_of(dataset, batches, workers), strict=True):
            found = tuple(batch.inputs.shape[1:])
            if found != (3, height, width):
                raise ValueError(
                    f"{name} must hold images (3, H, W) of input_size, (3, {height}, {width}), "
                    f"got {found}"
                )
            if tuple(batch.keypoints.shape[1:]) != (num_joints, 2):
                raise ValueError(
                    f"{name} must hold keypoints (J, 2) of the skeleton, ({num_joints}, 2), got "
                    f"{tuple(batch.keypoints.shape[1:])}"
                )
            if batch.visible.dtype != torch.bool or batch.visible.shape[1:] != (num_joints,):
                raise ValueError(
                    f"{name} must hold visible (J,) of bool, got {tuple(batch.visible.shape[1:])} "
                    f"of {batch.visible.dtype}"
                )
            pixels[rows] = _pixels(batch.inputs, name, transform)
            keypoints[rows], visible[rows] = batch.keypoints, batch.visible
            advance(len(rows))
        if not keypoints[visible].isfinite().all():
            raise ValueError(
                f"{name} must hold finite keypoints where visible, got NaN or infinity"
            )
        return cls(pixels.to(device), Annotations(keypoints, visible), transform)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return an image as network input, its keypoints, and which of them are there."""
        image = self.inputs(self.pixels[index : index + 1])[0]
        return image.cpu(), self.keypoints[index].cpu(), self.visible[index].cpu()

    def annotations(self) -> Annotations:
        """Return the poses of all images, in heatmap pixels."""
        return Annotations(self.keypoints.cpu(), self.visible.cpu())

    def without_labels(self) -> ImageStack:
        """Return the images alone."""
        return ImageStack(self.pixels, self.transform)

    def digest(self) -> str:
        """Return a SHA-256 of images and annotations."""
        keypoints, visible = self.annotations()
        return tensors_digest(
            [self.pixels, torch.where(visible[..., None], keypoints, 0.0), visible]
        )


def _pixels(images: Tensor, name: str, transform: ImageTransform) -> Tensor:
    """Return the 8-bit values that network input was made of."""
    if images.dtype == torch.uint8:
        return images
    mean, std = (
        torch.tensor(value, dtype=torch.float64).reshape(1, -1, 1, 1)
        for value in (transform.mean, transform.std)
    )
    values = (images.double() * std + mean) * transform.scale
    if not bool(((values > -0.5 - _TOLERANCE) & (values < 255.5 + _TOLERANCE)).all()):
        low, high = float(values.min()), float(values.max())
        raise ValueError(
            f"{name} must hold uint8 images, or network input that scale, mean and std make of "
            f"values from 0 to 255, got what they make of {low:.4g} to {high:.4g}"
        )
    return values.round().clamp(0, 255).to(torch.uint8)
