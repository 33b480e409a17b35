"""What a run of the training is told, apart from its data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from vl4pose._options import check_options
from vl4pose.training.heatmap_targets import SIGMA

__all__ = ["FitSettings"]


@dataclass(frozen=True)
class FitSettings:
    """How to train. A run is repeated exactly by the same settings on the same data and machine.

    Parameters
    ----------
    epochs : int
        The most passes over the training data; the learning rate falls to zero over all of them.
    batch_size : int
        Samples per step, of all processes together. An epoch is cut into batches of nearly equal
        size, none larger.
    learning_rate, pose_learning_rate : float
        The highest of the auxiliary and of the pose network: reached after ``warmup`` epochs, from
        where it falls along half a cosine.
    weight_decay : float
        Of AdamW, for both networks; biases and normalisations do not decay.
    warmup : float
        Epochs over which the learning rate rises from zero.
    patience : int
        Epochs without improvement after which the training stops.
    seed : int
        Decides the initial weights of a new network, the order of the data and every augmentation.
    amp : bool
        Run the networks under autocast, in bfloat16, or in float16 on a CUDA device without it.
    sigma : float
        Of the Gaussians that a pose network is trained on, in heatmap pixels.
    augment : bool
        Flip, rotate and scale the training images.
    views : int
        With a frozen pose network whose features are cached: how many augmented versions of each
        image are, beside the image itself. An epoch takes one of them for each image.
    num_peaks, min_distance : int
        Of the peaks that the scores will be of, as for `vl4pose.analyze`.

    Raises
    ------
    TypeError, ValueError
        ``"<setting> must <rule>, got <value>"``.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    pose_learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 1.5
    patience: int = 10
    seed: int = 0
    amp: bool = False
    sigma: float = SIGMA
    augment: bool = True
    views: int = 4
    num_peaks: int = 5
    min_distance: int = 5

    def __post_init__(self) -> None:
        lowest = {"seed": 0, "views": 0}  # 1 for the others
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise TypeError(f"{name} must be True or False, got {value!r}")
            elif field.type == "int":
                if isinstance(value, bool) or not isinstance(value, int):
                    raise TypeError(f"{name} must be a whole number, got {value!r}")
                if value < lowest.get(name, 1):
                    raise ValueError(f"{name} must be at least {lowest.get(name, 1)}, got {value}")
            else:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise TypeError(f"{name} must be a number, got {value!r}")
                positive = name == "sigma" or name.endswith("learning_rate")
                if not math.isfinite(value) or value < 0 or (positive and value == 0):
                    rule = "positive" if positive else "at least 0"
                    raise ValueError(f"{name} must be {rule} and finite, got {value!r}")
                object.__setattr__(self, name, float(value))
        check_options(num_peaks=self.num_peaks)
