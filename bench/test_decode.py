"""Plain argmax decoding, and its sub-pixel steps."""

from __future__ import annotations

import pytest

import vl4pose
from bench import competitors
from bench.cases import AROUND_BASE, BASE, Case, runs
from bench.measure import Measure
from vl4pose import reference

NAMES = ["vl4pose", "numpy", "torch"]


@pytest.mark.parametrize(
    ("case", "name"),
    [*runs([BASE], NAMES, quick=NAMES), *runs(AROUND_BASE, NAMES)],
)
def test_argmax(measure: Measure, case: Case, name: str) -> None:
    decode(measure, case, name, None)


@pytest.mark.parametrize(("case", "name"), runs([BASE], NAMES, quick=NAMES))
@pytest.mark.parametrize("subpixel", ["quarter", "centroid", "dark"])
def test_subpixel(measure: Measure, case: Case, name: str, subpixel: str) -> None:
    decode(measure, case, name, subpixel)


def decode(measure: Measure, case: Case, name: str, subpixel: str | None) -> None:
    measure(
        f"decode, {subpixel or 'argmax'}",
        case,
        name,
        [case.heatmaps],
        ours=lambda h: vl4pose.decode(h, subpixel=subpixel, num_threads=measure.num_threads),
        reference=lambda h: reference.decode(h, subpixel=subpixel),
        theirs=lambda _, h: competitors.decode(h, subpixel),
    )
