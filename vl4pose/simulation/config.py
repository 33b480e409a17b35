"""The configuration of a simulation: a TOML file, its tables and keys, checked."""

# ruff: noqa: RUF009  # _option is a field of a dataclass, with its documentation

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vl4pose._options import SUBPIXELS, checked_temperature, choice, flag, integer
from vl4pose.active.strategies import Strategy, make_strategy
from vl4pose.image_transform import ImageTransform
from vl4pose.lsp_annotations import FLAGS
from vl4pose.metrics.evaluation import named_metric
from vl4pose.metrics.reference_lengths import NORMALIZATIONS
from vl4pose.skeleton import Skeleton, get_skeleton, nearest, shown

__all__ = [
    "ChosenStrategy",
    "DataOptions",
    "EvaluationOptions",
    "NetworkOptions",
    "ReportOptions",
    "RunOptions",
    "ScoringOptions",
    "SimulationConfig",
    "SimulationOptions",
    "TrainingOptions",
    "example_config",
    "read_config",
]

_ENTRY_POINT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_=-]{0,99}")
_ORDERS = ("seed", "strategy")
_BEGINNINGS = ("scratch", "fine-tune")


def _option(doc: str, default: Any = None, *, example: str | None = None, key: str = "") -> Any:
    """Make a field of a table: its documentation, and what the example shows of it."""
    metadata = {"doc": doc, "example": example, "key": key}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ChosenStrategy:
    """A strategy of a simulation.

    Attributes
    ----------
    label : str
        What records, tables and folders call it.
    title : str
        What figures call it.
    name : str
        As for `vl4pose.active.strategies.make_strategy`.
    options : dict
        What its class is made with.
    """

    label: str
    title: str
    name: str
    options: dict[str, Any]

    def make(self) -> Strategy:
        """Return the strategy."""
        return make_strategy(self.name, **self.options)


@dataclass(frozen=True)
class DataOptions:
    """The table [data]: a training set with all its labels, to be revealed, and a test set.

    The example that `example_config` returns documents every key.
    """

    skeleton: str = _option(
        "A preset (lsp, mpii, coco, hand, icvl), or the .json file of a skeleton.",
        "",
        example='"lsp"',
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
    test_images: str | None = _option("The folder of their images. [default: that of the others]")
    mat_flag: str | None = _option(
        "What a flag of 1 says in a .mat: occluded or annotated. [default: by its form]"
    )
    train: str | None = _option(
        'Instead of annotations, Python code: "package.module:function", found beside this file '
        "too, which returns a vl4pose.training.PoseDataset. Its images are network input, as the "
        "keys from input_size on say, or uint8; keypoints are in heatmap pixels."
    )
    test: str | None = _option("The same for the test set.")
    train_options: dict[str, Any] = _option("What the function of train is called with.", {})
    test_options: dict[str, Any] = _option("What the function of test is called with.", {})
    input_size: Any = _option(
        "Width and height of the network's input, in pixels; one number for both.",
        256,
        example="128",
    )
    fit: str = _option("How an image becomes input: letterbox, or crop around boxes.", "letterbox")
    crop_scale: float = _option("Of crop: the side of the crop over that of the box.", 1.75)
    scale: float = _option("What 8-bit values are divided by.", 256.0)
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
        "Labelled images at the beginning, drawn anew for each seed.", 0, example="500"
    )
    budget: int = _option(
        "Images that are labelled after each cycle but the last.", 0, example="250"
    )
    cycles: int = _option(
        "Networks that are trained one after another: the first on the start set, each further "
        "one on a budget more.",
        0,
        example="5",
    )
    seeds: Any = _option(
        "How many times all of it is repeated, or the seeds themselves, [0, 1, 2]. Start set and "
        "training are those of the seed for every strategy, so that differences are paired.",
        5,
    )
    strategies: list[Any] = _option(
        "Names, or tables of a name, a label (which tables and folders show) and the strategy's "
        "own options. See vl4pose.active for all of them. The difference to random is shown where "
        "random is among them.",
        [],
        example='[\n  "random",\n  "confidence",\n  "multi-peak-entropy",\n  "core-set",\n'
        '  "vl4pose",\n  { name = "vl4pose", method = "max", label = "vl4pose-max" },\n]',
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
    subpixel: str | None = _option("The sub-pixel step: quarter, centroid or dark. [default: none]")


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
        "What the factory is called with.", {}, example="{ num_stacks = 1, channels = 64 }"
    )
    weights: str | None = _option(
        "A file of weights to begin with in place of random ones: .safetensors, or a state dict "
        "of torch."
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
        "Instead: batches in a cycle, the same number however many labels there are."
    )
    batch_size: int = _option("Images in a batch.", 32)
    learning_rate: float = _option(
        "The highest of AdamW; it rises to it, and falls to zero along half a cosine.", 1e-3
    )
    weight_decay: float = _option("Of AdamW; biases and normalisations do not decay.", 0.05)
    warmup: float = _option("Share of the steps in which the learning rate rises.", 0.05)
    sigma: float = _option(
        "Of the Gaussians that heatmaps are trained on, in heatmap pixels.", 1.75
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
        epochs = 30.0 if self.epochs is None else self.epochs
        return max(1, math.ceil(epochs * num_labels / self.batch_size))


@dataclass(frozen=True)
class HeadsOptions:
    """The table [heads]: how the small networks of some strategies are trained in each cycle.

    On the features of the trained pose network, which they do not change: so strategies differ by
    the labels that they choose and by nothing else.
    """

    epochs: float | None = _option("As in [training]. [default: those of [training]]")
    steps: int | None = _option("As in [training].")
    batch_size: int = _option("Images in a batch.", 32)
    learning_rate: float = _option("As in [training].", 1e-3)
    weight_decay: float = _option("As in [training].", 0.05)
    warmup: float = _option("As in [training].", 0.05)

    def num_steps(self, num_labels: int, training: TrainingOptions) -> int:
        """Return how many batches a head is trained on, of so many labelled images."""
        if self.steps is not None:
            return self.steps
        if self.epochs is None and training.steps is not None:
            return training.steps
        epochs = (
            (30.0 if training.epochs is None else training.epochs)
            if self.epochs is None
            else self.epochs
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
        "first]"
    )
    level: float = _option("Confidence of the intervals.", 0.95)


@dataclass(frozen=True)
class RunOptions:
    """The table [run]: where and how it runs. Another one changes no result but its last bits."""

    device: str = _option(
        "cpu, cuda or cuda:N; of several processes each takes a GPU of its own.", "cpu"
    )
    threads: int | None = _option("Threads of each process. [default: torch's number]")
    processes: int = _option("Processes on this machine, which share the runs.", 1)
    order: str = _option(
        "What is finished first: all strategies of a seed, or all seeds of a strategy.", "seed"
    )
    checkpoint_seconds: float = _option("Between two checkpoints.", 20.0)


@dataclass(frozen=True)
class SimulationConfig:
    """A whole configuration.

    Attributes
    ----------
    folder : Path
        Of the file: what paths in it are relative to, and where its Python code is looked for.
    data, simulation, evaluation, network, training, heads, scoring, report, run
        The tables.
    strategies : list of ChosenStrategy
        In the order of the file.
    skeleton : Skeleton
    transform : ImageTransform
    """

    folder: Path
    data: DataOptions
    simulation: SimulationOptions
    evaluation: EvaluationOptions
    network: NetworkOptions
    training: TrainingOptions
    heads: HeadsOptions
    scoring: ScoringOptions
    report: ReportOptions
    run: RunOptions
    strategies: list[ChosenStrategy]
    skeleton: Skeleton
    transform: ImageTransform

    @property
    def baseline(self) -> str:
        """The label of the strategy that the others are compared with."""
        labels = [chosen.label for chosen in self.strategies]
        if self.report.baseline is not None:
            return self.report.baseline
        return "random" if "random" in labels else labels[0]

    def num_labels(self, cycle: int) -> int:
        """Return how many labels the network of a cycle is trained on."""
        return self.simulation.start + cycle * self.simulation.budget

    def path(self, name: str) -> Path:
        """Return a path of the file."""
        return self.folder / Path(name).expanduser()

    def to_json(self) -> dict[str, Any]:
        """Return all that decides the results, but the data themselves."""
        tables = {}
        for name in _TABLES:
            if name not in _ASIDE:
                table = getattr(self, name)
                tables[name] = {_key(entry): getattr(table, entry.name) for entry in fields(table)}
        tables["simulation"]["seeds"] = self.simulation.seed_list
        tables["simulation"]["strategies"] = {
            chosen.label: {"name": chosen.name, **chosen.options} for chosen in self.strategies
        }
        tables["data"]["skeleton"] = self.skeleton.to_json()
        return tables


_TABLES: dict[str, type] = {
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


_ASIDE = ("report", "run")  # what no result depends on


def read_config(path: Path) -> SimulationConfig:
    """Read a configuration.

    Parameters
    ----------
    path : Path
        Of a TOML file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        ``must be TOML: ...``; or a sentence about a key, ``simulation.budget must be at least 1,
        got 0``.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"must be TOML: {error}") from error
    return parse_config(content, path.resolve().parent)


def parse_config(content: Mapping[str, Any], folder: Path) -> SimulationConfig:
    """Return the configuration of a TOML file's content; raises as `read_config` does."""
    for name in content:
        if name not in _TABLES:
            raise ValueError(f"tables must be {nearest(name, _TABLES)}, got {name!r}")
    tables = {name: _table(name, kind, content.get(name, {})) for name, kind in _TABLES.items()}
    data, simulation = tables["data"], tables["simulation"]
    skeleton = _skeleton(data.skeleton, folder)
    _check_data(data)
    evaluation = tables["evaluation"]
    if not evaluation.metrics:
        raise ValueError("evaluation.metrics must hold at least one name, got none")
    for name in evaluation.metrics:
        with _naming("evaluation"):
            named_metric(name)
    config = SimulationConfig(
        folder=folder,
        **tables,
        strategies=_strategies(simulation.strategies),
        skeleton=skeleton,
        transform=_transform(data),
    )
    labels = [chosen.label for chosen in config.strategies]
    if config.baseline not in labels:
        raise ValueError(
            f"report.baseline must be {nearest(config.baseline, labels)}, got {config.baseline!r}"
        )
    _check_epochs("training", config.training)
    _check_epochs("heads", config.heads)
    return config


def example_config() -> str:
    """Return a configuration with every key, its documentation and its default."""
    lines = [
        "# A simulation for `vl4pose simulate`. Keys that are commented out have the value shown,",
        "# or none. Paths are relative to this file.",
    ]
    for name, kind in _TABLES.items():
        lines += ["", f"[{name}]"]
        for entry in fields(kind):
            lines += _wrapped(entry.metadata["doc"])
            example = entry.metadata["example"]
            default = None if example else _toml(_default(entry))
            lines.append(
                f"{_key(entry)} = {example}" if example else f"# {_key(entry)} = {default}".rstrip()
            )
    return "\n".join(lines) + "\n"


def _table(name: str, kind: type, content: object) -> Any:
    if not isinstance(content, Mapping):
        raise ValueError(f"{name} must be a table, got {shown(content)}")
    entries = {_key(entry): entry for entry in fields(kind)}
    for key in content:
        if key not in entries:
            raise ValueError(f"keys of [{name}] must be {nearest(key, entries)}, got {key!r}")
    values = {}
    for key, value in content.items():
        check = _CHECKS.get(f"{name}.{key}") or _CHECKS[key]
        try:
            values[entries[key].name] = check(value, f"{name}.{key}")
        except TypeError as error:
            raise ValueError(str(error)) from error
    for key in _REQUIRED.get(name, ()):
        if key not in content:
            raise ValueError(f"{name}.{key} must be given, got none")
    return kind(**values)


class _naming:  # noqa: N801
    """Put a table in front of the argument that an error is about."""

    def __init__(self, table: str) -> None:
        self.table = table

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TypeError | ValueError):
            raise ValueError(f"{self.table}.{error}") from error


def _key(entry: Any) -> str:
    key: str = entry.metadata["key"] or entry.name
    return key


def _default(entry: Any) -> Any:
    return entry.default_factory() if callable(entry.default_factory) else entry.default


def _toml(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{}"
    return repr(value)


def _wrapped(text: str) -> list[str]:
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > 96:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line]


Check = Callable[[object, str], Any]


def _whole(low: int) -> Check:
    return lambda value, name: integer(value, name, low)


def _number(rule: str, holds: Callable[[float], bool]) -> Check:
    def check(value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {shown(value)}")
        if not math.isfinite(value) or not holds(value):
            raise ValueError(f"{name} must be {rule}, got {value!r}")
        return float(value)

    return check


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be text, got {shown(value)}")
    return value


def _entry_point(value: object, name: str) -> str:
    if not isinstance(value, str) or not _ENTRY_POINT.fullmatch(value):
        raise ValueError(f"{name} must be like 'package.module:function', got {shown(value)}")
    return value


def _keywords(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a table, got {shown(value)}")
    return dict(value)


def _names(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of names, got {shown(value)}")
    return value


def _input_size(value: object, name: str) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list) and len(value) == 2:
        return value
    raise ValueError(f"{name} must be a whole number, or [width, height], got {shown(value)}")


def _channels(value: object, name: str) -> Any:
    if isinstance(value, int | float | list) and not isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be one number or three, got {shown(value)}")


def _scale_range(value: object, name: str) -> list[float]:
    rule = f"{name} must be [smallest, largest] with 0 < smallest <= largest"
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or not all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in numbers
    ):
        raise ValueError(f"{rule}, got {value!r}")
    if not 0 < numbers[0] <= numbers[1] < math.inf:
        raise ValueError(f"{rule}, got {value!r}")
    return [float(number) for number in numbers]


def _seeds(value: object, name: str) -> Any:
    if isinstance(value, list):
        seeds = [integer(seed, name, 0) for seed in value]
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"{name} must be different and at least one, got {value!r}")
        return seeds
    return integer(value, name, 1)


def _strategy_list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of names or tables, got {shown(value)}")
    return value


def _one_of(*valid: str) -> Check:
    return lambda value, name: choice(value, name, valid)


_positive = _number("above 0", lambda value: value > 0)
_not_negative = _number("at least 0", lambda value: value >= 0)
_share = _number("at least 0 and below 1", lambda value: 0 <= value < 1)


def _temperature(value: object, name: str) -> float:
    try:
        return checked_temperature(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}{str(error).removeprefix('temperature')}") from error


# By key, or by table and key where one key has two meanings.
_CHECKS: dict[str, Check] = {
    "skeleton": _text,
    "annotations": _text,
    "images": _text,
    "test_annotations": _text,
    "test_images": _text,
    "mat_flag": _one_of(*FLAGS),
    "train": _entry_point,
    "test": _entry_point,
    "train_options": _keywords,
    "test_options": _keywords,
    "input_size": _input_size,
    "fit": _text,
    "crop_scale": _positive,
    "data.scale": _positive,
    "mean": _channels,
    "std": _channels,
    "heatmap_align": _text,
    "start": _whole(1),
    "budget": _whole(1),
    "cycles": _whole(1),
    "seeds": _seeds,
    "strategies": _strategy_list,
    "baseline": _text,
    "metrics": _names,
    "normalize_by": _one_of(*NORMALIZATIONS),
    "flip": flag,
    "flip_shift": _whole(-(2**15)),
    "level": _number("above 0 and below 1", lambda value: 0 < value < 1),
    "subpixel": _one_of(*SUBPIXELS),
    "factory": _entry_point,
    "options": _keywords,
    "weights": _text,
    "from": _one_of(*_BEGINNINGS),
    "epochs": _positive,
    "steps": _whole(1),
    "batch_size": _whole(1),
    "learning_rate": _positive,
    "weight_decay": _not_negative,
    "warmup": _share,
    "sigma": _positive,
    "augment": flag,
    "degrees": _not_negative,
    "scale": _scale_range,
    "amp": flag,
    "compile": flag,
    "num_peaks": _whole(1),
    "min_distance": _whole(1),
    "temperature": _temperature,
    "device": _text,
    "threads": _whole(1),
    "processes": _whole(1),
    "order": _one_of(*_ORDERS),
    "checkpoint_seconds": _not_negative,
}

_REQUIRED = {"data": ("skeleton",), "simulation": ("start", "budget", "cycles", "strategies")}


def _skeleton(name: str, folder: Path) -> Skeleton:
    with _naming("data"):
        if not name.lower().endswith(".json"):
            return get_skeleton(name)
    path = folder / Path(name).expanduser()
    if not path.is_file():
        raise ValueError(f"data.skeleton must exist, got '{path}'")
    try:
        return Skeleton.from_file(path)
    except ValueError as error:
        raise ValueError(f"data.skeleton must be a skeleton's file: '{path}': {error}") from error


def _check_data(data: DataOptions) -> None:
    for files, code in (("annotations", "train"), ("test_annotations", "test")):
        given = [key for key in (files, code) if getattr(data, key) is not None]
        if len(given) != 1:
            got = "both" if given else "neither"
            raise ValueError(f"data.{files} or data.{code} must be given, one of them, got {got}")
    for code, unused in (("train", ("images", "mat_flag")), ("test", ("test_images",))):
        for key in unused:
            if getattr(data, code) is not None and getattr(data, key) is not None:
                raise ValueError(f"data.{key} must be left out with data.{code}")
        if getattr(data, code) is None and getattr(data, f"{code}_options"):
            raise ValueError(f"data.{code}_options must be left out without data.{code}")


def _check_epochs(name: str, table: Any) -> None:
    if table.epochs is not None and table.steps is not None:
        raise ValueError(f"{name}.epochs or {name}.steps must be left out, got both")


def _transform(data: DataOptions) -> ImageTransform:
    with _naming("data"):
        return data.transform()


def _strategies(given: Sequence[Any]) -> list[ChosenStrategy]:
    chosen = [_strategy(entry) for entry in given]
    labels: set[str] = set()
    for strategy in chosen:
        if strategy.label.lower() in labels:
            raise ValueError(
                "simulation.strategies must have different labels, got "
                f"{strategy.label!r} twice: give one a label of its own"
            )
        labels.add(strategy.label.lower())
    return chosen


def _strategy(entry: object) -> ChosenStrategy:
    rule = "simulation.strategies must be names, or tables with a name"
    options = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    if not isinstance(options.get("name"), str):
        raise ValueError(f"{rule}, got {shown(options.get('name'))}")
    name: Any = options.pop("name")
    label: Any = options.pop("label", None)
    try:
        strategy = make_strategy(name, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"simulation.strategies: {error}") from error
    values = [str(value) for value in options.values()]
    given = label is not None
    label = label if given else "-".join([strategy.name, *values])
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise ValueError(
            "simulation.strategies must have labels of letters, digits and .+_=-, got "
            f"{shown(label)}" + ("" if given else f" for {name!r}: give it a label")
        )
    title = label if given else " ".join([strategy.title, *values])
    return ChosenStrategy(label, title, strategy.name, options)
