"""What networks say of images: every array that a strategy needs, from one pass over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vl4pose._arrays import HAS_CUDA
from vl4pose.active.neighbours import Neighbours, nearest_labelled
from vl4pose.nn.pooled_features import pool_features
from vl4pose.scoring import analyze, decode, multi_peak_entropy, score
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.gradient_length import expected_squared_gradient_length
from vl4pose.simulation.heads import Head
from vl4pose.simulation.labelled_images import ImageStack
from vl4pose.simulation.pace import Pace, TimeUpError
from vl4pose.simulation.pose_network import Output, PoseNetwork
from vl4pose.simulation.predictive_variance import predictive_variance
from vl4pose.training.checkpoints import Checkpoints
from vl4pose.training.dataset import Annotations
from vl4pose.training.positions import batches_in_order

__all__ = ["Observer", "TrainedHead"]

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
# Takes names, network input, and which of the images these are; returns arrays of them.
Look = Callable[[Sequence[str], Tensor, Indices], Mapping[str, Tensor]]

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
    labelled : (M,) int64 array
        Those whose labels are known.
    poses : Annotations
        These labels, and no others.
    network : PoseNetwork
    head : TrainedHead, optional
    config : SimulationConfig
    pace : Pace
    of_arrays : mapping, optional
        Options of arrays of their own kind, by the arrays' names, as a strategy has them.

    Attributes
    ----------
    seconds : float
        That looking has taken, of all processes that had a part in it.
    """

    def __init__(
        self,
        images: ImageStack,
        labelled: Indices,
        poses: Annotations,
        network: PoseNetwork,
        head: TrainedHead | None,
        config: SimulationConfig,
        pace: Pace,
        of_arrays: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self.images = images
        self.labelled = labelled
        self.poses = poses
        self.network = network
        self.head = head
        self.skeleton = config.skeleton
        self.options = config.scoring
        self.sigma = config.training.sigma
        self.pace = pace
        self.of_arrays = of_arrays
        self.seconds = 0.0

    def observe(
        self, names: Sequence[str], indices: Indices, what: str, directory: Path
    ) -> dict[str, Array]:
        """Return arrays of some of the images.

        Parameters
        ----------
        names : sequence of str
            Of `vl4pose.active.strategies.pool.ARRAYS`.
        indices : (N,) int64 array
        what : str
            What the images are called.
        directory : Path
            For checkpoints: what is known when the time is over goes there, and comes from there.

        Raises
        ------
        TimeUpError
            After a checkpoint.

        Notes
        -----
        One pass finds all arrays that are of the network and the head alone; each array of its own
        kind takes another. Heatmaps of a batch are let go before the next: what stays is what is
        asked for. Batches are cut by position, so that an interrupted pass comes to the same
        values.
        """
        own = {
            "predictive_variance": self._look_at_thinned,
            "squared_gradient_length": self._look_at_gradients,
        }
        plain = [name for name in names if name not in own]
        found: dict[str, Array] = {}
        if plain:
            found = self._pass(plain, indices, what, directory, self._look)
        for name in names:
            if name in own:
                look = own[name](indices, what, directory, found)
                found |= self._pass([name], indices, what, directory, look)
        return found

    def keypoints_and_embeddings(
        self, indices: Indices, what: str, directory: Path
    ) -> dict[str, Array]:
        """Return "keypoints" (N, J, 2), in heatmap pixels, and "embedding" (N, D)."""

        def look(names: Sequence[str], inputs: Tensor, rows: Indices) -> dict[str, Tensor]:
            output = self.network(inputs)
            if output.features:
                embedding = pool_features(output.features)
            else:
                embedding = torch.full((len(inputs), 1), torch.nan)
            heatmaps = output.heatmaps[:, -1].float().cpu()
            return {"keypoints": decode(heatmaps).keypoints, "embedding": embedding}

        return self._pass(["keypoints", "embedding"], indices, what, directory, look)

    def _pass(
        self, names: list[str], indices: Indices, what: str, directory: Path, look: Look
    ) -> dict[str, Array]:
        """Return what ``look`` says of all images: see `observe`."""
        batches = batches_in_order(len(indices), self.options.batch_size) if len(indices) else []
        checkpoints = Checkpoints(directory / "-".join([*what.split(), *names]))
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        done, before = 0, 0.0
        state, _ = checkpoints.load()
        if state is not None:
            done, before = state["done"], state["seconds"]
            parts = {name: [part] for name, part in state["parts"].items()}
        self.pace.reporter.stage(f"looking at {what}", len(indices))
        self.pace.reporter.advance(sum(map(len, batches[:done])))
        start = last_checkpoint = time.monotonic()

        def seconds() -> float:
            return before + time.monotonic() - start

        def save() -> None:
            joined = {name: torch.cat(part) for name, part in parts.items()}
            checkpoints.save({"done": done, "parts": joined, "seconds": seconds()})

        for rows in batches[done:]:
            chosen = torch.from_numpy(indices[rows]).to(self.images.pixels.device)
            inputs = self.images.inputs(self.images.pixels[chosen])
            for name, values in look(names, inputs, np.array(rows)).items():
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
            save()  # for what comes next may be interrupted
        self.seconds += seconds()
        return {name: torch.cat(part).numpy() for name, part in parts.items() if part}

    def _look(self, names: Sequence[str], inputs: Tensor, rows: Indices) -> dict[str, Tensor]:
        """Return arrays of a batch."""
        output = self.network(inputs)
        found: dict[str, Tensor] = {}
        of_heatmaps = {"confidence", "multi_peak_entropy", *_SCORES} & set(names)
        if of_heatmaps:
            found |= self._of_heatmaps(of_heatmaps, output)
        if "embedding" in names:
            found["embedding"] = pool_features(output.features)
        array = None if self.head is None else self.head.head.array
        if self.head is not None and array is not None and array in names:
            found[array] = self.head.head.observe(self._head_output(output)).float()
        return {name: found[name] for name in names}

    def _look_at_thinned(
        self, indices: Indices, what: str, directory: Path, found: Mapping[str, Array]
    ) -> Look:
        """Return what looks at how far a network with channels dropped spreads keypoints."""
        options = self.of_arrays.get("predictive_variance", {})
        head = self.head
        if head is None or head.head.array != "log_variance":
            raise ValueError("head must be that of log-variances for the predictive variance")

        def look(names: Sequence[str], inputs: Tensor, rows: Indices) -> dict[str, Tensor]:
            with self.network.autocast():
                variance = predictive_variance(
                    self.network.module,
                    inputs,
                    lambda features: head.head.observe(head(features)),
                    **options,
                )
            return {names[0]: variance}

        return look

    def _look_at_gradients(
        self, indices: Indices, what: str, directory: Path, found: Mapping[str, Array]
    ) -> Look:
        """Return what looks at the gradient that an image would have as its labelled neighbours."""
        if "embedding" in found:
            embedding = found["embedding"]
        else:
            embedding = self._pass(["embedding"], indices, what, directory, self._look)["embedding"]
        labels = "the labelled images"
        of_labelled = self._pass(["embedding"], self.labelled, labels, directory, self._look)
        start = time.monotonic()
        options = dict(self.of_arrays.get("squared_gradient_length", {}))
        of_gradient = {
            name: options.pop(name) for name in ("parameters", "num_probes") if name in options
        }
        neighbours = _finite_neighbours(embedding, of_labelled["embedding"], **options)
        self.seconds += time.monotonic() - start
        keypoints, visible = self.poses

        def look(names: Sequence[str], inputs: Tensor, rows: Indices) -> dict[str, Tensor]:
            near = torch.from_numpy(neighbours.indices[rows]).to(keypoints.device)
            with self.network.autocast():
                lengths = expected_squared_gradient_length(
                    self.network.module,
                    inputs,
                    keypoints[near],
                    torch.from_numpy(neighbours.probabilities[rows]).to(keypoints.device),
                    visible=visible[near],
                    sigma=self.sigma,
                    **of_gradient,
                )
            return {names[0]: lengths}

        return look

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


def _finite_neighbours(embeddings: Array, labelled: Array, **options: Any) -> Neighbours:
    """Return neighbours among labelled images whose embedding is finite.

    Images whose own is not, or all of them where there is no such neighbour, have probabilities of
    NaN, and so will what is expected by them.
    """
    known, given = (
        np.flatnonzero(np.isfinite(rows).all(axis=1)) for rows in (embeddings, labelled)
    )
    if len(given) == 0:
        known, given = known[:0], np.zeros(1, np.int64)
    found = nearest_labelled(embeddings[known], labelled[given], **options) if len(known) else None
    width = 1 if found is None else found.indices.shape[1]
    indices = np.zeros((len(embeddings), width), np.int64)
    probabilities = np.full((len(embeddings), width), np.nan)
    if found is not None:
        indices[known], probabilities[known] = given[found.indices], found.probabilities
    return Neighbours(indices, probabilities)
