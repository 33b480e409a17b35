"""Features out of any pose network, by forward hooks, without a change to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vl4pose._options import integer
from vl4pose._sentences import near_names

__all__ = ["Attached", "attach"]

Reshape = Callable[[Any], Tensor]


def attach(
    pose_model: nn.Module,
    layers: Sequence[str],
    *,
    heatmaps: str | int | Callable[[Any], Tensor] | None = None,
    token_grid: tuple[int, int] | None = None,
    reshape: Reshape | None = None,
) -> Attached:
    """Make a pose network return its features too, as `vl4pose.Scorer` wants them.

    Parameters
    ----------
    pose_model : torch.nn.Module
        Any network that predicts heatmaps. Its weights, its ``state_dict`` and what it returns when
        it is called itself stay as they are.
    layers : sequence of str
        Which submodules' outputs are the features, by their names in
        ``pose_model.named_modules()``; from high to low resolution, as `AuxiliaryNet` takes them.
    heatmaps : str, int or callable, optional
        Which part of what the network returns is the heatmaps: an attribute or key, the index in a
        tuple or list, or a function of all that it returns. None takes the output itself if it is a
        tensor, or else its part of the name ``"heatmaps"``, as in networks of `transformers`.
    token_grid : (int, int), optional
        Rows and columns of the tokens (B, N, C) that layers of a transformer return. The last
        rows x columns tokens are taken, so that class and register tokens before them are not, and
        become (B, C, rows, columns).
    reshape : callable, optional
        For layers that return something else: makes a (B, C, H, W) tensor of a layer's output.

    Returns
    -------
    attached : Attached
        A module to be called in place of the network.

    Raises
    ------
    TypeError
        ``pose_model must be a torch.nn.Module``, ``layers must be names``, and the like.
    ValueError
        ``layers must name submodules of the pose model``, with the nearest names.

    Examples
    --------
    >>> convolution, pool = nn.Conv2d(3, 32, 3, 2, 1), nn.AvgPool2d(2)
    >>> pose_model = nn.Sequential(convolution, pool, nn.Conv2d(32, 14, 1))
    >>> attached = attach(pose_model, ["0", "1"])
    >>> heatmaps, features = attached(torch.rand(1, 3, 256, 256))
    >>> tuple(heatmaps.shape), [tuple(f.shape) for f in features]
    ((1, 14, 64, 64), [(1, 32, 128, 128), (1, 32, 64, 64)])
    """
    if not isinstance(pose_model, nn.Module):
        raise TypeError(f"pose_model must be a torch.nn.Module, got {type(pose_model).__name__}")
    if isinstance(layers, str) or not all(isinstance(layer, str) for layer in layers):
        raise TypeError(f"layers must be names of submodules in a sequence, got {layers!r}")
    names = [name for name, _ in pose_model.named_modules() if name]
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layers must be distinct and at least one, got {list(layers)}")
    for layer in layers:
        if layer not in names:
            raise ValueError(
                f"layers must name submodules of the pose model, got {layer!r}"
                f"{near_names(layer, names)}"
            )
    if heatmaps is not None and not isinstance(heatmaps, str | int) and not callable(heatmaps):
        raise TypeError(
            f"heatmaps must be a name, an index, a callable or None, got {type(heatmaps).__name__}"
        )
    if reshape is not None and not callable(reshape):
        raise TypeError(f"reshape must be callable or None, got {type(reshape).__name__}")
    if token_grid is not None:
        if reshape is not None:
            raise ValueError("token_grid or reshape must be given, one of them at most, got both")
        if isinstance(token_grid, str) or len(token_grid) != 2:
            raise ValueError(f"token_grid must be (rows, columns), got {token_grid!r}")
        rows, columns = (integer(size, "token_grid", 1) for size in token_grid)
        token_grid = rows, columns
    return Attached(pose_model, tuple(layers), heatmaps, token_grid, reshape)


class Attached(nn.Module):
    """A pose network that returns ``(heatmaps, features)``; made by `attach`.

    Attributes
    ----------
    pose_model : torch.nn.Module
        The network itself.
    layers : tuple of str

    Notes
    -----
    Features are taken by forward hooks, which do nothing unless the network is called through this
    object, and which `detach`, or the end of a ``with`` statement, removes. Threads may call it at
    the same time. What the layers return is kept for the time of a call only. It is not copied: an
    operation that the network does in place on it afterwards is seen in the feature.

    Attach first, then `torch.compile`: what is compiled already does not see new hooks.

    `torch.jit.trace`, `torch.export.export` and `torch.compile` take the module as it is, where
    they take the network; `torch.jit.script` takes no hooks.
    """

    def __init__(
        self,
        pose_model: nn.Module,
        layers: tuple[str, ...],
        heatmaps: str | int | Callable[[Any], Tensor] | None,
        token_grid: tuple[int, int] | None,
        reshape: Reshape | None,
    ) -> None:
        super().__init__()
        self.pose_model = pose_model
        self.layers = layers
        self._heatmaps, self._token_grid, self._reshape = heatmaps, token_grid, reshape
        self._outputs, self._is_attached = _Outputs(), True
        self._hooks = [
            pose_model.get_submodule(layer).register_forward_hook(_Take(self._outputs, layer))
            for layer in layers
        ]

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Call the pose network with the same arguments.

        Returns
        -------
        heatmaps : Tensor (B, J, H, W) or (B, S, J, H, W)
        features : tuple of Tensor (B, C, H, W)
            In the order of ``layers``; a layer that returns several maps gives all of them.

        Raises
        ------
        RuntimeError
            If `detach` was called.
        ValueError
            ``layers must be called by the pose model``, ``layers must return (B, C, H, W)``,
            ``token_grid must be ...``, ``heatmaps must be ...``.
        """
        if not self._is_attached:
            raise RuntimeError("the features must not be detached from the pose model: attach anew")
        outputs = self._outputs.by_layer = {}
        try:
            returned = self.pose_model(*args, **kwargs)
        finally:
            self._outputs.by_layer = None
        features = [feature for layer in self.layers for feature in self._maps(outputs, layer)]
        return self._chosen_heatmaps(returned), tuple(features)

    def feature_channels(self, *args: Any, **kwargs: Any) -> tuple[int, ...]:
        """Return the width of each feature map, from one call in eval mode without gradients.

        See also `AuxiliaryNet.for_features`, which builds a network from the features themselves.
        """
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad():
                _, features = self(*args, **kwargs)
        finally:
            for module in training:
                module.training = True
        return tuple(feature.shape[1] for feature in features)

    def detach(self) -> None:
        """Remove the hooks from the pose network."""
        for hook in self._hooks:
            hook.remove()
        self._is_attached = False

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *error: object) -> None:
        self.detach()

    def _maps(self, outputs: Mapping[str, Any], layer: str) -> list[Tensor]:
        """Return the feature maps of a layer."""
        if layer not in outputs:
            raise ValueError(
                f"layers must be called by the pose model, got {layer!r}, which it did not call"
            )
        output = outputs[layer]
        if self._reshape is not None:
            output = self._reshape(output)
        if isinstance(output, Mapping):  # as the outputs of transformers are, too
            output = next(iter(output.values()), None)
        if not isinstance(output, list | tuple):
            return [self._map(output, layer)]
        # Either maps of several resolutions, or a map and what belongs to it.
        several = output and all(isinstance(item, Tensor) and item.ndim > 2 for item in output)
        return [self._map(item, layer) for item in (output if several else output[:1])]

    def _map(self, output: Any, layer: str) -> Tensor:
        """Return the feature map that a layer's tensor is."""
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layers must return (B, C, H, W), got {type(output).__name__} from {layer!r}"
            )
        if output.ndim == 3 and self._token_grid is not None:
            return _grid_of_tokens(output, self._token_grid, layer)
        if output.ndim != 4:
            hint = ": give token_grid=(rows, columns)" if output.ndim == 3 else ""
            raise ValueError(
                f"layers must return (B, C, H, W), got {tuple(output.shape)} from {layer!r}{hint}"
            )
        return output

    def _chosen_heatmaps(self, returned: Any) -> Tensor:
        chosen = returned
        if callable(self._heatmaps):
            chosen = self._heatmaps(returned)
        elif isinstance(self._heatmaps, int):
            chosen = _item(returned, self._heatmaps)
        elif self._heatmaps is not None or not isinstance(returned, Tensor):
            chosen = _named(returned, self._heatmaps or "heatmaps")
        if not isinstance(chosen, Tensor) or chosen.ndim not in (4, 5):
            got = tuple(chosen.shape) if isinstance(chosen, Tensor) else type(chosen).__name__
            raise ValueError(
                "heatmaps must choose a tensor (B, J, H, W) or (B, S, J, H, W) from what the pose "
                f"model returns, got {got}"
            )
        return chosen


class _Outputs(threading.local):
    """What the layers returned, in the call that this thread is in; None outside a call."""

    by_layer: dict[str, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _Outputs, ()  # copies and other processes start without a call


class _Take:
    """A forward hook; a class, not a closure, so that it is copied and pickled with its module."""

    def __init__(self, outputs: _Outputs, layer: str) -> None:
        self._outputs, self._layer = outputs, layer

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if self._outputs.by_layer is not None:
            self._outputs.by_layer[self._layer] = output


def _grid_of_tokens(tokens: Tensor, grid: tuple[int, int], layer: str) -> Tensor:
    """Return tokens (B, N, C) as a map (B, C, rows, columns)."""
    rows, columns = grid
    if tokens.shape[1] < rows * columns:
        raise ValueError(
            f"token_grid must hold at most the {tokens.shape[1]} tokens of {layer!r}, got {grid}"
        )
    channels = tokens.transpose(1, 2)[:, :, -rows * columns :]
    return channels.reshape(*channels.shape[:2], rows, columns)


def _item(returned: Any, index: int) -> Any:
    """Return the part of an output that has an index."""
    num_items = len(returned) if isinstance(returned, list | tuple) else 0
    if not -num_items <= index < num_items:
        raise ValueError(
            f"heatmaps must be an index into the {num_items} items of the list or tuple that the "
            f"pose model returns, got {index} for a {type(returned).__name__}"
        )
    return returned[index]


def _named(returned: Any, name: str) -> Any:
    """Return the part of an output that has a name."""
    is_mapping = isinstance(returned, Mapping)
    part = returned.get(name) if is_mapping else getattr(returned, name, None)
    if part is None:
        names = ", ".join(map(str, returned if is_mapping else getattr(returned, "__dict__", ())))
        raise ValueError(
            "heatmaps must say which part of the pose model's output they are, by a name, an index "
            f"or a callable, got {name!r} for a {type(returned).__name__}"
            + (f" with {names}" if names else "")
        )
    return part
