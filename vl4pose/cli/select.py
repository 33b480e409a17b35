"""``vl4pose select``: the rows of a table of scores that are worth annotating, and why."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from vl4pose.cli.checks import check_file, check_out
from vl4pose.cli.errors import RunError, UsageError, needing_extras, reason
from vl4pose.cli.options import select as opt
from vl4pose.cli.options import shared
from vl4pose.cli.score_files import check_columns, reading_table

if TYPE_CHECKING:
    from vl4pose.active.score_columns import ScoreColumns

__all__ = ["select"]

# Arguments whose option is called otherwise.
_OPTIONS = {"scores": "SCORES", "groups": "--group-by", "order": "--order-by"}
_OPTIONS |= {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "budget",
        "strategy",
        "lowest_first",
        "diversity",
        "shortlist",
        "labelled",
        "min_separation",
        "min_gap",
        "random_share",
        "reference",
    )
}


def select(
    scores: opt.Scores,
    budget: opt.Budget,
    out: opt.Out,
    strategy: opt.StrategyName = "likelihood",
    lowest_first: opt.LowestFirst = False,
    random_share: opt.RandomShare = 0.0,
    seed: opt.Seed = 0,
    diversity: opt.Diversity = "none",
    shortlist: opt.Shortlist = None,
    approximate: opt.Approximate = False,
    labelled: opt.Labelled = None,
    min_separation: opt.MinSeparation = None,
    min_gap: opt.MinGap = None,
    group_by: opt.GroupBy = None,
    order_by: opt.OrderBy = None,
    reference: opt.Reference = None,
    num_threads: shared.NumThreads = None,
) -> None:
    """Check the command line, choose rows, write them and print a summary."""
    check_out(out, ".parquet")
    for option, file in (("SCORES", scores), ("--labelled", labelled), ("--reference", reference)):
        if file is not None and out.resolve() == Path(file).resolve():
            raise UsageError(f"--out must be another file than {option}, got '{out}'")
    if min_gap is None:
        for option, name in (("--group-by", group_by), ("--order-by", order_by)):
            if name is not None:
                raise UsageError(f"--min-gap must be given with {option}, got {name!r} without it")
    with needing_extras():
        import vl4pose.active
        from vl4pose.active.score_columns import ScoreColumns
        from vl4pose.cli.selection_summary import show_selection
    pool = _read("SCORES", scores)
    assert pool.table is not None
    check_columns("SCORES", pool.table, ("image", "person_id"))
    known = None if labelled is None else _read_labelled(labelled)
    compared = None if reference is None else _read("--reference", reference)
    with _naming_options(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the summary says it
        selection = vl4pose.active.select(
            pool,
            budget,
            strategy=strategy,
            lowest_first=lowest_first,
            random_share=random_share,
            seed=seed,
            diversity=diversity,
            shortlist=shortlist,
            approximate=approximate,
            labelled=known,
            min_separation=min_separation,
            min_gap=min_gap,
            groups=None if min_gap is None else group_by or "folder",
            order=None if min_gap is None else order_by or "name",
            reference=compared,
            num_threads=num_threads,
        )
    try:
        chosen = selection.to_table()
    except RuntimeError as error:  # the file is another one meanwhile
        raise RunError(str(error)) from error
    vl4pose.active.write_selection(chosen, out)
    labels = known.table if isinstance(known, ScoreColumns) else None
    show_selection(selection, chosen, str(out), Console(), labels)


@contextmanager
def _naming_options() -> Iterator[None]:
    """Turn an error about an argument into one about its option."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message = str(error)
        first = message.partition(" ")[0]
        if first in _OPTIONS:
            message = _OPTIONS[first] + message.removeprefix(first)
        message = re.sub(
            r"(?<!-)\b([a-z]+_[a-z]+|diversity)\b",
            lambda name: _OPTIONS.get(name[0], name[0]),
            message,
        )
        raise UsageError(message) from error


def _read(option: str, path: str) -> ScoreColumns:
    from vl4pose.active.score_columns import score_columns

    with reading_table(option, path):
        return score_columns(path)


def _read_labelled(path: str) -> Any:
    if not path.endswith(".npy"):
        return _read("--labelled", path)
    check_file("--labelled", Path(path))
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--labelled: cannot read '{path}': {reason(error)}") from error
