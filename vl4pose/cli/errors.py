"""Errors that a user can act on, and text that is safe to print."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from vl4pose._sentences import did_you_mean, network_reason, reason

__all__ = [
    "RunError",
    "Stopped",
    "UsageError",
    "did_you_mean",
    "naming_options",
    "needing_extras",
    "network_reason",
    "printable",
    "reason",
    "stoppable",
]

_EXTRAS = {"torch": "torch", "tensorboard": "tensorboard", "fsspec": "remote", "ray": "ray"}


class RunError(Exception):
    """Something went wrong that is no fault of the command line: one sentence, exit code 1."""


class Stopped(BaseException):
    """Ctrl-C, or a signal to terminate; its exit code is the one shells give such a process."""

    def __init__(self, number: int) -> None:
        super().__init__("Interrupted" if number == signal.SIGINT else "Terminated")
        self.exit_code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise Stopped where SIGINT or SIGTERM arrive, so that every clean-up runs.

    Signals that are ignored, or that somebody handles already, stay so.
    """
    handled = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number, default in handled.items():
            if signal.getsignal(number) == default:
                previous[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


class UsageError(typer.BadParameter):
    """The command line, or a file of settings, is wrong: one sentence, exit code 2."""

    def format_message(self) -> str:
        """Return the sentence alone: it names the option itself."""
        return self.message


def printable(text: str) -> str:
    """Return ``text`` on one line and without control characters or lone surrogates.

    File names and error messages come from outside; they may hold anything.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


@contextmanager
def naming_options(*options: str) -> Iterator[None]:
    """Turn an error about an argument into one about its option: num_peaks into --num-peaks."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message = str(error).partition("\n")[0]  # torch adds paragraphs to its errors
        for option in options:
            if message.startswith(f"{option} "):
                message = f"--{option.replace('_', '-')}{message.removeprefix(option)}"
        raise UsageError(message) from error


@contextmanager
def needing_extras() -> Iterator[None]:
    """Turn a missing package into a sentence that says which extra brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "vl4pose"):
            raise
        extra = _EXTRAS.get(package, "cli")
        raise RunError(f"{package} is not installed: pip install 'vl4pose[{extra}]'") from error
