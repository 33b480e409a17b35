"""The data of a training, checked."""

from __future__ import annotations

import torch
from torch import Tensor

from vl4pose.image_transform import ImageTransform
from vl4pose.link_params import fit_params
from vl4pose.skeleton import Skeleton
from vl4pose.training.dataset import Annotations, PoseDataset, annotations_of

__all__ = ["FitData"]


class FitData:
    """A training and a validation set, their poses, and the constant bones of the first.

    Parameters
    ----------
    train, validation : PoseDataset
    skeleton : Skeleton
    transform : ImageTransform
        What the images were made with.

    Attributes
    ----------
    train_poses, validation_poses : Annotations
    params : Tensor (L, 2)
        `vl4pose.fit_params` of the training set.
    validation_lengths : Tensor (N, L) of float64
        Of the validation set, NaN where a link is not visible.

    Raises
    ------
    ValueError
        ``train must hold ...``, ``validation must hold ...``, ``skeleton must have a link``.
    """

    def __init__(
        self,
        train: PoseDataset,
        validation: PoseDataset,
        skeleton: Skeleton,
        transform: ImageTransform,
    ) -> None:
        if not skeleton.links:
            raise ValueError(f"skeleton must have a link, got {skeleton.name!r} without")
        self.train = train
        self.validation = validation
        self.skeleton = skeleton
        self.transform = transform
        self.parents, self.children = (list(ends) for ends in zip(*skeleton.links, strict=True))
        self.train_poses = self._poses("train", train)
        self.validation_poses = self._poses("validation", validation)
        counts = self.visible_links(self.train_poses.visible).sum(0).tolist()
        unseen = [name for name, n in zip(skeleton.link_names, counts, strict=True) if n == 0]
        if unseen:
            raise ValueError(
                "train must hold at least one pose with both joints of each link, got none with "
                f"those of {', '.join(unseen)}"
            )
        self.params = fit_params(*self.train_poses, skeleton)
        keypoints, visible = self.validation_poses
        bones = (keypoints[:, self.children] - keypoints[:, self.parents]).double()
        lengths = torch.linalg.vector_norm(bones, dim=-1)
        self.validation_lengths = torch.where(self.visible_links(visible), lengths, torch.nan)
        if not self.validation_lengths.isfinite().any():
            raise ValueError("validation must hold at least one visible link, got none")

    def visible_links(self, visible: Tensor) -> Tensor:
        """Return (B, L): whether both ends of a link are visible."""
        return visible[:, self.parents] & visible[:, self.children]

    def _poses(self, name: str, dataset: PoseDataset) -> Annotations:
        if len(dataset) == 0:
            raise ValueError(f"{name} must hold at least one sample, got none")
        poses = annotations_of(dataset)
        num_joints = poses.keypoints.shape[1]
        if num_joints != self.skeleton.num_joints:
            raise ValueError(
                f"{name} must hold as many joints as skeleton {self.skeleton.name!r} "
                f"({self.skeleton.num_joints}), got {num_joints}"
            )
        return poses
