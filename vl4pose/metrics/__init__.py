"""How good poses are: the field's metrics, with intervals, as options of one evaluation.

Every metric takes ``(keypoints, truth, visible=None)``, predictions beside annotations, and returns
a `Metric`: per joint, mean, and intervals from resampled images. :func:`evaluate` decodes
heatmaps, or those of a network, and returns several of them.

Three rules hold for all. Joints that are not annotated (``visible`` False) are neither read, so
that they may be NaN, nor counted. An image is left out, and ``Metric.num_images`` is smaller for
it, where no joint of it is annotated or the length that its errors are divided by is zero or
unknown. A predicted joint that is NaN or infinite is a miss: wrong for PCK, the area under its
curve and PCP, of similarity 0 for OKS, and an error for those that average distances.
"""

from __future__ import annotations

from vl4pose.metrics.average_precision import AveragePrecision, oks_ap
from vl4pose.metrics.correct_keypoints import joint_errors, pck, pck_auc, pck_of_errors, pckh
from vl4pose.metrics.correct_parts import pcp
from vl4pose.metrics.evaluation import Evaluation, evaluate
from vl4pose.metrics.flipped_heatmaps import average_flipped
from vl4pose.metrics.keypoint_similarity import oks
from vl4pose.metrics.metric import Interval, Metric
from vl4pose.metrics.position_error import mpjpe
from vl4pose.metrics.reference_lengths import reference_lengths

__all__ = [
    "AveragePrecision",
    "Evaluation",
    "Interval",
    "Metric",
    "average_flipped",
    "evaluate",
    "joint_errors",
    "mpjpe",
    "oks",
    "oks_ap",
    "pck",
    "pck_auc",
    "pck_of_errors",
    "pckh",
    "pcp",
    "reference_lengths",
]
