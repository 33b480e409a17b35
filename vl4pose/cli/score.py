"""``vl4pose score``: images through the networks and the scoring into a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from vl4pose._options import check_options, default_workers
from vl4pose.cli.checks import (
    check_file,
    check_subpixel,
    check_table_out,
    check_trust,
    parse_actors,
    parse_border,
    parse_device,
    read_skeleton,
)
from vl4pose.cli.errors import RunError, UsageError, naming_options, needing_extras, printable
from vl4pose.cli.options import score as opt
from vl4pose.cli.options import shared
from vl4pose.cli.settings import input_settings, settings_file, settled
from vl4pose.skeleton import nearest

__all__ = ["score"]

ENGINES = ("local", "ray")


def score(
    images: opt.Images,
    pose: opt.Pose,
    skeleton: shared.SkeletonName,
    out: opt.Out,
    aux: opt.Aux = None,
    params: opt.Params = None,
    trust: shared.Trust = False,
    device: shared.Device = "cpu",
    images_dir: opt.ImagesDir = None,
    input_size: shared.InputSize = None,
    fit: shared.Fit = None,
    crop_scale: shared.CropScale = None,
    scale: shared.Scale = None,
    mean: shared.Mean = None,
    std: shared.Std = None,
    heatmap_align: shared.HeatmapAlign = None,
    temperature: opt.Temperature = None,
    method: opt.Method = "expected",
    objective: opt.Objective = "map",
    subpixel: opt.Subpixel = None,
    num_peaks: shared.NumPeaks = 5,
    min_distance: shared.MinDistance = 5,
    threshold_abs: opt.ThresholdAbs = None,
    threshold_rel: opt.ThresholdRel = None,
    exclude_border: opt.ExcludeBorder = "0",
    embeddings: opt.Embeddings = False,
    batch_size: opt.BatchSize = 32,
    num_threads: shared.NumThreads = None,
    workers: shared.Workers = None,
    resume: opt.Resume = False,
    shard_rows: opt.ShardRows = 1024,
    engine: opt.Engine = "local",
    ray_address: opt.RayAddress = None,
    ray_actors: opt.RayActors = None,
    ray_gpus: opt.RayGpus = None,
) -> None:
    """Check the command line, load the models, score what was found and print a summary."""
    check_table_out(out)
    if engine not in ENGINES:
        raise UsageError(f"--engine must be {nearest(engine, ENGINES)}, got {engine!r}")
    of_ray = {"address": ray_address, "actors": ray_actors, "gpus": ray_gpus}
    for name, value in of_ray.items():
        if value is not None and engine != "ray":
            raise UsageError(f"--ray-{name} goes with --engine ray, got --engine {engine}")
    actors = (1, None) if ray_actors is None else parse_actors(ray_actors)
    for option, file in (("--pose", pose), ("--aux", aux), ("--params", params)):
        if file is not None:
            check_file(option, file)
    if (aux is None) == (params is None):
        got = "neither" if aux is None else "both"
        raise UsageError(f"either --aux or --params must be given, got {got}")
    check_trust(trust)
    check_subpixel(subpixel)
    settings = settings_file(pose, aux, params)
    transform, softmax_temperature = input_settings(
        {
            "input_size": input_size,
            "mean": mean,
            "std": std,
            "scale": scale,
            "fit": fit,
            "crop_scale": crop_scale,
            "heatmap_align": heatmap_align,
            "temperature": temperature,
        },
        settings,
    )
    scoring: dict[str, Any] = {
        "method": method,
        "objective": objective,
        "subpixel": subpixel,
        "num_peaks": num_peaks,
        "min_distance": min_distance,
        "threshold_abs": threshold_abs,
        "threshold_rel": threshold_rel,
        "exclude_border": parse_border(exclude_border),
        "temperature": softmax_temperature,
    }
    with naming_options(*scoring):
        check_options(**scoring)
    joints = read_skeleton(skeleton)
    with needing_extras(), _naming_sources():
        from vl4pose.pool.sources import find_people

        source = find_people(images, images_dir)
    console = Console(stderr=True)
    transform = settled(transform, settings, console, has_boxes=source.has_boxes)
    with needing_extras():
        import torch  # noqa: F401

        from vl4pose.cli.summary import progress, show_summary
        from vl4pose.pool.ray_options import RayOptions
        from vl4pose.pool.run import score_pool
        from vl4pose.pool.settings import PoolSettings
    torch_device = parse_device(device, is_here=engine == "local")

    def tell(sentence: str) -> None:
        console.print(Text(printable(sentence)), soft_wrap=True)

    with _naming_arguments(), needing_extras(), _naming_ray():
        result = score_pool(
            source,
            out,
            PoolSettings(
                pose,
                aux,
                params,
                skeleton=joints,
                transform=transform,
                scoring=scoring,
                embeddings=embeddings,
                batch_size=batch_size,
                shard_rows=shard_rows,
                num_threads=num_threads,
                device=str(torch_device),
                settings_file=settings,
            ),
            trust=trust,
            resume=resume,
            engine=engine,
            ray=RayOptions(ray_address, actors, ray_gpus),
            workers=workers or default_workers(),
            progress=lambda tally: progress(tally, console),
            tell=tell,
        )
    show_summary(result, source.left_out, out, Console())
    if result.tally.failed == result.tally.found:
        raise RunError("no image could be scored: the table holds their errors")


@contextmanager
def _naming_sources() -> Iterator[None]:
    """Turn an error about an argument of `find_people` into one about the command line."""
    try:
        yield
    except ValueError as error:
        message = str(error).replace("images_dir", "--images")
        if message.startswith("images "):
            message = f"IMAGES{message.removeprefix('images')}"
        raise UsageError(message) from error


@contextmanager
def _naming_ray() -> Iterator[None]:
    """Turn an error about an argument of `RayOptions` into one about the command line."""
    try:
        yield
    except ValueError as error:
        name = str(error).partition(" ")[0]
        options = {name: f"--ray-{name}" for name in ("address", "actors", "gpus")}
        options["device"] = "--device"
        if name not in options:
            raise
        raise UsageError(f"{options[name]}{str(error).removeprefix(name)}") from error


@contextmanager
def _naming_arguments() -> Iterator[None]:
    """Turn an error of `score_pool` into one about the command line."""
    from vl4pose.pool.outputs import MismatchError

    try:
        with naming_options("pose", "aux", "params", "skeleton", "out", "resume"):
            try:
                yield
            except MismatchError as error:
                raise UsageError(f"--out must {error.sentence(_option)}") from error
            except ValueError as error:
                if "resume=True" not in str(error) and not str(error).startswith("images "):
                    raise
                message = str(error).replace("resume=True", "--resume is given")
                message = message.replace("images ", "IMAGES ", 1)
                raise ValueError(message) from error
    except RuntimeError as error:  # PoolError, and of what this torch cannot do
        failure = RunError(str(error))
        for note in getattr(error, "__notes__", ()):
            failure.add_note(note)
        raise failure from error


def _option(name: str) -> str:
    """Return what the command line calls a parameter of `PoolSettings`."""
    return f"--{name.replace('_', '-')}" if name.isidentifier() and name != "version" else name
