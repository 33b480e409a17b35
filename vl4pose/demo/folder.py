"""The folder that the demo writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from vl4pose.demo.pictures import Picture

__all__ = ["DemoFolder"]

_IMAGE_NAME = re.compile(r"\d{3,}-[a-z-]+\.jpg")


class DemoFolder:
    """A folder with pictures, networks, scores and a contact sheet.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    path, images, pose, aux, settings, truth, scores, contact_sheet : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images = path / "images"
        self.pose = path / "pose.pt"
        self.aux = path / "aux.pt"
        self.settings = path / "pose.json"
        self.truth = path / "truth.json"
        self.scores = path / "scores.parquet"
        self.contact_sheet = path / "contact_sheet.png"

    def foreign(self) -> Path | None:
        """Return something in the folder that no demo has put there, or None."""
        own = {self.pose, self.aux, self.settings, self.truth, self.scores, self.contact_sheet}
        for file in self._content(self.path):
            if file not in own and file != self.images:
                return file
        for file in self._content(self.images):
            if not _IMAGE_NAME.fullmatch(file.name):
                return file
        return None

    def clear(self) -> None:
        """Make the folder, and remove what an earlier demo has left in it."""
        self.images.mkdir(parents=True, exist_ok=True)
        for file in [*self._content(self.path), *self._content(self.images)]:
            if file != self.images:
                file.unlink()

    def save_pictures(self, pictures: Iterable[Picture]) -> dict[str, Picture]:
        """Write pictures and the truth about them.

        Parameters
        ----------
        pictures : iterable of Picture

        Returns
        -------
        named : dict of str to Picture
            By the names of their files in ``images``.
        """
        named = {
            f"{index:03d}-{picture.kind.replace(' ', '-')}.jpg": picture
            for index, picture in enumerate(pictures)
        }
        for name, picture in named.items():
            picture.image.save(self.images / name, quality=90)
        truth = [
            {"image": name, "kind": picture.kind, "keypoints": picture.keypoints.round(2).tolist()}
            for name, picture in named.items()
        ]
        self.truth.write_text(json.dumps(truth) + "\n", encoding="utf-8")
        return named

    @staticmethod
    def _content(folder: Path) -> list[Path]:
        return sorted(folder.iterdir()) if folder.is_dir() else []
