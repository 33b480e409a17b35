"""Configurations of a simulation: what is read, and what is said of mistakes."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from simulated_figures import CONFIG, write_config

from vl4pose.simulation.config import example_config, parse_config, read_config
from vl4pose.simulation.config_tables import TABLES


def test_a_configuration_is_read(tmp_path):
    strategies = ["Random", {"name": "vl4pose", "method": "max"}, "core set"]
    config = read_config(
        write_config(tmp_path, simulation={"strategies": strategies, "seeds": [3, 5]})
    )
    assert config.folder == tmp_path
    assert config.skeleton.name == "arms"
    assert config.transform.input_size == (32, 32)
    assert [chosen.label for chosen in config.strategies] == ["random", "vl4pose-max", "core-set"]
    assert [chosen.title for chosen in config.strategies] == ["Random", "VL4Pose max", "Core-Set"]
    assert config.strategies[1].make().needs == ("score_max",)
    assert config.simulation.seed_list == [3, 5]
    assert config.baseline == "random"
    assert [config.num_labels(cycle) for cycle in range(3)] == [6, 11, 16]


def test_steps_and_epochs(tmp_path):
    config = read_config(write_config(tmp_path))
    assert config.training.num_steps(100) == 6
    assert config.heads.num_steps(100, config.training) == 4
    config = read_config(
        write_config(tmp_path, training={"steps": None, "epochs": 2.5}, heads={"steps": None})
    )
    assert config.training.num_steps(10) == 7  # 25 images in batches of 4
    assert config.heads.num_steps(10, config.training) == 7
    config = read_config(write_config(tmp_path, training={"steps": None}, heads={"steps": None}))
    assert config.training.num_steps(10) == 75


def test_every_key_is_in_the_example_with_its_default(tmp_path):
    """A key that is commented out does what the example says when it is not given."""
    text = example_config()
    given = tomllib.loads(text)
    parse_config(given, tmp_path)
    for name, kind in TABLES.items():
        part = text.split(f"[{name}]\n")[1].split("\n\n[")[0]
        for entry in dataclasses.fields(kind):
            key = entry.metadata["key"] or entry.name
            assert key in part
            line = re.search(rf"^(# )?{key} = (.*)$", part, re.MULTILINE)
            assert line, key
            assert entry.metadata["doc"].split()[0] in part
            if (
                line[1]
                and "[default" not in entry.metadata["doc"]
                and not entry.metadata["example"]
            ):
                value = tomllib.loads(f"value = {line[2]}")["value"]
                default = getattr(kind(), entry.name)
                assert value == default, key
                assert parse_config({**given, name: {**given[name], key: value}}, tmp_path)


def test_lines_of_the_example_are_short():
    assert max(map(len, example_config().splitlines())) <= 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simulatoin": {}}, r"tables must be one of .*'simulation'\?\), got 'simulatoin'"),
        ({"training": {"epcohs": 3}}, r"keys of \[training\] must be .*'epochs'\?\), got 'epcohs'"),
        ({"simulation": {"budget": 0}}, r"simulation.budget must be at least 1, got 0"),
        ({"simulation": {"budget": "5"}}, r"simulation.budget must be an integer, got '5'"),
        ({"simulation": {"start": None}}, r"simulation.start must be given, got none"),
        ({"simulation": {"seeds": [1, 1]}}, r"simulation.seeds must be different .*\[1, 1\]"),
        ({"simulation": {"seeds": []}}, r"simulation.seeds must be different and at least one"),
        ({"simulation": {"strategies": []}}, r"simulation.strategies must be a list .*, got list"),
        (
            {"simulation": {"strategies": ["randm"]}},
            r"simulation.strategies: strategy must be .*'random'\?\), got 'randm'",
        ),
        (
            {"simulation": {"strategies": [{"name": "vl4pose", "metod": "max"}]}},
            r"simulation.strategies: options of 'vl4pose' must be .*'method'\?\), got 'metod'",
        ),
        (
            {"simulation": {"strategies": ["random", "Random"]}},
            r"simulation.strategies must have different labels, got 'random' twice",
        ),
        (
            {"simulation": {"strategies": [{"name": "random", "label": "../up"}]}},
            r"simulation.strategies must have labels of letters, .*, got '../up'",
        ),
        ({"report": {"baseline": "randm"}}, r"report.baseline must be .*'random'\?\), got 'randm'"),
        ({"report": {"level": 1}}, r"report.level must be above 0 and below 1, got 1"),
        ({"evaluation": {"metrics": ["PKC@0.2"]}}, r"evaluation.metrics must be .*, got 'PKC@0.2'"),
        ({"evaluation": {"metrics": []}}, r"evaluation.metrics must hold at least one name"),
        ({"evaluation": {"flip": 1}}, r"evaluation.flip must be True or False, got 1"),
        ({"evaluation": {"subpixel": "drak"}}, r"evaluation.subpixel must be .*'dark'\?\)"),
        ({"training": {"epochs": 3}}, r"training.epochs or training.steps must be left out, got"),
        ({"training": {"from": "fine tune"}}, r"training.from must be .*'fine-tune'\?\)"),
        ({"training": {"scale": [1.2, 0.8]}}, r"training.scale must be \[smallest, largest\]"),
        ({"training": {"warmup": 1.0}}, r"training.warmup must be at least 0 and below 1, got 1.0"),
        ({"scoring": {"temperature": 0}}, r"scoring.temperature must be between 1e-06 and"),
        ({"network": {"factory": "TinyPose"}}, r"network.factory must be like 'package.module:"),
        ({"data": {"skeleton": "lps"}}, r"data.skeleton must be .*'lsp'\?\), got 'lps'"),
        ({"data": {"skeleton": "legs.json"}}, r"data.skeleton must exist, got '.*legs.json'"),
        ({"data": {"input_size": "32"}}, r"data.input_size must be a whole number, or"),
        ({"data": {"std": 0.0}}, r"data.std must be positive, got"),
        ({"data": {"fit": "corp"}}, r"data.fit must be .*'crop'\?\), got 'corp'"),
        ({"data": {"annotations": "a.json"}}, r"data.annotations or data.train .*, got both"),
        ({"data": {"test": None}}, r"data.test_annotations or data.test .*, got neither"),
        ({"data": {"images": "photos"}}, r"data.images must be left out with data.train"),
        ({"run": {"order": "seeds"}}, r"run.order must be one of seed, strategy .*, got 'seeds'"),
    ],
)
def test_mistakes_are_told(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_config(write_config(tmp_path, **changes))


def test_what_is_not_toml(tmp_path):
    (tmp_path / "config.toml").write_text("[data\n")
    with pytest.raises(ValueError, match="must be TOML: "):
        read_config(tmp_path / "config.toml")
    with pytest.raises(ValueError, match="data must be a table, got 3"):
        parse_config({**CONFIG, "data": 3}, Path())


def test_what_decides_no_result_is_no_part_of_it(tmp_path):
    one = read_config(write_config(tmp_path)).to_json()
    run = {"device": "cuda", "processes": 4}
    other = read_config(write_config(tmp_path, run=run, report={"level": 0.9})).to_json()
    assert one == other
    assert one != read_config(write_config(tmp_path, training={"steps": 7})).to_json()
