"""The rows of a pool that are worth annotating, the most urgent first."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vl4pose._options import choice, flag, integer
from vl4pose.active.candidates import find_candidates, known_labels, pool_embeddings
from vl4pose.active.k_centre import k_centre
from vl4pose.active.percentiles import Reference, reference_of
from vl4pose.active.rankings import parse_strategy, priorities
from vl4pose.active.score_columns import ScoreColumns, score_columns
from vl4pose.active.spacing import FrameGaps, NearDuplicates, Spacing, pick_in_order
from vl4pose.active.video_frames import frame_order, group_index
from vl4pose.skeleton import shown

if TYPE_CHECKING:
    from vl4pose.score_table import ScoreTable

__all__ = ["DIVERSITIES", "Selection", "select"]

RowIndex = npt.NDArray[np.int64]

DIVERSITIES = ("none", "k-centre")
_OTHER_SPELLINGS = dict.fromkeys(
    ("k-center", "kcentre", "kcenter", "core-set", "coreset"), "k-centre"
)
_SHORTLIST_SHARE = 0.2
_SHORTLIST_BUDGETS = 2


@dataclass(frozen=True, eq=False)
class Selection:
    """The rows to annotate, the most urgent first, and how they were chosen.

    Attributes
    ----------
    rows : (n,) int64
        Their indices in the pool.
    priority : (n,) float64
        The strategy's value of each: higher is sooner. Of rows chosen for diversity or at random
        it need not fall from one to the next.
    position : (n,) int64
        The place of each among all selectable rows by that value, 1 for the highest.
    chosen_by : (n,) str
        "ranking"; "diversity"; or "random", of a simple random sample.
    percentile : (n,) float64
        Share, from 0 to 100, of the reference set whose score is not higher; NaN where the scores
        have no column ``score``.
    settings : dict
        What was asked for, as JSON can hold it.
    counts : dict of int
        ``rows`` of the pool; those without a value to rank by, ``without_score``, without
        ``without_embedding`` or ``without_order`` where these were needed, and those ``labelled``
        already; the ``selectable`` rest; the ``selected``; and those passed over for being too
        close to one chosen before, ``gap`` and ``near-duplicate``.
    """

    rows: RowIndex
    priority: npt.NDArray[np.float64]
    position: RowIndex
    chosen_by: npt.NDArray[np.str_]
    percentile: npt.NDArray[np.float64]
    settings: dict[str, Any]
    counts: dict[str, int]
    _columns: ScoreColumns = field(repr=False)
    _reference: Reference = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rank(self) -> npt.NDArray[np.int32]:
        """From 1, annotate first, to n (n,)."""
        return np.arange(1, len(self) + 1, dtype=np.int32)

    @property
    def shortfall(self) -> str | None:
        """Why there are fewer rows than the budget, as a sentence; None where there are not."""
        budget = self.settings["budget"]
        if len(self) == budget:
            return None
        why = " and ".join(
            f"{self.counts[name]:,} closer than {argument} {self.settings[argument]:g} to a chosen "
            f"or labelled {what}"
            for name, argument, what in (
                ("gap", "min_gap", "frame"),
                ("near-duplicate", "min_separation", "embedding"),
            )
            if name in self.counts
        )
        return f"only {len(self):,} of {budget:,} rows could be chosen: of the others, {why}"

    def to_table(self) -> ScoreTable:
        """Return the chosen rows with all their columns, and what the choice adds.

        Returns
        -------
        ScoreTable
            The columns of the scores, then ``rank``, ``priority``, ``chosen_by``, ``percentile``,
            ``worst_links``, ``ambiguous_joints``, ``swap_suspects`` and ``reasons``, as
            :mod:`vl4pose.active.selection_table` says. Its metadata is that of the scores, and
            under "selection" the settings and counts.

        Raises
        ------
        TypeError
            ``scores must be a table``, where the selection was not made of one.
        RuntimeError
            If they came from a file, which is read again, and it is another one now.
        """
        from vl4pose.active.selection_table import selection_table

        return selection_table(self, self._columns.rows(self.rows), self._reference)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_table` to a Parquet file, complete or not at all."""
        from vl4pose.active.selection_table import write_selection

        write_selection(self.to_table(), path)


def select(
    scores: Any,
    budget: int,
    *,
    strategy: str = "likelihood",
    lowest_first: bool = False,
    diversity: str | None = None,
    embeddings: Any = None,
    shortlist: float | None = None,
    approximate: bool = False,
    labelled: Any = None,
    min_separation: float | None = None,
    groups: Any = None,
    order: Any = None,
    min_gap: float | None = None,
    random_share: float = 0.0,
    seed: int = 0,
    reference: Any = None,
    num_threads: int | None = None,
) -> Selection:
    """Choose the rows of a pool that are worth annotating.

    Parameters
    ----------
    scores : (N,) array_like, mapping, Analysis, ScoreTable, pyarrow.Table, DataFrame or path
        One number a row, which is what the strategy ranks by (of "likelihood" a log-likelihood, of
        "entropy" an entropy, of "confidence" a mean confidence); arrays (N,) by the names of the
        columns of a table of scores; what ``vl4pose.analyze`` returns; or such a table, also as
        pandas or polars have it, or the .parquet file or folder that holds it. NaN, null and masked
        mean that there is no value. An infinite one is a value like others: a likelihood of -inf
        comes first.
    budget : int
        How many rows to choose, from 0 to the number of selectable ones. Selectable are rows that
        have a value to rank by and, in a table or mapping with a column ``score``, a score,
        whatever the strategy; that have an embedding, an order, where these are needed; and that
        are not labelled already.
    strategy : str, default "likelihood"
        What makes a row urgent:

        - "likelihood": a low likelihood of the pose, ``score``;
        - "entropy": a high Multi-Peak Entropy, ``multi_peak_entropy``;
        - "likelihood+entropy": the mean of the ranks by both, better than either where we measured;
        - "confidence": low highest pixels of the heatmaps, 1 minus their mean, ``confidence``;
        - "random": chance;
        - "column:NAME": a high value of a column.

        Of equal rows the one further up comes first.
    lowest_first : bool, default False
        Of "column:NAME", the low values come first.
    diversity : {"none", "k-centre"}, optional
        "k-centre" chooses out of the ``shortlist`` rows that differ: always the one whose embedding
        is farthest from all that are chosen or labelled (Core-Set). None means that where
        ``embeddings`` are given, and else "none".
    embeddings : (N, D) floating array_like, optional
        By default the column ``embedding`` of the table. Rows with a NaN are not selectable.
    shortlist : int or float, optional
        How many of the rows that are ranked first k-centre chooses from: a number from the budget
        on, or, as a float up to 1.0, a share of the selectable rows. By default 0.2, as Kaplan and
        Lensu keep, and not less than twice the budget. Where spacing leaves too few of them, or the
        others are copies, the rest is chosen by rank.
    approximate : bool, default False
        k-centre over an approximate index of neighbours (the extra ``ann``). It pays where budget
        and ``labelled`` are 100,000 rows and more; below, the exact one is faster.
    labelled : (M, D) array_like, ScoreTable, pyarrow.Table or path, optional
        What is annotated already: embeddings, or a table. Diversity and ``min_separation`` keep
        away from it. Rows of the pool that are in the table too (the same image and person) are not
        selectable, and ``min_gap`` keeps away from them too.
    min_separation : float, optional
        A row whose embedding is nearer than this (Euclidean) to that of one chosen before is passed
        over.
    groups : (N,) array_like or str, optional
        Which video each row is a frame of, or the name of a column; with a table also "folder",
        that of the image, or "name", the image's name without its last digits.
    order : (N,) array_like of numbers or str, optional
        Its frame number or time, or the name of a column; with a table also "name": the last
        digits in the image's name.
    min_gap : float, optional
        Two rows of a group are chosen only when their ``order`` differs by this much.
    random_share : float, default 0.0
        The share of the budget, from 0 to 1, rounded to whole rows (half up), that is drawn at
        random, for an unbiased estimate: see Notes.
    seed : int, default 0
        Of everything random.
    reference : (M,) array_like, mapping, ScoreTable, pyarrow.Table or path, optional
        Scores of validation data, for the percentiles. A table must have been scored with the same
        skeleton, networks and settings. By default the pool itself, with which a percentile only
        says how unusual a row is within the pool.
    num_threads : int, optional
        Of k-centre.

    Returns
    -------
    Selection
        ``rows`` are the indices (n,) int64 of the chosen rows, the most urgent first.

    Raises
    ------
    TypeError, ValueError
        ``<argument> must <rule>, got <value>``; of a budget, ``budget must be between 0 and the
        selectable rows``, with both numbers.

    Warns
    -----
    UserWarning
        Where ``min_gap`` or ``min_separation`` leave fewer rows than the budget: how many, and how
        many were too close. ``Selection.shortfall`` is the same sentence.

    Notes
    -----
    The rows that ``random_share`` asks for are drawn first: a simple random sample, without
    replacement, of all selectable rows, whatever their rank. What is measured on them once they are
    annotated, such as a mean error, is an unbiased estimate for the selectable rows of the pool
    (not for those without a score). For that, spacing does not apply among them; all the other rows
    keep their distance from them and from each other. They are spread evenly over the selection, so
    that any first part of it holds the share as well, and a simple random sample. They are marked
    "random", as are all rows of the strategy "random" where nothing else constrains it.

    References
    ----------
    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach",
    ICLR 2018. Kaplan and Lensu keep a fifth of the pool by heatmap activation before they look for
    diversity.

    Examples
    --------
    >>> selection = select([-3.0, -80.0, float("nan"), -12.0], 2)
    >>> selection.rows.tolist(), selection.counts["without_score"]
    ([1, 3], 1)
    """
    columns = score_columns(scores)
    ranking = parse_strategy(strategy, flag(lowest_first, "lowest_first"))
    kind = _diversity(diversity, embeddings)
    approximate = flag(approximate, "approximate")
    random_share = _number(random_share, "random_share", 0, 1)
    gap = None if min_gap is None else _number(min_gap, "min_gap", 0)
    radius = None if min_separation is None else _number(min_separation, "min_separation", 0)
    _check_frames(groups, order, gap)
    seed = integer(seed, "seed", 0)
    ranking_rng, share_rng = (np.random.default_rng([seed, stream]) for stream in range(2))

    priority = priorities(ranking, columns, ranking_rng)
    points = pool_embeddings(embeddings, columns) if kind != "none" or radius is not None else None
    known = known_labels(labelled, columns, points)
    frames = None if gap is None else frame_order(order, columns)
    candidates = find_candidates(priority, columns, points, known, frames)
    budget = _budget(budget, candidates.counts["selectable"])
    num_shortlisted = _shortlist(shortlist, budget, candidates.counts["selectable"], kind)

    spacings: list[Spacing] = []
    if frames is not None and gap:
        spacings.append(FrameGaps(group_index(groups, columns), frames, gap))
        if known is not None:
            _add_to(spacings, np.flatnonzero(known.in_pool & ~np.isnan(frames)))
    if points is not None and radius:
        labels = None if known is None else known.embeddings
        spacings.append(NearDuplicates(points, radius, labels))

    num_random = int(np.floor(budget * random_share + 0.5))
    drawn = share_rng.choice(np.flatnonzero(candidates.is_selectable), num_random, replace=False)
    _add_to(spacings, drawn)
    left = _without(candidates.ranked, drawn)
    missing = budget - num_random
    passed_over: dict[int, str] = {}
    diverse: list[int] = []
    if points is not None and kind == "k-centre":
        near = points[drawn]
        if known is not None and known.embeddings is not None:
            near = np.concatenate([known.embeddings, near])
        diverse = _pick_diverse(
            left[:num_shortlisted],
            missing,
            points,
            near,
            spacings,
            passed_over,
            starts_with_first=known is None,
            approximate=approximate,
            seed=seed,
            num_threads=num_threads,
        )
        left = _without(left, diverse)
    by_rank = pick_in_order(left, missing - len(diverse), spacings, passed_over)
    is_sample = ranking.name == "random" and not spacings and not diverse
    rows, chosen_by = _spread(
        drawn.tolist(),
        [(row, "diversity") for row in diverse]
        + [(row, "random" if is_sample else "ranking") for row in by_rank],
    )

    compared = reference_of(reference, columns)
    refused = Counter(passed_over.values())
    selection = Selection(
        rows,
        priority[rows],
        _positions(candidates.ranked, rows),
        chosen_by,
        compared.percentiles(columns.numbers("score")[rows])
        if columns.has_score
        else np.full(len(rows), np.nan),
        {
            "strategy": ranking.name,
            "lowest_first": ranking.lowest_first,
            "budget": budget,
            "diversity": kind,
            "shortlist": num_shortlisted if kind != "none" else None,
            "approximate": approximate,
            "labelled": 0 if known is None else known.num_rows,
            "min_separation": radius,
            "groups": groups if isinstance(groups, str) else None if groups is None else "array",
            "order": order if isinstance(order, str) else None if order is None else "array",
            "min_gap": gap,
            "random_share": random_share,
            "seed": seed,
            "reference": compared.to_json(),
        },
        {
            **candidates.counts,
            "selected": len(rows),
            **{spacing.name: refused[spacing.name] for spacing in spacings},
        },
        columns,
        compared,
    )
    if selection.shortfall is not None:
        warnings.warn(selection.shortfall, stacklevel=2)
    return selection


def _diversity(diversity: Any, embeddings: Any) -> str:
    if diversity is None:
        return "none" if embeddings is None else "k-centre"
    if isinstance(diversity, str):
        diversity = _OTHER_SPELLINGS.get(diversity.lower().replace("_", "-"), diversity)
    return choice(diversity, "diversity", DIVERSITIES)


def _number(value: Any, argument: str, low: float, high: float = np.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{argument} must be a number, got {shown(value)}")
    number = float(value)
    if not (low <= number <= high and np.isfinite(number)):
        rule = f"at least {low:g} and finite" if high == np.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{argument} must be {rule}, got {shown(value)}")
    return number


def _check_frames(groups: Any, order: Any, gap: float | None) -> None:
    if gap is None:
        for name, given in (("groups", groups), ("order", order)):
            if given is not None:
                raise ValueError(f"min_gap must be given with {name}, got None")
    elif order is None:
        raise ValueError("order must be given with min_gap, got None")


def _budget(budget: Any, selectable: int) -> int:
    number = integer(budget, "budget", -(2**63))
    if not 0 <= number <= selectable:
        raise ValueError(
            f"budget must be between 0 and the selectable rows ({selectable}), got {number}"
        )
    return number


def _shortlist(shortlist: Any, budget: int, selectable: int, kind: str) -> int:
    """Return how many rows k-centre chooses from."""
    if shortlist is None:
        share = int(np.ceil(_SHORTLIST_SHARE * selectable))
        return min(max(share, _SHORTLIST_BUDGETS * budget), selectable)
    if kind == "none":
        raise ValueError(f"shortlist must go with diversity 'k-centre', got {shown(shortlist)}")
    number = _number(shortlist, "shortlist", 0)
    is_share = number <= 1 and not isinstance(shortlist, int | np.integer)
    size = int(np.ceil(number * selectable)) if is_share else int(number)
    if size < budget or (number > 1 and number != size):
        raise ValueError(
            f"shortlist must be a whole number from the budget ({budget}) on, or a share of "
            f"{selectable} rows, up to 1, that holds it, got {shown(shortlist)}"
        )
    return min(size, selectable)


def _add_to(spacings: list[Spacing], rows: RowIndex) -> None:
    for spacing in spacings:
        for row in rows.tolist():
            spacing.add(row)


def _without(rows: RowIndex, others: npt.ArrayLike) -> RowIndex:
    return rows[~np.isin(rows, others)]


def _positions(ranked: RowIndex, rows: RowIndex) -> RowIndex:
    """Return the place of each row among the ranked ones, from 1."""
    place = np.zeros(int(ranked.max(initial=-1)) + 1, np.int64)
    place[ranked] = np.arange(1, len(ranked) + 1)
    return place[rows]


def _pick_diverse(
    candidates: RowIndex,
    number: int,
    points: npt.NDArray[Any],
    near: npt.NDArray[Any],
    spacings: list[Spacing],
    passed_over: dict[int, str],
    *,
    starts_with_first: bool,
    **options: Any,
) -> list[int]:
    """Take rows that are far from each other and from ``near``, by k-centre greedy.

    k-centre knows nothing of spacing. It orders as many rows as are missing, and those too close to
    one that was taken are passed over; then it goes on with the rows that are left, around all that
    were taken. Fewer rows come back where those left are too close, or copies of one another.
    """
    picks: list[int] = []

    def take(rows: RowIndex) -> int:
        taken = pick_in_order(rows, number - len(picks), spacings, passed_over)
        picks.extend(taken)
        return len(taken)

    if starts_with_first:
        picks += pick_in_order(candidates, min(number, 1), spacings, passed_over)
    while len(picks) < number:
        candidates = _without(candidates, picks)
        for spacing in spacings:
            refused = ~spacing.admits(candidates)
            passed_over.update(dict.fromkeys(candidates[refused].tolist(), spacing.name))
            candidates = candidates[~refused]
        missing = min(number - len(picks), len(candidates))
        centres = np.concatenate([near, points[picks]])
        found = k_centre(points[candidates], missing, labelled=centres, **options)
        if not take(candidates[found.indices]):
            break
    return picks


def _spread(
    drawn: list[int], others: list[tuple[int, str]]
) -> tuple[RowIndex, npt.NDArray[np.str_]]:
    """Put the rows drawn at random evenly among the others, each at the end of its share."""
    total = len(drawn) + len(others)
    places = {-(-(i + 1) * total // len(drawn)) - 1 for i in range(len(drawn))}
    chance, rest = iter(drawn), iter(others)
    chosen = [(next(chance), "random") if i in places else next(rest) for i in range(total)]
    rows = np.array([row for row, _ in chosen], np.int64)
    return rows, np.array([by for _, by in chosen], np.str_)
