"""A process that takes its share of a simulation's runs: ``python -m vl4pose.simulation.worker``.

What it is to do comes pickled through its standard input, from the process that started it; when
that one is gone, so is this. Its standard output is one line: JSON, with what came of it.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vl4pose._sentences import reason
from vl4pose.simulation.config import SimulationConfig

__all__ = ["Task", "check_outcome", "outcome_of"]

_DONE, _TIME_UP, _FAILED = "done", "time up", "failed"


@dataclass(frozen=True)
class Task:
    """What a worker is told.

    Attributes
    ----------
    config : SimulationConfig
    folder : Path
    device : str
    threads : int
    until : float, optional
        When to stop, as ``time.time`` tells it, so that other machines know too.
    """

    config: SimulationConfig
    folder: Path
    device: str
    threads: int | None
    until: float | None


def outcome_of(task: Task) -> dict[str, str]:
    """Do a task; return "outcome", and the "sentence" of an error."""
    import torch

    from vl4pose.simulation.pace import Pace, SimulationError, TimeUpError
    from vl4pose.simulation.simulate import do_work
    from vl4pose.simulation.work import make_bench

    if task.threads is not None:
        torch.set_num_threads(task.threads)
    until = None if task.until is None else time.monotonic() + task.until - time.time()
    pace = Pace(until, task.config.run.checkpoint_seconds)
    try:
        do_work(make_bench(task.config, task.folder, torch.device(task.device), pace))
    except TimeUpError:
        return {"outcome": _TIME_UP}
    except (SimulationError, ValueError) as error:
        return {"outcome": _FAILED, "sentence": str(error)}
    except OSError as error:
        where = "" if error.filename is None else f"'{error.filename}': "
        return {"outcome": _FAILED, "sentence": f"{where}{reason(error)}"}
    except RuntimeError as error:  # of torch
        sentence = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return {"outcome": _FAILED, "sentence": sentence}
    return {"outcome": _DONE}


def check_outcome(outcome: Mapping[str, str]) -> bool:
    """Return whether the time was not over, or raise SimulationError with what was wrong."""
    if outcome["outcome"] == _FAILED:
        from vl4pose.simulation.pace import SimulationError

        raise SimulationError(outcome["sentence"])
    return outcome["outcome"] == _DONE


def main() -> None:
    """Do the task of standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    task: Task = pickle.loads(sys.stdin.buffer.read(size))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What networks or data print is not what is asked for here.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer.write(json.dumps(outcome_of(task)) + "\n")
    answer.flush()


def _end_with_parent() -> None:
    # Until the other end is closed. Not through sys.stdin, whose lock this process needs to end.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
