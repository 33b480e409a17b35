"""``vl4pose fit``: annotated images to a trained auxiliary network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from vl4pose._options import default_workers
from vl4pose.annotated_people import read_annotated_people
from vl4pose.cli.checks import (
    check_file,
    check_out,
    check_trust,
    parse_device,
    read_skeleton,
)
from vl4pose.cli.errors import UsageError, naming_options, needing_extras
from vl4pose.cli.options import fit as opt
from vl4pose.cli.options import shared
from vl4pose.cli.settings import input_settings, settings_file, settled
from vl4pose.lsp_annotations import FLAGS
from vl4pose.skeleton import nearest

__all__ = ["fit"]


def fit(
    annotations: opt.Annotations,
    skeleton: shared.SkeletonName,
    out: opt.Out,
    images_dir: opt.ImagesDir = None,
    val: opt.Validation = "0.1",
    val_images: opt.ValidationImagesDir = None,
    limit: opt.Limit = None,
    mat_flag: opt.MatFlag = None,
    pose: opt.Pose = None,
    trust: shared.Trust = False,
    train_pose: opt.TrainPose = False,
    num_stacks: opt.NumStacks = None,
    channels: opt.Channels = None,
    device: shared.Device = "cpu",
    input_size: shared.InputSize = None,
    fit: shared.Fit = None,
    crop_scale: shared.CropScale = None,
    scale: shared.Scale = None,
    mean: shared.Mean = None,
    std: shared.Std = None,
    heatmap_align: shared.HeatmapAlign = None,
    epochs: opt.Epochs = 30,
    batch_size: opt.BatchSize = 32,
    learning_rate: opt.LearningRate = 1e-3,
    pose_learning_rate: opt.PoseLearningRate = 1e-3,
    weight_decay: opt.WeightDecay = 0.05,
    patience: opt.Patience = 10,
    augment: opt.Augment = True,
    views: opt.Views = 4,
    num_peaks: shared.NumPeaks = 5,
    min_distance: shared.MinDistance = 5,
    fit_peaks: opt.FitPeaks = False,
    seed: opt.Seed = 0,
    amp: opt.Amp = False,
    checkpoint_seconds: opt.CheckpointSeconds = 20.0,
    restart: opt.Restart = False,
    cache: opt.Cache = None,
    cache_limit: opt.CacheLimit = None,
    tensorboard: opt.TensorBoard = None,
    num_threads: shared.NumThreads = None,
    workers: shared.Workers = None,
) -> None:
    """Check the command line, read the annotations, train, and print a report."""
    _check_out(out, pose)
    _check_pose(pose, trust=trust, train_pose=train_pose)
    new_pose = {"num_stacks": num_stacks, "channels": channels}
    for name, value in new_pose.items():
        if value is not None and (pose is not None or not train_pose):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} goes with --train-pose without --pose, got {value}")
    if mat_flag is not None and mat_flag not in FLAGS:
        raise UsageError(f"--mat-flag must be {nearest(mat_flag, FLAGS)}, got {mat_flag!r}")
    share = _share_of(val)
    settings_path = None if pose is None else settings_file(pose)
    transform, temperature = input_settings(
        {
            "input_size": input_size,
            "mean": mean,
            "std": std,
            "scale": scale,
            "fit": fit,
            "crop_scale": crop_scale,
            "heatmap_align": heatmap_align,
        },
        settings_path,
    )
    joints = read_skeleton(skeleton)
    with needing_extras(), naming_options():
        people = read_annotated_people(
            "ANNOTATIONS", annotations, images_dir, joints, mat_flag=mat_flag, limit=limit
        )
        validation = share or read_annotated_people(
            "--val", Path(val), val_images or images_dir, joints, mat_flag=mat_flag
        )
    with needing_extras():
        import torch

        from vl4pose.cli.fit_run import FitJob, run_fit
        from vl4pose.training.fit_settings import FitSettings

        if tensorboard is not None:
            import vl4pose.training.tensorboard  # noqa: F401
    training: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "pose_learning_rate": pose_learning_rate,
        "weight_decay": weight_decay,
        "patience": patience,
        "seed": seed,
        "amp": amp,
        "augment": augment,
        "views": views,
        "num_peaks": num_peaks,
        "min_distance": min_distance,
    }
    with naming_options(*training):
        settings = FitSettings(**training)
    torch_device = parse_device(device)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    transform = settled(transform, settings_path, console, has_boxes=people.has_boxes)
    job = FitJob(
        people=people,
        validation=validation,
        skeleton=joints,
        transform=transform,
        pose=pose,
        trust=trust,
        new_pose={name: value for name, value in new_pose.items() if value is not None},
        train_pose=train_pose,
        settings=settings,
        temperature=temperature,
        fit_peaks=fit_peaks,
        out=out,
        checkpoint_seconds=checkpoint_seconds,
        restart=restart,
        cache=cache,
        cache_limit=None if cache_limit is None else round(cache_limit * 1e9),
        tensorboard=tensorboard,
        workers=workers or default_workers(),
    )
    run_fit(job, torch_device, console)


def _check_out(out: Path, pose: Path | None) -> None:
    check_out(out, ".safetensors")
    if pose is not None and pose.resolve().with_suffix("") == out.resolve().with_suffix(""):
        raise UsageError(f"--out must have another name than --pose, got '{out}' and '{pose}'")


def _check_pose(pose: Path | None, *, trust: bool, train_pose: bool) -> None:
    if pose is None:
        if not train_pose:
            raise UsageError("--pose must be given, unless --train-pose makes a pose network")
        return
    check_file("--pose", pose)
    if pose.suffix == ".safetensors":
        return
    if train_pose:
        raise UsageError(
            "--pose must be a .safetensors of vl4pose.nn.save to be trained on, or left out for a "
            f"new network, got '{pose}'"
        )
    check_trust(trust)


def _share_of(val: str) -> float | None:
    """Return the share of images that --val gives, or None for a file."""
    try:
        share = float(val)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise UsageError(f"--val must be between 0 and 1, or a file, got {val}")
    return share
