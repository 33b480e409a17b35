"""The tables of a simulation's configuration: every key, its default and its documentation."""

# ruff: noqa: RUF009  # _option is a field of a dataclass, with its documentation

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from vl4pose.active.strategies import STRATEGIES
from vl4pose.image_transform import ImageTransform

__all__ = [
    "TABLES",
    "DataOptions",
    "EvaluationOptions",
    "HeadsOptions",
    "NetworkOptions",
    "ReportOptions",
    "RunOptions",
    "ScoringOptions",
    "SimulationOptions",
    "TrainingOptions",
]

_EPOCHS = 30.0


def _option(
    doc: str, default: Any = None, *, given: str = "", example: str = "", key: str = ""
) -> Any:
    """Make a field of a table: its documentation, and the value that the example gives or shows."""
    metadata = {"doc": doc, "given": given, "example": example, "key": key}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class DataOptions:
    """The table [data]: a training set with all its labels, to be revealed, and a test set.

    As for all tables, `vl4pose.simulation.config.example_config` says what each key means.
    """

    skeleton: str = _option(
        "A preset (lsp, mpii, coco, hand, icvl), or the .json file of a skeleton.",
        "",
        given='"lsp"',
    )
    annotations: str | None = _option(
        "The training set's people, as vl4pose fit takes them: COCO keypoints .json, .csv or .mat.",
        example='"train.json"',
    )
    images: str | None = _option(
        "The folder of their images. [default: beside the annotations]", example='"photos"'
    )
    test_annotations: str | None = _option(
        "The people on whom every network is measured.", example='"test.json"'
    )
    test_images: str | None = _option(
        "The folder of their images. [default: that of the others]", example='"photos"'
    )
    mat_flag: str | None = _option(
        "What a flag of 1 says in a .mat: occluded or annotated. [default: by its form]",
        example='"occluded"',
    )
    train: str | None = _option(
        'Instead of annotations, Python code: "package.module:function", found beside this file '
        "too, which returns a vl4pose.training.PoseDataset. Its images are network input, as the "
        "keys from input_size on say, or uint8; keypoints are in heatmap pixels.",
        given='"vl4pose.demo.drawn_people:drawn_people"',
    )
    test: str | None = _option(
        "The same for the test set.", given='"vl4pose.demo.drawn_people:drawn_people"'
    )
    train_options: dict[str, Any] = _option(
        "What the function of train is called with.", {}, given="{ number = 300, seed = 0 }"
    )
    test_options: dict[str, Any] = _option(
        "What the function of test is called with.", {}, given="{ number = 100, seed = 1 }"
    )
    input_size: Any = _option(
        "Width and height of the network's input, in pixels; one number for both.",
        256,
        given="128",
    )
    fit: str = _option("How an image becomes input: letterbox, or crop around boxes.", "letterbox")
    crop_scale: float = _option("Of crop: the side of the crop over that of the box.", 1.75)
    scale: float = _option("What 8-bit values are divided by.", 256.0, given="255")
    mean: Any = _option("Subtracted from that: one number, or three for R, G, B.", 0.0)
    std: Any = _option("What the difference is divided by.", 1.0)
    heatmap_align: str = _option(
        "Which points of heatmaps and input coincide: corners or centers.", "corners"
    )

    def transform(self) -> ImageTransform:
        """Return how images become network input."""
        size = self.input_size
        return ImageTransform(
            (size, size) if isinstance(size, int) else tuple(size),
            mean=self.mean,
            std=self.std,
            scale=self.scale,
            fit=self.fit,  # type: ignore[arg-type]  # checked by it
            crop_scale=self.crop_scale,
            heatmap_align=self.heatmap_align,  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class SimulationOptions:
    """The table [simulation]: what is compared."""

    start: int = _option(
        "Labelled images at the beginning, drawn anew for each seed.", 0, given="50"
    )
    budget: int = _option("Images that are labelled after each cycle but the last.", 0, given="50")
    cycles: int = _option(
        "Networks that are trained one after another: the first on the start set, each further "
        "one on a budget more.",
        0,
        given="2",
    )
    seeds: Any = _option(
        "How many times all of it is repeated, or the seeds themselves, [0, 1, 2]. Start set and "
        "training are those of the seed for every strategy, so that differences are paired.",
        5,
        given="2",
    )
    strategies: list[Any] = _option(
        "Names, or tables of a name, a label (which tables and folders show) and the strategy's "
        "own options: " + ", ".join(STRATEGIES) + ". help(vl4pose.active) says what each is.",
        [],
        given='[\n  "random",\n  "confidence",\n  "vl4pose",\n'
        '  { name = "vl4pose", method = "max", label = "vl4pose-max" },\n]',
    )

    @property
    def seed_list(self) -> list[int]:
        """Every seed."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)


@dataclass(frozen=True)
class EvaluationOptions:
    """The table [evaluation]: how good a network is."""

    metrics: list[str] = _option(
        "The first is that of the tables: PCK@0.2, PCKh@0.5, AUC@0.5, PCP@0.5, with any numbers, "
        "MPJPE, PA-MPJPE (in heatmap pixels).",
        ["PCK@0.2", "PCK@0.5"],
    )
    normalize_by: str = _option(
        "What PCK and AUC measure distances by: torso, head or box.", "torso"
    )
    flip: bool = _option("Average with the heatmaps of the mirrored images.", False)
    flip_shift: int = _option("As for vl4pose.metrics.average_flipped.", 0)
    subpixel: str | None = _option(
        "The sub-pixel step: quarter, centroid or dark. [default: none]", example='"quarter"'
    )


@dataclass(frozen=True)
class NetworkOptions:
    """The table [network]: what is trained."""

    factory: str = _option(
        '"package.module:factory", found beside this file too. Called with the number of joints '
        "and the options; returns an nn.Module that returns heatmaps (B, J, H, W), or of S stacks "
        "(B, S, J, H, W), or a tuple of these and features, a sequence of (B, C, H, W).",
        "vl4pose.nn:StackedHourglass",
    )
    options: dict[str, Any] = _option(
        "What the factory is called with.", {}, given="{ num_stacks = 1, channels = 32 }"
    )
    weights: str | None = _option(
        "A file of weights to begin with in place of random ones: .safetensors, or a state dict "
        "of torch. [default: none]",
        example='"pose.safetensors"',
    )


@dataclass(frozen=True)
class TrainingOptions:
    """The tables [training] and [heads]: how a network is trained in each cycle."""

    begin: str = _option(
        "Every cycle begins with new weights (scratch), or with those of the cycle before "
        "(fine-tune).",
        "scratch",
        key="from",
    )
    epochs: float | None = _option(
        "How often each labelled image is seen in a cycle. [default: 30, without steps]",
        example="30",
    )
    steps: int | None = _option(
        "Instead: batches in a cycle, the same number however many labels there are.",
        given="60",
    )
    batch_size: int = _option("Images in a batch.", 32, given="16")
    learning_rate: float = _option(
        "The highest of AdamW; it rises to it, and falls to zero along half a cosine.",
        1e-3,
        given="3e-3",
    )
    weight_decay: float = _option("Of AdamW; biases and normalisations do not decay.", 0.05)
    warmup: float = _option("Share of the steps in which the learning rate rises.", 0.05)
    sigma: float = _option(
        "Of the Gaussians that heatmaps are trained on, in heatmap pixels.", 1.75, given="1.0"
    )
    augment: bool = _option("Flip, rotate and scale the images at random.", True)
    degrees: float = _option("Of augment: the largest rotation, to either side.", 30.0)
    scale: list[float] = _option("Of augment: the smallest and the largest scale.", [0.75, 1.25])
    amp: bool = _option("Run networks in bfloat16 (float16 on GPUs without it).", False)
    compile: bool = _option("Compile the training of the pose network by torch.compile.", False)

    def num_steps(self, num_labels: int) -> int:
        """Return how many batches are trained on so many labelled images."""
        if self.steps is not None:
            return self.steps
        epochs = _EPOCHS if self.epochs is None else self.epochs
        return max(1, math.ceil(epochs * num_labels / self.batch_size))


@dataclass(frozen=True)
class HeadsOptions:
    """The table [heads]: how the small networks of some strategies are trained in each cycle.

    On the features of the trained pose network, which they do not change: so strategies differ by
    the labels that they choose and by nothing else.
    """

    epochs: float | None = _option(
        "As in [training]. [default: those of [training], without steps]", example="30"
    )
    steps: int | None = _option("As in [training].", given="30")
    batch_size: int = _option("As in [training].", 32, given="16")
    learning_rate: float = _option("As in [training].", 1e-3)
    weight_decay: float = _option("As in [training].", 0.05)
    warmup: float = _option("As in [training].", 0.05)

    def num_steps(self, num_labels: int, training: TrainingOptions) -> int:
        """Return how many batches a head is trained on, of so many labelled images."""
        if self.steps is not None:
            return self.steps
        if self.epochs is None and training.steps is not None:
            return training.steps
        epochs = next(
            number for number in (self.epochs, training.epochs, _EPOCHS) if number is not None
        )
        return max(1, math.ceil(epochs * num_labels / self.batch_size))


@dataclass(frozen=True)
class ScoringOptions:
    """The table [scoring]: what strategies are told of the pool."""

    batch_size: int = _option("Images that a network is run on at once; the test set's too.", 64)
    num_peaks: int = _option("Peaks kept per joint.", 5)
    min_distance: int = _option("Least distance between peaks, in heatmap pixels.", 5)
    temperature: float = _option("Of the softmax over peaks.", 1.0)


@dataclass(frozen=True)
class ReportOptions:
    """The table [report]: what tables and figures say. It may be changed at any time."""

    baseline: str | None = _option(
        "The label of the strategy that the others are compared with. [default: random, or the "
        "first]",
        example='"random"',
    )
    level: float = _option("Confidence of the intervals.", 0.95)


@dataclass(frozen=True)
class RunOptions:
    """The table [run]: where and how it runs. Another one changes no result but its last bits."""

    device: str = _option(
        "cpu, cuda or cuda:N; of several processes each takes a GPU of its own.", "cpu"
    )
    threads: int | None = _option("Threads of each process. [default: torch's number]", example="2")
    processes: int = _option("Processes on this machine, which share the runs.", 1)
    order: str = _option(
        "What is finished first: all strategies of a seed, or all seeds of a strategy.", "seed"
    )
    checkpoint_seconds: float = _option("Between two checkpoints.", 20.0)


TABLES: dict[str, type] = {
    "data": DataOptions,
    "simulation": SimulationOptions,
    "evaluation": EvaluationOptions,
    "network": NetworkOptions,
    "training": TrainingOptions,
    "heads": HeadsOptions,
    "scoring": ScoringOptions,
    "report": ReportOptions,
    "run": RunOptions,
}
