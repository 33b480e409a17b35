"""What the operations return: named tuples over the array type of their input, and status bits.

Sizes: B images, J joints, L links, K peaks kept per joint. A single image gives the same arrays
without the axis B. "float" is float32 for 16- and 32-bit heatmaps and float64 for float64 ones;
coordinates are (x, y) in heatmap pixels, where an integer is the centre of a pixel.
"""

from __future__ import annotations

import enum
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Analysis", "Decoded", "Peaks", "Refined", "Status"]

ArrayT = TypeVar("ArrayT")


class Status(enum.IntFlag):
    """What happened to an image on its way to a score, one bit each; 0 when nothing did."""

    PEAK_FALLBACK = 1
    """A map had no peak, so that its global maximum stands in for one."""
    CLAMPED_PARAMS = 2
    """A length or a log-variance lay outside its range and was moved to the nearest end."""
    NONFINITE_PARAMS = 4
    """A param was NaN or infinite: everything that depends on params is NaN."""
    NONFINITE_HEATMAP = 8
    """A heatmap held NaN or +inf: every result of the image is NaN."""


class Peaks(NamedTuple, Generic[ArrayT]):
    """The local maxima kept of every heatmap, highest first.

    Attributes
    ----------
    xy : (B, J, K, 2) float
        Coordinates; -1 in unused slots.
    values : (B, J, K) float
        Heights; -inf in unused slots, NaN throughout an image that is not finite.
    count : (B, J) int32
        How many slots are in use: at least 1, but 0 throughout an image that is not finite.
    """

    xy: ArrayT
    values: ArrayT
    count: ArrayT  # type: ignore[assignment]  # hides tuple.count, which nobody misses here


class Decoded(NamedTuple, Generic[ArrayT]):
    """The highest pixel of every heatmap.

    Attributes
    ----------
    keypoints : (B, J, 2) float
        Its coordinates, after the sub-pixel step if one was asked for.
    confidence : (B, J) float
        Its value.
    """

    keypoints: ArrayT
    confidence: ArrayT


class Refined(NamedTuple, Generic[ArrayT]):
    """The pose that skeleton and heatmaps agree on best.

    Attributes
    ----------
    keypoints : (B, J, 2) float
        Coordinates of the chosen peaks, after the sub-pixel step if one was asked for.
    peak_index : (B, J) int32
        Which of its joint's peaks each is: 0 is the highest; -1 when the image has no pose.
    changed : (B, J) bool
        Where that is a lower peak than the highest.
    log_prob : (B,) float
        log p + log q of the chosen peaks, before any sub-pixel step.
    """

    keypoints: ArrayT
    peak_index: ArrayT
    changed: ArrayT
    log_prob: ArrayT


class Analysis(NamedTuple, Generic[ArrayT]):
    """Everything that one pass over the heatmaps gives.

    Attributes
    ----------
    score : (B,) float
        The score by the chosen method: low means out of distribution, so annotate.
    per_link : (B, L) float
        Each link's own term of the expected score.
    entropy : (B, J) float
        Entropy of each joint's peak weights, in nats.
    posterior : (B, J, K) float
        Probability of each peak given all heatmaps and the skeleton; 0 in unused slots.
    keypoints : (B, J, 2) float
        The highest pixel of each heatmap, as `decode` returns it.
    confidence : (B, J) float
        The value there.
    refined : Refined
        The refined pose.
    peaks : Peaks
        The peaks that everything above was computed from.
    status : (B,) uint8
        Bits of `Status`.
    """

    score: ArrayT
    per_link: ArrayT
    entropy: ArrayT
    posterior: ArrayT
    keypoints: ArrayT
    confidence: ArrayT
    refined: Refined[ArrayT]
    peaks: Peaks[ArrayT]
    status: ArrayT
