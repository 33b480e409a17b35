"""Images that a graph network tells from labelled ones."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose._options import integer, real
from vl4pose.active.k_centre import finite_rows
from vl4pose.active.strategies.core_set import farthest_first, has_embedding, labelled_rows
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Indices, StepwiseStrategy, Strategy

__all__ = ["CoreGCN", "UncertainGCN"]


class _Graph(Strategy):
    """What trains a graph network on the embeddings of all images."""

    needs = ("embedding",)
    needs_labelled = ("embedding",)

    def __init__(
        self,
        *,
        num_steps: int = 200,
        hidden: int = 128,
        dropout_rate: float = 0.3,
        unlabelled_weight: float = 1.2,
        device: str = "cpu",
    ) -> None:
        self.num_steps = integer(num_steps, "num_steps", 0)
        self.hidden = integer(hidden, "hidden", 1, 2**16)
        self.dropout_rate = real(dropout_rate, "dropout_rate", 0.0, 0.99)
        self.unlabelled_weight = real(unlabelled_weight, "unlabelled_weight", 0.0)
        if not isinstance(device, str):
            raise TypeError(f"device must be a name, got {device!r}")
        self.device = device

    def _trained(
        self, pool: Pool, labelled: Pool, rng: np.random.Generator
    ) -> tuple[Indices, Float64Array, Float64Array, Float64Array]:
        """Return which of the pool are in the graph, and what it says of these.

        Returns
        -------
        indices : (n,) int64
            Those whose embedding is finite.
        confidence : (n,) float64
            That each is labelled.
        hidden, hidden_labelled : (n, hidden) float64, (m, hidden) float64
            Features of the pool's and of the labelled images, between the graph convolutions.
        """
        torch, graph_net = _torch_modules(self.title)
        indices = np.flatnonzero(has_embedding(pool))
        rows = finite_rows(pool["embedding"][indices], "embedding")
        given = labelled_rows(labelled, rows.shape[1])
        is_labelled = np.arange(len(rows) + len(given)) >= len(rows)
        found = graph_net.label_graph(
            torch.from_numpy(_standardised(np.concatenate([rows, given]))).to(self.device),
            torch.from_numpy(is_labelled).to(self.device),
            hidden=self.hidden,
            dropout=self.dropout_rate,
            unlabelled_weight=self.unlabelled_weight,
            num_steps=self.num_steps,
            seed=int(rng.integers(2**63)),
        )
        confidence, hidden = (
            array.cpu().numpy().astype(np.float64) for array in (found.confidence, found.hidden)
        )
        return indices, confidence[: len(rows)], hidden[: len(rows)], hidden[len(rows) :]


class UncertainGCN(_Graph):
    """Chooses images that a graph network is nearly sure are unlike the labelled ones.

    Parameters
    ----------
    margin : float, 0 to 1
        Which confidence in being labelled is the best, s.
    num_steps : int
        Of the graph network's training.
    hidden : int
        Width between its two layers.
    dropout_rate : float, 0 to 0.99
        Share of that width that is dropped in training.
    unlabelled_weight : float, at least 0
        How much the unlabelled images' loss counts beside the labelled ones', lambda.
    device : str
        Where it is trained, as torch calls it.

    Raises
    ------
    TypeError, ValueError
        ``margin must be ...``, and likewise of the others.

    Notes
    -----
    Caramalau, Bhattarai and Kim [1]_: images are the nodes of a graph, the similarities of their
    features its edges, and two graph convolutions learn which nodes are labelled
    (`vl4pose.nn.graph_net.label_graph`, with the options that are usual for it). Those come first
    whose confidence f in being labelled is nearest to the margin: the rank is minus the absolute
    value of f - s. With a margin near 0 these are the images that are the least like labelled ones.

    Features are the pooled ones of the pose network, standardised over all images: the paper takes
    a classifier's as they are. Those of a pose network have a large part in common, beside which
    all images are alike: of an hourglass on Leeds Sports Pose 99 % of the cosines are above 0.9999,
    and the confidences between 0.4537 and 0.4538; standardised, between 0.05 and 0.97. The paper
    takes a random part of the pool, where that is large, for its N x N matrix of edges. Ours needs
    no matrix and takes all images.

    Cost: one pass of the pose network for each of the N images of the pool and the M labelled ones;
    200 steps on (N + M) rows of D numbers.

    References
    ----------
    .. [1] Caramalau, Bhattarai, Kim, "Sequential Graph Convolutional Network for Active Learning",
       CVPR 2021.
    """

    name = "uncertain-gcn"
    title = "UncertainGCN"

    def __init__(
        self,
        *,
        margin: float = 0.1,
        num_steps: int = 200,
        hidden: int = 128,
        dropout_rate: float = 0.3,
        unlabelled_weight: float = 1.2,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            num_steps=num_steps,
            hidden=hidden,
            dropout_rate=dropout_rate,
            unlabelled_weight=unlabelled_weight,
            device=device,
        )
        self.margin = real(margin, "margin", 0.0, 1.0)

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return minus how far the confidence in being labelled is from the margin; NaN without."""
        ranks = np.full(len(pool), np.nan)
        known = Pool(0) if labelled is None else labelled
        indices, confidence, _, _ = self._trained(pool, known, np.random.default_rng(rng))
        ranks[indices] = -np.abs(confidence - self.margin)
        return ranks


class CoreGCN(_Graph, StepwiseStrategy):
    """Chooses images that are far from each other in the features of a graph network.

    Parameters
    ----------
    num_steps, hidden, dropout_rate, unlabelled_weight, device
        As for `UncertainGCN`.

    Raises
    ------
    TypeError, ValueError
        ``num_steps must be ...``, and likewise of the others.

    Notes
    -----
    Caramalau, Bhattarai and Kim [1]_: the graph network of `UncertainGCN`, and then the k-centre
    greedy choice, as in Core-Set, on its features between the two convolutions, from those of the
    labelled images. These tell apart what looks labelled and what does not, and images that the
    graph joins are near each other. Copies come last, in their order.

    Cost: as for `UncertainGCN`; then (M + budget) N distances in 128 dimensions.

    References
    ----------
    .. [1] Caramalau, Bhattarai, Kim, "Sequential Graph Convolutional Network for Active Learning",
       CVPR 2021.
    """

    name = "core-gcn"
    title = "CoreGCN"

    def order(
        self, pool: Pool, labelled: Pool, num_images: int, rng: np.random.Generator
    ) -> Indices:
        """Return the first images of the greedy choice, and then copies in their order."""
        indices, _, hidden, given = self._trained(pool, labelled, rng)
        inside = Pool(len(hidden), {"embedding": hidden})
        of_labelled = Pool(len(given), {"embedding": given})
        order: Indices = indices[
            farthest_first(inside, of_labelled, np.arange(len(hidden)), num_images)
        ]
        return order


def _standardised(rows: npt.NDArray[Any]) -> Float64Array:
    """Return rows with a mean of 0 and a variance of 1 in each column that is not constant."""
    if len(rows) == 0:
        return rows.astype(np.float64)
    largest = np.abs(rows).max(axis=0, initial=0.0).astype(np.float64)
    scaled = rows / np.where(largest > 0, largest, 1.0)  # for squares of the largest are none
    centred = scaled - scaled.mean(axis=0)
    deviation = centred.std(axis=0)
    is_constant = deviation <= 1e-12
    standardised: Float64Array = np.where(
        is_constant, 0.0, centred / np.where(is_constant, 1.0, deviation)
    )
    return standardised


def _torch_modules(title: str) -> tuple[Any, Any]:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(f"{title} needs torch: pip install 'vl4pose[torch]'") from error
    return torch, importlib.import_module("vl4pose.nn.graph_net")
