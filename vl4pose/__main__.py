"""``python -m vl4pose``: the command line, and without arguments its demo."""

from __future__ import annotations

import sys

from vl4pose.cli import main

if len(sys.argv) == 1:
    sys.argv.append("demo")
main()
