"""Records of simulations that nobody ran, for the tests of what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vl4pose.simulation.records import CycleRecord

STRATEGIES = ("random", "vl4pose", "core-set")


def made_records(
    strategies: Sequence[str] = STRATEGIES,
    *,
    num_seeds: int = 5,
    num_cycles: int = 5,
    gain: float = 0.1,
    effects: Mapping[str, float] = {"vl4pose": 0.02},
    noise: float = 0.004,
    seed_noise: float = 0.01,
    seed: int = 0,
) -> list[CycleRecord]:
    """Return records of PCK@0.2, which grows by ``gain``, and of MPJPE, its mirror image.

    Of three joints, of which the last is never seen, the first has a tenth more than the mean.

    A strategy's ``effects`` are added to each of its cycles after the first, whose network all
    strategies of a seed share; ``seed_noise`` is too, and ``noise`` is each network's own.
    """
    rng = np.random.default_rng(seed)
    growth = 1 - np.exp(-np.arange(num_cycles) / 2)
    growth = 0.6 + gain * growth / max(growth[-1], 1e-9)
    records = []
    for number in range(num_seeds):
        shared, first = rng.normal(0, seed_noise), rng.normal(0, noise)
        for name in strategies:
            for cycle in range(num_cycles):
                own = rng.normal(0, noise) + effects.get(name, 0.0)
                value = float(growth[cycle] + shared + (own if cycle else first))
                after = cycle < num_cycles - 1
                records.append(
                    CycleRecord(
                        name, number, cycle, 2000 + 1000 * cycle,
                        {"PCK@0.2": value, "MPJPE": 9 - 5 * value},
                        {"PCK@0.2": [value + 0.1, value - 0.1, None]},
                        selected=[cycle] if after else [],
                        seconds={"train": 60.0 + number, "evaluate": 2.0}
                        | ({"score": 3.0, "select": 0.5} if after else {}),
                    )
                )  # fmt: skip
    return records
