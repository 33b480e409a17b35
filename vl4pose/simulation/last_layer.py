"""Which layer a network's heatmaps come out of, and what goes into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vl4pose.scorer import in_eval_mode
from vl4pose.training.networks import heatmaps_and_features

__all__ = ["last_layer", "pass_through"]


def last_layer(pose: nn.Module, images: Tensor) -> str:
    """Return the name of the module that a network's heatmaps come out of.

    Parameters
    ----------
    pose : torch.nn.Module
    images : Tensor (B, 3, H, W)
        Any that it takes.

    Returns
    -------
    str
        Of the modules that have parameters themselves, the last one whose output is the heatmaps of
        the last stack; where there is none, the last one that is run.

    Raises
    ------
    ValueError
        ``pose must run a module that has parameters``.
    """
    names: dict[nn.Module, str] = {module: name for name, module in pose.named_modules()}
    run: list[tuple[str, Any]] = []
    hooks = [
        module.register_forward_hook(lambda module, _, output: run.append((names[module], output)))
        for module in names
        if any(True for _ in module.parameters(recurse=False))
    ]
    try:
        with torch.no_grad(), in_eval_mode(pose):
            heatmaps = heatmaps_and_features(pose(images[:1]))[0][:, -1]
    finally:
        for hook in hooks:
            hook.remove()
    if not run:
        raise ValueError("pose must run a module that has parameters, got one that runs none")
    same = [name for name, output in run if _is_same(output, heatmaps)]
    return same[-1] if same else run[-1][0]


def pass_through(
    pose: nn.Module, layer: nn.Module, images: Tensor
) -> tuple[Tensor, Any, Tensor] | None:
    """Return what a network says of images and what its last layer was given for that.

    Parameters
    ----------
    pose : torch.nn.Module
    layer : torch.nn.Module
        Of the network.
    images : Tensor (B, 3, H, W)

    Returns
    -------
    (heatmaps, features, given)
        As `heatmaps_and_features` returns them, and the layer's input; None unless the layer runs
        once, on one tensor, and the heatmaps of the last stack are what it returns.
    """
    run: list[tuple[tuple[Any, ...], Any]] = []
    hook = layer.register_forward_hook(lambda _, given, output: run.append((given, output)))
    try:
        heatmaps, features = heatmaps_and_features(pose(images))
    finally:
        hook.remove()
    if len(run) != 1 or len(run[0][0]) != 1 or not _is_same(run[0][1], heatmaps[:, -1]):
        return None
    return heatmaps, features, run[0][0][0]


def _is_same(output: object, heatmaps: Tensor) -> bool:
    """Return whether what a layer returned is these heatmaps."""
    return (
        isinstance(output, Tensor)
        and output.shape == heatmaps.shape
        and output.dtype == heatmaps.dtype
        and torch.equal(output, heatmaps)
    )
