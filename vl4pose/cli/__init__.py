"""The command line. Importing this needs no extra package; running it needs ``vl4pose[cli]``."""

from __future__ import annotations

import sys

from vl4pose._freed_memory import keep_freed_memory

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say which package it needs.

    Raises
    ------
    SystemExit
        Code 0, 1 for a failure, 2 for a wrong command line, 3 where a time limit has left more to
        do, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        from vl4pose.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        if sys.argv[1:] == ["doctor"]:  # what tells which packages are missing needs none
            from vl4pose.cli.doctor import doctor

            doctor()
            return
        sys.exit(f"vl4pose: {error.name} is not installed: pip install 'vl4pose[cli]'")
    keep_freed_memory()
    app()
