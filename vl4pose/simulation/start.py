"""What the first network of a seed, which all strategies share, says of the training set."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import as_numpy
from vl4pose._atomic_file import write_atomically

__all__ = ["Start", "read_start", "start_path", "start_seeds", "write_start"]


@dataclass(frozen=True)
class Start:
    """The training set after cycle 0's training, before anything was chosen.

    Parameters
    ----------
    labelled : (N,) array_like of bool
        Which images are the start set; the others are the pool.
    embeddings : (N, D) array_like of float
        Pooled features of every image; NaN where there are none.
    keypoints : (N, J, 2) array_like of float
        Highest peaks of every image's heatmaps, in heatmap pixels; NaN where there are none.

    Raises
    ------
    TypeError
        ``labelled must hold bools``.
    ValueError
        ``labelled must be (N,)``, ``embeddings must be (N, D)``, ``keypoints must be (N, J, 2)``.
    """

    labelled: npt.NDArray[np.bool_]
    embeddings: npt.NDArray[np.float32]
    keypoints: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        labelled = as_numpy(self.labelled)
        if labelled.dtype != np.bool_:
            raise TypeError(f"labelled must hold bools, got {labelled.dtype}")
        if labelled.ndim != 1:
            raise ValueError(f"labelled must be (N,), got {labelled.shape}")
        embeddings = as_numpy(self.embeddings)
        if embeddings.ndim != 2 or len(embeddings) != len(labelled):
            raise ValueError(
                f"embeddings must be (N, D) with N = {len(labelled)}, got {embeddings.shape}"
            )
        keypoints = as_numpy(self.keypoints)
        if keypoints.ndim != 3 or keypoints.shape[::2] != (len(labelled), 2):
            raise ValueError(
                f"keypoints must be (N, J, 2) with N = {len(labelled)}, got {keypoints.shape}"
            )
        object.__setattr__(self, "labelled", labelled)
        object.__setattr__(self, "embeddings", embeddings.astype(np.float32))
        object.__setattr__(self, "keypoints", keypoints.astype(np.float32))


def start_path(folder: str | os.PathLike[str], seed: int) -> Path:
    """Return where the start of a seed lies in a simulation's folder."""
    return Path(folder) / "start" / f"seed-{seed}.npz"


def start_seeds(folder: str | os.PathLike[str]) -> list[int]:
    """Return the seeds whose start is there, in order."""
    names = [path.stem for path in (Path(folder) / "start").glob("seed-*.npz")]
    return sorted(int(name.removeprefix("seed-")) for name in names)


def write_start(folder: str | os.PathLike[str], seed: int, start: Start) -> None:
    """Write the start of a seed, completely or not at all."""
    path = start_path(folder, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(start, name) for name in Start.__annotations__}
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def read_start(folder: str | os.PathLike[str], seed: int) -> Start:
    """Return the start of a seed.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    with np.load(start_path(folder, seed)) as arrays:
        return Start(**{name: arrays[name] for name in Start.__annotations__})
