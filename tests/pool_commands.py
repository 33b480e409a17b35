"""Runs the command line again and again: "args" of each line, see killed_processes.py."""

from __future__ import annotations

from typing import Any

from killed_processes import serve


def main() -> None:
    import pyarrow
    import torch  # noqa: F401

    import vl4pose.cli.summary
    import vl4pose.nn
    import vl4pose.pool.run  # noqa: F401
    from vl4pose.cli.app import app

    pyarrow.array([0])  # imports pandas, where it is installed

    def do(command: dict[str, Any]) -> int:
        try:
            app(command["args"])
        except SystemExit as stop:  # which is how it ends
            return int(stop.code or 0)
        raise AssertionError("the command line has not ended")

    serve(do)


if __name__ == "__main__":
    main()
