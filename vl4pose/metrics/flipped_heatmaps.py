"""Flip test: the mean of an image's heatmaps and those of its mirror image, turned back."""

from __future__ import annotations

from typing import Any

import numpy as np

from vl4pose._arrays import is_tensor
from vl4pose._options import integer
from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = ["average_flipped"]


def average_flipped(
    heatmaps: Any,
    flipped: Any,
    *,
    shift: int = 0,
    skeleton: Skeleton | str | None = None,
) -> Any:
    """Return the mean of heatmaps and of those of the mirror images, turned back.

    Parameters
    ----------
    heatmaps : (B, J, H, W) array or Tensor
    flipped : (B, J, H, W) array or Tensor
        What the network makes of the images mirrored left to right, ``images.flip(-1)``, as it
        returns it: joints are exchanged (``Skeleton.flip_index``) and maps turned back here.
    shift : int
        By how many pixels the maps, turned back, are moved to the right (below 0: to the left),
        the border repeated. See the notes: 0 but for networks whose heatmap pixel x stands at
        input pixel x times the stride.
    skeleton : Skeleton, str or None
        None goes by the number of joints.

    Returns
    -------
    (B, J, H, W)
        The kind, dtype and device of ``heatmaps``.

    Raises
    ------
    TypeError, ValueError
        ``heatmaps must be (B, J, H, W)``, ``flipped must be of the shape of heatmaps``, ``flipped
        must be of the kind of heatmaps``, ``shift must be ...``, ``skeleton must be ...``.

    Notes
    -----
    Whether a shift is needed follows from where heatmap pixel x stands in an input of width W that
    has heatmaps of width V, s = W / V. A point at input pixel u is at W - 1 - u in the mirror
    image.

    - "corners" (``heatmap_align`` of `vl4pose.image_transform.ImageTransform`), u = x (W - 1) /
      (V - 1): the mirrored point is at heatmap pixel V - 1 - x, exactly. No shift.
    - "centers", u = (x + 1/2) s - 1/2: V - 1 - x again, exactly. No shift.
    - u = s x, the targets of SimpleBaseline, HRNet and MMPose without UDP: it is at V - 1/s - x,
      and so, turned back, (s - 1) / s pixels too far to the left: 0.75 of one at stride 4. Their
      evaluations move the map by one pixel (``SHIFT_HEATMAP``, ``shift_heatmap``): ``shift=1``,
      which leaves a quarter of a pixel, an eighth after the mean. Huang et al., The devil is in
      the details (UDP), CVPR 2020, is about this bias.

    The average of flipped and unflipped heatmaps is that of Newell et al., Stacked hourglass
    networks, ECCV 2016.
    """
    check_heatmaps(heatmaps, "heatmaps")
    if is_tensor(heatmaps) != is_tensor(flipped):
        raise TypeError(
            f"flipped must be of the kind of heatmaps, {type(heatmaps).__name__}, got "
            f"{type(flipped).__name__}"
        )
    if tuple(np.shape(flipped)) != tuple(heatmaps.shape):
        raise ValueError(
            f"flipped must be of the shape of heatmaps, {tuple(heatmaps.shape)}, got "
            f"{tuple(np.shape(flipped))}"
        )
    num_joints, width = heatmaps.shape[1], heatmaps.shape[3]
    joints = list(resolve_skeleton(skeleton, num_joints).flip_index)
    source = np.clip(np.arange(width) - integer(shift, "shift", -width, width), 0, width - 1)
    columns = (width - 1 - source).tolist()
    return (heatmaps + flipped[:, joints][..., columns]) / 2


def check_heatmaps(heatmaps: Any, argument: str) -> None:
    """Raise unless an argument is an array or a tensor of (B, J, H, W)."""
    if not isinstance(heatmaps, np.ndarray) and not is_tensor(heatmaps):
        raise TypeError(
            f"{argument} must be a NumPy array or a torch tensor, got {type(heatmaps).__name__}"
        )
    if heatmaps.ndim != 4:
        raise ValueError(f"{argument} must be (B, J, H, W), got shape {tuple(heatmaps.shape)}")
