"""Nearest labelled images against all distances, and probabilities against their definition."""

from __future__ import annotations

import doctest
import importlib
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import examples

from vl4pose.active.neighbours import nearest_labelled, neighbour_probabilities

NAN, INF = np.nan, np.inf


def perplexity_of(probabilities):
    logarithms = np.log(np.where(probabilities > 0, probabilities, 1))
    return np.exp(-(probabilities * logarithms).sum(-1))


def searched(squared, perplexity: float):
    """Return one row's probabilities by t-SNE's search: the precision doubled or halved."""
    precision, low, high = 1.0, -INF, INF
    for _ in range(500):
        weights = [math.exp(-distance * precision) for distance in squared - squared.min()]
        total = sum(weights)
        found = [weight / total for weight in weights]
        entropy = -sum(p * math.log(p) for p in found if p > 0)
        if abs(entropy - math.log(perplexity)) < 1e-13:
            break
        if entropy > math.log(perplexity):
            low = precision
            precision = precision * 2 if high == INF else (low + high) / 2
        else:
            high = precision
            precision = precision / 2 if low == -INF else (low + high) / 2
    return np.array(found)


@given(
    seed=st.integers(0, 1000),
    num_neighbours=st.integers(2, 40),
    share=st.floats(0.05, 0.95),
    scale=st.sampled_from([1e-6, 1.0, 1e4]),
)
@examples(0.5)
def test_probabilities_are_those_of_a_search(
    seed: int, num_neighbours: int, share: float, scale: float
) -> None:
    squared = scale * np.random.default_rng(seed).gamma(2.0, size=(3, num_neighbours))
    perplexity = 1 + share * (num_neighbours - 1)
    found = neighbour_probabilities(squared, perplexity)
    assert_allclose(found.sum(1), 1)
    assert_allclose(perplexity_of(found), perplexity, rtol=1e-9)
    for row, distances in zip(found, squared, strict=True):
        assert_allclose(row, searched(distances, perplexity), atol=1e-7)
        assert (np.diff(row[np.argsort(distances)]) <= 1e-15).all()


def test_the_unit_of_distances_does_not_matter() -> None:
    squared = np.random.default_rng(0).gamma(2.0, size=(5, 30))
    expected = neighbour_probabilities(squared, 20.0)
    for factor in (1e-200, 1e-9, 7.0, 1e200):
        assert_allclose(neighbour_probabilities(factor * squared, 20.0), expected, rtol=1e-9)
    assert_allclose(neighbour_probabilities(squared + 3.0, 20.0), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("squared", "perplexity", "expected"),
    [
        ([[7.0]], 20.0, [[1.0]]),  # one labelled image
        ([[1.0, 2.0, 3.0]], 3.0, [[1 / 3] * 3]),  # as many as there are, or more
        ([[1.0, 2.0, 3.0]], 20.0, [[1 / 3] * 3]),
        ([[4.0, 4.0, 4.0, 4.0]], 2.0, [[0.25] * 4]),  # no width tells equal ones apart
        ([[0.0, 0.0, 0.0, 5.0]], 2.0, [[1 / 3] * 3 + [0.0]]),
        ([[0.0, 1.0, 2.0]], 1.0, [[1.0, 0.0, 0.0]]),
        ([[3.0, 3.0], [1.0, 2.0]], 1.0, [[0.5, 0.5], [1.0, 0.0]]),
        ([[0.0, 1e-320, 1e20]], 1.5, [[0.5, 0.5, 0.0]]),  # steps that differ by all of a double
        ([[0.0, 1e-300, 1e200]], 1.5, [[0.5, 0.5, 0.0]]),
        ([[0.0, 1e-290, 1.0]], 1.0, [[1.0, 0.0, 0.0]]),
    ],
)
def test_where_the_perplexity_is_not_to_be_had(squared, perplexity, expected) -> None:
    assert_allclose(neighbour_probabilities(squared, perplexity), expected, atol=1e-15)


@given(
    seed=st.integers(0, 1000),
    sizes=st.tuples(st.integers(0, 20), st.integers(1, 20), st.integers(1, 5)),
    k=st.integers(1, 25),
)
@examples(0.5)
def test_neighbours_are_the_nearest_of_all(seed: int, sizes, k: int) -> None:
    N, M, D = sizes
    rng = np.random.default_rng(seed)
    rows, labelled = rng.normal(size=(N, D)), rng.normal(size=(M, D))
    found = nearest_labelled(rows, labelled, num_neighbours=k, perplexity=min(k, M))
    squared = np.square(rows[:, None] - labelled).sum(-1)
    assert_array_equal(found.indices, np.argsort(squared, axis=1)[:, :k])
    assert found.probabilities.shape == found.indices.shape == (N, min(k, M))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows, labelled = rng.normal(size=(50, 3)), rng.normal(size=(40, 3))
    expected = nearest_labelled(rows, labelled)
    module = importlib.import_module("vl4pose.active.neighbours")
    monkeypatch.setattr(module, "_AT_ONCE", 700)
    found = nearest_labelled(rows, labelled)
    assert_array_equal(found.indices, expected.indices)
    assert_array_equal(found.probabilities, expected.probabilities)


def test_rows_far_from_zero_keep_their_order() -> None:
    """There, products of rows alone have lost all digits of the distances."""
    labelled = 1e8 + np.array([[0.0], [1.0], [3.0], [6.0]])
    rows = 1e8 + np.array([[2.9], [0.6]])
    found = nearest_labelled(rows, labelled, num_neighbours=2, perplexity=1.5)
    assert_array_equal(found.indices, [[2, 1], [1, 0]])


def test_equal_rows_are_equally_probable() -> None:
    found = nearest_labelled(np.ones((2, 3), np.float32), np.ones((5, 3), np.float32))
    assert_array_equal(found.indices, [range(5)] * 2)
    assert_array_equal(found.probabilities, np.full((2, 5), 0.2))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"labelled": np.ones((0, 3))},
            ValueError,
            "labelled must hold at least one row, got none",
        ),
        ({"labelled": np.ones((2, 4))}, ValueError, "labelled must be (M, 3) like embeddings"),
        ({"embeddings": np.full((2, 3), NAN)}, ValueError, "embeddings must be finite, got nan"),
        ({"embeddings": np.ones(3)}, ValueError, "embeddings must be (N, D), got shape (3,)"),
        ({"num_neighbours": 0}, ValueError, "num_neighbours must be at least 1, got 0"),
        ({"num_neighbours": 1.5}, TypeError, "num_neighbours must be an integer, got 1.5"),
        ({"perplexity": 0.5}, ValueError, "perplexity must be finite and between 1 and 1e+09"),
        ({"perplexity": NAN}, ValueError, "perplexity must be finite and between 1 and 1e+09"),
        ({"perplexity": "20"}, TypeError, "perplexity must be a real number, got '20'"),
    ],
)
def test_what_is_refused(change, error, message: str) -> None:
    options = {"embeddings": np.ones((2, 3)), "labelled": np.ones((4, 3))} | change
    with pytest.raises(error, match=re.escape(message)):
        nearest_labelled(**options)


@pytest.mark.parametrize("squared", [np.ones(3), np.ones((3, 0)), [[NAN]], [[-1.0]], [[INF]]])
def test_what_is_no_distances(squared) -> None:
    with pytest.raises(ValueError, match="squared_distances must be "):
        neighbour_probabilities(squared, 2.0)


def test_examples_of_the_documentation_run() -> None:
    result = doctest.testmod(importlib.import_module("vl4pose.active.neighbours"))
    assert result.attempted > 0
    assert result.failed == 0
