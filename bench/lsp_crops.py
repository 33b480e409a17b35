"""Crops of Leeds Sports Pose and of its extended training set, as ``vl4pose simulate`` reads them.

The data folder (``data``, or the environment variable VL4POSE_TEST_DATA) holds two files of crops,
128 x 128 pixels with a person in the middle: ``lsp_crops128.npz`` of Leeds Sports Pose (Johnson and
Everingham, BMVC 2010), 2,000 of them, and ``lspet_crops128.npz`` of the extended training set (CVPR
2011), 10,000. In each ``jpeg`` holds the bytes of all crops, ``offset`` where each begins, and
``joints`` (N, 14, 3) x, y and a flag, in pixels of the crop and in the order of the annotations.

Of the first set all joints are annotated, and a flag of 1 says that one is occluded; of the second
a flag of 1 says that one is annotated, and the coordinates of the others mean nothing.
"""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from vl4pose.image_transform import ImageTransform
from vl4pose.training.dataset import Annotations

CROP_SIZE = (128, 128)
NUM_TRAINING = 1000  # of the 2,000; the others are for tests
# Where the joints of the "lsp" skeleton are in the annotations' order.
ANNOTATED_AS = [13, 12, 9, 10, 11, 8, 7, 6, 3, 4, 5, 2, 1, 0]
FILES = ("lsp_crops128.npz", "lspet_crops128.npz")

FloatArray = npt.NDArray[np.float64]


class Crops:
    """A `vl4pose.training.PoseDataset` of crops in memory.

    Parameters
    ----------
    images : Tensor (N, 3, H, W) of uint8
    annotations : Annotations
        Heatmap pixels.
    """

    def __init__(self, images: Tensor, annotations: Annotations) -> None:
        self.images = images
        self._annotations = annotations

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        keypoints, visible = self._annotations
        return self.images[index], keypoints[index], visible[index]

    def annotations(self) -> Annotations:
        """Return the poses of all crops."""
        return self._annotations


def training_set(
    data: str | os.PathLike[str] | None = None,
    *,
    size: int = 128,
    min_joints: int | None = None,
    limit: int | None = None,
) -> Crops:
    """Return the crops of the images 1 to 1000, and perhaps those of the extended set.

    Parameters
    ----------
    data : path, optional
        By default $VL4POSE_TEST_DATA.
    size : int
        Of the network's input, in pixels; heatmaps are a quarter of it.
    min_joints : int, optional
        Crops of the extended set with at least so many of the 14 joints annotated come after the
        others. By default none does.
    limit : int, optional
        At most so many of all crops, equally spaced.
    """
    folder = data_folder(data)
    jpegs, joints = read_crops(folder / FILES[0])
    jpegs, xy = jpegs[:NUM_TRAINING], joints[:NUM_TRAINING, :, :2]
    visible = np.full(xy.shape[:2], True)
    if min_joints is not None:
        more_jpegs, more = read_crops(folder / FILES[1])
        annotated = more[..., 2] > 0
        chosen = np.flatnonzero(annotated.sum(axis=1) >= min_joints)
        jpegs = jpegs + [more_jpegs[index] for index in chosen]
        xy = np.concatenate([xy, more[chosen, :, :2]])
        visible = np.concatenate([visible, annotated[chosen]])
    return as_dataset(jpegs, xy, visible, size, limit)


def evaluation_set(
    data: str | os.PathLike[str] | None = None, *, size: int = 128, limit: int | None = None
) -> Crops:
    """Return the crops of the images 1001 to 2000; parameters as for `training_set`."""
    jpegs, joints = read_crops(data_folder(data) / FILES[0])
    xy = joints[NUM_TRAINING:, :, :2]
    return as_dataset(jpegs[NUM_TRAINING:], xy, np.full(xy.shape[:2], True), size, limit)


def data_folder(data: str | os.PathLike[str] | None) -> Path:
    """Return the data's folder, or raise `ValueError` where none is named."""
    found = data or os.environ.get("VL4POSE_TEST_DATA")
    if not found:
        raise ValueError("data must be a folder, got none, nor the variable VL4POSE_TEST_DATA")
    return Path(found)


def read_crops(path: Path) -> tuple[list[bytes], FloatArray]:
    """Return the JPEG files and the joints (N, 14, 3) of a file of crops, these in our order."""
    with np.load(path) as arrays:
        jpeg, offset = arrays["jpeg"].tobytes(), arrays["offset"].tolist()
        joints = arrays["joints"][:, ANNOTATED_AS].astype(np.float64)
    return [jpeg[start:end] for start, end in itertools.pairwise(offset)], joints


def as_dataset(
    jpegs: list[bytes],
    xy: FloatArray,
    visible: npt.NDArray[np.bool_],
    size: int,
    limit: int | None,
) -> Crops:
    """Return crops with poses (N, 14, 2) in pixels, and which joints are annotated (N, 14)."""
    transform = ImageTransform((size, size), scale=255.0)
    kept = np.arange(len(jpegs))
    if limit is not None and limit < len(kept):
        kept = np.arange(limit) * len(kept) // limit
    images = np.empty((len(kept), 3, size, size), np.uint8)
    for image, index in zip(images, kept, strict=True):
        with Image.open(io.BytesIO(jpegs[index])) as crop:
            values, _ = transform.apply(crop.convert("RGB"))
        image[:] = (values * 255.0).round()
    placement = transform.place(CROP_SIZE)
    keypoints = transform.image_to_heatmap(xy[kept], (size // 4, size // 4), placement)
    annotations = Annotations(torch.from_numpy(keypoints).float(), torch.from_numpy(visible[kept]))
    return Crops(torch.from_numpy(images), annotations)
