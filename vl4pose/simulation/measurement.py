"""How good a trained network is on the test set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from vl4pose._arrays import HAS_CUDA
from vl4pose.metrics.evaluation import evaluate, named_metric
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.labelled_images import LabelledImages
from vl4pose.simulation.pace import Pace, SimulationError
from vl4pose.simulation.pose_network import PoseNetwork
from vl4pose.training.positions import batches_in_order

__all__ = ["measure"]

Measured = tuple[dict[str, float], dict[str, list[float | None]]]


def measure(
    config: SimulationConfig, network: PoseNetwork, test: LabelledImages, pace: Pace
) -> Measured:
    """Return the mean of every metric, and the same of each joint or link.

    Parameters
    ----------
    config : SimulationConfig
    network : PoseNetwork
    test : LabelledImages
    pace : Pace
        Is told of the images that are done.

    Raises
    ------
    SimulationError
        If no image of the test set counts for a metric.
    """

    def pose(pixels: Tensor) -> Tensor:
        heatmaps = network(test.inputs(pixels)).heatmaps[:, -1].float()
        return heatmaps if HAS_CUDA else heatmaps.cpu()

    def batches() -> Any:
        for rows in batches_in_order(len(test), config.scoring.batch_size):
            yield test.pixels[rows]
            pace.reporter.advance(len(rows))

    options = config.evaluation
    pace.reporter.stage("measuring", len(test))
    keypoints, visible = (values.numpy() for values in test.annotations())
    try:
        evaluation = evaluate(
            pose,
            np.where(visible[..., None], keypoints, 0.0),
            visible,
            images=batches(),
            flip=options.flip,
            flip_shift=options.flip_shift,
            subpixel=options.subpixel,
            metrics={name: named_metric(name, options.normalize_by) for name in options.metrics},
            skeleton=config.skeleton,
        )
    except (TypeError, ValueError) as error:
        raise SimulationError(f"the test set cannot be measured: {error}") from error
    means = {name: float(metric.mean) for name, metric in evaluation.metrics.items()}
    for name, mean in means.items():
        if math.isnan(mean):
            raise SimulationError(f"{name} must count on some image of the test set, got none")
    per_joint = {
        name: [None if math.isnan(value) else float(value) for value in metric.per_joint]
        for name, metric in evaluation.metrics.items()
    }
    return means, per_joint
