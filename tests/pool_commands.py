"""Runs the command line again and again without importing it again, to be killed meanwhile.

A process of its own, for nothing may have used threads before it forks. It reads a JSON object from
each line: "args" for the command, and perhaps "kill_after", the seconds until it is killed, or
"step", at which it kills itself. The answer is the exit code, or minus the number of the signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    import pyarrow
    import torch  # noqa: F401

    import vl4pose.cli.summary
    import vl4pose.nn
    import vl4pose.pool.run  # noqa: F401
    from vl4pose.cli.app import app

    pyarrow.array([0])  # imports pandas, where it is installed
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1):
                os.dup2(nowhere, descriptor)
            if "step" in command:
                die_at(command["step"])
            try:
                app(command["args"])
            except SystemExit as stop:  # which is how it ends; Python's own end takes longest
                os._exit(int(stop.code or 0))
        if "kill_after" in command:
            time.sleep(command["kill_after"])
            os.kill(pid, signal.SIGKILL)  # nothing happens where it has ended
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def die_at(step: int) -> None:
    """Let this process be killed at the given one of all steps of all writes.

    The steps of a write: a part of the content is there; all of it; it is flushed; it is in its
    place; its folder is flushed.
    """
    steps = iter(range(step + 1))
    write_bytes, replace, fsync = Path.write_bytes, Path.replace, os.fsync

    def reach() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self: Path, content: bytes) -> int:
        write_bytes(self, content[: len(content) // 2])
        reach()
        written = write_bytes(self, content)
        reach()
        return written

    def move(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        reach()
        return moved

    def flush(descriptor: int) -> None:
        fsync(descriptor)
        reach()

    Path.write_bytes, Path.replace, os.fsync = write, move, flush  # type: ignore[assignment]


if __name__ == "__main__":
    main()
