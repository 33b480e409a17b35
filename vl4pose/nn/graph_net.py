"""A graph network that tells labelled images from unlabelled ones by their features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vl4pose._options import integer, real

__all__ = ["GraphNet", "LabelledAlike", "Similarity", "label_graph"]

_MAX_SIZE = 2**16


class Similarity:
    """The edges between images: how alike their features are, without an N x N matrix.

    Parameters
    ----------
    features : Tensor (N, D)
        Of any scale; a row of zeros is like no other.

    Notes
    -----
    With S_ij the cosine of the angle between rows i and j and D the sums of the rows of S - I, the
    paper passes messages by A = D^-1 (S - I) + I: the mean of all other images, each weighted by
    its similarity, plus the image itself. As S = V V^t, ``A x`` is D^-1 (V (V^t x) - x) + x, whose
    time and memory grow with N and not with its square; the paper takes a random part of the pool
    instead, where that is large.

    The features of the paper come after a ReLU, so that no similarity is negative. Where some are
    negative here, positive and negative parts take separate columns of V, so that only agreement
    counts; without negative ones that changes nothing.
    """

    def __init__(self, features: Tensor) -> None:
        parts = features
        if bool((features < 0).any()):
            parts = torch.cat([features.clamp(min=0), (-features).clamp(min=0)], 1)
        largest = parts.amax(1, keepdim=True) if parts.shape[1] else parts.new_zeros(len(parts), 1)
        # First to a largest number of 1, for squares of very large or small ones are none.
        parts = parts / torch.where(largest > 0, largest, 1.0)
        self.rows = functional.normalize(parts, dim=1, eps=1e-12)
        # The cosine of a row with itself is 1, but that of a row of zeros is 0.
        self._own = (largest > 0).to(parts.dtype)
        degree = self.rows @ self.rows.sum(0)[:, None] - self._own
        # Below this, an image is like no other, but for rounding.
        is_alone = degree <= 1e-6
        self._inverse = torch.where(is_alone, 0.0, 1 / torch.where(is_alone, 1.0, degree))

    def float(self) -> Similarity:
        """Return these edges in float32, their degrees summed in the precision they have."""
        copy = object.__new__(Similarity)
        copy.rows, copy._own = self.rows.float(), self._own.float()
        copy._inverse = self._inverse.float()
        return copy

    def __matmul__(self, x: Tensor) -> Tensor:
        """Return ``A x`` of a tensor (N, C)."""
        others = self.rows @ (self.rows.T @ x) - self._own * x
        return self._inverse * others + x


class GraphNet(nn.Module):
    """Two graph convolutions: features of images to the logit of their being labelled.

    Parameters
    ----------
    in_features : int
        D.
    hidden : int, default 128
    dropout : float, default 0.3
        Share of the hidden numbers that are dropped in training.
    """

    def __init__(self, in_features: int, hidden: int = 128, dropout: float = 0.3) -> None:
        super().__init__()
        hidden = integer(hidden, "hidden", 1, _MAX_SIZE)
        self.first = nn.Linear(integer(in_features, "in_features", 1), hidden)
        self.dropout = nn.Dropout(real(dropout, "dropout", 0.0, 0.99))
        self.second = nn.Linear(hidden, 1)

    def forward(self, passed: Tensor, edges: Similarity) -> tuple[Tensor, Tensor]:
        """Map features (N, D), passed along the edges already, to logits (N,) and (N, hidden)."""
        hidden = functional.relu(self.first(passed))
        messages = functional.linear(self.dropout(hidden), self.second.weight)
        logits = edges @ messages + self.second.bias
        return logits[:, 0], hidden


class LabelledAlike(NamedTuple):
    """What the graph network says of images.

    Attributes
    ----------
    confidence : Tensor (N,)
        That an image is labelled, in (0, 1).
    hidden : Tensor (N, hidden)
        Its features between the two graph convolutions.
    """

    confidence: Tensor
    hidden: Tensor


def label_graph(
    features: Tensor,
    labelled: Tensor,
    *,
    hidden: int = 128,
    dropout: float = 0.3,
    unlabelled_weight: float = 1.2,
    num_steps: int = 200,
    learning_rate: float = 1e-3,
    weight_decay: float = 5e-4,
    seed: int = 0,
) -> LabelledAlike:
    """Train a graph network to tell labelled from unlabelled images, and ask it of all of them.

    Parameters
    ----------
    features : Tensor (N, D), floating
        One row per image, finite. Trained in float32 where they are.
    labelled : Tensor (N,) of bool
    hidden, dropout
        As for `GraphNet`.
    unlabelled_weight : float
        How much the unlabelled images' loss counts beside that of the labelled ones, lambda.
    num_steps : int
        Each sees all images.
    learning_rate, weight_decay : float
        Of Adam.
    seed : int

    Returns
    -------
    LabelledAlike
        In float32 on the device of the features, without gradients; the same for a seed, on one
        machine with one number of threads. torch's global generators are left as they were.

    Raises
    ------
    TypeError, ValueError
        ``features must be (N, D)``, ``labelled must be (N,) of bool``, and of the other arguments.

    Notes
    -----
    The loss is -1/N_l sum over the labelled of log f - lambda/N_u sum over the unlabelled of
    log(1 - f), f the confidence. Features are scaled to length 1. The trained network is asked
    without dropout.

    References
    ----------
    Caramalau, Bhattarai, Kim: "Sequential Graph Convolutional Network for Active Learning",
    CVPR 2021.
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            f"features must be (N, D) and floating, got {tuple(features.shape)} of {features.dtype}"
        )
    if labelled.shape != features.shape[:1] or labelled.dtype != torch.bool:
        raise ValueError(
            f"labelled must be ({len(features)},) of bool, got {tuple(labelled.shape)} of "
            f"{labelled.dtype}"
        )
    weight = real(unlabelled_weight, "unlabelled_weight", 0.0)
    num_steps = integer(num_steps, "num_steps", 0)
    learning_rate = real(learning_rate, "learning_rate", 0.0)
    weight_decay = real(weight_decay, "weight_decay", 0.0)
    seed = integer(seed, "seed", 0, 2**63 - 1)
    device = features.device
    # In double, for the sum over all rows loses digits of their degrees.
    edges = Similarity(features.double())
    # The first convolution's messages are those of the features, which no step changes.
    passed = (edges @ functional.normalize(features.double(), dim=1, eps=1e-300)).float()
    edges = edges.float()
    # manual_seed seeds all of them.
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(seed)
        network = GraphNet(features.shape[1], hidden, dropout).to(device)
        optimizer = torch.optim.Adam(
            network.parameters(), lr=learning_rate, weight_decay=weight_decay
        )
        # Of each image, its share of the loss.
        share = torch.where(
            labelled,
            1.0 / labelled.sum().clamp(min=1),
            weight / (~labelled).sum().clamp(min=1),
        )
        target = labelled.float()
        with torch.enable_grad():
            for _ in range(num_steps):
                optimizer.zero_grad()
                logits, _ = network(passed, edges)
                losses = functional.binary_cross_entropy_with_logits(
                    logits, target, reduction="none"
                )
                (share * losses).sum().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    network.eval()
    with torch.no_grad():
        logits, inside = network(passed, edges)
    return LabelledAlike(torch.sigmoid(logits), inside)
