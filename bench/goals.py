"""The goals: bounds on one time divided by another of the same rounds."""

from __future__ import annotations

from dataclasses import dataclass

import vl4pose
from bench.cases import Case
from bench.machine import num_cpus

COLUMNS = (Case(min_distance=5, num_peaks=5), Case(min_distance=8, num_peaks=1))
MEMORY = "memory of 1024 images"  # the one contest that is counted, not timed
TWO_CPUS = "two CPUs"


@dataclass(frozen=True)
class Goal:
    """A bound for each of ``COLUMNS``.

    Attributes
    ----------
    name : str
        ``"contestant / contestant"``, whose times are divided; or one, whose number it is.
    sign : str
        ``"<="`` or ``">="``.
    bounds : tuple of float
    needs : str, optional
        A CPU capability, or ``TWO_CPUS``.
    """

    name: str
    sign: str
    bounds: tuple[float, float]
    needs: str | None = None

    @property
    def contestants(self) -> list[str]:
        """One or two contestants."""
        return self.name.split(" / ")

    def holds(self, measured: float, column: int) -> bool:
        """Return whether a measured value keeps the bound of its column."""
        bound = self.bounds[column]
        return measured <= bound if self.sign == "<=" else measured >= bound

    def lacking(self) -> str | None:
        """Return why it cannot be measured here, or None."""
        if self.needs is None:
            return None
        if self.needs == TWO_CPUS:
            return None if num_cpus() > 1 else f"needs {TWO_CPUS}, and this process may use one"
        here = vl4pose.cpu_capabilities()
        return None if self.needs in here else f"needs {self.needs}, not one of {', '.join(here)}"


GOALS: dict[str, tuple[Goal, ...]] = {  # by contest
    "1024 images": (
        Goal("numpy h.max() / limit", ">=", (1.1, 1.1)),
        Goal("score on AVX-512 / limit", "<=", (1.35, 1.15), "avx512"),
        Goal("score on AVX2 / limit", "<=", (1.9, 1.4), "avx2"),
        Goal("refine / score", "<=", (1.15, 1.15)),
        Goal("analyze / score", "<=", (1.15, 1.15)),
        Goal("numpy argmax + max / score", ">=", (2.2, 2.7)),
        Goal("torch flatten(2).max(-1) / score", ">=", (4, 5)),
        Goal("best compiled torch / score", ">=", (20, 20)),
    ),
    "1024 images, two threads": (Goal("score / limit", "<=", (1.4, 1.2), TWO_CPUS),),
    "1024 images, other precisions": (
        Goal("float16 / float32", "<=", (0.75, 0.75)),
        Goal("bfloat16 / float32", "<=", (0.85, 0.85)),
    ),
    "256 images, equal values": (
        Goal("zeros after ReLU / typical", "<=", (1.3, 1.3)),
        Goal("integers 0..3 / typical", "<=", (6, 6)),
        Goal("saturated plateaus / typical", "<=", (6, 6)),
        Goal("checkerboard / typical", "<=", (6, 6)),
        Goal("constant / typical", "<=", (6, 6)),
    ),
    "256 images, base address": (
        Goal("off by 4 bytes / aligned", "<=", (1.1, 1.1)),
        Goal("off by 16 bytes / aligned", "<=", (1.1, 1.1)),
        Goal("off by 32 bytes / aligned", "<=", (1.1, 1.1)),
    ),
    "256 images, other layouts": (
        Goal("sliced batch x[::2] / contiguous", "<=", (1.3, 1.3)),
        Goal("last stack x[:, -1] / contiguous", "<=", (1.3, 1.3)),
        Goal("channels_last / contiguous", "<=", (3, 3)),
    ),
    "other sizes, bytes of 256 images": (
        Goal("score 96x72 / limit 96x72", "<=", (1.6, 1.4)),
        Goal("score 72x96 / limit 72x96", "<=", (1.6, 1.4)),
        Goal("score 128x128 / limit 128x128", "<=", (1.6, 1.4)),
        Goal("score 48x64 / limit 48x64", "<=", (1.6, 1.4)),
        Goal("score 33x47 / limit 33x47", "<=", (1.6, 1.4)),
        Goal("score J=14 / limit J=14", "<=", (1.6, 1.4)),
        Goal("score J=17 / limit J=17", "<=", (1.6, 1.4)),
        Goal("score J=21 / limit J=21", "<=", (1.6, 1.4)),
    ),
    "one image a call": (
        Goal("numpy argmax + max / score", ">=", (1.4, 1.6)),
        Goal("refine / score", "<=", (1.5, 1.5)),
        Goal("analyze / score", "<=", (2.5, 2.5)),
    ),
    MEMORY: (
        Goal("kB a thread beyond the result", "<=", (64, 64)),
        Goal("kB more than for 64 images", "<=", (1, 1)),
    ),
}
