"""attach: features out of pose networks that know nothing of them, and nothing else changed."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vl4pose import Scorer
from vl4pose.nn import AuxiliaryNet, StackedHourglass, attach


class Block(nn.Module):
    """A residual block of a ResNet."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.downsample(x))


class ResNetPose(nn.Module):
    """A ResNet with a head of transposed convolutions, as of Xiao, Wu and Wei (ECCV 2018)."""

    def __init__(self, num_joints: int = 14) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2))
        self.layer3 = nn.Sequential(Block(16, 32, 2))
        self.layer4 = nn.Sequential(Block(32, 64, 2))
        self.fc = nn.Linear(64, 10)  # of the classifier, and never called
        sizes = (64, 24, 24, 24)
        self.deconv_layers = nn.Sequential(
            *(nn.ConvTranspose2d(sizes[i], sizes[i + 1], 4, 2, 1) for i in range(3))
        )
        self.final_layer = nn.Conv2d(24, num_joints, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.final_layer(self.deconv_layers(x))


LAYERS = ["layer1", "layer2", "layer3", "layer4"]


@pytest.fixture
def pose() -> ResNetPose:
    torch.manual_seed(0)
    return ResNetPose().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 128, 96, generator=torch.Generator().manual_seed(0))


def test_a_resnet(pose: ResNetPose, images: Tensor) -> None:
    heatmaps, features = attach(pose, LAYERS)(images)
    assert torch.equal(heatmaps, pose(images))
    assert isinstance(features, tuple)
    x = pose.maxpool(pose.relu(pose.bn1(pose.conv1(images))))
    for name, feature in zip(LAYERS, features, strict=True):
        x = getattr(pose, name)(x)
        assert torch.equal(feature, x), name


def test_from_a_resnet_to_scores(pose: ResNetPose, images: Tensor) -> None:
    attached = attach(pose, LAYERS)
    aux = AuxiliaryNet.for_features(attached(images)[1], 13, params=[[8.0, 2.0]] * 13).eval()
    assert aux.arguments["channels"] == list(attached.feature_channels(images)) == [8, 16, 32, 64]
    result = Scorer(attached, aux, "lsp")(images)
    expected = Scorer(pose, params=[[8.0, 2.0]] * 13, skeleton="lsp")(images)
    torch.testing.assert_close(result.score, expected.score)


def test_the_pose_model_is_left_alone(pose: ResNetPose, images: Tensor) -> None:
    pose.layer2.train()
    modes = [module.training for module in pose.modules()]
    state = copy.deepcopy(pose.state_dict())
    pose.layer2.eval()
    before = pose(images)
    pose.layer2.train()
    with attach(pose, LAYERS) as attached:
        attached.feature_channels(images)
        assert [module.training for module in pose.modules()] == modes
        for name, tensor in pose.state_dict().items():
            assert torch.equal(tensor, state.pop(name)), name
        assert not state
        pose.layer2.eval()
        assert torch.equal(pose(images), before)
    assert not any(module._forward_hooks for module in pose.modules())
    with pytest.raises(RuntimeError, match=r"^the features must not be detached from the pose"):
        attached(images)
    assert torch.equal(pose(images), before)


def test_two_of_one_model(pose: ResNetPose, images: Tensor) -> None:
    first, second = attach(pose, ["layer1", "layer3"]), attach(pose, ["layer3"])
    assert [f.shape[1] for f in first(images)[1]] == [8, 32]
    assert [f.shape[1] for f in second(images)[1]] == [32]
    second.detach()
    assert [f.shape[1] for f in first(images)[1]] == [8, 32]


def test_nothing_is_kept_alive(pose: ResNetPose, images: Tensor) -> None:
    attached = attach(pose, LAYERS)
    with torch.no_grad():
        heatmaps, features = attached(images)
    held = [weakref.ref(t) for t in (heatmaps, *features)]
    del heatmaps, features
    gc.collect()
    assert [ref() for ref in held] == [None] * len(held)


def test_nothing_is_kept_after_an_error(pose: ResNetPose, images: Tensor) -> None:
    held: list[weakref.ref[Tensor]] = []

    def fail(module: nn.Module, inputs: Any, output: Tensor) -> None:
        held.append(weakref.ref(inputs[0]))
        raise KeyError("layer4")

    attached = attach(pose, LAYERS)
    hook = pose.layer4.register_forward_hook(fail)
    with torch.no_grad(), pytest.raises(KeyError):
        attached(images)
    gc.collect()
    assert held[0]() is None
    hook.remove()
    assert len(attached(images)[1]) == 4


def test_threads_at_the_same_time(pose: ResNetPose) -> None:
    attached = attach(pose, LAYERS)
    batches = [torch.rand(1 + i, 3, 64, 64) for i in range(4)]
    with torch.no_grad():
        expected = [attached(batch) for batch in batches]
    at_once = threading.Barrier(len(batches))

    def meet(*_: Any) -> None:
        at_once.wait(30)

    pose.layer2.register_forward_hook(meet)
    results: dict[int, Any] = {}

    def run(i: int) -> None:
        with torch.no_grad():
            results[i] = attached(batches[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, want in enumerate(expected):
        torch.testing.assert_close(results[i], want)


def test_copies_and_pickles_are_independent(pose: ResNetPose, images: Tensor) -> None:
    attached = attach(pose, LAYERS)
    expected = attached(images)
    for other in (copy.deepcopy(attached), pickle.loads(pickle.dumps(attached))):
        torch.testing.assert_close(other(images), expected)
        other.detach()
        torch.testing.assert_close(attached(images), expected)
        assert not any(module._forward_hooks for module in other.modules())


def test_gradients_reach_the_pose_model(pose: ResNetPose, images: Tensor) -> None:
    heatmaps, features = attach(pose, LAYERS)(images)
    (heatmaps.square().mean() + features[0].mean()).backward()
    assert pose.conv1.weight.grad is not None


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_trace_and_a_program(pose: ResNetPose, images: Tensor, tmp_path: Path) -> None:
    attached = attach(pose, LAYERS)
    more = torch.cat([images, images.flip(3)])
    path = str(tmp_path / "pose.pt")
    torch.jit.trace(attached, images).save(path)
    torch.testing.assert_close(torch.jit.load(path)(more), attached(more))
    program = torch.export.export(attached, (images,)).module()
    torch.testing.assert_close(program(images), attached(images))


def test_compiled(pose: ResNetPose, images: Tensor) -> None:
    attached = attach(pose, LAYERS)
    torch._dynamo.reset()
    compiled = torch.compile(attached, fullgraph=True, backend="eager")
    for batch in (images, images.flip(3)):
        torch.testing.assert_close(compiled(batch), attached(batch))
    attached.detach()
    torch._dynamo.reset()
    inner = torch.compile(pose, backend="eager")
    heatmaps, features = attach(inner, ["_orig_mod.layer1"])(images)
    torch.testing.assert_close(heatmaps, pose(images))
    assert features[0].shape[1] == 8


# What layers return


class Returns(nn.Module):
    """Returns what it is given a function for."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class Around(nn.Module):
    """Calls a layer, and returns heatmaps all the same."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.unused = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        self.layer(images)
        return images[:, :1]


def features_of(function: Callable[[Tensor], Any], images: Tensor, **options: Any) -> Any:
    return attach(Around(Returns(function)), ["layer"], **options)(images)[1]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: (x, None),
        lambda x: [x],
        lambda x: {"last_hidden_state": x, "attentions": None},
        lambda x: {"feature_maps": (x,)},
    ],
)
def test_a_map_in_what_a_layer_returns(function: Callable[[Tensor], Any], images: Tensor) -> None:
    (feature,) = features_of(function, images)
    assert torch.equal(feature, images)


def test_several_maps_of_one_layer(images: Tensor) -> None:
    features = features_of(lambda x: [x, x[:, :, ::2, ::2]], images)
    assert [tuple(f.shape) for f in features] == [(2, 3, 128, 96), (2, 3, 64, 48)]


def test_tokens(images: Tensor) -> None:
    small = images[:, :, ::16, ::16]  # (2, 3, 8, 6)

    def tokens(x: Tensor) -> Tensor:
        of_patches = small.flatten(2).transpose(1, 2)
        return torch.cat([torch.full((2, 1, 3), -1.0), of_patches], dim=1)

    (feature,) = features_of(tokens, images, token_grid=(8, 6))
    assert torch.equal(feature, small)
    (feature,) = features_of(
        tokens, images, reshape=lambda t: t[:, 1:].reshape(2, 8, 6, 3).movedim(3, 1)
    )
    assert torch.equal(feature, small)
    message = "token_grid must hold at most the 49 tokens of 'layer', got (8, 7)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        features_of(tokens, images, token_grid=(8, 7))
    message = "layers must return (B, C, H, W), got (2, 49, 3) from 'layer': give token_grid="
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        features_of(tokens, images)


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda x: x.mean((2, 3)), "(2, 3)"),
        (lambda x: None, "NoneType"),
        (lambda x: (3, x), "int"),
        (lambda x: {}, "NoneType"),
    ],
)
def test_layers_without_a_map(function: Callable[[Tensor], Any], got: str, images: Tensor) -> None:
    message = f"layers must return (B, C, H, W), got {got} from 'layer'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        features_of(function, images)


def test_a_layer_that_is_not_called(images: Tensor) -> None:
    attached = attach(Around(nn.Identity()), ["layer", "unused"])
    message = "layers must be called by the pose model, got 'unused', which it did not call"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        attached(images)


# Heatmaps in what the model returns


class Output:
    """An object with attributes."""

    def __init__(self, heatmaps: Tensor) -> None:
        self.heatmaps = heatmaps


@pytest.mark.parametrize(
    ("function", "heatmaps"),
    [
        (lambda x: x, None),
        (lambda x: {"loss": None, "heatmaps": x}, None),
        (Output, None),
        (Output, "heatmaps"),
        (lambda x: {"maps": x}, "maps"),
        (lambda x: (x.mean(), x), 1),
        (lambda x: [x, x], -1),
        (lambda x: [x, x], lambda stacks: stacks[-1]),
    ],
)
def test_heatmaps_in_the_output(
    function: Callable[[Tensor], Any], heatmaps: Any, images: Tensor
) -> None:
    model = nn.Sequential(nn.Identity(), Returns(function))
    got, (feature,) = attach(model, ["0"], heatmaps=heatmaps)(images)
    assert torch.equal(got, images)
    assert torch.equal(feature, images)


def test_heatmaps_of_our_own_network() -> None:
    network = StackedHourglass(14, 2, 8).eval()
    images = torch.rand(1, 3, 64, 64)
    heatmaps, features = network(images)
    got, taken = attach(network, ["stacks.1.hourglass"], heatmaps=0)(images)
    torch.testing.assert_close((got, taken), (heatmaps, features))


@pytest.mark.parametrize(
    ("function", "heatmaps", "message"),
    [
        (lambda x: (x, x), None, "got 'heatmaps' for a tuple"),
        (lambda x: {"maps": x, "loss": 1}, None, "got 'heatmaps' for a dict with maps, loss"),
        (Output, "maps", "got 'maps' for a Output with heatmaps"),
        (lambda x: x[0], None, "heatmaps must choose a tensor .* got \\(3, 128, 96\\)"),
        (lambda x: x, str, "heatmaps must choose a tensor .* got str"),
        (lambda x: (x, x), 2, "heatmaps must be an index into the 2 items .* got 2"),
    ],
)
def test_outputs_without_heatmaps(
    function: Callable[[Tensor], Any], heatmaps: Any, message: str, images: Tensor
) -> None:
    model = nn.Sequential(nn.Identity(), Returns(function))
    with pytest.raises(ValueError, match=message):
        attach(model, ["0"], heatmaps=heatmaps)(images)


# Errors


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pose_model": len}, TypeError, "pose_model must be a torch.nn.Module, got builtin"),
        ({"layers": "layer1"}, TypeError, "layers must be names of submodules in a sequence, got"),
        ({"layers": [1]}, TypeError, "layers must be names of submodules in a sequence, got [1]"),
        ({"layers": []}, ValueError, "layers must be distinct and at least one, got []"),
        ({"layers": ["fc", "fc"]}, ValueError, "layers must be distinct and at least one, got ["),
        (
            {"layers": ["layr4"]},
            ValueError,
            "layers must name submodules of the pose model, got 'layr4' (nearest: layer4, layer",
        ),
        ({"layers": [""]}, ValueError, "layers must name submodules of the pose model, got ''"),
        ({"heatmaps": 1.5}, TypeError, "heatmaps must be a name, an index, a callable or None, go"),
        ({"reshape": 1}, TypeError, "reshape must be callable or None, got int"),
        ({"token_grid": (4,)}, ValueError, "token_grid must be (rows, columns), got (4,)"),
        ({"token_grid": (4, 0)}, ValueError, "token_grid must be at least 1, got 0"),
        ({"token_grid": (4, 2.0)}, TypeError, "token_grid must be an integer, got 2.0"),
        (
            {"token_grid": (4, 3), "reshape": len},
            ValueError,
            "token_grid or reshape must be given, one of them at most, got both",
        ),
    ],
)
def test_wrong_arguments(
    pose: ResNetPose, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        attach(**{"pose_model": pose, "layers": LAYERS} | arguments)
    assert not any(module._forward_hooks for module in pose.modules())


# transformers


@pytest.fixture(scope="module")
def vit_pose() -> nn.Module:
    transformers = pytest.importorskip(
        "transformers", reason="needs transformers: pip install transformers"
    )
    torch.manual_seed(0)
    backbone = transformers.VitPoseBackboneConfig(
        image_size=[64, 48],
        patch_size=[16, 16],
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        out_indices=[2],
    )
    config = transformers.VitPoseConfig(
        backbone_config=backbone, num_labels=14, use_simple_decoder=False
    )
    return transformers.VitPoseForPoseEstimation(config).eval()


def test_vit_pose(vit_pose: nn.Module) -> None:
    images = torch.rand(3, 3, 64, 48)
    layers = ["head.relu2", "head.relu1", "backbone.layernorm"]
    attached = attach(vit_pose, layers, token_grid=(4, 3))
    heatmaps, features = attached(images)
    returned = vit_pose(images)
    assert isinstance(returned, Mapping)
    assert torch.equal(heatmaps, returned.heatmaps)
    assert [tuple(f.shape) for f in features] == [
        (3, 256, 16, 12),
        (3, 256, 8, 6),
        (3, 32, 4, 3),
    ]
    # The decoder reads the tokens as this very map.
    torch.testing.assert_close(
        vit_pose.head.relu1(vit_pose.head.batchnorm1(vit_pose.head.deconv1(features[2]))),
        features[1],
    )
    aux = AuxiliaryNet.for_features(features, 13).eval()
    assert Scorer(attached, aux, "lsp")(images).score.shape == (3,)


def test_layers_of_a_transformer(vit_pose: nn.Module) -> None:
    images = torch.rand(2, 3, 64, 48)
    layers = [f"backbone.encoder.layer.{i}" for i in range(2)]
    _, features = attach(vit_pose, layers, token_grid=(4, 3))(images)
    aux = AuxiliaryNet.for_features(features, 13)
    assert aux.arguments["strides"] == [1]
    assert aux(features).shape == (2, 13, 2)
