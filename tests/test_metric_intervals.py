"""Intervals of vl4pose.metrics, against SciPy's bootstrap, and paired differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vl4pose.metrics import Metric, mpjpe, oks, pck, pck_of_errors
from vl4pose.metrics import bootstrap as bootstrap_module

stats = pytest.importorskip("scipy.stats")

METHODS = ["bca", "percentile"]
OF_SCIPY = {"bca": "BCa", "percentile": "percentile"}


def errors(num: int, num_joints: int = 5, seed: int = 0) -> Any:
    """Of people who differ, with joints that are not annotated."""
    rng = np.random.default_rng(seed)
    made = rng.gamma(1, 0.2, (num, num_joints)) * rng.gamma(2, 0.5, (num, 1))
    made[rng.random(made.shape) < 0.2] = np.nan
    return made


def scipys(metric: Metric, of_rows: Any, method: str, num: int, seed: int, level: float) -> Any:
    """SciPy resamples the numbers of the images that count, and calls us back with them."""
    rows = np.flatnonzero(metric.counted.any(axis=1))
    made = stats.bootstrap(
        (rows,),
        of_rows,
        n_resamples=num,
        confidence_level=level,
        method=OF_SCIPY[method],
        vectorized=False,
        rng=np.random.default_rng(seed),
    )
    return made.confidence_interval


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_the_interval_of_the_mean_is_scipys(method: Any, level: float):
    metric = pck_of_errors(errors(40), 0.2)

    def mean(rows: Any) -> Any:
        return metric.values[rows][metric.counted[rows]].mean()

    expected = scipys(metric, mean, method, 2000, 5, level)
    ours = metric.interval(level, method=method, num_resamples=2000, seed=5)
    # The same images are drawn, so that only rounding differs.
    np.testing.assert_allclose(ours[:2], tuple(expected), rtol=1e-12)
    assert ours.low < metric.mean < ours.high
    assert ours[2:] == (level, method)


@pytest.mark.parametrize("method", METHODS)
def test_the_interval_of_oks_is_that_of_people(method: Any):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (30, 17, 2))
    keypoints = truth + rng.normal(0, 5, truth.shape)
    visible = rng.random((30, 17)) < 0.5
    visible[3] = False
    metric = oks(keypoints, truth, visible, areas=rng.uniform(500, 5000, 30))

    def mean(rows: Any) -> Any:
        return np.mean([metric.values[i][metric.counted[i]].mean() for i in rows])

    expected = scipys(metric, mean, method, 1000, 0, 0.95)
    ours = metric.interval(method=method, num_resamples=1000)
    np.testing.assert_allclose(ours[:2], tuple(expected), rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_the_intervals_of_joints_and_thresholds_are_scipys(method: Any):
    metric = pck_of_errors(errors(60), [0.1, 0.3])
    ours = metric.interval(per_joint=True, method=method, num_resamples=500, seed=2)
    assert ours.low.shape == ours.high.shape == (2, 5)
    for threshold in range(2):
        for joint in range(5):

            def mean(rows: Any, threshold: int = threshold, joint: int = joint) -> Any:
                values = metric.values[threshold, rows, joint]
                return values[metric.counted[rows, joint]].mean()

            expected = scipys(metric, mean, method, 500, 2, 0.95)
            found = ours.low[threshold, joint], ours.high[threshold, joint]
            np.testing.assert_allclose(found, tuple(expected), rtol=1e-12)
    of_means = metric.interval(method=method, num_resamples=500)
    for threshold, limit in enumerate((0.1, 0.3)):
        alone = pck_of_errors(errors(60), limit).interval(method=method, num_resamples=500)
        assert (of_means.low[threshold], of_means.high[threshold]) == alone[:2]
        assert isinstance(alone.low, float)


@pytest.mark.parametrize("method", METHODS)
def test_the_interval_covers_the_truth_as_often_as_it_says(method: Any):
    """200 datasets of 60 people from a known distribution, at 80 %: 160 expected, sd 5.7."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        ability = rng.beta(4, 2, (60, 1))  # of mean 2/3
        metric = Metric("x", ("a", "b"), rng.random((60, 2)) < ability, np.ones((60, 2), np.bool_))
        low, high, *_ = metric.interval(0.8, method=method, num_resamples=400, seed=seed)
        covered += low <= 2 / 3 <= high
    assert 135 <= covered <= 180


def test_resampling_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    metric = pck_of_errors(errors(50), [0.1, 0.3])
    whole = metric.interval(per_joint=True, num_resamples=300)
    monkeypatch.setattr(bootstrap_module, "_MAX_DRAWS", 7 * 50)
    pieces = metric.interval(per_joint=True, num_resamples=300)
    np.testing.assert_allclose(whole.low, pieces.low, rtol=1e-12)
    np.testing.assert_allclose(whole.high, pieces.high, rtol=1e-12)


def test_the_seed_decides():
    metric = pck_of_errors(errors(30), 0.2)
    first, again, other = (metric.interval(seed=seed, num_resamples=500) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("method", METHODS)
def test_images_that_agree_have_a_point(method: Any):
    values = np.full((20, 3), 0.3)
    metric = Metric("x", ("a", "b", "c"), values, np.ones((20, 3), np.bool_))
    low, high, *_ = metric.interval(method=method, num_resamples=200)
    assert low == pytest.approx(0.3)
    assert high == pytest.approx(0.3)
    right = pck_of_errors(np.zeros((20, 3))).interval(method=method, num_resamples=200)
    assert right[:2] == (1, 1)


@pytest.mark.parametrize("method", METHODS)
def test_little_that_counts(method: Any):
    one = np.full((5, 3), np.nan)
    one[2] = 0.1
    assert np.isnan(pck_of_errors(one).interval(method=method)[:2]).all()
    rare = np.zeros((30, 2))
    rare[:, 1] = np.nan
    rare[3:5, 1] = [0, 1]
    interval = pck_of_errors(rare).interval(per_joint=True, method=method, num_resamples=500)
    assert (interval.low[1], interval.high[1]) == (0, 1)  # from resamples that have the joint
    rare[:, 1] = np.nan
    interval = pck_of_errors(rare).interval(per_joint=True, method=method, num_resamples=500)
    np.testing.assert_array_equal(interval.low, [1, np.nan])


@given(st.integers(0, 2**31), st.integers(2, 30), st.sampled_from(METHODS))
@settings(max_examples=40, deadline=None)
def test_intervals_are_ordered_and_within_the_values(seed: int, num: int, method: Any):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num, 3)) * rng.choice([0, 1, 100])
    counted = rng.random((num, 3)) < 0.6
    metric = Metric("x", ("a", "b", "c"), values, counted)
    for per_joint in (False, True):
        made = metric.interval(per_joint=per_joint, method=method, num_resamples=100, seed=seed)
        low, high = np.atleast_1d(made.low), np.atleast_1d(made.high)
        known = ~np.isnan(low)
        assert (low[known] <= high[known]).all()
        if known.any():
            assert low[known].min() >= values[counted].min() - 1e-9
            assert high[known].max() <= values[counted].max() + 1e-9


# --- differences


def test_a_difference_is_paired():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (80, 14, 2))
    hard = rng.gamma(1, 10, (80, 1, 1))
    good = truth + hard * rng.normal(0, 1, truth.shape)
    bad = good + rng.normal(0, 1, (80, 1, 2))
    visible = rng.random((80, 14)) < 0.7
    a, b = (mpjpe(keypoints, truth, visible) for keypoints in (bad, good))
    difference = a.difference(b)
    assert difference.mean == pytest.approx(a.mean - b.mean)
    np.testing.assert_allclose(difference.per_joint, a.per_joint - b.per_joint)
    assert difference.name == "MPJPE difference"

    def paired(rows: Any) -> Any:
        return a.values[rows][visible[rows]].mean() - b.values[rows][visible[rows]].mean()

    expected = scipys(a, paired, "bca", 1000, 3, 0.95)
    ours = difference.interval(num_resamples=1000, seed=3)
    np.testing.assert_allclose(ours[:2], tuple(expected), rtol=1e-8)
    widths = [high - low for low, high, *_ in (m.interval() for m in (a, b))]
    assert ours.high - ours.low < min(widths) / 3  # what is hard for both cancels
    none = a.difference(a)
    assert (none.mean, *none.interval()[:2]) == (0, 0, 0)


def test_differences_of_right_and_wrong_at_several_thresholds():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (30, 14, 2))
    a, b = (
        pck(truth + rng.normal(0, s, truth.shape), truth, thresholds=[0.1, 0.5]) for s in (5, 20)
    )
    np.testing.assert_allclose(a.difference(b).mean, a.mean - b.mean)
    np.testing.assert_allclose(b.difference(a).per_joint, b.per_joint - a.per_joint)
    assert (a.difference(b).interval(num_resamples=500).low > 0).all()


def test_differences_of_other_things_are_refused():
    metric = pck_of_errors(errors(10), 0.2)
    with pytest.raises(TypeError, match="other must be a Metric, got float"):
        metric.difference(0.5)  # type: ignore[arg-type]
    rule = "other must be of the same metric, images and annotations, got "
    with pytest.raises(ValueError, match=rule + r"\(9, 5\) values beside \(10, 5\)"):
        metric.difference(pck_of_errors(errors(10)[:9], 0.2))
    with pytest.raises(ValueError, match=rule + ".* images in which other joints count"):
        metric.difference(pck_of_errors(errors(10, seed=1), 0.2))
    named = Metric("AUC", metric.parts, metric.values, metric.counted)
    with pytest.raises(ValueError, match=rule + "name 'AUC' beside 'PCK'"):
        metric.difference(named)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"level": 95}, ValueError, "level must be above 0 and below 1, got 95"),
        ({"level": "95 %"}, TypeError, "level must be a real number, got '95 %'"),
        ({"method": "basic"}, ValueError, "method must be one of bca, percentile"),
        ({"num_resamples": 0}, ValueError, "num_resamples must be between 1 and .*, got 0"),
        ({"num_resamples": 1e3}, TypeError, "num_resamples must be an integer, got 1000.0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"per_joint": 1}, TypeError, "per_joint must be True or False, got 1"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        pck_of_errors(errors(10)).interval(**options)
