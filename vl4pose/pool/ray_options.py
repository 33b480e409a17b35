"""How Ray is to be used, for whoever may have no Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["RayOptions"]


@dataclass(frozen=True)
class RayOptions:
    """Where Ray is, and what it may use to score a pool.

    Parameters
    ----------
    address : str, optional
        Of a Ray cluster, as ``ray.init`` takes it: ``"HOST:PORT"``, or ``"auto"`` for the one that
        this machine belongs to. None takes the environment variable ``RAY_ADDRESS``, and without it
        starts a Ray of its own on this machine. A Ray that the process is connected to already is
        used as it is.
    actors : (int, int or None)
        The fewest and the most processes that hold the networks; between them it is Ray that starts
        and stops them, as it finds room. None: as many as there is room for.
    gpus : float, optional
        GPUs of each of them: a share, for several of them on one GPU, or a whole number. None takes
        1 where the networks run on ``"cuda"``, and else 0.

    Raises
    ------
    TypeError, ValueError
        ``"<parameter> must <rule>, got <value>"``.
    """

    address: str | None = None
    actors: tuple[int, int | None] = (1, None)
    gpus: float | None = None

    def __post_init__(self) -> None:
        fewest, most = self.actors
        for number in (fewest, *(() if most is None else (most,))):
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"actors must be whole numbers, got {self.actors!r}")
            if number < 1:
                raise ValueError(f"actors must be at least 1, got {self.actors!r}")
        if most is not None and most < fewest:
            raise ValueError(f"actors must be the fewest and the most, got {self.actors!r}")
        if self.gpus is None:
            return
        if isinstance(self.gpus, bool) or not isinstance(self.gpus, int | float):
            raise TypeError(f"gpus must be a number, got {self.gpus!r}")
        if not 0 <= self.gpus < float("inf") or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise ValueError(
                f"gpus must be a share of one GPU or a whole number, got {self.gpus!r}"
            )

    def where(self) -> str | None:
        """Return the address of a cluster, or None where Ray is to be started here."""
        return self.address or os.environ.get("RAY_ADDRESS") or None

    def gpus_of(self, device: str) -> float:
        """Return the GPUs of an actor whose networks run on a device.

        Raises
        ------
        ValueError
            If the device and the GPUs contradict each other.
        """
        kind, _, index = device.partition(":")
        if index:
            raise ValueError(
                f"device must be cpu or cuda where Ray chooses the GPU, got '{device}'"
            )
        if self.gpus is None:
            return 1.0 if kind == "cuda" else 0.0
        if (self.gpus > 0) != (kind == "cuda"):
            rule = (
                "be more than 0 where device is" if kind == "cuda" else "go with device cuda, not"
            )
            raise ValueError(f"gpus must {rule} {kind}, got {self.gpus!r}")
        return float(self.gpus)
