"""Work that is done again and again in processes that are killed meanwhile.

A script that calls `serve` is a process of its own, for nothing may have used threads before it
forks. It reads a JSON object from each line: what is to be done, and perhaps "kill_after", the
seconds until the process that does it is killed, or "step", at which it kills itself. The answer is
the exit code, or minus the number of the signal. `Server` starts such a script, and asks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Server:
    """A script beside this file that calls `serve`."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: dict[str, Any]) -> int:
        """Have it done, and return the exit code, or minus the signal."""
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and check that it had no error of its own."""
        stderr = self._process.communicate(timeout=60)[1]
        assert "Traceback" not in stderr, stderr


def serve(do: Callable[[dict[str, Any]], int]) -> None:
    """Do what each line of standard input says; ``do`` returns the exit code."""
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1):
                os.dup2(nowhere, descriptor)
            if "step" in command:
                _die_at(command["step"])
            os._exit(do(command))  # Python's own end takes longest
        if "kill_after" in command:
            time.sleep(command["kill_after"])
            os.kill(pid, signal.SIGKILL)  # nothing happens where it has ended
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _die_at(step: int) -> None:
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
