"""Several processes of this machine that share the runs of a simulation."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vl4pose.simulation.pace import SimulationError, TimeUpError
from vl4pose.simulation.worker import Task, check_outcome

__all__ = ["run_processes"]

_SECONDS_BETWEEN_LOOKS = 0.1


def run_processes(tasks: Sequence[Task]) -> list[str]:
    """Run a process for each task until all are over.

    Parameters
    ----------
    tasks : sequence of Task
        Of one simulation.

    Returns
    -------
    lost : list of str
        How processes ended that did not end by themselves; the others have done their work.

    Raises
    ------
    TimeUpError
        When the time was over for all that are left.
    SimulationError
        What is wrong, as the first process says that finds out; or that all of them were lost.
    """
    with _started(tasks) as workers:
        waiting, lost, is_time_up = list(workers), [], False
        while waiting:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for worker in [worker for worker in waiting if worker.poll() is not None]:
                waiting.remove(worker)
                assert worker.stdout is not None
                answer = worker.stdout.read()
                if not answer:
                    lost.append(_how(worker.returncode))
                    continue
                is_time_up |= not check_outcome(json.loads(answer))
    if is_time_up:
        raise TimeUpError
    if len(lost) == len(workers):
        raise SimulationError(f"every process was lost; the first {lost[0]}")
    return lost


@contextmanager
def _started(tasks: Sequence[Task]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the processes, and end those that are left with the ``with`` block."""
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for task in tasks:
            worker = subprocess.Popen(
                [sys.executable, "-m", "vl4pose.simulation.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            workers.append(worker)
            content = pickle.dumps(task)
            assert worker.stdin is not None
            worker.stdin.write(len(content).to_bytes(8, "little") + content)
            worker.stdin.flush()
        yield workers
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()  # which nothing on the disk minds
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                assert pipe is not None
                pipe.close()


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    return f"was ended by signal {-returncode}"
