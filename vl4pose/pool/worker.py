"""What scores batches: built from settings in whatever process is to do it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from vl4pose._sentences import network_reason
from vl4pose.annotations import Person
from vl4pose.nn.pooled_features import pool_features
from vl4pose.pool.batches import Batch, DecodingTime, decoded_batches
from vl4pose.pool.decoding import large_images_allowed
from vl4pose.pool.environment import environment
from vl4pose.pool.errors import NetworkError
from vl4pose.pool.score_rows import Results, score_rows
from vl4pose.pool.settings import PoolSettings
from vl4pose.pool.shards import ScoredShard, Shard
from vl4pose.pool.storage import Folder
from vl4pose.pool.tally import Timing
from vl4pose.results import Analysis
from vl4pose.scorer import Scorer

__all__ = ["BatchScorer"]


class BatchScorer:
    """Both networks and the scoring, from the pixels of a batch to its rows.

    Parameters
    ----------
    settings : PoolSettings
        With a number of threads, which becomes torch's in this process.
    trust : bool
        As for `vl4pose.Scorer`.

    Attributes
    ----------
    timing : Timing
        Where the time went so far.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError, RuntimeError
        As `vl4pose.Scorer`.
    """

    def __init__(self, settings: PoolSettings, *, trust: bool) -> None:
        if settings.num_threads not in (None, torch.get_num_threads()):
            torch.set_num_threads(settings.num_threads)
        assert settings.pose is not None
        self.settings = settings
        self.scorer = Scorer(
            settings.pose,
            settings.aux,
            settings.skeleton,
            params=settings.link_params,
            trust=trust,
            device=settings.device,
            num_threads=settings.num_threads,
            **settings.scoring,
        )
        self.timing = Timing()
        self._decoding = DecodingTime()
        self._environment = environment(settings.device)

    def rows(self, batch: Batch) -> tuple[pa.Table, tuple[int, int] | None]:
        """Return one row per person of a batch, in the form of ``SCHEMA``, and the heatmaps' size.

        The size is (width, height), or None where nobody of the batch has pixels.

        Raises
        ------
        NetworkError
        """
        pixels = [decoded.pixels for decoded in batch.decoded if decoded.pixels is not None]
        results = self._results(np.stack(pixels)) if pixels else None
        with self.timing.of("rows_s"):
            rows = score_rows(batch, results, self.settings.transform)
        return rows, None if results is None else results.heatmap_size

    def score_shard(
        self, images: Folder, shard: Shard, people: Sequence[Person], *, workers: int
    ) -> ScoredShard:
        """Read the images of one shard, and score them.

        Parameters
        ----------
        images : Folder
            What ``open_folder(source.images.url)`` returns in this process.
        shard : Shard
        people : sequence of Person
            Those of the shard, ``source.people[shard.start : shard.stop]``.
        workers : int
            Threads that read images.

        Raises
        ------
        NetworkError
        """
        (scored,) = self.score_shards(images, [shard], [people], workers=workers)
        return scored

    def score_shards(
        self,
        images: Folder,
        shards: Iterable[Shard],
        people: Iterable[Sequence[Person]],
        *,
        workers: int,
        advance: Callable[[int], object] = lambda count: None,
    ) -> Generator[ScoredShard]:
        """Score shards one after another, the images of the next one being read meanwhile.

        Parameters
        ----------
        images, workers
            As for :meth:`score_shard`.
        shards : iterable of Shard
        people : iterable of sequences of Person
            Those of each shard.
        advance : callable
            Is told of each batch how many people it had.

        Raises
        ------
        NetworkError
        """
        size = self.settings.batch_size
        cuts = (
            of_shard[start : start + size]
            for of_shard in people
            for start in range(0, len(of_shard), size)
        )
        batches = decoded_batches(
            images, cuts, self.settings.transform, workers=workers, time_taken=self._decoding
        )
        with large_images_allowed(), closing(batches):
            for shard in shards:
                tables: list[pa.Table] = []
                heatmap_size = None
                while sum(map(len, tables)) < len(shard):
                    with self.timing.of("wait_s"):
                        batch = next(batches)
                    rows, size_of_batch = self.rows(batch)
                    heatmap_size = heatmap_size or size_of_batch
                    tables.append(rows)
                    advance(len(rows))
                self.timing.read_s, self.timing.crop_s = self._decoding.spent()
                yield ScoredShard(shard, pa.concat_tables(tables), heatmap_size, self._environment)

    def _results(self, pixels: npt.NDArray[np.float32]) -> Results:
        try:
            with self.timing.of("network_s"):
                prediction, features = self.scorer.predict_with_features(torch.from_numpy(pixels))
                heatmaps = prediction.heatmaps
                embeddings = None
                if self.settings.embeddings:
                    if features is None:
                        raise ValueError("embeddings need a pose network that returns features")
                    embeddings = pool_features(features).cpu().numpy()
                if heatmaps.is_cuda:
                    torch.cuda.synchronize(heatmaps.device)  # its time would be the scoring's
        except Exception as error:  # networks are the user's code, and TorchScript has its own kind
            shape = " x ".join(map(str, pixels.shape))
            raise NetworkError(
                f"the networks fail on a batch of {shape}: {network_reason(error)}"
            ) from error
        try:
            with self.timing.of("score_s"):
                analysis = _on_host(self.scorer.analyze(*prediction))
        except (TypeError, ValueError) as error:
            raise NetworkError(f"the networks' output cannot be scored: {error}") from error
        return Results(
            analysis,
            prediction.params.cpu().numpy(),
            (int(heatmaps.shape[-1]), int(heatmaps.shape[-2])),
            self.scorer.options["temperature"],
            embeddings,
        )


def _on_host(analysis: Analysis[torch.Tensor]) -> Analysis[npt.NDArray[Any]]:
    def arrays(values: Any) -> Any:
        if isinstance(values, torch.Tensor):
            return values.cpu().numpy()
        return type(values)(*map(arrays, values))

    host: Analysis[npt.NDArray[Any]] = arrays(analysis)
    return host
