"""Trained networks as programs that run without their Python code: TorchScript and .pt2."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vl4pose._atomic_file import write_atomically

__all__ = ["export_programs"]

_TOLERANCE = 1e-3


def export_programs(module: nn.Module, example: Any, path: Path) -> list[Path]:
    """Write a module as TorchScript (.pt) and as a torch.export program (.pt2).

    Parameters
    ----------
    module : torch.nn.Module
        Of one argument; in eval mode and on the CPU.
    example : Tensor (1, ...), or tuple or list of them
        Its argument. Batches of any size can go through both programs; the other sizes, and
        whether it is a tuple or a list, are fixed in the .pt2.
    path : Path
        Its ending is replaced by those of the programs.

    Returns
    -------
    paths : list of Path
        What was written.

    Raises
    ------
    RuntimeError
        If a program gives something else than the module.
    """
    example = _mapped(example, lambda tensor: tensor.float().cpu().repeat_interleave(2, 0))
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", r"`?torch\.jit", DeprecationWarning)
        expected = module(example)
        script, buffer = torch.jit.script(module), io.BytesIO()
        _check("TorchScript", script(example), expected)
        torch.jit.save(script, buffer)
        write_atomically(path.with_suffix(".pt"), buffer.getvalue())
        program = torch.export.export(
            module, (example,), dynamic_shapes=(_mapped(example, lambda tensor: {0: batch}),)
        )
        _check("torch.export", program.module()(example), expected)
        program.example_inputs = None  # the file would hold them
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        write_atomically(path.with_suffix(".pt2"), buffer.getvalue())
    return [path.with_suffix(".pt"), path.with_suffix(".pt2")]


def _mapped(values: Any, function: Any) -> Any:
    if isinstance(values, Tensor):
        return function(values)
    return type(values)(map(function, values))


def _check(kind: str, output: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        if not torch.allclose(output, expected, _TOLERANCE, _TOLERANCE):
            raise RuntimeError(f"the {kind} program must give what the network gives")
        return
    for part, of_module in zip(output, expected, strict=True):
        _check(kind, part, of_module)
