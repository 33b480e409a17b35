"""Flips, rotations and scales: pixels and keypoints move together, and left becomes right."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from vl4pose import Skeleton, get_skeleton  # noqa: E402
from vl4pose.image_transform import ImageTransform, Placement  # noqa: E402
from vl4pose.training import Augmentation  # noqa: E402

SKELETON = Skeleton(
    "arms", ["head", "left_hand", "right_hand"], [("head", "left_hand"), ("head", "right_hand")]
)
SIZE, HEATMAP_SIZE = (96, 64), (24, 16)


def blobs(transform: ImageTransform, keypoints, black: float):
    """Draw a blob for each joint, in its own channel, where the heatmap pixels are in the input."""
    whole = Placement((0.0, 0.0, *map(float, SIZE)), (0, 0, *SIZE))
    points = torch.from_numpy(transform.heatmap_to_image(keypoints, HEATMAP_SIZE, whole))
    x, y = torch.arange(SIZE[0]), torch.arange(SIZE[1])[:, None]
    squared = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return (black + torch.exp(-squared / 8)).float()


def centres(transform: ImageTransform, images, black: float):
    """Return the blobs' centres of mass in heatmap pixels."""
    mass = images - black
    x, y = torch.arange(SIZE[0]), torch.arange(SIZE[1])[:, None]
    total = mass.sum((-2, -1))
    points = (
        torch.stack([(mass * x).sum((-2, -1)), (mass * y).sum((-2, -1))], -1) / total[..., None]
    )
    whole = Placement((0.0, 0.0, *map(float, SIZE)), (0, 0, *SIZE))
    return torch.from_numpy(transform.image_to_heatmap(points, HEATMAP_SIZE, whole))


@pytest.mark.parametrize("align", ["corners", "centers"])
def test_keypoints_stay_on_their_pixels(align: str) -> None:
    transform = ImageTransform(SIZE, mean=0.5, std=0.25, heatmap_align=align)
    keypoints = torch.tensor([[[12.0, 8.0], [10.0, 7.0], [14.0, 9.5]]]).repeat(40, 1, 1)
    visible = torch.ones(40, 3, dtype=torch.bool)
    torch.manual_seed(0)
    images, moved, _ = Augmentation(SKELETON, transform)(
        blobs(transform, keypoints, -2.0), keypoints, visible, HEATMAP_SIZE
    )
    # The channels, unlike the joints, do not change places in a flip.
    by_channel = centres(transform, images, -2.0)
    flipped = (by_channel - moved).abs().amax((1, 2)) > 0.1
    assert 5 < flipped.sum() < 35
    by_channel[flipped] = by_channel[flipped][:, [0, 2, 1]]
    torch.testing.assert_close(moved.double(), by_channel, atol=0.01, rtol=0)


def test_bones_turn_and_grow_within_the_limits() -> None:
    transform = ImageTransform(SIZE)
    keypoints = torch.tensor([[[12.0, 8.0], [12.0, 4.0], [12.0, 12.0]]]).repeat(300, 1, 1)
    visible = torch.ones(300, 3, dtype=torch.bool)
    torch.manual_seed(0)
    images = torch.zeros(300, 3, SIZE[1], SIZE[0])
    _, moved, _ = Augmentation(SKELETON, transform)(images, keypoints, visible, HEATMAP_SIZE)
    # In input pixels, where a turn is a turn: the heatmap's two axes differ a little in scale.
    factor = torch.tensor([95 / 23, 63 / 15])
    bones = (moved[:, 2] - moved[:, 1]) * factor
    length = torch.linalg.vector_norm(bones, dim=1) / (8 * 63 / 15)
    angle = torch.rad2deg(torch.atan2(bones[:, 0], bones[:, 1].abs()))
    assert 0.75 <= length.min() < 0.77
    assert 1.23 < length.max() <= 1.25
    assert -30 <= angle.min() < -28
    assert 28 < angle.max() <= 30


def test_a_flip_exchanges_left_and_right() -> None:
    transform = ImageTransform(SIZE)
    augmentation = Augmentation(SKELETON, transform, flip=1.0, degrees=0.0, scale=(1.0, 1.0))
    keypoints = torch.tensor([[[3.0, 1.0], [5.0, 2.0], [9.0, math.nan]]])
    visible = torch.tensor([[True, True, False]])
    image = torch.rand(1, 3, SIZE[1], SIZE[0])
    images, moved, still_visible = augmentation(image, keypoints, visible, HEATMAP_SIZE)
    torch.testing.assert_close(images, image.flip(3), atol=1e-4, rtol=0)
    assert still_visible.tolist() == [[True, False, True]]
    torch.testing.assert_close(moved[0, [0, 2]], torch.tensor([[20.0, 1.0], [18.0, 2.0]]))


def test_all_pairs_of_a_preset_are_exchanged() -> None:
    skeleton = get_skeleton("lsp")
    augmentation = Augmentation(
        skeleton, ImageTransform(SIZE), flip=1.0, degrees=0.0, scale=(1.0, 1.0)
    )
    keypoints = torch.stack([torch.arange(14.0), torch.arange(14.0)], -1)[None]
    visible = torch.ones(1, 14, dtype=torch.bool)
    _, moved, _ = augmentation(torch.zeros(1, 3, 64, 96), keypoints, visible, HEATMAP_SIZE)
    for joint, name in enumerate(skeleton.joints):
        other = {"left": "right", "right": "left"}.get(name.partition("_")[0])
        partner = joint if other is None else skeleton.joints.index(other + name[name.index("_") :])
        assert moved[0, joint, 1].item() == pytest.approx(partner, abs=1e-4)


def test_nothing_but_black_comes_in_from_outside() -> None:
    transform = ImageTransform(SIZE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    black = torch.tensor([-2.5, -1.6, -0.6])[:, None, None]
    torch.manual_seed(1)
    images, _, _ = Augmentation(SKELETON, transform, scale=(0.75, 0.75))(
        black + torch.ones(8, 3, SIZE[1], SIZE[0]),
        torch.zeros(8, 3, 2),
        torch.ones(8, 3, dtype=torch.bool),
        HEATMAP_SIZE,
    )
    above = images - black
    assert above.min() > -1e-5
    assert above.max() < 1 + 1e-5
    assert (above[:, :, 0, 0] < 1e-5).all()
    assert (above[:, :, 32, 48] > 0.99).all()


def test_the_seed_repeats_it() -> None:
    augmentation = Augmentation(SKELETON, ImageTransform(SIZE))
    arguments = (
        torch.rand(5, 3, SIZE[1], SIZE[0]),
        torch.rand(5, 3, 2),
        torch.ones(5, 3, dtype=torch.bool),
        HEATMAP_SIZE,
    )
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augmentation(*arguments))
    assert all(map(torch.equal, results[0], results[1]))
    assert not torch.equal(results[0][1], results[2][1])
