"""Losses and networks that learn another network's loss, and its errors."""

from __future__ import annotations

import doctest
import importlib
import math
import re

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from strategies import examples  # noqa: E402
from torch.nn import functional  # noqa: E402
from training_figures import one_thread  # noqa: E402, F401

from vl4pose.losses import (  # noqa: E402
    LearningLoss,
    LearningLossPlusPlus,
    LogVarianceLoss,
    learning_loss,
    learning_loss_plus_plus,
    log_variance_loss,
)
from vl4pose.nn import LearningLossNet, LogVarianceNet, MultiScaleLossNet  # noqa: E402

NAN = math.nan
OF_PAIRS = [learning_loss, learning_loss_plus_plus]


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


# Pairs -------------------------------------------------------------------------------------------


def test_ranking_by_hand() -> None:
    # Pairs are (0, 3), (1, 4), (2, 5): in order by 0.5 too little; in order by enough; reversed.
    predicted = double(1.0, 5.0, 2.0, 0.5, 2.0, 3.0)
    losses = double(9.0, 4.0, 7.0, 1.0, 3.0, 6.0)
    terms = learning_loss(predicted, losses, reduction="none")
    torch.testing.assert_close(terms, double(0.5, 0.0, 2.0))
    assert learning_loss(predicted, losses).item() == pytest.approx(2.5 / 3)
    assert learning_loss(predicted, losses, reduction="sum").item() == pytest.approx(2.5)
    terms = learning_loss(predicted, losses, margin=4.0, reduction="none")
    torch.testing.assert_close(terms, double(3.5, 1.0, 5.0))


def test_ranking_is_that_of_torch() -> None:
    rng = torch.Generator().manual_seed(0)
    predicted, losses = torch.randn(2, 20, generator=rng, dtype=torch.float64)
    order = torch.sign(losses[:10] - losses[10:])
    expected = functional.margin_ranking_loss(predicted[:10], predicted[10:], order, margin=0.7)
    torch.testing.assert_close(learning_loss(predicted, losses, margin=0.7), expected)


def test_equal_losses_have_no_order() -> None:
    predicted = double(1.0, 2.0, 5.0, 0.0).requires_grad_()
    terms = learning_loss(predicted, double(3.0, 3.0, 3.0, 4.0), reduction="none")
    assert terms.tolist() == [0.0, 3.0]
    learning_loss(predicted, double(3.0, 3.0, 3.0, 4.0)).backward()
    assert predicted.grad.tolist() == [0.0, 1.0, 0.0, -1.0]


def test_shares_by_hand() -> None:
    # Shares 3/4 and 1/4; the softmax of log 3 and 0 is the same, and that of 0 and 0 a half each.
    losses = double(6.0, 6.0, 2.0, 2.0)
    terms = learning_loss_plus_plus(double(math.log(3.0), 0.0, 0.0, 0.0), losses, reduction="none")
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    torch.testing.assert_close(terms, double(0.0, divergence), atol=1e-15, rtol=1e-12)


def test_shares_are_a_divergence_of_torch() -> None:
    rng = torch.Generator().manual_seed(0)
    predicted = 5 * torch.randn(2, 10, generator=rng, dtype=torch.float64)
    losses = torch.rand(2, 10, generator=rng, dtype=torch.float64)
    expected = functional.kl_div(
        predicted.log_softmax(0), losses / losses.sum(0), reduction="none"
    ).sum(0)
    found = learning_loss_plus_plus(predicted.flatten(), losses.flatten(), reduction="none")
    torch.testing.assert_close(found, expected)


def test_gradient_of_shares_is_the_difference_of_the_shares() -> None:
    predicted = double(0.3, -1.2).requires_grad_()
    learning_loss_plus_plus(predicted, double(1.0, 4.0)).backward()
    expected = predicted.detach().softmax(0) - double(0.2, 0.8)
    torch.testing.assert_close(predicted.grad, expected)


@pytest.mark.parametrize(("losses", "share"), [((0.0, 0.0), 0.5), ((2.0, 0.0), 1.0)])
def test_losses_of_zero_have_shares(losses, share) -> None:
    predicted = double(0.0, 0.0).requires_grad_()
    loss = learning_loss_plus_plus(predicted, double(*losses))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2) if share == 1 else 0.0)
    assert predicted.grad[0].item() == pytest.approx(0.5 - share)


@given(size=st.integers(0, 7), seed=st.integers(0, 1000))
@examples(0.3)
@pytest.mark.parametrize("loss", OF_PAIRS)
def test_gradients_are_those_of_finite_differences(loss, size: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    predicted = 3 * torch.randn(size, generator=rng, dtype=torch.float64)
    losses = torch.rand(size, generator=rng, dtype=torch.float64)
    annotated = torch.rand(size, generator=rng) < 0.8

    def of(values):
        return loss(values, losses, annotated=annotated)

    assert torch.autograd.gradcheck(of, predicted.requires_grad_())


@pytest.mark.parametrize("loss", OF_PAIRS)
class TestPairs:
    @pytest.mark.parametrize("size", [0, 1])
    def test_without_a_pair_it_is_zero(self, loss, size: int) -> None:
        predicted = torch.ones(size, requires_grad=True)
        found = loss(predicted, torch.ones(size))
        assert found.item() == 0
        found.backward()
        assert (predicted.grad == 0).all()
        assert loss(predicted, torch.ones(size), reduction="none").shape == (0,)

    def test_the_last_of_an_odd_number_is_in_none(self, loss) -> None:
        predicted, losses = double(1.0, 2.0, 3.0, 4.0, NAN), double(4.0, 3.0, 2.0, 1.0, NAN)
        assert loss(predicted, losses) == loss(predicted[:4], losses[:4])

    def test_without_annotation_nothing_is_read(self, loss) -> None:
        annotated = torch.tensor([True, True, False, True])
        predicted = double(1.0, 2.0, NAN, 4.0).requires_grad_()
        found = loss(predicted, double(4.0, 3.0, NAN, 1.0), annotated=annotated)
        assert found.item() == loss(double(2.0, 4.0), double(3.0, 1.0)).item()
        found.backward()
        assert predicted.grad[[0, 2]].tolist() == [0.0, 0.0]
        assert (predicted.grad[[1, 3]] != 0).all()

    @pytest.mark.parametrize("losses", [(NAN, 1.0), (1.0, NAN), (NAN, NAN)])
    def test_a_loss_that_is_no_number_is_not_hidden(self, loss, losses) -> None:
        terms = loss(double(1.0, 2.0, 3.0, 4.0), double(losses[0], 2.0, losses[1], 1.0),
                     reduction="none")  # fmt: skip
        assert terms.isnan().tolist() == [True, False]

    def test_true_losses_get_no_gradient(self, loss) -> None:
        losses = double(1.0, 2.0).requires_grad_()
        loss(double(3.0, 1.0).requires_grad_(), losses).backward()
        assert losses.grad is None

    def test_half_precision_is_widened(self, loss) -> None:
        predicted, losses = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])
        found = loss(predicted.bfloat16(), losses.half())
        assert found.dtype == torch.float32
        assert found == loss(predicted, losses)

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            (([1.0], torch.ones(1)), TypeError, "predicted must be a tensor, got list"),
            ((torch.ones(1), 3.0), TypeError, "losses must be a tensor, got float"),
            (
                (torch.ones(2).int(), torch.ones(2)),
                TypeError,
                "predicted must be floating, got torch.int32",
            ),
            (
                (torch.ones(2, 1), torch.ones(2, 1)),
                ValueError,
                "predicted must be (B,), got shape (2, 1)",
            ),
            (
                (torch.ones(2), torch.ones(3)),
                ValueError,
                "losses must be (2,) like predicted, got shape (3,)",
            ),
        ],
    )
    def test_what_is_no_losses(self, loss, given, error, message: str) -> None:
        with pytest.raises(error, match=re.escape(message)):
            loss(*given)

    def test_what_is_no_annotated_and_no_reduction(self, loss) -> None:
        two = torch.ones(2)
        with pytest.raises(ValueError, match=re.escape("annotated must be (2,) of bool, got (2,)")):
            loss(two, two, annotated=two)
        with pytest.raises(TypeError, match="annotated must be a tensor, got list"):
            loss(two, two, annotated=[True, True])
        with pytest.raises(ValueError, match="reduction must be one of mean, sum, none"):
            loss(two, two, reduction="median")


@pytest.mark.parametrize(
    ("margin", "error"), [("1", TypeError), (-1.0, ValueError), (NAN, ValueError)]
)
def test_what_is_no_margin(margin, error) -> None:
    with pytest.raises(error, match="margin must be "):
        learning_loss(torch.ones(2), torch.ones(2), margin=margin)
    with pytest.raises(error, match="margin must be "):
        LearningLoss(margin=margin)


def test_modules_are_the_functions() -> None:
    predicted, losses = torch.tensor([3.0, 1.0, 0.5, 2.0]), torch.tensor([1.0, 2.0, 4.0, 0.0])
    module = LearningLoss(margin=2.0, reduction="sum")
    assert module(predicted, losses) == learning_loss(predicted, losses, margin=2, reduction="sum")
    assert repr(module) == "LearningLoss(margin=2.0, reduction='sum')"
    assert LearningLossPlusPlus()(predicted, losses) == learning_loss_plus_plus(predicted, losses)
    with pytest.raises(ValueError, match="reduction must be one of"):
        LearningLossPlusPlus(reduction="all")


# Log-variances -----------------------------------------------------------------------------------


def test_log_variance_by_hand() -> None:
    log_variance = double(0.0, math.log(4.0))[None]
    predicted = torch.zeros(1, 2, 2, dtype=torch.float64)
    keypoints = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]], dtype=torch.float64)
    terms = log_variance_loss(log_variance, predicted, keypoints, reduction="none")
    torch.testing.assert_close(terms, double(12.5, 0.5 + math.log(2.0))[None])
    assert log_variance_loss(log_variance, predicted, keypoints) == terms.mean()
    module = LogVarianceLoss(reduction="sum")
    assert module(log_variance, predicted, keypoints) == terms.sum()


@given(seed=st.integers(0, 1000))
@examples(0.3)
def test_log_variance_is_lowest_at_the_mean_squared_distance(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    offset = 5 * torch.randn(30, 1, 2, generator=rng, dtype=torch.float64)
    best = offset.square().sum(-1).mean().log().requires_grad_()
    loss = log_variance_loss(best.expand(30, 1), torch.zeros_like(offset), offset)
    (slope,) = torch.autograd.grad(loss, best)
    assert abs(slope.item()) < 1e-12
    assert torch.autograd.gradcheck(
        lambda s: log_variance_loss(s.expand(30, 1), torch.zeros_like(offset), offset),
        (best - 1).detach().requires_grad_(),
    )


def test_joints_without_annotation_are_not_read() -> None:
    log_variance = torch.ones(2, 2, requires_grad=True)
    keypoints = torch.tensor([[[1.0, 2.0], [NAN, math.inf]], [[NAN, NAN], [3.0, 3.0]]])
    predicted = torch.zeros(2, 2, 2, requires_grad=True)
    visible = torch.tensor([[True, False], [False, True]])
    loss = log_variance_loss(log_variance, predicted, keypoints, visible=visible)
    expected = (5 * math.exp(-1) + 1 + 18 * math.exp(-1) + 1) / 4
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert log_variance.grad[~visible].tolist() == [0.0, 0.0]
    assert (log_variance.grad[visible] != 0).all()
    assert predicted.grad is None
    none = torch.zeros(2, 2, dtype=torch.bool)
    assert log_variance_loss(log_variance, predicted, keypoints, visible=none).item() == 0


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2,), (2, 2), (2, 2)), "log_variance must be (B, J) and floating, got (2,) of float32"),
        (((2, 3), (2, 2, 2), (2, 2, 2)), "predicted must be (2, 3, D) like log_variance"),
        (((2, 3), (2, 3, 2), (2, 3, 3)), "keypoints must be (2, 3, 2) like predicted"),
    ],
)
def test_what_is_no_log_variance(shapes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        log_variance_loss(*(torch.zeros(shape) for shape in shapes))


def test_what_is_no_visible() -> None:
    three = torch.zeros(2, 3), torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)
    with pytest.raises(ValueError, match=re.escape("visible must be (2, 3) of bool, got (3,)")):
        log_variance_loss(*three, visible=torch.ones(3, dtype=torch.bool))
    with pytest.raises(TypeError, match="visible must be a tensor, got bool"):
        log_variance_loss(*three, visible=True)


def three_losses():
    """Return each loss with arguments of its own, of which the first is predicted."""
    rng = torch.Generator().manual_seed(0)
    predicted, losses = torch.randn(2, 6, generator=rng)
    log_variance, *points = (
        torch.randn(2, 3, generator=rng),
        *torch.randn(2, 2, 3, 2, generator=rng),
    )
    return {
        "learning_loss": (learning_loss, predicted, losses.abs()),
        "learning_loss_plus_plus": (learning_loss_plus_plus, predicted, losses.abs()),
        "log_variance_loss": (log_variance_loss, log_variance, *points),
    }


@pytest.mark.parametrize("name", three_losses())
class TestTorch:
    def test_is_compiled_in_one_piece(self, name: str) -> None:
        loss, *given = three_losses()[name]
        compiled = torch.compile(loss, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*given), loss(*given))

    def test_is_transformed(self, name: str) -> None:
        loss, predicted, *others = three_losses()[name]
        gradient = torch.func.grad(loss)(predicted, *others)
        predicted.requires_grad_()
        (expected,) = torch.autograd.grad(loss(predicted, *others), predicted)
        torch.testing.assert_close(gradient, expected)
        given = [torch.stack([each, 2 * each]) for each in (predicted.detach(), *others)]
        found = torch.func.vmap(loss)(*given)
        torch.testing.assert_close(found[1], loss(*(each[1] for each in given)))


@pytest.mark.parametrize("name", ["losses", "nn.learning_loss_net", "nn.log_variance_net"])
def test_examples_of_the_documentation_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"vl4pose.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


# Networks ----------------------------------------------------------------------------------------

CHANNELS, SIZES = (8, 6, 4), (16, 8, 4)


def features(batch: int = 5, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, channels, size, size, generator=rng)
        for channels, size in zip(CHANNELS, SIZES, strict=True)
    ]


NETWORKS = {
    "averages": lambda maps: LearningLossNet.for_features(maps, 16),
    "scales": MultiScaleLossNet,
    "log-variance": lambda maps: LogVarianceNet(maps, 3),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
class TestNetworks:
    def test_features_get_no_gradient(self, make) -> None:
        maps = [each.requires_grad_() for each in features()]
        network = make(maps)
        (network(maps) ** 2).sum().backward()
        assert all(each.grad is None for each in maps)
        assert any((p.grad != 0).any() for p in network.parameters() if p.grad is not None)

    def test_a_batch_is_its_images_in_eval_mode(self, make) -> None:
        maps = features()
        network = make(maps)
        network(maps)
        network.eval()
        together = network(maps)
        for i in range(5):
            alone = network([each[i : i + 1] for each in maps])
            torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)

    def test_one_image_can_be_learned_from(self, make) -> None:
        maps = features(1)
        output = make(maps)(maps)
        assert len(output) == 1
        assert torch.isfinite(output).all()

    def test_weights_are_those_of_the_seed(self, make) -> None:
        outputs = []
        for _ in range(2):
            torch.manual_seed(7)
            outputs.append(make(features()).eval()(features()))
        assert torch.equal(*outputs)

    @pytest.mark.parametrize("wrong", [[], [torch.ones(2, 3)], ["maps"]])
    def test_what_is_no_features(self, make, wrong) -> None:
        with pytest.raises((TypeError, ValueError), match="features must be "):
            make(wrong)


def test_averages_are_all_that_the_first_network_sees() -> None:
    """A standardised map's pixels may be in any order."""
    maps = features()
    network = LearningLossNet.for_features(maps).eval()
    shuffled = [each.flip(-1).transpose(-1, -2) for each in maps]
    torch.testing.assert_close(network(shuffled), network(maps))
    with pytest.raises(ValueError, match="features must be one map per scale \\(3\\), got 2"):
        network(maps[:2])


@pytest.mark.parametrize("channels", [[], [0], ["8"]])
def test_what_is_no_channels(channels) -> None:
    with pytest.raises((TypeError, ValueError), match="channels must be "):
        LearningLossNet(channels)


def test_log_variance_starts_even_and_is_bounded() -> None:
    maps = features()
    network = LogVarianceNet(maps, 3).eval()
    assert network(maps).unique().tolist() == [3.0]
    for bias, limit in [(1e6, 20.0), (-1e6, -14.0)]:
        torch.nn.init.constant_(network.head.bias, bias)
        assert network(maps).unique().tolist() == [pytest.approx(limit, abs=1e-3)]


@pytest.mark.parametrize(
    ("make", "loss"),
    [(NETWORKS["averages"], learning_loss), (NETWORKS["scales"], learning_loss_plus_plus)],
    ids=["averages", "scales"],
)
def test_they_learn_which_loss_is_larger(make, loss) -> None:
    """Where the features say it: here the mean of the last map's first channel."""
    torch.manual_seed(0)
    maps = features(64)
    losses = torch.rand(64)
    maps[-1][:, 0] += 4 * losses[:, None, None]
    network = make(maps)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(60):
        order = torch.randperm(64)
        optimizer.zero_grad()
        loss(network([each[order] for each in maps]), losses[order]).backward()
        optimizer.step()
    found = network.eval()(maps).detach()
    assert torch.corrcoef(torch.stack([found, losses]))[0, 1] > 0.8
