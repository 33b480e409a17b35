"""Training an auxiliary network beside a pose network, and the pose network with it.

`fit` runs it all; ``vl4pose fit`` is its command line. Needs ``vl4pose[cli]``.
"""

from __future__ import annotations

from vl4pose.training.augmentation import Augmentation
from vl4pose.training.calibration import Calibration
from vl4pose.training.dataset import PoseDataset
from vl4pose.training.fit_settings import FitSettings
from vl4pose.training.heatmap_targets import heatmap_loss, heatmap_targets
from vl4pose.training.loop import FitResult, OtherRunError, fit
from vl4pose.training.reporting import Epoch, Reporter

__all__ = [
    "Augmentation",
    "Calibration",
    "Epoch",
    "FitResult",
    "FitSettings",
    "OtherRunError",
    "PoseDataset",
    "Reporter",
    "fit",
    "heatmap_loss",
    "heatmap_targets",
]
