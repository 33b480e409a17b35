"""How an image becomes network input, and how a heatmap pixel becomes an image pixel again.

Three grids are involved, image, network input and heatmap, and in each of them the integer (x, y)
is the *centre* of a pixel, as everywhere in vl4pose. A pixel x covers [x - 1/2, x + 1/2), so that a
grid of width W covers [-1/2, W - 1/2). Boxes are the exception that annotation formats impose:
their (x, y, width, height) count from the image's corner, and [0, 0, W, H] is all of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import is_tensor
from vl4pose.skeleton import nearest

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageTransform", "Placement", "to_heatmap_pixels"]

FITS = ("letterbox", "crop")
ALIGNMENTS = ("corners", "centers")

# Larger inputs are mistakes, and one batch of them would not fit in memory.
_LARGEST_SIDE = 16384

# A target pixel that reaches past the image by less than this much of a pixel counts as inside it,
# and a size that misses a whole number by less as that number: float arithmetic alone must not
# blacken a row or column.
_EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Placement:
    """Where a part of an image lies in the network's input.

    Attributes
    ----------
    source : (x0, y0, x1, y1) of float
        The part of the image that is shown, in box coordinates (0 = the image's left or top edge).
    target : (x0, y0, x1, y1) of int
        The pixels of the input that show it, x1 and y1 exclusive. All others are black.

    Notes
    -----
    Per axis, for pixel centres in both grids,

        x_input = (x_image + 1/2 - source_x0) * k + target_x0 - 1/2,
        k = (target_x1 - target_x0) / (source_x1 - source_x0)

    which is Pillow's convention for ``Image.resize(size, box=source)``.
    """

    source: tuple[float, float, float, float]
    target: tuple[int, int, int, int]

    def image_to_input(self, xy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the input pixels of image pixels ``xy`` (..., 2)."""
        scale, shift = self._affine()
        return np.asarray(xy, np.float64) * scale + shift

    def input_to_image(self, xy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the image pixels of input pixels ``xy`` (..., 2)."""
        scale, shift = self._affine()
        return (np.asarray(xy, np.float64) - shift) / scale

    def _affine(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        source, target = np.array(self.source), np.array(self.target, np.float64)
        scale = (target[2:] - target[:2]) / (source[2:] - source[:2])
        return scale, (0.5 - source[:2]) * scale + target[:2] - 0.5


@dataclass(frozen=True)
class ImageTransform:
    """The preprocessing that a pose network was trained with.

    Parameters
    ----------
    input_size : (int, int)
        (width, height) of the network's input, in pixels.
    mean, std : float or sequence of three float
        Subtracted from and divided into the scaled channels R, G, B; kept as tuples of one or
        three.
    scale : float
        What 8-bit values are divided by, before ``mean`` and ``std``.
    fit : {"letterbox", "crop"}
        ``"letterbox"``: all of the box (of the image, where there is no box), its aspect kept,
        centred on black. ``"crop"``: the image around the box's centre, ``crop_scale`` times as
        large as the box and of the input's aspect; black beyond the image. An image without a box
        is letterboxed under both.
    crop_scale : float
        Side of the crop over side of the box.
    heatmap_align : {"corners", "centers"}
        Which points of heatmap and input coincide: the centres of their corner pixels (as
        ``align_corners=True`` in torch), or their outer edges, so that every heatmap pixel is the
        centre of its own block of input pixels.

    Raises
    ------
    TypeError, ValueError
        ``"<parameter> must <rule>, got <value>"``.

    Notes
    -----
    *Channel values.* ``(value / scale - mean) / std`` for value in 0...255; black padding is
    value 0, so it is ``-mean / std`` and not 0.

    *Letterbox.* With the box clipped to the image, (x0, y0) to (x0 + w, y0 + h), and the input
    W x H::

        k = min(W / w, H / h)
        w' = max(1, floor(k w)),  h' = max(1, floor(k h))
        left = (W - w') // 2,     top = (H - h') // 2

    and ``x_input = (x + 1/2 - x0) w' / w + left - 1/2``. The two axes differ in scale by what the
    rounding of w' and h' costs, and that is accounted for on the way back.

    *Crop.* With the box's centre c (the box as given, not clipped) and aspect a = W / H::

        w' = crop_scale max(w, a h),  h' = w' / a

    and ``x_input = (x + 1/2 - c_x + w' / 2) W / w' - 1/2``, nothing rounded. Input pixels that lie
    partly beyond the image are black.

    *Resampling* is Pillow's bilinear filter, which averages over all image pixels under an input
    pixel when it makes an image smaller (no aliasing, unlike bilinear in OpenCV or torch without
    ``antialias=True``). Its pixel centres follow the equations above exactly.

    *Heatmaps* of width V for an input of width W, and likewise for heights::

        corners:  x_input = x_heatmap (W - 1) / (V - 1),  the middle of the input when V = 1
        centers:  x_input = (x_heatmap + 1/2) W / V - 1/2

    Examples
    --------
    >>> transform = ImageTransform(input_size=(256, 256))
    >>> placement = transform.place((512, 256))
    >>> placement.target
    (0, 64, 256, 192)
    >>> transform.heatmap_to_image([[0.0, 16.0]], (64, 64), placement).round(3).tolist()
    [[0.5, 2.024]]
    """

    input_size: tuple[int, int] = (256, 256)
    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0
    scale: float = 256.0
    fit: Literal["letterbox", "crop"] = "letterbox"
    crop_scale: float = 1.75
    heatmap_align: Literal["corners", "centers"] = "corners"

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "input_size", _checked_size(self.input_size, "input_size"))
        set_(self, "mean", _checked_channels("mean", self.mean))
        std = _checked_channels("std", self.std)
        set_(self, "std", std)
        if any(value <= 0 for value in std):
            raise ValueError(f"std must be positive, got {_shown(std)}")
        set_(self, "scale", _checked_positive("scale", self.scale))
        set_(self, "crop_scale", _checked_positive("crop_scale", self.crop_scale))
        for name, names in (("fit", FITS), ("heatmap_align", ALIGNMENTS)):
            value = getattr(self, name)
            if value not in names:
                raise ValueError(f"{name} must be {nearest(str(value), names)}, got {value!r}")

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Return the names of the parameters."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageTransform:
        """Return the transform that :meth:`to_json` describes.

        Raises
        ------
        ValueError
            If a key is unknown; the message lists the keys and the nearest one.
        """
        for key in data:
            if key not in cls.parameter_names():
                raise ValueError(f"key must be {nearest(key, cls.parameter_names())}, got {key!r}")
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as plain numbers, strings and lists."""
        return {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value
            for name in self.parameter_names()
        }

    def place(self, image_size: tuple[int, int], box: Sequence[float] | None = None) -> Placement:
        """Return where an image, or the person in a box of it, lies in the network's input.

        Parameters
        ----------
        image_size : (int, int)
            (width, height) of the image.
        box : (x, y, width, height), optional
            The person, in image pixels counted from the image's corner, as in COCO.

        Raises
        ------
        ValueError
            If the box is empty, not finite, outside the image, or would be smaller than one pixel
            of the input: ``"box must ..., got [x, y, width, height]"``.
        """
        if box is None:
            return self._letterbox((0.0, 0.0, float(image_size[0]), float(image_size[1])))
        x, y, width, height = _checked_box(box)
        inside = (
            max(x, 0.0),
            max(y, 0.0),
            min(x + width, float(image_size[0])),
            min(y + height, float(image_size[1])),
        )
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            size = f"{image_size[0]}x{image_size[1]}"
            raise ValueError(f"box must overlap the image ({size}), got {_shown(box)}")
        if self.fit == "letterbox":
            return self._letterbox(inside)
        return self._crop(image_size, (x, y, width, height))

    def apply(
        self, image: Image, box: Sequence[float] | None = None
    ) -> tuple[npt.NDArray[np.float32], Placement]:
        """Return an image as network input.

        Parameters
        ----------
        image : PIL.Image.Image
            In mode "RGB".
        box : (x, y, width, height), optional
            As for :meth:`place`.

        Returns
        -------
        input : (3, H, W) float32
        placement : Placement
        """
        from PIL import Image

        placement = self.place(image.size, box)
        left, top, right, bottom = placement.target
        shown = image.resize(
            (right - left, bottom - top), Image.Resampling.BILINEAR, box=placement.source
        )
        width, height = self.input_size
        pixels = np.zeros((3, height, width), np.float32)
        pixels[:, top:bottom, left:right] = np.asarray(shown).transpose(2, 0, 1)
        pixels /= np.float32(self.scale)
        pixels -= np.asarray(self.mean, np.float32)[:, None, None]
        pixels /= np.asarray(self.std, np.float32)[:, None, None]
        return pixels, placement

    def heatmap_to_image(
        self, xy: npt.ArrayLike, heatmap_size: tuple[int, int], placement: Placement
    ) -> npt.NDArray[np.float64]:
        """Return the image pixels of heatmap pixels.

        Parameters
        ----------
        xy : (..., 2) float
            Heatmap pixels; NaN stays NaN.
        heatmap_size : (int, int)
            (width, height) of the heatmaps.
        placement : Placement
            What :meth:`place` or :meth:`apply` returned for the image.
        """
        scale, shift = _heatmap_affine(self.input_size, heatmap_size, self.heatmap_align)
        return placement.input_to_image(np.asarray(xy, np.float64) * scale + shift)

    def image_to_heatmap(
        self, xy: npt.ArrayLike, heatmap_size: tuple[int, int], placement: Placement
    ) -> npt.NDArray[np.float64]:
        """Return the heatmap pixels of image pixels: the inverse of :meth:`heatmap_to_image`.

        A heatmap that is one pixel wide under ``"corners"`` has no inverse; it gives 0.
        """
        scale, shift = _heatmap_affine(self.input_size, heatmap_size, self.heatmap_align)
        offset = placement.image_to_input(xy) - shift
        return np.divide(offset, scale, out=np.zeros_like(offset), where=scale != 0)

    def _letterbox(self, source: tuple[float, float, float, float]) -> Placement:
        width, height = self.input_size
        source_width, source_height = source[2] - source[0], source[3] - source[1]
        scale = min(width / source_width, height / source_height)
        target_width = max(1, math.floor(source_width * scale + _EDGE_TOLERANCE))
        target_height = max(1, math.floor(source_height * scale + _EDGE_TOLERANCE))
        left, top = (width - target_width) // 2, (height - target_height) // 2
        return Placement(source, (left, top, left + target_width, top + target_height))

    def _crop(
        self, image_size: tuple[int, int], box: tuple[float, float, float, float]
    ) -> Placement:
        x, y, box_width, box_height = box
        width, height = self.input_size
        crop_width = self.crop_scale * max(box_width, box_height * width / height)
        step = crop_width / width  # image pixels per input pixel
        origin = (x + box_width / 2 - crop_width / 2, y + (box_height - step * height) / 2)
        spans = []
        for start, size, image_length in zip(origin, self.input_size, image_size, strict=True):
            first = max(0, math.ceil(-start / step - _EDGE_TOLERANCE))
            last = min(size, math.floor((image_length - start) / step + _EDGE_TOLERANCE))
            if first >= last:
                raise ValueError(
                    "box must leave the image at least one pixel of the network input, "
                    f"got {_shown(box)}"
                )
            spans.append((first, last, start + first * step, start + last * step))
        (left, right, x0, x1), (top, bottom, y0, y1) = spans
        source = (max(x0, 0.0), max(y0, 0.0), min(x1, image_size[0]), min(y1, image_size[1]))
        return Placement(source, (left, top, right, bottom))


def to_heatmap_pixels(
    keypoints: Any,
    input_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    *,
    align: Literal["corners", "centers"] = "corners",
) -> Any:
    """Return keypoints in pixels of a network's input as heatmap pixels.

    Parameters
    ----------
    keypoints : (..., 2) array_like or Tensor
        (x, y) in pixels of the input, an integer being the centre of a pixel; NaN stays NaN.
    input_size, heatmap_size : (int, int)
        (width, height) in pixels.
    align : {"corners", "centers"}
        As ``heatmap_align`` of :class:`ImageTransform`. "corners": the centres of the corner pixels
        coincide, x (w - 1) / (W - 1), as the authors' released code has it, and torch with
        ``align_corners=True``. "centers": the outer edges do, (x + 1/2) w / W - 1/2, as torch
        without it, OpenCV and Pillow resize.

    Returns
    -------
    (..., 2) array or Tensor
        For a floating tensor one of its dtype and device, which gradients flow through; for other
        tensors one of torch's default dtype, else a float64 array.

    Raises
    ------
    ValueError
        ``keypoints must have a last axis of (x, y)``; ``align must be one of corners, centers``;
        ``input_size must be ...``, likewise ``heatmap_size``.

    Examples
    --------
    >>> to_heatmap_pixels([[255.0, 127.5]], (256, 256), (64, 64))
    array([[63. , 31.5]])
    """
    if align not in ALIGNMENTS:
        raise ValueError(f"align must be {nearest(str(align), ALIGNMENTS)}, got {align!r}")
    input_size = _checked_size(input_size, "input_size")
    heatmap_size = _checked_size(heatmap_size, "heatmap_size")
    scale, shift = _heatmap_affine(input_size, heatmap_size, align)
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale != 0)
    if is_tensor(keypoints):
        if not keypoints.is_floating_point():
            keypoints = keypoints / 1
        inverse, shift = keypoints.new_tensor(inverse), keypoints.new_tensor(shift)
    else:
        keypoints = np.asarray(keypoints, np.float64)
    if keypoints.ndim < 1 or keypoints.shape[-1] != 2:
        raise ValueError(
            f"keypoints must have a last axis of (x, y), got shape {tuple(keypoints.shape)}"
        )
    return (keypoints - shift) * inverse


def _heatmap_affine(
    input_size: tuple[int, int], heatmap_size: tuple[int, int], align: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return scale and shift of x_input = x_heatmap * scale + shift, (2,) each."""
    size = np.array(input_size, np.float64)
    cells = np.array(heatmap_size, np.float64)
    if align == "centers":
        return size / cells, (size / cells - 1) / 2
    single = cells == 1
    scale = np.where(single, 0.0, (size - 1) / np.where(single, 1.0, cells - 1))
    return scale, np.where(single, (size - 1) / 2, 0.0)


def _shown(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{float(value):g}" for value in values) + "]"


def _checked_size(value: object, argument: str) -> tuple[int, int]:
    rule = f"{argument} must be two whole numbers (width, height) from 1 to {_LARGEST_SIDE}"
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{rule}, got {value!r}")
    for length in value:
        if not isinstance(length, int) or isinstance(length, bool):
            raise TypeError(f"{rule}, got {value!r}")
        if not 1 <= length <= _LARGEST_SIDE:
            raise ValueError(f"{rule}, got {value!r}")
    return value[0], value[1]


def _checked_channels(name: str, value: object) -> tuple[float, ...]:
    channels: Sequence[object] = (value,)
    if isinstance(value, Sequence) and not isinstance(value, str):
        channels = value
    numbers = []
    for number in channels:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise TypeError(f"{name} must be one number or three, got {value!r}")
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite, got {value!r}")
        numbers.append(float(number))
    if len(numbers) not in (1, 3):
        raise ValueError(f"{name} must be one number or three, got {value!r}")
    return tuple(numbers)


def _checked_positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def _checked_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    if len(box) != 4:
        raise ValueError(f"box must hold x, y, width, height, got {_shown(box)}")
    if not all(math.isfinite(value) for value in box):
        raise ValueError(f"box must be finite, got {_shown(box)}")
    x, y, width, height = (float(value) for value in box)
    if width <= 0 or height <= 0:
        raise ValueError(f"box must have a width and a height above 0, got {_shown(box)}")
    return x, y, width, height
