"""The work of a simulation: networks that are trained, asked and compared, cycle after cycle."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vl4pose._atomic_file import write_atomically
from vl4pose.active.strategies import Pool, Strategy
from vl4pose.link_params import fit_params
from vl4pose.simulation.config import ChosenStrategy, SimulationConfig
from vl4pose.simulation.folder import SimulationFolder, start_set
from vl4pose.simulation.heads import HEADS, LabelledBatch
from vl4pose.simulation.labelled_images import LabelledImages
from vl4pose.simulation.measurement import measure
from vl4pose.simulation.observation import Observer, TrainedHead
from vl4pose.simulation.pace import Pace, SimulationError
from vl4pose.simulation.pose_network import PoseNetwork
from vl4pose.simulation.records import CycleRecord, write_record
from vl4pose.simulation.start import Start, start_path, write_start
from vl4pose.simulation.training import Recipe, train
from vl4pose.training.augmentation import Augmentation
from vl4pose.training.checkpoints import Checkpoints
from vl4pose.training.dataset import Annotations
from vl4pose.training.heatmap_targets import heatmap_loss
from vl4pose.training.positions import seed_at

__all__ = ["Bench", "check_needs"]

Indices = npt.NDArray[np.int64]

# What tells the random numbers of a cycle's parts from one another.
_POSE, _HEAD, _HEAD_WEIGHTS, _CHOICE = range(4)


class Bench:
    """A network, the data, and all that is done with them in one process.

    Parameters
    ----------
    config : SimulationConfig
    folder : SimulationFolder
    network : PoseNetwork
    train, test : LabelledImages
    device : torch.device
    pace : Pace
    """

    def __init__(
        self,
        config: SimulationConfig,
        folder: SimulationFolder,
        network: PoseNetwork,
        train: LabelledImages,
        test: LabelledImages,
        device: torch.device,
        pace: Pace,
    ) -> None:
        self.config = config
        self.folder = folder
        self.network = network
        self.data = train
        self.test = test
        self.device = device
        self.pace = pace
        self.augmentation = None
        options = config.training
        if options.augment:
            self.augmentation = Augmentation(
                config.skeleton,
                config.transform,
                degrees=options.degrees,
                scale=tuple(options.scale),
            )

    def share_start(self, seed: int) -> None:
        """Train and measure the network of a seed's start set, which all its strategies share."""
        directory = self.folder.shared(seed)
        labels = start_set(len(self.data), self.config.simulation.start, seed)
        self._trained_and_measured(labels, seed, 0)
        if seed == self.config.simulation.seed_list[0]:
            self._look_at_start(directory, labels, seed)
        shutil.rmtree(directory / "pose", ignore_errors=True)  # if a kill has left it
        self.folder.set_start_shared(seed)
        self.pace.keep()

    def run_cycle(self, chosen: ChosenStrategy, seed: int, cycle: int) -> CycleRecord:
        """Do a cycle of a run, whose earlier cycles have records, and write its record."""
        config, folder = self.config, self.folder
        selected = folder.selected(chosen.label, seed, cycle)
        labels = start_set(len(self.data), config.simulation.start, seed)
        for of_cycle in selected:
            labels = labels + of_cycle
        labels = sorted(labels)
        measured = self._trained_and_measured(labels, seed, cycle, chosen.label)
        shared_seconds: dict[str, float] = measured["seconds"] if cycle == 0 else {}
        seconds: dict[str, float] = {} if cycle == 0 else dict(measured["seconds"])
        chosen_images: list[int] = []
        if cycle < config.simulation.cycles - 1:
            chosen_images = self._select(chosen, labels, seed, cycle, seconds)
        record = CycleRecord(
            strategy=chosen.label,
            seed=seed,
            cycle=cycle,
            num_labels=len(labels),
            metrics=measured["metrics"],
            per_joint=measured["per_joint"],
            selected=chosen_images,
            seconds=seconds,
            shared_seconds=shared_seconds,
        )
        write_record(folder.path, record)
        self.pace.keep()
        is_last = cycle == config.simulation.cycles - 1
        needed = config.training.begin == "fine-tune" and not is_last
        folder.discard(chosen.label, seed, cycle if needed else cycle + 1)
        return record

    def _trained_and_measured(
        self, labels: list[int], seed: int, cycle: int, label: str = ""
    ) -> dict[str, Any]:
        """Return what there is to say of a cycle's network, which is trained unless it was.

        ``label`` is the strategy's whose network it is; that of cycle 0 is nobody's own.
        """
        directory = self.folder.network(label, seed, cycle)
        path = directory / _MEASURED
        if path.is_file():
            measured: dict[str, Any] = json.loads(path.read_text())
            return measured
        trained = self._trained(directory, labels, seed, cycle, label)
        self.pace.stop_if_over()
        start = time.monotonic()
        means, per_joint = measure(self.config, self.network, self.test, self.pace)
        measured = {
            "metrics": means,
            "per_joint": per_joint,
            "seconds": {"train": trained, "evaluate": time.monotonic() - start},
        }
        write_atomically(path, json.dumps(measured, indent=1).encode())
        self.pace.keep()
        return measured

    def _trained(
        self, directory: Path, labels: list[int], seed: int, cycle: int, label: str
    ) -> float:
        """Set the network to the weights of a cycle, and return the seconds of their training."""
        path = directory / _NETWORK
        if path.is_file():
            return self._load(path)
        if cycle > 0 and self.config.training.begin == "fine-tune":
            self._load(self.folder.network(label, seed, cycle - 1) / _NETWORK)
        else:
            self.network.load(self.network.initial(seed, cycle))
        steps = self.config.training.num_steps(len(labels))
        checkpoints = Checkpoints(directory / "pose")
        self.pace.reporter.stage("training", steps)
        seconds = self.train_pose(labels, seed, cycle, steps, checkpoints)
        _save(self.network.module, path, seconds)
        checkpoints.remove()
        self.pace.keep()
        return seconds

    def train_pose(
        self, labels: Sequence[int], seed: int, cycle: int, steps: int, checkpoints: Checkpoints
    ) -> float:
        """Train the pose network from the weights that it has; return the seconds of it."""
        chosen, sigma = torch.tensor(labels, device=self.device), self.config.training.sigma

        def loss_of(rows: Tensor) -> Tensor:
            inputs, keypoints, visible = self._batch(chosen[rows.to(self.device)])
            heatmaps = self.network.train(inputs).heatmaps
            return heatmap_loss(heatmaps, keypoints, visible=visible, sigma=sigma)

        return self._train(
            self.network.module,
            loss_of,
            self.config.training,
            labels,
            (seed, cycle, _POSE),
            steps,
            checkpoints,
        )

    def _load(self, path: Path) -> float:
        state, seconds = _read(path)
        self.network.load(state)
        return seconds

    def _batch(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return network input, keypoints and visible of labelled images, changed at random."""
        data = self.data
        inputs = data.inputs(data.pixels[indices])
        keypoints, visible = data.keypoints[indices], data.visible[indices]
        if self.augmentation is not None:
            inputs, keypoints, visible = self.augmentation(
                inputs, keypoints, visible, self.network.heatmap_size
            )
        return inputs.contiguous(memory_format=torch.channels_last), keypoints, visible

    def _select(
        self,
        chosen: ChosenStrategy,
        labels: list[int],
        seed: int,
        cycle: int,
        seconds: dict[str, float],
    ) -> list[int]:
        """Return which images to label next, the most urgent first."""
        strategy = chosen.make()
        work = self.folder.work(chosen.label, seed, cycle)
        unlabelled = np.setdiff1d(np.arange(len(self.data)), labels)
        self._load(self.folder.network(chosen.label, seed, cycle) / _NETWORK)
        head, head_seconds = self._head(strategy, work, labels, seed, cycle)
        observer = self.observer(labels, head, strategy.observation_options)

        def pool_of(indices: Indices, what: str) -> Pool:
            return Pool(
                len(indices),
                observe=lambda names: observer.observe(names, indices, what, work / "observed"),
            )

        pool = pool_of(unlabelled, "the pool")
        labelled = pool_of(np.array(labels), "the labelled images")
        strategy.prepare(pool, labelled)
        seconds["score"] = head_seconds + observer.seconds
        self.pace.stop_if_over()
        self.pace.reporter.stage("selecting", 1)
        start = time.monotonic()
        rng = np.random.default_rng([seed, cycle, _CHOICE])
        picks = strategy.select(pool, labelled, self.config.simulation.budget, rng)
        seconds["select"] = time.monotonic() - start
        selected: list[int] = unlabelled[picks].tolist()
        return selected

    def observer(
        self,
        labels: Sequence[int],
        head: TrainedHead | None,
        of_arrays: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> Observer:
        """Return who looks at images for a strategy, and knows no labels but the revealed ones."""
        known = torch.tensor(labels, device=self.device)
        poses = Annotations(self.data.keypoints[known], self.data.visible[known])
        return Observer(
            self.data.without_labels(),
            np.array(labels),
            poses,
            self.network,
            head,
            self.config,
            self.pace,
            of_arrays,
        )

    def _head(
        self, strategy: Strategy, work: Path, labels: list[int], seed: int, cycle: int
    ) -> tuple[TrainedHead | None, float]:
        """Return the small network that a strategy needs, trained, and the seconds of that."""
        if strategy.head is None:
            return None, 0.0
        path = work / "head.safetensors"
        head = self.make_head(strategy.head, labels, seed, cycle)
        if path.is_file():
            state, seconds = _read(path)
            head.module.load_state_dict(state)
            return head, seconds
        steps = self.config.heads.num_steps(len(labels), self.config.training)
        checkpoints = Checkpoints(work / "head")
        self.pace.reporter.stage(f"training {strategy.head}", steps)
        seconds = self.train_head(head, labels, seed, cycle, steps, checkpoints)
        _save(head.module, path, seconds)
        checkpoints.remove()
        self.pace.keep()
        return head, seconds

    def make_head(self, name: str, labels: Sequence[int], seed: int, cycle: int) -> TrainedHead:
        """Return a new small network for the features of the pose network."""
        width, height = self.config.transform.input_size
        example = self.network(torch.zeros(1, 3, height, width, device=self.device)).features
        params = None
        if name == "aux":
            known = torch.tensor(labels, device=self.device)
            poses = self.data.keypoints[known].cpu(), self.data.visible[known].cpu()
            try:
                params = fit_params(*poses, self.config.skeleton)
            except ValueError as error:
                raise SimulationError(f"the labelled images give no bones: {error}") from error
        seed_at(seed, cycle, _HEAD_WEIGHTS)
        module = HEADS[name].make(
            [maps.float().cpu() for maps in example], self.config.skeleton, params
        )
        return TrainedHead(HEADS[name], module.to(self.device))

    def train_head(
        self,
        head: TrainedHead,
        labels: Sequence[int],
        seed: int,
        cycle: int,
        steps: int,
        checkpoints: Checkpoints,
    ) -> float:
        """Train a small network on the features of the pose network; return the seconds of it."""
        chosen = torch.tensor(labels, device=self.device)

        def loss_of(rows: Tensor) -> Tensor:
            inputs, keypoints, visible = self._batch(chosen[rows.to(self.device)])
            output = self.network(inputs)
            with self.network.autocast():
                predicted = head.module([maps.detach() for maps in output.features])
            batch = LabelledBatch(
                output.heatmaps,
                keypoints,
                visible,
                self.config.skeleton,
                sigma=self.config.training.sigma,
            )
            return head.head.loss(predicted.float(), batch)

        return self._train(
            head.module,
            loss_of,
            self.config.heads,
            labels,
            (seed, cycle, _HEAD),
            steps,
            checkpoints,
        )

    def _train(
        self,
        module: nn.Module,
        loss_of: Callable[[Tensor], Tensor],
        recipe: Recipe,
        labels: Sequence[int],
        position: tuple[int, ...],
        steps: int,
        checkpoints: Checkpoints,
    ) -> float:
        """Train one of the networks, and return the seconds of it."""
        module.train()
        return train(
            module,
            loss_of,
            num_samples=len(labels),
            num_steps=steps,
            recipe=recipe,
            position=position,
            half=self.network.amp_dtype,
            device=self.device,
            checkpoints=checkpoints,
            pace=self.pace,
        )

    def _look_at_start(self, directory: Path, labels: list[int], seed: int) -> None:
        """Write what the first network says of the training set, for the figure of the picks."""
        if start_path(self.folder.path, seed).is_file():
            return
        self._load(directory / _NETWORK)
        found = self.observer(labels, None).keypoints_and_embeddings(
            np.arange(len(self.data)), "the training set", directory / "observed"
        )
        labelled = np.isin(np.arange(len(self.data)), labels)
        start = Start(labelled, found["embedding"], found["keypoints"])
        write_start(self.folder.path, seed, start)
        shutil.rmtree(directory / "observed", ignore_errors=True)


_NETWORK = "network.safetensors"
_MEASURED = "measured.json"


def check_needs(config: SimulationConfig, network: PoseNetwork) -> None:
    """Raise an error where a strategy needs features or pairs of images and never sees any.

    Raises
    ------
    ValueError
        ``network.factory must make a network that returns (heatmaps, features) for ...``,
        ``simulation.start must be at least 2 for ...``, and so for ``heads.batch_size``.
    """
    for chosen in config.strategies:
        strategy = chosen.make()
        asked = {*strategy.needs, *strategy.needs_labelled}
        if not network.has_features and (strategy.head is not None or asked & _OF_FEATURES):
            raise ValueError(
                "network.factory must make a network that returns (heatmaps, features) for the "
                f"strategy {chosen.label!r}, got one that returns heatmaps alone"
            )
        if strategy.head is None or not HEADS[strategy.head].learns_from_pairs:
            continue
        for key, number in (
            ("simulation.start", config.simulation.start),
            ("heads.batch_size", config.heads.batch_size),
        ):
            if number < 2:
                raise ValueError(
                    f"{key} must be at least 2 for the strategy {chosen.label!r}, which learns "
                    f"from pairs of images, got {number}"
                )


_OF_FEATURES = {"embedding", "squared_gradient_length"}


def _save(module: nn.Module, path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    write_atomically(path, save(state, {"seconds": repr(seconds)}))


def _read(path: Path) -> tuple[dict[str, Tensor], float]:
    try:
        with safe_open(path, "pt") as file:
            seconds = float((file.metadata() or {}).get("seconds", "0"))
        return load_file(path), seconds
    except SafetensorError as error:
        raise SimulationError(
            f"'{path}' is damaged ({error}): delete it, to have it trained again"
        ) from error
