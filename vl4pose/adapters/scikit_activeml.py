"""A query strategy of scikit-activeml that chooses poses as :func:`vl4pose.select` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.active.selection import select

try:
    from skactiveml.base import SingleAnnotatorPoolQueryStrategy
    from skactiveml.utils import MISSING_LABEL, is_labeled
except ImportError as error:
    raise ImportError(
        f"vl4pose.adapters.scikit_activeml needs scikit-activeml ({error}): pip install "
        "scikit-activeml"
    ) from error

__all__ = ["PoseQueryStrategy"]

_LARGEST_SEED = 2**31


class PoseQueryStrategy(SingleAnnotatorPoolQueryStrategy):  # type: ignore[misc]
    """Query the poses that are worth annotating.

    Parameters
    ----------
    strategy, diversity, shortlist, min_separation, random_share, approximate, num_threads
        As for :func:`vl4pose.select`. The embeddings that diversity and ``min_separation`` go by
        are the samples, and labelled samples are kept away from too. By default there is neither.
    missing_label : scalar, str or None, default nan
        The label in ``y`` of a sample that is not annotated. Labels that are say nothing else.
    random_state : int, RandomState or None
        Of everything random.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([-3.0, -80.0, -12.0, -95.0])  # as vl4pose.score gives them
    >>> y = np.array([np.nan, np.nan, np.nan, 1.0])  # the last one is annotated
    >>> PoseQueryStrategy().query(np.zeros((4, 1)), y, scores, batch_size=2)
    array([1, 2])
    """

    def __init__(
        self,
        strategy: str = "likelihood",
        diversity: str = "none",
        shortlist: float | None = None,
        min_separation: float | None = None,
        random_share: float = 0.0,
        approximate: bool = False,
        num_threads: int | None = None,
        missing_label: Any = MISSING_LABEL,
        random_state: Any = None,
    ) -> None:
        super().__init__(missing_label=missing_label, random_state=random_state)
        self.strategy = strategy
        self.diversity = diversity
        self.shortlist = shortlist
        self.min_separation = min_separation
        self.random_share = random_share
        self.approximate = approximate
        self.num_threads = num_threads

    def query(
        self,
        X: Any,
        y: Any,
        scores: Any,
        candidates: Any = None,
        batch_size: int = 1,
        return_utilities: bool = False,
    ) -> npt.NDArray[np.int64] | tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Choose the samples to annotate next.

        Parameters
        ----------
        X : (n_samples, n_features) array_like
            The samples: embeddings, where these matter.
        y : (n_samples,) array_like
            Their labels, ``missing_label`` where there is none.
        scores : (n_samples,) or (n_candidates,) array_like
            What the strategy ranks by: log-likelihoods, entropies or mean confidences, of the
            samples, or of the candidates where these are samples of their own. NaN where there is
            none: such a sample is not chosen.
        candidates : (n_candidates,) int or (n_candidates, n_features) array_like, optional
            Which samples to choose from, by default those without a label; or other samples.
        batch_size : int, default 1
            How many.
        return_utilities : bool, default False
            Also return the utilities.

        Returns
        -------
        query_indices : (batch_size,) int64
            In X, or in candidates where these are samples; the most urgent first. Fewer where
            ``min_separation`` leaves fewer, with a warning.
        utilities : (batch_size, n_samples) or (batch_size, n_candidates) float64
            What the strategy makes of each sample, higher is sooner, and NaN for those that could
            not be chosen or were before. With diversity, a minimum separation or a random share the
            chosen one need not have the highest.

        Raises
        ------
        TypeError, ValueError
            As scikit-activeml's strategies and :func:`vl4pose.select` do; ``scores must have one
            value per sample``; ``batch_size must be at most the candidates with a score``.
        """
        X, y, candidates, batch_size, return_utilities = self._validate_data(
            X, y, candidates, batch_size, return_utilities, reset=True
        )
        samples, mapping = self._transform_candidates(candidates, X, y)
        pool = samples if mapping is None else X
        ranked = np.asarray(scores, np.float64)
        if ranked.shape != (len(pool),):
            what = "candidate" if mapping is None else "sample of X"
            raise ValueError(
                f"scores must have one value per {what} ({len(pool)}), got shape {ranked.shape}"
            )
        if mapping is not None:
            ranked = np.where(np.isin(np.arange(len(pool)), mapping), ranked, np.nan)
        num_scored = int((~np.isnan(ranked)).sum())
        if batch_size > num_scored:
            raise ValueError(
                f"batch_size must be at most the candidates with a score ({num_scored}), got "
                f"{batch_size}"
            )
        options: dict[str, Any] = {
            "strategy": self.strategy,
            "seed": int(self.random_state_.randint(_LARGEST_SEED)),
        }
        every = select(ranked, num_scored, **options)
        options |= {
            "diversity": self.diversity,
            "random_share": self.random_share,
            "min_separation": self.min_separation,
            "num_threads": self.num_threads,
        }
        if self.diversity != "none" or self.min_separation is not None:
            flat = pool.reshape(len(pool), -1).astype(np.float64, copy=False)
            labelled = X[is_labeled(y, self.missing_label_)]
            options["embeddings"] = flat
            if len(labelled):
                options["labelled"] = labelled.reshape(len(labelled), -1).astype(np.float64)
            if self.diversity != "none":
                options |= {"shortlist": self.shortlist, "approximate": self.approximate}
        chosen = select(ranked, batch_size, **options).rows
        if not return_utilities:
            return chosen
        utilities = np.full((len(chosen), len(pool)), np.nan)
        utilities[:, every.rows] = every.priority
        for i, row in enumerate(chosen[:-1]):
            utilities[i + 1 :, row] = np.nan
        return chosen, utilities
