"""Checkpoints that outlive a process killed at any moment: the last one, and the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vl4pose._atomic_file import write_atomically

__all__ = ["Checkpoints", "TornCheckpointError"]

_CURRENT, _PREVIOUS = "checkpoint.safetensors", "previous.safetensors"
_TENSOR = "(tensor)"  # the key of what stands for one


class TornCheckpointError(Exception):
    """A checkpoint that is not what was written."""


class Checkpoints:
    """The two latest checkpoints of a run.

    Parameters
    ----------
    directory : Path
        Made when the first checkpoint is saved.

    Notes
    -----
    A checkpoint is a safetensors file: its tensors, and in the metadata everything else as JSON,
    with a SHA-256 of both. Reading one runs no code. It is written beside its place, flushed to the
    disk and only then moved there, the old one having become the previous one; so at any moment one
    of the two is whole. A file that is damaged later does not match its SHA-256.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state of dicts with text for keys, lists, tensors, numbers, text and None."""
        self.directory.mkdir(parents=True, exist_ok=True)
        current = self.directory / _CURRENT
        if current.exists():
            current.replace(self.directory / _PREVIOUS)
        tensors: dict[str, Tensor] = {}
        text = json.dumps(_without_tensors(state, tensors))
        metadata = {"state": text, "sha256": _digest(text, tensors)}
        write_atomically(current, save(tensors, metadata))

    def load(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the latest whole state, or None, and what is wrong with those that are not.

        What is not whole is deleted: it must not take the place of the previous one.
        """
        problems: list[str] = []
        for leftover in self.directory.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        for name in (_CURRENT, _PREVIOUS):
            path = self.directory / name
            if path.exists():
                try:
                    return _read(path), problems
                except TornCheckpointError as error:
                    problems.append(f"'{path}' {error}")
                    path.unlink(missing_ok=True)  # another process may have been faster
        return None, problems

    def remove(self) -> None:
        """Delete both, and the directory if nothing else is in it."""
        for name in (_CURRENT, _PREVIOUS):
            (self.directory / name).unlink(missing_ok=True)
        if self.directory.is_dir() and not any(self.directory.iterdir()):
            self.directory.rmdir()


def _read(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TornCheckpointError(f"cannot be read: {error}") from error
    text = metadata.get("state", "")
    if metadata.get("sha256") != _digest(text, tensors):
        raise TornCheckpointError("does not match its SHA-256")
    state: dict[str, Any] = _with_tensors(json.loads(text), tensors)
    return state


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _without_tensors(state: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the state with the name of each tensor in its place; they go into ``tensors``."""
    if isinstance(state, Tensor):
        name = str(len(tensors))
        # A copy: safetensors takes no two tensors that share memory.
        tensors[name] = state.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_TENSOR: name}
    if isinstance(state, Mapping):
        return {key: _without_tensors(value, tensors) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_without_tensors(value, tensors) for value in state]
    return state


def _with_tensors(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(state, dict):
        if _TENSOR in state:
            return tensors[state[_TENSOR]]
        return {key: _with_tensors(value, tensors) for key, value in state.items()}
    if isinstance(state, list):
        return [_with_tensors(value, tensors) for value in state]
    return state
