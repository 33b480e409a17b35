"""Strategies by their names: what each is called, made with and documented as."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import pytest
from new_process import run_python
from strategy_pools import NAN

import vl4pose
from vl4pose.active import (
    ARRAYS,
    STRATEGIES,
    CoreSet,
    MultiPeakEntropy,
    Strategy,
    VL4PoseEntropy,
    VL4PosePrefiltered,
    make_strategy,
)
from vl4pose.active.strategies.registry import CLASS_NAMES, strategy_class


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_has_a_documented_class(name: str) -> None:
    kind = strategy_class(name)
    assert kind.name == name
    assert getattr(vl4pose.active, kind.__name__) is kind
    assert kind.__name__ in dir(vl4pose.active)
    documentation = kind.__doc__ or ""
    assert "Cost: " in documentation
    assert "References\n" in documentation or name == "random"
    made = make_strategy(name)
    assert set(made.needs) | set(made.needs_labelled) <= set(ARRAYS)
    assert f"\n{name} " in (vl4pose.active.strategies.__doc__ or "")


def test_no_two_are_called_the_same() -> None:
    assert len({strategy_class(name).title for name in STRATEGIES}) == len(STRATEGIES)
    assert len(set(CLASS_NAMES)) == len(STRATEGIES)


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("core-set", {}, CoreSet),
        ("Core Set", {}, CoreSet),
        (" VL4Pose + Entropy ", {"method": "max"}, VL4PoseEntropy),
        ("multi_peak_entropy", {}, MultiPeakEntropy),
        ("vl4pose-prefiltered", {"prefilter": "core-set", "share": 1}, VL4PosePrefiltered),
    ],
)
def test_however_it_is_written(name: str, options: dict[str, Any], kind: type[Strategy]) -> None:
    made = make_strategy(name, **options)
    assert type(made) is kind
    assert {option: getattr(made, option) for option in options} == options


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        (3, {}, TypeError, "strategy must be a name, got 3"),
        (
            "radnom",
            {},
            ValueError,
            "strategy must be one of random, .*'random'.*'radnom'",
        ),
        ("matal", {}, ValueError, "strategy must be one of random, .*, got 'matal'"),
        ("random", {"seed": 1}, ValueError, "options of 'random' must be left out, got 'seed'"),
        (
            "vl4pose",
            {"metod": "max"},
            ValueError,
            r"options of 'vl4pose' must be one of method \(did you mean 'method'\?\), got "
            "'metod'",
        ),
        ("vl4pose", {"method": "sum"}, ValueError, "method must be one of expected, .*'sum'"),
        ("vl4pose", {"method": 1}, TypeError, "method must be one of expected, .*, got 1"),
        (
            "vl4pose-prefiltered",
            {"prefilter": "coreset"},
            ValueError,
            r"prefilter must be one of random, core-set \(did you mean 'core-set'\?\)",
        ),
        *(
            (
                name,
                {"share": share},
                ValueError,
                f"share must be greater than 0 and at most 1, got {share}",
            )
            for name in ("kaplan-lensu", "vl4pose-prefiltered")
            for share in (0, 1.5, -1, NAN)
        ),
        ("kaplan-lensu", {"share": "0.2"}, TypeError, "share must be a number, got '0.2'"),
        ("kaplan-lensu", {"share": True}, TypeError, "share must be a number, got True"),
        (
            "kaplan-lensu",
            {"approximate": 1},
            TypeError,
            "approximate must be True or False, got 1",
        ),
    ],
)
def test_what_cannot_be_made(
    name: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_strategy(name, **options)


@pytest.mark.parametrize("module", [vl4pose.active, vl4pose.active.strategies])
def test_unknown_attributes(module: Any) -> None:
    with pytest.raises(AttributeError, match=f"'{module.__name__}' has no attribute 'Radnom'"):
        _ = module.Radnom


def test_examples_of_the_documentation_run() -> None:
    for name in ("strategies", "strategies.registry"):
        result = doctest.testmod(importlib.import_module(f"vl4pose.active.{name}"))
        assert result.attempted > 0
        assert result.failed == 0


def test_arrays_need_numpy_alone(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'pyarrow', 'usearch', 'scipy'):\n    sys.modules[name] = None\n"
        "import numpy as np\nfrom vl4pose.active import STRATEGIES, Pool, make_strategy\n"
        "pool = Pool(3, {'embedding': np.eye(3), 'score_expected': np.arange(3.0)})\n"
        "for name in STRATEGIES:\n    make_strategy(name)\n"
        "for name in ('core-set', 'vl4pose'):\n"
        "    print(make_strategy(name).select(pool, Pool(0), 2, np.random.default_rng(0)))\n"
    )
    done = run_python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("[0 1]\n[0 1]\n", "")
