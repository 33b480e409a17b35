"""The options of ``vl4pose demo`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import whole_number

Out = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Where pictures, networks, scores and the contact sheet go; those of an earlier demo "
        "are replaced.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--seed", 0),
        help="Of everything random: the same one gives the same figures, on one machine and with "
        "the same number of threads.",
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        metavar="",
        help="A few pictures and hardly any training: in seconds, with figures that mean nothing.",
    ),
]
