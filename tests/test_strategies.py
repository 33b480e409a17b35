"""Strategies on arrays: what all have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from strategies import examples
from strategy_pools import NAN, NEEDS_INDEX, NOTHING, RNG, Arrays, pool_of

from vl4pose.active import (
    ARRAYS,
    STRATEGIES,
    Confidence,
    CoreSet,
    KaplanLensu,
    MultiPeakEntropy,
    Pool,
    Random,
    Strategy,
    VL4Pose,
    VL4PoseEntropy,
    VL4PosePrefiltered,
    make_strategy,
)
from vl4pose.active.strategies.likelihood import METHODS

ON_ARRAYS: dict[str, Strategy] = {
    "random": Random(),
    "confidence": Confidence(),
    "kaplan-lensu, exact": KaplanLensu(approximate=False),
    "kaplan-lensu": KaplanLensu(share=0.6),
    "multi-peak-entropy": MultiPeakEntropy(),
    "core-set": CoreSet(),
    **{f"vl4pose, {method}": VL4Pose(method) for method in METHODS},
    "vl4pose+entropy": VL4PoseEntropy("max"),
    "vl4pose-prefiltered, random": VL4PosePrefiltered(),
    "vl4pose-prefiltered, core-set": VL4PosePrefiltered("core-set", 0.3),
}


@st.composite
def arrays(draw: st.DrawFn, num_images: int, with_gaps: bool = True) -> Arrays:
    """Draw what is known of images: small whole numbers, so that many are equal, and gaps."""
    rng = RNG(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 5, 50]))
    joints, size = draw(st.integers(1, 4)), draw(st.integers(1, 3))

    def of(*shape: int) -> npt.NDArray[Any]:
        values = rng.integers(-levels, levels, (num_images, *shape)).astype(np.float64)
        if with_gaps:
            is_gap = rng.random(num_images) < 0.15
            values[is_gap] = NAN
        return values

    names = ("multi_peak_entropy", "score_expected", "score_max", "score_marginal")
    known = {name: of() for name in names}
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    known["embedding"] = of(size).astype(dtype)
    return {**known, "confidence": of(joints)}


@st.composite
def tasks(draw: st.DrawFn, with_gaps: bool = True) -> tuple[Arrays, Arrays, int, int]:
    """Draw a pool, labelled images, a budget and a seed."""
    num_images = draw(st.sampled_from([1, 2, *range(3, 30)]))
    pool = draw(arrays(num_images, with_gaps))
    labelled = draw(st.integers(0, num_images).map(lambda m: min(m, 6)))
    known = {"embedding": pool["embedding"][:0]}
    if labelled:
        shift = draw(st.sampled_from([0, 0, 1, 100]))
        known = {"embedding": pool["embedding"][-labelled:] + pool["embedding"].dtype.type(shift)}
    budget = draw(st.one_of(st.sampled_from([0, num_images]), st.integers(0, num_images)))
    return pool, known, budget, draw(st.integers(0, 1000))


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(
            strategy, id=name, marks=NEEDS_INDEX if getattr(strategy, "approximate", False) else ()
        )
        for name, strategy in ON_ARRAYS.items()
    ],
)
class TestEveryStrategy:
    @given(task=tasks())
    @examples(0.5)
    def test_fills_the_budget_with_different_images_in_the_order_of_their_ranks(
        self, strategy: Strategy, task: tuple[Arrays, Arrays, int, int]
    ) -> None:
        known, known_labelled, budget, seed = task
        before = {name: values.copy() for name, values in known.items()}
        pool, labelled = pool_of(known), pool_of(known_labelled)
        picks = strategy.select(pool, labelled, budget, RNG(seed))
        assert picks.dtype == np.int64
        assert picks.shape == (budget,)
        assert len(set(picks.tolist())) == budget
        assert set(picks.tolist()) <= set(range(len(pool)))

        ranks = strategy.rank(pool, labelled, RNG(seed))
        assert ranks.dtype == np.float64
        assert ranks.shape == (len(pool),)
        ranked = sorted(
            range(len(pool)), key=lambda i: (math.isnan(ranks[i]), -np.nan_to_num(ranks[i]), i)
        )
        assert picks.tolist() == ranked[:budget]
        ranks += 1  # of its own
        for name, values in before.items():
            assert_array_equal(known[name], values)

    @given(task=tasks())
    @examples(0.2)
    def test_what_has_a_gap_cannot_be_ranked(
        self, strategy: Strategy, task: tuple[Arrays, Arrays, int, int]
    ) -> None:
        known, known_labelled, _, seed = task
        has_gap = np.zeros(len(known["confidence"]), np.bool_)
        for name in strategy.needs:
            has_gap |= np.isnan(known[name].reshape(len(has_gap), -1)).any(axis=1)
        ranks = strategy.rank(pool_of(known), pool_of(known_labelled), RNG(seed))
        assert_array_equal(np.isnan(ranks), has_gap)

    @given(task=tasks())
    @examples(0.2)
    def test_equal_seeds_choose_equally(
        self, strategy: Strategy, task: tuple[Arrays, Arrays, int, int]
    ) -> None:
        known, known_labelled, budget, seed = task
        first, second = (
            strategy.select(pool_of(known), pool_of(known_labelled), budget, RNG(seed))
            for _ in range(2)
        )
        assert_array_equal(first, second)

    @given(task=tasks(with_gaps=False), seed=st.integers(0, 1000))
    @examples(0.2)
    def test_only_the_order_of_scores_and_the_shape_of_heatmaps_and_embeddings_count(
        self, strategy: Strategy, task: tuple[Arrays, Arrays, int, int], seed: int
    ) -> None:
        known, known_labelled, budget, _ = task
        steps = np.cumsum(RNG(seed).integers(1, 9, 101))  # strictly increasing

        def increasing(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return steps[values.astype(int) + 50] - 200.0

        changed = {
            name: values * 4 if name in ("confidence", "embedding") else increasing(values)
            for name, values in known.items()
        }
        changed_labelled = {"embedding": known_labelled["embedding"] * 4}
        assert_array_equal(
            strategy.select(pool_of(changed), pool_of(changed_labelled), budget, RNG(seed)),
            strategy.select(pool_of(known), pool_of(known_labelled), budget, RNG(seed)),
        )

    def test_asks_networks_once_for_what_it_needs_and_for_no_more(self, strategy: Strategy) -> None:
        known = {
            "embedding": RNG(0).random((9, 2)),
            "confidence": RNG(0).random((9, 3)),
            **{name: RNG(0).random(9) for name, shape in ARRAYS.items() if shape == "(N,)"},
        }
        asked: list[list[str]] = []

        def observe(names: list[str]) -> Arrays:
            asked.append(names)
            return {name: known[name] for name in names}

        for choose in (
            lambda pool, labelled: strategy.select(pool, labelled, 4, RNG(0)),
            lambda pool, labelled: strategy.rank(pool, labelled, RNG(0)),
        ):
            asked.clear()
            choose(Pool(9, observe=observe), Pool(9, observe=observe))
            expected = [list(names) for names in (strategy.needs, strategy.needs_labelled) if names]
            assert asked == expected

    @pytest.mark.parametrize(
        ("budget", "message"),
        [
            (3, "budget must be at most the pool's 2 images, got 3"),
            (-1, "budget must be at least 0, got -1"),
            (1.0, "budget must be an integer, got 1.0"),
        ],
    )
    def test_a_budget_that_cannot_be(self, strategy: Strategy, budget: Any, message: str) -> None:
        pool = Pool(2, {name: np.zeros((2, 1)) for name in ("embedding", "confidence")})
        with pytest.raises((TypeError, ValueError)) as caught:
            strategy.select(pool, NOTHING, budget, RNG(0))
        assert str(caught.value) == message

    def test_an_empty_pool(self, strategy: Strategy) -> None:
        shapes = {"embedding": (0, 3), "confidence": (0, 14)}
        pool = Pool(0, {name: np.empty(shapes.get(name, 0)) for name in strategy.needs})
        assert strategy.select(pool, NOTHING, 0, RNG(0)).shape == (0,)
        assert strategy.rank(pool).shape == (0,)

    def test_a_pool_that_does_not_have_what_it_needs(self, strategy: Strategy) -> None:
        if not strategy.needs:
            assert strategy.select(Pool(3), NOTHING, 3, RNG(0)).shape == (3,)
            return
        with pytest.raises(ValueError, match=r"pool must have '.*', got nothing"):
            strategy.select(Pool(3), NOTHING, 1, RNG(0))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=NEEDS_INDEX if name == "kaplan-lensu" else ())
        for name in STRATEGIES
    ],
)
@pytest.mark.parametrize(("num_images", "num_labelled"), [(13, 4), (13, 0), (1, 1), (1, 0)])
def test_every_name_keeps_what_strategies_promise(
    name: str, num_images: int, num_labelled: int
) -> None:
    rng = RNG(5)

    def known(num_images: int) -> Arrays:
        sizes = {"(N,)": (), "(N, J)": (14,), "(N, D)": (6,)}
        return {
            array: rng.random((num_images, *sizes[shape]), np.float32)
            for array, shape in ARRAYS.items()
        }

    of_pool = known(num_images)
    if num_images > 1:
        for values in of_pool.values():
            values[[2, 7]] = values[[3, 8]]  # copies
            values[5] = NAN
    chosen = make_strategy(name, **({"num_steps": 3} if name.endswith("-gcn") else {}))
    pool, labelled = Pool(num_images, of_pool), Pool(num_labelled, known(num_labelled))
    ranks = chosen.rank(pool, labelled, RNG(1))
    assert ranks.dtype == np.float64
    has_gap = np.isnan(of_pool["score_max"]) & bool(chosen.needs)
    assert_array_equal(np.isnan(ranks), has_gap)
    order = sorted(range(num_images), key=lambda i: (has_gap[i], -np.nan_to_num(ranks[i]), i))
    for budget in {0, 1, num_images // 2, num_images}:
        picks = chosen.select(pool, labelled, budget, RNG(1))
        assert picks.dtype == np.int64
        assert picks.tolist() == order[:budget]


@pytest.mark.parametrize(
    "name",
    [
        "core-set",
        "mcd-cke",
        "core-gcn",
        "uncertain-gcn",
        pytest.param("kaplan-lensu", marks=NEEDS_INDEX),
    ],
)
def test_labelled_images_have_embeddings_like_the_pool_s(name: str) -> None:
    if name.endswith("-gcn"):
        pytest.importorskip("torch")
    arrays = {
        array: np.ones({"(N,)": (3,), "(N, J)": (3, 2), "(N, D)": (3, 4)}[shape])
        for array, shape in ARRAYS.items()
    }
    with pytest.raises(
        ValueError, match=r"labelled embeddings must be \(M, 4\) like the pool's, got \(2, 5\)"
    ):
        make_strategy(name).select(
            Pool(3, arrays), Pool(2, {"embedding": np.ones((2, 5))}), 1, RNG(0)
        )


def test_select_asks_at_once_for_strategies_that_do_not() -> None:
    class Sum(Strategy):
        name = title = "sum"
        needs = ("score_max", "score_marginal")
        needs_labelled = ("embedding",)

        def rank(self, pool: Pool, labelled: Pool | None = None, rng: Any = None) -> Any:
            return pool["score_max"] + pool["score_marginal"]

    asked = []

    def observe(names: list[str]) -> Arrays:
        asked.append(names)
        return {name: np.arange(3.0) if "score" in name else np.eye(3) for name in names}

    picks = Sum().select(Pool(3, observe=observe), Pool(3, observe=observe), 2, RNG(0))
    assert picks.tolist() == [2, 1]
    assert asked == [["score_max", "score_marginal"], ["embedding"]]
