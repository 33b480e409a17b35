"""Images as networks see them: what strategies choose by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy.typing as npt

from vl4pose._arrays import as_numpy
from vl4pose._options import integer
from vl4pose.skeleton import nearest, shown

__all__ = ["ARRAYS", "Pool"]

Array = npt.NDArray[Any]

# What is known of each image, by name, and the shape that it has for N images.
ARRAYS: Mapping[str, str] = {
    "confidence": "(N, J)",  # height of each heatmap's highest pixel
    "multi_peak_entropy": "(N,)",  # of the softmax over peaks, the sum over joints, nats
    "score_expected": "(N,)",  # log-likelihood of the pose, Eq. 3, nats
    "score_max": "(N,)",  # ... of the most probable pose
    "score_marginal": "(N,)",  # ... of all poses that the peaks make
    "embedding": "(N, D)",  # pooled features
    "predicted_loss": "(N,)",  # of a network that learns the loss
    "log_variance": "(N, J)",  # of each keypoint, as an auxiliary network predicts it, heatmap px^2
    "predictive_variance": "(N, J)",  # of each keypoint, by MC dropout, heatmap px^2
    "squared_gradient_length": "(N,)",  # expected, towards the heatmaps of labelled neighbours
}


class Pool:
    """Images, and what networks say of them.

    Parameters
    ----------
    num_images : int, at least 0
        N.
    arrays : mapping of str to (N, ...) array_like, optional
        What is known, by the names of ``ARRAYS``.
    observe : callable, optional
        ``observe(names)`` returns the arrays of these names, as a mapping; called for those that
        are asked for and not known yet, all of them at once.

    Raises
    ------
    TypeError, ValueError
        ``arrays must ...``, if one has an unknown name, another shape or no numbers.
    """

    def __init__(
        self,
        num_images: int,
        arrays: Mapping[str, Any] | None = None,
        observe: Callable[[list[str]], Mapping[str, Any]] | None = None,
    ) -> None:
        self.num_images = integer(num_images, "num_images", 0)
        self._observe = observe
        self._arrays: dict[str, Array] = {}
        self._take(arrays or {})

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, name: str) -> Array:
        """Return one of the arrays.

        Raises
        ------
        ValueError
            ``pool must have 'embedding', got 'confidence' alone``, where nothing can observe it.
        """
        self.prepare([name])
        return self._arrays[name]

    def prepare(self, names: Iterable[str]) -> None:
        """Find out all of these arrays that are not known yet, at once."""
        missing = [_checked(name) for name in dict.fromkeys(names) if name not in self._arrays]
        if missing and self._observe is not None:
            self._take(self._observe(missing))
            missing = [name for name in missing if name not in self._arrays]
        if missing:
            known = ", ".join(map(repr, self._arrays)) or "nothing"
            raise ValueError(f"pool must have {', '.join(map(repr, missing))}, got {known}")

    def _take(self, arrays: Mapping[str, Any]) -> None:
        for name, given in arrays.items():
            array = as_numpy(given)
            ndim = len(ARRAYS[_checked(name)].strip("()").replace(" ", "").rstrip(",").split(","))
            if array.ndim != ndim or len(array) != len(self):
                raise ValueError(
                    f"arrays must have {name!r} as {ARRAYS[name].replace('N', str(len(self)))}, "
                    f"got shape {array.shape}"
                )
            if array.dtype.kind not in "fiu":
                raise TypeError(f"arrays must hold real numbers, got {name!r} of {array.dtype}")
            self._arrays[name] = array


def _checked(name: object) -> str:
    if not isinstance(name, str) or name not in ARRAYS:
        raise ValueError(f"arrays must be named {nearest(str(name), ARRAYS)}, got {shown(name)}")
    return name
