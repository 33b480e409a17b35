"""What is known of a pool's images: arrays by name, given or observed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from strategy_pools import Arrays

from vl4pose.active import Pool


def test_arrays_are_found_by_name() -> None:
    pool = Pool(2, {"confidence": [[1, 2], [3, 4]]})
    assert len(pool) == pool.num_images == 2
    assert_array_equal(pool["confidence"], [[1, 2], [3, 4]])


def test_a_tensor_will_do() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    assert_array_equal(Pool(2, {"embedding": tensor})["embedding"], np.ones((2, 3)))


def test_what_is_not_known_is_observed_once() -> None:
    asked = []

    def observe(names: list[str]) -> Arrays:
        asked.append(names)
        return {"embedding": np.zeros((2, 3)), "score_max": np.ones(2)}

    pool = Pool(2, {"multi_peak_entropy": [1.0, 2.0]}, observe)
    pool.prepare(["multi_peak_entropy", "embedding", "embedding"])
    assert asked == [["embedding"]]
    assert_array_equal(pool["score_max"], [1, 1])  # came along
    assert asked == [["embedding"]]
    with pytest.raises(ValueError, match="pool must have 'log_variance', got 'multi_peak_entr"):
        _ = pool["log_variance"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"embeding": [1.0]}, ValueError, r"named one of .*'embedding'\?\), got 'embeding'"),
        ({3: [1.0]}, ValueError, "arrays must be named one of confidence, .*, got 3"),
        (
            {"embedding": [1.0, 2.0]},
            ValueError,
            r"arrays must have 'embedding' as \(2, D\), got shape \(2,\)",
        ),
        (
            {"score_max": [1.0]},
            ValueError,
            r"arrays must have 'score_max' as \(2,\), got shape \(1,\)",
        ),
        (
            {"score_max": ["a", "b"]},
            TypeError,
            "arrays must hold real numbers, got 'score_max' of <U1",
        ),
    ],
)
def test_arrays_that_cannot_be(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Pool(2, given)


@pytest.mark.parametrize("name", ["embeding", "score"])
def test_unknown_names_are_not_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="arrays must be named one of "):
        _ = Pool(2, observe=lambda names: {})[name]
