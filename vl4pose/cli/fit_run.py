"""The work of ``vl4pose fit``: networks, images, training, and the files at its end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, distributed, nn

from vl4pose import __version__
from vl4pose._atomic_file import write_atomically
from vl4pose._file_identity import file_identity
from vl4pose.annotated_people import AnnotatedPeople
from vl4pose.cli.errors import RunError, Stopped, UsageError, naming_options, network_reason
from vl4pose.cli.fit_screen import FitScreen, show_report
from vl4pose.cli.validation_split import split_by_image
from vl4pose.image_transform import ImageTransform
from vl4pose.nn import AuxiliaryNet, StackedHourglass, load, save
from vl4pose.pool.decoding import UnreadableImageError, large_images_allowed
from vl4pose.scorer import load_model
from vl4pose.skeleton import Skeleton
from vl4pose.training import FitResult, FitSettings, OtherRunError, fit, processes
from vl4pose.training.annotated_images import AnnotatedImages, Failure
from vl4pose.training.calibration_plot import plot_calibration
from vl4pose.training.checkpoints import Checkpoints
from vl4pose.training.export import export_programs
from vl4pose.training.networks import frozen_output
from vl4pose.training.positions import seed_at
from vl4pose.training.reporting import Reporter, Reporters

__all__ = ["FitJob", "run_fit"]

PoseNetwork = Callable[[Tensor], Any]


@dataclass(frozen=True)
class FitJob:
    """What ``vl4pose fit`` was asked for.

    Attributes
    ----------
    people : AnnotatedPeople
    validation : AnnotatedPeople or float
        A number stands for that share of the images of ``people``.
    pose : Path, optional
        A file with a pose network; None for a new stacked hourglass of ``new_pose``.
    new_pose : dict
        Arguments of the hourglass.
    temperature : float
        Of heatmaps, for the settings beside the networks.
    fit_peaks : bool
        Take temperature and variance of the peaks that are fitted.
    cache_limit : int, optional
        Bytes; None for the rule of `vl4pose.training.fit`.
    """

    people: AnnotatedPeople
    validation: AnnotatedPeople | float
    skeleton: Skeleton
    transform: ImageTransform
    pose: Path | None
    trust: bool
    new_pose: dict[str, int]
    train_pose: bool
    settings: FitSettings
    temperature: float
    fit_peaks: bool
    out: Path
    checkpoint_seconds: float
    restart: bool
    cache: Path | None
    cache_limit: int | None
    tensorboard: Path | None
    workers: int


def run_fit(job: FitJob, device: torch.device, console: Console) -> None:
    """Train, write the networks, programs and report, and print the report.

    Parameters
    ----------
    job : FitJob
    device : torch.device
    console : rich.console.Console
        For the progress.

    Raises
    ------
    RunError, UsageError
        Where something is wrong with the networks, the images or the course of the training.
    """
    with ExitStack() as stack:
        place = stack.enter_context(_process_group(device))
        stack.enter_context(large_images_allowed())
        screen = stack.enter_context(FitScreen(console))
        files = _Files(job)
        if job.restart and processes.rank() == 0:
            files.discard_run()
        processes.wait()
        pose = _pose_network(job, place)
        train, validation, failures = _images(job, _heatmap_size(pose, job, place), screen)
        reporters: list[Reporter] = [screen]
        if job.tensorboard is not None and processes.rank() == 0:
            from vl4pose.training.tensorboard import TensorBoardReporter

            reporters.append(stack.enter_context(TensorBoardReporter(job.tensorboard)))
        result = _trained(
            lambda: fit(
                train,
                validation,
                pose,
                skeleton=job.skeleton,
                train_pose=job.train_pose,
                transform=job.transform,
                settings=job.settings,
                device=place,
                workers=job.workers,
                checkpoints=files.run,
                checkpoint_seconds=job.checkpoint_seconds,
                cache=job.cache,
                cache_limit=job.cache_limit,
                reporter=Reporters(reporters),
            ),
            files.run,
        )
        if processes.rank() > 0:
            return
        screen.note(f"Epoch {result.best_epoch} of {len(result.epochs)} is the best and is kept.")
        screen.stage("writing", 1)
        if job.fit_peaks and result.peaks is not None:
            assert isinstance(result.aux, AuxiliaryNet)
            result.aux.set_peak_variance(result.peaks.variance)
        written = files.write(result, failures, len(train), len(validation))
        files.discard_run()
    left_out = list(job.people.left_out)
    if isinstance(job.validation, AnnotatedPeople):
        left_out += job.validation.left_out
    show_report(result, failures, left_out, written, Console(), fit_peaks=job.fit_peaks)


@contextmanager
def _process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes where torchrun started this one; return its own device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def _pose_network(job: FitJob, device: torch.device) -> PoseNetwork:
    if job.pose is None:
        seed_at(job.settings.seed)
        with naming_options("num_stacks", "channels"):
            return StackedHourglass(job.skeleton.num_joints, **job.new_pose).to(device)
    with naming_options("pose"):
        if job.pose.suffix != ".safetensors":
            return load_model("pose", job.pose, job.trust, device)
        network = load(job.pose)
        if not isinstance(network, StackedHourglass):
            raise UsageError(
                f"--pose must be a pose network, got '{job.pose}' with a {type(network).__name__}"
            )
        return network.to(device)


def _heatmap_size(pose: PoseNetwork, job: FitJob, device: torch.device) -> tuple[int, int]:
    """Return (width, height) of the heatmaps, having tried the pose network on a black image."""
    width, height = job.transform.input_size
    try:
        heatmaps, _ = frozen_output(pose, torch.zeros(1, 3, height, width, device=device))
    except Exception as error:  # networks are the user's code
        raise RunError(
            f"the pose network fails on a batch of 1 x 3 x {height} x {width}: "
            f"{network_reason(error)}"
        ) from error
    num_joints = heatmaps.shape[2]
    if num_joints != job.skeleton.num_joints:
        raise UsageError(
            f"--skeleton must have as many joints as the pose network ({num_joints}), got "
            f"{job.skeleton.name!r} with {job.skeleton.num_joints}"
        )
    return heatmaps.shape[-1], heatmaps.shape[-2]


def _images(
    job: FitJob, heatmap_size: tuple[int, int], screen: FitScreen
) -> tuple[AnnotatedImages, AnnotatedImages, list[Failure]]:
    """Return whom to train on, whom to validate on, and who is of no use."""

    def opened(source: AnnotatedPeople) -> tuple[AnnotatedImages, list[Failure]]:
        screen.stage("reading images", len(source.people))
        images, failures = AnnotatedImages.open(
            source.root,
            source.people,
            job.skeleton,
            job.transform,
            heatmap_size,
            workers=job.workers,
            advance=screen.advance,
        )
        if not images.people:
            first = failures[0]
            raise RunError(
                f"nobody of {len(failures):,} can be trained or validated on; the first, "
                f"{first.person}: {first.reason}"
            )
        return images, failures

    images, failures = opened(job.people)
    if isinstance(job.validation, AnnotatedPeople):
        train = images
        validation, more_failures = opened(job.validation)
        failures += more_failures
        seen = {train.root / person.image for person in train.people}
        shared = seen & {validation.root / person.image for person in validation.people}
        if shared:
            screen.note(f"Warning: {len(shared):,} images are in both files of annotations.")
    else:
        parts = split_by_image(images.people, job.validation, job.settings.seed)
        train, validation = (images.subset(part) for part in parts)
    screen.note(f"{_people(train)} to train on, {_people(validation)} to validate on.")
    if failures:
        screen.note(f"{len(failures):,} of no use: see the end, and the report.")
    return train, validation, failures


def _people(images: AnnotatedImages) -> str:
    people = len(images.people)
    files = len({person.image for person in images.people})
    return (
        f"{people:,} {'person' if people == 1 else 'people'} in {files:,} image{'s'[: files - 1]}"
    )


def _trained(train: Callable[[], FitResult], run: Path) -> FitResult:
    """Train, and turn what goes wrong into sentences."""
    try:
        return train()
    except OtherRunError as error:
        raise UsageError(
            f"'{run}' holds an unfinished run with another {error.difference.replace('_', ' ')}: "
            "give --restart to begin anew, or the options of that run to finish it"
        ) from error
    except UnreadableImageError as error:  # that could be read at the beginning
        raise RunError(str(error)) from error
    except (RuntimeError, ValueError, TypeError) as error:
        message = network_reason(error)
        for name, full in (("train", "training"), ("validation", "validation")):
            if message.startswith(f"{name} must"):
                message = f"the {full} set{message.removeprefix(name)}"
        raise RunError(message) from error
    except Stopped as stop:
        if run.is_dir():
            stop.add_note("the same command goes on from the last checkpoint")
        raise


class _Files:
    """What is written, and where: all beside the auxiliary network."""

    def __init__(self, job: FitJob) -> None:
        self.job = job
        self.run = job.out.with_suffix(".fit")

    def discard_run(self) -> None:
        """Delete the checkpoints and the cache of a run."""
        shutil.rmtree(self.run / "features", ignore_errors=True)
        Checkpoints(self.run).remove()

    def write(
        self, result: FitResult, failures: list[Failure], num_train: int, num_validation: int
    ) -> list[str]:
        """Write networks, programs, report and plot; return their names and what they are."""
        job = self.job
        about = {
            "version": __version__,
            "skeleton": job.skeleton.to_json(),
            "input": job.transform.to_json(),
            "settings": asdict(job.settings),
            "pose": None if job.pose is None else file_identity(job.pose),
            "constant_params": result.params.tolist(),
        }
        save(result.aux.cpu(), job.out, about)
        lines = [f"{job.out}  the auxiliary network"]
        programs = export_programs(result.aux, result.features, job.out)
        lines += [f"{path}  the same for vl4pose score --aux" for path in programs]
        lines.append(self._write_settings(result, job.out))
        if job.train_pose:
            lines += self._write_pose(result, about)
        report = {
            **about,
            "people": {
                "training": num_train,
                "validation": num_validation,
                "failed": len(failures),
            },
            "failures": [
                {
                    "image": failure.person.image,
                    "person_id": failure.person.person_id,
                    "reason": failure.reason,
                }
                for failure in failures
            ],
            "epochs": [asdict(epoch) for epoch in result.epochs],
            "best_epoch": result.best_epoch,
            "calibration": result.calibration.to_json(),
            "peaks": None if result.peaks is None else result.peaks._asdict(),
        }
        report_path = job.out.with_suffix(".report.json")
        write_atomically(report_path, (json.dumps(report, indent=2) + "\n").encode())
        plot_path = job.out.with_suffix(".calibration.png")
        plot_calibration(result.calibration, plot_path)
        return [*lines, f"{report_path}  all figures", f"{plot_path}  predicted and true bones"]

    def _write_pose(self, result: FitResult, about: dict[str, Any]) -> list[str]:
        job = self.job
        path = job.out.with_name(f"{job.out.stem}-pose.safetensors")
        assert isinstance(result.pose, nn.Module)
        save(result.pose.cpu(), path, about)
        width, height = job.transform.input_size
        programs = export_programs(result.pose, torch.zeros(1, 3, height, width), path)
        return [
            f"{path}  the pose network",
            *(f"{program}  the same for vl4pose score --pose" for program in programs),
            self._write_settings(result, path),
        ]

    def _write_settings(self, result: FitResult, network: Path) -> str:
        path = network.with_suffix(".json")
        temperature = self.job.temperature
        if self.job.fit_peaks and result.peaks is not None:
            temperature = result.peaks.temperature
        settings = {**self.job.transform.to_json(), "temperature": temperature}
        write_atomically(path, (json.dumps(settings, indent=2) + "\n").encode())
        return f"{path}  input and temperature, which vl4pose score reads"
