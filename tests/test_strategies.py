"""Strategies on arrays: what each chooses, what all have in common, their names, and pools."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from strategies import examples, spikes

import vl4pose
from vl4pose.active import (
    ARRAYS,
    RANKINGS,
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
from vl4pose.active.rankings import parse_strategy, priorities
from vl4pose.active.score_columns import score_columns
from vl4pose.active.strategies.likelihood import METHODS
from vl4pose.active.strategies.registry import CLASS_NAMES, strategy_class

Arrays = dict[str, npt.NDArray[Any]]
NAN, INF = np.nan, np.inf
RNG = np.random.default_rng
NOTHING = Pool(0)

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


HAS_INDEX = importlib.util.find_spec("usearch") is not None
NEEDS_INDEX = pytest.mark.skipif(
    not HAS_INDEX, reason="the index is usearch's: pip install 'vl4pose[ann]'"
)


def line(*positions: float) -> Arrays:
    return {"embedding": np.array(positions, np.float64)[:, None]}


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


def pool_of(known: Arrays) -> Pool:
    return Pool(len(next(iter(known.values()))), known)


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


class TestRandom:
    def test_is_a_generator_s_draws(self) -> None:
        expected = RNG(7).random(20)
        assert_array_equal(Random().rank(Pool(20), rng=RNG(7)), expected)
        picks = Random().select(Pool(20), NOTHING, 5, RNG(7))
        assert picks.tolist() == sorted(range(20), key=lambda i: -expected[i])[:5]

    def test_without_one_it_differs_from_call_to_call(self) -> None:
        assert (Random().rank(Pool(20)) != Random().rank(Pool(20))).any()

    def test_takes_every_image_and_every_pair_equally_often(self) -> None:
        num_draws = 3000
        pairs = dict.fromkeys(itertools.combinations(range(4), 2), 0)
        for seed in range(num_draws):
            first, second = sorted(Random().select(Pool(4), NOTHING, 2, RNG(seed)).tolist())
            pairs[first, second] += 1
        expected = num_draws / len(pairs)
        # Five standard deviations of the binomial.
        assert max(abs(n - expected) for n in pairs.values()) < 5 * math.sqrt(expected * 5 / 6)


class TestConfidence:
    @pytest.mark.parametrize("peak", [1, 30])
    def test_is_one_minus_the_mean_height_on_whatever_scale(self, peak: float) -> None:
        heights = np.array([[1.0, 0.5, 0.75], [0.25, 0.0, 0.5], [0.5, 0.5, 0.5]]) * peak
        ranks = Confidence().rank(Pool(3, {"confidence": heights.astype(np.float32)}))
        assert_array_equal(ranks, 1 - peak * np.array([0.75, 0.25, 0.5]))
        assert np.argsort(-ranks).tolist() == [1, 2, 0]

    def test_of_heatmaps(self) -> None:
        heatmaps = spikes([[(2, 2, 0.5)], [(5, 5, 1.0)]])
        sure = np.maximum(heatmaps, spikes([[(2, 2, 1.0)], [(5, 5, 1.0)]]))
        decoded = vl4pose.decode(np.concatenate([sure, heatmaps]))
        assert_array_equal(
            Confidence().rank(Pool(2, {"confidence": decoded.confidence})), [0, 0.25]
        )


class TestMultiPeakEntropy:
    def test_counts_peaks_that_are_equally_high(self) -> None:
        of_joint = [(2, 2, 1.0), (9, 2, 1.0), (2, 9, 1.0)]
        heatmaps = np.concatenate([spikes([of_joint[:n], of_joint[:1]]) for n in (1, 3, 2)])
        entropy = vl4pose.multi_peak_entropy(heatmaps, min_distance=1)
        pool = Pool(3, {"multi_peak_entropy": entropy})
        np.testing.assert_allclose(MultiPeakEntropy().rank(pool), np.log([1, 3, 2]), atol=1e-12)
        assert MultiPeakEntropy().select(pool, NOTHING, 2, RNG(0)).tolist() == [1, 2]


class TestVL4Pose:
    def test_takes_the_bone_that_is_farthest_from_its_length(self) -> None:
        lengths = [4, 9, 5, 2]
        heatmaps = np.concatenate([spikes([[(0, 0, 1.0)], [(n, 0, 1.0)]]) for n in lengths])
        skeleton = vl4pose.Skeleton("bone", ["a", "b"], [("a", "b")])
        params = np.array([[4.0, 0.0]])
        score = vl4pose.score(heatmaps, params, skeleton=skeleton, min_distance=1)
        ranks = VL4Pose().rank(Pool(4, {"score_expected": score}))
        expected = [(math.log(2 * math.pi) + (n - 4) ** 2) / 2 for n in lengths]
        np.testing.assert_allclose(ranks, expected, rtol=1e-6)
        assert np.argsort(-ranks).tolist() == [1, 3, 2, 0]

    @pytest.mark.parametrize("method", METHODS)
    def test_asks_for_the_likelihood_of_its_method(self, method: str) -> None:
        chosen = VL4Pose(method)
        assert chosen.needs == (f"score_{method}",)
        pool = Pool(3, {f"score_{method}": [-1.0, -INF, -2.0]})
        assert chosen.select(pool, NOTHING, 3, RNG(0)).tolist() == [1, 2, 0]

    def test_methods_say_what_analyze_says(self) -> None:
        heatmaps = RNG(0).random((6, 14, 12, 12))
        params = np.tile([3.0, 1.0], (13, 1))
        pool = Pool(
            6, {f"score_{name}": vl4pose.score(heatmaps, params, method=name) for name in METHODS}
        )
        for method in METHODS:
            expected = np.argsort(vl4pose.score(heatmaps, params, method=method), kind="stable")
            assert_array_equal(VL4Pose(method).select(pool, NOTHING, 6, RNG(0)), expected)

    def test_with_entropy_the_ranks_are_added(self) -> None:
        pool = Pool(
            5,
            {
                "score_expected": [-9.0, -1.0, -9.0, NAN, -5.0],
                "multi_peak_entropy": [1.0, 4.0, 3.0, 9.0, 3.0],
            },
        )
        # Likelihood ranks 3.5, 1, 3.5, 2; entropy ranks 1, 4, 2.5, 2.5; of 4 images.
        expected = [4.5 / 8, 5 / 8, 6 / 8, NAN, 4.5 / 8]
        assert_array_equal(VL4PoseEntropy().rank(pool), expected)
        assert VL4PoseEntropy().select(pool, NOTHING, 5, RNG(0)).tolist() == [2, 1, 0, 4, 3]


TEN: Arrays = {"score_expected": -np.arange(10.0)}  # the last is the least likely


class TestPrefiltered:
    def test_a_random_part_comes_first_and_is_ranked(self) -> None:
        chosen = VL4PosePrefiltered("random", share=0.4)
        expected = sorted(RNG(3).choice(10, 4, replace=False).tolist(), reverse=True)
        picks = chosen.select(Pool(10, TEN), NOTHING, 10, RNG(3)).tolist()
        assert picks[:4] == expected
        assert picks[4:] == sorted(set(range(10)) - set(expected), reverse=True)

    def test_every_image_passes_equally_often(self) -> None:
        chosen = VL4PosePrefiltered("random", share=0.5)
        pool = Pool(4, {"score_expected": -np.arange(4.0)})
        first = [int(chosen.select(pool, NOTHING, 1, RNG(seed))[0]) for seed in range(3000)]
        # The least likely of two out of four: the last in 3 of 6 pairs, and so on.
        shares = np.bincount(first, minlength=4) / 3000
        np.testing.assert_allclose(shares, [0, 1 / 6, 2 / 6, 3 / 6], atol=0.05)

    def test_by_k_centre_far_ones_come_first_and_are_ranked(self) -> None:
        pool = Pool(10, {"score_expected": np.arange(10.0), **line(*range(10))})
        chosen = VL4PosePrefiltered("core-set", share=0.2)
        # From 0: the farthest is 9, and then 4, which is as far from both ends as 5.
        picks = chosen.select(pool, pool_of(line(0)), 10, RNG(0)).tolist()
        assert picks == [4, 9, 0, 1, 2, 3, 5, 6, 7, 8]

    def test_all_pass(self) -> None:
        pool = Pool(10, {**TEN, **line(*range(10))})
        for prefilter in ("random", "core-set"):
            chosen = VL4PosePrefiltered(prefilter, share=1)
            assert_array_equal(
                chosen.select(pool, NOTHING, 6, RNG(0)), VL4Pose().select(pool, NOTHING, 6, RNG(0))
            )

    def test_one_at_least_passes(self) -> None:
        pool = Pool(10, {**TEN, **line(5, *[0] * 9)})
        chosen = VL4PosePrefiltered("core-set", share=1e-9)
        assert chosen.select(pool, pool_of(line(0)), 2, RNG(0)).tolist() == [0, 9]

    def test_the_method_is_that_of_the_likelihood(self) -> None:
        assert VL4PosePrefiltered(method="max").needs == ("score_max",)
        assert VL4PosePrefiltered("core-set").needs == ("score_expected", "embedding")
        assert VL4PosePrefiltered("core-set").needs_labelled == ("embedding",)


def radius(points: npt.NDArray[Any], centres: npt.NDArray[Any]) -> float:
    """Return how far the farthest point is from its nearest centre."""
    between = np.linalg.norm(points[:, None] - centres[None], axis=-1)
    return float(between.min(axis=1).max())


class TestCoreSet:
    def test_takes_the_farthest_from_what_is_labelled_and_chosen(self) -> None:
        pool = pool_of(line(1, 2, 10, 6, 3))
        assert CoreSet().select(pool, pool_of(line(0)), 5, RNG(0)).tolist() == [2, 3, 4, 0, 1]
        assert CoreSet().select(pool, pool_of(line(10)), 3, RNG(0)).tolist() == [0, 3, 4]
        assert_array_equal(CoreSet().rank(pool, pool_of(line(0))), [2, 1, 5, 4, 3])

    @pytest.mark.parametrize("labelled", [None, NOTHING, Pool(1, line(NAN))])
    def test_where_nothing_is_labelled_it_begins_with_the_first(self, labelled: Any) -> None:
        ranks = CoreSet().rank(pool_of(line(4, 5, 9, 0)), labelled)
        assert ranks.tolist() == [4, 1, 3, 2]

    def test_copies_and_gaps_come_last(self) -> None:
        pool = pool_of(line(NAN, 0, 7, 7, INF, 3, 0))
        labelled = pool_of(line(0, NAN))
        assert CoreSet().select(pool, labelled, 7, RNG(0)).tolist() == [2, 5, 1, 3, 6, 0, 4]
        assert_array_equal(CoreSet().rank(pool, labelled), [NAN, 3, 5, 2, NAN, 4, 1])

    @given(
        seed=st.integers(0, 2**32 - 1),
        sizes=st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(1, 3)),
        budget=st.integers(0, 4),
    )
    def test_covers_the_pool_at_most_half_as_well_as_the_best_choice(
        self, seed: int, sizes: tuple[int, int, int], budget: int
    ) -> None:
        num_images, num_labelled, num_values = sizes
        budget = min(budget, num_images)
        if budget + num_labelled == 0:
            return
        rng = RNG(seed)
        points = rng.integers(-9, 9, (num_images, num_values)).astype(np.float64)
        given = rng.integers(-9, 9, (num_labelled, num_values)).astype(np.float64)
        picks = CoreSet().select(
            Pool(num_images, {"embedding": points}), Pool(num_labelled, {"embedding": given}),
            budget, rng,
        )  # fmt: skip
        best = min(
            radius(points, np.concatenate([given, points[list(subset)]]))
            for subset in itertools.combinations(range(num_images), budget)
        )
        assert radius(points, np.concatenate([given, points[picks]])) <= 2 * best + 1e-9

    @given(seed=st.integers(0, 2**32 - 1), sizes=st.tuples(st.integers(1, 40), st.integers(1, 5)))
    def test_is_the_greedy_choice_step_by_step(self, seed: int, sizes: tuple[int, int]) -> None:
        rng = RNG(seed)
        points, given = rng.normal(size=(sizes[0], 4)), rng.normal(size=(sizes[1], 4))
        picks = CoreSet().select(
            Pool(len(points), {"embedding": points}), Pool(len(given), {"embedding": given}),
            sizes[0], rng,
        )  # fmt: skip
        centres = given
        for pick in picks:
            between = np.linalg.norm(points[:, None] - centres[None], axis=-1).min(axis=1)
            assert between[pick] == pytest.approx(between.max(), rel=1e-12)
            centres = np.concatenate([centres, points[[pick]]])


# Of the four lowest heatmaps three are alike.
LOW_AND_HIGH: Arrays = {
    "confidence": np.array([0.9, 0.1, 0.12, 0.8, 0.11, 0.7, 0.2, 0.95, 1, 1])[:, None],
    **line(50, 1, 1.1, 60, 1.2, -40, 5, 70, 80, 90),
}


class TestKaplanLensu:
    def test_spreads_over_the_lowest_heatmaps_alone(self) -> None:
        chosen = KaplanLensu(share=0.4, approximate=False)
        picks = chosen.select(pool_of(LOW_AND_HIGH), NOTHING, 10, RNG(0)).tolist()
        # Begins with the lowest, 1; the farthest of the four is 6, the next 4, then 2.
        assert picks[:4] == [1, 6, 4, 2]
        assert picks[4:] == [5, 3, 0, 7, 8, 9]  # the others by their heatmaps

    def test_begins_around_what_is_labelled(self) -> None:
        chosen = KaplanLensu(share=0.4, approximate=False)
        labelled = pool_of(line(5.0, 0.9))
        assert chosen.select(pool_of(LOW_AND_HIGH), labelled, 3, RNG(0)).tolist() == [4, 1, 2]

    def test_keeps_a_fifth(self) -> None:
        chosen = KaplanLensu(approximate=False)
        assert chosen.select(pool_of(LOW_AND_HIGH), NOTHING, 3, RNG(0)).tolist() == [1, 4, 2]
        assert chosen.share == 0.2
        # And not less: of eleven images three, of which 6 is the farthest from 1.
        more = {name: np.concatenate([values, [[2]]]) for name, values in LOW_AND_HIGH.items()}
        more["confidence"][6] = 0.115
        assert chosen.select(pool_of(more), NOTHING, 3, RNG(0)).tolist() == [1, 6, 4]

    @NEEDS_INDEX
    def test_the_index_finds_every_cluster(self) -> None:
        rng = RNG(0)
        cluster = np.repeat(np.arange(5), 40)
        points = np.eye(5)[cluster] * 100 + rng.normal(size=(200, 5))
        confidence = rng.random((200, 3))
        confidence[cluster == 4] += 1  # sure, and so not kept
        pool = Pool(200, {"confidence": confidence, "embedding": points.astype(np.float32)})
        picks = KaplanLensu(share=0.8).select(pool, NOTHING, 4, rng)
        assert sorted(cluster[picks].tolist()) == [0, 1, 2, 3]

    def test_without_usearch_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "usearch.index", None)
        with pytest.raises(ImportError, match=r"needs usearch: pip install 'vl4pose\[ann\]'"):
            KaplanLensu().select(pool_of(LOW_AND_HIGH), NOTHING, 1, RNG(0))


def test_real_heatmaps_are_chosen_in_the_order_of_the_released_scores(test_data: Path) -> None:
    with np.load(test_data / "released_lsp.npz") as released:
        heatmaps, params, fast = released["heatmaps"], released["params"], released["fast"]
        entropy, is_scored = released["mpe"], released["fast_ok"]
    border = {"exclude_border": True}
    options = {**border, "num_peaks": 1, "min_distance": 8}  # with one peak all methods agree
    known: Arrays = {
        "score_expected": vl4pose.score(heatmaps, params, skeleton="lsp", **options),
        "multi_peak_entropy": vl4pose.multi_peak_entropy(heatmaps, **border),
        "confidence": vl4pose.decode(heatmaps).confidence,
    }
    scored = pool_of({name: values[is_scored] for name, values in known.items()})
    assert len(scored) > 60
    by_likelihood = VL4Pose().select(scored, NOTHING, len(scored), RNG(0))
    assert_array_equal(by_likelihood, np.argsort(fast[is_scored]))
    by_entropy = MultiPeakEntropy().select(pool_of(known), NOTHING, 64, RNG(0))
    assert (np.diff(entropy[by_entropy]) < 1e-5).all()  # theirs is of float32
    # Heatmaps that were trained to a peak of 30.
    doubt = Confidence().rank(pool_of(known))
    assert -29 < doubt.min() < doubt.max() < 1
    assert doubt.mean() < -5


class TestNames:
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_each_has_a_documented_class(self, name: str) -> None:
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

    def test_no_two_are_called_the_same(self) -> None:
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
    def test_however_it_is_written(
        self, name: str, options: dict[str, Any], kind: type[Strategy]
    ) -> None:
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
        self, name: Any, options: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            make_strategy(name, **options)

    @pytest.mark.parametrize("module", [vl4pose.active, vl4pose.active.strategies])
    def test_unknown_attributes(self, module: Any) -> None:
        with pytest.raises(AttributeError, match=f"'{module.__name__}' has no attribute 'Radnom'"):
            _ = module.Radnom

    def test_examples_of_the_documentation_run(self) -> None:
        for name in ("strategies", "strategies.registry"):
            result = doctest.testmod(importlib.import_module(f"vl4pose.active.{name}"))
            assert result.attempted > 0
            assert result.failed == 0

    def test_arrays_need_numpy_alone(self, tmp_path: Path) -> None:
        code = (
            "import sys\n"
            "for name in ('torch', 'pyarrow', 'usearch', 'scipy'):\n    sys.modules[name] = None\n"
            "import numpy as np\nfrom vl4pose.active import STRATEGIES, Pool, make_strategy\n"
            "pool = Pool(3, {'embedding': np.eye(3), 'score_expected': np.arange(3.0)})\n"
            "for name in STRATEGIES:\n    make_strategy(name)\n"
            "for name in ('core-set', 'vl4pose'):\n"
            "    print(make_strategy(name).select(pool, Pool(0), 2, np.random.default_rng(0)))\n"
        )
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stderr == ""
        assert run.stdout == "[0 1]\n[0 1]\n"


class TestTables:
    @pytest.mark.parametrize("name", RANKINGS)
    def test_are_ranked_by_the_strategies(self, name: str) -> None:
        rng = RNG(0)
        likelihood, entropy = rng.normal(size=(2, 30)).round(1)
        likelihood[3] = entropy[5] = NAN
        confidence = rng.random((30, 14))
        pool = {
            "score_expected": likelihood,
            "multi_peak_entropy": entropy,
            "confidence": confidence,
        }
        chosen = {
            "likelihood": VL4Pose(),
            "entropy": MultiPeakEntropy(),
            "likelihood+entropy": VL4PoseEntropy(),
            "confidence": Confidence(),
            "random": Random(),
        }[name]
        table = score_columns(
            {"score": likelihood, "multi_peak_entropy": entropy, "confidence": confidence}
        )
        assert_array_equal(
            priorities(parse_strategy(name), table, RNG(1)),
            chosen.rank(Pool(30, pool), rng=RNG(1)),
        )

    @pytest.mark.parametrize(
        ("name", "other"),
        [
            ("VL4Pose", "likelihood"),
            ("vl4pose + entropy", "likelihood+entropy"),
            ("Multi-Peak Entropy", "entropy"),
        ],
    )
    def test_a_strategy_s_name_is_known_there(self, name: str, other: str) -> None:
        assert parse_strategy(name) == parse_strategy(other)

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("Core Set", ": that is diversity 'k-centre' with a shortlist of 1.0"),
            ("kaplan-lensu", ": that is strategy 'confidence' with diversity 'k-centre'"),
            ("mc-dropout", ", which needs more than a table of scores has"),
            ("mc-drop", ""),
        ],
    )
    def test_one_that_a_table_does_not_do_for_says_why(self, name: str, hint: str) -> None:
        with pytest.raises(ValueError, match=f"strategy must be one of .*got '{name}'{hint}$"):
            vl4pose.select([1.0], 1, strategy=name)

    def test_core_set_is_a_diversity_of_tables(self) -> None:
        points, known = RNG(0).normal(size=(40, 3)), RNG(1).normal(size=(4, 3))
        rows = vl4pose.select(
            np.zeros(40), 10, embeddings=points, labelled=known, shortlist=1.0
        ).rows
        pools = Pool(40, {"embedding": points}), Pool(4, {"embedding": known})
        assert_array_equal(rows, CoreSet().select(*pools, 10, RNG(0)))

    def test_the_recipe_of_kaplan_and_lensu_is_two_options_of_tables(self) -> None:
        confidence, points = RNG(0).random(50), RNG(1).normal(size=(50, 3))
        rows = vl4pose.select(confidence, 5, strategy="confidence", embeddings=points).rows
        pool = Pool(50, {"confidence": confidence[:, None], "embedding": points})
        assert_array_equal(rows, KaplanLensu(approximate=False).select(pool, NOTHING, 5, RNG(0)))


class TestPool:
    def test_arrays_are_found_by_name(self) -> None:
        pool = Pool(2, {"confidence": [[1, 2], [3, 4]]})
        assert len(pool) == pool.num_images == 2
        assert_array_equal(pool["confidence"], [[1, 2], [3, 4]])

    def test_a_tensor_will_do(self) -> None:
        torch = pytest.importorskip("torch")
        tensor = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
        assert_array_equal(Pool(2, {"embedding": tensor})["embedding"], np.ones((2, 3)))

    def test_what_is_not_known_is_observed_once(self) -> None:
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
    def test_arrays_that_cannot_be(self, given: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            Pool(2, given)

    @pytest.mark.parametrize("name", ["embeding", "score"])
    def test_unknown_names_are_not_asked_for(self, name: str) -> None:
        with pytest.raises(ValueError, match="arrays must be named one of "):
            _ = Pool(2, observe=lambda names: {})[name]
