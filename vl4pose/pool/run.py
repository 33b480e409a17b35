"""Scoring a pool: an engine gives shards of rows, an output takes them."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch

from vl4pose._options import default_workers, integer
from vl4pose._sentences import reason
from vl4pose.pool.errors import PoolError
from vl4pose.pool.outputs import Output, open_output
from vl4pose.pool.ray_options import RayOptions
from vl4pose.pool.settings import PoolSettings
from vl4pose.pool.shards import ScoredShard, Shard
from vl4pose.pool.sources import Source, find_people
from vl4pose.pool.tally import Tally, Timing
from vl4pose.pool.worker import BatchScorer
from vl4pose.skeleton import nearest

__all__ = ["ENGINES", "Advance", "Engine", "PoolResult", "Progress", "score_pool"]


@dataclass(frozen=True)
class PoolResult:
    """What a run has come to.

    Attributes
    ----------
    tally : Tally
        Of all rows, those of earlier runs too.
    timing : Timing
        Of this run.
    num_scored : int
        Rows of this run.
    """

    tally: Tally
    timing: Timing
    num_scored: int


class Advance(Protocol):
    """Is told that so many more people are done."""

    def __call__(self, count: int) -> object:
        """Take the number."""


Progress = Callable[[Tally], AbstractContextManager[Advance]]


class Engine(Protocol):
    """Scores shards, here or elsewhere.

    The attribute ``timing`` says where the time of the shards that were yielded went.
    """

    timing: Timing

    def score(
        self, source: Source, shards: Sequence[Shard], advance: Advance
    ) -> Generator[ScoredShard]:
        """Yield each of the shards, in any order.

        Raises
        ------
        PoolError
        """


class LocalEngine:
    """Scores in this process.

    Parameters
    ----------
    settings : PoolSettings
        With a number of threads.
    trust : bool
        As for `vl4pose.Scorer`.
    workers : int
        Threads that read images.
    """

    def __init__(self, settings: PoolSettings, *, trust: bool, workers: int) -> None:
        self._scorer = BatchScorer(settings, trust=trust)
        self._workers = workers
        self.timing = self._scorer.timing

    def score(
        self, source: Source, shards: Sequence[Shard], advance: Advance
    ) -> Generator[ScoredShard]:
        """Yield the shards in their order."""
        people = (source.people[shard.start : shard.stop] for shard in shards)
        return self._scorer.score_shards(
            source.images, shards, people, workers=self._workers, advance=advance
        )


ENGINES = ("local", "ray")


@contextlib.contextmanager
def _silent(tally: Tally) -> Iterator[Advance]:
    yield lambda count: None


def score_pool(
    images: Source | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    settings: PoolSettings,
    *,
    trust: bool = False,
    resume: bool = False,
    engine: str = "local",
    ray: RayOptions = RayOptions(),  # noqa: B008 # frozen
    workers: int | None = None,
    progress: Progress = _silent,
    tell: Callable[[str], None] = lambda sentence: None,
) -> PoolResult:
    """Score all people of a source, a shard after another.

    Parameters
    ----------
    images : Source, path, URL or sequence of them
        As for `find_people`.
    out : path or URL
        A folder, which gets Parquet files of ``settings.shard_rows`` rows and a manifest; or, where
        it ends in .parquet, one file. `vl4pose.score_table.read_scores` reads both.
    settings : PoolSettings
    trust : bool
        Must be True, for model files can run code: see `vl4pose.Scorer`.
    resume : bool
        Go on in a folder where an earlier run was stopped, at whatever moment. It ends with the
        bytes that it would have ended with otherwise. Where there is none, begin.
    engine : {"local", "ray"}
        What scores: this process, or Ray's workers.
    ray : RayOptions
        How Ray is used, where it is.
    workers : int, optional
        Threads that read images, of each process. By default one per CPU, at most 8.
    progress : callable, optional
        Takes the tally of the rows that are there already, and returns a context manager, which
        gives what is called with the number of people of each batch.
    tell : callable, optional
        Takes sentences for the user.

    Returns
    -------
    PoolResult

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        ``"<argument> must <rule>, got <value>"``; before any work is done. A `MismatchError`, which
        is a ValueError, where ``out`` holds rows of other settings.
    PoolError
        If a network fails, or the rows cannot be written. Of a folder, what is finished stays.

    Notes
    -----
    Where batches and shards end depends on positions in the sorted source alone, so that it does
    not matter for any row which run it is from. Memory does not grow with the pool but for the
    names of its images and, in ``out``, a line of the manifest for each shard.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be {nearest(engine, ENGINES)}, got {engine!r}")
    source = images if isinstance(images, Source) else find_people(images)
    tally = Tally(len(source.people), "people" if source.has_boxes else "images")
    workers = integer(default_workers() if workers is None else workers, "workers", 1)
    with open_output(out, resume=resume) as output:
        threads = settings.num_threads or output.num_threads or torch.get_num_threads()
        settings = replace(settings, num_threads=threads)
        metadata = {**settings.metadata(threads), "source": source.to_json()}
        output.check(metadata, source.people)
        chosen: Engine
        if engine == "local":
            chosen = LocalEngine(settings, trust=trust, workers=workers)
        else:
            ray_engine = importlib.import_module("vl4pose.pool.ray_engine")
            chosen = ray_engine.RayEngine(settings, ray, trust=trust, workers=workers, tell=tell)
        with _writing(out):
            shards = output.begin(metadata, source.people, tell=tell, count=tally.add)
        before = tally.done
        with (
            progress(tally) as advance,
            chosen.timing.of("total_s"),
            _Writer(output, chosen.timing) as writer,
            closing(chosen.score(source, shards, advance)) as scored_shards,
        ):
            for scored in scored_shards:
                tally.add(scored.rows)
                with _writing(out):
                    writer.write(scored)
            with _writing(out):
                writer.wait()
                output.finish()
    assert tally.done == tally.found, "rows were lost or doubled"
    return PoolResult(tally, chosen.timing, tally.done - before)


class _Writer:
    """Writes a shard in a thread while the next one is scored.

    Leaving it waits for a shard that is being written.
    """

    def __init__(self, output: Output, timing: Timing) -> None:
        self._output = output
        self._timing = timing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vl4pose-write")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown()

    def write(self, scored: ScoredShard) -> None:
        """Begin to write, when the shard before is written; raise what went wrong with that."""
        self.wait()
        self._pending = self._thread.submit(self._add, scored)

    def wait(self) -> None:
        """Wait until all is written."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with self._timing.of("write_s"):
                pending.result()

    def _add(self, scored: ScoredShard) -> None:
        with self._timing.of("store_s"):
            self._output.add(scored)


@contextlib.contextmanager
def _writing(out: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PoolError(f"cannot write '{out}': {reason(error)}") from error
