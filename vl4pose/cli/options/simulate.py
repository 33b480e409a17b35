"""The options of ``vl4pose simulate`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import finite_number, whole_number
from vl4pose.cli.options.shared import MOST_THREADS, RUNNING, default

_RAY = "Running on Ray (--engine ray)"

Config = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG.toml",
        help="What is simulated; --example prints one that says what every key means. It names "
        "Python code that is run: use those of people you trust.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="A new folder for records, tables and figures, or that of the same simulation, which "
        "is gone on with." + default("CONFIG without .toml"),
        show_default=False,
    ),
]
Example = Annotated[
    bool,
    typer.Option(
        "--example",
        metavar="",
        help="Print a configuration that works, with every key explained, and do nothing else.",
    ),
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate",
        metavar="",
        help="Time a step of training and a batch of scoring, say what all of it will take, and do "
        "nothing else.",
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Stop at the next safe point after so long (8min, 90s, 1h30min); the same command "
        "goes on from there. The exit code is then 3, and 0 once everything is done.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="Where the networks run: cpu, cuda, cuda:1." + default("run.device of CONFIG"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
NumThreads = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-threads", 1, MOST_THREADS),
        help="Threads of each process. Other last bits may come of another number."
        + default("run.threads of CONFIG, or torch's choice"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--processes", 1),
        help="Processes that share the runs, on this machine or on Ray; with --device cuda each "
        "has a GPU, in turn." + default("run.processes of CONFIG"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="Where the processes are: on this machine, or on a Ray cluster whose nodes all see "
        "the folder.",
        rich_help_panel=RUNNING,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        help="Of the Ray cluster; auto: the one that this machine belongs to."
        + default("RAY_ADDRESS, or a Ray of its own on this machine"),
        show_default=False,
        rich_help_panel=_RAY,
    ),
]
RayGpus = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--ray-gpus"),
        help="GPUs of each process, with --device cuda: 0.5 puts two of them on one GPU."
        + default("1"),
        show_default=False,
        rich_help_panel=_RAY,
    ),
]
