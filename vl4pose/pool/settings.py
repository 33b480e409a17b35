"""All that decides what the rows of a pool are; with it any process can score any part of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vl4pose import __version__
from vl4pose._file_identity import file_identity
from vl4pose._options import check_options
from vl4pose.image_transform import ImageTransform
from vl4pose.link_params import load_params
from vl4pose.skeleton import Skeleton, get_skeleton

__all__ = ["SCORING", "PoolSettings"]

# The options of `vl4pose.analyze` that a table is made with, and their defaults.
SCORING: dict[str, Any] = {
    "method": "expected",
    "objective": "map",
    "subpixel": None,
    "num_peaks": 5,
    "min_distance": 5,
    "threshold_abs": None,
    "threshold_rel": None,
    "exclude_border": 0,
    "temperature": 1.0,
}


@dataclass(frozen=True)
class PoolSettings:
    """Networks, input and scoring of a pool, and how it is cut. Picklable.

    Parameters
    ----------
    pose : path
        A TorchScript or torch.export file.
    aux : path, optional
        Likewise. Either this or ``params`` is given.
    params : path, optional
        Fixed bone lengths, as `vl4pose.save_params` writes them.
    skeleton : Skeleton or str
    transform : ImageTransform
    scoring : mapping
        Options of `vl4pose.analyze`: method, objective, subpixel, num_peaks, min_distance,
        threshold_abs, threshold_rel, exclude_border, temperature.
    embeddings : bool
        Keep the features of the pose network, averaged over each map.
    batch_size : int
        People that go through the networks at once.
    shard_rows : int
        Rows of a file. A batch never goes beyond one, so that the last batch of a shard is smaller
        where ``batch_size`` does not divide it.
    num_threads : int, optional
        Threads of torch, for a result may depend on their number. None takes those of a run that is
        resumed, or else torch's choice.
    device : str
        Where the networks run.
    settings_file : path, optional
        Where the transform is from, for the record.

    Raises
    ------
    TypeError, ValueError
        ``"<parameter> must <rule>, got <value>"``.
    FileNotFoundError
        If there is no ``params``.
    """

    pose: str | os.PathLike[str]
    aux: str | os.PathLike[str] | None = None
    params: str | os.PathLike[str] | None = None
    skeleton: Skeleton | str = field(kw_only=True)
    transform: ImageTransform = field(default_factory=ImageTransform)
    scoring: Mapping[str, Any] = field(default_factory=dict)
    embeddings: bool = False
    batch_size: int = 32
    shard_rows: int = 1024
    num_threads: int | None = None
    device: str = "cpu"
    settings_file: str | os.PathLike[str] | None = None
    link_params: list[list[float]] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name in ("pose", "aux", "params", "settings_file"):
            path = getattr(self, name)
            set_(self, name, None if path is None else os.fspath(path))
        if isinstance(self.skeleton, str):
            set_(self, "skeleton", get_skeleton(self.skeleton))
        set_(self, "scoring", {**SCORING, **self.scoring})
        for name in self.scoring:
            if name not in SCORING:
                raise ValueError(f"scoring must be options among {', '.join(SCORING)}, got {name}")
        check_options(**self.scoring)
        if (self.aux is None) == (self.params is None):
            raise ValueError(
                "aux or params must be given, one of them, got "
                + ("neither" if self.aux is None else "both")
            )
        if self.params is not None:
            set_(self, "link_params", load_params(self.params, self.skeleton).tolist())
        numbers = {"batch_size": self.batch_size, "shard_rows": self.shard_rows}
        if self.num_threads is not None:
            numbers["num_threads"] = self.num_threads
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be a whole number, got {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def metadata(self, num_threads: int) -> dict[str, Any]:
        """Return what a table says of how it came about, apart from its people; for JSON.

        The files of the models are read, for their hashes.
        """
        from vl4pose.pool.environment import environment  # needs torch

        here = environment(self.device)
        assert isinstance(self.skeleton, Skeleton)
        files = {
            "pose": self.pose,
            "aux": self.aux,
            "params": self.params,
            "settings": self.settings_file,
        }
        return {
            "version": __version__,
            "software": here["software"],
            "machine": here["machine"],
            "settings": {
                "input": self.transform.to_json(),
                "scoring": dict(self.scoring),
                "embeddings": self.embeddings,
                "run": {
                    "batch_size": self.batch_size,
                    "shard_rows": self.shard_rows,
                    "num_threads": num_threads,
                    "device": self.device,
                },
            },
            "skeleton": self.skeleton.to_json(),
            "models": {
                name: file_identity(Path(file)) for name, file in files.items() if file is not None
            },
            "link_params": self.link_params,
        }
