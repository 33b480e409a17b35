"""The same scoring by the workers of a Ray cluster, as a pipeline of Ray Data.

The pool's shards go in, one to a block; actors, which hold the networks, score them; the scored
shards come back to this process, which writes them as it writes its own. So nothing but the images
and the models needs to be where every node finds it, and a resumed run may change its engine.

A worker that is lost costs what it had begun: Ray starts another and gives it the same shards, and
as batches are cut by position they come to the same bytes. Ray hands on one result of each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import pickle
import signal
import socket
import threading
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from vl4pose import __version__
from vl4pose._freed_memory import keep_freed_memory
from vl4pose.annotations import Person
from vl4pose.pool.environment import environment
from vl4pose.pool.errors import PoolError
from vl4pose.pool.people import People
from vl4pose.pool.ray_options import RayOptions
from vl4pose.pool.settings import PoolSettings
from vl4pose.pool.shards import ScoredShard, Shard
from vl4pose.pool.sources import Source
from vl4pose.pool.storage import open_folder
from vl4pose.pool.tally import Timing
from vl4pose.pool.worker import BatchScorer

if TYPE_CHECKING:
    from vl4pose.pool.run import Advance

__all__ = [
    "Ledger",
    "Outcome",
    "RayEngine",
    "ShardScorer",
    "Task",
    "check_reachable",
    "is_ray_installed",
    "last_line",
    "quiet_ray",
    "session",
]

# Ray reads these when it is imported or started. Its usage statistics are sent only where somebody
# asked for them; its messages about workers that it replaces are in its own log files as well.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
_OBJECT_STORE_BYTES = 256 * 2**20  # of a Ray on this machine; results are taken as they come
_MOST_ATTEMPTS = 5  # to score one shard
_CONNECT_S = 10.0
_SECONDS_BETWEEN_LOOKS = 0.5
_PARTS = ("wait_s", "network_s", "score_s", "rows_s", "read_s", "crop_s")


@dataclass(frozen=True)
class Task:
    """What every worker is told."""

    settings: PoolSettings
    trust: bool
    workers: int
    images_url: str
    image: str | None  # one that is there
    models: dict[str, dict[str, str]]
    version: str


@dataclass(frozen=True)
class Outcome:
    """What comes back of a shard: rows, or a sentence."""

    shard: Shard
    rows: pa.Table | None = None
    heatmap_size: tuple[int, int] | None = None
    environment: dict[str, Any] | None = None
    parts: dict[str, float] | None = None
    elapsed_s: float = 0.0
    lost: Sequence[str] = ()  # the nodes of workers that began it before
    error: PoolError | None = None


class RayEngine:
    """Scores in the actors of Ray.

    Parameters
    ----------
    settings : PoolSettings
        With a number of threads, which becomes torch's in every actor whatever Ray sets.
    options : RayOptions
    trust : bool
        As for `vl4pose.Scorer`.
    workers : int
        Threads of each actor that read images.
    tell : callable
        Takes sentences for the user.

    Attributes
    ----------
    timing : Timing
        Sums over all actors.

    Raises
    ------
    ModuleNotFoundError
        ``ray is not installed: pip install 'vl4pose[ray]'``.
    PoolError
        If nothing answers at the address.
    TypeError, ValueError, FileNotFoundError, RuntimeError
        As `vl4pose.Scorer`, and where options and settings contradict each other.

    Notes
    -----
    An actor reserves its GPUs, or else as many CPUs as torch has threads, but never more than a
    node has. It reserves one of the two only, which is what Ray Data schedules reliably.
    """

    def __init__(
        self,
        settings: PoolSettings,
        options: RayOptions = RayOptions(),  # noqa: B008 # frozen
        *,
        trust: bool,
        workers: int,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.timing = Timing()
        # A worker has a working directory of its own.
        files = ("pose", "aux", "params", "settings_file")
        given = {name: getattr(settings, name) for name in files}
        paths = {name: os.path.abspath(path) for name, path in given.items() if path is not None}  # noqa: PTH100
        self._settings = replace(settings, **paths)
        self._options = options
        self._trust = trust
        self._workers = workers
        self._tell = tell
        self._gpus = options.gpus_of(settings.device)
        self._ray = quiet_ray()
        # What is wrong with the models is said here, before any worker meets it; in this process,
        # torch keeps its own number of threads.
        here = replace(settings, device="cpu", num_threads=torch.get_num_threads())
        BatchScorer(here, trust=trust)
        address = options.where()
        if address is not None and not self._ray.is_initialized():
            check_reachable(address)

    def score(
        self, source: Source, shards: Sequence[Shard], advance: Advance
    ) -> Generator[ScoredShard]:
        """Yield the shards in the order in which they become ready."""
        if not shards:
            return
        with session(self._options.where(), self._num_threads * self._options.actors[0]):
            ledger = self._start_ledger()
            with _following(self._ray, ledger, advance), _own_progress_alone(self._ray):
                for outcome in self._outcomes(source, shards, ledger):
                    yield self._scored(outcome)

    @property
    def _num_threads(self) -> int:
        assert self._settings.num_threads is not None
        return self._settings.num_threads

    def _scored(self, outcome: Outcome) -> ScoredShard:
        for node in outcome.lost:
            self._tell(
                f"A worker on the node {node} was lost while it scored '{outcome.shard.file}'; "
                "another began it again."
            )
        if outcome.error is not None:
            raise outcome.error
        assert outcome.rows is not None
        assert outcome.parts is not None
        assert outcome.environment is not None
        for part, seconds in outcome.parts.items():
            setattr(self.timing, part, getattr(self.timing, part) + seconds)
        self.timing.workers_s += outcome.elapsed_s
        return ScoredShard(outcome.shard, outcome.rows, outcome.heatmap_size, outcome.environment)

    def _outcomes(self, source: Source, shards: Sequence[Shard], ledger: Any) -> Generator[Outcome]:
        ray = self._ray
        data = ray.data.from_items(
            [{"shard": _packed_shard(source, shard)} for shard in shards],
            override_num_blocks=len(shards),
        )
        fewest, most = self._options.actors
        scored = data.map_batches(
            ShardScorer,
            fn_constructor_args=(pickle.dumps(self._task(source, shards)), ledger),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=fewest, max_size=most),
            **self._resources(),
        )
        missing = {shard.index for shard in shards}
        try:
            for block in scored.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for packed in block["outcome"].to_pylist():
                    outcome: Outcome = pickle.loads(packed)
                    missing.discard(outcome.shard.index)
                    yield outcome
        except ray.exceptions.RayError as error:
            raise PoolError(f"Ray fails: {last_line(error)}") from error
        if missing:
            raise PoolError(f"Ray has lost {len(missing)} of {len(shards)} shards")

    def _task(self, source: Source, shards: Sequence[Shard]) -> Task:
        return Task(
            self._settings,
            self._trust,
            self._workers,
            source.images.url,
            _an_image(source, shards),
            self._settings.metadata(self._num_threads)["models"],
            __version__,
        )

    def _resources(self) -> dict[str, float]:
        """Return what an actor reserves; say so where no node has as much."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if self._gpus:
            kind, wanted = "GPU", self._gpus
        else:
            kind, wanted = "CPU", float(self._num_threads)
            most = max((node.get(kind, 0) for node in nodes), default=0)
            wanted = min(wanted, most) or wanted
        if not any(node.get(kind, 0) >= wanted for node in nodes):
            if self._options.where() is None:
                raise PoolError(
                    f"an actor needs {wanted:g} of {kind}, and Ray finds less on this machine"
                )
            self._tell(f"No node of the Ray cluster has {wanted:g} of {kind}: waiting for one.")
        return {f"num_{kind.lower()}s": wanted}

    def _start_ledger(self) -> Any:
        ray = self._ray
        here = ray.get_runtime_context().get_node_id()
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
        return (
            ray.remote(Ledger)
            .options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=strategy)
            .remote()
        )


class Ledger:
    """How often each shard was begun, and how far it has come: what outlives a worker."""

    def __init__(self) -> None:
        self._begun: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
        self._rows: Counter[int] = Counter()

    def begin(self, index: int, node: str, process: int) -> list[str]:
        """Note who begins a shard, and return the nodes of those who began it before."""
        before = [node for node, _ in self._begun[index]]
        self._begun[index].append((node, process))
        self._rows[index] = 0
        return before

    def advance(self, index: int, count: int) -> None:
        """Add the rows of a batch."""
        self._rows[index] += count

    def rows(self) -> int:
        """Return how many rows there are."""
        return self._rows.total()


class ShardScorer:
    """What an actor of Ray Data does. Errors of the user's networks come back as results.

    Raised, they would reach the user as a page of Ray's traces, after a retry.
    """

    def __init__(self, task: bytes, ledger: Any) -> None:
        import ray

        keep_freed_memory()
        self._ray: Any = ray
        self._ledger = ledger
        self._node: str = self._ray.util.get_node_ip_address()
        self._task: Task = pickle.loads(task)
        self._scorer: BatchScorer | None = None
        self._error: PoolError | None = None
        try:
            self._scorer = self._load()
        except PoolError as error:
            self._error = error

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return what has come of the one shard of a batch."""
        (packed,) = batch["shard"].to_pylist()
        shard, people = _unpacked_shard(packed)
        return pa.table({"outcome": pa.array([pickle.dumps(self.outcome(shard, people))])})

    def outcome(self, shard: Shard, people: Sequence[Person]) -> Outcome:
        """Return the rows of a shard, or what is wrong."""
        if self._scorer is None:
            return Outcome(shard, error=self._error)
        lost = self._ray.get(self._ledger.begin.remote(shard.index, self._node, os.getpid()))
        if len(lost) == _MOST_ATTEMPTS:
            sentence = (
                f"'{shard.file}' was begun {_MOST_ATTEMPTS} times, and each time its worker was "
                f"lost, at last on the node {lost[-1]} (for want of memory, perhaps: fewer actors "
                "on a node, or smaller batches)"
            )
            return Outcome(shard, error=PoolError(sentence))
        # Of this thread, which is not the one of __init__: OpenMP begins each with the number that
        # Ray sets, the CPUs of this actor, and torch hands its own on only once it is called.
        threads = self._task.settings.num_threads
        assert threads is not None
        torch.set_num_threads(threads)
        start = time.perf_counter()
        before = asdict(self._scorer.timing)
        try:
            (scored,) = self._scorer.score_shards(
                open_folder(self._task.images_url),
                [shard],
                [people],
                workers=self._task.workers,
                advance=lambda count: self._ledger.advance.remote(shard.index, count),
            )
        except PoolError as error:
            return Outcome(shard, error=type(error)(str(error)))
        after = asdict(self._scorer.timing)
        return Outcome(
            shard,
            scored.rows,
            scored.heatmap_size,
            environment(self._task.settings.device),
            {part: after[part] - before[part] for part in _PARTS},
            time.perf_counter() - start,
            lost,
        )

    def _load(self) -> BatchScorer:
        task = self._task
        node = f"the node {self._node}"
        if task.version != __version__:
            raise PoolError(f"{node} has vl4pose {__version__}, and this machine {task.version}")
        try:
            threads = task.settings.num_threads
            assert threads is not None
            models = task.settings.metadata(threads)["models"]
        except FileNotFoundError as error:
            raise PoolError(_unseen(node, str(error.filename))) from error
        for name, identity in task.models.items():
            if models[name] != identity:
                path = getattr(task.settings, "settings_file" if name == "settings" else name)
                raise PoolError(f"'{path}' is another file on {node} than on this machine")
        try:
            images = open_folder(task.images_url)
            if task.image is not None and not images.has(task.image):
                raise PoolError(_unseen(node, f"{task.images_url}/{task.image}"))
            return BatchScorer(task.settings, trust=task.trust)
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, PoolError):
                raise
            raise PoolError(f"{node} cannot begin: {error}") from error


def _unseen(node: str, file: str) -> str:
    return (
        f"{node} does not see '{file}': images and models must be where every node finds them "
        "under one name, on storage that they share or, for images, at a URL"
    )


def _packed_shard(source: Source, shard: Shard) -> bytes:
    people = People(source.people[shard.start : shard.stop])
    return pickle.dumps((shard, people.to_parquet()))


def _unpacked_shard(packed: bytes) -> tuple[Shard, People]:
    shard, people = pickle.loads(packed)
    return shard, People.from_parquet(people)


def _an_image(source: Source, shards: Sequence[Shard]) -> str | None:
    """Return an image that this process sees, and so every node must."""
    for person in source.people[shards[0].start : shards[0].stop]:
        if person.error is None and source.images.has(person.image):
            return person.image
    return None


def is_ray_installed() -> bool:
    """Return whether there is a Ray to import."""
    return importlib.util.find_spec("ray") is not None


def quiet_ray() -> Any:
    """Import Ray, without what it says meanwhile.

    Raises
    ------
    ModuleNotFoundError
        ``ray is not installed: pip install 'vl4pose[ray]'``.
    """
    try:
        with _quietly(), _warnings_of_ray_ignored():
            import ray
            import ray.data
            import ray.util.scheduling_strategies
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ray is not installed: pip install 'vl4pose[ray]'", name="ray"
        ) from error
    return ray


@contextmanager
def _quietly() -> Iterator[None]:
    added = {name: value for name, value in _QUIET.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _warnings_of_ray_ignored() -> Iterator[None]:
    # Of what it calls itself; none is about this program.
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        yield


def check_reachable(address: str) -> None:
    """Raise an error where nothing answers, for which Ray itself takes minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ValueError(f"address must be HOST:PORT or auto, got '{address}'")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError as error:
        raise PoolError(f"no Ray cluster answers at '{address}': {error}") from error


@contextmanager
def session(address: str | None, cpus: int) -> Iterator[None]:
    """Connect to Ray or start it, and end that again, unless the process is connected already.

    Parameters
    ----------
    address : str, optional
        None starts one on this machine.
    cpus : int
        That a Ray of this machine is to have at least, whether the machine has them or not.

    Raises
    ------
    PoolError
        If Ray does not start.
    """
    ray = quiet_ray()
    with _warnings_of_ray_ignored():
        if ray.is_initialized():
            yield
            return
        loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
        levels = [logger.level for logger in loggers]
        try:
            _connect(ray, address, cpus)
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            with _signals_kept():
                ray.shutdown()
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _connect(ray: Any, address: str | None, cpus: int) -> None:
    own = {
        "num_cpus": max(os.cpu_count() or 1, cpus),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    try:
        with _quietly(), _signals_kept(), _stderr_closed():
            ray.init(
                address or "local",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **({} if address else own),
            )
    except Exception as error:  # of every kind, plain ones too
        what = f"no Ray cluster answers at '{address}'" if address else "Ray does not start"
        raise PoolError(f"{what}: {last_line(error).partition('. ')[0]}") from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put the handlers of signals back that Ray replaces with its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keep from the user what Ray's C++ writes when it begins, whatever level it is told."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _following(ray: Any, ledger: Any, advance: Advance) -> Iterator[None]:
    """Tell what the ledger says, while the ``with`` block lasts."""
    stopped = threading.Event()
    shown = 0

    def look() -> None:
        nonlocal shown
        with contextlib.suppress(ray.exceptions.RayError):
            rows = ray.get(ledger.rows.remote(), timeout=_CONNECT_S)
            if rows != shown:
                advance(rows - shown)
            shown = rows

    def follow() -> None:
        while not stopped.wait(_SECONDS_BETWEEN_LOOKS):
            look()

    thread = threading.Thread(target=follow, name="vl4pose-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    look()


@contextmanager
def _own_progress_alone(ray: Any) -> Iterator[None]:
    """Keep Ray Data from showing progress as well."""
    context = ray.data.DataContext.get_current()
    names = ("enable_progress_bars", "print_on_execution_start")
    before = {name: getattr(context, name) for name in names}
    for name in names:
        setattr(context, name, False)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)


def last_line(error: BaseException) -> str:
    """Return the line of an error of Ray that says what is wrong: its traces come first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
