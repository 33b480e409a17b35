"""Goes on with simulations: "config" and "folder" of each line, see killed_processes.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from killed_processes import serve


def main() -> None:
    import torch
    import torch._dynamo  # which optimisers import when they are made, in seconds

    from vl4pose.simulation.config import read_config
    from vl4pose.simulation.pace import Pace
    from vl4pose.simulation.simulate import do_work
    from vl4pose.simulation.work import make_bench

    def do(command: dict[str, Any]) -> int:
        config = read_config(Path(command["config"]))
        pace = Pace(None, config.run.checkpoint_seconds)
        do_work(make_bench(config, Path(command["folder"]), torch.device("cpu"), pace))
        return 0

    serve(do)


if __name__ == "__main__":
    main()
