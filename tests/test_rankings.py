"""Tables of scores are ranked as the strategies rank pools."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from strategy_pools import NAN, NOTHING, RNG

import vl4pose
from vl4pose.active import (
    RANKINGS,
    Confidence,
    CoreSet,
    KaplanLensu,
    MultiPeakEntropy,
    Pool,
    Random,
    VL4Pose,
    VL4PoseEntropy,
)
from vl4pose.active.rankings import parse_strategy, priorities
from vl4pose.active.score_columns import score_columns


@pytest.mark.parametrize("name", RANKINGS)
def test_tables_are_ranked_by_the_strategies(name: str) -> None:
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
def test_a_strategy_s_name_is_known(name: str, other: str) -> None:
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
def test_one_that_a_table_does_not_do_for_says_why(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"strategy must be one of .*got '{name}'{hint}$"):
        vl4pose.select([1.0], 1, strategy=name)


def test_core_set_is_a_diversity_of_tables() -> None:
    points, known = RNG(0).normal(size=(40, 3)), RNG(1).normal(size=(4, 3))
    rows = vl4pose.select(np.zeros(40), 10, embeddings=points, labelled=known, shortlist=1.0).rows
    pools = Pool(40, {"embedding": points}), Pool(4, {"embedding": known})
    assert_array_equal(rows, CoreSet().select(*pools, 10, RNG(0)))


def test_the_recipe_of_kaplan_and_lensu_is_two_options_of_tables() -> None:
    confidence, points = RNG(0).random(50), RNG(1).normal(size=(50, 3))
    rows = vl4pose.select(confidence, 5, strategy="confidence", embeddings=points).rows
    pool = Pool(50, {"confidence": confidence[:, None], "embedding": points})
    assert_array_equal(rows, KaplanLensu(approximate=False).select(pool, NOTHING, 5, RNG(0)))
