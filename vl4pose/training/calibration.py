"""How predicted bones compare with true ones: likelihood, coverage of intervals, a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["COVERAGES", "Agreement", "Calibration"]

COVERAGES = (0.5, 0.8, 0.95)

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How well a Gaussian for each bone agrees with the true lengths.

    Attributes
    ----------
    nll : float
        Mean negative log-likelihood of the lengths, in nats (Eq. 5).
    error : float
        Mean distance of predicted and true length, in heatmap pixels.
    coverage : dict of float to float
        For each share in ``COVERAGES``, the share of the lengths that lie within the central
        interval that should hold it.
    """

    nll: float
    error: float
    coverage: Mapping[float, float]


@dataclass(frozen=True)
class Calibration:
    """True bone lengths, and what was expected of them.

    Attributes
    ----------
    link_names : tuple of str
        Of the L links.
    lengths : (N, L) float64 array
        True lengths in heatmap pixels; NaN where a link is not visible.
    params : (N, L, 2) float64 array
        Predicted length and log-variance.
    constant : (L, 2) float64 array
        Those of the constant bones to compare with.
    """

    link_names: Sequence[str]
    lengths: Float64Array
    params: Float64Array
    constant: Float64Array

    def predicted(self, link: int | None = None) -> Agreement:
        """Return how the predictions agree with the lengths of one link, or of all."""
        return self._agreement(self.params, link)

    def baseline(self, link: int | None = None) -> Agreement:
        """Return how the constant bones do."""
        return self._agreement(self.constant, link)

    def count(self, link: int | None = None) -> int:
        """Return how many true lengths there are."""
        return int(np.isfinite(self._of(self.lengths, link)).sum())

    def to_json(self) -> dict[str, Any]:
        """Return all figures, of all links together and of each."""

        def figures(link: int | None) -> dict[str, Any]:
            return {
                "count": self.count(link),
                "predicted": _plain(self.predicted(link)),
                "constant": _plain(self.baseline(link)),
            }

        links = {name: figures(link) for link, name in enumerate(self.link_names)}
        return {"all": figures(None), "links": links}

    def _of(self, values: Float64Array, link: int | None) -> Float64Array:
        return values if link is None else values[..., link]

    def _agreement(self, params: Float64Array, link: int | None) -> Agreement:
        lengths = self._of(self.lengths, link)
        length, log_variance = (self._of(values, link) for values in np.moveaxis(params, -1, 0))
        deviation = np.abs(lengths - length)
        scaled = deviation * np.exp(-log_variance / 2)
        nll = 0.5 * (math.log(2 * math.pi) + log_variance + scaled**2)
        visible = np.isfinite(lengths)
        if not visible.any():
            return Agreement(math.nan, math.nan, dict.fromkeys(COVERAGES, math.nan))
        coverage = {
            share: float((scaled[visible] <= NormalDist().inv_cdf((1 + share) / 2)).mean())
            for share in COVERAGES
        }
        return Agreement(float(nll[visible].mean()), float(deviation[visible].mean()), coverage)


def _plain(agreement: Agreement) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None  # JSON has no NaN

    return {
        "nll": number(agreement.nll),
        "error": number(agreement.error),
        "coverage": {f"{share:g}": number(value) for share, value in agreement.coverage.items()},
    }
