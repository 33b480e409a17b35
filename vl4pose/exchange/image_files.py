"""Image files beside the annotations: their sizes, and copies where a tool wants them so."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from vl4pose._atomic_file import unfinished
from vl4pose.exchange.image_names import below_root

__all__ = ["copy_images", "upright_size", "zip_images"]

_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def upright_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image turned upright by its EXIF orientation.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        lies = image.getexif().get(_ORIENTATION) in _LYING
    return (height, width) if lies else (width, height)


def copy_images(root: Path, places: Mapping[str, str], out: Path) -> None:
    """Copy images of ``root`` to their places below ``out``; an existing file is replaced.

    Raises
    ------
    ValueError
        If a name leaves the root.
    OSError
        If an image cannot be read or written.
    """
    for name, place in places.items():
        source, target = root / below_root(name), out / below_root(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(target) as temporary:
            shutil.copyfile(source, temporary)
            temporary.replace(target)


def zip_images(root: Path, names: list[str], out: Path) -> None:
    """Put images of ``root`` into the archive ``out`` under their names, in their order.

    Raises
    ------
    ValueError
        If a name leaves the root.
    OSError
        If an image cannot be read or written.
    """
    try:
        with unfinished(out) as temporary:
            with ZipFile(temporary, "w", ZIP_STORED, strict_timestamps=False) as archive:
                for name in names:
                    archive.write(root / below_root(name), below_root(name))
            temporary.replace(out)
    except OSError as error:
        if error.filename is None:  # that of a full disk
            error.filename = str(out)
        raise
