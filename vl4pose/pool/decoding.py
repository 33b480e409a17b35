"""Image files as RGB images, upright."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vl4pose.pool.storage import Folder

__all__ = ["UnreadableImageError", "large_images_allowed", "read_rgb"]

_MAX_MEGAPIXELS = 2 * 89_478_485 / 1e6  # where Pillow refuses


class UnreadableImageError(Exception):
    """A file that gives no image; the message says why, without the file's name."""


def read_rgb(file: str | os.PathLike[str], images: Folder | None = None) -> Image.Image:
    """Return the first frame of an image file in mode "RGB", upright by its EXIF orientation.

    Transparent pixels are laid over black, as the padding around an image is. 16-bit grey is
    divided by 257 (0...65535 to 0...255) and rounded. CMYK, palette and grey images are converted
    as Pillow does. 32-bit integer and float images have no defined range and are refused.

    Parameters
    ----------
    file : path
        Or the name of a file in ``images``.
    images : Folder, optional
        On this machine or not.

    Raises
    ------
    UnreadableImageError
        Whatever is wrong with the file.
    """
    try:
        opened = Path(file) if images is None else images.open(os.fspath(file))
        if _size(opened) == 0:
            raise UnreadableImageError("the file is empty")
        with Image.open(opened) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image, or of an unknown format") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"larger than {_MAX_MEGAPIXELS:.0f} megapixels") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableImageError(reason[:1].lower() + reason[1:]) from error
    except Exception as error:
        # Decoders meet damaged files with every kind of exception (SyntaxError, struct.error,
        # zlib.error, IndexError, MemoryError ...), and one file must not stop a run.
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


@contextmanager
def large_images_allowed() -> Iterator[None]:
    """Keep Pillow's warning about images above 89 megapixels from the user: they are scored.

    Filters are global to the process, so this belongs around a whole run and not in its threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _size(file: Path | BinaryIO) -> int:
    if isinstance(file, Path):
        return file.stat().st_size
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        values = np.asarray(image, np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImageError(f"32-bit pixels (mode {image.mode}) have no defined range")
    if image.has_transparency_data:
        overlay = image.convert("RGBA")
        black = Image.new("RGBA", overlay.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, overlay).convert("RGB")
    return image.convert("RGB")
