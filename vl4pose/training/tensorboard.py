"""The course of a training for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from vl4pose.training.reporting import Epoch, Reporter

__all__ = ["TensorBoardReporter"]


class TensorBoardReporter(Reporter):
    """Writes the figures of each epoch as event files, until it is left as a context manager.

    Parameters
    ----------
    directory : Path
        Made if it is not there. A run that is resumed tells its earlier epochs again, and replaces
        what is there of them.
    """

    def __init__(self, directory: Path) -> None:
        self._writer = SummaryWriter(str(directory), purge_step=1)

    def epoch(self, epoch: Epoch) -> None:
        """Write the figures of an epoch."""
        figures = {
            "nll/train": epoch.train_nll,
            "nll/validation": epoch.validation_nll,
            "nll/constant bones": epoch.baseline_nll,
            "heatmap loss/train": epoch.train_heatmap_loss,
            "heatmap loss/validation": epoch.validation_heatmap_loss,
        }
        for name, value in figures.items():
            if value is not None:
                self._writer.add_scalar(name, value, epoch.number)
        self._writer.flush()

    def __enter__(self) -> TensorBoardReporter:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
