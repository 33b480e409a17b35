"""The stacked hourglass: shapes, weights under the released names, and the ways to ship it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vl4pose.nn import StackedHourglass

StateDict = dict[str, torch.Tensor]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> StackedHourglass:
    torch.manual_seed(0)
    network = StackedHourglass(num_joints=5, num_stacks=2, channels=8)
    network(torch.rand(4, 3, 64, 64))  # moves the running statistics away from 0 and 1
    return network.eval()


def test_shapes_of_heatmaps_and_features() -> None:
    heatmaps, features = StackedHourglass().eval()(torch.zeros(1, 3, 256, 192))
    assert heatmaps.shape == (1, 2, 16, 64, 48)
    assert [tuple(f.shape) for f in features] == [
        (1, 256, 64 >> level, 48 >> level) for level in range(5)
    ]


def test_default_size_is_the_published_one() -> None:
    assert sum(p.numel() for p in StackedHourglass().parameters()) == 6_570_400


def test_every_weight_is_used(network: StackedHourglass, images: torch.Tensor) -> None:
    heatmaps, _ = network.train()(images)
    heatmaps.square().sum().backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert unused == []


def test_heatmaps_come_from_the_largest_feature(
    network: StackedHourglass, images: torch.Tensor
) -> None:
    heatmaps, features = network(images)
    last = network.stacks[-1]
    assert torch.equal(last.heatmaps(last.head(features[0])), heatmaps[:, -1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_joints": 0}, "num_joints must be between 1 and 65536, got 0"),
        ({"num_stacks": 0}, "num_stacks must be between 1 and 64, got 0"),
        ({"num_stacks": 65}, "num_stacks must be between 1 and 64, got 65"),
        ({"channels": 7}, "channels must be even, got 7"),
        ({"channels": 0}, "channels must be between 2 and 65536, got 0"),
    ],
)
def test_impossible_sizes(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        StackedHourglass(**arguments)


@pytest.mark.parametrize("shape", [(1, 3, 60, 64), (1, 3, 64, 96), (3, 64, 64)])
def test_images_of_other_sizes(network: StackedHourglass, shape: tuple[int, ...]) -> None:
    message = f"images must be (B, 3, H, W) with H and W multiples of 64, got {list(shape)}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(torch.zeros(shape))


def scripted(network: StackedHourglass, images: torch.Tensor) -> Callable[..., object]:
    return through_file(torch.jit.script(network), torch.jit.save, torch.jit.load)


def traced(network: StackedHourglass, images: torch.Tensor) -> Callable[..., object]:
    return through_file(torch.jit.trace(network, images), torch.jit.save, torch.jit.load)


def exported(network: StackedHourglass, images: torch.Tensor) -> Callable[..., object]:
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (images,), dynamic_shapes=(batch,))
    return through_file(program, torch.export.save, torch.export.load).module()


def through_file(model, save, load):  # type: ignore[no-untyped-def]
    file = io.BytesIO()
    save(model, file)
    file.seek(0)
    return load(file)


@pytest.mark.parametrize("ship", [scripted, traced, exported])
def test_shipped_network_is_the_same(
    network: StackedHourglass, images: torch.Tensor, ship: Callable[..., Callable[..., object]]
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        shipped = ship(network, images)
    more = torch.cat([images, images.flip(3)[:1]])  # another batch size
    with torch.no_grad():
        torch.testing.assert_close(shipped(more), network(more))


def released(state: StateDict) -> StateDict:
    """Return our state dict as a released checkpoint: other names, and skip layers everywhere."""
    rules: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        (r"^stem\.0", "pre.0.conv"),
        (r"^stem\.1", "pre.0.bn"),
        (r"^stem\.3", "pre.1"),
        (r"^stem\.5", "pre.3"),
        (r"^stem\.6", "pre.4"),
        (r"^stacks\.(.)\.hourglass\.skips\.(.)", lambda m: nested(m[1], int(m[2])) + "up1"),
        (r"^stacks\.(.)\.hourglass\.downs\.(.)", lambda m: nested(m[1], int(m[2])) + "low1"),
        (r"^stacks\.(.)\.hourglass\.ups\.(.)", lambda m: nested(m[1], 3 - int(m[2])) + "low3"),
        (r"^stacks\.(.)\.hourglass\.bottom", lambda m: nested(m[1], 3) + "low2"),
        (r"^stacks\.(.)\.head\.0", r"features.\1.0"),
        (r"^stacks\.(.)\.head\.1", r"features.\1.1.conv"),
        (r"^stacks\.(.)\.head\.2", r"features.\1.1.bn"),
        (r"^stacks\.(.)\.heatmaps", r"outs.\1.conv"),
        (r"^stacks\.(.)\.merge\.head", r"merge_features.\1.conv.conv"),
        (r"^stacks\.(.)\.merge\.heatmaps", r"merge_preds.\1.conv.conv"),
        (r"bottleneck\.0", "bn1"),
        (r"bottleneck\.2", "conv1.conv"),
        (r"bottleneck\.3", "bn2"),
        (r"bottleneck\.5", "conv2.conv"),
        (r"bottleneck\.6", "bn3"),
        (r"bottleneck\.8", "conv3.conv"),
        (r"shortcut", "skip_layer.conv"),
    ]
    renamed: StateDict = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
        if name.endswith("conv3.conv.bias"):
            skip = name.replace("conv3.conv.bias", "skip_layer.conv")
            renamed.setdefault(f"{skip}.weight", torch.randn(len(tensor), len(tensor), 1, 1))
            renamed.setdefault(f"{skip}.bias", torch.randn(len(tensor)))
    return renamed


def nested(stack: str, level: int) -> str:
    return f"hgs.{stack}.0." + "low2." * level


def test_released_names(network: StackedHourglass, images: torch.Tensor, tmp_path: Path) -> None:
    state = released(network.state_dict())
    assert len(state) == len(network.state_dict()) + 2 * (1 + 2 * 13 + 2)
    torch.save(state, tmp_path / "released.pth")
    for source in (state, tmp_path / "released.pth", str(tmp_path / "released.pth")):
        loaded = StackedHourglass.from_released(source)
        assert not loaded.training
        torch.testing.assert_close(loaded(images), network(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("pre.3.bn2.weight"), r"Missing key.*stem\.5\.bottleneck\.3\.weight"),
        (lambda s: s.pop("pre.1.skip_layer.conv.bias"), r"Missing key.*stem\.3\.shortcut\.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), r"Unexpected key.*extra"),
        (
            lambda s: s.update({"pre.3.conv9.conv.weight": torch.zeros(1)}),
            r"Unexpected key.*stem\.5\.conv9\.conv\.weight",
        ),
        (lambda s: s.update({"pre.0.conv.bias": torch.zeros(63)}), r"size mismatch.*stem\.0\.bias"),
        (lambda s: s.pop("outs.0.conv.weight"), r"got no outs\.0\.conv\.weight"),
    ],
)
def test_other_weights_are_refused(
    network: StackedHourglass, change: Callable[[StateDict], object], complaint: str
) -> None:
    state = released(network.state_dict())
    change(state)
    start = "^source must hold the weights of a released stacked hourglass"
    with pytest.raises(ValueError, match=f"(?s){start}.*{complaint}"):
        StackedHourglass.from_released(state)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        StackedHourglass.from_released(path)
    path.write_bytes(b"no weights")
    with pytest.raises(
        ValueError, match=re.escape(f"source must be a file of weights, got '{path}'")
    ):
        StackedHourglass.from_released(path)
    torch.save([1, 2], path)
    message = f"source must hold a state dict, got '{path}' with list"
    with pytest.raises(TypeError, match=re.escape(message)):
        StackedHourglass.from_released(path)


def test_released_network_gives_the_released_heatmaps(test_data: Path) -> None:
    network = StackedHourglass.from_released(test_data / "lsp_hourglass32.pth")
    with np.load(test_data / "released_lsp.npz") as frozen:
        expected = frozen["heatmaps"].astype(np.float32)
    inputs, rows = [], []
    for row in range(12):
        image = Image.open(test_data / "lsp" / "images" / f"im{1001 + row}.jpg").convert("RGB")
        scale = 256 / max(image.size)
        if int(max(image.size) * scale) != 256:
            continue  # the frozen ones were made from an image of 255 pixels then
        width, height = int(image.width * scale), int(image.height * scale)
        left, top = (256 - width) // 2, (256 - height) // 2
        pixels = np.zeros((256, 256, 3), np.float32)
        small = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels[top : top + height, left : left + width] = small
        inputs.append(pixels.transpose(2, 0, 1) / 256)
        rows.append(row)
    assert len(rows) >= 10
    with torch.no_grad():
        heatmaps, _ = network(torch.from_numpy(np.stack(inputs)))
    assert heatmaps.shape == (len(rows), 2, 14, 64, 64)
    # Heatmaps reach 30, where float16 has steps of 1/64.
    np.testing.assert_allclose(heatmaps[:, -1].numpy(), expected[rows], rtol=0, atol=0.02)
