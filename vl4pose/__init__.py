"""Which images are worth annotating: likelihoods and refined poses from a pose network's heatmaps.

``vl4pose.score(heatmaps, params)`` scores images by how well the bones of their predicted poses
agree with the expected ones; low means annotate. See :mod:`vl4pose.scoring` for the operations,
:mod:`vl4pose.reference` for their definition in plain NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

try:
    from vl4pose import _core  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"vl4pose's compiled core cannot be loaded from {__path__[0]}: {error}. In a source tree, "
        "install it with `pip install -e .`, or leave the tree to use an installed vl4pose."
    ) from error

from vl4pose.link_params import fit_params, load_params, save_params
from vl4pose.results import Analysis, Decoded, Peaks, Refined, Status
from vl4pose.scoring import (
    analyze,
    decode,
    local_maxima,
    multi_peak_entropy,
    offset_log_likelihood,
    peak_weights,
    pose_log_likelihood,
    refine,
    score,
)
from vl4pose.skeleton import Skeleton, get_skeleton

if TYPE_CHECKING:
    from vl4pose.scorer import Scorer

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "Decoded",
    "Peaks",
    "Refined",
    "Scorer",
    "Skeleton",
    "Status",
    "analyze",
    "decode",
    "fit_params",
    "get_skeleton",
    "load_params",
    "local_maxima",
    "multi_peak_entropy",
    "offset_log_likelihood",
    "peak_weights",
    "pose_log_likelihood",
    "refine",
    "save_params",
    "score",
]


def __getattr__(name: str) -> Any:
    if name == "Scorer":  # needs torch, which `import vl4pose` does not
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise ImportError("vl4pose.Scorer needs torch: pip install 'vl4pose[torch]'") from error
        from vl4pose.scorer import Scorer

        return Scorer
    if name == "nn":  # needs torch as well
        return importlib.import_module("vl4pose.nn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
