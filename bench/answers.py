"""Answers are compared before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

IMAGES_OF_REFERENCE = 3  # so many images of ours are compared with vl4pose.reference


def parts(answer: Any) -> list[np.ndarray]:
    """Return the arrays that an answer is made of: one, or tuples of them and of tuples."""
    if isinstance(answer, tuple):
        return [array for part in answer for array in parts(part)]
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().cpu()
    return [np.asarray(answer)]


def check(answer: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Raise unless the arrays of both agree to float32's precision, relative to the largest."""
    for found, right in zip(answer, expected, strict=True):
        largest = np.abs(right[np.isfinite(right)]).max(initial=0)
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5 * largest)
