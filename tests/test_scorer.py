"""Scorer: model forms, contracts, streaming, and what it must leave alone."""

from __future__ import annotations

import gc
import inspect
import re
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vl4pose
from vl4pose import Scorer, scorer

JOINTS, LINKS = 14, 13
PARAMS = np.stack([np.linspace(2, 8, LINKS), np.linspace(0, 3, LINKS)], axis=1)


class Pose(nn.Module):
    """A pose network in small: stacks, features, and layers that differ in training."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2 * 14, 4, stride=4)
        self.norm = nn.BatchNorm2d(2 * 14)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x = self.dropout(self.norm(self.convolution(images)))
        return x.unflatten(1, (2, 14)), (x, x[:, :, ::2, ::2])


class Aux(nn.Module):
    """Flat parameters, (B, 2 L)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * 2 * 14, 2 * 13)

    def forward(self, features: tuple[Tensor, Tensor]) -> Tensor:
        return self.linear(torch.cat([f.mean((2, 3)) for f in features], dim=1))


@pytest.fixture
def pose() -> Pose:
    torch.manual_seed(0)
    return Pose().eval()


@pytest.fixture
def aux() -> Aux:
    torch.manual_seed(1)
    return Aux().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def flatten(result: Any) -> list[Tensor]:
    return [t for part in result for t in flatten(part)] if isinstance(result, tuple) else [result]


def assert_same(result: Any, expected: Any) -> None:
    for got, want in zip(flatten(result), flatten(expected), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)


def by_hand(pose: nn.Module, aux: nn.Module, images: Tensor, **options: Any) -> vl4pose.Analysis:
    with torch.no_grad():
        heatmaps, features = pose(images)
        params = aux(features).reshape(-1, LINKS, 2)
    return vl4pose.analyze(heatmaps[:, -1].contiguous(), params, skeleton="lsp", **options)


def as_module(model: nn.Module, example: Any, folder: Path) -> Any:
    return model


def as_callable(model: nn.Module, example: Any, folder: Path) -> Any:
    return lambda x: model(x)


def as_script(model: nn.Module, example: Any, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        return torch.jit.script(model)


def as_script_file(model: nn.Module, example: Any, folder: Path) -> Any:
    path = folder / f"{type(model).__name__}.pt"
    as_script(model, example, folder).save(str(path))
    return path


def as_program(model: nn.Module, example: Any, folder: Path) -> Any:
    batch = {0: torch.export.Dim("batch")}
    shapes = (batch,) if isinstance(example, Tensor) else ((batch,) * len(example),)
    return torch.export.export(model, (example,), dynamic_shapes=shapes)


def as_program_file(model: nn.Module, example: Any, folder: Path) -> Any:
    path = folder / f"{type(model).__name__}.pt2"
    torch.export.save(as_program(model, example, folder), path)
    return str(path)


FORMS = (as_module, as_callable, as_script, as_script_file, as_program, as_program_file)


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_models(
    pose: Pose, aux: Aux, images: Tensor, form: Callable[..., Any], tmp_path: Path
) -> None:
    with torch.no_grad():
        features = pose(images)[1]
    trust = form in (as_script_file, as_program_file)
    score = Scorer(
        form(pose, images, tmp_path), form(aux, features, tmp_path), "lsp", trust=trust, num_peaks=3
    )
    assert_same(score(images), by_hand(pose, aux, images, num_peaks=3))


def test_forms_of_pose_output(pose: Pose, images: Tensor) -> None:
    with torch.no_grad():
        stacks = pose(images)[0]
    expected = vl4pose.analyze(stacks[:, -1], torch.from_numpy(PARAMS))
    for output in (
        stacks,
        stacks[:, -1],
        (stacks, None),
        (stacks[:, -1], "features"),
        {"heatmaps": stacks},
        {"heatmaps": stacks[:, -1], "features": 1, "more": 2},
    ):
        assert_same(Scorer(lambda _, out=output: out, params=PARAMS)(images), expected)


def test_forms_of_aux_output(pose: Pose, images: Tensor) -> None:
    rows = torch.rand(3, LINKS, 2)
    expected = Scorer(pose, lambda features: rows)(images)
    assert_same(Scorer(pose, lambda features: rows.flatten(1))(images), expected)
    # The flat layout: length and log-variance of a link side by side.
    flat = torch.stack([rows[..., 0], rows[..., 1]], dim=2).flatten(1)
    assert_same(Scorer(pose, lambda features: flat)(images), expected)


@pytest.mark.parametrize(
    "params", [PARAMS, PARAMS.tolist(), torch.from_numpy(PARAMS), PARAMS.astype(np.float32)]
)
def test_fixed_params(pose: Pose, images: Tensor, params: Any) -> None:
    with torch.no_grad():
        heatmaps = pose(images)[0][:, -1]
    expected = vl4pose.analyze(heatmaps, torch.as_tensor(params), skeleton="lsp")
    assert_same(Scorer(pose, skeleton="lsp", params=params)(images), expected)


def test_fixed_params_are_copied(pose: Pose, images: Tensor) -> None:
    for params in (PARAMS.copy(), torch.from_numpy(PARAMS.copy())):
        score = Scorer(pose, params=params)
        before = score(images)
        params[:] = 0
        assert_same(score(images), before)


def test_halves_make_the_call(pose: Pose, aux: Aux, images: Tensor) -> None:
    score = Scorer(pose, aux, vl4pose.get_skeleton("lsp"), method="max")
    heatmaps, params = score.predict(images)
    assert heatmaps.shape == (3, JOINTS, 16, 16)
    assert params.shape == (3, LINKS, 2)
    assert not heatmaps.requires_grad
    assert not params.requires_grad
    assert_same(score.analyze(heatmaps, params), score(images))


def test_options_are_those_of_analyze() -> None:
    def options(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}

    ours, theirs = options(Scorer), options(vl4pose.analyze)
    del theirs["skeleton"]
    assert {name: p.default for name, p in ours.items() if name in theirs} == {
        name: p.default for name, p in theirs.items()
    }
    assert set(ours) - set(theirs) == {"params", "trust", "device"}


def test_options_reach_analyze(pose: Pose, aux: Aux, images: Tensor) -> None:
    options = {
        "method": "marginal",
        "objective": "eq6",
        "subpixel": "quarter",
        "num_peaks": 4,
        "min_distance": 2,
        "threshold_abs": 0.1,
        "threshold_rel": 0.2,
        "exclude_border": 1,
        "temperature": 0.3,
        "num_threads": 1,
    }
    score = Scorer(pose, aux, "lsp", **options)
    assert_same(score(images), by_hand(pose, aux, images, **options))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_heatmaps_go_straight_through(
    images: Tensor, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = torch.rand(3, 2, JOINTS, 16, 16).to(dtype)
    seen: list[Tensor] = []

    def analyze(heatmaps: Tensor, params: Tensor, **options: Any) -> Any:
        seen.append(heatmaps)
        return vl4pose.analyze(heatmaps, params, **options)

    score = Scorer(lambda images: stacks, params=PARAMS)
    monkeypatch.setattr(scorer, "analyze", analyze)
    result = score(images)
    assert seen[0].data_ptr() == stacks[:, -1].data_ptr()
    assert seen[0].dtype == dtype
    assert result.score.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_no_gradient_anywhere(pose: Pose, aux: Aux, images: Tensor) -> None:
    seen: list[Tensor] = []

    def watching(features: tuple[Tensor, Tensor]) -> Tensor:
        seen.extend(features)
        return aux(features)

    result = Scorer(pose, watching)(images.requires_grad_())
    assert not any(f.requires_grad for f in seen)
    assert not any(t.requires_grad for t in flatten(result))
    assert not any(t.is_inference() for t in flatten(result))
    assert torch.is_grad_enabled()


def test_networks_that_insist_on_gradients(images: Tensor) -> None:
    weight = torch.ones(1, requires_grad=True)

    @torch.enable_grad()
    def pose(images: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.rand(len(images), JOINTS, 8, 8) * weight
        return maps, maps

    def aux(features: Tensor) -> Tensor:
        return features.flatten(1)[:, : 2 * LINKS]

    for score in (Scorer(pose, aux), Scorer(pose, torch.enable_grad()(aux))):
        heatmaps, params = score.predict(images)
        assert not heatmaps.requires_grad
        assert not params.requires_grad
        assert not score(images).score.requires_grad


@pytest.mark.parametrize("form", [as_module, as_script])
def test_modes_of_modules_are_put_back(
    pose: Pose, aux: Aux, images: Tensor, form: Callable[..., Any], tmp_path: Path
) -> None:
    expected = by_hand(pose, aux, images)
    network = form(pose, images, tmp_path)
    network.train()
    network.norm.eval()  # as people do who keep the statistics of a pretrained network
    statistics = network.norm.running_mean.clone()
    score = Scorer(network, aux.train(), "lsp")
    assert_same(score(images), expected)
    assert network.training
    assert network.dropout.training
    assert not network.norm.training
    assert aux.training
    assert torch.equal(network.norm.running_mean, statistics)


def test_modes_are_put_back_after_an_error(pose: Pose, images: Tensor) -> None:
    with pytest.raises(ValueError, match="pose must return one row"):
        Scorer(nn.Sequential(pose.train(), Keep(0), Keep(0)), params=PARAMS)(images)
    assert pose.training
    with pytest.raises(RuntimeError):
        Scorer(pose, params=PARAMS)(images.double())
    assert pose.training


class Keep(nn.Module):
    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, parts: Any) -> Any:
        return parts[self.index]


def test_frozen_script_has_no_mode(pose: Pose, images: Tensor, tmp_path: Path) -> None:
    expected = Scorer(pose, params=PARAMS)(images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        torch.jit.freeze(torch.jit.script(pose)).save(str(tmp_path / "frozen.pt"))
    result = Scorer(tmp_path / "frozen.pt", params=PARAMS, trust=True)(images)
    torch.testing.assert_close(result.score, expected.score)


def test_device_moves_images_and_loaded_models(pose: Pose, images: Tensor, tmp_path: Path) -> None:
    seen: list[torch.device] = []

    def watching(images: Tensor) -> Tensor:
        seen.append(images.device)
        return torch.rand(len(images), JOINTS, 8, 8)

    Scorer(watching, params=PARAMS, device="meta")(images)
    assert seen == [torch.device("meta")]
    for form in (as_script_file, as_program_file):
        path = form(pose, images, tmp_path)
        score = Scorer(path, params=PARAMS, trust=True, device="cpu")
        assert_same(score(images), Scorer(pose, params=PARAMS)(images))


def test_empty_batch(pose: Pose, aux: Aux) -> None:
    result = Scorer(pose, aux)(torch.zeros(0, 3, 64, 64))
    assert result.score.shape == (0,)
    assert result.per_link.shape == (0, LINKS)


# Streaming


@pytest.mark.parametrize(
    "wrap",
    [
        lambda images, ids: images,
        lambda images, ids: (images, ids),
        lambda images, ids: [images, ids, "more"],
        lambda images, ids: {"ids": ids, "images": images},
    ],
)
def test_stream_drops_no_row(pose: Pose, aux: Aux, wrap: Callable[..., Any]) -> None:
    images = torch.rand(11, 3, 64, 64)
    sizes = [4, 1, 0, 4, 2]
    starts = np.cumsum([0, *sizes[:-1]])
    items = [
        wrap(images[start : start + size], list(range(start, start + size)))
        for start, size in zip(starts, sizes, strict=True)
    ]
    score = Scorer(pose, aux)
    pairs = list(score.stream(iter(items)))
    assert all(item is given for (item, _), given in zip(pairs, items, strict=True))
    assert [len(result.score) for _, result in pairs] == sizes
    scores = torch.cat([result.score for _, result in pairs])
    torch.testing.assert_close(scores, score(images).score)


def test_stream_of_a_data_loader(pose: Pose) -> None:
    images = torch.rand(10, 3, 64, 64)
    dataset = torch.utils.data.TensorDataset(images, torch.arange(10))
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    ids = [i for (_, ids), _ in Scorer(pose, params=PARAMS).stream(loader) for i in ids.tolist()]
    assert ids == list(range(10))


def test_stream_is_lazy_and_keeps_nothing(pose: Pose) -> None:
    taken: list[weakref.ref[Tensor]] = []

    def batches() -> Iterator[Tensor]:
        for _ in range(6):
            batch = torch.rand(2, 3, 64, 64)
            taken.append(weakref.ref(batch))
            yield batch
            del batch

    results: list[weakref.ref[Tensor]] = []
    stream = Scorer(pose, params=PARAMS).stream(batches())
    assert taken == []
    for count in range(1, 7):
        item, result = next(stream)
        assert len(taken) == count
        results.append(weakref.ref(result.score))
        assert taken[-1]() is item
        del item, result
        gc.collect()
        # The generator above still holds the last batch; nothing else holds any.
        assert sum(ref() is not None for ref in taken) <= 1
        assert sum(ref() is not None for ref in results) == 0
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize(
    ("loader", "error", "message"),
    [
        (3, TypeError, "loader must be an iterable of batches, got int"),
        (["im1.jpg"], TypeError, "loader must yield tensors, sequences that start with one or"),
        ([()], TypeError, "loader must yield tensors"),
        ([{"image": torch.zeros(1, 3, 64, 64)}], TypeError, "loader must yield tensors"),
        ([np.zeros((1, 3, 64, 64))], TypeError, "loader must yield tensors"),
        (torch.zeros(2, 3, 64, 64), ValueError, "images must be (B, 3, H, W), got (3, 64, 64)"),
    ],
)
def test_loaders_that_are_none(
    pose: Pose, loader: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        list(Scorer(pose, params=PARAMS).stream(loader))


# Errors


def identity(images: Tensor) -> Tensor:
    return images


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "aux or params must be given, one of them, got neither"),
        (
            {"aux": identity, "params": PARAMS},
            ValueError,
            "aux or params must be given, one of them, got both",
        ),
        (
            {"pose": 3, "params": PARAMS},
            TypeError,
            "pose must be a path, a module, an exported program or a callable, got int",
        ),
        ({"aux": 3}, TypeError, "aux must be a path, a module, an exported program or a callable"),
        ({"params": np.zeros(13)}, ValueError, "params must be (L, 2), got shape (13,)"),
        ({"params": np.zeros((13, 3))}, ValueError, "params must be (L, 2), got shape (13, 3)"),
        ({"params": np.zeros((12, 2))}, ValueError, "skeleton must be given for 13 joints"),
        ({"params": "bones.json"}, TypeError, "params must be (L, 2) numbers, got str: "),
        ({"params": [[1, 2], [3]]}, TypeError, "params must be (L, 2) numbers, got list: "),
        (
            {"params": PARAMS, "skeleton": "mpii"},
            ValueError,
            "params must be (L, 2) = (15, 2) for skeleton 'mpii', got (13, 2)",
        ),
        ({"aux": identity, "skeleton": "lps"}, ValueError, "skeleton must be one of"),
        ({"aux": identity, "skeleton": 3}, TypeError, "skeleton must be a Skeleton"),
        ({"aux": identity, "method": "expect"}, ValueError, "method must be one of expected"),
        ({"aux": identity, "objective": "eq5"}, ValueError, "objective must be one of"),
        ({"aux": identity, "subpixel": "half"}, ValueError, "subpixel must be one of"),
        ({"aux": identity, "num_peaks": 0}, ValueError, "num_peaks must be between 1 and 4096"),
        ({"aux": identity, "min_distance": 0}, ValueError, "min_distance must be at least 1"),
        ({"aux": identity, "threshold_abs": "1"}, TypeError, "threshold_abs must be"),
        ({"aux": identity, "threshold_rel": "1"}, TypeError, "threshold_rel must be"),
        ({"aux": identity, "exclude_border": -1}, ValueError, "exclude_border must be at least 0"),
        ({"aux": identity, "temperature": 0}, ValueError, "temperature must be between"),
        ({"aux": identity, "num_threads": 0}, ValueError, "num_threads must be at least 1"),
    ],
)
def test_wrong_arguments_are_found_at_once(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Scorer(**{"pose": identity} | arguments)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 3, 8, 8)), TypeError, "images must be a torch.Tensor, got ndarray"),
        (torch.zeros(3, 8, 8), ValueError, "images must be (B, 3, H, W), got (3, 8, 8)"),
        (torch.zeros(1, 8, 8, 3), ValueError, "images must be (B, 3, H, W), got (1, 8, 8, 3)"),
    ],
)
def test_wrong_images(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Scorer(identity, params=PARAMS)(images)


RETURNS = "pose must return heatmaps, a tuple (heatmaps, features) or a mapping of both"


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (
            np.zeros((3, 14, 8, 8)),
            TypeError,
            RETURNS + ", got ndarray",
        ),
        (None, TypeError, RETURNS + ", got NoneType"),
        (
            [torch.zeros(3, 14, 8, 8)] * 2,
            TypeError,
            RETURNS + ", got list: join the heatmaps of stacks by torch.stack(..., 1)",
        ),
        ((1, 2, 3), ValueError, "pose must return (heatmaps, features), got 3 items"),
        (
            (np.zeros((3, 14, 8, 8)), 1),
            TypeError,
            "pose must return heatmaps as a torch.Tensor, got ndarray",
        ),
        (
            {"heatmap": 1, "features": 2},
            ValueError,
            "pose must return a mapping with the key 'heatmaps', got features, heatmap",
        ),
        (
            torch.zeros(14, 8, 8),
            ValueError,
            "pose must return heatmaps (B, J, H, W) or (B, S, J, H, W), got (14, 8, 8)",
        ),
        (
            torch.zeros(2, 14, 8, 8),
            ValueError,
            "pose must return one row of heatmaps per image (3), got (2, 14, 8, 8)",
        ),
        (
            torch.zeros(3, 0, 14, 8, 8),
            ValueError,
            "pose must return at least one stack, got (3, 0, 14, 8, 8)",
        ),
        (
            torch.zeros(3, 16, 8, 8),
            ValueError,
            "pose must return one heatmap per joint of skeleton 'lsp' (14), got 16",
        ),
        (torch.zeros(3, 14, 8, 8, dtype=torch.int64), TypeError, "heatmaps must be float"),
        (torch.zeros(3, 14, 0, 8), ValueError, "heatmaps must"),
    ],
)
def test_broken_contract_of_pose(output: Any, error: type[Exception], message: str) -> None:
    score = Scorer(lambda images: output, params=PARAMS, skeleton="lsp")
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        score(torch.zeros(3, 3, 8, 8))


RULE = "aux must return (B, L, 2) or (B, 2 L) with B = 3 and L = 13, got "


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (None, TypeError, "aux must return a torch.Tensor, got NoneType"),
        (torch.zeros(2, 13, 2), ValueError, RULE + "(2, 13, 2)"),
        (torch.zeros(3, 12, 2), ValueError, RULE + "(3, 12, 2)"),
        (torch.zeros(3, 2, 13), ValueError, RULE + "(3, 2, 13)"),
        (torch.zeros(3, 25), ValueError, RULE + "(3, 25)"),
        (torch.zeros(26), ValueError, RULE + "(26,)"),
        (torch.zeros(1, 26), ValueError, RULE + "(1, 26)"),
        (torch.zeros(3, 26, dtype=torch.int32), TypeError, "params must be"),
    ],
)
def test_broken_contract_of_aux(
    pose: Pose, output: Any, error: type[Exception], message: str
) -> None:
    score = Scorer(pose, lambda features: output, "lsp")
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        score(torch.zeros(3, 3, 64, 64))


@pytest.mark.parametrize(
    "output", [torch.zeros(3, 14, 8, 8), {"heatmaps": torch.zeros(3, 14, 8, 8)}]
)
def test_aux_needs_features(aux: Aux, output: Any) -> None:
    message = "pose must return (heatmaps, features) when aux is given, got heatmaps alone"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Scorer(lambda images: output, aux)(torch.zeros(3, 3, 8, 8))


# Files


def test_files_need_trust(pose: Pose, images: Tensor, tmp_path: Path) -> None:
    path = as_script_file(pose, images, tmp_path)
    message = f"trust must be True to load pose from {str(path)!r}: a TorchScript or torch.export"
    with pytest.raises(ValueError, match=f"^{re.escape(message)} file can run code.*got False$"):
        Scorer(path, params=PARAMS)
    with pytest.raises(ValueError, match=r"^trust must be True to load aux from"):
        Scorer(pose, str(path))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garbled(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(len(content) // 2 - 200) + content[len(content) // 2 :])


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("no model"),
        lambda path: path.write_bytes(b""),
        lambda path: torch.save({"weight": 1}, path),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "model.pt"
    make(path)
    message = "must be a TorchScript or torch.export file"
    with pytest.raises(ValueError, match=re.escape(f"pose {message}, got {str(path)!r}")):
        Scorer(path, params=PARAMS, trust=True)
    with pytest.raises(ValueError, match=re.escape(f"aux {message}, got {str(path)!r}")):
        Scorer(identity, path, trust=True)


@pytest.mark.parametrize("form", [as_script_file, as_program_file])
def test_damaged_files(
    pose: Pose, images: Tensor, form: Callable[..., Any], tmp_path: Path
) -> None:
    path = Path(form(pose, images, tmp_path))
    garbled(path)
    message = f"pose must be an intact TorchScript or torch.export file, got {str(path)!r}: "
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Scorer(path, params=PARAMS, trust=True)
    truncated(path)
    message = f"pose must be a TorchScript or torch.export file, got {str(path)!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Scorer(path, params=PARAMS, trust=True)


class Released(nn.Module):
    """Names of a released checkpoint, for what its error says."""

    def __init__(self) -> None:
        super().__init__()
        self.hgs = nn.ModuleList([nn.Linear(1, 1)])
        self.merge_preds = nn.ModuleList([nn.Linear(1, 1)])


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_weights_and_pickled_modules(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "model.pt"
    start = f"pose must be a TorchScript or torch.export file, got {str(path)!r}, "
    save = "torch.jit.script({}).save('pose.pt')"
    for content, message in (
        (
            nn.Linear(1, 1).state_dict(),
            "which holds weights without a program: load them into their module and save one "
            "with " + save.format("module"),
        ),
        (
            Released().state_dict(),
            "which holds weights without a program: save one with "
            + save.format(f"vl4pose.nn.StackedHourglass.from_released({str(path)!r})"),
        ),
        (
            nn.Linear(1, 1),
            "a pickled module: build it in Python, load it with torch.load and save the program "
            "with " + save.format("module"),
        ),
    ):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match=f"^{re.escape(start + message)}$"):
            Scorer(path, params=PARAMS, trust=True)


def test_weights_that_fit_wrote_have_their_program_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "aux.safetensors"
    path.write_bytes(b"weights")
    message = (
        f"aux must be a TorchScript or torch.export file, got {str(path)!r}, which holds weights "
        "without a program"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Scorer(identity, path, trust=True)
    path.with_suffix(".pt").touch()
    message += f": take {str(path.with_suffix('.pt'))!r} beside it"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Scorer(identity, path, trust=True)


def test_programs_are_moved_by_newer_torch_only(
    pose: Pose, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_program_file(pose, images, tmp_path)
    monkeypatch.setitem(sys.modules, "torch.export.passes", None)
    with pytest.raises(RuntimeError, match=r"^device must be None for a torch\.export file unless"):
        Scorer(path, params=PARAMS, trust=True, device="cpu")


def test_unusable_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for version, why in ((None, "this torch is a build for CPUs"), ("12.8", "torch finds no")):
        monkeypatch.setattr(torch.version, "cuda", version)
        message = f"device must be usable here, got 'cuda': {why}"
        with pytest.raises(RuntimeError, match=f"^{re.escape(message)}"):
            Scorer(identity, params=PARAMS, device="cuda")


def test_repr() -> None:
    assert repr(Scorer(identity, params=PARAMS, skeleton="lsp")) == (
        "<Scorer: skeleton 'lsp', fixed params, method 'expected'>"
    )
    assert repr(Scorer(identity, identity, method="max")) == (
        "<Scorer: skeleton None, aux, method 'max'>"
    )


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "nothing.pt"
    for trust in (False, True):
        message = f"pose must be an existing file, got {str(path)!r}"
        with pytest.raises(FileNotFoundError, match=re.escape(message)):
            Scorer(path, params=PARAMS, trust=trust)
    with pytest.raises(FileNotFoundError, match=r"^pose must be an existing file"):
        Scorer(tmp_path, params=PARAMS, trust=True)
