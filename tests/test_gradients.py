"""Derivatives of every operation: differences, an enumeration of poses, densities, and their bits.

The judges are torch's own differentiation of the definitions written anew: all poses of a small
tree one by one, and the densities of torch.distributions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import METHODS, examples, tree, trees
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import MultivariateNormal, Normal

import vl4pose
from vl4pose import Skeleton, _torch_formulas

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def weighted_gradients(
    results: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Tensor]
) -> list[Tensor]:
    """Return the gradient by each input of a weighted sum, 0 where it does not depend on it."""
    used = [pair for pair in zip(results, weights, strict=True) if pair[0].requires_grad]
    if not used:
        return [torch.zeros_like(tensor) for tensor in inputs]
    outputs, outer = zip(*used, strict=True)
    return list(
        torch.autograd.grad(outputs, inputs, outer, create_graph=True, materialize_grads=True)
    )


def gradients(
    function: Callable[..., Tensor], *arguments: Tensor, upstream: Tensor | None = None
) -> list[Tensor]:
    """Return the gradient by each argument of the sum of a result, or of a weighted sum."""
    inputs = leaves(*arguments)
    result = function(*inputs)
    if upstream is None:
        upstream = torch.ones_like(result)
    return list(torch.autograd.grad(result, inputs, upstream))


def derivatives(
    function: Callable[..., Tensor],
    arguments: Sequence[Tensor],
    upstream: Tensor,
    directions: Sequence[Tensor],
) -> list[Tensor]:
    """Return first derivatives by each argument, then second ones along the directions."""
    inputs = leaves(*arguments)
    first = weighted_gradients([function(*inputs)], inputs, [upstream])
    second = weighted_gradients(first, inputs, directions)
    return [gradient.detach() for gradient in (*first, *second)]


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.numpy().tobytes() == expected.numpy().tobytes()


def assert_all_same_bits(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for tensor, other in zip(found, expected, strict=True):
        assert_same_bits(tensor, other)


def assert_is_zero(gradient: Tensor) -> None:
    assert torch.equal(gradient, torch.zeros_like(gradient))


# Differences -------------------------------------------------------------------------------------

CHAIN = tree([(0, 1), (1, 2)])
STAR = tree([(1, 0), (1, 2), (1, 3)])
TREE = tree([(2, 0), (0, 3), (2, 1)])
ALONE = tree([])
SKELETONS = {"chain": CHAIN, "star": STAR, "tree": TREE, "alone": ALONE}
# Shapes of the images, and of params.
LEADS = {"batch": ((2,), (2,)), "shared params": ((2,), ()), "single image": ((), ())}


@dataclass
class Example:
    """An operation of some arguments, by all of which it is differentiable."""

    function: Callable[..., Tensor]
    arguments: list[Tensor]


def random_scale_tril(*shape: int, dimensions: int) -> Tensor:
    eye = 2 * torch.eye(dimensions, dtype=torch.float64)
    return 0.3 * torch.randn(*shape, dimensions, dimensions, dtype=torch.float64) + eye


def operation_examples(
    skeleton: Skeleton, lead: tuple[int, ...] = (2,), params_lead: tuple[int, ...] = (2,)
) -> dict[str, Example]:
    """Return every differentiable operation with random arguments for some images."""
    J, L, float64 = skeleton.num_joints, skeleton.num_links, torch.float64
    heatmaps = torch.randn(*lead, J, 4, 5, dtype=float64)
    params = 3 * torch.rand(*params_lead, L, 2, dtype=float64)
    values = torch.randn(*lead, J, 4, dtype=float64)
    count = torch.randint(0, 5, (*lead, J))
    keypoints = 3 * torch.randn(*lead, J, 2, dtype=float64)
    visible = torch.arange(J) != 1
    peaks: dict[str, Any] = {"num_peaks": 3, "min_distance": 1}
    of_poses: dict[str, Any] = {"skeleton": skeleton}

    def used_values(heatmaps: Tensor) -> Tensor:
        found = vl4pose.local_maxima(heatmaps, **peaks)
        return torch.where(found.values == -INF, 0, found.values)

    result = {
        f"score, {method}": Example(
            lambda h, p, method=method: vl4pose.score(
                h, p, method=method, temperature=0.7, **of_poses, **peaks
            ),
            [heatmaps, params],
        )
        for method in METHODS
    }
    result["multi_peak_entropy"] = Example(
        lambda h: vl4pose.multi_peak_entropy(h, temperature=0.7, **peaks), [heatmaps]
    )
    result["local_maxima"] = Example(used_values, [heatmaps])
    result["peak_weights"] = Example(lambda v: vl4pose.peak_weights(v, temperature=0.7), [values])
    result["peak_weights, count"] = Example(
        lambda v: vl4pose.peak_weights(v, count=count, temperature=0.7), [values]
    )
    for name, options in {
        "": {},
        ", per link": {"per_link": True},
        ", visible": {"per_link": True, "visible": visible.expand(*lead, J)},
    }.items():
        result[f"pose_log_likelihood{name}"] = Example(
            lambda k, p, options=options: vl4pose.pose_log_likelihood(k, p, **of_poses, **options),
            [keypoints, params],
        )
        for D in (2, 3):
            result[f"offset_log_likelihood, {D}{name}"] = Example(
                lambda k, o, t, options=options: vl4pose.offset_log_likelihood(
                    k, o, t, **of_poses, **options
                ),
                [
                    torch.randn(*lead, J, D, dtype=float64),
                    torch.randn(*params_lead, L, D, dtype=float64),
                    random_scale_tril(*params_lead, L, dimensions=D),
                ],
            )
    return result


OPERATIONS = tuple(operation_examples(CHAIN))


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_derivatives_are_limits_of_differences(operation: str, lead: str) -> None:
    for name, skeleton in SKELETONS.items():
        if name != "tree" and lead != "batch":
            continue  # the shapes of arguments and the shape of the tree are nothing to each other
        example = operation_examples(skeleton, *LEADS[lead])[operation]
        inputs = leaves(*example.arguments)
        assert gradcheck(example.function, inputs)
        assert gradgradcheck(example.function, inputs)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_by_one_argument_alone(operation: str) -> None:
    example = operation_examples(TREE)[operation]
    upstream = torch.randn_like(example.function(*example.arguments))
    by_all = gradients(example.function, *example.arguments, upstream=upstream)
    for index, argument in enumerate(example.arguments):
        arguments = list(example.arguments)
        arguments[index] = argument.clone().requires_grad_()
        result = example.function(*arguments)
        [gradient] = torch.autograd.grad(result, arguments[index], upstream, create_graph=True)
        assert_same_bits(gradient.detach(), by_all[index])
        assert gradgradcheck(
            lambda x, a=arguments, i=index: example.function(*a[:i], x, *a[i + 1 :]),
            arguments[index],
        )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_results_are_the_same_bits_with_and_without_gradient(operation: str) -> None:
    example = operation_examples(TREE)[operation]
    result = example.function(*leaves(*example.arguments))
    assert result.requires_grad
    assert_same_bits(result.detach(), example.function(*example.arguments))
    with torch.no_grad():
        assert not example.function(*leaves(*example.arguments)).requires_grad


# Scores against an enumeration of all poses ------------------------------------------------------


def log_weights_of_peaks(
    heatmaps: Tensor, peaks: Any, image: int, temperature: float
) -> list[Tensor]:
    """Return the log-softmax of an image's kept peaks, (n,) for each joint."""
    rows = []
    for joint, heatmap in enumerate(heatmaps[image]):
        n = int(peaks.count[image, joint])
        x, y = peaks.xy[image, joint, :n].long().T
        # One peak has weight 1 whatever its value, which may be -inf.
        scaled = heatmap[y, x] / temperature if n > 1 else torch.zeros(1, dtype=heatmap.dtype)
        rows.append(torch.log_softmax(scaled, 0))
    return rows


def clamped_normal(params: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of the lengths of a link, params (2,)."""
    length, log_variance = params.unbind(-1)
    return length.clamp(-1e6, 1e6), torch.exp(log_variance.clamp(-20, 20) / 2)


def link_tables(params: Tensor, peaks: Any, image: int, skeleton: Skeleton) -> list[Tensor]:
    """Return the log-likelihoods (n_parent, n_child) of an image's links between kept peaks."""
    tables = []
    for link, (parent, child) in zip(params, skeleton.links, strict=True):
        ends = [peaks.xy[image, j, : int(peaks.count[image, j])] for j in (parent, child)]
        tables.append(Normal(*clamped_normal(link)).log_prob(torch.cdist(*ends)))
    return tables


def enumerated_score(
    method: str,
    skeleton: Skeleton,
    log_weights: list[Tensor],
    tables: list[Tensor],
    best_pose: Tensor,
) -> Tensor:
    """Return the score of an image by visiting every pose."""
    if method == "sum":

        def total(joint: int) -> Tensor:
            node = log_weights[joint]
            for (parent, child), table in zip(skeleton.links, tables, strict=True):
                if parent == joint:
                    node = node + (table + total(child)).sum(1)
            return node

        return total(skeleton.root).sum()
    if method == "max":
        poses = best_pose[None].long()
    else:
        poses = torch.cartesian_prod(*(torch.arange(len(row)) for row in log_weights))
        poses = poses.reshape(-1, skeleton.num_joints)  # of one joint there is no product
    log_p = sum(row[poses[:, joint]] for joint, row in enumerate(log_weights))
    log_q = torch.zeros(len(poses), dtype=torch.float64)
    for (parent, child), table in zip(skeleton.links, tables, strict=True):
        log_q = log_q + table[poses[:, parent], poses[:, child]]
    if method == "expected":
        return torch.sum(torch.exp(log_p) * log_q)
    log_joint = log_p + log_q
    highest = log_joint.max().detach()  # not torch.logsumexp: its shares sum to 1 but for rounding
    return highest + torch.log(torch.exp(log_joint - highest).sum())


@dataclass
class Images:
    """Arguments of `score`, and how large the terms of their sums are."""

    skeleton: Skeleton
    heatmaps: Tensor
    params: Tensor
    temperature: float
    num_peaks: int

    @property
    def options(self) -> dict[str, Any]:
        return {
            "min_distance": 1,
            "num_peaks": self.num_peaks,
            "temperature": self.temperature,
        }

    def score(self, method: str) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda heatmaps, params: vl4pose.score(
            heatmaps, params, skeleton=self.skeleton, method=method, **self.options
        )

    def entropy(self, heatmaps: Tensor) -> Tensor:
        return vl4pose.multi_peak_entropy(heatmaps, **self.options)

    def enumerated(self, method: str) -> Callable[[Tensor, Tensor], Tensor]:
        peaks = self.peaks()
        best = vl4pose.refine(self.heatmaps, self.params, skeleton=self.skeleton, **self.options)

        def score(heatmaps: Tensor, params: Tensor) -> Tensor:
            of_images = params.expand(len(heatmaps), *params.shape[-2:])
            scores = [
                enumerated_score(
                    method,
                    self.skeleton,
                    log_weights_of_peaks(heatmaps, peaks, image, self.temperature),
                    link_tables(of_images[image], peaks, image, self.skeleton),
                    best.peak_index[image],
                )
                for image in range(len(heatmaps))
            ]
            return torch.stack(scores)

        return score

    def enumerated_entropy(self, heatmaps: Tensor) -> Tensor:
        peaks = self.peaks()
        result = []
        for image in range(len(heatmaps)):
            rows = log_weights_of_peaks(heatmaps, peaks, image, self.temperature)
            result.append(sum(-torch.sum(torch.exp(row) * row) for row in rows))
        return torch.stack(result)

    def peaks(self) -> Any:
        return vl4pose.local_maxima(self.heatmaps, min_distance=1, num_peaks=self.num_peaks)

    def largest_term(self) -> float:
        peaks = self.peaks()
        largest = 1.0
        of_images = self.params.expand(len(self.heatmaps), *self.params.shape[-2:])
        for image, params in enumerate(of_images):
            for table in link_tables(params, peaks, image, self.skeleton):
                largest = max(largest, float(table.abs().max()))
        return largest


@st.composite
def images(draw: st.DrawFn) -> Images:
    """Draw a batch whose values tie, with plateaus, -inf, few peaks and params out of range."""
    links = draw(trees(4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    B, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    shape = (B, len(links) + 1, height, width)
    levels = draw(st.sampled_from([1, 2, 5, 1000]))
    heatmaps = rng.integers(0, levels + 1, shape) * draw(st.sampled_from([1.0, 0.01, 30.0]))
    heatmaps[rng.random(shape) < draw(st.sampled_from([0.0, 0.0, 0.3]))] = -INF
    if draw(st.booleans()):
        heatmaps[0, 0] = -INF  # a map without a peak whose fallback is -inf
    own = draw(st.sampled_from([(len(links),), (B, len(links))]))
    length = rng.choice([0.0, 1.0, math.sqrt(2), 3.3, -1.0], own)
    log_variance = rng.choice([-3.0, 0.0, 0.5, 4.0], own)
    if draw(st.booleans()):  # beyond the range, and at its ends
        length = np.where(rng.random(own) < 0.3, rng.choice([-2e6, 3e6, 1e6], own), length)
        far = np.abs(length) > 10
        end = np.where(far, rng.choice([20.0, 22.0], own), rng.choice([-20.5, -20.0, 25.0], own))
        log_variance = np.where(far | (rng.random(own) < 0.3), end, log_variance)
    return Images(
        tree(links),
        torch.from_numpy(heatmaps.astype(np.float64)),
        torch.from_numpy(np.stack([length, log_variance], -1)),
        10 ** draw(st.floats(-3, 3)),
        draw(st.integers(1, 4)),
    )


def assert_derivatives_close(
    found: Sequence[Tensor], expected: Sequence[Tensor], rounding: float
) -> None:
    """Compare derivatives whose terms are rounded to this part of the largest of them."""
    assert len(found) == len(expected)
    for gradient, judge in zip(found, expected, strict=True):
        largest = float(judge.abs().max()) if judge.numel() else 0.0
        torch.testing.assert_close(gradient, judge, rtol=1e-9, atol=rounding * (1 + largest))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", METHODS)
@given(images(), st.integers(0, 2**31))
@examples(0.6)
def test_derivatives_of_scores_equal_those_of_an_enumeration(
    method: str, batch: Images, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    arguments = (batch.heatmaps, batch.params)
    upstream, *directions = (
        torch.randn(shape, generator=rng, dtype=torch.float64)
        for shape in ((len(batch.heatmaps),), *(tensor.shape for tensor in arguments))
    )
    score, judge = batch.score(method), batch.enumerated(method)
    torch.testing.assert_close(
        score(*arguments), judge(*arguments), rtol=1e-9, atol=1e-12 * batch.largest_term()
    )
    # A share of a pose is the exponential of a sum of terms, a second derivative divides by the
    # temperature twice.
    rounding = 1e-13 * batch.largest_term() / min(batch.temperature, 1.0) ** 2
    assert_derivatives_close(
        derivatives(score, arguments, upstream, directions),
        derivatives(judge, arguments, upstream, directions),
        rounding,
    )


@pytest.mark.usefixtures("kernels")
@given(images(), st.integers(0, 2**31))
@examples(0.6)
def test_derivatives_of_entropy_equal_those_of_its_definition(batch: Images, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    upstream = torch.randn(len(batch.heatmaps), generator=rng, dtype=torch.float64)
    direction = torch.randn(batch.heatmaps.shape, generator=rng, dtype=torch.float64)
    arguments = ([batch.heatmaps], upstream, [direction])
    assert_derivatives_close(
        derivatives(batch.entropy, *arguments),
        derivatives(batch.enumerated_entropy, *arguments),
        1e-12 / min(batch.temperature, 1.0) ** 2,
    )


@pytest.mark.parametrize("method", METHODS)
def test_params_out_of_range_have_no_gradient(method: str) -> None:
    heatmaps = torch.rand(2, 3, 8, 8)
    params = torch.tensor([[1.5e6, 1.0], [-2e6, -20.5]])
    _, by_params = gradients(
        lambda h, p: vl4pose.score(h, p, skeleton=CHAIN, method=method), heatmaps, params
    )
    assert torch.equal(by_params == 0, torch.tensor([[True, False], [True, True]]))
    ends = torch.tensor([[1e6, 20.0], [-1e6, -20.0]])  # which are not out of it
    _, by_params = gradients(
        lambda h, p: vl4pose.score(h, p, skeleton=CHAIN, method=method), heatmaps, ends
    )
    assert (by_params != 0).all()


@pytest.mark.parametrize("method", [*METHODS, "entropy"])
def test_weights_too_small_to_have_a_logarithm(method: str) -> None:
    """Of 0 and 1e308 the lower has weight 0, and log-weight -inf; of 0 and 1e5 weight 0 alone."""
    params = torch.rand(3, 2, dtype=torch.float64)
    upstream = torch.ones(1, dtype=torch.float64)
    results = []
    for height in (1e308, 1e5):
        heatmaps = torch.full((1, 4, 8, 8), -height, dtype=torch.float64)
        heatmaps[0, :, 2, 2], heatmaps[0, :, 5, 5] = height, 0.0
        batch = Images(STAR, heatmaps, params, 1.0 if height < 1e308 else 1e-6, 2)
        function = batch.score(method) if method in METHODS else lambda h, p, b=batch: b.entropy(h)
        directions = [torch.ones_like(heatmaps), torch.ones_like(params)]
        found = derivatives(function, [heatmaps, params], upstream, directions)
        # Divided by the temperature once for the heatmaps.
        results.append([found[0] * batch.temperature, *found[1:]])
    assert all(torch.isfinite(gradient).all() for gradient in results[0])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_lies_on_the_kept_peaks(method: str) -> None:
    heatmaps, params = torch.rand(3, 4, 9, 7), torch.rand(3, 2)
    options: dict[str, Any] = {"num_peaks": 3, "min_distance": 2, "exclude_border": 1}
    peaks = vl4pose.local_maxima(heatmaps, **options)
    assert (peaks.count < 3).any()
    kept = torch.zeros(heatmaps.shape, dtype=torch.bool)
    for image in range(3):
        for joint in range(4):
            x, y = peaks.xy[image, joint, : int(peaks.count[image, joint])].long().T
            kept[image, joint, y, x] = True
    by_score, _ = gradients(
        lambda h, p: vl4pose.score(h, p, skeleton=STAR, method=method, **options), heatmaps, params
    )
    [by_entropy] = gradients(lambda h: vl4pose.multi_peak_entropy(h, **options), heatmaps)
    for gradient in (by_score, by_entropy):
        assert_is_zero(gradient[~kept])
        assert (gradient[kept] != 0).any()
    # Unused slots take what comes to them, even NaN, and lead nowhere.
    upstream = torch.rand(peaks.values.shape)
    upstream[peaks.values == -INF] = NAN
    [gradient] = gradients(
        lambda h: vl4pose.local_maxima(h, **options).values, heatmaps, upstream=upstream
    )
    assert_is_zero(gradient[~kept])
    assert torch.equal(gradient[kept].sort().values, upstream[~upstream.isnan()].sort().values)


def test_heatmaps_are_not_kept_for_the_gradient() -> None:
    params = torch.rand(2, 2, requires_grad=True)
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        score = vl4pose.score(torch.rand(4, 3, 64, 64, requires_grad=True), params, skeleton=CHAIN)
    assert max(tensor.numel() for tensor in kept) <= 4 * 3 * 5 * 2
    score.sum().backward()
    assert params.grad is not None


def test_values_that_were_changed_in_place_have_a_gradient() -> None:
    heatmaps = torch.rand(2, 3, 8, 8)

    def total(heatmaps: Tensor) -> Tensor:
        values = vl4pose.local_maxima(heatmaps, num_peaks=9).values
        return values.masked_fill_(values == -INF, 0.0)

    [gradient] = gradients(total, heatmaps)
    assert float(gradient.sum()) == float((total(heatmaps) != 0).sum())


# Weights of peaks --------------------------------------------------------------------------------


@st.composite
def rows_of_values(draw: st.DrawFn) -> tuple[Tensor, Tensor | None, float]:
    """Draw values (B, J, K) with ties and -inf, a count or None, and a temperature."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 6)))
    values = rng.integers(0, draw(st.sampled_from([1, 3, 1000])), shape) * 0.01
    values[rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = -INF
    count = None
    if draw(st.booleans()):
        count = torch.from_numpy(rng.integers(0, shape[2] + 1, shape[:2]))
    return torch.from_numpy(values), count, 10 ** draw(st.floats(-3, 3))


def softmax_of_rows(values: Tensor, count: Tensor | None, temperature: float) -> Tensor:
    result = torch.zeros_like(values)
    for row in np.ndindex(*values.shape[:-1]):
        used = torch.arange(values.shape[-1]) < count[row] if count is not None else None
        used = values[row] > -INF if used is None else used
        if (values[row][used] > -INF).any():
            result[row] = result[row].index_put(
                (used,), torch.softmax(values[row][used] / temperature, 0)
            )
        elif used.any():
            result[row][0] = 1.0
    return result


@pytest.mark.usefixtures("kernels")
@given(rows_of_values(), st.integers(0, 2**31))
@examples(0.6)
def test_derivatives_of_weights_equal_those_of_softmax(
    case: tuple[Tensor, Tensor | None, float], seed: int
) -> None:
    values, count, temperature = case
    rng = torch.Generator().manual_seed(seed)
    upstream, direction = torch.randn(2, *values.shape, generator=rng, dtype=torch.float64)
    rounding = 1e-14 / min(temperature, 1.0) ** 2

    def weights(values: Tensor) -> Tensor:
        return vl4pose.peak_weights(values, count=count, temperature=temperature)

    def formula(values: Tensor) -> Tensor:
        return _torch_formulas.peak_weights(values, count, temperature)

    def judge(values: Tensor) -> Tensor:
        return softmax_of_rows(values, count, temperature)

    expected = derivatives(judge, [values], upstream, [direction])
    for function in (weights, formula):
        torch.testing.assert_close(function(values), judge(values), rtol=1e-12, atol=1e-15)
        found = derivatives(function, [values], upstream, [direction])
        assert_derivatives_close(found, expected, rounding)


# Log-likelihoods of given poses ------------------------------------------------------------------


@dataclass
class Poses:
    """Arguments of the log-likelihoods of given poses in D dimensions."""

    skeleton: Skeleton
    keypoints: Tensor
    visible: Tensor | None
    of_links: list[Tensor]  # params, or offsets and scale_tril
    per_link: bool
    upstream: Tensor
    directions: list[Tensor]

    @property
    def arguments(self) -> list[Tensor]:
        return [self.keypoints, *self.of_links]

    @property
    def name(self) -> str:
        return "pose_log_likelihood" if len(self.of_links) == 1 else "offset_log_likelihood"

    def public(self, *arguments: Tensor) -> Tensor:
        result: Tensor = getattr(vl4pose, self.name)(
            *arguments, skeleton=self.skeleton, visible=self.visible, per_link=self.per_link
        )
        return result

    def formula(self, *arguments: Tensor) -> Tensor:
        links = [joint for link in self.skeleton.links for joint in link]
        result: Tensor = getattr(_torch_formulas, self.name)(
            *arguments, self.visible, links, self.per_link
        )
        return result

    def density(self, keypoints: Tensor, *of_links: Tensor) -> Tensor:
        """Return the same from torch's distributions, link by link."""
        B, L = len(keypoints), self.skeleton.num_links
        terms = torch.zeros(B, L, dtype=torch.float64)
        ranks = (2,) if len(of_links) == 1 else (2, 3)
        of_images = [
            array.expand(B, *array.shape[-rank:])
            for array, rank in zip(of_links, ranks, strict=True)
        ]
        for image, link, (parent, child) in self._counted():
            step = keypoints[image, child] - keypoints[image, parent]
            terms = terms.index_put(
                (torch.tensor(image), torch.tensor(link)),
                self._log_prob(step, *(array[image, link] for array in of_images)),
            )
        return terms if self.per_link else terms.sum(1)

    def _counted(self) -> Iterator[tuple[int, int, tuple[int, int]]]:
        for image in range(len(self.keypoints)):
            for link, ends in enumerate(self.skeleton.links):
                if self.visible is None or self.visible[image, list(ends)].all():
                    yield image, link, ends

    @staticmethod
    def _log_prob(step: Tensor, *of_link: Tensor) -> Tensor:
        if len(of_link) == 2:
            offset, scale_tril = of_link
            return MultivariateNormal(
                offset, scale_tril=scale_tril.tril(), validate_args=False
            ).log_prob(step)
        r = step.norm() if (step != 0).any() else torch.zeros_like(step[0])
        return Normal(*clamped_normal(of_link[0])).log_prob(r)


@st.composite
def poses(draw: st.DrawFn) -> Poses:
    """Draw poses with bones of no length, params out of range, and NaN where not visible."""
    links, D = draw(trees(5)), draw(st.sampled_from([0, 2, 3]))  # 0 is for lengths, not offsets
    B, J, L = draw(st.integers(1, 3)), len(links) + 1, len(links)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keypoints = rng.integers(0, 4, (B, J, D or 2)).astype(np.float64)
    if draw(st.booleans()):
        keypoints += rng.normal(size=keypoints.shape)
    visible = None
    if draw(st.booleans()):
        visible = rng.random((B, J)) < 0.7
        keypoints[~visible] = rng.choice([NAN, INF, 1e300])
    leads = [draw(st.sampled_from([(), (B,)])) for _ in range(2)]
    if D == 0:
        length = rng.choice([0.0, 1.0, 2.2, -1.0, 2e6, -3e6], (*leads[0], L))
        log_variance = rng.choice([-3.0, 0.0, 0.5, 4.0, 20.5], (*leads[0], L))
        log_variance = np.where(np.abs(length) > 10, 21.0, log_variance)
        of_links = [np.stack([length, log_variance], -1)]
    else:
        scale = np.tril(rng.normal(size=(*leads[1], L, D, D)), -1)
        scale = scale + np.eye(D) * rng.uniform(0.3, 3, (*leads[1], L, D, 1))
        above = np.triu(rng.normal(size=scale.shape), 1)  # is not read
        of_links = [rng.normal(size=(*leads[0], L, D)), scale + above]
    per_link = draw(st.booleans())
    arrays = [torch.from_numpy(array) for array in (keypoints, *of_links)]
    directions = [torch.from_numpy(rng.normal(size=array.shape)) for array in arrays]
    upstream = torch.from_numpy(rng.normal(size=(B, L) if per_link else (B,)))
    mask = None if visible is None else torch.from_numpy(visible)
    return Poses(tree(links), arrays[0], mask, arrays[1:], per_link, upstream, directions)


@pytest.mark.usefixtures("kernels")
@given(poses())
@examples(0.6)
def test_derivatives_of_given_poses_equal_those_of_densities(case: Poses) -> None:
    expected = derivatives(case.density, case.arguments, case.upstream, case.directions)
    judge = case.density(*case.arguments)
    for function in (case.public, case.formula):
        torch.testing.assert_close(function(*case.arguments), judge, rtol=1e-12, atol=1e-12)
        found = derivatives(function, case.arguments, case.upstream, case.directions)
        assert len(found) == len(expected)
        for gradient, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-10)


@given(poses())
@examples(1)
def test_joints_that_are_not_visible_have_no_gradient(case: Poses) -> None:
    for function in (case.public, case.formula):
        by_keypoints = gradients(function, *case.arguments, upstream=case.upstream)[0]
        assert torch.isfinite(by_keypoints).all()
        if case.visible is not None:
            assert_is_zero(by_keypoints[~case.visible])


def test_bones_of_no_length_pull_nowhere() -> None:
    keypoints = torch.tensor([[[3.0, 4.0], [3.0, 4.0], [3.0, 4.0]]])
    params = torch.tensor([[5.0, 0.5], [0.0, -2.0]])
    upstream, directions = torch.ones(1), [torch.ones_like(keypoints), torch.ones_like(params)]
    for function in (
        lambda k, p: vl4pose.pose_log_likelihood(k, p, skeleton=CHAIN),
        lambda k, p: _torch_formulas.pose_log_likelihood(k, p, None, [0, 1, 1, 2], False),
    ):
        first_k, first_p, second_k, second_p = derivatives(
            function, [keypoints, params], upstream, directions
        )
        assert_is_zero(first_k)
        assert_is_zero(second_k)
        assert (first_p != 0).sum() == 3  # of all but the length that is right
        assert torch.isfinite(second_p).all()


def test_a_visible_joint_that_is_nan_spoils_only_links_that_count() -> None:
    keypoints = torch.rand(2, 3, 2)
    keypoints[0, 1] = NAN
    visible = torch.tensor([[False, True, False], [True, True, True]])
    for function in (
        lambda k, p, v: vl4pose.pose_log_likelihood(k, p, skeleton=CHAIN, visible=v, per_link=True),
        lambda k, p, v: _torch_formulas.pose_log_likelihood(k, p, v, [0, 1, 1, 2], True),
    ):
        params = torch.rand(2, 2, 2)
        assert_is_zero(function(keypoints, params, visible)[0])
        by_keypoints, by_params = gradients(
            lambda k, p, f=function: f(k, p, visible), keypoints, params
        )
        assert_is_zero(by_keypoints[0])
        assert_is_zero(by_params[0])
        assert torch.isfinite(by_keypoints).all()
        result = function(keypoints, params, None)
        assert result[0].isnan().all()
        assert torch.isfinite(result[1]).all()


def test_formulas_are_as_exact_as_the_core() -> None:
    bone = tree([(0, 1)])
    rng = np.random.default_rng(0)
    keypoints = torch.from_numpy(rng.uniform(0, 64, (4000, 2, 2)).astype(np.float32))
    lengths = (keypoints[:, 1].double() - keypoints[:, 0].double()).norm(dim=-1)
    deviation = torch.from_numpy(rng.normal(0, 0.05, 4000))
    params = torch.stack([lengths + deviation, torch.full_like(lengths, -10.0)], -1)
    params = params[:, None].float()
    exact = vl4pose.pose_log_likelihood(keypoints.double(), params.double(), skeleton=bone)
    difference = lengths - params[:, 0, 0].double()
    scale = 0.5 * (math.log(2 * math.pi) + 10 + difference**2 * math.exp(10))
    for found in (
        vl4pose.pose_log_likelihood(keypoints, params, skeleton=bone),
        _torch_formulas.pose_log_likelihood(keypoints, params, None, [0, 1], False),
    ):
        assert found.dtype == torch.float32
        assert float(((found.double() - exact).abs() / scale).max()) <= 1e-5


# Dtypes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients_have_the_dtype_of_their_arguments(operation: str, dtype: torch.dtype) -> None:
    example = operation_examples(TREE)[operation]
    rounded = [argument.to(dtype) for argument in example.arguments]
    result = example.function(*rounded)
    assert result.dtype == torch.float32
    upstream = torch.rand_like(result)
    found = gradients(example.function, *rounded, upstream=upstream)
    wide = [argument.double() for argument in rounded]
    expected = gradients(example.function, *wide, upstream=upstream.double())
    precision = torch.finfo(dtype).eps
    for gradient, exact in zip(found, expected, strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(
            gradient.double(), exact, rtol=precision, atol=1e-6 * float(exact.abs().max())
        )


def test_params_of_another_dtype_get_gradients_of_their_own() -> None:
    heatmaps, params = torch.rand(2, 3, 8, 8, dtype=torch.float16), torch.rand(2, 2)
    for dtype in (torch.float64, torch.bfloat16):
        by_heatmaps, by_params = gradients(
            lambda h, p: vl4pose.score(h, p, skeleton=CHAIN), heatmaps, params.to(dtype)
        )
        assert by_heatmaps.dtype == torch.float16
        assert by_params.dtype == dtype
    keypoints, visible = 5 * torch.rand(2, 3, 2), np.array([[True, True, False]] * 2)
    _, by_params = gradients(
        lambda k, p: vl4pose.pose_log_likelihood(k, p, skeleton=CHAIN, visible=visible),
        keypoints,
        params.double(),
    )
    assert by_params.dtype == torch.float64


def test_params_are_rounded_as_for_the_result() -> None:
    """In float32 the first length is that of the bone, and the second is not out of range."""
    keypoints = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    params = torch.tensor([[3.0 + 1e-8, -20.0], [1e6 + 1e-3, 1.0]], dtype=torch.float64)
    heatmaps = torch.zeros(3, 2, 4)
    for joint, (x, y) in enumerate(keypoints.long().tolist()):
        heatmaps[joint, y, x] = 1.0
    for function in (
        lambda p: vl4pose.score(heatmaps, p, skeleton=CHAIN),
        lambda p: vl4pose.pose_log_likelihood(keypoints, p, skeleton=CHAIN),
        lambda p: _torch_formulas.pose_log_likelihood(keypoints, p, None, [0, 1, 1, 2], False),
    ):
        [found] = gradients(function, params)
        [expected] = gradients(function, params.float())
        assert_same_bits(found, expected.double())
        assert found[0, 0] == 0
        assert (found.flatten()[1:] != 0).all()


def test_params_of_another_kind() -> None:
    heatmaps, params = torch.rand(2, 3, 8, 8), torch.rand(2, 2)
    [by_heatmaps] = gradients(lambda h: vl4pose.score(h, params.numpy(), skeleton=CHAIN), heatmaps)
    expected, _ = gradients(lambda h, p: vl4pose.score(h, p, skeleton=CHAIN), heatmaps, params)
    assert_same_bits(by_heatmaps, expected)


# Images that are not finite ----------------------------------------------------------------------


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("argument", ["heatmaps", "params"])
@pytest.mark.parametrize("method", METHODS)
def test_an_image_that_is_not_finite_spoils_no_other(
    method: str, argument: str, bad: float
) -> None:
    heatmaps, params = torch.rand(4, 3, 8, 8), torch.rand(4, 2, 2)
    spoilt = {"heatmaps": heatmaps.clone(), "params": params.clone()}
    spoilt[argument][2].view(-1)[3] = bad

    def score(heatmaps: Tensor, params: Tensor) -> Tensor:
        return vl4pose.score(heatmaps, params, skeleton=CHAIN, method=method)

    good, upstream = [0, 1, 3], torch.tensor([1.0, -2.0, -3.0, 4.0])
    clean = gradients(score, heatmaps, params, upstream=upstream)
    found = gradients(score, *spoilt.values(), upstream=upstream)
    for gradient, expected in zip(found, clean, strict=True):
        assert_same_bits(gradient[good], expected[good])
    by_heatmaps, by_params = found
    assert by_heatmaps[2].isnan().any()
    assert by_params[2].isnan().all()
    # What a caller leaves out of a sum does no harm.
    found = gradients(lambda h, p: score(h, p)[good], *spoilt.values(), upstream=upstream[good])
    for gradient, expected in zip(found, clean, strict=True):
        assert_same_bits(gradient[good], expected[good])
        assert_is_zero(gradient[2])


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("operation", ["multi_peak_entropy", "local_maxima"])
def test_heatmaps_that_are_not_finite_spoil_no_others(operation: str, bad: float) -> None:
    heatmaps = torch.rand(4, 3, 8, 8)
    spoilt = heatmaps.clone()
    spoilt[2, 0, 0, 0] = bad

    def function(heatmaps: Tensor) -> Tensor:
        result = getattr(vl4pose, operation)(heatmaps)
        return result.values if operation == "local_maxima" else result

    good = [0, 1, 3]
    [clean] = gradients(function, heatmaps)
    [found] = gradients(function, spoilt)
    assert_same_bits(found[good], clean[good])
    assert found[2].isnan().any()
    [found] = gradients(lambda h: function(h)[good], spoilt)
    assert_same_bits(found[good], clean[good])
    assert_is_zero(found[2])


@pytest.mark.parametrize("by", ["the core", "the formula"])
@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("argument", [1, 2])
@pytest.mark.parametrize("D", [0, 2, 3])
def test_a_pose_that_is_not_finite_spoils_no_other(
    D: int, argument: int, bad: float, by: str
) -> None:
    keypoints = torch.rand(4, 3, D or 2, dtype=torch.float64)
    if D == 0:
        of_links = [torch.rand(4, 2, 2, dtype=torch.float64)]
        argument = 1
    else:
        of_links = [torch.rand(4, 2, D, dtype=torch.float64), random_scale_tril(4, 2, dimensions=D)]
    arguments = [keypoints, *of_links]
    case = Poses(CHAIN, keypoints, None, of_links, True, torch.ones(4, 2), [])
    function = case.public if by == "the core" else case.formula
    spoilt = [array.clone() for array in arguments]
    spoilt[argument][2].view(-1)[0] = bad
    good = [0, 1, 3]
    upstream = -torch.ones(4, 2, dtype=torch.float64)
    clean = gradients(function, *arguments, upstream=upstream)
    found = gradients(function, *spoilt, upstream=upstream)
    for gradient, expected in zip(found, clean, strict=True):
        torch.testing.assert_close(gradient[good], expected[good], rtol=0, atol=0)
        gradient = gradient[2].tril() if gradient.ndim == 4 else gradient[2]
        assert gradient.isnan().sum() >= 1
    assert found[0][2].isnan().all()
    found = gradients(lambda *a: function(*a)[good], *spoilt)
    for gradient in found:
        assert_is_zero(gradient[2])


def test_weights_that_are_not_finite_spoil_no_others() -> None:
    values = torch.rand(2, 3, 4)
    spoilt = values.clone()
    spoilt[0, 1, 2], spoilt[1, 2, 0] = NAN, INF
    bad = ~torch.isfinite(spoilt).all(-1)
    upstream = -torch.rand(2, 3, 4)
    for function in (
        vl4pose.peak_weights,
        lambda v: _torch_formulas.peak_weights(v, None, 1.0),
    ):
        [clean] = gradients(function, values, upstream=upstream)
        [found] = gradients(function, spoilt, upstream=upstream)
        assert_same_bits(found[~bad], clean[~bad])
        assert found[bad].isnan().all()
        [found] = gradients(function, spoilt, upstream=torch.where(bad[..., None], 0, upstream))
        assert_same_bits(found[~bad], clean[~bad])
        assert_is_zero(found[bad])


# Bits --------------------------------------------------------------------------------------------

# How many images give each of eight threads a part.
MANY = {"score": 8 * 64, "peak_weights": 8 * 300, "log_likelihood": 8 * 4096}


def many(operation: str, *, shared: bool) -> Example:
    """Return an operation on so many images that they go to several threads."""
    [images] = (number for name, number in MANY.items() if name in operation)
    example = operation_examples(CHAIN, (images,), () if shared else (images,))[operation]
    return Example(example.function, [argument.float() for argument in example.arguments])


BY_THREADS = (
    *(f"score, {method}" for method in METHODS),
    "peak_weights",
    "pose_log_likelihood",
    "offset_log_likelihood, 3",
)


def all_bits(example: Example) -> list[Tensor]:
    upstream = torch.rand_like(
        example.function(*example.arguments), generator=torch.Generator().manual_seed(1)
    )
    directions = [
        torch.rand_like(argument, generator=torch.Generator().manual_seed(2))
        for argument in example.arguments
    ]
    return derivatives(example.function, example.arguments, upstream, directions)


@pytest.fixture
def num_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("shared", [False, True], ids=["own params", "shared params"])
@pytest.mark.parametrize("operation", BY_THREADS)
def test_threads_change_no_bit(
    operation: str, shared: bool, num_threads: Callable[[int], None]
) -> None:
    example = many(operation, shared=shared)
    num_threads(1)
    expected = all_bits(example)
    for threads in (2, 3, 8):
        num_threads(threads)
        assert_all_same_bits(all_bits(example), expected)


@pytest.mark.parametrize("operation", BY_THREADS)
def test_images_have_the_same_gradient_in_any_company(operation: str) -> None:
    example = many(operation, shared=False)
    upstream = torch.rand_like(example.function(*example.arguments))
    together = gradients(example.function, *example.arguments, upstream=upstream)
    images = len(upstream)
    others = torch.randperm(images)
    for some in (others, others[:7], others[:1], torch.arange(images - 3, images)):
        found = gradients(
            example.function,
            *(argument[some] for argument in example.arguments),
            upstream=upstream[some],
        )
        assert_all_same_bits(found, [gradient[some] for gradient in together])
    [image] = others[:1].tolist()
    if operation != "peak_weights":
        alone = gradients(
            example.function,
            *(argument[image] for argument in example.arguments),
            upstream=upstream[image],
        )
        assert_all_same_bits(alone, [gradient[image] for gradient in together])


@pytest.mark.parametrize("operation", [name for name in BY_THREADS if name != "peak_weights"])
def test_the_gradient_of_shared_params_is_the_sum_over_images(operation: str) -> None:
    example = operation_examples(TREE, (50,), ())[operation]
    upstream = torch.rand_like(example.function(*example.arguments))
    first, *shared = example.arguments
    _, *found = gradients(example.function, first, *shared, upstream=upstream)
    repeated = [argument.expand(50, *argument.shape) for argument in shared]
    _, *of_images = gradients(example.function, first, *repeated, upstream=upstream)
    for gradient, parts in zip(found, of_images, strict=True):
        torch.testing.assert_close(gradient, parts.sum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_cpu_capabilities_give_the_same_bits(operation: str) -> None:
    before = vl4pose.get_cpu_capability()
    example = operation_examples(TREE, (9,), (9,))[operation]
    results = []
    try:
        for capability in vl4pose.cpu_capabilities():
            vl4pose.set_cpu_capability(capability)
            results.append(all_bits(example))
    finally:
        vl4pose.set_cpu_capability(before)
    for result in results[1:]:
        assert_all_same_bits(result, results[0])


# Memory layouts ----------------------------------------------------------------------------------


def negative_view(x: Tensor) -> Tensor:
    """Return the same values as torch stores the imaginary part of a conjugate."""
    view = torch.complex(x, -x).conj().imag
    assert view.is_neg()
    return view


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "every second": lambda x: x.repeat_interleave(2, 0)[::2],
    "sliced": lambda x: torch.nn.functional.pad(x, (2, 1))[..., 2:-1],
    "first axis last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    "last axes swapped": lambda x: x.mT.contiguous().mT,
    "negative view": negative_view,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_layout_of_arguments_changes_no_bit(operation: str, layout: str) -> None:
    example = operation_examples(TREE, (4,), (4,))[operation]
    change = LAYOUTS[layout]
    upstream = torch.rand_like(example.function(*example.arguments))
    expected = gradients(example.function, *example.arguments, upstream=upstream)
    inputs = [change(argument).detach().requires_grad_() for argument in example.arguments]
    assert not all(argument.is_contiguous() and not argument.is_neg() for argument in inputs)
    found = torch.autograd.grad(example.function(*inputs), inputs, upstream)
    assert_all_same_bits([gradient.contiguous() for gradient in found], expected)


def test_heatmaps_with_the_channels_last() -> None:
    heatmaps, params = torch.rand(2, 3, 8, 6), torch.rand(2, 2)
    expected, _ = gradients(lambda h, p: vl4pose.score(h, p, skeleton=CHAIN), heatmaps, params)
    leaf = heatmaps.contiguous(memory_format=torch.channels_last).requires_grad_()
    vl4pose.score(leaf, params, skeleton=CHAIN).sum().backward()
    assert leaf.grad is not None
    assert_same_bits(leaf.grad.contiguous(), expected)


def test_an_expanded_image_gets_the_sum() -> None:
    heatmaps, params = torch.rand(1, 3, 8, 6, dtype=torch.float64), torch.rand(5, 2, 2).double()

    def expanded(heatmaps: Tensor, params: Tensor) -> Tensor:
        return vl4pose.score(heatmaps.expand(5, -1, -1, -1), params, skeleton=CHAIN)

    def repeated(heatmaps: Tensor, params: Tensor) -> Tensor:
        return vl4pose.score(heatmaps.repeat(5, 1, 1, 1), params, skeleton=CHAIN)

    found, expected = (gradients(f, heatmaps, params) for f in (expanded, repeated))
    assert_all_same_bits(found, expected)


@pytest.mark.parametrize("layout", ["expanded", "negative", *LAYOUTS])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_layout_of_upstream_gradients_changes_no_bit(operation: str, layout: str) -> None:
    example = operation_examples(TREE, (4,), (4,))[operation]
    result = example.function(*example.arguments)
    upstream = torch.rand_like(result)
    if layout == "expanded":
        upstream = torch.rand((), dtype=result.dtype).expand_as(result)
    directions = [torch.rand_like(argument) for argument in example.arguments]
    if layout == "expanded":
        directions = [torch.rand((), dtype=d.dtype).expand_as(d) for d in directions]
    expected = derivatives(
        example.function,
        example.arguments,
        upstream.contiguous(),
        [direction.contiguous() for direction in directions],
    )
    change = LAYOUTS.get(layout, lambda x: x)
    if "swapped" in layout and upstream.ndim < 2:
        change = LAYOUTS["every second"]
    if layout == "negative":
        change = negative_view
    found = derivatives(
        example.function,
        example.arguments,
        change(upstream),
        [change(direction) for direction in directions],
    )
    assert_all_same_bits([gradient.contiguous() for gradient in found], expected)


# Edges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_images_have_an_empty_gradient(operation: str) -> None:
    for params_lead in ((0,), ()):
        example = operation_examples(CHAIN, (0,), params_lead)[operation]
        for gradient, argument in zip(
            gradients(example.function, *example.arguments), example.arguments, strict=True
        ):
            assert gradient.shape == argument.shape
            assert_is_zero(gradient)


# local_maxima is linear: already its second derivative is none.
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "local_maxima"])
def test_third_derivatives_are_an_error(operation: str) -> None:
    example = operation_examples(CHAIN)[operation]
    inputs = leaves(*example.arguments)
    result = example.function(*inputs)
    upstream = torch.randn_like(result)
    first = torch.autograd.grad(result, inputs, upstream, create_graph=True)
    ones = [torch.randn_like(gradient) for gradient in first]
    second = torch.autograd.grad(first, inputs, ones, create_graph=True)
    message = r"^vl4pose has first and second derivatives, but none of third order$"
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(second, inputs, ones)


@pytest.mark.parametrize(
    ("operation", "argument"),
    [
        ("refine", "heatmaps"),
        ("refine", "params"),
        ("analyze", "heatmaps"),
        ("analyze", "params"),
        ("decode", "heatmaps"),
    ],
)
def test_what_has_no_gradient_says_so(operation: str, argument: str) -> None:
    arrays = {"heatmaps": torch.rand(2, 3, 8, 8), "params": torch.rand(2, 2)}
    arrays[argument].requires_grad_()

    def call() -> Any:
        if operation == "decode":
            return vl4pose.decode(arrays["heatmaps"])
        return getattr(vl4pose, operation)(*arrays.values(), skeleton=CHAIN)

    message = (
        f"^{argument} must not require grad, got a tensor that does: this operation gives no "
        rf"gradient; pass {argument}.detach\(\) or call it under torch.no_grad\(\)$"
    )
    with pytest.raises(RuntimeError, match=message):
        call()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert call().keypoints.shape == (2, 3, 2)


def test_only_values_of_peaks_have_a_gradient() -> None:
    peaks = vl4pose.local_maxima(torch.rand(2, 3, 8, 8, requires_grad=True))
    assert [array.requires_grad for array in peaks] == [False, True, False]


def test_numpy_heatmaps_and_params_that_require_grad_are_an_error() -> None:
    heatmaps, params = np.zeros((1, 3, 8, 8)), torch.rand(2, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^params must not require grad"):
        vl4pose.score(heatmaps, params, skeleton=CHAIN)


def test_constants_that_were_made_in_inference_mode() -> None:
    with torch.inference_mode():
        heatmaps = torch.rand(2, 3, 8, 8)
    [found] = gradients(lambda p: vl4pose.score(heatmaps, p, skeleton=CHAIN), torch.rand(2, 2))
    assert (found != 0).all()


def test_a_graph_may_be_walked_twice() -> None:
    heatmaps, params = leaves(torch.rand(2, 3, 8, 8), torch.rand(2, 2))
    score = vl4pose.score(heatmaps, params, skeleton=CHAIN).sum()
    once = torch.autograd.grad(score, [heatmaps, params], retain_graph=True)
    again = torch.autograd.grad(score, [heatmaps, params])
    assert_all_same_bits(once, again)
