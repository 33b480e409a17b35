"""Small pools, for the tests of strategies."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vl4pose.active import Pool

Arrays = dict[str, npt.NDArray[Any]]
NAN, INF = np.nan, np.inf
RNG = np.random.default_rng
NOTHING = Pool(0)

NEEDS_INDEX = pytest.mark.skipif(
    importlib.util.find_spec("usearch") is None,
    reason="the index is usearch's: pip install 'vl4pose[ann]'",
)


def line(*positions: float) -> Arrays:
    return {"embedding": np.array(positions, np.float64)[:, None]}


def pool_of(known: Arrays) -> Pool:
    return Pool(len(next(iter(known.values()))), known)
