"""Several processes on a Ray cluster that share the runs of a simulation.

Nothing goes through Ray but what each is told: records, weights and claims are files in the
simulation's folder, which every node must see under one name.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence

from vl4pose.pool.errors import PoolError
from vl4pose.pool.ray_engine import check_reachable, last_line, quiet_ray, session
from vl4pose.pool.ray_options import RayOptions
from vl4pose.simulation.pace import SimulationError, TimeUpError
from vl4pose.simulation.worker import Task, check_outcome, outcome_of

__all__ = ["run_on_ray"]

_MOST_ATTEMPTS = 5
_SECONDS_BETWEEN_LOOKS = 0.5


def run_on_ray(tasks: Sequence[Task], options: RayOptions) -> None:
    """Run a process of Ray for each task until all are over.

    Parameters
    ----------
    tasks : sequence of Task
        Of one simulation, with a number of threads: what each reserves, unless it reserves a GPU.
    options : RayOptions

    Raises
    ------
    ModuleNotFoundError
        ``ray is not installed: pip install 'vl4pose[ray]'``.
    TimeUpError
        When the time was over for one of them.
    SimulationError
        What is wrong.
    ValueError
        If device and GPUs contradict each other.

    Notes
    -----
    A process that is lost is started again by Ray, on whatever node there is room, and goes on from
    its checkpoint. Tasks for which there is no room wait.
    """
    gpus = options.gpus_of(tasks[0].device)
    threads = tasks[0].threads or 1
    ray = quiet_ray()
    address = options.where()
    try:
        if address is not None and not ray.is_initialized():
            check_reachable(address)
        with session(address, threads * len(tasks)):
            resources = {"num_gpus": gpus} if gpus else {"num_cpus": threads}
            work = ray.remote(max_retries=_MOST_ATTEMPTS, **resources)(_outcome)
            waiting = [work.remote(pickle.dumps(task)) for task in tasks]
            is_time_up = False
            while waiting:
                # Ray makes an error of its own of a signal that arrives while it waits.
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0)
                for outcome in ray.get(ready):
                    is_time_up |= not check_outcome(outcome)
    except SystemError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise
    except PoolError as error:
        raise SimulationError(str(error)) from error
    except ray.exceptions.RayError as error:
        raise SimulationError(f"Ray fails: {last_line(error)}") from error
    if is_time_up:
        raise TimeUpError


def _outcome(task: bytes) -> dict[str, str]:
    return outcome_of(pickle.loads(task))
