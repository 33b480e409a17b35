"""Seeded synthetic input that looks like a pose network's output."""

from __future__ import annotations

import numpy as np

# Of the maps of a hourglass on photographs of athletes, 55 % have two or more maxima above 5 % of
# their highest, 2.2 on average; without one pixel of smoothing, noise has twice too many maxima.
BUMPS_PER_MAP = (0.45, 0.20, 0.15, 0.10, 0.10)  # probability of 1, 2, ... bumps
NOISE = 0.0005  # standard deviation, where the highest bumps reach 1
GRID = 4  # bumps stand in different cells of a 4 x 4 grid, so that they stay separate maxima
CACHE_LINE = 64


def synthetic_heatmaps(
    batch: int,
    joints: int,
    height: int,
    width: int,
    *,
    dtype: str = "float32",
    seed: int = 0,
) -> np.ndarray:
    """Return Gaussian bumps (sigma 1.5 to 2 pixels) over low noise, of shape (B, J, H, W).

    Image i is the same whatever the batch size, so a part of a batch can be compared with all of
    it.
    """
    heatmaps = np.empty((batch, joints, height, width), dtype)
    for image in range(batch):
        heatmaps[image] = _image(np.random.default_rng([seed, image]), joints, height, width)
    return heatmaps


def aligned(array: np.ndarray, repeats: int = 1, *, offset: int = 0) -> np.ndarray:
    """Return a copy whose first byte is ``offset`` bytes behind the start of a cache line.

    Parameters
    ----------
    array : (B, ...) ndarray
    repeats : int
        How often the copy repeats it, along the first axis: large batches without the time that
        so many different images take.
    offset : int
        A multiple of the size of an item.
    """
    size = array.nbytes * repeats
    memory = np.empty(size + 2 * CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE + offset
    copies = memory[start : start + size].view(array.dtype).reshape(repeats, *array.shape)
    copies[:] = array
    return copies.reshape(-1, *array.shape[1:])


def zeros_after_relu(heatmaps: np.ndarray) -> np.ndarray:
    """Return maps whose noise is cut off: most pixels are exactly 0, and the bumps stay."""
    return np.maximum(heatmaps - 20 * NOISE, 0)


def integers(heatmaps: np.ndarray) -> np.ndarray:
    """Return random whole numbers from 0 to 3."""
    return np.random.default_rng(0).integers(0, 4, heatmaps.shape, np.uint8).astype(heatmaps.dtype)


def saturated_plateaus(heatmaps: np.ndarray) -> np.ndarray:
    """Return the maps cut off at 0.3 of their highest."""
    highest = heatmaps.max((2, 3), keepdims=True)
    return np.minimum(heatmaps, heatmaps.dtype.type(0.3) * highest)


def checkerboard(heatmaps: np.ndarray) -> np.ndarray:
    """Return zeros and ones in turn."""
    y, x = np.indices(heatmaps.shape[2:])
    return np.broadcast_to((y + x) % 2, heatmaps.shape).astype(heatmaps.dtype)


def constant(heatmaps: np.ndarray) -> np.ndarray:
    """Return the same number everywhere."""
    return np.full_like(heatmaps, 0.5)


def _image(rng: np.random.Generator, joints: int, height: int, width: int) -> np.ndarray:
    bumps = len(BUMPS_PER_MAP)
    used = np.arange(bumps) < rng.choice(bumps, size=(joints, 1), p=BUMPS_PER_MAP) + 1
    amplitude = used * rng.uniform(0.3, 1.0, (joints, 1)) * rng.uniform(0.1, 0.9, (joints, bumps))
    amplitude[:, 0] /= 0.9  # the first is not always the highest, as in real maps
    cell = rng.random((joints, GRID * GRID)).argsort(axis=1)[:, :bumps]
    inside = rng.uniform(0.25, 0.75, (2, joints, bumps))
    y = (cell // GRID + inside[0]) * height / GRID
    x = (cell % GRID + inside[1]) * width / GRID
    sigma = rng.uniform(1.5, 2.0, (joints, bumps))[..., None]
    rows = np.exp(-(((np.arange(height) - y[..., None]) / sigma) ** 2) / 2)
    columns = np.exp(-(((np.arange(width) - x[..., None]) / sigma) ** 2) / 2)
    image = (rows * amplitude[..., None]).transpose(0, 2, 1) @ columns
    white = rng.standard_normal((joints, height + 1, width + 1), np.float32) * (NOISE / 2)
    image += white[:, 1:, 1:] + white[:, 1:, :-1] + white[:, :-1, 1:] + white[:, :-1, :-1]
    return image


def synthetic_params(batch: int, links: int, *, seed: int = 0) -> np.ndarray:
    """Return the length (4 to 20 pixels) and log-variance (1 to 4) of each link, (B, L, 2)."""
    rng = np.random.default_rng([seed, batch, links])
    length = rng.uniform(4, 20, (batch, links))
    log_variance = rng.uniform(1, 4, (batch, links))
    return np.stack([length, log_variance], axis=-1).astype(np.float32)


def synthetic_pose(
    batch: int, joints: int, links: int, dimensions: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keypoints (B, J, D), offsets (B, L, D) and Cholesky factors (B, L, D, D)."""
    rng = np.random.default_rng([seed, batch, joints, dimensions])
    keypoints = rng.uniform(0, 64, (batch, joints, dimensions))
    offsets = rng.normal(0, 10, (batch, links, dimensions))
    factor = np.tril(rng.normal(0, 1, (batch, links, dimensions, dimensions)), -1)
    factor += np.eye(dimensions) * rng.uniform(1, 4, (batch, links, dimensions, 1))
    return (
        keypoints.astype(np.float32),
        offsets.astype(np.float32),
        factor.astype(np.float32),
    )
