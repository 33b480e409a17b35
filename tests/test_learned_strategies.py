"""Strategies that need networks, on arrays: what each chooses where the answer is known."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from new_process import run_python
from numpy.testing import assert_allclose, assert_array_equal
from strategies import examples

from vl4pose.active import (
    ARRAYS,
    MCDCKE,
    Aleatoric,
    CoreGCN,
    EGLPlusPlus,
    LearningLoss,
    LearningLossPlusPlus,
    MCDropout,
    Pool,
    UncertainGCN,
    make_strategy,
)

NAN, INF = np.nan, np.inf
RNG = np.random.default_rng
NOTHING = Pool(0)
ON_ARRAYS = {
    "learning-loss": LearningLoss(),
    "learning-loss++": LearningLossPlusPlus(),
    "aleatoric": Aleatoric(),
    "mc-dropout": MCDropout(),
    "mcd-cke": MCDCKE(),
    "egl++": EGLPlusPlus(),
}
GRAPHS = {
    "core-gcn": CoreGCN(num_steps=5, hidden=4),
    "uncertain-gcn": UncertainGCN(num_steps=5, hidden=4),
}


def known(rng: np.random.Generator, num_images: int):
    """Return every array of images: small whole numbers, so that many are equal, and gaps."""
    shapes = {
        "predicted_loss": (),
        "log_variance": (3,),
        "predictive_variance": (3,),
        "squared_gradient_length": (),
        "embedding": (2,),
    }
    found = {}
    for name, shape in shapes.items():
        values = rng.integers(0, 4, (num_images, *shape)).astype(np.float32)
        values[rng.random(num_images) < 0.15] = NAN
        found[name] = values
    return found


@pytest.mark.parametrize("name", [*ON_ARRAYS, *GRAPHS])
class TestEveryStrategy:
    @given(seed=st.integers(0, 1000), num_images=st.integers(1, 15), num_labelled=st.integers(0, 4))
    @examples(0.2)
    def test_fills_the_budget_in_the_order_of_its_ranks(
        self, name: str, seed: int, num_images: int, num_labelled: int
    ) -> None:
        if name in GRAPHS:
            pytest.importorskip("torch")
        strategy = (ON_ARRAYS | GRAPHS)[name]
        rng = RNG(seed)
        pool = Pool(num_images, known(rng, num_images))
        labelled = Pool(num_labelled, known(rng, num_labelled)) if num_labelled else NOTHING
        budget = int(rng.integers(num_images + 1))
        picks = strategy.select(pool, labelled, budget, RNG(seed))
        assert picks.dtype == np.int64
        assert len(set(picks.tolist())) == len(picks) == budget
        ranks = strategy.rank(pool, labelled, RNG(seed))
        assert ranks.dtype == np.float64
        assert ranks.shape == (num_images,)
        assert_array_equal(picks, np.argsort(-ranks, kind="stable")[:budget])
        cannot = np.zeros(num_images, np.bool_)
        for needed in strategy.needs:
            cannot |= np.isnan(pool[needed].reshape(num_images, -1)).any(axis=1)
        assert_array_equal(np.isnan(ranks), cannot)
        assert_array_equal(strategy.select(pool, labelled, budget, RNG(seed)), picks)

    def test_names_what_it_needs(self, name: str) -> None:
        strategy = make_strategy(name)
        assert strategy.name == name
        assert strategy.needs
        assert set(strategy.needs) | set(strategy.needs_labelled) <= set(ARRAYS)
        assert set(strategy.observation_options) <= set(strategy.needs)
        rng = RNG(0)
        with pytest.raises(ValueError, match=f"pool must have .*{strategy.needs[0]}"):
            strategy.select(Pool(3), NOTHING, 1, rng)

    def test_no_image(self, name: str) -> None:
        if name in GRAPHS:
            pytest.importorskip("torch")
        pool = Pool(0, known(RNG(0), 0))
        assert make_strategy(name).select(pool, NOTHING, 0, RNG(0)).shape == (0,)


HEADS = {
    "learning-loss": "learning-loss",
    "learning-loss++": "learning-loss++",
    "aleatoric": "log-variance",
    "mc-dropout": "log-variance",
    "mcd-cke": "log-variance",
    "egl++": None,
    "core-gcn": None,
    "uncertain-gcn": None,
}


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_heads_are_there(name: str, head: str | None) -> None:
    strategy = make_strategy(name)
    assert strategy.head == head
    if head is not None:
        heads = pytest.importorskip("vl4pose.simulation.heads").HEADS
        observed = heads[head].array
        assert observed in strategy.needs or "predictive_variance" in strategy.needs


# Ranks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [LearningLoss(), LearningLossPlusPlus()])
def test_the_largest_predicted_loss_comes_first(strategy) -> None:
    pool = Pool(4, {"predicted_loss": [-1.0, 3.0, 0.5, 3.0]})
    assert_array_equal(strategy.rank(pool), [-1.0, 3.0, 0.5, 3.0])
    assert_array_equal(strategy.select(pool, NOTHING, 3, RNG(0)), [1, 3, 2])


def test_aleatoric_is_the_mean_variance() -> None:
    """One joint of log-variance 3 is farther off than three of 1: exp(3) / 3 = 6.7, e = 2.7."""
    pool = Pool(2, {"log_variance": [[1.0, 1.0, 1.0], [3.0, -50.0, -50.0]]})
    assert_allclose(Aleatoric().rank(pool), [np.exp(1), np.exp(3) / 3])


def test_mc_dropout_is_the_mean_variance() -> None:
    pool = Pool(2, {"predictive_variance": [[1.0, 2.0], [4.0, 0.0]]})
    assert_array_equal(MCDropout().rank(pool), [1.5, 2.0])


def test_gradient_lengths_are_ranks() -> None:
    pool = Pool(3, {"squared_gradient_length": np.float32([1.0, 7.0, 3.0])})
    assert_array_equal(EGLPlusPlus().rank(pool), [1.0, 7.0, 3.0])


def test_options_reach_what_is_observed() -> None:
    options = MCDropout(num_samples=7, dropout_rate=0.25).observation_options
    assert options == {"predictive_variance": {"num_samples": 7, "dropout_rate": 0.25}}
    assert MCDCKE(num_samples=7, dropout_rate=0.25).observation_options == options
    given = {"num_neighbours": 5, "perplexity": 3.0, "parameters": ["a", "b"], "num_probes": None}
    options = make_strategy("EGL++", **given).observation_options
    assert options == {"squared_gradient_length": given}
    usual = EGLPlusPlus().observation_options["squared_gradient_length"]
    assert (usual["num_neighbours"], usual["perplexity"]) == (30, 20.0)


def test_what_is_observed_takes_these_options() -> None:
    """The functions' own defaults are those of the strategies."""
    pytest.importorskip("kornia")
    import inspect

    from vl4pose.active.neighbours import nearest_labelled
    from vl4pose.simulation.gradient_length import expected_squared_gradient_length
    from vl4pose.simulation.predictive_variance import predictive_variance

    for strategy, array, functions in [
        (MCDropout(), "predictive_variance", [predictive_variance]),
        (
            EGLPlusPlus(),
            "squared_gradient_length",
            [nearest_labelled, expected_squared_gradient_length],
        ),
    ]:
        defaults = {
            name: parameter.default
            for function in functions
            for name, parameter in inspect.signature(function).parameters.items()
        }
        for option, value in strategy.observation_options[array].items():
            assert defaults[option] == value


# Uncertain and far -------------------------------------------------------------------------------


def by_all_products(points, deviation, labelled, budget: int):
    """Return the greedy choice by looking at every product anew."""
    chosen = []
    for _ in range(budget):
        products = []
        for i, point in enumerate(points):
            known_points = [*labelled, *(points[j] for j in chosen)]
            nearest = min((np.linalg.norm(point - other) for other in known_points), default=1.0)
            products.append(-1.0 if i in chosen else nearest * deviation[i])
        chosen.append(int(np.argmax(products)))
    return chosen


@given(seed=st.integers(0, 1000), num_labelled=st.integers(0, 4))
@examples(0.5)
def test_mcd_cke_is_the_greedy_choice_of_products(seed: int, num_labelled: int) -> None:
    rng = RNG(seed)
    points, labelled = rng.normal(size=(9, 2)), rng.normal(size=(num_labelled, 2))
    variance = rng.gamma(1.0, size=(9, 3))
    pool = Pool(9, {"embedding": points, "predictive_variance": variance})
    known_pool = Pool(num_labelled, {"embedding": labelled}) if num_labelled else NOTHING
    found = MCDCKE().select(pool, known_pool, 9, rng)
    deviation = np.sqrt(variance.mean(axis=1))
    assert_array_equal(found, by_all_products(points, deviation, labelled, 9))


def test_mcd_cke_of_equal_variances_is_core_set() -> None:
    rng = RNG(0)
    arrays = {"embedding": rng.normal(size=(20, 3)), "predictive_variance": np.ones((20, 2))}
    labelled = Pool(4, {"embedding": rng.normal(size=(4, 3))})
    found = MCDCKE().select(Pool(20, arrays), labelled, 20, rng)
    assert_array_equal(found, make_strategy("core-set").select(Pool(20, arrays), labelled, 20, rng))


def test_mcd_cke_on_a_line() -> None:
    """Distances from the labelled one are 1, 4 and 10; deviations 3, 2 and 0.5: 3, 8 and 5."""
    pool = Pool(
        3,
        {"embedding": [[1.0], [4.0], [10.0]], "predictive_variance": [[9.0], [4.0], [0.25]]},
    )
    labelled = Pool(1, {"embedding": [[0.0]]})
    # Then the first is 1 from the labelled one, and the last 6 from the one chosen: 3 and 3.
    assert_array_equal(MCDCKE().select(pool, labelled, 3, RNG(0)), [1, 0, 2])
    # Where nothing is labelled, the most uncertain one comes first.
    assert_array_equal(MCDCKE().select(pool, NOTHING, 3, RNG(0)), [0, 1, 2])


def test_mcd_cke_leaves_out_labelled_ones_that_have_no_embedding() -> None:
    pool = Pool(2, {"embedding": [[100.0], [200.0]], "predictive_variance": [[1.0], [1.0]]})
    labelled = Pool(2, {"embedding": [[NAN], [190.0]]})
    assert_array_equal(MCDCKE().select(pool, labelled, 2, RNG(0)), [0, 1])
    none = Pool(1, {"embedding": [[INF]]})
    assert_array_equal(MCDCKE().select(pool, none, 2, RNG(0)), [0, 1])


def test_mcd_cke_far_from_zero() -> None:
    """Where products of rows have lost the digits that tell distances."""
    rows = 1e8 + np.array([[0.0], [3.0], [4.0]])
    pool = Pool(3, {"embedding": rows, "predictive_variance": np.ones((3, 1))})
    labelled = Pool(2, {"embedding": 1e8 + np.array([[0.5], [4.0]])})
    assert_array_equal(MCDCKE().select(pool, labelled, 3, RNG(0)), [1, 0, 2])


# Graphs ------------------------------------------------------------------------------------------


def clusters():
    """Return three clusters of 20 in orthogonal directions; the first has five labelled images."""
    rng = RNG(0)
    centres = np.repeat(np.eye(3, 6), 20, axis=0)
    pool = Pool(60, {"embedding": centres + 0.05 * rng.normal(size=(60, 6))})
    labelled = np.eye(3, 6)[[0] * 5] + 0.05 * rng.normal(size=(5, 6))
    return pool, Pool(5, {"embedding": labelled})


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For networks as small as these, waiting for others takes longer."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_uncertain_gcn_leaves_the_labelled_cluster_to_the_end() -> None:
    pytest.importorskip("torch")
    pool, labelled = clusters()
    strategy = UncertainGCN(margin=0.0)
    ranks = strategy.rank(pool, labelled, RNG(1))
    assert ranks[:20].max() < ranks[20:].min()
    assert set(strategy.select(pool, labelled, 40, RNG(1)).tolist()) == set(range(20, 60))
    # The other way round, those are the first that look labelled.
    sure = UncertainGCN(margin=1.0).select(pool, labelled, 20, RNG(1))
    assert set(sure.tolist()) == set(range(20))


def test_the_nearest_to_the_margin_comes_first() -> None:
    pytest.importorskip("torch")
    pool, labelled = clusters()
    confidence = 1 + UncertainGCN(margin=1.0).rank(pool, labelled, RNG(1))
    assert ((confidence > 0) & (confidence < 1)).all()
    expected = -np.abs(confidence - 0.1)
    assert_allclose(UncertainGCN().rank(pool, labelled, RNG(1)), expected, atol=1e-12)


def test_core_gcn_goes_to_the_clusters_without_labels() -> None:
    pytest.importorskip("torch")
    pool, labelled = clusters()
    found = CoreGCN().select(pool, labelled, 2, RNG(1))
    assert (found >= 20).all()
    found = CoreGCN().select(pool, labelled, 60, RNG(1))
    assert sorted(found.tolist()) == list(range(60))


def test_graphs_are_the_same_for_a_seed() -> None:
    pytest.importorskip("torch")
    pool, labelled = clusters()
    for strategy in GRAPHS.values():
        first = strategy.rank(pool, labelled, RNG(5))
        assert_array_equal(strategy.rank(pool, labelled, RNG(5)), first)
        assert not np.array_equal(strategy.rank(pool, labelled, RNG(6)), first)


@pytest.mark.parametrize(
    ("strategy", "options", "error", "message"),
    [
        (MCDropout, {"num_samples": 1}, ValueError, "num_samples must be at least 2, got 1"),
        (MCDCKE, {"num_samples": 3.0}, TypeError, "num_samples must be an integer, got 3.0"),
        (MCDropout, {"dropout_rate": 1.0}, ValueError, "dropout_rate must be finite and between"),
        (
            EGLPlusPlus,
            {"num_neighbours": 0},
            ValueError,
            "num_neighbours must be at least 1, got 0",
        ),
        (EGLPlusPlus, {"perplexity": 0.9}, ValueError, "perplexity must be finite and between 1"),
        (EGLPlusPlus, {"num_probes": 0}, ValueError, "num_probes must be at least 1, got 0"),
        (EGLPlusPlus, {"parameters": 3}, TypeError, "parameters must be names, got 3"),
        (EGLPlusPlus, {"parameters": [3]}, TypeError, "parameters must be names, got list"),
        (UncertainGCN, {"margin": 1.1}, ValueError, "margin must be finite and between 0 and 1"),
        (CoreGCN, {"hidden": 0}, ValueError, "hidden must be between 1 and 65536, got 0"),
        (CoreGCN, {"num_steps": -1}, ValueError, "num_steps must be at least 0, got -1"),
        (CoreGCN, {"unlabelled_weight": "1"}, TypeError, "unlabelled_weight must be a real number"),
        (CoreGCN, {"device": 0}, TypeError, "device must be a name, got 0"),
    ],
)
def test_options_are_checked(strategy, options, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        strategy(**options)


def test_without_torch_graphs_say_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "import numpy as np\nfrom vl4pose.active import Pool, make_strategy\n"
        "pool = Pool(2, {'embedding': np.eye(2)})\n"
        "make_strategy('core-gcn').select(pool, Pool(0), 1, np.random.default_rng(0))\n"
    )
    message = "ImportError: CoreGCN needs torch: pip install 'vl4pose[torch]'"
    assert run_python(code, tmp_path, status=1).stderr.splitlines()[-1] == message
