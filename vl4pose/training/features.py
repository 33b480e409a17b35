"""The features of a frozen pose network, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from vl4pose._atomic_file import write_atomically
from vl4pose.training.dataset import Annotations

__all__ = ["CachedFeatures", "FeatureCache", "tensors_digest"]

Features = Sequence[Tensor]


def tensors_digest(tensors: Sequence[Tensor]) -> str:
    """Return a SHA-256 of tensors: their values, shapes and dtypes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


class FeatureCache:
    """Feature maps on disk, found by the network input that they were computed from.

    One directory may serve any number of runs, networks and datasets. A file holds one sample, and
    its name is a SHA-256 of the network, as its features of a certain image tell it, and of the
    pixels of its input.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    probe : sequence of Tensor (1, C, H, W)
        The network's features of some image, always the same one.
    limit : int
        Bytes that the directory may hold: the files longest unused make room for new ones.
    """

    def __init__(self, directory: Path, probe: Features, limit: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._network = tensors_digest(probe).encode()
        self._bytes_per_sample = bytes_per_sample(probe)
        self._limit = limit
        files = sorted((_age_and_size(path), path) for path in directory.iterdir())
        self._unused = [path for _, path in files]  # by this run, the oldest first
        self._size = sum(size for (_, size), _ in files)
        self._used: set[Path] = set()

    def add(self, images: Tensor, features_of: Callable[[Tensor], Features]) -> list[Path]:
        """Return the files for a batch of images, having written those that were not there."""
        paths = [self._path(image) for image in images]
        self._used.update(paths)
        absent = {path: row for row, path in enumerate(paths) if not self._is_whole(path)}
        for path in paths:
            if path not in absent:
                os.utime(path)
        if absent:
            # Of all the batch, for the last bit of what a network gives may depend on the batch.
            features = features_of(images)
            for path, row in absent.items():
                self._make_room()
                write_atomically(path, _serialised(features, row))
                self._size += self._bytes_per_sample
        return paths

    def _path(self, image: Tensor) -> Path:
        digest = hashlib.sha256(self._network)
        digest.update(_bytes(image))
        return self.directory / f"{digest.hexdigest()}.safetensors"

    def _is_whole(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_size == self._bytes_per_sample

    def _make_room(self) -> None:
        while self._unused and self._size + self._bytes_per_sample > self._limit:
            path = self._unused.pop(0)
            if path not in self._used:
                self._size -= _age_and_size(path)[1]
                path.unlink(missing_ok=True)


class CachedFeatures:
    """A dataset whose items hold features in place of images.

    Parameters
    ----------
    paths : sequence of Path
        Of each item's features.
    annotations : Annotations
        Of each item.
    """

    def __init__(self, paths: Sequence[Path], annotations: Annotations) -> None:
        self._paths = paths
        self._annotations = annotations

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        maps = load_file(self._paths[index])
        keypoints, visible = self._annotations
        return tuple(maps[str(i)] for i in range(len(maps))), keypoints[index], visible[index]


def bytes_per_sample(features: Features) -> int:
    """Return how much of the disk one sample takes."""
    return len(_serialised(features, 0))


def _age_and_size(path: Path) -> tuple[float, int]:
    """Return when a file was used last and its bytes, none where another process deleted it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0.0, 0
    return status.st_mtime, status.st_size


def _serialised(features: Features, row: int) -> bytes:
    return save({str(i): maps[row].cpu().contiguous() for i, maps in enumerate(features)})


def _bytes(tensor: Tensor) -> Any:
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
