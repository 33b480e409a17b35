"""Images in, scores and refined poses out: both networks and the fused pass behind one call."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vl4pose import _torch_ops  # noqa: F401  # registers what exported programs may name
from vl4pose.results import Analysis
from vl4pose.scoring import analyze
from vl4pose.skeleton import Skeleton, get_skeleton

__all__ = ["Prediction", "Scorer"]

_SAVE = "torch.jit.script({}).save('pose.pt')"
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how files of torch.save before 1.6 begin
_PICKLE_BYTES = 2**20

ItemT = TypeVar("ItemT")
Model = Callable[[Any], Any]
ProgramMover = Callable[[torch.export.ExportedProgram], torch.export.ExportedProgram]


class Prediction(NamedTuple):
    """What the networks say about a batch of images.

    Attributes
    ----------
    heatmaps : Tensor (B, J, H, W)
        Of the last stack, as the pose network returned them.
    params : Tensor (B, L, 2) or (L, 2)
        Length in heatmap pixels and log-variance of each link: those of the auxiliary network, or
        the fixed ones.
    """

    heatmaps: Tensor
    params: Tensor


class Scorer:
    """Score images with a pose network, and an auxiliary network or fixed link parameters.

    Parameters
    ----------
    pose : path, torch.nn.Module, torch.export.ExportedProgram or callable
        Takes images (B, 3, H, W); returns heatmaps, or ``(heatmaps, features)``, or a mapping with
        the key ``"heatmaps"`` and optionally ``"features"``. Heatmaps are (B, J, H', W'), or
        (B, S, J, H', W') of S stacks, of which the last is taken. Features are whatever ``aux``
        takes.
    aux : path, torch.nn.Module, torch.export.ExportedProgram or callable, optional
        Takes the features; returns link parameters (B, L, 2), or (B, 2 L) in the same order: length
        and log-variance of the first link, of the second, ..., as ``reshape(B, L, 2)`` reads them.
    skeleton : Skeleton, str or None
        A skeleton or the name of a preset; None goes by the number of joints, as in
        `vl4pose.analyze`.
    params : (L, 2) array_like, optional
        Length and log-variance of each link, the same for every image (see `vl4pose.fit_params`).
        Exactly one of ``aux`` and ``params`` is given.
    trust : bool, default False
        Must be True to load a model from a path: a TorchScript or torch.export file can run code
        on this machine when it is loaded or called.
    device : torch.device or str, optional
        Where models are loaded from paths, and where images are moved. None leaves both where they
        are; models that are given as objects are never moved.
    method, objective, subpixel, num_peaks, min_distance, threshold_abs, threshold_rel, \
exclude_border, temperature, num_threads
        As for `vl4pose.analyze`.

    Attributes
    ----------
    skeleton : Skeleton or None
    options : dict
        The options of `vl4pose.analyze`, by name.

    Raises
    ------
    TypeError
        If a model is neither a path nor callable, or an option has the wrong type.
    ValueError
        If both or neither of ``aux`` and ``params`` are given, an option is out of range, a path is
        given without ``trust``, or a file is no TorchScript or torch.export file.
    FileNotFoundError
        ``pose must be an existing file, got '...'``, likewise ``aux``.
    RuntimeError
        If ``device`` is a CUDA device and torch finds none, or torch is too old to move a
        torch.export file.

    Notes
    -----
    Modules run in eval mode and are put back afterwards, submodule by submodule, so that scoring
    never changes a network that is being trained. A callable that is no module runs as it is, and
    an exported program in the mode in which it was exported.

    No gradient is recorded, so the features reach ``aux`` detached. Heatmaps go from the network to
    `vl4pose.analyze` on their own device and in their own dtype.

    Examples
    --------
    >>> def pose(images):
    ...     return torch.nn.functional.avg_pool2d(images, 4).repeat(1, 5, 1, 1)[:, :14]
    >>> scorer = Scorer(pose, skeleton="lsp", params=[[8.0, 2.0]] * 13)
    >>> scorer(torch.rand(2, 3, 256, 256)).score.shape
    torch.Size([2])
    """

    def __init__(
        self,
        pose: str | os.PathLike[str] | torch.export.ExportedProgram | Model,
        aux: str | os.PathLike[str] | torch.export.ExportedProgram | Model | None = None,
        skeleton: Skeleton | str | None = None,
        *,
        params: npt.ArrayLike | Tensor | None = None,
        trust: bool = False,
        device: torch.device | str | None = None,
        method: str = "expected",
        objective: str = "map",
        subpixel: str | None = None,
        num_peaks: int = 5,
        min_distance: int = 5,
        threshold_abs: float | None = None,
        threshold_rel: float | None = None,
        exclude_border: int | bool = 0,
        temperature: float = 1.0,
        num_threads: int | None = None,
    ) -> None:
        if (aux is None) == (params is None):
            raise ValueError(
                "aux or params must be given, one of them, got "
                + ("neither" if aux is None else "both")
            )
        self.options: dict[str, Any] = {
            "method": method,
            "objective": objective,
            "subpixel": subpixel,
            "num_peaks": num_peaks,
            "min_distance": min_distance,
            "threshold_abs": threshold_abs,
            "threshold_rel": threshold_rel,
            "exclude_border": exclude_border,
            "temperature": temperature,
            "num_threads": num_threads,
        }
        self.skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
        self._params = None if params is None else _fixed_params(params)
        self._check_params()
        self._check_options()
        self._device = None if device is None else _usable_device(device)
        self._pose = load_model("pose", pose, trust, self._device)
        self._aux = None if aux is None else load_model("aux", aux, trust, self._device)

    def __call__(self, images: Tensor) -> Analysis[Tensor]:
        """Score a batch of images.

        Parameters
        ----------
        images : Tensor (B, 3, H, W)
            In the dtype and on the device that the pose network takes (but see ``device``). B = 0
            works if the networks take it.

        Returns
        -------
        vl4pose.Analysis
            Of B rows, in the order of the images, in heatmap pixels.

        Raises
        ------
        TypeError, ValueError
            If the images are no (B, 3, H, W) tensor, or a network breaks its contract:
            ``pose must return ...`` and ``aux must return ...`` say how.
        """
        return self.analyze(*self.predict(images))

    def stream(self, loader: Iterable[ItemT]) -> Iterator[tuple[ItemT, Analysis[Tensor]]]:
        """Score batches one after another.

        Parameters
        ----------
        loader : iterable
            Of batches: a tensor of images, a tuple or list that starts with one, or a mapping with
            the key ``"images"``.

        Yields
        ------
        item, analysis
            The loader's own item, so that ids and paths in it travel along, and the Analysis of
            its images: one row for each, no batch left out.

        Raises
        ------
        TypeError, ValueError
            As the call, and ``loader must yield ...`` for an item without images.

        Notes
        -----
        A batch is taken from the loader only when its result is asked for, and neither is kept.
        """
        if not isinstance(loader, Iterable):
            raise TypeError(f"loader must be an iterable of batches, got {type(loader).__name__}")
        # map, unlike a generator's frame, holds on to neither batch nor result between two steps.
        return map(self._score_item, loader)

    def predict(self, images: Tensor) -> Prediction:
        """Run the networks only: the first half of the call.

        Parameters
        ----------
        images : Tensor (B, 3, H, W)
            As for the call.

        Raises
        ------
        TypeError, ValueError
            As the call.
        """
        return self.predict_with_features(images)[0]

    def predict_with_features(self, images: Tensor) -> tuple[Prediction, Any]:
        """Run the networks, and keep the features of the pose network as well.

        Parameters
        ----------
        images : Tensor (B, 3, H, W)
            As for the call.

        Returns
        -------
        prediction : Prediction
            As of `predict`.
        features
            What the pose network returned beside the heatmaps, or None where it returns heatmaps
            alone: what `vl4pose.nn.pool_features` makes embeddings of.

        Raises
        ------
        TypeError, ValueError
            As the call.
        """
        if not isinstance(images, Tensor):
            raise TypeError(f"images must be a torch.Tensor, got {type(images).__name__}")
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
        if self._device is not None:
            images = images.to(self._device)
        # no_grad, not inference_mode: what a module caches meanwhile must stay usable in training.
        with torch.no_grad(), in_eval_mode(self._pose, self._aux):
            heatmaps, features = split_output(self._pose(images))
            heatmaps = self._checked_heatmaps(heatmaps, len(images))
            if self._aux is None:
                return Prediction(heatmaps, self._fixed_params_on(heatmaps.device)), features
            if features is None:
                raise ValueError(
                    "pose must return (heatmaps, features) when aux is given, got heatmaps alone"
                )
            params = _checked_aux_output(self._aux(features), heatmaps)
            return Prediction(heatmaps, params), features

    def analyze(self, heatmaps: Tensor, params: Tensor) -> Analysis[Tensor]:
        """Run the fused pass only, with this scorer's skeleton and options: the second half.

        Parameters
        ----------
        heatmaps, params : Tensor
            What `predict` returned.
        """
        return analyze(heatmaps, params, skeleton=self.skeleton, **self.options)

    def _score_item(self, item: ItemT) -> tuple[ItemT, Analysis[Tensor]]:
        return item, self(images_of(item))

    def __repr__(self) -> str:
        skeleton = self.skeleton.name if isinstance(self.skeleton, Skeleton) else self.skeleton
        links = "fixed params" if self._aux is None else "aux"
        return f"<Scorer: skeleton {skeleton!r}, {links}, method {self.options['method']!r}>"

    def _check_params(self) -> None:
        if self._params is None or not isinstance(self.skeleton, Skeleton):
            return
        if len(self._params) != self.skeleton.num_links:
            raise ValueError(
                f"params must be (L, 2) = ({self.skeleton.num_links}, 2) for skeleton "
                f"{self.skeleton.name!r}, got {tuple(self._params.shape)}"
            )

    def _check_options(self) -> None:
        """Let `analyze` itself find what is wrong, on one tiny image, before any file is read."""
        if isinstance(self.skeleton, Skeleton):
            num_joints = self.skeleton.num_joints
        else:
            num_joints = 14 if self._params is None else len(self._params) + 1
        params = np.zeros((num_joints - 1, 2)) if self._params is None else self._params.numpy()
        heatmaps = np.zeros((1, num_joints, 2, 2), np.float32)
        analyze(heatmaps, params, skeleton=self.skeleton, **self.options)

    def _fixed_params_on(self, device: torch.device) -> Tensor:
        assert self._params is not None
        self._params = self._params.to(device)
        return self._params

    def _checked_heatmaps(self, heatmaps: object, batch_size: int) -> Tensor:
        if not isinstance(heatmaps, Tensor):
            raise TypeError(
                f"pose must return heatmaps as a torch.Tensor, got {type(heatmaps).__name__}"
            )
        shape = tuple(heatmaps.shape)
        if heatmaps.ndim not in (4, 5):
            raise ValueError(
                f"pose must return heatmaps (B, J, H, W) or (B, S, J, H, W), got {shape}"
            )
        if shape[0] != batch_size:
            raise ValueError(
                f"pose must return one row of heatmaps per image ({batch_size}), got {shape}"
            )
        if heatmaps.ndim == 5:
            if shape[1] == 0:
                raise ValueError(f"pose must return at least one stack, got {shape}")
            heatmaps = heatmaps[:, -1]
        if self.skeleton is not None and heatmaps.shape[1] != self.skeleton.num_joints:
            raise ValueError(
                f"pose must return one heatmap per joint of skeleton {self.skeleton.name!r} "
                f"({self.skeleton.num_joints}), got {heatmaps.shape[1]}"
            )
        return heatmaps.detach()


def _usable_device(device: torch.device | str) -> torch.device:
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        why = (
            "this torch is a build for CPUs"
            if torch.version.cuda is None
            else "torch finds no usable CUDA device"
        )
        raise RuntimeError(f"device must be usable here, got {str(chosen)!r}: {why}")
    return chosen


def _fixed_params(params: npt.ArrayLike | Tensor) -> Tensor:
    # A copy, and float64 whatever it was: analyze rounds it to the dtype of the results.
    if isinstance(params, Tensor):
        fixed = params.detach().to("cpu", torch.float64, copy=True)
    else:
        try:
            fixed = torch.from_numpy(np.array(params, np.float64))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"params must be (L, 2) numbers, got {type(params).__name__}: {error}"
            ) from None
    if fixed.ndim != 2 or fixed.shape[1] != 2:
        raise ValueError(f"params must be (L, 2), got shape {tuple(fixed.shape)}")
    return fixed


def split_output(output: object) -> tuple[object, object]:
    """Return heatmaps and features (None where there are none) from what a pose network gave."""
    if isinstance(output, Tensor):
        return output, None
    if isinstance(output, Mapping):
        if "heatmaps" not in output:
            keys = ", ".join(sorted(map(str, output)))
            raise ValueError(f"pose must return a mapping with the key 'heatmaps', got {keys}")
        return output["heatmaps"], output.get("features")
    if isinstance(output, tuple):
        if len(output) != 2:
            raise ValueError(f"pose must return (heatmaps, features), got {len(output)} items")
        return output[0], output[1]
    hint = (
        ": join the heatmaps of stacks by torch.stack(..., 1)" if isinstance(output, list) else ""
    )
    raise TypeError(
        "pose must return heatmaps, a tuple (heatmaps, features) or a mapping of both, "
        f"got {type(output).__name__}{hint}"
    )


def _checked_aux_output(params: object, heatmaps: Tensor) -> Tensor:
    if not isinstance(params, Tensor):
        raise TypeError(f"aux must return a torch.Tensor, got {type(params).__name__}")
    batch_size, num_links = heatmaps.shape[0], heatmaps.shape[1] - 1
    shape = tuple(params.shape)
    if shape not in ((batch_size, num_links, 2), (batch_size, 2 * num_links)):
        raise ValueError(
            f"aux must return (B, L, 2) or (B, 2 L) with B = {batch_size} and L = {num_links}, "
            f"got {shape}"
        )
    return params.detach().reshape(batch_size, num_links, 2)


def images_of(item: object) -> Tensor:
    images = item
    if isinstance(item, Mapping):
        images = item.get("images")
    elif isinstance(item, Sequence) and not isinstance(item, str) and item:
        images = item[0]
    if not isinstance(images, Tensor):
        raise TypeError(
            "loader must yield tensors, sequences that start with one or mappings with 'images', "
            f"got {type(item).__name__}"
        )
    return images


@contextmanager
def in_eval_mode(*models: Model | None) -> Iterator[None]:
    # The flags themselves, not eval(): exported programs refuse that, and train() would set
    # submodules that their owner keeps in eval mode.
    training = [
        module
        for model in models
        if isinstance(model, nn.Module)
        for module in model.modules()
        if getattr(module, "training", False)  # a frozen TorchScript module has no mode
    ]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def load_model(
    name: str,
    model: str | os.PathLike[str] | torch.export.ExportedProgram | Model,
    trust: bool,
    device: torch.device | None,
) -> Model:
    if isinstance(model, str | os.PathLike):
        return _load(name, Path(model), trust, device)
    if isinstance(model, torch.export.ExportedProgram):
        return model.module()
    if not callable(model):
        raise TypeError(
            f"{name} must be a path, a module, an exported program or a callable, "
            f"got {type(model).__name__}"
        )
    return model


def _load(name: str, path: Path, trust: bool, device: torch.device | None) -> Model:
    if not path.is_file():
        raise FileNotFoundError(f"{name} must be an existing file, got {str(path)!r}")
    if trust is not True:
        raise ValueError(
            f"trust must be True to load {name} from {str(path)!r}: a TorchScript or torch.export "
            f"file can run code on this machine, so load only files from people you trust, "
            f"got {trust!r}"
        )
    kind = _kind_of_file(path)
    if kind is None:
        raise ValueError(
            f"{name} must be a TorchScript or torch.export file, got {str(path)!r}"
            f"{_what_else(path)}"
        )
    move = None if kind == "script" or device is None else _device_mover(device)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`?torch\.jit", DeprecationWarning)
            return _load_script(path, device) if kind == "script" else _load_export(path, move)
    except Exception as error:  # each loader raises what its parsers raise
        raise ValueError(
            f"{name} must be an intact TorchScript or torch.export file, got {str(path)!r}: {error}"
        ) from error


def _kind_of_file(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.rpartition("/")[2] for member in archive.namelist()}
    except zipfile.BadZipFile:
        return None
    if "constants.pkl" in members:
        return "script"
    if members & {"archive_format", "serialized_exported_program.json"}:
        return "export"
    return None


def _what_else(path: Path) -> str:
    """Return what ``torch.save`` or ``vl4pose fit`` wrote, and how that becomes a program."""
    if path.suffix == ".safetensors":
        programs = [path.with_suffix(ending) for ending in (".pt", ".pt2")]
        beside = next((f": take {str(p)!r} beside it" for p in programs if p.is_file()), "")
        return f", which holds weights without a program{beside}"
    try:
        with zipfile.ZipFile(path) as archive:
            member = next(m for m in archive.namelist() if m.rpartition("/")[2] == "data.pkl")
            pickled = archive.read(member)
    except (zipfile.BadZipFile, StopIteration):
        pickled = path.read_bytes()[:_PICKLE_BYTES]
        if _LEGACY_MAGIC not in pickled:
            return ""
    # Of a module, the modes of its parts are saved too.
    if b"_modules" in pickled and b"training" in pickled:
        return (
            ", a pickled module: build it in Python, load it with torch.load and save the program "
            f"with {_SAVE.format('module')}"
        )
    released = b"hgs." in pickled and b"merge_preds." in pickled
    network = f"vl4pose.nn.StackedHourglass.from_released({str(path)!r})" if released else "module"
    load = "" if released else "load them into their module and "
    return f", which holds weights without a program: {load}save one with {_SAVE.format(network)}"


def _load_script(path: Path, device: torch.device | None) -> Model:
    model: Model = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    return model


def _load_export(path: Path, move: ProgramMover | None) -> Model:
    program = torch.export.load(path)
    return (program if move is None else move(program)).module()


def _device_mover(device: torch.device) -> ProgramMover:
    try:
        from torch.export.passes import move_to_device_pass
    except ImportError as error:  # it is newer than torch.export itself
        raise RuntimeError(
            "device must be None for a torch.export file unless torch has torch.export.passes, got "
            f"{str(device)!r} and torch {torch.__version__}: update torch, or save TorchScript"
        ) from error
    return lambda program: move_to_device_pass(program, device)
