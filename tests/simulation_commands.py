"""Does what is left of a simulation, again and again, in processes that are killed meanwhile.

A process of its own, for nothing may have used threads before it forks. It reads a JSON object from
each line: "config" and "folder", and perhaps "kill_after" or "step", as for pool_commands.py. The
answer is 0, or minus the number of the signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from pool_commands import die_at


def main() -> None:
    import torch
    import torch._dynamo  # which optimisers import when they are made, in seconds

    from vl4pose.simulation.config import read_config
    from vl4pose.simulation.pace import Pace
    from vl4pose.simulation.simulate import do_work
    from vl4pose.simulation.work import make_bench

    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1):
                os.dup2(nowhere, descriptor)
            config = read_config(Path(command["config"]))
            if "step" in command:
                die_at(command["step"])
            pace = Pace(None, config.run.checkpoint_seconds)
            do_work(make_bench(config, Path(command["folder"]), torch.device("cpu"), pace))
            os._exit(0)
        if "kill_after" in command:
            time.sleep(command["kill_after"])
            os.kill(pid, signal.SIGKILL)  # nothing happens where it has ended
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
