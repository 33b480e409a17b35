"""Pictures of people that a page can hold: a part of an image, made small, as a data URI."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from vl4pose.pool.decoding import UnreadableImageError, read_rgb
from vl4pose.pool.storage import Folder

__all__ = ["NoPictureError", "Picture", "data_uri", "make_picture", "read_part", "shown_part"]

FloatArray = npt.NDArray[np.float64]
Part = tuple[int, int, int, int]

_QUALITY = 80  # of JPEG
_MARGIN = 0.15  # around a person, of the person's longer side
_WHOLE = 0.7  # a part that is more of an image than this is all of it


class NoPictureError(Exception):
    """Why there is no picture, as a sentence without a full stop."""


@dataclass(frozen=True)
class Picture:
    """A part of an image.

    Attributes
    ----------
    uri : str
        A JPEG as a data URI.
    part : (x, y, width, height) of int
        What it shows, counted from the image's corner.
    """

    uri: str
    part: Part


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as a data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def shown_part(
    image_size: tuple[int, int], box: list[float] | None, keypoints: list[FloatArray]
) -> Part:
    """Return what of an image to show: the surroundings of a person in a box, or all of it.

    Parameters
    ----------
    image_size : (int, int)
        (width, height).
    box : [x, y, width, height], optional
        Of the person.
    keypoints : list of (J, 2) array
        Poses that must be seen, in image pixels.
    """
    width, height = image_size
    whole = (0, 0, width, height)
    if box is None:
        return whole
    corners = np.array([box[:2], [box[0] + box[2], box[1] + box[3]]])
    points = np.concatenate([corners, *keypoints])
    points = points[np.isfinite(points).all(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * (high - low).max()
    x0, y0 = np.clip(np.floor(low - margin), 0, [width - 1, height - 1]).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(high + margin), [x0 + 1, y0 + 1], image_size).astype(int).tolist()
    if (x1 - x0) * (y1 - y0) > _WHOLE * width * height:
        return whole
    return x0, y0, x1 - x0, y1 - y0


def read_part(name: str, folder: Folder, image_size: tuple[int, int], part: Part) -> Image.Image:
    """Return a part of an image.

    Raises
    ------
    NoPictureError
        If the image cannot be read, or is of another size than what was scored.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise NoPictureError("the image's name leads out of the folder of images")
    try:
        image = read_rgb(name, folder)
    except UnreadableImageError as error:
        raise NoPictureError(f"the image cannot be read: {error}") from None
    if image.size != image_size:
        now, then = ("{}x{}".format(*size) for size in (image.size, image_size))
        raise NoPictureError(f"the image is {now} pixels now, and was {then} when it was scored")
    x, y, width, height = part
    return image.crop((x, y, x + width, y + height))


def make_picture(
    name: str, folder: Folder, image_size: tuple[int, int], part: Part, max_size: int
) -> Picture:
    """Return a picture of a part of an image, its longer side at most ``max_size`` pixels.

    Raises
    ------
    NoPictureError
        As `read_part`.
    """
    shown = read_part(name, folder, image_size, part)
    shown.thumbnail((max_size, max_size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return Picture(data_uri(buffer.getvalue(), "image/jpeg"), part)
