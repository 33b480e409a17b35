"""Embeddings: the global averages of feature maps."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vl4pose.nn import pool_features  # noqa: E402


def test_maps_are_averaged_and_joined():
    maps = torch.arange(48.0).reshape(2, 3, 2, 4)
    vectors = torch.arange(4.0, dtype=torch.float64).reshape(2, 2)
    pooled = pool_features([maps, vectors])
    assert pooled.dtype == torch.float32
    expected = np.concatenate([maps.numpy().mean((2, 3)), vectors.numpy()], 1)
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-6)
    assert torch.equal(pool_features({"a": maps, "b": vectors}), pooled)
    assert torch.equal(pool_features(maps), pooled[:, :3])


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (3, TypeError, r"features must be tensors \(B, C, ...\), got int"),
        ([np.ones((2, 3))], TypeError, "got ndarray"),
        ([], ValueError, r"of one B, got shapes \[\]"),
        (torch.ones(3), ValueError, r"got shapes \[\(3,\)\]"),
        ([torch.ones(2, 3), torch.ones(3, 3)], ValueError, r"got shapes \[\(2, 3\), \(3, 3\)\]"),
    ],
)
def test_what_is_no_features(features, error, message):
    with pytest.raises(error, match=message):
        pool_features(features)
