"""Large predicted losses first."""

from __future__ import annotations

import numpy as np

from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["LearningLoss", "LearningLossPlusPlus"]


class LearningLoss(Strategy):
    """Chooses images for which a small network foretells the pose network's largest loss.

    Notes
    -----
    Yoo and Kweon [1]_: a module beside the network learns, on the labelled images, which of two
    images has the larger loss (:func:`vl4pose.losses.learning_loss`: a margin of 1 between the
    predictions). The loss is the heatmaps' mean squared error over the annotated joints and all
    stacks. The module is `vl4pose.nn.learning_loss_net.LearningLossNet`.

    In the paper the module's gradient reaches the network, at a small weight, and both are trained
    together. Ours gets features without a gradient, so that the pose network is the same for every
    strategy. The paper ranks a random part of the pool in each cycle, against copies among what it
    chooses; ours ranks all of it.

    Cost: one pass of the pose network for each of the N images, and the module on its features,
    which is small beside it; once in a cycle, the module's training on the M labelled images.

    References
    ----------
    .. [1] Yoo and Kweon, "Learning Loss for Active Learning", CVPR 2019.
    """

    name = "learning-loss"
    title = "Learning Loss"
    needs = ("predicted_loss",)
    head = "learning-loss"

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return the predicted losses, whose unit means nothing."""
        return np.array(pool["predicted_loss"], np.float64)


class LearningLossPlusPlus(LearningLoss):
    """Chooses as `LearningLoss` does, after a network that learns how much larger a loss is.

    Notes
    -----
    Shukla and Ahmed [1]_: the divergence between the softmax of a pair's predictions and the shares
    of their losses takes the place of the margin
    (:func:`vl4pose.losses.learning_loss_plus_plus`), and convolutions that take features from scale
    to scale that of their averages (`vl4pose.nn.learning_loss_net.MultiScaleLossNet`, which is our
    auxiliary network but for its head). Features have no gradient here, as for `LearningLoss`.

    Cost: as for `LearningLoss`, with a module as large as the auxiliary network.

    References
    ----------
    .. [1] Shukla and Ahmed, "A Mathematical Analysis of Learning Loss for Active Learning in
       Regression", CVPR workshops 2021.
    """

    name = "learning-loss++"
    title = "LearningLoss++"
    head = "learning-loss++"
