"""Selecting from arrays: rankings, budgets, diversity, spacing and the random share."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math
import tracemalloc
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from new_process import run_python

import vl4pose
from vl4pose.active.rankings import Ranking, parse_strategy, priorities
from vl4pose.active.score_columns import score_columns
from vl4pose.active.spacing import FrameGaps, NearDuplicates, pick_in_order
from vl4pose.active.video_frames import folder_of, frame_number, name_of

NAN = float("nan")
RNG = np.random.default_rng


def quietly(*args: Any, **options: Any) -> vl4pose.Selection:
    """Select, also where spacing leaves fewer rows than the budget, which warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return vl4pose.select(*args, **options)


class TestRanking:
    def test_likelihood_takes_the_lowest_first(self) -> None:
        selection = vl4pose.select([-3.0, -80.0, -5.0, -12.0], 3)
        assert selection.rows.tolist() == [1, 3, 2]
        assert selection.priority.tolist() == [80, 12, 5]
        assert selection.rank.tolist() == selection.position.tolist() == [1, 2, 3]
        assert selection.chosen_by.tolist() == ["ranking"] * 3
        assert selection.percentile.tolist() == [25, 50, 75]
        assert (selection.rows.dtype, selection.rank.dtype) == (np.int64, np.int32)

    @pytest.mark.parametrize(
        ("strategy", "rows"),
        [
            ("entropy", [2, 0, 1]),
            ("multi-peak entropy", [2, 0, 1]),
            ("Multi_Peak_Entropy", [2, 0, 1]),
            ("MPE", [2, 0, 1]),
            ("confidence", [1, 0, 2]),
            ("1 - confidence", [1, 0, 2]),
            ("heatmap activation", [1, 0, 2]),
            ("likelihood", [1, 2, 0]),
            ("column:width", [0, 1, 2]),
        ],
    )
    def test_every_strategy_has_its_column_and_direction(self, strategy, rows) -> None:
        scores = {
            "score": [-1.0, -9.0, -5.0],
            "multi_peak_entropy": [2.0, 1.0, 3.0],
            "confidence": np.array([[0.5, 0.5], [0.9, 0.0], [0.8, 0.7]]),
            "width": [9, 8, 7],
        }
        assert vl4pose.select(scores, 3, strategy=strategy).rows.tolist() == rows

    def test_confidence_is_one_minus_the_mean_of_the_joints(self) -> None:
        scores = {"confidence": np.array([[0.5, 0.25], [1.0, 0.0]])}
        selection = vl4pose.select(scores, 2, strategy="confidence")
        assert selection.priority.tolist() == [0.625, 0.5]
        assert selection.rows.tolist() == [0, 1]

    def test_a_column_can_be_taken_from_its_lowest_value(self) -> None:
        scores = {"age": [3, 1, 2]}
        lowest = vl4pose.select(scores, 3, strategy="column:age", lowest_first=True)
        assert lowest.rows.tolist() == [1, 2, 0]
        assert lowest.priority.tolist() == [-1, -2, -3]

    def test_likelihood_and_entropy_share_their_ranks(self) -> None:
        scores = {
            "score": [-9.0, -1.0, -9.0, NAN, -5.0],
            "multi_peak_entropy": [1.0, 4.0, 3.0, 9.0, 3.0],
        }
        selection = vl4pose.select(scores, 4, strategy="entropy + likelihood")
        # Likelihood ranks 3.5, 1, 3.5, 2; entropy ranks 1, 4, 2.5, 2.5; of 4 rows.
        assert dict(zip(selection.rows.tolist(), selection.priority.tolist(), strict=True)) == {
            2: 6 / 8,
            1: 5 / 8,
            0: 4.5 / 8,
            4: 4.5 / 8,
        }
        assert selection.rows.tolist() == [2, 1, 0, 4]
        assert selection.settings["strategy"] == "likelihood+entropy"

    def test_ranks_are_those_of_scipy(self) -> None:
        stats = pytest.importorskip("scipy.stats")
        scores, entropy = RNG(0).integers(0, 20, (2, 100)).astype(float)
        both = {"score": scores, "multi_peak_entropy": entropy}
        expected = stats.rankdata(-scores) + stats.rankdata(entropy)
        ours = priorities(parse_strategy("likelihood+entropy"), score_columns(both), RNG(0))
        np.testing.assert_array_equal(ours, expected / 200)

    def test_of_equal_rows_the_first_comes_first(self) -> None:
        assert vl4pose.select([-1.0] * 5, 4).rows.tolist() == [0, 1, 2, 3]
        assert vl4pose.select([0.0, -0.0], 2).rows.tolist() == [0, 1]

    def test_so_it_is_among_many(self) -> None:
        scores = RNG(0).integers(0, 3, 5000).astype(float)
        expected = sorted(range(5000), key=scores.__getitem__)
        assert vl4pose.select(scores, 5000).rows.tolist() == expected

    def test_infinite_scores_are_scores(self) -> None:
        scores = [5.0, -math.inf, math.inf, -1e30]
        assert vl4pose.select(scores, 4).rows.tolist() == [1, 3, 0, 2]

    def test_random_depends_on_the_seed_alone(self) -> None:
        scores = RNG(1).normal(size=50)
        first = vl4pose.select(scores, 20, strategy="random", seed=7)
        assert (
            first.rows.tolist()
            == vl4pose.select(scores + 1, 20, strategy="random", seed=7).rows.tolist()
        )
        assert set(first.chosen_by) == {"random"}
        other = vl4pose.select(scores, 20, strategy="random", seed=8)
        assert first.rows.tolist() != other.rows.tolist()

    def test_random_under_a_constraint_is_no_random_sample_and_not_called_so(self) -> None:
        selection = quietly([1.0] * 9, 3, strategy="random", order=range(9), min_gap=2)
        assert set(selection.chosen_by) == {"ranking"}

    @pytest.mark.parametrize(
        "kind", ["list", "float16", "int", "torch", "bfloat16", "masked", "strided"]
    )
    def test_any_array_will_do(self, kind: str) -> None:
        values = [-3.0, -80.0, -5.0]
        if kind in ("torch", "bfloat16"):
            torch = pytest.importorskip("torch")
            dtype = torch.bfloat16 if kind == "bfloat16" else torch.float64
            scores = torch.tensor(values, dtype=dtype, requires_grad=True)
        elif kind == "masked":
            scores = np.ma.masked_array([*values, -99.0], [False, False, False, True])
        elif kind == "strided":
            scores = np.repeat(values, 2)[::2]
        else:
            scores = values if kind == "list" else np.array(values, kind)
        selection = vl4pose.select(scores, 3)
        assert selection.rows.tolist() == [1, 2, 0]
        assert selection.counts["without_score"] == (kind == "masked")

    def test_an_analysis_is_a_table_of_its_arrays(self) -> None:
        heatmaps = RNG(0).random((8, 14, 12, 12), dtype=np.float32)
        heatmaps[5, 3, 2, 2] = NAN
        params = np.tile(np.float32([5.0, 1.0]), (13, 1))
        analysis = vl4pose.analyze(heatmaps, params)
        by_score = vl4pose.select(analysis, 3)
        assert by_score.rows.tolist() == np.argsort(analysis.score)[:3].tolist()
        entropy = vl4pose.select(analysis, 7, strategy="entropy")
        order = np.argsort(-analysis.entropy.sum(1, dtype=float), kind="stable")
        assert entropy.rows.tolist() == [row for row in order.tolist() if row != 5]
        assert entropy.counts["without_score"] == 1

    @given(st.lists(st.floats(-100, 100), min_size=1, max_size=30, unique=True), st.randoms())
    def test_the_order_of_the_pool_does_not_matter(self, scores, random) -> None:
        order = list(range(len(scores)))
        random.shuffle(order)
        both = {"score": np.array(scores), "multi_peak_entropy": np.array(scores)[::-1].copy()}
        for name in ("likelihood", "entropy", "likelihood+entropy"):
            strategy = parse_strategy(name)
            straight = priorities(strategy, score_columns(both), RNG(0))
            shuffled = {key: values[order] for key, values in both.items()}
            np.testing.assert_array_equal(
                priorities(strategy, score_columns(shuffled), RNG(0)), straight[order]
            )
        number = len(scores) // 2
        rows = vl4pose.select(np.array(scores)[order], number).rows
        assert [order[row] for row in rows] == vl4pose.select(scores, number).rows.tolist()


class TestBudget:
    def test_rows_without_a_score_are_never_chosen(self) -> None:
        scores = [NAN, -2.0, NAN, -4.0]
        selection = vl4pose.select(scores, 2)
        assert selection.rows.tolist() == [3, 1]
        assert selection.counts == {
            "rows": 4,
            "without_score": 2,
            "selectable": 2,
            "selected": 2,
        }

    @pytest.mark.parametrize("strategy", ["random", "column:age", "confidence"])
    def test_not_by_another_strategy_either(self, strategy: str) -> None:
        scores = {"score": [NAN, -1.0], "age": [9, 8], "confidence": [0.1, 0.2]}
        selection = vl4pose.select(scores, 1, strategy=strategy, random_share=1.0)
        assert selection.rows.tolist() == [1]

    @pytest.mark.parametrize("budget", [-1, 3, 10**30])
    def test_a_budget_out_of_range_names_both_numbers(self, budget: int) -> None:
        with pytest.raises(ValueError, match=r"budget must be between 0 and .* \(2\), got ") as e:
            vl4pose.select([1.0, NAN, 2.0], budget)
        assert str(budget) in str(e.value) or "bits" in str(e.value)

    def test_of_nothing_nothing_can_be_chosen(self) -> None:
        assert len(vl4pose.select([1.0, 2.0], 0)) == 0
        assert len(vl4pose.select([], 0)) == 0
        assert len(vl4pose.select([NAN], 0, random_share=0.5)) == 0
        empty = vl4pose.select(
            [1.0], 0, diversity="k-centre", embeddings=np.zeros((1, 2)), order=[1], min_gap=2
        )
        assert empty.rows.dtype == np.int64
        assert empty.shortfall is None

    @given(
        st.lists(st.one_of(st.just(NAN), st.floats(-9, 9)), max_size=40),
        st.floats(0, 1),
        st.floats(0, 1),
        st.integers(0, 3),
        st.sampled_from(["likelihood", "random", "entropy"]),
        st.booleans(),
    )
    def test_no_row_twice_the_budget_kept_the_same_again(
        self, scores, share, random_share, seed, strategy, diverse
    ) -> None:
        selectable = [row for row, score in enumerate(scores) if not math.isnan(score)]
        budget = int(share * len(selectable))
        options: dict[str, Any] = {
            "strategy": strategy,
            "random_share": random_share,
            "seed": seed,
        }
        if diverse:
            options["embeddings"] = RNG(seed).normal(size=(len(scores), 3))
        selection = vl4pose.select(scores, budget, **options)
        rows = selection.rows.tolist()
        assert len(rows) == len(set(rows)) == budget
        assert set(rows) <= set(selectable)
        assert rows == vl4pose.select(scores, budget, **options).rows.tolist()
        assert selection.priority.shape == selection.percentile.shape == (budget,)
        wanted = Fraction(random_share) * budget
        if strategy != "random":
            assert abs((selection.chosen_by == "random").sum() - wanted) <= Fraction(1, 2)


class TestRandomShare:
    def test_it_is_a_sample_of_all_selectable_rows(self) -> None:
        """Every row as often as any other, and every pair as often as any other pair."""
        scores = [-9.0, -1.0, NAN, -5.0, -3.0, -2.0]
        tries = 1000
        single, pairs = dict.fromkeys(range(6), 0), {}
        for seed in range(tries):
            selection = vl4pose.select(scores, 4, random_share=0.5, seed=seed)
            drawn = selection.rows[selection.chosen_by == "random"].tolist()
            assert len(drawn) == 2
            for row in drawn:
                single[row] += 1
            pair = frozenset(drawn)
            pairs[pair] = pairs.get(pair, 0) + 1
        assert single.pop(2) == 0
        for count in single.values():  # 4 standard deviations
            assert abs(count - tries * 0.4) < 4 * math.sqrt(tries * 0.4 * 0.6)
        assert len(pairs) == 10
        for count in pairs.values():
            assert abs(count - tries * 0.1) < 4 * math.sqrt(tries * 0.1 * 0.9)

    def test_it_does_not_depend_on_the_scores_or_on_spacing(self) -> None:
        scores = RNG(0).normal(size=60)
        options = {"random_share": 0.3, "seed": 5}

        def drawn(selection: vl4pose.Selection) -> list[int]:
            return selection.rows[selection.chosen_by == "random"].tolist()

        plain = drawn(vl4pose.select(scores, 20, **options))
        assert plain == drawn(vl4pose.select(scores**3, 20, strategy="entropy", **options))
        spaced = vl4pose.select(scores, 20, order=np.arange(60), min_gap=2, **options)
        assert plain == drawn(spaced)

    @pytest.mark.parametrize(("budget", "share"), [(20, 0.1), (10, 0.33), (7, 1.0), (9, 0.5)])
    def test_any_first_part_of_the_selection_holds_it(self, budget: int, share: float) -> None:
        selection = vl4pose.select(np.arange(50.0), budget, random_share=share)
        number = int((selection.chosen_by == "random").sum())
        assert number == math.floor(budget * share + 0.5)
        for part in range(budget + 1):
            drawn = int((selection.chosen_by[:part] == "random").sum())
            assert drawn == part * number // budget

    def test_the_others_go_on_by_rank(self) -> None:
        selection = vl4pose.select(np.arange(50.0), 10, random_share=0.2, seed=3)
        drawn = set(selection.rows[selection.chosen_by == "random"].tolist())
        ranked = selection.rows[selection.chosen_by == "ranking"].tolist()
        assert ranked == [row for row in range(50) if row not in drawn][:8]


def closest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(((points[:, None] - others) ** 2).sum(-1)).min(1)


class TestDiversity:
    def test_k_centre_takes_the_farthest_out_of_the_shortlist(self) -> None:
        # The last row is far away from all, but too likely to be in the shortlist.
        embeddings = np.array([[0.0], [1.0], [10.0], [11.0], [4.0], [99.0]])
        scores = [-9.0, -8.0, -7.0, -6.0, -5.0, -4.0]
        selection = vl4pose.select(scores, 3, embeddings=embeddings, shortlist=5)
        assert selection.rows.tolist() == [0, 3, 4]
        assert set(selection.chosen_by) == {"diversity"}
        assert selection.settings["shortlist"] == 5

    def test_it_begins_around_what_is_labelled(self) -> None:
        embeddings = np.array([[0.0], [1.0], [10.0], [11.0], [4.0]])
        scores = [-9.0, -8.0, -7.0, -6.0, -5.0]
        options = {"embeddings": embeddings, "shortlist": 5}
        selection = vl4pose.select(scores, 2, labelled=[[10.5]], **options)
        assert selection.rows.tolist() == [0, 4]
        none = np.empty((0, 1))
        assert vl4pose.select(scores, 2, labelled=none, **options).rows.tolist() == [0, 3]

    @pytest.mark.parametrize("spelling", ["k-centre", "K-Center", "core_set", "coreset", "kcenter"])
    def test_it_has_other_names(self, spelling: str) -> None:
        selection = vl4pose.select([1.0, 2.0], 1, diversity=spelling, embeddings=[[0.0], [1.0]])
        assert selection.settings["diversity"] == "k-centre"

    def test_embeddings_alone_ask_for_it_and_none_turns_it_off(self) -> None:
        scores, embeddings = RNG(0).normal(size=20), RNG(1).normal(size=(20, 2))
        assert vl4pose.select(scores, 2, embeddings=embeddings).settings["diversity"] == "k-centre"
        plain = vl4pose.select(scores, 5, embeddings=embeddings, diversity="none")
        assert plain.rows.tolist() == np.argsort(scores)[:5].tolist()

    def test_rows_without_an_embedding_are_not_selectable(self) -> None:
        embeddings = np.array([[0.0], [NAN], [2.0], [np.inf]])
        selection = vl4pose.select([-4.0, -9.0, -1.0, NAN], 2, embeddings=embeddings)
        assert selection.rows.tolist() == [0, 2]
        assert selection.counts["without_embedding"] == 1  # the other one has no score either
        assert selection.counts["without_score"] == 1

    @pytest.mark.parametrize(
        ("budget", "shortlist", "expected"),
        [
            (5, None, 20),
            (30, None, 60),
            (80, None, 100),
            (5, 0.1, 10),
            (5, 7, 7),
            (5, 1000, 100),
            (5, 1.0, 100),
            (1, 1, 1),
        ],
    )
    def test_size_of_the_shortlist(self, budget, shortlist, expected) -> None:
        selection = vl4pose.select(
            np.arange(100.0), budget, embeddings=np.ones((100, 1)), shortlist=shortlist
        )
        assert selection.settings["shortlist"] == expected

    @given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(2, 25))
    def test_against_brute_force(self, seed: int, has_labelled: bool, num_rows: int) -> None:
        rng = RNG(seed)
        # Of halves, so that equal distances occur and every one is exact.
        points = rng.integers(-6, 7, (num_rows, 2)) / 2.0
        labelled = rng.integers(-6, 7, (3, 2)) / 2.0 if has_labelled else None
        scores = rng.permutation(num_rows).astype(float)
        budget, size = sorted(rng.integers(1, num_rows + 1, 2).tolist())
        selection = vl4pose.select(
            scores, budget, embeddings=points, labelled=labelled, shortlist=size
        )
        candidates = np.argsort(scores).tolist()[:size]
        picks = [] if has_labelled else [candidates[0]]
        while len(picks) < budget:
            centres = points[picks] if labelled is None else np.vstack([labelled, points[picks]])
            left = [row for row in candidates if row not in picks]
            distances = closest(points[left], centres)
            picks.append(left[int(distances.argmax())])
        assert selection.rows.tolist() == picks

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
    def test_any_numbers_are_embeddings(self, dtype: str) -> None:
        points = RNG(0).integers(-99, 99, (30, 4))
        plain = vl4pose.select(np.arange(30.0), 5, embeddings=points.astype(float), shortlist=30)
        other = vl4pose.select(np.arange(30.0), 5, embeddings=points.astype(dtype), shortlist=30)
        assert other.rows.tolist() == plain.rows.tolist()

    def test_copies_are_taken_last_and_by_rank(self) -> None:
        embeddings = np.array([[0.0], [0.0], [5.0], [0.0], [5.0]])
        selection = vl4pose.select(np.arange(5.0), 4, embeddings=embeddings, shortlist=5)
        assert selection.rows.tolist() == [0, 2, 1, 3]
        assert selection.chosen_by.tolist() == ["diversity"] * 2 + ["ranking"] * 2

    def test_approximately(self) -> None:
        pytest.importorskip("usearch")
        points = RNG(0).normal(size=(3000, 8))
        scores = RNG(1).normal(size=3000)
        options = {"embeddings": points, "shortlist": 1000, "random_share": 0.1}
        exact, close = (
            vl4pose.select(scores, 100, approximate=approximate, **options)
            for approximate in (False, True)
        )
        assert close.settings["approximate"]
        assert (
            close.rows.tolist()
            == vl4pose.select(scores, 100, approximate=True, **options).rows.tolist()
        )
        shortlist = np.argsort(scores)[:1000]
        reach = [closest(points[shortlist], points[s.rows]).max() for s in (exact, close)]
        assert reach[1] <= 1.2 * reach[0]

    def test_rows_drawn_at_random_are_centres_too(self) -> None:
        points = RNG(0).normal(size=(40, 2))
        selection = vl4pose.select(
            np.arange(40.0), 6, embeddings=points, shortlist=40, random_share=0.5, seed=1
        )
        drawn = selection.rows[selection.chosen_by == "random"].tolist()
        diverse = selection.rows[selection.chosen_by == "diversity"].tolist()
        left = [row for row in range(40) if row not in drawn]
        assert diverse[0] == left[0]
        for i in (1, 2):
            distances = closest(points, points[drawn + diverse[:i]])
            assert diverse[i] == distances.argmax()


class TestSpacing:
    def test_frames_keep_their_gap_within_a_group(self) -> None:
        scores = [-9.0, -8.0, -7.0, -6.0, -5.0, -4.0]
        groups = ["a", "a", "b", "a", "b", None]
        order = [10.0, 12.0, 11.0, 15.0, 16.0, 10.0]
        selection = vl4pose.select(scores, 4, groups=groups, order=order, min_gap=5)
        assert selection.rows.tolist() == [0, 2, 3, 4]
        assert selection.counts["gap"] == 1
        assert selection.settings["groups"] == "array"

    def test_without_groups_all_rows_are_of_one(self) -> None:
        assert vl4pose.select([-3, -2, -1], 2, order=[0, 1, 2], min_gap=2).rows.tolist() == [0, 2]

    def test_frames_without_an_order_are_not_selectable(self) -> None:
        selection = vl4pose.select([-3.0, -2.0, -1.0], 1, order=[NAN, 5, np.inf], min_gap=1)
        assert selection.rows.tolist() == [1]
        assert selection.counts["without_order"] == 2

    def test_near_duplicates_are_passed_over(self) -> None:
        embeddings = np.array([[0.0, 0.0], [0.0, 0.9], [0.0, 1.0], [5.0, 5.0], [5.0, 5.0]])
        selection = vl4pose.select(
            [-5.0, -4.0, -3.0, -2.0, -1.0],
            3,
            embeddings=embeddings,
            diversity="none",
            min_separation=1.0,
        )
        assert selection.rows.tolist() == [0, 2, 3]  # exactly 1 apart is apart
        assert selection.counts["near-duplicate"] == 1

    def test_so_are_those_of_labelled_rows(self) -> None:
        selection = quietly(
            [-2.0, -1.0],
            2,
            embeddings=[[0.0], [3.0]],
            diversity="none",
            labelled=[[0.4]],
            min_separation=0.5,
        )
        assert selection.rows.tolist() == [1]

    @pytest.mark.parametrize("offset", [0.0, 1e6])
    def test_equal_embeddings_are_found_whatever_their_size(self, offset: float) -> None:
        points = np.repeat(RNG(0).normal(size=(20, 8)) + offset, 2, axis=0)
        selection = vl4pose.select(
            -np.arange(40.0)[::-1],
            20,
            embeddings=points,
            diversity="none",
            min_separation=1e-6,
        )
        assert sorted((selection.rows // 2).tolist()) == list(range(20))

    @pytest.mark.parametrize("offset", [0.0, 1e6, -1e12])
    def test_so_are_those_of_what_was_chosen_long_before(self, offset: float) -> None:
        points = RNG(0).normal(size=(50, 7)) + offset
        spacing = NearDuplicates(np.repeat(points, 2, axis=0), 1e-9, None)
        for row in range(0, 80, 2):
            spacing.add(row)
        admitted = spacing.admits(np.arange(1, 100, 2))
        assert admitted.tolist() == [False] * 40 + [True] * 10

    def test_looking_at_many_at_once_takes_little_memory(self) -> None:
        points = RNG(0).normal(size=(24_000, 2))
        spacing = NearDuplicates(points, 1e-9, None)
        for row in range(4_000):
            spacing.add(row)
        tracemalloc.start()
        try:
            assert spacing.admits(np.arange(4_000, 24_000)).all()
            assert tracemalloc.get_traced_memory()[1] < 100e6  # all pairs at once are 640 MB
        finally:
            tracemalloc.stop()

    def test_of_many_groups_each_row_is_looked_at_once(self) -> None:
        class Groups(np.ndarray[Any, Any]):
            compared = 0

            def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
                plain = [np.asarray(value) for value in inputs]
                Groups.compared += max(value.size for value in plain)
                return getattr(ufunc, method)(*plain, **kwargs)

        groups = (np.arange(4_000) // 2).view(Groups)
        spacing = FrameGaps(groups, np.arange(4_000.0), 2)
        for row in range(0, 1_000, 2):
            spacing.add(row)
        admitted = spacing.admits(np.arange(4_000))
        assert admitted.tolist() == [False] * 1_000 + [True] * 3_000
        assert Groups.compared < 10 * 4_000
        assert spacing.admits(np.empty(0, np.int64)).tolist() == []

    def test_too_few_rows_are_a_warning_that_counts(self) -> None:
        with pytest.warns(UserWarning, match=r"only 2 of 4 rows .* 3 closer than min_gap 3 ") as w:
            selection = vl4pose.select(np.arange(5.0), 4, order=range(5), min_gap=3)
        assert selection.rows.tolist() == [0, 3]
        assert selection.shortfall == str(w[0].message)
        assert w[0].filename == __file__

    def test_a_gap_of_zero_is_none(self) -> None:
        options = {"embeddings": np.zeros((3, 1)), "diversity": "none", "min_separation": 1.0}
        selection = quietly(np.arange(3.0), 2, order=[1, 1, 1], min_gap=0, **options)
        assert selection.rows.tolist() == [0]
        assert "gap" not in str(selection.shortfall)

    def test_where_the_shortlist_is_too_alike_the_ranking_goes_on_below(self) -> None:
        embeddings = np.array([[0.0], [0.1], [0.2], [9.0], [5.0]])
        selection = vl4pose.select(
            np.arange(5.0), 3, embeddings=embeddings, shortlist=3, min_separation=1.0
        )
        assert selection.rows.tolist() == [0, 3, 4]
        assert selection.chosen_by.tolist() == ["diversity", "ranking", "ranking"]

    @given(
        st.integers(0, 2**32 - 1),
        st.integers(1, 40),
        st.floats(0, 1),
        st.sampled_from([0.0, 0.25, 1.0]),
        st.booleans(),
    )
    def test_every_pair_keeps_its_distance(
        self, seed: int, num_rows: int, share: float, random_share: float, diverse: bool
    ) -> None:
        rng = RNG(seed)
        points = rng.integers(0, 8, (num_rows, 2)).astype(float)
        groups, order = rng.integers(0, 3, num_rows), rng.integers(0, 30, num_rows)
        options = {
            "embeddings": points,
            "diversity": "k-centre" if diverse else "none",
            "min_separation": 1.5,
            "groups": groups,
            "order": order,
            "min_gap": 3,
            "random_share": random_share,
            "seed": seed,
        }
        scores = rng.normal(size=num_rows)
        budget = int(share * num_rows)
        selection = quietly(scores, budget, **options)
        rows = selection.rows.tolist()
        assert len(set(rows)) == len(rows) <= budget

        def apart(a: int, b: int) -> bool:
            frames = groups[a] != groups[b] or abs(order[a] - order[b]) >= 3
            return frames and math.dist(points[a], points[b]) >= 1.5

        drawn = set(selection.rows[selection.chosen_by == "random"].tolist())
        for a, b in itertools.combinations(rows, 2):
            assert apart(a, b) or {a, b} <= drawn
        if len(rows) < budget:  # then no other row would have fitted in
            assert selection.shortfall is not None
            others = set(range(num_rows)) - set(rows)
            for row in others:
                assert not all(apart(row, chosen) for chosen in rows)
            assert selection.counts["gap"] + selection.counts["near-duplicate"] == len(others)

    @pytest.mark.parametrize("seed", range(3))
    def test_in_order_against_brute_force(self, seed: int) -> None:
        rng = RNG(seed)
        num_rows = 1100  # more than are looked at in one go
        points = rng.integers(0, 12, (num_rows, 2)).astype(np.float32)
        groups, order = rng.integers(0, 4, num_rows), rng.uniform(0, 100, num_rows)
        candidates = rng.permutation(num_rows)
        expected: list[int] = []
        for row in candidates.tolist():
            if all(
                (groups[row] != groups[k] or abs(order[row] - order[k]) >= 2)
                and math.dist(points[row], points[k]) >= 1
                for k in expected
            ):
                expected.append(row)
        spacings = [FrameGaps(groups, order, 2), NearDuplicates(points, 1, None)]
        passed_over: dict[int, str] = {}
        assert pick_in_order(candidates, num_rows, spacings, passed_over) == expected
        assert len(passed_over) == num_rows - len(expected)
        assert set(passed_over.values()) == {"gap", "near-duplicate"}


@pytest.mark.parametrize(
    ("image", "folder", "name", "number"),
    [
        ("a/b/frame0012.png", "a/b", "a/b/frame", 12),
        ("clip2_0031.png", "", "clip2_", 31),
        ("a1/still.png", "a1", "a1/still", NAN),
        ("7", "", "", 7),
        ("a/x12y.7.jpeg", "a", "a/x12y.", 7),
        ("3.14/take5.old", "3.14", "3.14/take", 5),
    ],
)
def test_what_names_of_images_say(image, folder, name, number) -> None:
    assert folder_of(image) == folder
    assert name_of(image) == name
    np.testing.assert_equal(frame_number(image), number)


class TestReference:
    def test_percentiles_are_of_the_reference(self) -> None:
        selection = vl4pose.select([-5.0, 0.0, 9.0], 3, reference=[-6.0, -5.0, NAN, -1.0, 7.0])
        assert selection.percentile.tolist() == [50, 75, 100]
        assert selection.settings["reference"] == {"kind": "reference", "file": None, "rows": 4}

    def test_of_another_strategy_they_are_still_of_the_score(self) -> None:
        scores = {"score": [-1.0, -2.0, -3.0, -4.0], "age": [1.0, 2.0, 3.0, 4.0]}
        selection = vl4pose.select(scores, 2, strategy="column:age")
        assert selection.percentile.tolist() == [25, 50]
        assert np.isnan(vl4pose.select({"age": [1.0]}, 1, strategy="column:age").percentile).all()


ERRORS = [
    ({"strategy": "likelyhood"}, ValueError, r"strategy must be one of .*'likelihood'\?\), got"),
    ({"strategy": "width"}, ValueError, r"strategy must be one of likelihood, .*column:NAME"),
    ({"strategy": 3}, TypeError, "strategy must be a name, got 3"),
    ({"strategy": "column:"}, ValueError, "strategy must name a column"),
    ({"strategy": "column:age"}, ValueError, "scores must be a table or arrays by name for"),
    ({"strategy": "likelihood+entropy"}, ValueError, "scores must be a table or arrays by name"),
    ({"lowest_first": True}, ValueError, "lowest_first must be left out with strategy 'likeli"),
    ({"lowest_first": 1}, TypeError, "lowest_first must be True or False, got 1"),
    ({"diversity": "k-center2"}, ValueError, "diversity must be one of none, k-centre .*got 'k-c"),
    ({"diversity": "k-centre"}, ValueError, "embeddings must be given with diversity"),
    ({"min_separation": 1.0}, ValueError, "embeddings must be given with diversity or min_sep"),
    ({"embeddings": [[1.0]]}, ValueError, r"embeddings must have one row per score \(3\), got 1"),
    ({"embeddings": [1.0, 2, 3]}, ValueError, r"embeddings must have the shape \(N, D\), got"),
    ({"shortlist": 2}, ValueError, "shortlist must go with diversity 'k-centre', got 2"),
    ({"labelled": [[1.0]]}, ValueError, "labelled must go with diversity or min_separation"),
    ({"min_gap": 2}, ValueError, "order must be given with min_gap, got None"),
    ({"order": [1, 2, 3]}, ValueError, "min_gap must be given with order, got None"),
    ({"groups": [1, 2, 3]}, ValueError, "min_gap must be given with groups, got None"),
    ({"min_gap": -1, "order": [1, 2, 3]}, ValueError, "min_gap must be at least 0 and finite"),
    ({"min_gap": 1, "order": [1, 2]}, ValueError, r"order must have one number per row \(3\), g"),
    ({"min_gap": 1, "order": "name"}, ValueError, "order must be an array where scores are no ta"),
    (
        {"min_gap": 1, "order": [1, 2, 3], "groups": [1]},
        ValueError,
        r"groups must have the shape \(N,\) = \(3,\), got \(1,\)",
    ),
    ({"random_share": 1.5}, ValueError, "random_share must be between 0 and 1, got 1.5"),
    ({"random_share": NAN}, ValueError, "random_share must be between 0 and 1, got nan"),
    ({"random_share": "much"}, TypeError, "random_share must be a number, got 'much'"),
    ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ({"reference": []}, ValueError, "reference must hold scores, got none"),
    ({"reference": {"age": [1]}}, ValueError, "reference must hold scores, got none"),
    ({"budget": 1.0}, TypeError, "budget must be an integer, got 1.0"),
    ({"budget": True}, TypeError, "budget must be an integer, got True"),
    ({"scores": [[1.0]]}, ValueError, r"scores must have the shape \(N,\), got \(1, 1\)"),
    ({"scores": ["a"]}, TypeError, "scores must hold real numbers, got <U1"),
    ({"scores": None}, TypeError, "scores must hold real numbers, got None"),
    ({"scores": [True, False]}, TypeError, "scores must hold real numbers, got bool"),
    ({"scores": {}}, ValueError, "scores must have at least one column, got none"),
    ({"scores": {"score": [1], "age": [1, 2]}}, ValueError, "columns of one length, got score 1"),
    ({"scores": {"scor": [1.0]}}, ValueError, r"the column 'score' of numbers, got scor \(did you"),
    ({"scores": {3: [1.0]}}, TypeError, "scores must have columns named by strings, got 3"),
]


@pytest.mark.parametrize(("options", "kind", "message"), ERRORS)
def test_errors(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    given_options = {"scores": [1.0, 2.0, 3.0], "budget": 1, **options}
    with pytest.raises(kind, match=message):
        vl4pose.select(given_options.pop("scores"), given_options.pop("budget"), **given_options)


@pytest.mark.parametrize("shortlist", [2, 0.3, 4.5, -1, NAN, "all"])
def test_a_shortlist_holds_the_budget(shortlist: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="shortlist must be "):
        vl4pose.select(np.arange(6.0), 3, embeddings=np.ones((6, 1)), shortlist=shortlist)


@pytest.mark.parametrize("labelled", [[[1.0, 2.0]], [[NAN]], [1.0]])
def test_labelled_embeddings_are_like_the_others(labelled: Any) -> None:
    with pytest.raises(ValueError, match="labelled must "):
        vl4pose.select([1.0], 1, embeddings=[[1.0]], labelled=labelled)


def test_a_file_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['pyarrow'] = None\nimport vl4pose\n"
        "try:\n    vl4pose.select('scores.parquet', 1)\n"
        "except ImportError as error:\n    print(error)\n"
    )
    expected = "'scores.parquet' cannot be read without pyarrow: pip install 'vl4pose[cli]'"
    assert run_python(code, tmp_path).stdout.strip() == expected


def test_arrays_make_no_table() -> None:
    with pytest.raises(TypeError, match="scores must be a table to make a table of a selection"):
        vl4pose.select([1.0], 1).to_table()


def test_names_of_strategies() -> None:
    assert parse_strategy("column:score", True) == Ranking("column:score", "score", True)
    assert vl4pose.active.RANKINGS[0] == "likelihood"


def test_examples_of_the_documentation_run() -> None:
    result = doctest.testmod(importlib.import_module("vl4pose.active.selection"))
    assert result.attempted > 0
    assert result.failed == 0
