"""Tables of scores that the command line names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vl4pose.cli.checks import check_file
from vl4pose.cli.errors import UsageError, needing_extras, reason

if TYPE_CHECKING:
    from vl4pose.score_table import ScoreTable

__all__ = ["read_table", "reading_table"]


def read_table(option: str, path: str) -> ScoreTable:
    """Return the table in a file, in a folder of shards, or at the URL of one.

    Raises
    ------
    UsageError
        If there is none, with the nearest name in the folder, or it is another kind of file.
    """
    with needing_extras():
        from vl4pose.score_table import read_scores

        with reading_table(option, path):
            return read_scores(path)


@contextmanager
def reading_table(option: str, path: str) -> Iterator[None]:
    """Raise the errors of `read_table` where the table that an option names is read otherwise."""
    if "://" not in path and not Path(path).is_dir():
        check_file(option, Path(path))
    try:
        yield
    except (OSError, ValueError) as error:
        message = reason(error)
        start = f"'{path}' "
        raise UsageError(
            f"{option} {message.removeprefix(start)}"
            if message.startswith(start)
            else f"{option}: cannot read '{path}': {message}"
        ) from error
