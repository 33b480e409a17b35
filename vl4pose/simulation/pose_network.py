"""The pose network that is trained, as the configuration describes it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vl4pose._existing_file import check_file
from vl4pose._sentences import network_reason
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.entry_points import entry_point
from vl4pose.simulation.pace import SimulationError
from vl4pose.training.features import tensors_digest
from vl4pose.training.networks import heatmaps_and_features
from vl4pose.training.optimisation import amp_dtype
from vl4pose.training.positions import seed_at

__all__ = ["Output", "PoseNetwork"]

StateDict = Mapping[str, Tensor]


class Output(NamedTuple):
    """What a pose network says of a batch.

    Attributes
    ----------
    heatmaps : Tensor (B, S, J, H, W)
        Of all stacks.
    features : list of Tensor (B, C, H, W)
        None at all where the network returns heatmaps alone.
    """

    heatmaps: Tensor
    features: list[Tensor]


class PoseNetwork:
    """One module, whose weights are set anew for each cycle, so that it is compiled once.

    Parameters
    ----------
    config : SimulationConfig
    device : torch.device

    Attributes
    ----------
    module : torch.nn.Module
    heatmap_size : (int, int)
        (width, height).
    has_features : bool

    Raises
    ------
    ValueError
        ``network.factory must ...``, ``network.weights must ...``.
    SimulationError
        If the network fails.
    """

    def __init__(self, config: SimulationConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self._factory = entry_point(config.network.factory, "network.factory", config.folder)
        self.amp_dtype = amp_dtype(device) if config.training.amp else None
        self._given = self._given_weights()
        module = self._made(0, 0).to(device)
        # What convolutions are fastest with, on both kinds of device.
        self.module: nn.Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._compiled: Any = None
        width, height = config.transform.input_size
        try:
            output = self(torch.zeros(2, 3, height, width, device=device))
        except SimulationError:
            raise
        except Exception as error:  # networks are the user's code
            raise SimulationError(
                f"the pose network fails on a batch of 2 x 3 x {height} x {width}: "
                f"{network_reason(error)}"
            ) from error
        num_joints = config.skeleton.num_joints
        if output.heatmaps.shape[2] != num_joints:
            raise ValueError(
                f"network.factory must make a network with a heatmap for each of {num_joints} "
                f"joints, got {output.heatmaps.shape[2]}"
            )
        self.heatmap_size = (output.heatmaps.shape[-1], output.heatmaps.shape[-2])
        self.has_features = bool(output.features)

    def initial(self, seed: int, cycle: int) -> dict[str, Tensor]:
        """Return the weights that a training begins with: of the seed, or the given ones."""
        return {
            name: tensor.clone() for name, tensor in self._made(seed, cycle).state_dict().items()
        }

    def given_digest(self) -> str | None:
        """Return a SHA-256 of the weights to begin with, if they are given."""
        return None if self._given is None else tensors_digest(list(self._given.values()))

    def load(self, weights: StateDict) -> None:
        """Set the weights."""
        self.module.load_state_dict(weights)

    def __call__(self, inputs: Tensor) -> Output:
        """Return what the network says in eval mode, without gradients."""
        self.module.eval()
        with torch.no_grad(), self.autocast():
            return _checked(self.module(inputs))

    def train(self, inputs: Tensor) -> Output:
        """Return what the network says in training mode."""
        forward: Any = self.module
        if self.config.training.compile:
            if self._compiled is None:
                # Batches are all of one size, so nothing needs to be compiled twice.
                self._compiled = torch.compile(self.module, dynamic=False)
            forward = self._compiled
        with self.autocast():
            return _checked(forward(inputs))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which networks run."""
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.amp_dtype)

    def _made(self, seed: int, cycle: int) -> nn.Module:
        options, num_joints = self.config.network.options, self.config.skeleton.num_joints
        with torch.random.fork_rng(devices=[]):
            seed_at(seed, cycle)
            try:
                inspect.signature(self._factory).bind(num_joints, **options)
            except TypeError as error:
                raise ValueError(
                    "network.options must be arguments of network.factory, which is called with "
                    f"the number of joints and these: {error}"
                ) from error
            try:
                module = self._factory(num_joints, **options)
            except Exception as error:  # networks are the user's code
                raise ValueError(f"network.factory must make a network: {error}") from error
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"network.factory must make a torch.nn.Module, got {type(module).__name__}"
            )
        if self._given is not None:
            try:
                module.load_state_dict(self._given)
            except RuntimeError as error:
                raise ValueError(
                    f"network.weights must be those of the network: {network_reason(error)}"
                ) from error
        return module

    def _given_weights(self) -> StateDict | None:
        name = self.config.network.weights
        if name is None:
            return None
        path = self.config.path(name)
        check_file("network.weights", path)
        try:
            if path.suffix == ".safetensors":
                return load_file(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # of whatever is in the file, UnpicklingError of code
            raise ValueError(f"network.weights must be a file of weights, got '{path}'") from error
        if not isinstance(state, Mapping):
            raise ValueError(f"network.weights must hold a state dict, got '{path}'")
        return state


def _checked(output: object) -> Output:
    try:
        heatmaps, features = heatmaps_and_features(output)
    except (TypeError, ValueError) as error:
        raise SimulationError(f"the pose network: {error}") from error
    if features is None:
        features = []
    if isinstance(features, Tensor):
        features = [features]
    if isinstance(features, Mapping):
        features = list(features.values())
    if not isinstance(features, Sequence) or not all(
        isinstance(maps, Tensor) and maps.ndim == 4 for maps in features
    ):
        raise SimulationError(
            "the pose network must return features as a sequence of tensors (B, C, H, W), got "
            f"{type(features).__name__}"
        )
    return Output(heatmaps, list(features))
