"""Any images: what every other strategy is compared with."""

from __future__ import annotations

import numpy as np

from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["Random"]


class Random(Strategy):
    """Chooses a simple random sample, without replacement.

    Notes
    -----
    Cost: one draw for each of the N images. No network looks at the pool.
    """

    name = "random"
    title = "Random"

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return uniform draws in [0, 1)."""
        return np.random.default_rng(rng).random(len(pool))
