"""Gaussian heatmaps that a pose network is trained towards, and the loss against them."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from vl4pose.training import heatmap_loss, heatmap_targets  # noqa: E402


def test_a_gaussian_stands_at_each_joint() -> None:
    maps = heatmap_targets(torch.tensor([[[5.0, 3.0], [2.25, 7.5]]]), (12, 9))
    assert maps.shape == (1, 2, 9, 12)
    for joint, (u, v) in enumerate([(5.0, 3.0), (2.25, 7.5)]):
        for x, y in [(0, 0), (5, 3), (11, 8), (2, 7)]:
            expected = 30 * math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 1.75**2))
            assert maps[0, joint, y, x].item() == pytest.approx(expected, rel=1e-5)


def test_sigma_and_peak_are_what_is_asked_for() -> None:
    maps = heatmap_targets(torch.tensor([[[5.0, 3.0]]]), (12, 9), sigma=2.0, peak=1.0)
    assert maps[0, 0, 3, 5] == 1
    assert maps[0, 0, 3, 7].item() == pytest.approx(math.exp(-0.5))


def test_joints_outside_leave_what_reaches_inside() -> None:
    maps = heatmap_targets(torch.tensor([[[-1.0, 4.0], [100.0, 4.0]]]), (8, 8))
    assert maps[0, 0].argmax() == 4 * 8
    assert maps[0, 1].max() == 0


def test_what_is_not_visible_is_not_read() -> None:
    keypoints = torch.tensor([[[3.0, 3.0], [math.nan, math.inf]]], requires_grad=True)
    visible = torch.tensor([[True, False]])
    maps = heatmap_targets(keypoints, (8, 8), visible=visible)
    assert maps[0, 1].abs().max() == 0
    heatmaps = torch.rand(1, 2, 2, 8, 8, requires_grad=True)
    heatmap_loss(heatmaps, keypoints, visible=visible).backward()
    assert heatmaps.grad is not None
    assert heatmaps.grad[:, :, 1].abs().max() == 0
    assert heatmaps.grad[:, :, 0].abs().min() > 0
    assert keypoints.grad is not None
    assert (keypoints.grad[0, 1] == 0).all()


def test_loss_is_the_mean_over_visible_maps_of_all_stacks() -> None:
    keypoints = torch.tensor([[[3.0, 3.0], [4.0, 2.0]], [[1.0, 6.0], [5.0, 5.0]]])
    visible = torch.tensor([[True, False], [True, True]])
    heatmaps = torch.rand(2, 3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = heatmap_targets(keypoints, (8, 8))
    errors = [
        ((heatmaps[i, s, j] - targets[i, j]) ** 2).mean().item()
        for i in range(2)
        for s in range(3)
        for j in range(2)
        if visible[i, j]
    ]
    loss = heatmap_loss(heatmaps, keypoints, visible=visible)
    assert loss.item() == pytest.approx(sum(errors) / 9, rel=1e-5)
    total = heatmap_loss(heatmaps, keypoints, visible=visible, reduction="sum")
    assert total.item() == pytest.approx(sum(errors), rel=1e-5)


def test_one_stack_needs_no_dimension() -> None:
    keypoints = torch.tensor([[[3.0, 3.0]]])
    heatmaps = torch.rand(1, 1, 8, 8)
    assert heatmap_loss(heatmaps, keypoints) == heatmap_loss(heatmaps[:, None], keypoints)
    assert heatmap_loss(heatmap_targets(keypoints, (8, 8)), keypoints) == 0


def test_nothing_visible_is_no_loss() -> None:
    heatmaps = torch.rand(1, 1, 8, 8, requires_grad=True)
    loss = heatmap_loss(heatmaps, torch.zeros(1, 1, 2), visible=torch.zeros(1, 1, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert heatmaps.grad is not None
    assert heatmaps.grad.abs().max() == 0


def test_half_precision_heatmaps_are_compared_in_single() -> None:
    heatmaps = torch.full((1, 1, 8, 8), 1000.0, dtype=torch.float16)
    loss = heatmap_loss(heatmaps, torch.tensor([[[3.0, 3.0]]]))
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_loss_of_each_image() -> None:
    rng = torch.Generator().manual_seed(0)
    keypoints = 8 * torch.rand(3, 2, 2, generator=rng)
    visible = torch.tensor([[True, True], [True, False], [False, False]])
    heatmaps = torch.rand(3, 2, 2, 8, 8, generator=rng)
    found = heatmap_loss(heatmaps, keypoints, visible=visible, reduction="image")
    expected = [
        heatmap_loss(heatmaps[i : i + 1], keypoints[i : i + 1], visible=visible[i : i + 1])
        for i in range(3)
    ]
    torch.testing.assert_close(found, torch.stack(expected))
    assert found[2] == 0
