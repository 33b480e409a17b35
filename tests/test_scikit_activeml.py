"""The query strategy, with scikit-activeml itself: what it chooses, and what it owes that library.

The checks of arguments are those that scikit-activeml's own strategies have to pass.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from strategies import noise

import vl4pose

pytest.importorskip("skactiveml", reason="needs scikit-activeml: pip install scikit-activeml")

from skactiveml.pool import RandomSampling, SubSamplingWrapper
from skactiveml.utils import call_func, is_unlabeled
from sklearn.base import clone

from vl4pose.adapters.scikit_activeml import PoseQueryStrategy

NAN = np.nan
N = 40


@pytest.fixture
def pool() -> dict[str, Any]:
    """Samples, of which three are annotated, and their scores."""
    y = np.full(N, NAN)
    y[[4, 7, 30]] = 0.0
    return {"X": noise(N, 5), "y": y, "scores": -np.abs(noise(N, seed=1)) * 50}


def by_score(pool: dict[str, Any]) -> np.ndarray:
    order = np.argsort(pool["scores"])
    return order[np.isnan(pool["y"][order])]


def test_queries_the_least_likely(pool: dict[str, Any]) -> None:
    assert_array_equal(PoseQueryStrategy().query(**pool), by_score(pool)[:1])
    assert_array_equal(PoseQueryStrategy().query(**pool, batch_size=6), by_score(pool)[:6])
    everything = PoseQueryStrategy().query(**pool, batch_size=N - 3)
    assert_array_equal(everything, by_score(pool))


@pytest.mark.parametrize(
    ("strategy", "sign"), [("likelihood", -1), ("entropy", 1), ("confidence", -1)]
)
def test_utilities_are_the_priorities(pool: dict[str, Any], strategy: str, sign: int) -> None:
    pool["scores"][11] = NAN
    chosen, utilities = PoseQueryStrategy(strategy).query(
        **pool, batch_size=4, return_utilities=True
    )
    assert utilities.shape == (4, N)
    never = np.flatnonzero(~np.isnan(pool["y"]) | np.isnan(pool["scores"]))
    for step in range(4):
        assert_array_equal(np.isnan(utilities[step]).nonzero()[0], np.union1d(never, chosen[:step]))
        assert chosen[step] == np.nanargmax(utilities[step])
        order = np.argsort(utilities[step])[: N - len(never) - step]
        assert (np.diff(pool["scores"][order]) * sign >= 0).all()


def test_candidates(pool: dict[str, Any]) -> None:
    some = by_score(pool)[[9, 3, 20]]
    chosen, utilities = PoseQueryStrategy().query(
        **pool, candidates=some, batch_size=2, return_utilities=True
    )
    assert_array_equal(chosen, by_score(pool)[[3, 9]])
    assert_array_equal(np.flatnonzero(~np.isnan(utilities[0])), np.sort(some))
    pool["scores"] = np.array([-5.0, -9.0, -1.0])
    others = noise(3, 5, seed=2)
    chosen, utilities = PoseQueryStrategy().query(
        **pool, candidates=others, batch_size=2, return_utilities=True
    )
    assert_array_equal(chosen, [1, 0])
    assert_array_equal(utilities, [[5, 9, 1], [5, NAN, 1]])


@pytest.mark.parametrize("candidates", ["unlabelled", "samples"])
def test_diversity_goes_by_the_samples(pool: dict[str, Any], candidates: str) -> None:
    strategy = PoseQueryStrategy(diversity="k-centre", shortlist=20, random_state=0)
    if candidates == "samples":
        samples = noise(N, 5, seed=3)
        rows = strategy.query(**pool, candidates=samples, batch_size=8)
        scores = pool["scores"]
    else:
        samples, scores = pool["X"], np.where(np.isnan(pool["y"]), pool["scores"], NAN)
        rows = strategy.query(**pool, batch_size=8)
    expected = vl4pose.select(
        scores,
        8,
        embeddings=samples,
        labelled=pool["X"][~np.isnan(pool["y"])],
        shortlist=20,
    )
    assert_array_equal(rows, expected.rows)
    assert set(rows) <= set(np.argsort(np.where(np.isnan(scores), 0, scores))[:20])
    # Images are samples too.
    pool["X"] = pool["X"].reshape(N, 5, 1)
    if candidates == "unlabelled":
        assert_array_equal(strategy.query(**pool, batch_size=8), expected.rows)


def test_separation_may_leave_fewer(pool: dict[str, Any]) -> None:
    pool["X"] = np.zeros((N, 5))
    pool["y"] = np.full(N, NAN)
    strategy = PoseQueryStrategy(min_separation=0.5)
    with pytest.warns(UserWarning, match="only 1 of 3 rows"):
        chosen, utilities = strategy.query(**pool, batch_size=3, return_utilities=True)
    assert_array_equal(chosen, by_score(pool)[:1])
    assert utilities.shape == (1, N)


def test_random_state(pool: dict[str, Any]) -> None:
    def query(random_state: Any) -> list[int]:
        strategy = PoseQueryStrategy("random", random_state=random_state)
        return strategy.query(**pool, batch_size=10).tolist()

    assert query(0) == query(0) == query(np.random.RandomState(0)) != query(1)
    share = PoseQueryStrategy(random_share=0.5, random_state=0)
    chosen = share.query(**pool, batch_size=10)
    assert len(np.intersect1d(chosen, by_score(pool)[:10])) < 10
    assert_array_equal(share.query(**pool, batch_size=10), chosen)


@pytest.mark.parametrize(
    ("missing", "label", "dtype"),
    [(NAN, 1.0, float), (0, 1, int), (None, 1, object), (None, "A", object), ("", "A", str)],
)
def test_labels_of_any_kind(pool: dict[str, Any], missing: Any, label: Any, dtype: Any) -> None:
    y = np.full(N, missing, dtype=dtype)
    y[~np.isnan(pool["y"])] = label
    expected = by_score(pool)[:3]
    pool["y"] = y
    chosen = PoseQueryStrategy(missing_label=missing).query(**pool, batch_size=3)
    assert_array_equal(chosen, expected)


def test_works_in_the_loop_and_in_a_wrapper(pool: dict[str, Any]) -> None:
    """Until all are annotated, mixed with another strategy by the library's own helper."""
    expected = by_score(pool)
    order: list[int] = []
    for _ in range(4):
        chosen = call_func(PoseQueryStrategy().query, **pool, batch_size=5, clf=None)
        assert is_unlabeled(pool["y"])[chosen].all()
        pool["y"][chosen] = 1.0
        order += chosen.tolist()
    assert order == expected[:20].tolist()
    scores = pool.pop("scores")
    wrapper = SubSamplingWrapper(PoseQueryStrategy(), max_candidates=6, random_state=0)
    chosen, utilities = wrapper.query(**pool, scores=scores, batch_size=2, return_utilities=True)
    considered = np.flatnonzero(np.isfinite(utilities[0]))
    assert len(considered) == 6
    assert_array_equal(chosen, considered[np.argsort(scores[considered])[:2]])


def test_is_an_estimator() -> None:
    changed = {
        "strategy": "entropy",
        "diversity": "k-centre",
        "shortlist": 0.5,
        "min_separation": 2.0,
        "random_share": 0.25,
        "approximate": True,
        "num_threads": 3,
        "missing_label": -1,
        "random_state": 5,
    }
    strategy = PoseQueryStrategy(**changed)
    assert strategy.get_params() == clone(strategy).get_params() == changed
    assert "strategy='entropy'" in repr(strategy)
    for name in inspect.signature(PoseQueryStrategy).parameters:
        marker = object()  # nothing is looked at before a query
        assert getattr(PoseQueryStrategy(**{name: marker}), name) is marker
    mine = list(inspect.signature(PoseQueryStrategy.query).parameters)
    assert [name for name in mine if name != "scores"] == list(
        inspect.signature(RandomSampling.query).parameters
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": "string"}, (TypeError, ValueError), None),
        ({"X": noise(2 * N, 5)}, ValueError, None),
        ({"y": NAN}, TypeError, None),
        ({"y": np.full((2, N), NAN)}, ValueError, None),
        ({"candidates": NAN}, ValueError, None),
        ({"candidates": [N]}, ValueError, None),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 1.0}, TypeError, "batch_size"),
        ({"return_utilities": 1}, TypeError, "return_utilities"),
        (
            {"scores": np.zeros(N - 1)},
            ValueError,
            r"scores must have one value per sample of X \(40\), got shape \(39,\)",
        ),
        (
            {"candidates": noise(3, 5)},
            ValueError,
            r"scores must have one value per candidate \(3\), got shape \(40,\)",
        ),
        (
            {"scores": np.where(np.arange(N) < 2, 1.0, NAN), "batch_size": 3},
            ValueError,
            r"batch_size must be at most the candidates with a score \(2\), got 3",
        ),
    ],
)
def test_bad_queries(
    pool: dict[str, Any], change: dict[str, Any], error: Any, message: str | None
) -> None:
    with pytest.raises(error, match=message):
        PoseQueryStrategy().query(**(pool | change))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("random_state", NAN, ValueError),
        ("random_state", "state", ValueError),
        ("missing_label", object, TypeError),
        ("strategy", "likelyhood", ValueError),
        ("diversity", "k-means", ValueError),
        ("random_share", 1.5, ValueError),
    ],
)
def test_bad_parameters(
    pool: dict[str, Any], name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        PoseQueryStrategy(**{name: value}).query(**pool)


def test_example_of_the_docstring() -> None:
    result = doctest.testmod(importlib.import_module("vl4pose.adapters.scikit_activeml"))
    assert result.attempted > 0
    assert result.failed == 0


def test_library_is_missing() -> None:
    program = """
import sys
sys.modules["skactiveml"] = None
import vl4pose.adapters
try:
    import vl4pose.adapters.scikit_activeml
except ImportError as error:
    print(error)
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "needs scikit-activeml" in process.stdout
    assert "pip install scikit-activeml" in process.stdout
