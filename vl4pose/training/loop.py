"""The training of an auxiliary network, and of its pose network with it."""

from __future__ import annotations

import contextlib
import gc
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vl4pose.image_transform import ImageTransform
from vl4pose.losses import nll_loss
from vl4pose.nn import AuxiliaryNet, PeakFit
from vl4pose.skeleton import Skeleton, get_skeleton
from vl4pose.training import processes
from vl4pose.training.augmentation import Augmentation
from vl4pose.training.calibration import Calibration
from vl4pose.training.checkpoints import Checkpoints
from vl4pose.training.dataset import Annotations, Batch, PoseDataset, batches_of
from vl4pose.training.features import (
    CachedFeatures,
    FeatureCache,
    bytes_per_sample,
    tensors_digest,
)
from vl4pose.training.fit_data import FitData
from vl4pose.training.fit_settings import FitSettings
from vl4pose.training.heatmap_targets import heatmap_loss
from vl4pose.training.networks import Networks, frozen_output
from vl4pose.training.optimisation import (
    GRADIENT_NORM,
    amp_dtype,
    parameter_groups,
    rate_at,
)
from vl4pose.training.peaks import fit_peaks
from vl4pose.training.positions import batches_in_order, epoch_batches, reproducible, seed_at
from vl4pose.training.reporting import Epoch, Reporter

__all__ = ["FitResult", "OtherRunError", "fit"]

_CACHE_LIMIT = 20 * 10**9
# Of a network that is only run. malloc may give the maps of more images back to the system after
# each batch, and then mapping them again takes longer than the network.
_CPU_BATCH = 4


class OtherRunError(ValueError):
    """The checkpoint that is there is not of this run.

    Attributes
    ----------
    difference : str
        What is not the same: a setting's name, or "training set" and the like.
    """

    def __init__(self, directory: Path, difference: str) -> None:
        self.difference = difference
        super().__init__(
            f"checkpoints must be of the same run, got one in '{directory}' with another "
            f"{difference}"
        )


@dataclass(frozen=True)
class FitResult:
    """What a training gives.

    Attributes
    ----------
    aux : torch.nn.Module
        The auxiliary network of the best epoch, in eval mode.
    pose : torch.nn.Module or callable
        The pose network it belongs to: the given one, if it was trained of the same epoch and in
        eval mode.
    params : Tensor (L, 2)
        Length and log-variance of the constant bones that the auxiliary network is measured
        against: `vl4pose.fit_params` of the training set.
    features : sequence of Tensor (1, C, H, W)
        The pose network's features of an image of noise, for an example of what the auxiliary
        network takes.
    epochs : list of Epoch
    best_epoch : int
        From 1.
    calibration : Calibration
        How the predicted bones compare with the true ones of the validation set.
    peaks : PeakFit or None
        Temperature and variance of the peaks, fitted to the validation set, for those who want
        them: ``aux.set_peak_variance(peaks.variance)``. None if fewer than 100 of its joints lie
        near a peak.
    """

    aux: nn.Module
    pose: Callable[[Tensor], Any]
    params: Tensor
    features: Sequence[Tensor]
    epochs: list[Epoch]
    best_epoch: int
    calibration: Calibration
    peaks: PeakFit | None


def fit(
    train: PoseDataset,
    validation: PoseDataset,
    pose: Callable[[Tensor], Any],
    *,
    skeleton: Skeleton | str,
    aux: nn.Module | None = None,
    train_pose: bool = False,
    transform: ImageTransform | None = None,
    settings: FitSettings | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    checkpoints: Path | None = None,
    checkpoint_seconds: float = 20.0,
    cache: Path | None = None,
    cache_limit: int | None = None,
    reporter: Reporter | None = None,
) -> FitResult:
    """Train an auxiliary network on annotated poses.

    Parameters
    ----------
    train, validation : PoseDataset
        Items of (image, keypoints in heatmap pixels, visible).
    pose : torch.nn.Module or callable
        Takes images (B, 3, H, W) on ``device``; returns ``(heatmaps, features)`` or a mapping of
        both, as for `vl4pose.Scorer`. Without ``train_pose`` it runs in eval mode and is not
        changed.
    skeleton : Skeleton or str
    aux : torch.nn.Module, optional
        Takes the features; returns link parameters (B, L, 2) or (B, 2 L). None makes a
        `vl4pose.nn.AuxiliaryNet` for them that starts at the constant bones. A given one loses its
        peak variance.
    train_pose : bool
        Train the pose network too, which must be a module, on the heatmaps of all its stacks. Its
        features are detached, so that the bones' loss never reaches it.
    transform : ImageTransform, optional
        What the images were made with; the augmentation needs it. None is ``ImageTransform()``.
    settings : FitSettings, optional
    device : torch.device or str
        Where both networks are moved, if they are modules, and trained.
    workers : int
        Threads that read items of the datasets ahead.
    checkpoints : Path, optional
        A directory. A run that finds an unfinished one of the same settings, data and networks in
        it goes on where that was, and ends with the same result to the last bit.
    checkpoint_seconds : float
        Between two checkpoints. There is one at the end, too.
    cache : Path, optional
        A directory for the features of a frozen pose network, which stays when the run is over.
        None uses ``checkpoints``, or a temporary one.
    cache_limit : int, optional
        Bytes that the cache may take. Where the features need more they are computed anew for each
        step; 0 asks for that. None is 20 GB on the CPU, and elsewhere only where ``cache`` is
        given.
    reporter : Reporter, optional
        Is told how it goes.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        ``train must hold ...``, ``validation must hold ...``, ``pose must return ...``.
    OtherRunError
        ``checkpoints must be of the same run, got one in '...' with another ...``.
    RuntimeError
        If the loss is no longer finite.

    Notes
    -----
    *Loss.* The mean over all visible links of a batch of their negative log-likelihood
    (Eq. 5), and with ``train_pose`` the mean squared error of the heatmaps is added
    (`heatmap_loss`); as no weight is in both networks and AdamW's steps do not depend on the scale
    of a loss, their ratio does not matter. The two gradients are clipped to norm 1 each.

    *Best.* The best epoch is that of the lowest negative log-likelihood n of the validation set;
    with ``train_pose``, of the lowest n + log(m) / 2 with m the mean squared error of its heatmaps,
    as log(m) / 2 is what a pixel adds to a negative log-likelihood whose variance is the error
    itself.

    *Cached features.* A frozen network gives an image the same features in every epoch. One core
    takes 40 ms for those of a 32-channel hourglass of two stacks, and 1 ms to read their 0.7 MB
    back; so on the CPU they are computed once, for each image and ``settings.views`` augmented
    versions of it, and an epoch takes one of these. A GPU computes them faster than a disk gives
    them, so there every step augments and computes anew.

    *Randomness.* Everything random depends only on the seed and on the position in the run, so that
    a run that goes on from a checkpoint repeats what an uninterrupted one would have done.

    *Several processes.* Under ``torch.distributed``, each process takes its share of every batch,
    and the gradients are those of the whole batch. Batch normalisation sees the share only.
    """
    skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    settings = settings or FitSettings()
    if train_pose and not isinstance(pose, nn.Module):
        raise TypeError(f"pose must be a module for train_pose=True, got {type(pose).__name__}")
    place = torch.device(device)
    with reproducible(place), ExitStack() as stack:
        run = _Run(
            FitData(train, validation, skeleton, transform or ImageTransform()),
            pose.to(place) if isinstance(pose, nn.Module) else pose,
            aux,
            train_pose=train_pose,
            settings=settings,
            device=place,
            workers=workers,
            reporter=reporter if reporter and processes.rank() == 0 else Reporter(),
        )
        if cache_limit is None:
            cache_limit = _CACHE_LIMIT if place.type == "cpu" or cache is not None else 0
        if not train_pose and run.cache_bytes() > cache_limit > 0:
            run.reporter.note(
                f"The features would take {run.cache_bytes() / 1e9:.1f} GB, more than the cache's "
                f"{cache_limit / 1e9:g}: they are computed anew in each epoch."
            )
        elif not train_pose and cache_limit > 0:
            directory = cache or (checkpoints and checkpoints / "features")
            if directory is None:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            run.cache_features(FeatureCache(directory, run.probe, cache_limit))
        result = run.complete(
            None if checkpoints is None else Checkpoints(checkpoints), checkpoint_seconds
        )
    if processes.num_processes() > 1:
        # What wraps the networks is in a cycle, and a process whose group is destroyed before that
        # may abort at its end.
        del run
        gc.collect()
    return result


@dataclass
class _Position:
    """Where a run is, and what it has seen."""

    epoch: int = 0  # complete ones
    step: int = 0  # of the epoch that has begun
    best_epoch: int = 0
    best_criterion: float = math.inf
    epochs: list[Epoch] = field(default_factory=list)


class _Run:
    """The networks, the optimiser, the data and the position in it."""

    def __init__(
        self,
        data: FitData,
        pose: Callable[[Tensor], Any],
        aux: nn.Module | None,
        *,
        train_pose: bool,
        settings: FitSettings,
        device: torch.device,
        workers: int,
        reporter: Reporter,
    ) -> None:
        self.data = data
        self.pose = pose
        self.settings = settings
        self.device = device
        self.workers = workers
        self.reporter = reporter
        self.train, self.validation = data.train, data.validation
        self.num_views = 1
        self.steps_per_epoch = -(-len(data.train) // settings.batch_size)
        if len(data.train) // self.steps_per_epoch < processes.num_processes():
            raise ValueError(
                f"batch_size must give each of {processes.num_processes()} processes a sample of "
                f"every batch, got {settings.batch_size} for {len(data.train)} samples"
            )
        self.augmentation = None
        if settings.augment:
            self.augmentation = Augmentation(data.skeleton, data.transform)
        self.amp_dtype = amp_dtype(device) if settings.amp else None
        # Always the same image, for its features tell networks apart in a cache.
        noise = torch.rand(1, *data.train[0][0].shape, generator=torch.Generator().manual_seed(0))
        with self._autocast():
            heatmaps, self.probe = frozen_output(pose, noise.to(device))
        self.heatmap_size = (heatmaps.shape[-1], heatmaps.shape[-2])
        if aux is None:
            seed_at(settings.seed)
            aux = AuxiliaryNet.for_features(
                self.probe, data.skeleton.num_links, params=data.params.numpy()
            )
        elif isinstance(aux, AuxiliaryNet):
            aux.set_peak_variance(0.0)
        aux = aux.to(device)
        groups = parameter_groups(aux, settings.learning_rate, settings.weight_decay)
        if train_pose:
            assert isinstance(pose, nn.Module)
            self.networks = Networks(aux, pose=pose)
            groups += parameter_groups(pose, settings.pose_learning_rate, settings.weight_decay)
        else:
            self.networks = Networks(aux, frozen_pose=pose)
        self.identity = self._identity()
        self.optimizer = torch.optim.AdamW(groups)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp_dtype == torch.float16)
        self.module: nn.Module = self.networks
        if processes.num_processes() > 1:
            # static_graph, for a pose network may have parts that only its features depend on.
            self.module = DistributedDataParallel(self.networks, static_graph=True)
        self.position = _Position()
        # Of the epoch that has begun: the loss of the links and their number, that of the heatmaps
        # and theirs.
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)
        self.best: dict[str, Tensor] = {}

    def cache_bytes(self) -> int:
        """Return what the features of all samples take on disk."""
        return self._num_cached() * bytes_per_sample(self.probe)

    def cache_features(self, cache: FeatureCache) -> None:
        """Put the features of all samples on disk, and train on these."""
        self.reporter.stage("computing features", self._num_cached())
        self.num_views = self._num_views()
        self.train = self._cached(cache, self.train, self.num_views)
        self.validation = self._cached(cache, self.validation, 1)
        self.networks.without_pose()
        self.augmentation = None
        self.identity["cached features"] = True  # for with them an epoch sees other images

    def complete(self, checkpoints: Checkpoints | None, checkpoint_seconds: float) -> FitResult:
        """Go on from the checkpoint, if there is one, to the end."""
        if checkpoints is not None:
            self._resume(checkpoints)
        last_checkpoint = time.monotonic()

        def checkpoint() -> None:
            nonlocal last_checkpoint
            due = time.monotonic() - last_checkpoint >= checkpoint_seconds or self._is_over()
            if checkpoints is not None and due and processes.rank() == 0:
                checkpoints.save(self._state())
                last_checkpoint = time.monotonic()

        while not self._is_over():
            for batch in self._training_batches():
                self._step(batch)
                self.position.step += 1
                nll, num_links = self.sums[:2].tolist()
                self.reporter.training_nll(nll / max(num_links, 1))
                self.reporter.advance(1)
                checkpoint()
            self._end_epoch()
            checkpoint()
        self.networks.load_state_dict(self.best)
        calibration = self._validate()[0]
        peaks = fit_peaks(
            self.pose,
            self.data.validation,
            calibration.params,
            skeleton=self.data.skeleton,
            num_peaks=self.settings.num_peaks,
            min_distance=self.settings.min_distance,
            device=self.device,
            workers=self.workers,
            reporter=self.reporter,
        )
        return FitResult(
            aux=self.networks.aux.eval(),
            pose=self.pose,
            params=self.data.params,
            features=self.probe,
            epochs=self.position.epochs,
            best_epoch=self.position.best_epoch,
            calibration=calibration,
            peaks=peaks,
        )

    def _is_over(self) -> bool:
        position = self.position
        waited = position.epoch - position.best_epoch
        return position.epoch >= self.settings.epochs or waited >= self.settings.patience

    def _training_batches(self) -> Iterator[Batch]:
        """Yield this process's share of the rest of the epoch, on the device and augmented."""
        settings, epoch = self.settings, self.position.epoch
        batches = epoch_batches(
            len(self.data.train), settings.batch_size, settings.seed, epoch, self.num_views
        )
        self.networks.train()
        self.reporter.stage(f"epoch {epoch + 1}", len(batches))
        self.reporter.advance(self.position.step)
        rest = batches[self.position.step :]
        own = [batch[processes.rank() :: processes.num_processes()] for batch in rest]
        for batch in batches_of(self.train, own, self.workers):
            # Also for what the networks draw, such as dropout.
            seed_at(settings.seed, epoch, self.position.step, processes.rank())
            yield self._augmented(self._on_device(batch))

    def _step(self, batch: Batch) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._rate()
        with self._autocast():
            heatmaps, params = self.module(batch.inputs)
        nll, maps_loss, counts = self._losses(batch, heatmaps, params)
        sums = torch.stack([nll.detach(), counts[0], maps_loss.detach(), counts[1]]).double()
        sums = processes.summed(sums)
        self.sums += sums
        # The mean over the whole batch, times the number of processes, whose mean is taken of the
        # gradients.
        loss = nll / sums[1].clamp(min=1) + maps_loss / sums[3].clamp(min=1)
        self.optimizer.zero_grad()
        self.scaler.scale(loss * processes.num_processes()).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        for network in (self.networks.aux, self.networks.pose):
            if network is not None:
                nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _losses(
        self, batch: Batch, heatmaps: Tensor | None, params: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums over links and over heatmaps, and how many of each there are."""
        keypoints, visible = batch.keypoints, batch.visible
        nll = nll_loss(
            params.float(),
            keypoints,
            skeleton=self.data.skeleton,
            visible=visible,
            reduction="sum",
        )
        num_links = self.data.visible_links(visible).sum()
        if heatmaps is None:
            nothing = torch.zeros_like(nll)
            return nll, nothing, torch.stack([num_links, nothing])
        loss = heatmap_loss(
            heatmaps, keypoints, visible=visible, sigma=self.settings.sigma, reduction="sum"
        )
        return nll, loss, torch.stack([num_links, visible.sum() * heatmaps.shape[1]])

    def _end_epoch(self) -> None:
        nll, num_links, maps_loss, num_maps = self.sums.tolist()
        train_nll = nll / max(num_links, 1)
        number = self.position.epoch + 1
        calibration, validation_maps_loss = self._validate()
        validation_nll = calibration.predicted().nll
        criterion = validation_nll
        if validation_maps_loss is not None:
            criterion += 0.5 * math.log(max(validation_maps_loss, 1e-12))
        if not math.isfinite(train_nll + criterion):
            raise RuntimeError(
                f"the loss must stay finite, got {train_nll + maps_loss} in epoch {number}: "
                "train with a lower learning rate"
            )
        position = self.position
        is_best = criterion < position.best_criterion
        if is_best:
            position.best_epoch, position.best_criterion = number, criterion
            self.best = {
                name: tensor.detach().cpu().clone()
                for name, tensor in self.networks.state_dict().items()
            }
        epoch = Epoch(
            number=number,
            train_nll=train_nll,
            validation_nll=validation_nll,
            baseline_nll=calibration.baseline().nll,
            train_heatmap_loss=maps_loss / num_maps if num_maps else None,
            validation_heatmap_loss=validation_maps_loss,
            is_best=is_best,
        )
        position.epochs.append(epoch)
        position.epoch, position.step = number, 0
        self.sums.zero_()
        self.reporter.epoch(epoch)

    def _validate(self) -> tuple[Calibration, float | None]:
        """Return how the predicted bones agree with the true ones, and the loss of the heatmaps."""
        processes.broadcast_buffers(self.networks)
        self.networks.eval()
        batches = batches_in_order(len(self.validation), self.settings.batch_size)
        own = batches[processes.rank() :: processes.num_processes()]
        parts = []
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for indices, batch in zip(own, batches_of(self.validation, own, self.workers), strict=True):
            batch = self._on_device(batch)
            with torch.no_grad(), self._autocast():
                heatmaps, params = self.networks(batch.inputs)
                _, maps_loss, counts = self._losses(batch, heatmaps, params)
            sums += torch.stack([maps_loss, counts[1]])
            parts.append((indices[0], params.double().cpu().numpy()))
        parts = sorted(processes.gathered(parts), key=lambda part: part[0])
        maps_loss, num_maps = processes.summed(sums).tolist()
        calibration = Calibration(
            link_names=self.data.skeleton.link_names,
            lengths=self.data.validation_lengths.numpy(),
            params=np.concatenate([params for _, params in parts]),
            constant=self.data.params.double().numpy(),
        )
        return calibration, maps_loss / num_maps if num_maps else None

    def _rate(self) -> float:
        """Return the learning rate at this position, as a share of the highest."""
        settings, position = self.settings, self.position
        step = position.epoch * self.steps_per_epoch + position.step
        steps = self.steps_per_epoch
        return rate_at(step, settings.warmup * steps, settings.epochs * steps)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.amp_dtype)

    def _on_device(self, batch: Batch) -> Batch:
        if isinstance(batch.inputs, Tensor):
            inputs: Any = batch.inputs.to(self.device)
        else:
            inputs = tuple(maps.to(self.device) for maps in batch.inputs)
        return Batch(inputs, batch.keypoints.to(self.device), batch.visible.to(self.device))

    def _augmented(self, batch: Batch) -> Batch:
        if self.augmentation is None:
            return batch
        return Batch(*self.augmentation(*batch, self.heatmap_size))

    def _cached(self, cache: FeatureCache, dataset: PoseDataset, num_views: int) -> CachedFeatures:
        """Return the features of all views of a dataset; of view 0, the images as they are."""

        def features_of(images: Tensor) -> Sequence[Tensor]:
            with self._autocast():
                return frozen_output(self.pose, images.to(self.device))[1]

        size = self.settings.batch_size
        if self.device.type == "cpu":
            size = min(size, _CPU_BATCH)
        batches = batches_in_order(len(dataset), size)
        own = batches[processes.rank() :: processes.num_processes()]
        parts = []
        for view in range(num_views):
            for indices, batch in zip(own, batches_of(dataset, own, self.workers), strict=True):
                first = indices[0]
                if view > 0:
                    seed_at(self.settings.seed, view, first)
                    batch = self._augmented(batch)
                files = cache.add(batch.inputs, features_of)
                parts.append((view, first, files, batch.keypoints, batch.visible))
                self.reporter.advance(len(indices) * processes.num_processes())
        parts = sorted(processes.gathered(parts), key=lambda part: part[:2])
        _, _, paths, keypoints, visible = zip(*parts, strict=True)
        return CachedFeatures(
            list(chain.from_iterable(paths)),
            Annotations(torch.cat(keypoints), torch.cat(visible)),
        )

    def _num_views(self) -> int:
        return 1 + (self.settings.views if self.settings.augment else 0)

    def _num_cached(self) -> int:
        return self._num_views() * len(self.data.train) + len(self.data.validation)

    def _identity(self) -> dict[str, Any]:
        """Return all that makes this run what it is, but the machine."""
        data = self.data
        pose = self.pose.state_dict().values() if isinstance(self.pose, nn.Module) else ()
        return {
            **asdict(self.settings),
            "train_pose": self.networks.pose is not None,
            "skeleton": data.skeleton.to_json(),
            "transform": data.transform.to_json(),
            "training set": tensors_digest(_comparable(data.train_poses)),
            "validation set": tensors_digest(_comparable(data.validation_poses)),
            "pose network": tensors_digest(list(pose)),
            "auxiliary network": tensors_digest(list(self.networks.aux.state_dict().values())),
            "cached features": False,
            "processes": processes.num_processes(),
        }

    def _state(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        return {
            "identity": self.identity,
            "networks": self.networks.state_dict(),
            "optimizer": optimizer["state"],
            "scaler": self.scaler.state_dict(),
            "position": asdict(self.position),
            "sums": self.sums,
            "best": self.best,
        }

    def _resume(self, checkpoints: Checkpoints) -> None:
        state, problems = checkpoints.load()
        for problem in problems:
            self.reporter.note(f"{problem}: the one before is used")
        if state is None:
            return
        for name, value in self.identity.items():
            if state["identity"].get(name) != value:
                raise OtherRunError(checkpoints.directory, name)
        self.networks.load_state_dict(state["networks"])
        optimizer = self.optimizer.state_dict()
        optimizer["state"] = {int(index): value for index, value in state["optimizer"].items()}
        self.optimizer.load_state_dict(optimizer)
        self.scaler.load_state_dict(state["scaler"])
        self.sums = state["sums"].to(self.device)
        self.best = state["best"]
        epochs = [Epoch(**epoch) for epoch in state["position"].pop("epochs")]
        self.position = _Position(**state["position"], epochs=epochs)
        for epoch in epochs:
            self.reporter.epoch(epoch)
        done, step = self.position.epoch, self.position.step
        where = f"in epoch {done + 1}, after step {step}" if step else f"after epoch {done}"
        self.reporter.note(f"Resumed {where}.")


def _comparable(poses: Annotations) -> list[Tensor]:
    """Return the poses without what is not annotated, which may be anything."""
    return [torch.where(poses.visible[..., None], poses.keypoints, 0.0), poses.visible]
