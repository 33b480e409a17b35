"""The configuration of a simulation: a TOML file, its tables and keys, checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vl4pose._existing_file import check_file
from vl4pose.active.strategies import Strategy, make_strategy
from vl4pose.image_transform import ImageTransform
from vl4pose.metrics.evaluation import named_metric
from vl4pose.simulation.config_tables import (
    TABLES,
    DataOptions,
    EvaluationOptions,
    HeadsOptions,
    NetworkOptions,
    ReportOptions,
    RunOptions,
    ScoringOptions,
    SimulationOptions,
    TrainingOptions,
)
from vl4pose.simulation.config_values import checked_value
from vl4pose.skeleton import Skeleton, get_skeleton, nearest, shown

__all__ = ["ChosenStrategy", "SimulationConfig", "example_config", "parse_config", "read_config"]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_=-]{0,99}")


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
        for name in TABLES:
            if name not in _ASIDE:
                table = getattr(self, name)
                tables[name] = {_key(entry): getattr(table, entry.name) for entry in fields(table)}
        tables["simulation"]["seeds"] = self.simulation.seed_list
        tables["simulation"]["strategies"] = {
            chosen.label: {"name": chosen.name, **chosen.options} for chosen in self.strategies
        }
        tables["data"]["skeleton"] = self.skeleton.to_json()
        return tables


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
        if name not in TABLES:
            raise ValueError(f"tables must be {nearest(name, TABLES)}, got {name!r}")
    tables = {name: _table(name, kind, content.get(name, {})) for name, kind in TABLES.items()}
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
        "# A simulation for `vl4pose simulate`: of drawn people, in a few minutes on a CPU.",
        "# With so few images it says nothing of the strategies: put yours in their place. A key",
        "# that is commented out has the value shown, unless its text names another default.",
        "# Paths are relative to this file.",
    ]
    for name, kind in TABLES.items():
        lines += ["", f"[{name}]"]
        for entry in fields(kind):
            lines += _wrapped(entry.metadata["doc"])
            given, example = entry.metadata["given"], entry.metadata["example"]
            comment = "" if given else "# "
            lines.append(f"{comment}{_key(entry)} = {given or example or _toml(_default(entry))}")
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
        values[entries[key].name] = checked_value(name, key, value)
    for key in _REQUIRED.get(name, ()):
        if key not in content:
            raise ValueError(f"{name}.{key} must be given, got none")
    return kind(**values)


@contextmanager
def _naming(table: str) -> Iterator[None]:
    """Put a table in front of the argument that an error is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{table}.{error}") from error


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


_REQUIRED = {"data": ("skeleton",), "simulation": ("start", "budget", "cycles", "strategies")}


def _skeleton(name: str, folder: Path) -> Skeleton:
    with _naming("data"):
        if not name.lower().endswith(".json"):
            return get_skeleton(name)
    path = folder / Path(name).expanduser()
    check_file("data.skeleton", path)
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
