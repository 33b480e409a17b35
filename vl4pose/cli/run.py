"""The loop of ``vl4pose score``: batches of images to rows of the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from rich.console import Console

from vl4pose.cli.batches import Batch, decoded_batches
from vl4pose.cli.decoding import large_images_allowed
from vl4pose.cli.errors import RunError, network_reason
from vl4pose.cli.score_table import Results, ScoreWriter, score_rows
from vl4pose.cli.sources import Source
from vl4pose.cli.summary import Tally, Timing, progress
from vl4pose.image_transform import ImageTransform
from vl4pose.nn.pooled_features import pool_features
from vl4pose.results import Analysis
from vl4pose.scorer import Scorer

__all__ = ["score_source"]


def score_source(
    source: Source,
    scorer: Scorer,
    transform: ImageTransform,
    out: Path,
    metadata: dict[str, Any],
    *,
    embed: bool,
    batch_size: int,
    workers: int,
    console: Console,
) -> tuple[Tally, Timing]:
    """Score everything in a source and write the table.

    Parameters
    ----------
    metadata : dict
        Goes into the file, together with "timing" and "counts".
    embed : bool
        Whether the table gets the pooled features of each person.
    console : rich.console.Console
        For the progress.

    Raises
    ------
    RunError
        If a network fails, or the table cannot be written. No file is left then.
    """
    run = _Run(scorer, transform, embed=embed)
    tally = Tally(len(source.people), "people" if source.has_boxes else "images")
    batches = decoded_batches(source, transform, batch_size=batch_size, workers=workers)
    try:
        with (
            large_images_allowed(),
            ScoreWriter(out) as writer,
            progress(tally, console) as advance,
            closing(batches),
        ):
            with run.timing.of("total_s"):
                while (batch := run.next_of(batches)) is not None:
                    rows = run.rows(batch)
                    tally.add(rows)
                    writer.append(rows)
                    advance(len(batch.people))
            results = {"timing": vars(run.timing), "counts": tally.counts()}
            writer.finish({**metadata, "heatmap_size": run.heatmap_size, **results})
    except OSError as error:
        raise RunError(f"cannot write '{out}': {error.strerror or error}") from error
    return tally, run.timing


class _Run:
    """The networks at work, and the time they take."""

    def __init__(self, scorer: Scorer, transform: ImageTransform, *, embed: bool) -> None:
        self.scorer = scorer
        self.embed = embed
        self.transform = transform
        self.timing = Timing()
        self.heatmap_size: tuple[int, int] | None = None

    def next_of(self, batches: Iterator[Batch]) -> Batch | None:
        with self.timing.of("decode_s"):
            return next(batches, None)

    def rows(self, batch: Batch) -> pa.Table:
        pixels = [decoded.pixels for decoded in batch.decoded if decoded.pixels is not None]
        results = self.results(np.stack(pixels)) if pixels else None
        return score_rows(batch, results, self.transform)

    def results(self, pixels: npt.NDArray[np.float32]) -> Results:
        try:
            with self.timing.of("network_s"):
                prediction, features = self.scorer.predict_with_features(torch.from_numpy(pixels))
                heatmaps = prediction.heatmaps
                embeddings = None
                if self.embed:
                    if features is None:
                        raise ValueError("--embeddings needs a pose network that returns features")
                    embeddings = pool_features(features).cpu().numpy()
                if heatmaps.is_cuda:
                    torch.cuda.synchronize(heatmaps.device)  # its time would be the scoring's
        except Exception as error:  # networks are the user's code, and TorchScript has its own kind
            shape = " x ".join(map(str, pixels.shape))
            raise RunError(
                f"the networks fail on a batch of {shape}: {network_reason(error)}"
            ) from error
        try:
            with self.timing.of("score_s"):
                analysis = _on_host(self.scorer.analyze(*prediction))
        except (TypeError, ValueError) as error:
            raise RunError(f"the networks' output cannot be scored: {error}") from error
        self.heatmap_size = (int(heatmaps.shape[-1]), int(heatmaps.shape[-2]))
        return Results(
            analysis,
            prediction.params.cpu().numpy(),
            self.heatmap_size,
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
