"""Drawn people as a dataset, for the example of ``vl4pose simulate``."""

from __future__ import annotations

from vl4pose.demo.pictures import KINDS, ORDINARY, draw_picture
from vl4pose.demo.training import PictureDataset

__all__ = ["drawn_people"]

_EVERY = 5  # which picture is not of the ordinary kind


def drawn_people(number: int = 300, seed: int = 0) -> PictureDataset:
    """Return pictures of people of the "lsp" skeleton, a fifth of which are out of the ordinary.

    Parameters
    ----------
    number : int
    seed : int
        Of what is drawn.

    Returns
    -------
    PictureDataset
        Input of 128 x 128 pixels, values divided by 255, and heatmaps of 32 x 32.
    """
    others = [kind for kind in KINDS if kind != ORDINARY]
    kinds = [
        others[index // _EVERY % len(others)] if index % _EVERY == 0 else ORDINARY
        for index in range(number)
    ]
    pictures = (draw_picture(kind, (seed, index)) for index, kind in enumerate(kinds))
    return PictureDataset(pictures, mirrored=False)
