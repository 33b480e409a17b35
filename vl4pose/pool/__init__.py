"""Scoring a pool of images of any size: in shards, from where a run that was killed had come to.

`find_people` says what there is to score, `PoolSettings` how, and `score_pool` does it::

    from vl4pose.pool import PoolSettings, score_pool
    from vl4pose.score_table import read_scores

    settings = PoolSettings("pose.pt", skeleton="lsp", params="bones.json")
    score_pool("s3://bucket/photos", "scores", settings, trust=True, resume=True)
    table = read_scores("scores")

``vl4pose score`` is these on the command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vl4pose.pool.errors import PoolError as PoolError
    from vl4pose.pool.ray_options import RayOptions as RayOptions
    from vl4pose.pool.run import PoolResult as PoolResult
    from vl4pose.pool.run import score_pool as score_pool
    from vl4pose.pool.settings import PoolSettings as PoolSettings
    from vl4pose.pool.sources import Source as Source
    from vl4pose.pool.sources import find_people as find_people

# Not imported with the package: reading a table of scores needs its storage, and no torch.
_MODULES = {
    "PoolError": "vl4pose.pool.errors",
    "PoolResult": "vl4pose.pool.run",
    "PoolSettings": "vl4pose.pool.settings",
    "RayOptions": "vl4pose.pool.ray_options",
    "Source": "vl4pose.pool.sources",
    "find_people": "vl4pose.pool.sources",
    "score_pool": "vl4pose.pool.run",
}

__all__ = [
    "PoolError",
    "PoolResult",
    "PoolSettings",
    "RayOptions",
    "Source",
    "find_people",
    "score_pool",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
