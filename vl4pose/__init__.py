"""Which images are worth annotating: likelihoods and refined poses from a pose network's heatmaps.

``vl4pose.score(heatmaps, params)`` scores images by how well the bones of their predicted poses
agree with the expected ones; low means annotate. See :mod:`vl4pose.scoring` for the operations,
:mod:`vl4pose.reference` for their definition in plain NumPy.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

try:
    from vl4pose import _core  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"vl4pose's compiled core cannot be loaded from {__path__[0]}: {error}. In a source tree, "
        "install it with `pip install -e .`, or leave the tree to use an installed vl4pose."
    ) from error

from vl4pose.cpu_capability import cpu_capabilities, get_cpu_capability, set_cpu_capability
from vl4pose.image_transform import to_heatmap_pixels
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
    from vl4pose import active as active
    from vl4pose import losses as losses
    from vl4pose import metrics as metrics
    from vl4pose import nn as nn
    from vl4pose import plot as plot
    from vl4pose import reference as reference
    from vl4pose.active.selection import Selection as Selection
    from vl4pose.active.selection import select as select
    from vl4pose.losses import NLLLoss as NLLLoss
    from vl4pose.losses import OffsetNLLLoss as OffsetNLLLoss
    from vl4pose.losses import nll_loss as nll_loss
    from vl4pose.losses import offset_nll_loss as offset_nll_loss
    from vl4pose.scorer import Scorer as Scorer

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "Decoded",
    "Peaks",
    "Refined",
    "Skeleton",
    "Status",
    "analyze",
    "cpu_capabilities",
    "decode",
    "fit_params",
    "get_cpu_capability",
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
    "set_cpu_capability",
    "to_heatmap_pixels",
]


# Not imported with the package: these would make the import slower, and most of them need torch.
_LAZY_MODULES = {
    "reference": "vl4pose.reference",
    "active": "vl4pose.active",
    "select": "vl4pose.active.selection",
    "Selection": "vl4pose.active.selection",
    "losses": "vl4pose.losses",
    "nll_loss": "vl4pose.losses",
    "offset_nll_loss": "vl4pose.losses",
    "NLLLoss": "vl4pose.losses",
    "OffsetNLLLoss": "vl4pose.losses",
    "metrics": "vl4pose.metrics",
    "nn": "vl4pose.nn",
    "plot": "vl4pose.plot",
    "Scorer": "vl4pose.scorer",
}
_NEED_NO_TORCH = ("reference", "active", "select", "Selection", "metrics", "plot")
_NEED_TORCH = [name for name in _LAZY_MODULES if name not in _NEED_NO_TORCH]


def __getattr__(name: str) -> Any:
    if name not in _LAZY_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _NEED_TORCH and not _has_torch():
        raise ImportError(f"vl4pose.{name} needs torch: pip install 'vl4pose[torch]'")
    module = importlib.import_module(_LAZY_MODULES[name])
    return getattr(module, name, module)


def __dir__() -> list[str]:
    lazy = (name for name in _LAZY_MODULES if name not in _NEED_TORCH or _has_torch())
    return sorted({*__all__, *lazy, "__version__"})


def _has_torch() -> bool:
    try:
        return importlib.util.find_spec("torch") is not None
    except ImportError:  # as a finder says of a module that it hides
        return False


# What torch.load and torch.export.load read may name the operations. Where torch comes later, they
# are registered at the first call that needs them, or by `import vl4pose.losses`.
if "torch" in sys.modules and hasattr(sys.modules["torch"], "library"):
    importlib.import_module("vl4pose._torch_ops")
