"""Files of networks: weights, what they are the weights of, and no code."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vl4pose._atomic_file import write_atomically
from vl4pose.link_params import without_repeats
from vl4pose.nn.auxiliary_net import AuxiliaryNet
from vl4pose.nn.deep_prior import DeepPrior
from vl4pose.nn.hourglass import StackedHourglass
from vl4pose.skeleton import nearest

__all__ = ["load", "load_metadata", "save"]

_CLASSES: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (AuxiliaryNet, DeepPrior, StackedHourglass)
}
_KEY = "vl4pose"
_FORMAT = 1
_DTYPES = {"F16", "BF16", "F32", "F64"}
_AMONG_WEIGHTS = {"params", "offset_params"}


def save(
    network: nn.Module,
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a network to a safetensors file that `load` builds it from.

    Parameters
    ----------
    network : AuxiliaryNet, DeepPrior or StackedHourglass
        On any device.
    path : path
        The file; an existing one is replaced once the new one is complete.
    metadata : mapping, optional
        What else is to be known of the network, such as its skeleton: anything that JSON can hold,
        under names. `load_metadata` returns it.

    Raises
    ------
    ImportError
        ``vl4pose.nn.save needs safetensors: pip install 'vl4pose[torch]'``.
    TypeError
        ``network must be one of ...``, ``metadata must be a mapping that JSON can
        hold``.

    Notes
    -----
    The header of a safetensors file has room for text: there, under "vl4pose", is the JSON object
    ``{"format": 1, "class": ..., "arguments": {...}, "metadata": {...}}``. With a file of its own
    beside the weights, the two could be parted or mixed up.
    """
    kind = type(network).__name__
    if _CLASSES.get(kind) is not type(network):
        inner = next((name for name in ("module", "_orig_mod") if hasattr(network, name)), None)
        hint = f": pass its .{inner}" if inner else ""
        raise TypeError(f"network must be {nearest('', _CLASSES)}, got {kind}{hint}")
    with _safetensors("save"):
        from safetensors.torch import save as serialize
    if metadata is not None and not isinstance(metadata, Mapping):
        raise TypeError(
            f"metadata must be a mapping that JSON can hold, got {type(metadata).__name__}"
        )
    description = {
        "format": _FORMAT,
        "class": kind,
        "arguments": network.arguments,
        "metadata": dict(metadata or {}),
    }
    try:
        text = json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must be a mapping that JSON can hold, got {error}") from None
    weights = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    write_atomically(Path(path), serialize(weights, {_KEY: text}))


def load(path: str | os.PathLike[str]) -> nn.Module:
    """Build the network that `save` wrote, in eval mode, on the CPU.

    Parameters
    ----------
    path : path

    Returns
    -------
    network : AuxiliaryNet, DeepPrior or StackedHourglass
        With the weights as they are in the file, also in their dtype.

    Raises
    ------
    ImportError
        ``vl4pose.nn.load needs safetensors: pip install 'vl4pose[torch]'``.
    FileNotFoundError
        ``path must be an existing file, got '...'``.
    ValueError
        ``<path> must be ...``, with what is wrong: no safetensors file, or one that is damaged;
        another class than the three; an argument that its class refuses; weights that are missing,
        unexpected, or of another shape or dtype.

    Notes
    -----
    No code comes from the file: the class is looked up by name among three, its constructor checks
    the arguments, and no memory is taken before the shapes of the weights agree with them.
    """
    with _safetensors("load"):
        from safetensors import safe_open
    path = _existing(path)
    with _naming(path):
        description = _description(path)
        network = _built(description)
        with safe_open(path, "pt") as file:
            _check_weights(file, network.state_dict())
            # A copy, as what the file holds may change while it is mapped into memory.
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        network.load_state_dict(weights, assign=True)
    return network.eval()


def load_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save` was given as metadata.

    Parameters
    ----------
    path : path

    Raises
    ------
    ImportError, FileNotFoundError, ValueError
        As `load`.
    """
    with _safetensors("load_metadata"):
        import safetensors  # noqa: F401
    path = _existing(path)
    with _naming(path):
        metadata: dict[str, Any] = _description(path)["metadata"]
        return metadata


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file, got {str(path)!r}")
    return path


@contextmanager
def _safetensors(function: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"vl4pose.nn.{function} needs safetensors: pip install 'vl4pose[torch]'"
        ) from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file into one sentence that names it."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{path} must be an intact safetensors file: {error}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} must be a network that vl4pose.nn.save wrote: {error}") from error


def _description(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file's header."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise ValueError(f"the header's metadata must have the key {_KEY!r}")
    data = json.loads(text, object_pairs_hook=without_repeats, parse_constant=_refuse)
    if not isinstance(data, dict):
        raise TypeError(f"{_KEY!r} must be an object, got {type(data).__name__}")
    kinds = {"format": int, "class": str, "arguments": dict, "metadata": dict}
    for key, kind in kinds.items():
        if type(data.get(key)) is not kind:  # not isinstance: True is no number of a format
            raise TypeError(f"{key!r} must be of type {kind.__name__}, got {data.get(key)!r}")
    if data["format"] != _FORMAT:
        raise ValueError(f"'format' must be {_FORMAT}, got {data['format']}")
    return data


def _refuse(constant: str) -> None:
    raise ValueError(f"numbers must be finite, got {constant}")


def _built(description: Mapping[str, Any]) -> nn.Module:
    """Return the network that is described, without memory for its weights."""
    kind = _CLASSES.get(description["class"])
    if kind is None:
        raise ValueError(
            f"'class' must be {nearest(description['class'], _CLASSES)}, "
            f"got {description['class']!r}"
        )
    arguments = description["arguments"]
    known = [name for name in inspect.signature(kind).parameters if name not in _AMONG_WEIGHTS]
    for name in arguments:
        if name not in known:
            raise ValueError(f"argument must be {nearest(name, known)}, got {name!r}")
    with torch.device("meta"):
        return kind(**arguments)


def _check_weights(file: Any, expected: Mapping[str, Tensor]) -> None:
    names = set(file.keys())
    for problem, some in (("missing", expected.keys() - names), ("unknown", names - set(expected))):
        if some:
            raise ValueError(f"weights must be those of the network, got {min(some)!r} {problem}")
    for name, tensor in expected.items():
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), part.get_dtype()
        if shape != tuple(tensor.shape):
            raise ValueError(f"{name!r} must be of shape {tuple(tensor.shape)}, got {shape}")
        dtypes = _DTYPES if tensor.is_floating_point() else {"I64"}
        if dtype not in dtypes:
            raise ValueError(f"{name!r} must be {nearest('', sorted(dtypes))}, got {dtype}")
