"""Counts of scores in bins, and the axis that they are on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vl4pose.score_histogram import score_histogram

finite = st.floats(-1e6, 1e6)
scores = st.lists(finite | st.just(np.nan), min_size=1, max_size=60).filter(
    lambda values: not np.isnan(values).all()
)


@given(scores, st.randoms())
def test_every_score_is_counted_once_on_a_growing_axis(values, random):
    selected = np.array([random.random() < 0.5 for _ in values])
    histogram = score_histogram(values, selected)
    known = ~np.isnan(values)
    assert histogram.counts.sum() == known.sum()
    assert histogram.selected.sum() == (known & selected).sum()
    assert (histogram.selected <= histogram.counts).all()
    assert (np.diff(histogram.edges) >= 0).all()
    assert histogram.edges[0] <= np.nanmin(values)
    assert histogram.edges[-1] >= np.nanmax(values)
    ticks = np.array(histogram.ticks).reshape(-1, 2)
    assert (np.diff(ticks, axis=0) > 0).all()
    assert ((ticks[:, 1] >= 0) & (ticks[:, 1] <= 1)).all()


def test_the_axis_is_linear_unless_some_scores_are_far_from_the_others():
    rng = np.random.default_rng(0)
    near = rng.normal(-30, 3, 1000)
    assert not score_histogram(near).compressed
    assert [tick for tick, _ in score_histogram(near).ticks] == [-40, -35, -30, -25]
    far = score_histogram(np.append(near, [-300, -700]))
    assert far.compressed
    widest = np.abs(far.edges + 30).argmin()
    assert np.diff(far.edges)[widest - 2 : widest + 2].max() < 5  # fine where the scores are
    assert len(far.ticks) >= 4


def test_ticks_are_where_their_scores_are():
    histogram = score_histogram(np.append(np.linspace(-40, -20, 100), -900.0))
    across = np.linspace(0, 1, len(histogram.edges))
    for score, where in histogram.ticks:
        assert np.interp(score, histogram.edges, across) == pytest.approx(where, abs=0.01)


def test_scores_that_are_all_equal_have_an_axis_around_them():
    histogram = score_histogram([-3.0, -3.0], num_bins=4)
    assert histogram.counts.sum() == 2
    assert histogram.edges[0] < -3 < histogram.edges[-1]


def test_nothing_to_count_is_an_error():
    with pytest.raises(ValueError, match="scores must hold a finite number, got none of 2"):
        score_histogram([np.nan, np.nan])
    with pytest.raises(ValueError, match=r"selected must be \(N,\) = \(2,\), got \(3,\)"):
        score_histogram([1.0, 2.0], [True, False, True])
