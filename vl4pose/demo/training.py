"""Two small networks that learn from rendered people, and their files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vl4pose.demo.pictures import Picture
from vl4pose.image_transform import ImageTransform
from vl4pose.nn import StackedHourglass
from vl4pose.skeleton import Skeleton, get_skeleton
from vl4pose.training.fit_settings import FitSettings
from vl4pose.training.loop import fit
from vl4pose.training.reporting import Reporter

__all__ = [
    "HEATMAP_SIZE",
    "TRANSFORM",
    "PictureDataset",
    "Trained",
    "export",
    "train",
]

TRANSFORM = ImageTransform(input_size=(128, 128), scale=255.0)
HEATMAP_SIZE = (32, 32)
CHANNELS = 32
_SIGMA = 1.0  # of the targets: at 1.75, which is made for maps of 64 x 64, two legs become one


@dataclass(frozen=True)
class Trained:
    """The networks, and what was learnt about them.

    Attributes
    ----------
    pose, aux : torch.nn.Module
        In eval mode.
    entropy_temperature : float
        Of the softmax over peaks for their entropy, fitted to the validation pictures.
    nll, constant_nll : float
        Negative log-likelihood of the bones of the validation pictures, in nats per link: as the
        auxiliary network expects them, and with the training set's mean and variance for all.
    """

    pose: nn.Module
    aux: nn.Module
    entropy_temperature: float
    nll: float
    constant_nll: float


class PictureDataset:
    """Pictures as the training reads them, each as it is and mirrored.

    Parameters
    ----------
    pictures : iterable of Picture
        Not kept: their network input is, in 8 bits.
    mirrored : bool
        Whether there is a second half of mirror images.
    """

    def __init__(self, pictures: Iterable[Picture], *, mirrored: bool) -> None:
        pixels, poses = [], []
        for picture in pictures:
            values, placement = TRANSFORM.apply(picture.image)
            pixels.append((values * TRANSFORM.scale).round().astype(np.uint8))
            poses.append(TRANSFORM.image_to_heatmap(picture.keypoints, HEATMAP_SIZE, placement))
        self._pixels = np.stack(pixels)
        self._keypoints = torch.from_numpy(np.stack(poses)).float()
        if mirrored:
            other_side = _mirrored(self._keypoints, get_skeleton("lsp"))
            self._keypoints = torch.cat([self._keypoints, other_side])

    def __len__(self) -> int:
        return len(self._keypoints)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image, its keypoints in heatmap pixels, and that all are visible."""
        pixels = torch.from_numpy(self._pixels[index % len(self._pixels)])
        if index >= len(self._pixels):
            pixels = pixels.flip(-1)
        keypoints = self._keypoints[index]
        return pixels / TRANSFORM.scale, keypoints, torch.ones(len(keypoints), dtype=torch.bool)


def _mirrored(keypoints: Tensor, skeleton: Skeleton) -> Tensor:
    x, y = keypoints[:, list(skeleton.flip_index)].unbind(-1)
    return torch.stack([HEATMAP_SIZE[0] - 1 - x, y], dim=-1)


def train(
    pictures: PictureDataset,
    validation: PictureDataset,
    *,
    epochs: int,
    seed: int,
    num_peaks: int,
    min_distance: int,
    reporter: Reporter | None = None,
) -> Trained:
    """Train a stacked hourglass and its auxiliary network together.

    Parameters
    ----------
    pictures, validation : PictureDataset
    epochs : int
    seed : int
        Of the initial weights and of the order of the pictures.
    num_peaks, min_distance : int
        Of the peaks that are scored.
    reporter : Reporter, optional
        Is told how it goes.
    """
    torch.manual_seed(seed)
    pose = StackedHourglass(get_skeleton("lsp").num_joints, num_stacks=1, channels=CHANNELS)
    pose.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    result = fit(
        pictures,
        validation,
        pose,
        skeleton="lsp",
        train_pose=True,
        transform=TRANSFORM,
        settings=FitSettings(
            epochs=epochs,
            batch_size=16,
            learning_rate=2e-3,
            pose_learning_rate=3e-3,
            warmup=epochs / 8,
            patience=epochs,
            seed=seed,
            amp=_has_fast_bfloat16(),
            augment=False,  # new pictures teach more than old ones turned and scaled
            sigma=_SIGMA,
            num_peaks=num_peaks,
            min_distance=min_distance,
        ),
        reporter=reporter,
    )
    pose.eval()
    calibration = result.calibration
    return Trained(
        pose,
        result.aux,
        1.0 if result.peaks is None else result.peaks.temperature,
        calibration.predicted().nll,
        calibration.baseline().nll,
    )


def export(trained: Trained, folder: Path) -> None:
    """Write both networks as TorchScript, and the settings that ``vl4pose score`` reads.

    Parameters
    ----------
    trained : Trained
    folder : Path
        Gets ``pose.pt``, ``aux.pt`` and ``pose.json``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`?torch\.jit", DeprecationWarning)
        for name, network in (("pose.pt", trained.pose), ("aux.pt", trained.aux)):
            torch.jit.save(torch.jit.script(network), str(folder / name))
    settings = json.dumps(TRANSFORM.to_json(), indent=2)
    (folder / "pose.json").write_text(settings + "\n", encoding="utf-8")


def _has_fast_bfloat16() -> bool:
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
