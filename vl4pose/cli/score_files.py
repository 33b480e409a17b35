"""Tables of scores that the command line names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vl4pose.cli.checks import check_file
from vl4pose.cli.errors import UsageError, needing_extras, reason

if TYPE_CHECKING:
    from vl4pose.score_table import ScoreTable

__all__ = ["check_columns", "read_table", "reading_table"]


def read_table(option: str, path: str, columns: Iterable[str] = ()) -> ScoreTable:
    """Return the table in a file, in a folder of shards, or at the URL of one.

    Raises
    ------
    UsageError
        If there is none, with the nearest name in the folder, or it is another kind of file; or if
        it lacks one of the columns, or does not say its skeleton or where its images are.
    """
    with needing_extras():
        from vl4pose.score_table import read_scores

        with reading_table(option, path):
            table = read_scores(path)
    for name in ("skeleton", "source"):
        if name not in table.metadata:
            raise UsageError(
                f"{option} must say its {name} as vl4pose score writes it, got '{path}'"
            )
    check_columns(option, table, columns)
    return table


def check_columns(option: str, table: ScoreTable, columns: Iterable[str]) -> None:
    """Raise an error where a table lacks a column."""
    missing = [name for name in columns if name not in table.rows.column_names]
    if missing:
        raise UsageError(
            f"{option} must have all columns that vl4pose score writes, got a table without "
            f"{', '.join(missing)}"
        )


@contextmanager
def reading_table(option: str, path: str) -> Iterator[None]:
    """Raise the errors of `read_table` where the table that an option names is read otherwise."""
    if "://" not in path and not Path(path).is_dir():
        check_file(option, Path(path))
    from vl4pose.score_table import PARTIAL

    try:
        yield
    except (OSError, ValueError) as error:
        message = reason(error).removesuffix(PARTIAL)
        start = f"'{path}' "
        raise UsageError(
            f"{option} {message.removeprefix(start)}"
            if message.startswith(start)
            else f"{option}: cannot read '{path}': {message}"
        ) from error
