"""What stops a run although no argument is to blame: one sentence each."""

from __future__ import annotations

__all__ = ["NetworkError", "PoolError"]


class PoolError(RuntimeError):
    """A run that fails; its notes say what became of its rows."""


class NetworkError(PoolError):
    """A network of the user's fails, or what it returns cannot be scored."""
