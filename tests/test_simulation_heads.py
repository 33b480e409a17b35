"""Heads: what each is trained on, that nothing reaches the pose network, what each observes."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from training_figures import SKELETON, figures, one_thread, tiny_pose  # noqa: E402, F401

from vl4pose.active import ARRAYS  # noqa: E402
from vl4pose.losses import (  # noqa: E402
    learning_loss,
    learning_loss_plus_plus,
    log_variance_loss,
    nll_loss,
)
from vl4pose.nn import (  # noqa: E402
    AuxiliaryNet,
    LearningLossNet,
    LogVarianceNet,
    MultiScaleLossNet,
)
from vl4pose.simulation.heads import HEADS, LabelledBatch, highest_pixels  # noqa: E402
from vl4pose.training import heatmap_loss  # noqa: E402

NAN = math.nan
MODULES = {
    "aux": AuxiliaryNet,
    "learning-loss": LearningLossNet,
    "learning-loss++": MultiScaleLossNet,
    "log-variance": LogVarianceNet,
}
SHAPES = {"aux": (6, 2, 2), "learning-loss": (6,), "learning-loss++": (6,), "log-variance": (6, 3)}


def batch(number: int = 6):
    """Return images, keypoints and visible of figures; an image has no label, a joint neither."""
    images, keypoints, visible = figures(number).tensors
    keypoints, visible = keypoints.clone(), visible.clone()
    visible[0] = False
    visible[1, 2] = False
    keypoints[~visible] = NAN
    return images, keypoints, visible


def seen(images):
    """Return heatmaps of two stacks and features, all with gradients to come."""
    heatmaps, features = tiny_pose()(images)
    return torch.stack([heatmaps, heatmaps.flip(-1)], 1), list(features)


def loss_of(name: str, output, heatmaps, keypoints, visible, **options):
    batch = LabelledBatch(heatmaps, keypoints, visible, SKELETON, **options)
    return HEADS[name].loss(output, batch)


def test_all_heads_are_there() -> None:
    assert set(HEADS) == set(MODULES)
    arrays = {name: head.array for name, head in HEADS.items()}
    assert arrays.pop("aux") is None
    assert set(arrays.values()) <= set(ARRAYS)


@pytest.mark.parametrize("name", HEADS)
class TestHeads:
    def test_what_is_made_and_observed(self, name: str) -> None:
        _, features = seen(batch()[0])
        network = HEADS[name].make(features, SKELETON)
        assert type(network) is MODULES[name]
        output = network(features)
        found = HEADS[name].observe(output)
        assert found.shape == SHAPES[name]
        assert not found.requires_grad
        assert HEADS[name].observe(output.bfloat16()).dtype == torch.float32

    def test_nothing_reaches_the_pose_network(self, name: str) -> None:
        images, keypoints, visible = batch()
        pose = tiny_pose()
        heatmaps, features = pose(images)
        network = HEADS[name].make(features, SKELETON)
        loss = loss_of(name, network(list(features)), heatmaps[:, None], keypoints, visible)
        assert loss.shape == ()
        assert torch.isfinite(loss)
        loss.backward()
        assert all(parameter.grad is None for parameter in pose.parameters())
        gradients = [parameter.grad for parameter in network.parameters()]
        assert any(gradient is not None and (gradient != 0).any() for gradient in gradients)
        assert all(torch.isfinite(each).all() for each in gradients if each is not None)

    def test_without_labels_the_loss_is_zero(self, name: str) -> None:
        images, keypoints, visible = batch()
        heatmaps, features = seen(images)
        network = HEADS[name].make(features, SKELETON)
        nowhere = torch.full_like(keypoints, NAN)
        loss = loss_of(name, network(features), heatmaps, nowhere, torch.zeros_like(visible))
        assert loss.item() == 0
        loss.backward()
        for parameter in network.parameters():
            assert parameter.grad is None or (parameter.grad == 0).all()

    def test_it_learns(self, name: str) -> None:
        """Steps on one batch, whose images have losses of all sizes, bring the head's down."""
        images, keypoints, visible = batch(12)
        heatmaps, features = seen(images)
        heatmaps = heatmaps.detach() * torch.linspace(0, 40, 12)[:, None, None, None, None]
        torch.manual_seed(0)
        network = HEADS[name].make(features, SKELETON, torch.tensor([[5.0, 3.0]] * 2))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        losses = []
        for _ in range(25):
            optimizer.zero_grad()
            loss = loss_of(name, network(features), heatmaps, keypoints, visible)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert min(losses[-5:]) < losses[0] - 0.1 * abs(losses[0])


def test_aux_starts_at_the_given_bones() -> None:
    _, features = seen(batch()[0])
    params = torch.tensor([[5.0, 1.0], [7.0, 2.0]])
    network = HEADS["aux"].make(features, SKELETON, params).eval()
    torch.testing.assert_close(network(features), params.expand(6, 2, 2))


def test_losses_are_those_of_the_papers() -> None:
    images, keypoints, visible = batch()
    heatmaps, _ = seen(images)
    heatmaps = heatmaps.detach()
    rng = torch.Generator().manual_seed(0)
    predicted = torch.randn(6, generator=rng)
    of_images = torch.stack(
        [
            heatmap_loss(heatmaps[i : i + 1], keypoints[i : i + 1], visible=visible[i : i + 1])
            for i in range(6)
        ]
    )
    assert of_images[0] == 0  # for want of labels, not of errors
    annotated = torch.tensor([False] + [True] * 5)
    for name, loss in [
        ("learning-loss", learning_loss),
        ("learning-loss++", learning_loss_plus_plus),
    ]:
        expected = loss(predicted, of_images, annotated=annotated)
        torch.testing.assert_close(loss_of(name, predicted, heatmaps, keypoints, visible), expected)
    log_variance = torch.randn(6, 3, generator=rng)
    last = heatmaps[:, -1]
    flat = last.flatten(-2).argmax(-1)
    points = torch.stack([flat % 16, flat // 16], -1).float()
    torch.testing.assert_close(
        loss_of("log-variance", log_variance, heatmaps, keypoints, visible),
        log_variance_loss(log_variance, points, keypoints, visible=visible),
    )
    params = torch.rand(6, 2, 2, generator=rng)
    torch.testing.assert_close(
        loss_of("aux", params, heatmaps, keypoints, visible),
        nll_loss(params, keypoints, skeleton=SKELETON, visible=visible),
    )


def test_the_loss_to_learn_is_that_of_training() -> None:
    """Of heatmaps that are trained to another height, another one."""
    images, keypoints, visible = batch()
    heatmaps = seen(images)[0].detach()
    predicted = torch.linspace(-1, 1, 6)
    of_images = heatmap_loss(
        heatmaps, keypoints, visible=visible, sigma=1.0, peak=1.0, reduction="image"
    )
    annotated = torch.tensor([False] + [True] * 5)
    torch.testing.assert_close(
        loss_of("learning-loss++", predicted, heatmaps, keypoints, visible, sigma=1.0, peak=1.0),
        learning_loss_plus_plus(predicted, of_images, annotated=annotated),
    )


def test_highest_pixels() -> None:
    heatmaps = torch.zeros(2, 1, 4, 5)
    heatmaps[0, 0, 3, 1] = 2
    heatmaps[1, 0, 2, 2] = heatmaps[1, 0, 2, 4] = -1
    assert highest_pixels(heatmaps).tolist() == [[[1.0, 3.0]], [[0.0, 0.0]]]
    assert highest_pixels(heatmaps.double()).dtype == torch.float64
    assert highest_pixels(heatmaps.half()).dtype == torch.float32
