"""The stacked hourglass network of Newell, Yang and Deng (ECCV 2016)."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from vl4pose._options import integer

_LEVELS = 4
_MAX_SIZE = 2**16
_MAX_STACKS = 64

# Named here because TorchScript takes mypy's comment in a method for one of its own.
_is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]


class Residual(nn.Module):
    """Pre-activation bottleneck: 1x1, 3x3 and 1x1 convolutions around a shortcut.

    Parameters
    ----------
    in_channels, out_channels : int
        Widths of input and output; the 3x3 convolution works on half of ``out_channels``. Where
        the two agree the shortcut is the identity and has no weights.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = out_channels // 2
        self.bottleneck = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, middle, 1),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, padding=1),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, out_channels, 1),
        )
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        out: Tensor = self.shortcut(x) + self.bottleneck(x)
        return out


class Hourglass(nn.Module):
    """One hourglass: four levels down by max pooling, four up by nearest neighbour, added.

    Parameters
    ----------
    channels : int
        Width of every level.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Both from the highest resolution to the lowest ...
        self.skips = nn.ModuleList(Residual(channels, channels) for _ in range(_LEVELS))
        self.downs = nn.ModuleList(Residual(channels, channels) for _ in range(_LEVELS))
        self.bottom = Residual(channels, channels)
        # ... and back up, as TorchScript cannot walk a ModuleList in reverse.
        self.ups = nn.ModuleList(Residual(channels, channels) for _ in range(_LEVELS))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, C, H, W) to the five maps on the way up, from (H, W) down to (H/16, W/16)."""
        skipped: list[Tensor] = []
        for skip, down in zip(self.skips, self.downs):  # noqa: B905 (TorchScript has no strict=)
            skipped.append(skip(x))
            x = down(functional.max_pool2d(x, 2))
        x = self.bottom(x)
        maps = [x]
        for up in self.ups:
            x = skipped.pop() + functional.interpolate(up(x), scale_factor=2.0, mode="nearest")
            maps.insert(0, x)
        return maps


class Merge(nn.Module):
    """The way from one stack to the next: the head, and head and heatmaps through 1x1, added."""

    def __init__(self, num_joints: int, channels: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, channels, 1)
        self.heatmaps = nn.Conv2d(num_joints, channels, 1)

    def forward(self, head: Tensor, heatmaps: Tensor) -> Tensor:
        """Map (B, C, H, W) and (B, J, H, W) to the next stack's input (B, C, H, W)."""
        out: Tensor = head + self.head(head) + self.heatmaps(heatmaps)
        return out


class Stack(nn.Module):
    """An hourglass, the head on its largest map, the heatmaps, and the next stack's input.

    Parameters
    ----------
    num_joints, channels : int
        Heatmaps to predict, and the width of everything before them.
    last : bool
        Whether no stack follows, so that its input needs no weights.
    """

    def __init__(self, num_joints: int, channels: int, *, last: bool) -> None:
        super().__init__()
        self.hourglass = Hourglass(channels)
        self.head = nn.Sequential(
            Residual(channels, channels),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.heatmaps = nn.Conv2d(channels, num_joints, 1)
        self.merge = None if last else Merge(num_joints, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Map (B, C, H, W) to heatmaps (B, J, H, W), the five maps and the next (B, C, H, W)."""
        maps = self.hourglass(x)
        head = self.head(maps[0])
        heatmaps = self.heatmaps(head)
        if self.merge is not None:
            x = self.merge(head, heatmaps)
        return heatmaps, maps, x


def _check_images(images: Tensor) -> None:
    if images.dim() != 4 or images.shape[2] % 64 != 0 or images.shape[3] % 64 != 0:
        raise ValueError(
            f"images must be (B, 3, H, W) with H and W multiples of 64, got {list(images.shape)}"
        )


class StackedHourglass(nn.Module):
    """Stacked hourglass pose network that also returns its multi-scale features.

    Parameters
    ----------
    num_joints : int, default 16
        Heatmaps per stack, J.
    num_stacks : int, default 2
        Hourglasses in a row, S; each is fed what the one before it has found.
    channels : int, default 256
        Width of the hourglasses, C; even.

    Raises
    ------
    TypeError, ValueError
        ``num_joints must be an integer``, ``num_joints must be between 1 and 65536``, likewise the
        others; ``channels must be even``.

    Notes
    -----
    A 7x7 convolution of stride 2, three residual blocks (64 -> 128 -> 128 -> C) and a max pooling
    bring the image to a quarter of its size. A stack is an hourglass, a head on the hourglass's
    largest map (residual block, 1x1 convolution, batch normalisation, ReLU), and a 1x1 convolution
    from the head to the heatmaps. The next stack's input is the sum of the head, the head through a
    1x1 convolution and the heatmaps through another; as in the released networks, and unlike the
    paper's figure, the stack's own input is not added to it. A residual block as wide at its input
    as at its output has the identity for a shortcut, which makes 6.57 million parameters at 2
    stacks, 256 channels and 16 joints.

    `torch.jit.script`, `torch.jit.trace` and `torch.export.export` take the network as it is.

    References
    ----------
    Newell, Yang, Deng: "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016.

    Examples
    --------
    >>> heatmaps, features = StackedHourglass()(torch.zeros(1, 3, 256, 256))
    >>> tuple(heatmaps.shape)
    (1, 2, 16, 64, 64)
    >>> [tuple(f.shape) for f in features]
    [(1, 256, 64, 64), (1, 256, 32, 32), (1, 256, 16, 16), (1, 256, 8, 8), (1, 256, 4, 4)]
    """

    def __init__(self, num_joints: int = 16, num_stacks: int = 2, channels: int = 256) -> None:
        super().__init__()
        num_joints = integer(num_joints, "num_joints", 1, _MAX_SIZE)
        num_stacks = integer(num_stacks, "num_stacks", 1, _MAX_STACKS)
        channels = integer(channels, "channels", 2, _MAX_SIZE)
        if channels % 2:
            raise ValueError(f"channels must be even, got {channels}")
        self.arguments = {
            "num_joints": num_joints,
            "num_stacks": num_stacks,
            "channels": channels,
        }
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            Residual(64, 128),
            nn.MaxPool2d(2),
            Residual(128, 128),
            Residual(128, channels),
        )
        self.stacks = nn.ModuleList(
            Stack(num_joints, channels, last=i == num_stacks - 1) for i in range(num_stacks)
        )

    @classmethod
    def from_released(
        cls, source: str | os.PathLike[str] | Mapping[str, Tensor]
    ) -> StackedHourglass:
        """Build the network that released weights are for, with those weights, in eval mode.

        Parameters
        ----------
        source : path or mapping of str to Tensor
            State dict of a 4-level stacked hourglass under the names of the released checkpoints,
            or a file that holds one (read with ``weights_only=True``, so that it runs no code).
            Joints, stacks and channels are read off its shapes.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        TypeError
            ``source must hold a state dict``.
        ValueError
            ``source must hold the weights of a released stacked hourglass``, naming what is
            missing, unexpected or of another shape; ``source must be a file of weights``.

        Notes
        -----
        How the released names translate, with ``i`` the stack and ``n`` how often ``low2.`` is
        repeated, which is the level of the hourglass:

        ==============================  ======================================
        released                        here
        ==============================  ======================================
        pre.0.{conv, bn}                stem.{0, 1}
        pre.{1, 3, 4}                   stem.{3, 5, 6}
        hgs.i.0.[low2.]up1              stacks.i.hourglass.skips.n
        hgs.i.0.[low2.]low1             stacks.i.hourglass.downs.n
        hgs.i.0.low2.low2.low2.low2     stacks.i.hourglass.bottom
        hgs.i.0.[low2.]low3             stacks.i.hourglass.ups.(3 - n)
        features.i.0                    stacks.i.head.0
        features.i.1.{conv, bn}         stacks.i.head.{1, 2}
        outs.i.conv                     stacks.i.heatmaps
        merge_features.i.conv.conv      stacks.i.merge.head
        merge_preds.i.conv.conv         stacks.i.merge.heatmaps
        ------------------------------  --------------------------------------
        in a block: bn1, conv1.conv     bottleneck.0, bottleneck.2
        bn2, conv2.conv                 bottleneck.3, bottleneck.5
        bn3, conv3.conv                 bottleneck.6, bottleneck.8
        skip_layer.conv                 shortcut
        ==============================  ======================================

        Every released block has a ``skip_layer``, but blocks as wide at their input as at their
        output never use it: those keys, and no others, are dropped.
        """
        state = source if isinstance(source, Mapping) else _read_state_dict(source)
        num_stacks = sum(bool(re.fullmatch(r"outs\.\d+\.conv\.weight", name)) for name in state)
        if "outs.0.conv.weight" not in state:
            raise ValueError(
                "source must hold the weights of a released stacked hourglass, got no "
                "outs.0.conv.weight"
            )
        num_joints, channels = state["outs.0.conv.weight"].shape[:2]
        network = cls(num_joints, num_stacks, channels)
        prefixes = _released_prefixes(num_stacks)
        renamed = {_renamed(name, prefixes): tensor for name, tensor in state.items()}
        for name, module in network.named_modules():
            if isinstance(module, Residual) and isinstance(module.shortcut, nn.Identity):
                renamed.pop(f"{name}.shortcut.weight", None)
                renamed.pop(f"{name}.shortcut.bias", None)
        try:
            network.load_state_dict(renamed)
        except RuntimeError as error:
            raise ValueError(
                f"source must hold the weights of a released stacked hourglass: {error}"
            ) from None
        return network.eval()

    def forward(
        self, images: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Predict the heatmaps of every stack, and the features of the last.

        Parameters
        ----------
        images : Tensor (B, 3, H, W)
            H and W multiples of 64.

        Returns
        -------
        heatmaps : Tensor (B, S, J, H/4, W/4)
            Of every stack, the last being the best; raw, of any scale.
        features : tuple of 5 Tensors (B, C, H/4, W/4), (B, C, H/8, W/8) ... (B, C, H/64, W/64)
            What an auxiliary network takes: the maps of the last stack's hourglass on its way up,
            skip connection added, from high to low resolution; the smallest is the output of the
            block at the bottom. The largest is what the head, and so the heatmaps, are computed
            from. A tuple, not a list, because `torch.jit.trace` takes no list by default.

        Raises
        ------
        ValueError
            ``images must be (B, 3, H, W) with H and W multiples of 64``.
        """
        if not _is_tracing():  # a trace would warn that it turns sizes into constants
            _check_images(images)
        x = self.stem(images)
        of_stacks: list[Tensor] = []
        maps: list[Tensor] = []
        for stack in self.stacks:
            heatmaps, maps, x = stack(x)
            of_stacks.append(heatmaps)
        features = (maps[0], maps[1], maps[2], maps[3], maps[4])
        return torch.stack(of_stacks, dim=1), features


_BLOCK_NAMES = {
    "bn1.": "bottleneck.0.",
    "conv1.conv.": "bottleneck.2.",
    "bn2.": "bottleneck.3.",
    "conv2.conv.": "bottleneck.5.",
    "bn3.": "bottleneck.6.",
    "conv3.conv.": "bottleneck.8.",
    "skip_layer.conv.": "shortcut.",
}


def _released_prefixes(num_stacks: int) -> dict[str, str]:
    """Return what the released names of modules start with, and what ours do instead."""
    prefixes = {
        "pre.0.conv.": "stem.0.",
        "pre.0.bn.": "stem.1.",
        "pre.1.": "stem.3.",
        "pre.3.": "stem.5.",
        "pre.4.": "stem.6.",
    }
    for i in range(num_stacks):
        for level in range(_LEVELS):
            nested = f"hgs.{i}.0." + "low2." * level
            prefixes[f"{nested}up1."] = f"stacks.{i}.hourglass.skips.{level}."
            prefixes[f"{nested}low1."] = f"stacks.{i}.hourglass.downs.{level}."
            prefixes[f"{nested}low3."] = f"stacks.{i}.hourglass.ups.{_LEVELS - 1 - level}."
        prefixes[f"hgs.{i}.0." + "low2." * _LEVELS] = f"stacks.{i}.hourglass.bottom."
        prefixes[f"features.{i}.0."] = f"stacks.{i}.head.0."
        prefixes[f"features.{i}.1.conv."] = f"stacks.{i}.head.1."
        prefixes[f"features.{i}.1.bn."] = f"stacks.{i}.head.2."
        prefixes[f"outs.{i}.conv."] = f"stacks.{i}.heatmaps."
        prefixes[f"merge_features.{i}.conv.conv."] = f"stacks.{i}.merge.head."
        prefixes[f"merge_preds.{i}.conv.conv."] = f"stacks.{i}.merge.heatmaps."
    return prefixes


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """Return our name of a released tensor; an unknown one stays, for the load to refuse."""
    for prefix, own_prefix in prefixes.items():
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            for part, own_part in _BLOCK_NAMES.items():
                if rest.startswith(part):
                    rest = own_part + rest.removeprefix(part)
            return own_prefix + rest
    return name


def _read_state_dict(path: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"source must be a file of weights, got {os.fspath(path)!r}") from error
    if not isinstance(state, Mapping):
        raise TypeError(
            f"source must hold a state dict, got {os.fspath(path)!r} with {type(state).__name__}"
        )
    return state
