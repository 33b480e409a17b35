"""The graph of images against its matrix, and what its network learns of clusters."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from strategies import examples  # noqa: E402
from training_figures import one_thread  # noqa: E402, F401

from vl4pose.nn.graph_net import GraphNet, Similarity, label_graph  # noqa: E402


def random(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix(features):
    """Return D^-1 (S - I) + I, each entry by itself."""
    N = len(features)
    similarity = torch.zeros(N, N, dtype=torch.float64)
    for i in range(N):
        for j in range(N):
            a, b = features[i], features[j]
            agree = torch.where(a * b > 0, a * b, 0.0).sum()
            lengths = a.norm() * b.norm()
            similarity[i, j] = agree / lengths if lengths > 0 and i != j else 0.0
    degree = similarity.sum(1, keepdim=True)
    passed = torch.where(degree > 1e-6, similarity / degree.clamp(min=1e-6), 0.0)
    return passed + torch.eye(N, dtype=torch.float64)


@given(
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(1, 3)),
    seed=st.integers(0, 1000),
    is_signed=st.booleans(),
    scale=st.sampled_from([1e-200, 1.0, 1e200]),
)
@examples(0.5)
def test_messages_are_those_of_the_matrix(sizes, seed: int, is_signed: bool, scale: float) -> None:
    N, D, C = sizes
    features = random(N, D, seed=seed) if is_signed else random(N, D, seed=seed).abs()
    features[::5] = 0  # like no other image
    x = random(N, C, seed=seed + 1)
    torch.testing.assert_close(Similarity(scale * features) @ x, matrix(features) @ x)


def test_cosines_of_positive_features_are_the_paper_s() -> None:
    features = random(6, 4).abs()
    rows = features / features.norm(dim=1, keepdim=True)
    edges = rows @ rows.T - torch.eye(6)
    expected = edges / edges.sum(1, keepdim=True) + torch.eye(6)
    torch.testing.assert_close(Similarity(features) @ torch.eye(6).double(), expected)
    found = Similarity(features).float() @ torch.eye(6)
    torch.testing.assert_close(found, expected.float())


def test_gradients_go_along_the_edges() -> None:
    edges = Similarity(random(5, 3))
    assert torch.autograd.gradcheck(lambda x: edges @ x, random(5, 2).requires_grad_())


def clusters(seed: int = 0):
    """Return two clusters of 40 in orthogonal directions; half of the first is labelled."""
    features = 0.1 * random(80, 8, seed=seed)
    features[:40, 0] += 1
    features[40:, 1] += 1
    return features, torch.arange(80) < 20


def test_the_cluster_of_the_labelled_looks_labelled() -> None:
    features, labelled = clusters()
    confidence, hidden = label_graph(features, labelled)
    # In the first cluster half are labelled; the best single confidence there is that of the loss
    # -log f - 1.2 (20 / 60) log(1 - f), at 1 / 1.4.
    assert confidence[:40].mean().item() == pytest.approx(1 / 1.4, abs=0.05)
    assert confidence[40:].max() < 0.1
    assert confidence[20:40].min() > confidence[40:].max()
    assert hidden.shape == (80, 128)
    distances = torch.cdist(hidden, hidden)
    assert distances[:40, :40].max() < distances[:40, 40:].min()


def test_it_is_the_same_for_a_seed_and_leaves_the_generator_alone() -> None:
    features, labelled = clusters()
    state = torch.random.get_rng_state()
    first, second = (label_graph(features, labelled, num_steps=5, seed=3) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(first.confidence, second.confidence)
    assert torch.equal(first.hidden, second.hidden)
    other = label_graph(features, labelled, num_steps=5, seed=4)
    assert not torch.equal(first.confidence, other.confidence)
    assert not first.confidence.requires_grad
    assert first.confidence.dtype == torch.float32


def test_it_learns_under_no_grad_too() -> None:
    features, labelled = clusters()
    with torch.no_grad():
        found = label_graph(features, labelled, num_steps=5)
    assert torch.equal(found.confidence, label_graph(features, labelled, num_steps=5).confidence)


@pytest.mark.parametrize("num_labelled", [0, 1, 4, 5])
def test_equal_images_are_equally_labelled(num_labelled: int) -> None:
    for features in (torch.ones(5, 3), torch.zeros(5, 3)):
        found = label_graph(features, torch.arange(5) < num_labelled)
        assert torch.isfinite(found.confidence).all()
        assert (found.confidence - found.confidence[0]).abs().max() < 1e-6
        if num_labelled in (1, 4):  # the best single one, whatever the numbers
            assert found.confidence[0].item() == pytest.approx(1 / 2.2, abs=0.1)


def test_no_image_and_one() -> None:
    nothing = label_graph(torch.ones(0, 3), torch.zeros(0, dtype=torch.bool))
    assert nothing.confidence.shape == (0,)
    assert nothing.hidden.shape == (0, 128)
    found = label_graph(torch.ones(1, 3), torch.ones(1, dtype=torch.bool), hidden=4)
    assert 0.5 < found.confidence.item() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.ones(3)}, "features must be (N, D) and floating, got (3,)"),
        ({"features": torch.ones(3, 2).int()}, "features must be (N, D) and floating"),
        ({"labelled": torch.ones(3)}, "labelled must be (3,) of bool, got (3,) of torch.float32"),
        ({"labelled": torch.ones(2).bool()}, "labelled must be (3,) of bool, got (2,)"),
        ({"num_steps": -1}, "num_steps must be at least 0, got -1"),
        ({"dropout": 1.0}, "dropout must be finite and between 0 and 0.99, got 1.0"),
        ({"unlabelled_weight": -1.0}, "unlabelled_weight must be finite and at least 0, got -1.0"),
        ({"hidden": 0}, "hidden must be between 1 and 65536, got 0"),
        ({"seed": -1}, "seed must be between 0 and"),
    ],
)
def test_what_is_refused(change, message: str) -> None:
    options = {"features": torch.ones(3, 2), "labelled": torch.ones(3).bool()} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        label_graph(**options)


def test_network_by_hand() -> None:
    network = GraphNet(1, 1).eval()
    torch.nn.init.constant_(network.first.weight, 2.0)
    torch.nn.init.constant_(network.first.bias, -1.0)
    torch.nn.init.constant_(network.second.weight, 3.0)
    torch.nn.init.constant_(network.second.bias, 0.5)
    edges = Similarity(torch.ones(3, 1))  # each gets the mean of the two others
    logits, hidden = network(torch.tensor([[0.0], [1.0], [2.0]]), edges)
    assert hidden[:, 0].tolist() == [0.0, 1.0, 3.0]
    assert logits.tolist() == [6.5, 8.0, 11.0]
