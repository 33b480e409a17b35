"""The training and the test set of a simulation."""

from __future__ import annotations

import torch

from vl4pose._options import default_workers
from vl4pose.annotated_people import read_annotated_people
from vl4pose.pool.decoding import UnreadableImageError, large_images_allowed
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.entry_points import entry_point
from vl4pose.simulation.labelled_images import LabelledImages
from vl4pose.simulation.pace import SimulationError
from vl4pose.training.annotated_images import AnnotatedImages
from vl4pose.training.dataset import PoseDataset
from vl4pose.training.reporting import Reporter

__all__ = ["load_datasets"]


def load_datasets(
    config: SimulationConfig,
    heatmap_size: tuple[int, int],
    device: torch.device,
    reporter: Reporter | None = None,
) -> tuple[LabelledImages, LabelledImages]:
    """Read the training and the test set into memory.

    Parameters
    ----------
    config : SimulationConfig
    heatmap_size : (int, int)
        (width, height) of the network's heatmaps.
    device : torch.device
        Where images and annotations are kept.
    reporter : Reporter, optional

    Raises
    ------
    ValueError
        ``data.train must ...`` and the like.
    SimulationError
        If an image cannot be read.
    """
    reporter = reporter or Reporter()
    with large_images_allowed():
        train, test = (
            _read(config, name, heatmap_size, device, reporter) for name in ("train", "test")
        )
    last = config.simulation.cycles - 1
    if config.num_labels(last) > len(train):
        raise ValueError(
            f"simulation.start + {last} x budget must be at most the training set's {len(train)} "
            f"images, got {config.num_labels(last)}"
        )
    return train, test


def _read(
    config: SimulationConfig,
    name: str,
    heatmap_size: tuple[int, int],
    device: torch.device,
    reporter: Reporter,
) -> LabelledImages:
    code = getattr(config.data, name)
    argument = f"data.{name}"
    if code is not None:
        function = entry_point(code, argument, config.folder)
        options = getattr(config.data, f"{name}_options")
        try:
            dataset: PoseDataset = function(**options)
        except Exception as error:  # it is the user's code
            raise ValueError(
                f"{argument} must return a dataset, got {type(error).__name__}: {error}"
            ) from error
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise ValueError(f"{argument} must return a dataset, got {type(dataset).__name__}")
    else:
        argument = "data.annotations" if name == "train" else "data.test_annotations"
        dataset = _annotated(config, argument, heatmap_size, reporter)
    reporter.stage(f"reading the {'training' if name == 'train' else 'test'} set", len(dataset))
    try:
        return LabelledImages.read(
            dataset,
            argument,
            config.skeleton.num_joints,
            config.transform,
            device,
            workers=default_workers() if code is None else 0,
            advance=reporter.advance,
        )
    except UnreadableImageError as error:
        raise SimulationError(str(error)) from error


def _annotated(
    config: SimulationConfig, argument: str, heatmap_size: tuple[int, int], reporter: Reporter
) -> AnnotatedImages:
    data, is_test = config.data, argument == "data.test_annotations"
    file = data.test_annotations if is_test else data.annotations
    assert file is not None
    images = (data.test_images or data.images) if is_test else data.images
    people = read_annotated_people(
        argument,
        config.path(file),
        None if images is None else config.path(images),
        config.skeleton,
        images_argument=f"data.{'test_images' if is_test and data.test_images else 'images'}",
        mat_flag=data.mat_flag,
    )
    if config.transform.fit == "crop" and not people.has_boxes:
        raise ValueError(f"data.fit must be letterbox where {argument} has no boxes, got 'crop'")
    reporter.stage("reading annotated images", len(people.people))
    dataset, failures = AnnotatedImages.open(
        people.root,
        people.people,
        config.skeleton,
        config.transform,
        heatmap_size,
        workers=default_workers(),
        advance=reporter.advance,
    )
    if not dataset.people:
        raise SimulationError(
            f"nobody of {len(failures):,} can be used; the first, {failures[0].person}: "
            f"{failures[0].reason}"
        )
    for left_out in people.left_out:
        reporter.note(f"{argument}: left out {left_out}.")
    if failures:
        reporter.note(
            f"{argument}: {len(failures):,} of no use; the first, {failures[0].person}: "
            f"{failures[0].reason}."
        )
    return dataset
