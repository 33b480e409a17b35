"""What a run of the training tells while it lasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Epoch", "Reporter", "Reporters"]


@dataclass(frozen=True)
class Epoch:
    """How one pass over the training data went.

    Attributes
    ----------
    number : int
        From 1.
    train_nll, validation_nll : float
        Mean negative log-likelihood of the annotated bones, in nats per link: of the training
        samples as they came, each before its step, and of the validation set after the epoch.
    baseline_nll : float
        Of the validation set under constant bones, those of `vl4pose.fit_params` on the training
        set.
    train_heatmap_loss, validation_heatmap_loss : float, optional
        Mean squared error of the heatmaps; None where the pose network is not trained.
    is_best : bool
        Whether no epoch before was as good.
    """

    number: int
    train_nll: float
    validation_nll: float
    baseline_nll: float
    train_heatmap_loss: float | None
    validation_heatmap_loss: float | None
    is_best: bool


class Reporter:
    """Is told how a run goes. This one keeps it to itself; derive from it and override."""

    def stage(self, what: str, total: int) -> None:
        """Take note that ``what`` begins and has ``total`` steps or samples."""

    def advance(self, count: int) -> None:
        """Take note that so many more of them are done."""

    def training_nll(self, nll: float) -> None:
        """Take note of the mean loss of the bones in the epoch so far."""

    def epoch(self, epoch: Epoch) -> None:
        """Take note of an epoch that is over."""

    def note(self, text: str) -> None:
        """Take note of a sentence for the user."""


class Reporters(Reporter):
    """Tells several others."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = reporters

    def stage(self, what: str, total: int) -> None:
        """Pass it on."""
        for reporter in self._reporters:
            reporter.stage(what, total)

    def advance(self, count: int) -> None:
        """Pass it on."""
        for reporter in self._reporters:
            reporter.advance(count)

    def training_nll(self, nll: float) -> None:
        """Pass it on."""
        for reporter in self._reporters:
            reporter.training_nll(nll)

    def epoch(self, epoch: Epoch) -> None:
        """Pass it on."""
        for reporter in self._reporters:
            reporter.epoch(epoch)

    def note(self, text: str) -> None:
        """Pass it on."""
        for reporter in self._reporters:
            reporter.note(text)
