"""One vector for an image out of a pose network's features: what diversity is measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["pool_features"]


def pool_features(features: Any) -> Tensor:
    """Return the global average of each feature map, of all maps one after another.

    Parameters
    ----------
    features : Tensor (B, C, ...), or a sequence or mapping of them
        What a pose network returns beside its heatmaps. Every axis after the second is averaged
        over; several tensors are joined in their order.

    Returns
    -------
    embeddings : Tensor (B, D) float32
        D is the sum of the C.

    Raises
    ------
    TypeError
        ``features must be tensors (B, C, ...)``.
    ValueError
        ``features must be tensors (B, C, ...) of one B``, or if there is none.
    """
    rule = "features must be tensors (B, C, ...)"
    if isinstance(features, Mapping):
        features = list(features.values())
    if isinstance(features, Tensor):
        features = [features]
    if not isinstance(features, Sequence):
        raise TypeError(f"{rule}, got {type(features).__name__}")
    for tensor in features:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{rule}, got {type(tensor).__name__}")
    shapes = [tuple(tensor.shape) for tensor in features]
    if not shapes or any(len(shape) < 2 for shape in shapes) or len({s[0] for s in shapes}) > 1:
        raise ValueError(f"{rule} of one B, got shapes {shapes}")
    return torch.cat(
        [
            tensor.float().flatten(2).mean(2) if tensor.ndim > 2 else tensor.float()
            for tensor in features
        ],
        1,
    )
