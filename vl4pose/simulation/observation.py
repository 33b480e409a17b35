"""What networks say of images: every array that a strategy needs, from one pass over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vl4pose._arrays import HAS_CUDA
from vl4pose.nn.pooled_features import pool_features
from vl4pose.scoring import analyze, decode, multi_peak_entropy, score
from vl4pose.simulation.config import ScoringOptions
from vl4pose.simulation.heads import Head
from vl4pose.simulation.labelled_images import ImageStack
from vl4pose.simulation.pace import Pace, TimeUpError
from vl4pose.simulation.pose_network import Output, PoseNetwork
from vl4pose.skeleton import Skeleton
from vl4pose.training.checkpoints import Checkpoints
from vl4pose.training.positions import batches_in_order

__all__ = ["Observer", "TrainedHead"]

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

_SCORES = {f"score_{method}": method for method in ("expected", "max", "marginal")}


@dataclass(frozen=True)
class TrainedHead:
    """A small network on the features, and what it is."""

    head: Head
    module: nn.Module

    def __call__(self, features: Sequence[Tensor]) -> Tensor:
        """Return what it says in eval mode, without gradients."""
        self.module.eval()
        with torch.no_grad():
            output: Tensor = self.module([maps.detach() for maps in features])
        return output


class Observer:
    """Looks at images through a trained network.

    Parameters
    ----------
    images : ImageStack
        Which hold no labels.
    network : PoseNetwork
    head : TrainedHead, optional
    skeleton : Skeleton
    options : ScoringOptions
    pace : Pace

    Attributes
    ----------
    seconds : float
        That looking has taken, of all processes that had a part in it.
    """

    def __init__(
        self,
        images: ImageStack,
        network: PoseNetwork,
        head: TrainedHead | None,
        skeleton: Skeleton,
        options: ScoringOptions,
        pace: Pace,
    ) -> None:
        self.images = images
        self.network = network
        self.head = head
        self.skeleton = skeleton
        self.options = options
        self.pace = pace
        self.seconds = 0.0

    def observe(
        self, names: Sequence[str], indices: Indices, what: str, checkpoints: Checkpoints
    ) -> dict[str, Array]:
        """Return arrays of some of the images.

        Parameters
        ----------
        names : sequence of str
            Of `vl4pose.active.strategies.pool.ARRAYS`.
        indices : (N,) int64 array
        what : str
            What the images are called.
        checkpoints : Checkpoints
            What is known when the time is over goes there, and is taken from there.

        Raises
        ------
        TimeUpError
            After a checkpoint.

        Notes
        -----
        Heatmaps of a batch are let go before the next: what stays is what is asked for. Batches are
        cut by position, so that an interrupted pass comes to the same values.
        """
        return self._pass(list(names), indices, what, checkpoints, self._look)

    def _pass(
        self,
        names: list[str],
        indices: Indices,
        what: str,
        checkpoints: Checkpoints,
        look: Callable[[Sequence[str], Tensor, Tensor], Mapping[str, Tensor]],
    ) -> dict[str, Array]:
        batches = batches_in_order(len(indices), self.options.batch_size) if len(indices) else []
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        done, before = 0, 0.0
        state, _ = checkpoints.load()
        if state is not None and state["names"] == names:
            done, before = state["done"], state["seconds"]
            parts = {name: [part] for name, part in state["parts"].items()}
        self.pace.reporter.stage(f"looking at {what}", len(indices))
        self.pace.reporter.advance(sum(map(len, batches[:done])))
        start = last_checkpoint = time.monotonic()

        def seconds() -> float:
            return before + time.monotonic() - start

        def save() -> None:
            joined = {name: torch.cat(part) for name, part in parts.items()}
            checkpoints.save({"names": names, "done": done, "parts": joined, "seconds": seconds()})

        for rows in batches[done:]:
            chosen = torch.from_numpy(indices[rows]).to(self.images.pixels.device)
            inputs = self.images.inputs(self.images.pixels[chosen])
            for name, values in look(names, inputs, chosen).items():
                parts[name].append(values.detach().cpu())
            done += 1
            self.pace.reporter.advance(len(rows))
            is_over = self.pace.is_over()
            if is_over or time.monotonic() - last_checkpoint >= self.pace.checkpoint_seconds:
                save()
                last_checkpoint = time.monotonic()
            if is_over:
                raise TimeUpError
        if done and seconds() > self.pace.checkpoint_seconds:
            save()  # for another pass may be interrupted
        self.seconds += seconds()
        return {name: torch.cat(part).numpy() for name, part in parts.items() if part}

    def _look(self, names: Sequence[str], inputs: Tensor, indices: Tensor) -> dict[str, Tensor]:
        """Return arrays of a batch."""
        output = self.network(inputs)
        found: dict[str, Tensor] = {}
        of_heatmaps = {"confidence", "multi_peak_entropy", *_SCORES} & set(names)
        if of_heatmaps:
            found |= self._of_heatmaps(of_heatmaps, output)
        if "embedding" in names:
            found["embedding"] = pool_features(output.features)
        if self.head is not None and self.head.head.array in names:
            found[self.head.head.array or ""] = self.head.head.observe(
                self._head_output(output)
            ).float()
        return {name: found[name] for name in names}

    def _of_heatmaps(self, names: set[str], output: Output) -> dict[str, Tensor]:
        heatmaps = output.heatmaps[:, -1].float()
        if not HAS_CUDA:
            heatmaps = heatmaps.cpu()
        options: dict[str, Any] = {
            "num_peaks": self.options.num_peaks,
            "min_distance": self.options.min_distance,
            "temperature": self.options.temperature,
        }
        methods = [name for name in _SCORES if name in names]
        if not methods:
            found = {}
            if "confidence" in names:
                found["confidence"] = decode(heatmaps).confidence
            if "multi_peak_entropy" in names:
                found["multi_peak_entropy"] = multi_peak_entropy(heatmaps, **options)
            return found
        params = self._head_output(output).float().reshape(len(heatmaps), -1, 2)
        params = params.to(heatmaps.device)
        first, *others = methods
        analysis = analyze(
            heatmaps, params, skeleton=self.skeleton, method=_SCORES[first], **options
        )
        found = {
            first: analysis.score,
            "confidence": analysis.confidence,
            "multi_peak_entropy": analysis.entropy.sum(1),
        }
        for name in others:
            found[name] = score(
                heatmaps, params, skeleton=self.skeleton, method=_SCORES[name], **options
            )
        return found

    def _head_output(self, output: Output) -> Tensor:
        assert self.head is not None
        with self.network.autocast():
            return self.head(output.features)

    def keypoints_and_embeddings(
        self, indices: Indices, what: str, checkpoints: Checkpoints
    ) -> dict[str, Array]:
        """Return "keypoints" (N, J, 2), in heatmap pixels, and "embedding" (N, D)."""

        def look(names: Sequence[str], inputs: Tensor, chosen: Tensor) -> dict[str, Tensor]:
            output = self.network(inputs)
            heatmaps = output.heatmaps[:, -1].float().cpu()
            if output.features:
                embedding = pool_features(output.features)
            else:
                embedding = torch.full((len(inputs), 1), torch.nan)
            return {"keypoints": decode(heatmaps).keypoints, "embedding": embedding}

        return self._pass(["keypoints", "embedding"], indices, what, checkpoints, look)
