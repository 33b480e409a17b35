"""``vl4pose score``: images through the networks and the scoring into a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from vl4pose import __version__
from vl4pose._options import check_options
from vl4pose.cli import options as opt
from vl4pose.cli.checks import (
    check_file,
    check_out,
    check_subpixel,
    check_trust,
    num_workers,
    parse_border,
    parse_device,
    read_skeleton,
)
from vl4pose.cli.errors import RunError, UsageError, naming_options, needing_extras
from vl4pose.cli.file_identity import file_identity
from vl4pose.cli.settings import input_settings, settings_file, settled
from vl4pose.cli.sources import find_people

__all__ = ["score"]


def score(
    images: opt.Images,
    pose: opt.Pose,
    skeleton: opt.SkeletonName,
    out: opt.Out,
    aux: opt.Aux = None,
    params: opt.Params = None,
    trust: opt.Trust = False,
    device: opt.Device = "cpu",
    images_dir: opt.ImagesDir = None,
    input_size: opt.InputSize = None,
    fit: opt.Fit = None,
    crop_scale: opt.CropScale = None,
    scale: opt.Scale = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    heatmap_align: opt.HeatmapAlign = None,
    temperature: opt.Temperature = None,
    method: opt.Method = "expected",
    objective: opt.Objective = "map",
    subpixel: opt.Subpixel = None,
    num_peaks: opt.NumPeaks = 5,
    min_distance: opt.MinDistance = 5,
    threshold_abs: opt.ThresholdAbs = None,
    threshold_rel: opt.ThresholdRel = None,
    exclude_border: opt.ExcludeBorder = "0",
    embeddings: opt.Embeddings = False,
    batch_size: opt.BatchSize = 32,
    num_threads: opt.NumThreads = None,
    workers: opt.Workers = None,
) -> None:
    """Check the command line, load the models, score what was found and print a summary."""
    check_out(out, ".parquet")
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
    source = find_people(images, images_dir)
    console = Console(stderr=True)
    transform = settled(transform, settings, console, has_boxes=source.has_boxes)
    with needing_extras():
        import torch

        from vl4pose.cli.run import score_source
        from vl4pose.cli.summary import show_summary
        from vl4pose.link_params import load_params
        from vl4pose.scorer import Scorer
    torch_device = parse_device(device)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    with naming_options("pose", "aux", "params", "skeleton"):
        link_params = None if params is None else load_params(params, joints)
        try:
            scorer = Scorer(
                pose,
                aux,
                joints,
                params=link_params,
                trust=trust,
                device=torch_device,
                num_threads=num_threads,
                **scoring,
            )
        except RuntimeError as error:  # of what this torch cannot do
            raise RunError(str(error)) from error
    files = {"pose": pose, "aux": aux, "params": params, "settings": settings}
    metadata = {
        "version": __version__,
        "settings": {
            "input": transform.to_json(),
            "scoring": scoring,
            "embeddings": embeddings,
            "run": {
                "batch_size": batch_size,
                "num_threads": torch.get_num_threads(),
                "device": str(torch_device),
            },
        },
        "skeleton": joints.to_json(),
        "models": {name: file_identity(file) for name, file in files.items() if file is not None},
        "link_params": None if link_params is None else link_params.tolist(),
        "source": {
            "kind": source.kind,
            "arguments": images,
            "root": str(source.root),
            "ignored": {item.what: item.number for item in source.left_out},
        },
    }
    tally, timing = score_source(
        source,
        scorer,
        transform,
        out,
        metadata,
        embed=embeddings,
        batch_size=batch_size,
        workers=num_workers(workers),
        console=console,
    )
    show_summary(tally, timing, source.left_out, str(out), Console())
    if tally.failed == tally.found:
        raise RunError("no image could be scored: the table holds their errors")
