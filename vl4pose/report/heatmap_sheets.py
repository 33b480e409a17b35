"""Heatmaps of the people that are pictured, computed anew: tables of scores do not hold them."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vl4pose._sentences import network_reason
from vl4pose.image_transform import ImageTransform
from vl4pose.pool.decoding import read_rgb
from vl4pose.pool.errors import NetworkError
from vl4pose.pool.storage import Folder
from vl4pose.report.pictures import data_uri
from vl4pose.scorer import Scorer

__all__ = ["HeatmapSheet", "Pictured", "heatmap_sheets"]

FloatArray = npt.NDArray[np.float64]

_BATCH_SIZE = 16
_TOLERANCE = 0.02  # of half precision, and of networks that are compiled for another device
_LONGEST_SIDE = 96  # of a map in the page; larger ones are made smaller


@dataclass(frozen=True)
class Pictured:
    """A person of whom there is a picture, so that the image can be read.

    Attributes
    ----------
    row : int
    image : str
    box : list of float, optional
    confidence : (J,) float64
        Highest values of the heatmaps that were scored.
    """

    row: int
    image: str
    box: list[float] | None
    confidence: FloatArray


@dataclass(frozen=True)
class HeatmapSheet:
    """All heatmaps of a person side by side, each from its lowest to its highest value.

    Attributes
    ----------
    uri : str
        A grey PNG as a data URI, joint after joint from left to right.
    place : (x, y, width, height) of float
        Where a map lies in the image, counted from the image's corner.
    same : bool
        Whether the heatmaps are as high as those that were scored, but for the arithmetic of
        another machine.
    """

    uri: str
    place: tuple[float, float, float, float]
    same: bool


def heatmap_sheets(
    people: list[Pictured], images: Folder, scorer: Scorer, transform: ImageTransform
) -> dict[int, HeatmapSheet]:
    """Return the heatmaps of people by their rows.

    Parameters
    ----------
    people : list of Pictured
    images : Folder
    scorer : Scorer
        With the pose network that the table was scored with.
    transform : ImageTransform
        That of the table.

    Raises
    ------
    NetworkError
        ``the pose network fails on the pictured images: ...``, also where it breaks its contract.
    """
    sheets = {}
    for start in range(0, len(people), _BATCH_SIZE):
        batch = people[start : start + _BATCH_SIZE]
        decoded = [read_rgb(person.image, images) for person in batch]
        applied = [
            transform.apply(image, person.box) for image, person in zip(decoded, batch, strict=True)
        ]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in applied]))
        try:
            maps = scorer.predict(pixels).heatmaps.float().cpu().numpy()
        except Exception as error:  # networks are the user's code, and TorchScript has its own kind
            why = network_reason(error)
            raise NetworkError(f"the pose network fails on the pictured images: {why}") from error
        for person, of_person, (_, placement) in zip(batch, maps, applied, strict=True):
            height, width = of_person.shape[1:]
            corners = transform.heatmap_to_image(
                [(-0.5, -0.5), (width - 0.5, height - 0.5)], (width, height), placement
            )
            (x0, y0), (x1, y1) = (corners + 0.5).round(2).tolist()
            highest = of_person.max(axis=(1, 2))
            same = np.allclose(highest, person.confidence, rtol=_TOLERANCE, equal_nan=True)
            place = (x0, y0, x1 - x0, y1 - y0)
            sheets[person.row] = HeatmapSheet(_sheet(of_person), place, same)
    return sheets


def _sheet(maps: npt.NDArray[Any]) -> str:
    longest = max(maps.shape[1:])
    grey = []
    for values in maps:
        finite = np.where(np.isfinite(values), values, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a map without a finite value
            low, high = np.nanmin(finite), np.nanmax(finite)
        span = high - low if high > low else 1.0
        image = Image.fromarray(np.nan_to_num((finite - low) / span * 255).astype(np.uint8))
        if longest > _LONGEST_SIDE:
            image = image.reduce(-(-longest // _LONGEST_SIDE))
        grey.append(np.asarray(image))
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(grey, axis=1)).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")
