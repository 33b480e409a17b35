"""Networks in torch: pose networks, and the auxiliary network that scores are built on.

`LearningLossNet`, `MultiScaleLossNet` and `LogVarianceNet` are what other ways to choose images
have beside a pose network.
"""

from __future__ import annotations

from vl4pose.nn.attached import Attached, attach
from vl4pose.nn.auxiliary_net import AuxiliaryNet
from vl4pose.nn.deep_prior import DeepPrior
from vl4pose.nn.hourglass import StackedHourglass
from vl4pose.nn.learning_loss_net import LearningLossNet, MultiScaleLossNet
from vl4pose.nn.log_variance_net import LogVarianceNet
from vl4pose.nn.network_files import load, load_metadata, save
from vl4pose.nn.offset_params import fit_offset_params
from vl4pose.nn.peak_variance import NoPeakError, PeakFit, fit_peak_variance
from vl4pose.nn.pooled_features import pool_features

__all__ = [
    "Attached",
    "AuxiliaryNet",
    "DeepPrior",
    "LearningLossNet",
    "LogVarianceNet",
    "MultiScaleLossNet",
    "NoPeakError",
    "PeakFit",
    "StackedHourglass",
    "attach",
    "fit_offset_params",
    "fit_peak_variance",
    "load",
    "load_metadata",
    "pool_features",
    "save",
]
