"""Strategies on scores, heatmaps and embeddings: what each chooses where the answer is known."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from strategies import spikes
from strategy_pools import INF, NAN, NEEDS_INDEX, NOTHING, RNG, Arrays, line, pool_of

import vl4pose
from vl4pose.active import (
    Confidence,
    CoreSet,
    KaplanLensu,
    MultiPeakEntropy,
    Pool,
    Random,
    VL4Pose,
    VL4PoseEntropy,
    VL4PosePrefiltered,
)
from vl4pose.active.strategies.likelihood import METHODS


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
