"""The auxiliary network: where it starts, what bounds it, that it learns, and how it ships."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_figures import one_thread  # noqa: F401

from vl4pose import Scorer, Skeleton, Status, analyze, fit_params
from vl4pose.losses import nll_loss, offset_nll_loss
from vl4pose.nn import AuxiliaryNet, StackedHourglass, fit_offset_params

SIZES = (16, 8, 4, 2, 1)
CHAIN = Skeleton("chain", list("abcd"), [(0, 1), (1, 2), (2, 3)])
PARAMS = torch.tensor([[3.0, 1.0], [40.0, -2.0], [0.5, 6.0]])
OFFSETS = torch.tensor([[1.0, 2.0], [-30.0, 0.0], [0.0, 5.0]])
SCALE_TRIL = torch.tensor([[[2.0, 0.0], [1.0, 3.0]], [[0.1, 0.0], [0.0, 9.0]], [[1.0, 0], [-2, 1]]])


def features(batch: int = 2, channels: int = 8, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(batch, channels, s, s, generator=generator) for s in SIZES)


def randomized(network: AuxiliaryNet) -> AuxiliaryNet:
    """Return a network as after training: no weight is zero, statistics are those of features."""
    torch.manual_seed(0)
    for parameter in network.head.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    network.train()(features(8))
    return network.eval()


def as_tuple(output: Any) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


EVERY_KIND = [
    {"extractor": extractor, "variant": variant} | head
    for extractor in ("convolution", "pool")
    for variant in ("default", "paper")
    for head in ({}, {"head": "offset"}, {"head": "offset", "dimensions": 3})
]


@pytest.fixture(params=EVERY_KIND, ids=lambda kind: "-".join(map(str, kind.values())))
def network(request: pytest.FixtureRequest) -> AuxiliaryNet:
    torch.manual_seed(0)
    return randomized(AuxiliaryNet(8, 3, **request.param))


def test_shapes(network: AuxiliaryNet) -> None:
    dimensions = network.arguments["dimensions"]
    if network.arguments["head"] == "distance":
        assert network(features()).shape == (2, 3, 2)
    else:
        offsets, scale_tril = network(features())
        assert offsets.shape == (2, 3, dimensions)
        assert scale_tril.shape == (2, 3, dimensions, dimensions)
        assert torch.equal(scale_tril, scale_tril.tril())
        assert (torch.diagonal(scale_tril, dim1=-2, dim2=-1) > 0).all()


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({}, 2_176_542),
        ({"variant": "paper"}, 2_142_702),
        ({"extractor": "pool"}, 1_127_710),
        ({"variant": "paper", "extractor": "pool"}, 1_093_870),
        ({"head": "offset", "dimensions": 3}, 2_215_092),
    ],
)
def test_number_of_parameters(options: dict[str, Any], number: int) -> None:
    assert sum(p.numel() for p in AuxiliaryNet(**options).parameters()) == number


def test_every_weight_is_used(network: AuxiliaryNet) -> None:
    sum(part.square().sum() for part in as_tuple(network.train()(features(4)))).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_each_image_on_its_own(network: AuxiliaryNet) -> None:
    together = as_tuple(network(features(3)))
    for i in range(3):
        alone = as_tuple(network([f[i : i + 1] for f in features(3)]))
        for one, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_[i], rtol=1e-5, atol=1e-5)
    assert all(len(part) == 0 for part in as_tuple(network([f[:0] for f in features()])))


# Where it starts


@pytest.mark.parametrize("variant", ["default", "paper"])
@pytest.mark.parametrize("form", [lambda p: p, lambda p: p.numpy(), lambda p: p.tolist()])
def test_it_starts_at_given_params(variant: str, form: Callable[[Tensor], Any]) -> None:
    network = AuxiliaryNet(8, 3, params=form(PARAMS), variant=variant)
    for mode in (True, False):
        assert torch.equal(network.train(mode)(features()), PARAMS.expand(2, 3, 2))


def test_it_starts_at_bones_of_annotations() -> None:
    keypoints = np.random.default_rng(0).uniform(0, 64, (50, 14, 2))
    params = fit_params(keypoints, None, "lsp")
    network = AuxiliaryNet(8, 13, params=params)
    target = torch.from_numpy(keypoints[:2]).float()
    loss = nll_loss(network(features()), target, skeleton="lsp")
    torch.testing.assert_close(
        loss, nll_loss(torch.from_numpy(params).float(), target, skeleton="lsp")
    )


def test_it_starts_at_given_offsets() -> None:
    network = AuxiliaryNet(8, 3, head="offset", offset_params=(OFFSETS, SCALE_TRIL.numpy()))
    offsets, scale_tril = network(features())
    assert torch.equal(offsets, OFFSETS.expand(2, 3, 2))
    assert torch.equal(scale_tril, SCALE_TRIL.expand(2, 3, 2, 2))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_it_starts_at_offsets_of_annotations(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    keypoints = rng.normal(size=(50, 4, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    visible = rng.random((50, 4)) < 0.8
    keypoints[~visible] = np.nan
    params = fit_offset_params(keypoints, visible, CHAIN)
    for link, (parent, child) in enumerate(CHAIN.links):
        both = visible[:, parent] & visible[:, child]
        steps = keypoints[both, child] - keypoints[both, parent]
        np.testing.assert_allclose(params[0][link], steps.mean(0), atol=1e-12)
        covariance = np.cov(steps.T, bias=True) + 0.01 * np.eye(dimensions)
        np.testing.assert_allclose(params[1][link] @ params[1][link].T, covariance, atol=1e-12)
    network = AuxiliaryNet(8, 3, head="offset", dimensions=dimensions, offset_params=params)
    for part, start in zip(network(features()), params, strict=True):
        assert torch.equal(part, start.float().expand_as(part))


@pytest.mark.parametrize(
    ("keypoints", "visible", "error", "message"),
    [
        (np.zeros((4, 2)), None, ValueError, "keypoints must be (N, J, D) with D 2 or 3, got (4, "),
        (np.zeros((5, 4, 1)), None, ValueError, "keypoints must be (N, J, D) with D 2 or 3, got "),
        (
            np.zeros((5, 3, 2)),
            None,
            ValueError,
            "skeleton must have as many joints as the arrays (3)",
        ),
        (np.zeros((5, 4, 2)), np.ones((5, 4)), TypeError, "visible must be bool, got torch.float6"),
        (np.zeros((5, 4, 2)), np.ones(4, bool), ValueError, "visible must be (N, J) = (5, 4), got"),
        (np.full((5, 4, 2), np.nan), None, ValueError, "keypoints must be finite where visible, "),
        (
            np.zeros((5, 4, 2)),
            np.array([[True, True, True, False]] * 5),
            ValueError,
            "visible must leave a sample of every link, got none of c>d",
        ),
    ],
)
def test_annotations_without_offsets(
    keypoints: Any, visible: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        fit_offset_params(keypoints, visible, CHAIN)


def test_sensible_bones_by_default() -> None:
    params = AuxiliaryNet(8, 3)(features())
    assert ((params[..., 0] > 1) & (params[..., 0] < 32)).all()
    assert ((params[..., 1] > 0) & (params[..., 1] < 6)).all()
    offsets, scale_tril = AuxiliaryNet(8, 3, head="offset", dimensions=3)(features())
    assert (offsets == 0).all()
    assert torch.equal(scale_tril, 8 * torch.eye(3).expand(2, 3, 3, 3))


def test_links_of_length_zero() -> None:
    network = AuxiliaryNet(8, 1, params=[[0.0, -4.6]])
    assert 0 < network(features())[0, 0, 0] <= 1e-3


# What bounds it


@pytest.mark.parametrize("raw", [-1e30, -1e6, -100.0, 100.0, 1e6, 1e30])
def test_bounds_of_the_distance_head(raw: float) -> None:
    params = torch.tensor([[0.0, -19.0], [3.0, 1.0], [1e5, 19.0]])
    network = AuxiliaryNet(8, 3, params=params).eval()
    nn.init.constant_(network.head.linear.bias, raw)
    length, log_variance = network(features()).unbind(-1)
    assert ((length > 0) & (length < 1e6)).all()
    assert (log_variance.abs() < 20).all()
    heatmaps = torch.rand(2, 4, 16, 16)
    status = analyze(heatmaps, network(features()).detach(), skeleton=CHAIN).status
    assert not (status & Status.CLAMPED_PARAMS).any()


@pytest.mark.parametrize("raw", [-1000.0, 1000.0])
def test_bounds_leave_a_slope(raw: float) -> None:
    network = AuxiliaryNet(8, 3).eval()
    nn.init.constant_(network.head.linear.bias, raw)
    network(features())[..., 1].sum().backward()
    assert (network.head.linear.bias.grad[1::2] > 0).all()


@pytest.mark.parametrize("raw", [-1e6, 1e6])
def test_bounds_of_the_offset_head(raw: float) -> None:
    network = AuxiliaryNet(8, 3, head="offset", offset_params=(OFFSETS, SCALE_TRIL)).eval()
    nn.init.constant_(network.head.linear.bias, raw)
    offsets, scale_tril = network(features())
    diagonal = torch.diagonal(scale_tril, dim1=-2, dim2=-1)
    start = torch.diagonal(SCALE_TRIL, dim1=-2, dim2=-1)
    assert ((diagonal > 4e-5 * start) & (diagonal < 22100 * start)).all()
    assert torch.isfinite(offsets).all()


def test_the_factor_of_any_covariance_can_be_learned() -> None:
    network = AuxiliaryNet(8, 1, head="offset", dimensions=2).eval()
    bones = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    bones = bones @ torch.tensor([[2.0, 0.0], [-1.5, 0.5]]).T + torch.tensor([4.0, -7.0])
    keypoints = torch.stack([torch.zeros_like(bones), bones], dim=1)
    pair = Skeleton("pair", ["a", "b"], [(0, 1)])
    optimizer = torch.optim.Adam([network.head.linear.bias], 0.05)
    for _ in range(300):
        offsets, scale_tril = (part[0] for part in network(features()))
        loss = offset_nll_loss(offsets, scale_tril, keypoints, skeleton=pair)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(offsets[0], bones.mean(0), rtol=0, atol=0.02)
    covariance = scale_tril[0] @ scale_tril[0].T
    torch.testing.assert_close(covariance, bones.T.cov(correction=0), rtol=0, atol=0.05)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_variance_of_peaks() -> None:
    network = randomized(AuxiliaryNet(8, 3, params=PARAMS))
    before = network(features())
    network.set_peak_variance(9.0)
    after = network(features())
    assert torch.equal(after[..., 0], before[..., 0])
    torch.testing.assert_close(after[..., 1].exp(), before[..., 1].exp() + 9)
    scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(features()), after)
    network.set_peak_variance(0)
    assert torch.equal(network(features()), before)


@pytest.mark.parametrize(
    ("options", "variance", "error", "message"),
    [
        ({}, -1.0, ValueError, "variance must be between 0 and 1e5, got -1.0"),
        ({}, float("nan"), ValueError, "variance must be between 0 and 1e5, got nan"),
        ({}, "9", TypeError, "variance must be a real number, got str"),
        ({"head": "offset"}, 9.0, ValueError, "head must be 'distance' for a variance of peaks"),
    ],
)
def test_variances_that_are_none(
    options: Any, variance: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        AuxiliaryNet(8, 3, **options).set_peak_variance(variance)


# Precision


def test_autocast_and_half_precision_give_float32(network: AuxiliaryNet) -> None:
    expected = as_tuple(network(features()))
    with torch.autocast("cpu", torch.bfloat16):
        under = as_tuple(network(features()))
    half = as_tuple(network.bfloat16()([f.bfloat16() for f in features()]))
    for want, one, other in zip(expected, under, half, strict=True):
        assert one.dtype == other.dtype == torch.float32
        torch.testing.assert_close(one, want, rtol=0.1, atol=0.1)
        torch.testing.assert_close(other, want, rtol=0.1, atol=0.1)


def test_float64(network: AuxiliaryNet) -> None:
    double = as_tuple(network.double()([f.double() for f in features()]))
    assert all(part.dtype == torch.float64 for part in double)


# Training


@pytest.mark.parametrize("head", ["distance", "offset"])
def test_gradients_stay_out_of_the_pose_network(head: str) -> None:
    pose = StackedHourglass(4, 2, 8)
    aux = AuxiliaryNet(8, 3, head=head)
    images, keypoints = torch.rand(2, 3, 64, 64), 16 * torch.rand(2, 4, 2)
    heatmaps, maps = pose(images)
    auxiliary_loss: Tensor = (
        nll_loss(aux(maps), keypoints, skeleton=CHAIN)
        if head == "distance"
        else offset_nll_loss(*aux(maps), keypoints, skeleton=CHAIN)
    )
    auxiliary_loss.backward(retain_graph=True)
    assert all(p.grad is None for p in pose.parameters())
    # Both train in one step, with no weight left over, as DistributedDataParallel requires.
    aux.zero_grad()
    (heatmaps.square().mean() + auxiliary_loss).backward()
    for module in (pose, aux):
        assert [name for name, p in module.named_parameters() if p.grad is None] == []


def bones_in_features(count: int, seed: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return features on a scale of their own that tell how long the bones of a chain are."""
    generator = torch.Generator().manual_seed(seed)
    lengths = 4 + 8 * torch.rand(count, 3, generator=generator)
    ends = torch.cat([torch.zeros(count, 1), lengths.cumsum(1)], dim=1)
    keypoints = torch.stack([ends, torch.zeros_like(ends)], dim=2)
    told = torch.cat([lengths, lengths.square() / 10], dim=1)  # 6 of 8 channels
    noise = torch.randn(count, 2, generator=generator)
    channels = 0.01 * torch.cat([told, noise], dim=1) + 5  # small, and far from zero
    maps = tuple(
        channels[:, :, None, None] + 0.002 * torch.randn(count, 8, s, s, generator=generator)
        for s in SIZES
    )
    return maps, keypoints


@pytest.mark.parametrize(("seed", "batch_size"), [(0, 8), (1, 64)])
def test_it_learns(seed: int, batch_size: int) -> None:
    maps, keypoints = bones_in_features(256, 0)
    unseen, truth = bones_in_features(128, 1)
    params = fit_params(keypoints, None, CHAIN)
    torch.manual_seed(seed)
    network = AuxiliaryNet(8, 3, params=params)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.05)
    for _ in range(batch_size // 2):  # 128 steps
        for rows in torch.randperm(256).split(batch_size):
            loss = nll_loss(network([f[rows] for f in maps]), keypoints[rows], skeleton=CHAIN)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        reached = nll_loss(network.eval()(unseen), truth, skeleton=CHAIN)
    assert reached < nll_loss(params, truth, skeleton=CHAIN) - 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_running_statistics_hold_from_the_first_batch(dtype: torch.dtype) -> None:
    def maps(count: int, seed: int) -> tuple[Tensor, ...]:
        return tuple(100 + 10 * part.to(dtype) for part in features(count, seed=seed))

    network = AuxiliaryNet(8, 3).to(dtype)
    seen = [maps(16, seed) for seed in range(40)]
    entry = network.entry[0]
    for number, batch in enumerate(seen, start=1):
        network.train()(batch)
        if number <= 10:  # the mean over all batches
            parts = [part[0] for part in seen[:number]]
            mean = torch.stack([part.mean((0, 2, 3)) for part in parts]).mean(0)
            variance = torch.stack([part.var((0, 2, 3)) for part in parts]).mean(0)
            torch.testing.assert_close(entry.running_mean, mean)
            torch.testing.assert_close(entry.running_var, variance)
    # And later the running mean of torch's own.
    usual = nn.BatchNorm2d(8).to(dtype)
    usual.running_mean.copy_(entry.running_mean)
    usual.running_var.copy_(entry.running_var)
    batch = 3 * maps(16, 99)[0]
    torch.testing.assert_close(entry.train()(batch), usual.train()(batch))
    for name, statistic in usual.named_buffers():
        if name != "num_batches_tracked":
            torch.testing.assert_close(entry.get_buffer(name), statistic)
    torch.testing.assert_close(entry.eval()(batch), usual.eval()(batch))


def test_few_steps_already_help() -> None:
    maps, keypoints = bones_in_features(27, 0)
    unseen, truth = bones_in_features(128, 1)
    params = fit_params(keypoints, None, CHAIN)
    torch.manual_seed(0)
    network = AuxiliaryNet(8, 3, params=params)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(15):
        optimizer.zero_grad()
        nll_loss(network.train()(maps), keypoints, skeleton=CHAIN).backward()
        optimizer.step()
        with torch.no_grad():
            reached = nll_loss(network.eval()(unseen), truth, skeleton=CHAIN)
        assert reached < nll_loss(params, truth, skeleton=CHAIN) + 0.1


def test_a_batch_of_one_value_leaves_the_statistics_alone() -> None:
    network = AuxiliaryNet([8], 3, strides=[])
    before = [buffer.clone() for buffer in network.buffers()]
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        network.train()([torch.rand(1, 8, 1, 1)])
    for buffer, other in zip(network.buffers(), before, strict=True):
        assert torch.equal(buffer, other)


# Other pose networks


def test_other_widths_and_sizes() -> None:
    maps = [
        torch.rand(2, 7, 25, 50),  # sizes that 2 does not divide are rounded up
        torch.rand(2, 9, 13, 25),
        torch.rand(2, 20, 13, 25),  # as large as the one before
        torch.rand(2, 20, 4, 7),
    ]
    network = AuxiliaryNet.for_features(maps, 3, params=PARAMS)
    assert network.arguments["channels"] == [7, 9, 20, 20]
    assert network.arguments["strides"] == [2, 1, 4]
    assert torch.equal(network(maps), PARAMS.expand(2, 3, 2))
    assert randomized_output_varies(network, maps)


def randomized_output_varies(network: AuxiliaryNet, maps: Sequence[Tensor]) -> bool:
    nn.init.normal_(network.head.linear.weight)
    params = network.train()(maps)
    return not torch.allclose(params[0], params[1])


def test_one_large_map_is_shrunk() -> None:
    network = AuxiliaryNet.for_features([torch.rand(2, 6, 24, 18)], 3)
    assert network.arguments["strides"] == [2, 2, 2]  # 12 x 9, 6 x 5, 3 x 3
    assert randomized_output_varies(network, [torch.rand(2, 6, 24, 18)])


def test_options_of_for_features() -> None:
    network = AuxiliaryNet.for_features(features(), 3, head="offset", width=5, strides=2)
    assert network.arguments == AuxiliaryNet(8, 3, head="offset", width=5).arguments


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        ([], ValueError, "features must be at least one map, got none"),
        ([np.zeros((1, 2, 4, 4))], TypeError, "features must be tensors, got ndarray"),
        (
            [torch.zeros(1, 2, 4)],
            ValueError,
            "features must be (B, C, H, W) and not empty, got (1, 2, 4)",
        ),
        (
            [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 0, 2)],
            ValueError,
            "features must be (B, C, H, W) and not empty, got (1, 2, 0, 2)",
        ),
        (
            [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 8, 8)],
            ValueError,
            "features must go from high to low resolution, each a whole number of times smaller, "
            "got 4x4 before 8x8",
        ),
        (
            [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 2)],
            ValueError,
            "features must go from high to low resolution, each a whole number of times smaller, "
            "got 8x8 before 4x2",
        ),
    ],
)
def test_features_that_are_none(maps: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        AuxiliaryNet.for_features(maps, 3)


def test_other_features_than_expected() -> None:
    network = AuxiliaryNet(8, 3)
    message = "features must be one map per scale (5), got 4"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(features()[1:])
    other = [*features()[:4], torch.rand(2, 8, 2, 2)]
    message = "features must shrink by the strides, from [2, 2] to [1, 1], got [2, 2]"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(other)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"channels": 0}, ValueError, "channels must be between 1 and 65536, got 0"),
        ({"channels": 2.0}, TypeError, "channels must be an integer, got 2.0"),
        ({"channels": "88888"}, TypeError, "channels must be an integer, got '88888'"),
        ({"channels": []}, ValueError, "channels must be one per scale (1 to 64), got 0"),
        (
            {"channels": [8, 8], "num_scales": 3},
            ValueError,
            "channels must be one per scale (3), got 2",
        ),
        ({"num_links": 0}, ValueError, "num_links must be between 1 and 65536, got 0"),
        ({"num_scales": 0}, ValueError, "num_scales must be between 1 and 64, got 0"),
        ({"strides": 0}, ValueError, "strides must be between 1 and 64, got 0"),
        (
            {"strides": [2, 2, 2]},
            ValueError,
            "strides must be at least one between each two scales (4), and at most 64, got 3",
        ),
        ({"width": 0}, ValueError, "width must be between 1 and 65536, got 0"),
        (
            {"extractor": "conv"},
            ValueError,
            "extractor must be one of convolution, pool (did you mean 'convolution'?), got 'conv'",
        ),
        ({"head": None}, TypeError, "head must be one of distance, offset, got None"),
        ({"dimensions": 4}, ValueError, "dimensions must be between 2 and 3, got 4"),
        ({"variant": "papre"}, ValueError, "variant must be one of default, paper (did you mean "),
        ({"params": [[1.0, 2.0]]}, ValueError, "params must be (L, 2) = (3, 2), got (1, 2)"),
        ({"params": "bones"}, TypeError, "params must be numbers (L, 2), got str: "),
        ({"params": PARAMS * torch.nan}, ValueError, "params must be finite, got [[nan, nan], "),
        ({"params": -PARAMS}, ValueError, "params must hold lengths from 0 to 1e5 and log-varianc"),
        ({"params": PARAMS, "head": "offset"}, ValueError, "params must be None with head='offset"),
        (
            {"offset_params": (OFFSETS, SCALE_TRIL)},
            ValueError,
            "offset_params must be None with head='distance': see params",
        ),
        (
            {"offset_params": OFFSETS, "head": "offset"},
            TypeError,
            "offset_params must be a pair (offsets, scale_tril), got Tensor",
        ),
        (
            {"offset_params": (OFFSETS, SCALE_TRIL), "head": "offset", "dimensions": 3},
            ValueError,
            "offset_params[0] must be (L, D) = (3, 3), got (3, 2)",
        ),
        (
            {"offset_params": (OFFSETS, SCALE_TRIL.mT), "head": "offset"},
            ValueError,
            "offset_params[1] must be lower-triangular with a positive diagonal, got [[[2.0, ",
        ),
        (
            {"offset_params": (OFFSETS, -SCALE_TRIL), "head": "offset"},
            ValueError,
            "offset_params[1] must be lower-triangular with a positive diagonal, got [[[-2.0, ",
        ),
    ],
)
def test_wrong_arguments(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        AuxiliaryNet(**{"channels": 8, "num_links": 3} | options)


# Shipping


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted(network: AuxiliaryNet) -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(network), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    for maps in (features(), features(3)):
        expected = network(maps)
        torch.testing.assert_close(scripted(maps), expected)
        torch.testing.assert_close(scripted(list(maps)), expected)
        torch.testing.assert_close(network(list(maps)), expected)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_errors_of_a_scripted_network() -> None:
    scripted = torch.jit.script(AuxiliaryNet(8, 3))
    for maps, message in (
        (features()[1:], "features must be one map per scale"),
        ([*features()[:4], torch.rand(2, 8, 2, 2)], "features must shrink by the strides"),
    ):
        with pytest.raises(torch.jit.Error, match=message):
            scripted(maps)


@pytest.mark.parametrize("head", ["distance", "offset"])
def test_exported(head: str) -> None:
    network = randomized(AuxiliaryNet(8, 3, head=head))
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (features(),), dynamic_shapes=((batch,) * 5,))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    exported = torch.export.load(file).module()
    torch.testing.assert_close(exported(features(3)), network(features(3)))


def test_compiled() -> None:
    torch._dynamo.reset()
    network = randomized(AuxiliaryNet(8, 3))
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend="eager")
    for maps in (features(), features(3)):
        torch.testing.assert_close(compiled(maps), network(maps))


class InAList(nn.Module):
    """A pose network that returns its features as a list."""

    def __init__(self, pose: nn.Module) -> None:
        super().__init__()
        self.pose = pose

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        heatmaps, (a, b, c, d, e) = self.pose(images)
        return heatmaps, [a, b, c, d, e]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("around", [lambda pose: pose, InAList])
def test_from_files_to_scores(around: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    pose = StackedHourglass(4, 1, 8).eval()
    aux = randomized(AuxiliaryNet(8, 3))
    paths = [tmp_path / "pose.pt", tmp_path / "aux.pt"]
    for module, path in zip((around(pose), aux), paths, strict=True):
        torch.jit.script(module).save(str(path))
    images = torch.rand(2, 3, 64, 64)
    result = Scorer(*paths, CHAIN, trust=True)(images)
    with torch.no_grad():
        heatmaps, maps = pose(images)
        expected = analyze(heatmaps[:, -1].contiguous(), aux(maps), skeleton=CHAIN)
    torch.testing.assert_close(result.score, expected.score)
    torch.testing.assert_close(result.refined.keypoints, expected.refined.keypoints)
