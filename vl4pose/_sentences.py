"""What is said of errors of others: their reasons, and the name that was perhaps meant."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

__all__ = ["did_you_mean", "near_names", "network_reason", "reason"]

_NAMED_ERROR = re.compile(r"[\w.]*(Error|Exception): ")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question that ends a message with the nearest of ``names``, or nothing."""
    spelled = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), spelled, n=1, cutoff=0.5)
    return f" (did you mean {spelled[close[0]]!r}?)" if close else ""


def near_names(name: str, names: Iterable[str]) -> str:
    """Return what ends a message about one of many names: up to five like it, or nothing."""
    near = difflib.get_close_matches(name, list(names), n=5, cutoff=0.3)
    return f" (nearest: {', '.join(near)})" if near else ""


def reason(error: Exception) -> str:
    """Return an error's message, without the name of the file that the system puts behind it."""
    if isinstance(error, OSError) and error.errno and "Detail: [errno" in str(error):
        return os.strerror(error.errno)  # pyarrow has a sentence of its own around it
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def network_reason(error: Exception) -> str:
    """Return the line of an error that says what is wrong: not a trace, nor a tensor's values."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("The following operation failed in the TorchScript interpreter"):
        # A trace of the script follows, and then the error with its type in front.
        for line in lines[1:]:
            if _NAMED_ERROR.match(line):
                return line.removeprefix("builtins.")
        return lines[-1]
    known = isinstance(error, RuntimeError | TypeError | ValueError)
    return lines[0] if known else f"{type(error).__name__}: {lines[0]}"
