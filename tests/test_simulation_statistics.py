"""What records of a simulation say: against SciPy, by hand, and against simulated simulations."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import made_records

from vl4pose.simulation.records import CycleRecord
from vl4pose.simulation.saved_labels import labels_saved
from vl4pose.simulation.seed_statistics import (
    POWER,
    detectable_difference,
    estimate,
    holm,
    paired_difference,
    sign_flip_p,
)
from vl4pose.simulation.statistics import Missing, Plan, Summary, summarise
from vl4pose.simulation.verdicts import (
    comparison_verdict,
    growth_verdict,
    headline,
    missing_sentences,
    saved_words,
    scale_of,
    seen_cell,
)

stats = pytest.importorskip("scipy.stats")

LABELS = (100, 200, 300, 400)


def records_of(values: Any, labels: Any = LABELS, metric: str = "PCK@0.2") -> list[CycleRecord]:
    """Records of strategies by name, (seeds, cycles) numbers each."""
    return [
        CycleRecord(name, seed, cycle, labels[cycle], {metric: float(value)})
        for name, of in values.items()
        for seed, row in enumerate(of)
        for cycle, value in enumerate(row)
    ]


def sentences(summary: Summary) -> list[str]:
    metric = summary.metrics[0]
    scale = scale_of(metric)
    return [comparison_verdict(one, summary, metric, scale) for one in metric.comparisons]


def growth_of(records: list[CycleRecord], **options: Any) -> tuple[str, str]:
    summary = summarise(records, **options)
    metric = summary.metrics[0]
    return metric.growth.verdict, growth_verdict(summary, metric, scale_of(metric))


# --- means and differences ----------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("num_seeds", [2, 3, 5, 12])
def test_means_and_paired_differences_are_scipys(num_seeds: int, level: float):
    rng = np.random.default_rng(num_seeds)
    ours, theirs = rng.normal([[0.7], [0.68]], 0.02, (2, num_seeds))
    of = estimate(ours, level)
    assert of.mean == pytest.approx(ours.mean())
    assert of.std == pytest.approx(np.std(ours, ddof=1))
    error = stats.sem(ours)
    expected = stats.t.interval(level, num_seeds - 1, loc=ours.mean(), scale=error)
    assert (of.low, of.high) == pytest.approx(expected)
    difference = paired_difference(ours, theirs, level)
    test = stats.ttest_rel(ours, theirs)
    interval = test.confidence_interval(level)
    assert difference.p == difference.p_holm == pytest.approx(test.pvalue)
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))
    flips = stats.permutation_test(
        (ours - theirs,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert difference.p_sign_flip == pytest.approx(flips.pvalue)


def test_by_hand():
    # Differences 1, 2, 3: mean 2, standard deviation 1, t = 2 sqrt(3), and 4.3027 at two degrees.
    difference = paired_difference([3, 5, 7, math.nan], [2, 3, 4, 5])
    assert (difference.num_seeds, difference.mean, difference.std) == (3, 2.0, 1.0)
    assert difference.high - 2 == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert difference.p == pytest.approx(0.0741799, rel=1e-5)
    assert difference.p_sign_flip == 2 / 8
    assert sign_flip_p([1, -1]) == 1
    assert sign_flip_p([0.0] * 5) == 1
    assert sign_flip_p([1.0] * 5) == 2 / 32
    assert math.isnan(sign_flip_p([]))
    assert math.isnan(sign_flip_p([1.0] * 17))


def test_where_there_is_no_noise_there_is_no_test():
    same = paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert math.isnan(same.detectable)
    shifted = paired_difference([0.3, 0.4, 0.5], [0.1, 0.2, 0.3])  # differ in their last bits
    assert shifted.mean == pytest.approx(0.2)
    assert shifted.std == 0
    assert math.isnan(shifted.p)
    assert math.isnan(shifted.low)
    alone = paired_difference([0.3], [0.1])
    assert alone.num_seeds == 1
    assert alone.mean == pytest.approx(0.2)
    assert all(map(math.isnan, (alone.std, alone.low, alone.p, alone.detectable)))
    none = paired_difference([math.nan], [0.1])
    assert none.num_seeds == 0
    assert math.isnan(none.mean)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, math.nan, 0.6]), [1, math.nan, 1])
    np.testing.assert_allclose(holm([0.2]), [0.2])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_is_between_the_uncorrected_and_bonferroni(p: list[float]):
    corrected = holm(p)
    assert (corrected >= np.array(p)).all()
    assert (corrected <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
    # Rejected at 0.05 by the definition: step by step, until one is not.
    rejected = list(itertools.takewhile(lambda i: p[order[i]] < 0.05 / (len(p) - i), range(len(p))))
    close = any(abs(p[order[i]] * (len(p) - i) - 0.05) < 1e-12 for i in range(len(p)))
    assert close or (corrected < 0.05).sum() == len(rejected)


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 8])
def test_a_difference_that_would_have_been_seen_is_seen_as_often(num_seeds: int, alpha: float):
    difference = detectable_difference(2.0, num_seeds, alpha)
    rng = np.random.default_rng(0)
    values = rng.normal(difference, 2.0, (20_000, num_seeds))
    p = stats.ttest_1samp(values, 0, axis=1).pvalue
    seen = (p < alpha).mean()
    assert seen == pytest.approx(POWER, abs=4 * math.sqrt(POWER * (1 - POWER) / 20_000))


# --- labels saved -------------------------------------------------------------------------------


def test_labels_saved_are_read_off_the_curves():
    """The other grows by 0.1 a hundred labels, this one by 0.2: it is there at half the way."""
    other = np.array([[0.1, 0.2, 0.3, 0.4]] * 3)
    ours = np.array([[0.1, 0.3, 0.5, 0.7]] * 3)
    for cycle, (needed, saved) in {1: (150, 50), 2: (200, 100), 3: (250, 150)}.items():
        of = labels_saved(ours, other, LABELS, cycle)
        assert (of.needed, of.saved) == pytest.approx((needed, saved))
        assert (of.low, of.high) == pytest.approx((needed, needed))  # without noise
        assert (of.num_seeds, of.num_reached) == (3, 3)
    # The other way round it needs more, and after the last cycle it is never there.
    assert labels_saved(other, ours, LABELS, 1).saved == pytest.approx(-100)
    never = labels_saved(other, ours, LABELS, 3)
    assert (never.needed, never.low, never.high) == (math.inf,) * 3
    assert never.saved == -math.inf
    assert never.num_reached == 0


def test_the_interval_of_labels_is_where_a_test_sees_no_difference():
    rng = np.random.default_rng(3)
    level = 0.9
    other = np.cumsum(rng.normal(0.1, 0.02, (6, 4)), axis=1)
    ours = other * 1.3 + rng.normal(0, 0.01, other.shape)
    of = labels_saved(ours, other, LABELS, 2, level)
    grid = np.linspace(100, 400, 3001)
    curves = np.array([np.interp(grid, LABELS, row) for row in ours])
    p = stats.ttest_1samp(curves - other[:, [2]], 0, axis=0).pvalue
    undecided = grid[p >= 1 - level]
    assert of.low == pytest.approx(undecided.min(), abs=0.11)
    assert of.high == pytest.approx(undecided.max(), abs=0.11)
    assert of.low < of.needed < of.high
    assert of.needed == pytest.approx(np.interp(other[:, 2].mean(), ours.mean(0), LABELS))


def test_labels_that_may_never_be_enough_have_no_upper_end():
    other = np.array([[0.1, 0.2, 0.3, 0.40], [0.1, 0.2, 0.3, 0.44], [0.1, 0.2, 0.3, 0.42]])
    ours = np.array([[0.1, 0.2, 0.3, 0.43], [0.1, 0.2, 0.3, 0.40], [0.1, 0.2, 0.3, 0.44]])
    of = labels_saved(ours, other, LABELS, 3)
    assert of.needed < 400
    assert of.high == math.inf
    assert of.saved_low == -math.inf
    assert 300 < of.low < 400
    assert of.num_reached == 2


def test_curves_that_do_not_grow_say_nothing_of_labels():
    rng = np.random.default_rng(1)
    flat = rng.normal(0.5, 0.01, (2, 5, 4))
    flat[1, :, 0] = flat[0, :, 0]
    summary = summarise(records_of({"random": flat[0], "vl4pose": flat[1]}))
    [one] = summary.metrics[0].comparisons
    assert one.saved[-1].low == 100
    assert saved_words(one, summary) == (
        "There are no labels to save: the start set may have the accuracy that random has with 400."
    )


def test_an_accuracy_that_the_start_set_has_needs_no_more_labels():
    """Random gets worse: what it ends with, the start set is clearly better than."""
    rng = np.random.default_rng(0)
    falling = np.linspace(0.5, 0.4, 4) + rng.normal(0, 0.005, (2, 5, 4))
    falling[1, :, 0] = falling[0, :, 0]
    of = labels_saved(falling[1], falling[0], LABELS, 3)
    assert (of.needed, of.low, of.high) == (100, 100, 100)
    assert of.saved == 300


def test_one_seed_has_labels_saved_without_an_interval():
    of = labels_saved([[0.1, 0.3]], [[0.1, 0.2]], (100, 200), 1)
    assert of.saved == pytest.approx(50)
    assert math.isnan(of.low)
    assert math.isnan(of.high)
    of = labels_saved(np.full((2, 2), math.nan), np.ones((2, 2)), (100, 200), 1)
    assert of.num_seeds == 0
    assert math.isnan(of.needed)


# --- simulated simulations ----------------------------------------------------------------------


def test_intervals_cover_and_false_alarms_are_as_rare_as_they_should_be():
    """Three strategies that do nothing, one that gains 0.01: simulations of 4 seeds each."""
    number = 300
    names = ["random", "a", "b", "c", "good"]
    growth, true = np.array([0.0, 0.06, 0.10]), 0.01
    covered, alarms, cover_saved, seen = [], [], [], []
    rng = np.random.default_rng(0)
    # With 100 labels a straight 0.06, with the next 0.04: Random's 0.10 is reached 0.01 earlier.
    needed = 300 - 100 * true / 0.04
    for _ in range(number):
        shared = rng.normal(0, 0.02, (4, 1))
        first = rng.normal(0, 0.004, 4)
        values = {}
        for name in names:
            of = growth + shared + rng.normal(0, 0.004, (4, 3)) + true * (name == "good")
            of[:, 0] = shared[:, 0] + first
            values[name] = of
        metric = summarise(records_of(values)).metrics[0]
        by_name = {one.strategy: one for one in metric.comparisons}
        nothing = [by_name[name] for name in "abc"]
        covered += [one.curve.low <= 0 <= one.curve.high for one in nothing]
        covered.append(by_name["good"].curve.low <= true <= by_name["good"].curve.high)
        alarms.append(any(one.verdict in ("better", "worse") for one in nothing))
        seen.append(by_name["good"].verdict == "better")
        saved = by_name["good"].saved[-1]
        cover_saved.append(saved.low <= needed <= saved.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / (4 * number)))
    # Holm's bound for the family; they share Random's noise, which makes it smaller.
    assert 0.005 < np.mean(alarms) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / number)
    # At least its level: everything between the ends of where no difference is seen.
    assert np.mean(cover_saved) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / number)
    assert 0.2 < np.mean(seen) < 1


# --- verdicts -----------------------------------------------------------------------------------


def test_a_verdict_says_what_would_have_been_seen():
    random = np.array([[0.5, 0.60], [0.5, 0.61], [0.5, 0.62], [0.5, 0.60], [0.5, 0.61]])
    differences = np.array([0.012, -0.004, 0.009, -0.003, 0.006])
    other = random.copy()
    other[:, 1] += differences
    summary = summarise(
        records_of({"random": random, "vl4pose": other}),
        plan=Plan(("random", "vl4pose"), tuple(range(5)), 2, {"random": "Random", "vl4pose": "VL"}),
    )
    test = stats.ttest_1samp(100 * differences, 0)
    low, high = test.confidence_interval(0.95)
    seen = detectable_difference(100 * differences.std(ddof=1), 5)
    assert sentences(summary) == [
        f"5 seeds cannot separate VL from Random: +0.4 points, 95 % interval {low:.1f} to "
        f"{high:.1f}, p = {test.pvalue:.2f}. A difference of {seen:.1f} points would have been "
        "seen."
    ]
    assert headline(summary, summary.metrics[0]) == (
        "By PCK@0.2, 5 seeds cannot separate VL from Random."
    )


def test_better_and_worse_go_by_the_metrics_direction():
    summary = summarise(made_records(effects={"vl4pose": 0.02, "core-set": -0.02}))
    for metric in summary.metrics:
        verdicts = {one.strategy: one.verdict for one in metric.comparisons}
        assert verdicts == {"vl4pose": "better", "core-set": "worse"}
        [pair] = metric.pairs
        assert (pair.strategy, pair.versus, pair.verdict) == ("vl4pose", "core-set", "better")
        assert "is better than" in headline(summary, metric)
    of_pck, of_mpjpe = summary.metrics
    assert not of_mpjpe.higher_is_better
    for ours, theirs in zip(of_pck.comparisons, of_mpjpe.comparisons, strict=True):
        assert theirs.curve.mean == pytest.approx(-5 * ours.curve.mean)
        for of, other in zip(ours.saved, theirs.saved, strict=True):
            assert (of.needed, of.low, of.high) == pytest.approx(
                (other.needed, other.low, other.high)
            )
    assert "px" in comparison_verdict(
        of_mpjpe.comparisons[0], summary, of_mpjpe, scale_of(of_mpjpe)
    )


def test_several_strategies_are_corrected_for():
    names = ["random", *"abcdefgh"]
    rng = np.random.default_rng(1)
    values = {name: 0.5 + rng.normal(0, 0.01, (5, 2)) for name in names}
    for name in names:
        values[name][:, 0] = 0.5
    values["a"][:, 1] = values["random"][:, 1] + [0.004, 0.012, 0.010, 0.005, 0.011]
    summary = summarise(records_of(values))
    one = summary.metrics[0].comparisons[0]
    assert one.curve.p < 0.05 < one.curve.p_holm
    assert one.verdict == "not separated"
    [sentence] = [said for said in sentences(summary) if "separate a from" in said]
    assert f"p = {one.curve.p:.3f}, but {one.curve.p_holm:.3f} corrected for 8 comp" in sentence
    assert one.curve.detectable == pytest.approx(detectable_difference(one.curve.std, 5, 0.05 / 8))


def test_no_share_is_seen_that_cannot_be():
    random = np.array([[0.3, 0.4], [0.3, 0.41]])
    for spread, seen, cell, growth in (
        (
            0.2,
            "No difference that there can be would have been seen: run more seeds.",
            "none",
            " 2 seeds would have seen no difference between strategies that there can be: run more",
        ),
        (
            0.002,
            "A difference of 3.3 points would have been seen.",
            "3.3",
            "30.0 % with 100 and 40.5 % with 200 (+10.5 points",
        ),
    ):
        other = random + np.array([[0, spread], [0, -spread]])
        summary = summarise(records_of({"random": random, "vl4pose": other}))
        [sentence] = sentences(summary)
        assert sentence.startswith("2 seeds cannot separate vl4pose from random")
        assert sentence.endswith(seen)
        metric = summary.metrics[0]
        assert seen_cell(metric.comparisons[0].curve, scale_of(metric)) == cell
        assert growth in growth_verdict(summary, metric, scale_of(metric))


def test_training_that_labels_do_not_help_is_said():
    verdict, sentence = growth_of(made_records(gain=0, effects={}))
    assert verdict == "flat"
    assert "does not improve measurably with labels" in sentence
    assert "training is limited by its steps, not by labels" in sentence
    assert "strategies can hardly separate" in sentence
    verdict, sentence = growth_of(made_records(gain=-0.1, effects={}))
    assert verdict == "falls"
    assert "gets worse with labels" in sentence
    assert "limited by its steps, not by labels" in sentence
    # Strategies that differ all the same are not denied.
    _, sentence = growth_of(made_records(gain=0, effects={"vl4pose": 0.05}))
    assert "no matter of how many labels they save" in sentence
    verdict, sentence = growth_of(made_records())
    assert verdict == "grows"
    assert "limited" not in sentence


def test_a_gain_that_is_less_than_what_would_be_seen_between_strategies_is_small():
    rng = np.random.default_rng(0)
    steady = np.tile([0.5, 0.505], (5, 1)) + rng.normal(0, 0.001, (5, 2))
    noisy = steady + rng.normal(0, 0.02, (5, 2))
    noisy[:, 0] = steady[:, 0]
    verdict, sentence = growth_of(records_of({"random": steady, "vl4pose": noisy}))
    assert verdict == "small"
    assert "less than the smallest difference between strategies" in sentence
    assert "Either training is limited by its steps, not by labels, or the seeds differ" in sentence


def test_fine_tuning_is_steps_too():
    plan = Plan(("random", "vl4pose", "core-set"), tuple(range(5)), 5, {}, True)
    assert "owed to steps, not to labels" in growth_of(made_records(), plan=plan)[1]


# --- simulations that are odd or not finished ---------------------------------------------------


def test_one_seed_has_no_interval_and_says_so():
    summary = summarise(made_records(num_seeds=1))
    metric = summary.metrics[0]
    assert {one.verdict for one in metric.comparisons} == {"unknown"}
    assert metric.growth.verdict == "unknown"
    for of in itertools.chain(*metric.estimates.values()):
        assert of.num_seeds == 1
        assert math.isnan(of.low)
    for sentence in sentences(summary):
        assert sentence.startswith("One seed cannot separate")
        assert "Run more seeds" in sentence
    assert "one seed cannot separate vl4pose and core-set" in headline(summary, metric).replace(
        "core-set and vl4pose", "vl4pose and core-set"
    )


def test_one_cycle_compares_nothing():
    summary = summarise(made_records(num_cycles=1))
    metric = summary.metrics[0]
    assert all(one.saved == () and one.last_cycle == 0 for one in metric.comparisons)
    assert "no cycle after the first" in headline(summary, metric)
    assert growth_verdict(summary, metric, scale_of(metric)) == ""


def test_equal_results_are_called_equal():
    summary = summarise(made_records(effects={}, noise=0, seed_noise=0.01))
    assert {one.verdict for one in summary.metrics[0].comparisons} == {"equal"}
    assert all("the same results in all 5 seeds" in said for said in sentences(summary))
    summary = summarise(made_records(noise=0, seed_noise=0))
    assert any("no noise to judge this by" in said for said in sentences(summary))


def test_one_strategy_has_nothing_to_be_compared_with():
    summary = summarise(made_records(["vl4pose"]))
    assert summary.baseline is None
    assert summary.metrics[0].comparisons == summary.metrics[0].pairs == ()
    assert summary.metrics[0].growth.verdict == "grows"
    assert "nothing to compare" in headline(summary, summary.metrics[0])


def test_runs_that_are_missing_are_left_out_in_pairs_and_named():
    names, seeds = ("random", "vl4pose", "core-set", "aleatoric"), tuple(range(5))
    complete = made_records()
    kept = [
        record
        for record in complete
        if not (record.strategy == "vl4pose" and record.seed == 3 and record.cycle > 1)
        and not (record.strategy == "random" and record.seed == 4)
    ]
    summary = summarise(kept, plan=Plan(names, seeds, 5))
    by_name = {one.strategy: one for one in summary.metrics[0].comparisons}
    assert by_name["vl4pose"].seeds == (0, 1, 2)
    assert by_name["core-set"].seeds == (0, 1, 2, 3)
    assert [of.num_seeds for of in by_name["vl4pose"].cycles] == [4, 4, 3, 3, 3]
    assert by_name["aleatoric"].seeds == ()
    assert by_name["aleatoric"].last_cycle == -1
    assert by_name["aleatoric"].verdict == "unknown"
    # Of these seeds alone, the same is said.
    three = [record for record in complete if record.seed < 3]
    alone = {one.strategy: one for one in summarise(three).metrics[0].comparisons}
    assert by_name["vl4pose"].curve.mean == pytest.approx(alone["vl4pose"].curve.mean)
    assert by_name["vl4pose"].curve.p == pytest.approx(alone["vl4pose"].curve.p)
    of = summary.metrics[0].estimates["vl4pose"]
    assert [one.num_seeds for one in of] == [5, 5, 4, 4, 4]
    assert Missing("vl4pose", 3, (2, 3, 4), None) in summary.missing
    assert missing_sentences(summary) == [
        "Cycles 1 to 5 of seed 4 are not there: random.",
        "Cycles 3 to 5 of seed 3 are not there: vl4pose.",
        "Not begun: aleatoric.",
    ]
    assert "So far: 3 of 5 seeds." in sentences(summary)[0]
    assert "nothing can be said of aleatoric" in headline(summary, summary.metrics[0])


def test_curves_are_compared_as_far_as_two_seeds_have_come():
    records = [record for record in made_records() if record.seed == 0 or record.cycle < 3]
    summary = summarise(records)
    for one in summary.metrics[0].comparisons:
        assert one.last_cycle == 2
        assert one.seeds == (0, 1, 2, 3, 4)
        assert [of.cycle for of in one.saved] == [1, 2]
    assert "up to 4,000 labels" in headline(summary, summary.metrics[0])
    only = summarise([record for record in made_records() if record.seed == 0])
    assert only.metrics[0].comparisons[0].last_cycle == 4


def test_a_metric_that_is_not_a_number_is_left_out_and_named():
    records = made_records()
    for i, record in enumerate(records):
        if (record.strategy, record.seed) == ("vl4pose", 2) and record.cycle == 3:
            records[i] = replace(record, metrics=record.metrics | {"PCK@0.2": math.nan})
    summary = summarise(records)
    by_name = {one.strategy: one for one in summary.metrics[0].comparisons}
    assert by_name["vl4pose"].seeds == (0, 1, 3, 4)
    assert by_name["core-set"].seeds == (0, 1, 2, 3, 4)
    assert summary.metrics[1].comparisons[0].curve.num_seeds == 5
    assert missing_sentences(summary) == ["PCK@0.2 is not a number in cycle 4 of seed 2: vl4pose."]


def test_a_metric_that_is_never_a_number_is_no_error():
    records = records_of({"random": np.full((3, 2), np.nan), "vl4pose": np.full((3, 2), np.nan)})
    summary = summarise(records)
    assert summary.metrics[0].comparisons[0].verdict == "unknown"
    assert summary.metrics[0].estimates["random"][0].num_seeds == 0
    assert sentences(summary) == ["vl4pose and random: no seed has a cycle of both after the first "
                                  "yet."]  # fmt: skip


def test_records_of_another_configuration_are_not_counted():
    plan = Plan(("random", "vl4pose"), (0, 1, 2), 3)
    summary = summarise(made_records(), plan=plan)
    assert summary.strategies == ("random", "vl4pose")
    assert summary.num_labels == (2000, 3000, 4000)
    assert summary.metrics[0].comparisons[0].seeds == (0, 1, 2)
    assert summary.missing == ()


def test_seconds_are_means_over_what_was_measured():
    records = made_records(["random", "vl4pose"], num_seeds=2, num_cycles=3)
    shared = {"train": 40.0, "evaluate": 1.0}
    for i, record in enumerate(records):
        if record.cycle == 0:
            own = {"score": 6.0, "select": 0.5}
            records[i] = replace(record, seconds=own, shared_seconds=shared)
    summary = summarise(records)
    assert summary.seconds["vl4pose"]["train"][0] == (40.0, 2)
    assert summary.seconds["vl4pose"]["train"][1] == (60.5, 2)
    assert summary.seconds["vl4pose"]["score"][2].num_runs == 0
    assert summary.mean_seconds("vl4pose", "train") == pytest.approx((40 + 2 * 60.5) / 3)
    assert summary.mean_seconds("vl4pose", "score") == pytest.approx(4.5)


def test_the_baseline_is_random_or_the_one_that_is_asked_for():
    assert summarise(made_records()).baseline == "random"
    assert summarise(made_records()).strategies[0] == "random"
    assert summarise(made_records(["b", "a"])).baseline == "a"
    summary = summarise(made_records(), baseline="vl4pose")
    assert [one.versus for one in summary.metrics[0].comparisons] == ["vl4pose"] * 2
    with pytest.raises(ValueError, match=r"^baseline must be .*'vl4pose'.*, got 'vl4posse'$"):
        summarise(made_records(), baseline="vl4posse")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: [], "records must hold at least one, got none"),
        (lambda records: [*records, records[0]], "records must have each cycle of a run once"),
        (
            lambda records: [replace(records[0], num_labels=7), *records[1:]],
            "records must agree on the labels of a cycle, got 7 and 2000 in cycle 0",
        ),
        (
            lambda records: [record for record in records if record.cycle],
            "records must have every cycle from 0",
        ),
    ],
)
def test_records_that_do_not_belong_together_are_refused(change: Any, message: str):
    with pytest.raises(ValueError, match=message):
        summarise(change(made_records(num_seeds=2, num_cycles=2)))


@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, math.nan])
def test_the_level_is_a_share(level: float):
    with pytest.raises(ValueError, match="level must be above 0 and below 1"):
        summarise(made_records(num_seeds=2), level=level)
    with pytest.raises(TypeError, match="level must be a real number"):
        summarise(made_records(num_seeds=2), level="0.95")  # type: ignore[arg-type]
