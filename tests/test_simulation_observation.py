"""What a simulation's networks say of images, against each array found by itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from simulated_figures import NUM_TRAINING, write_config  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose.active.neighbours import neighbour_probabilities  # noqa: E402
from vl4pose.nn.pooled_features import pool_features  # noqa: E402
from vl4pose.simulation.config import read_config  # noqa: E402
from vl4pose.simulation.pace import Pace, SimulationError  # noqa: E402
from vl4pose.simulation.predictive_variance import predictive_variance  # noqa: E402
from vl4pose.simulation.work import make_bench  # noqa: E402
from vl4pose.training import heatmap_loss  # noqa: E402

LABELS = [3, 7, 11, 20, 33]
POOL = np.setdiff1d(np.arange(NUM_TRAINING), LABELS)
LENGTH = "squared_gradient_length"
LAST = {"parameters": "last", "num_probes": None}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    config = read_config(write_config(tmp_path))
    return make_bench(config, tmp_path / "out", torch.device("cpu"), Pace(None, 1e9))


def test_packages_are_missed_before_networks_are_trained(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    out = tmp_path / "out"

    def make(**options):
        strategies = [{"name": "kaplan-lensu", **options}]
        config = read_config(write_config(tmp_path, simulation={"strategies": strategies}))
        return make_bench(config, out, torch.device("cpu"), Pace(None, 1e9))

    message = r"the strategy 'kaplan-lensu': approximate k-centre needs usearch: pip install"
    with pytest.raises(SimulationError, match=message):
        make()
    assert not out.exists()
    assert make(approximate=False).folder.path == out


def images_of(bench, indices):
    return bench.data.inputs(bench.data.pixels[torch.as_tensor(indices)])


def embeddings_of(bench, indices):
    return pool_features(bench.network(images_of(bench, indices)).features).numpy()


def observed(bench, folder, names, *, head=None, labels=LABELS, **of_arrays):
    return bench.observer(labels, head, of_arrays).observe(names, POOL, "the pool", folder)


def test_scores_are_those_of_heatmaps_and_bones(bench, tmp_path) -> None:
    head = bench.make_head("aux", LABELS, 0, 0)
    methods = ("expected", "max", "marginal")
    scores = [f"score_{method}" for method in methods]
    names = ["confidence", "multi_peak_entropy", "embedding", *scores]
    found = observed(bench, tmp_path, names, head=head)
    output = bench.network(images_of(bench, POOL))
    heatmaps, params = output.heatmaps[:, -1], head(output.features)
    options = {"min_distance": 1}
    assert set(found) == set(names)
    assert_allclose(found["confidence"], heatmaps.amax((2, 3)), rtol=1e-5)
    entropy = vl4pose.multi_peak_entropy(heatmaps, **options)
    assert_allclose(found["multi_peak_entropy"], entropy, rtol=1e-4)
    assert_allclose(found["embedding"], embeddings_of(bench, POOL), rtol=1e-4, atol=1e-5)
    for method in methods:
        expected = vl4pose.score(
            heatmaps, params, skeleton=bench.config.skeleton, method=method, **options
        )
        assert_allclose(found[f"score_{method}"], expected, rtol=1e-4)
    # Without a likelihood they come from elsewhere, and are the same.
    alone = observed(bench, tmp_path / "alone", names[:2])
    for name in names[:2]:
        assert_allclose(alone[name], found[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("learning-loss", "predicted_loss"),
        ("learning-loss++", "predicted_loss"),
        ("log-variance", "log_variance"),
    ],
)
def test_heads_say_it_of_the_features(name, array, bench, tmp_path) -> None:
    head = bench.make_head(name, LABELS, 0, 0)
    found = observed(bench, tmp_path, [array], head=head)[array]
    expected = head(bench.network(images_of(bench, POOL)).features)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_variances_are_those_of_the_asked_samples(bench, tmp_path) -> None:
    head = bench.make_head("log-variance", LABELS, 0, 0)
    options = {"num_samples": 4, "dropout_rate": 0.5}
    name = "predictive_variance"
    found = observed(bench, tmp_path, [name], head=head, predictive_variance=options)[name]
    expected = predictive_variance(bench.network.module, images_of(bench, POOL), head, **options)
    assert_allclose(found, expected, rtol=1e-4)
    assert found.std() > 0
    with pytest.raises(ValueError, match="head must be that of log-variances"):
        observed(bench, tmp_path / "none", [name])


def test_gradients_are_towards_the_labels_of_the_nearest(bench, tmp_path) -> None:
    options = {"num_neighbours": 2, "perplexity": 1.5, **LAST}
    found = observed(bench, tmp_path, [LENGTH], squared_gradient_length=options)[LENGTH]
    module = bench.network.module.eval()
    weights = list(module.heatmaps.parameters())
    of_pool, of_labels = embeddings_of(bench, POOL), embeddings_of(bench, LABELS)
    for i, row in enumerate(of_pool):
        squared = np.square(row - of_labels.astype(np.float64)).sum(1)
        nearest = np.argsort(squared)[:2]
        expected = 0.0
        probabilities = neighbour_probabilities(squared[nearest][None], 1.5)[0]
        for j, probability in zip(nearest, probabilities, strict=True):
            known = slice(LABELS[j], LABELS[j] + 1)
            heatmaps, _ = module(images_of(bench, POOL[i : i + 1]))
            loss = heatmap_loss(
                heatmaps, bench.data.keypoints[known], visible=bench.data.visible[known]
            )
            gradient = torch.autograd.grad(loss, weights)
            expected += probability * sum(part.square().sum().item() for part in gradient)
        assert found[i] == pytest.approx(expected, rel=1e-3)


def break_features(bench, is_broken) -> None:
    """Make the features of some images NaN, as of numbers that half precision does not hold."""
    rows = torch.from_numpy(np.flatnonzero(is_broken))
    marks = bench.network.module.stem(images_of(bench, rows)).mean((1, 2, 3)).tolist()

    def hook(module, given, output):
        means = given[0].mean((1, 2, 3), keepdim=True)
        for mark in marks:
            output = torch.where((means - mark).abs() < 1e-6, torch.nan, output)
        return output

    bench.network.module.down.register_forward_hook(hook)


def test_gradients_without_embeddings_are_not_known(bench, tmp_path) -> None:
    bench.network.module.eval()
    is_broken = np.isin(np.arange(NUM_TRAINING), [0, 5, 7, 33])  # two of them labelled
    options = {"num_neighbours": 3, "perplexity": 2.0, **LAST}
    with torch.no_grad():
        break_features(bench, is_broken)
    found = observed(bench, tmp_path / "all", [LENGTH], squared_gradient_length=options)[LENGTH]
    assert_array_equal(np.isnan(found), is_broken[POOL])
    fewer = [label for label in LABELS if not is_broken[label]]
    expected = observed(
        bench, tmp_path / "fewer", [LENGTH], labels=fewer, squared_gradient_length=options
    )[LENGTH]
    assert_allclose(found, expected, rtol=1e-6)
    none = [label for label in LABELS if is_broken[label]]
    for_none = observed(
        bench, tmp_path / "none", [LENGTH], labels=none, squared_gradient_length=options
    )[LENGTH]
    assert np.isnan(for_none).all()
