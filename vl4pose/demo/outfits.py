"""What people look like: skin, hair and clothes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl4pose.demo.painting import Colour

__all__ = ["Outfit", "random_outfit"]

SKIN = [
    (252, 224, 204), (245, 205, 175), (232, 184, 148), (210, 155, 115), (178, 120, 80),
    (141, 90, 58), (105, 64, 42), (78, 48, 34),
]  # fmt: skip
HAIR = [
    (35, 27, 26), (62, 42, 33), (98, 64, 42), (150, 98, 52), (214, 172, 104), (168, 74, 40),
    (150, 148, 146),
]  # fmt: skip
SHIRTS = [
    (214, 64, 69), (236, 119, 72), (244, 184, 68), (86, 160, 100), (40, 128, 132), (58, 110, 180),
    (88, 84, 160), (160, 84, 150), (224, 130, 150), (245, 240, 230), (70, 76, 88), (120, 190, 205),
]  # fmt: skip
TROUSERS = [
    (44, 62, 92), (58, 84, 130), (62, 62, 68), (120, 98, 76), (196, 176, 140), (92, 104, 84),
    (104, 58, 66), (150, 154, 162),
]  # fmt: skip
SHOES = [(240, 240, 238), (48, 48, 52), (190, 60, 56), (110, 76, 52), (60, 120, 170)]


@dataclass(frozen=True)
class Outfit:
    """What a person wears and looks like."""

    skin: Colour
    hair: Colour
    shirt: Colour
    shirt_accent: Colour
    trousers: Colour
    shoes: Colour
    hair_style: str  # short, long, bun, tail, cap, bald
    sleeves: float  # how far down the arm they reach: 0 to 2 segments
    legs: float  # how far down the leg the trousers reach: 0 to 2 segments
    skirt: bool
    pattern: str  # plain, stripes, logo, buttons
    backpack: Colour | None


def _pick(rng: np.random.Generator, items: Sequence[Colour]) -> Colour:
    return items[int(rng.integers(len(items)))]


def random_outfit(rng: np.random.Generator) -> Outfit:
    """Return what somebody wears on an ordinary day."""
    skirt = rng.random() < 0.15
    return Outfit(
        skin=_pick(rng, SKIN),
        hair=_pick(rng, HAIR),
        shirt=_pick(rng, SHIRTS),
        shirt_accent=_pick(rng, SHIRTS),
        trousers=_pick(rng, TROUSERS),
        shoes=_pick(rng, SHOES),
        hair_style=str(rng.choice(["short", "long", "bun", "tail", "cap", "bald"],
                                  p=[0.36, 0.22, 0.1, 0.12, 0.14, 0.06])),
        sleeves=float(rng.choice([0.12, 0.6, 1.25, 1.9], p=[0.12, 0.43, 0.1, 0.35])),
        legs=0.3 if skirt else float(rng.choice([0.6, 1.3, 1.9], p=[0.25, 0.1, 0.65])),
        skirt=skirt,
        pattern=str(rng.choice(["plain", "stripes", "logo", "buttons"], p=[0.35, 0.25, 0.2, 0.2])),
        backpack=_pick(rng, SHIRTS) if rng.random() < 0.12 else None,
    )  # fmt: skip
