"""``python -m bench.lsp_simulation``: labels that choosing saves, on real photographs.

Runs ``vl4pose simulate`` on crops of Leeds Sports Pose (`bench.lsp_crops` says what the data folder
holds): chance, Multi-Peak Entropy, VL4Pose and confidence, with a small network, three seeds, and
as many labels as a CPU can make something of. It takes less than twenty minutes on two cores, and
goes on where it was when it is stopped and started again.

``--paper`` is the experiment of VL4Pose (BMVC 2022) on LSP and LSPET instead, for one large GPU;
``--small`` is either of them with a few images and steps, on the CPU: whether all of it works takes
minutes to find out. Options that are not its own go to ``vl4pose simulate``: ``--estimate`` says
what it would cost, ``--time-limit 8min`` does a piece of it. After a piece the outputs are those of
what is done so far, and the exit status is 3: there is more to do. So all of it, in pieces, is

    while python -m bench.lsp_simulation --paper --time-limit 8min; [ $? = 3 ]; do :; done
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

try:
    from rich.console import Console

    from bench.lsp_crops import FILES, training_set
    from vl4pose.simulation.config import read_config
    from vl4pose.simulation.outputs import terminal_summary, write_outputs
    from vl4pose.simulation.picks import write_picks
    from vl4pose.simulation.records import read_records
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    package = str(error.name).partition(".")[0]
    sys.exit(f"bench.lsp_simulation: {package} is not installed: pip install -e '.[bench]'")

HERE = Path(__file__).resolve().parent
CONFIGS = {False: HERE / "lsp_simulation.toml", True: HERE / "lsp_paper.toml"}
MORE_TO_DO = 3  # exit status of vl4pose simulate
# What is smaller in a trial, by table. All else is as it is. Nothing is compiled, which would take
# minutes, and fails on CPUs for the maps of 1 x 1 pixel that images of 64 x 64 become (torch 2.13).
SMALL: Mapping[str, Mapping[str, Any]] = {
    "data": {
        "train_options": {"size": 64, "limit": 60},
        "test_options": {"size": 64, "limit": 20},
        "input_size": 64,
    },
    "simulation": {"start": 16, "budget": 8, "seeds": 2},
    "network": {"options": {"channels": 16}},
    "training": {"steps": 2, "epochs": None, "batch_size": 8, "compile": False},
    "heads": {"steps": 2, "epochs": None, "batch_size": 8},
    "scoring": {"batch_size": 32, "min_distance": 2},
    "run": {"device": "cpu", "processes": 1, "threads": 1},
}


def main() -> None:
    """Run the simulation."""
    arguments, more = parse()
    arguments.out.resolve().parent.mkdir(parents=True, exist_ok=True)
    path = configuration(arguments.paper, arguments.small, arguments.out)
    status = simulate(path, arguments.out, arguments.data, more)
    if status == MORE_TO_DO:
        show_so_far(path, arguments.out, arguments.data)
    sys.exit(status)


class Parser(argparse.ArgumentParser):
    """Shows an error as one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end the process."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Return the command line's own arguments, and those for ``vl4pose simulate``."""
    parser = Parser(
        prog="python -m bench.lsp_simulation",
        description="Simulate active learning on crops of Leeds Sports Pose.",
        epilog="Other options, such as --estimate or --time-limit 8min, go to 'vl4pose simulate'.",
        allow_abbrev=False,
    )
    default = os.environ.get("VL4POSE_TEST_DATA")
    parser.add_argument(
        "--data",
        type=data_folder,
        default=default,
        required=default is None,
        help="folder of the data (default: $VL4POSE_TEST_DATA)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where everything goes, and goes on (default: build/lsp-simulation, build/lsp-paper)",
    )
    parser.add_argument(
        "--paper", action="store_true", help="the paper's experiment, for a large GPU"
    )
    parser.add_argument(
        "--small", action="store_true", help="with a few images and steps, on the CPU"
    )
    own, more = parser.parse_known_args(arguments)
    if own.out is None:
        name = ("lsp-paper" if own.paper else "lsp-simulation") + ("-small" if own.small else "")
        own.out = HERE.parent / "build" / name
    return own, more


def data_folder(text: str) -> Path:
    folder = Path(text).resolve()
    for name in FILES:
        if not (folder / name).is_file():
            raise argparse.ArgumentTypeError(f"must hold {name}, got '{text}' without it")
    return folder


def configuration(paper: bool, small: bool, out: Path) -> Path:
    """Return the configuration's file; that of a trial is written beside the folder ``out``."""
    path = CONFIGS[paper]
    if not small:
        return path
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    for table, changes in SMALL.items():
        config[table] = changed(config.get(table, {}), changes)
    file = out.with_name(f"{out.name}.toml")
    file.write_text(as_toml(config), encoding="utf-8")
    return file


def changed(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with other values; None takes a key out, a table is changed in turn."""
    result = dict(table)
    for key, value in changes.items():
        if isinstance(value, Mapping):
            result[key] = changed(result.get(key, {}), value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def as_toml(config: Mapping[str, Mapping[str, Any]]) -> str:
    """Return tables of text, numbers, lists and inline tables as TOML."""

    def shown(value: Any) -> str:
        if isinstance(value, Mapping):
            return "{ " + ", ".join(f"{key} = {shown(v)}" for key, v in value.items()) + " }"
        if isinstance(value, list):
            return "[" + ", ".join(map(shown, value)) + "]"
        return json.dumps(value)

    lines: list[str] = []
    for name, table in config.items():
        lines += [f"[{name}]", *(f"{key} = {shown(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def simulate(config: Path, out: Path, data: Path, more: Sequence[str]) -> int:
    """Run ``vl4pose simulate``, and return its exit status."""
    program = Path(sysconfig.get_path("scripts")) / "vl4pose"
    # A configuration that does not lie here finds lsp_crops by this.
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "VL4POSE_TEST_DATA": str(data),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    command = [str(program), "simulate", str(config), "--out", str(out), *more]
    return subprocess.run(command, check=False, env=environment).returncode


def show_so_far(path: Path, out: Path, data: Path) -> None:
    """Write the outputs of a simulation that is not done, and print its table."""
    config = read_config(path)
    firsts = {record.strategy for record in read_records(out) if record.cycle == 0}
    titles = {c.label: c.title for c in config.strategies if c.label in firsts}
    if titles:
        write_picks(
            out,
            training_set(data, **config.data.train_options),
            config.skeleton,
            config.transform,
            (config.transform.input_size[0] // 4, config.transform.input_size[1] // 4),
            titles=titles,
        )
        console = Console()
        console.print(terminal_summary(write_outputs(out, baseline=config.baseline)))
        (out / "summary.json").unlink()  # which is there once everything is done


if __name__ == "__main__":
    main()
