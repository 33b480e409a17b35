"""Networks in torch: the pose network whose heatmaps and features the scores are built on."""

from __future__ import annotations

from vl4pose.nn.hourglass import StackedHourglass

__all__ = ["StackedHourglass"]
