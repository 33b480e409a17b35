"""The features of a frozen network on disk: found by content, whole, and no more than allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from vl4pose.training.dataset import Annotations  # noqa: E402
from vl4pose.training.features import (  # noqa: E402
    CachedFeatures,
    FeatureCache,
    bytes_per_sample,
    tensors_digest,
)

PROBE = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 2, 4, 4)]
BIG = 10**9


class Network:
    """Counts the images it is asked for."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, images):
        self.count += len(images)
        means = images.mean((1, 2, 3))[:, None, None, None]
        return [means.expand(-1, 4, 8, 8), 2 * means.expand(-1, 2, 4, 4)]


def images_of(seed: int, number: int = 3):
    return torch.rand(number, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_features_come_back_exactly(tmp_path: Path) -> None:
    images, network = images_of(0), Network()
    paths = FeatureCache(tmp_path / "cache", PROBE, BIG).add(images, network)
    poses = Annotations(torch.rand(3, 5, 2), torch.rand(3, 5) > 0.5)
    dataset = CachedFeatures(paths, poses)
    assert len(dataset) == 3
    for index in range(3):
        features, keypoints, visible = dataset[index]
        for maps, expected in zip(features, network(images), strict=True):
            assert torch.equal(maps, expected[index])
        assert torch.equal(keypoints, poses.keypoints[index])
        assert torch.equal(visible, poses.visible[index])


def test_the_same_image_is_computed_once(tmp_path: Path) -> None:
    network = Network()
    first = FeatureCache(tmp_path, PROBE, BIG).add(images_of(0), network)
    again = FeatureCache(tmp_path, PROBE, BIG).add(images_of(0).flip(0), network)
    assert again == first[::-1]
    assert network.count == 3
    FeatureCache(tmp_path, PROBE, BIG).add(images_of(0) + 1e-6, network)
    assert network.count == 6


def test_another_network_has_other_files(tmp_path: Path) -> None:
    first = FeatureCache(tmp_path, PROBE, BIG).add(images_of(0), Network())
    other = FeatureCache(tmp_path, [maps + 1 for maps in PROBE], BIG).add(images_of(0), Network())
    assert not set(first) & set(other)


def test_a_torn_file_is_written_again(tmp_path: Path) -> None:
    network = Network()
    paths = FeatureCache(tmp_path, PROBE, BIG).add(images_of(0), network)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:-1])
    FeatureCache(tmp_path, PROBE, BIG).add(images_of(0), network)
    assert network.count == 6
    assert paths[1].read_bytes() == whole
    assert bytes_per_sample(PROBE) == len(whole)


def test_the_longest_unused_make_room(tmp_path: Path) -> None:
    limit = 6 * bytes_per_sample(PROBE)
    oldest = FeatureCache(tmp_path, PROBE, limit).add(images_of(0), Network())
    older = FeatureCache(tmp_path, PROBE, limit).add(images_of(1), Network())
    for age, paths in ((200, oldest), (100, older)):
        for path in paths:
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    cache = FeatureCache(tmp_path, PROBE, limit)
    cache.add(images_of(0)[:1], Network())  # used again
    new = cache.add(images_of(2), Network())
    assert set(tmp_path.iterdir()) == {oldest[0], older[1], older[2], *new}


def test_what_this_run_uses_is_never_removed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, PROBE, limit=1)
    paths = cache.add(images_of(0), Network()) + cache.add(images_of(1), Network())
    assert all(path.exists() for path in paths)


def test_digests_tell_values_shapes_and_dtypes_apart() -> None:
    tensors = [
        [torch.zeros(4)],
        [torch.zeros(2, 2)],
        [torch.zeros(2, dtype=torch.float64)],
        [torch.ones(4)],
        [torch.zeros(2), torch.zeros(2)],
    ]
    assert len(set(map(tensors_digest, tensors))) == 5
    assert tensors_digest([torch.zeros(4)]) == tensors_digest(tensors[0])
