"""The losses against the twin and against statistics, what visible means, and their errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, tree, trees
from torch import Tensor

import vl4pose
from vl4pose import Skeleton, reference
from vl4pose.losses import NLLLoss, OffsetNLLLoss, nll_loss, offset_nll_loss

INF, NAN = math.inf, math.nan
CHAIN = tree([(0, 1), (1, 2)])
TREE = tree([(1, 0), (1, 2), (2, 3)])
REDUCTIONS = ("mean", "sum", "none")


def assert_positive_zero(tensor: Tensor) -> None:
    assert torch.equal(tensor, torch.zeros_like(tensor))
    assert not torch.signbit(tensor).any()


# Against the twin --------------------------------------------------------------------------------


def annotations(
    draw: st.DrawFn, dimensions: int
) -> tuple[Skeleton, np.random.Generator, np.ndarray, np.ndarray | None]:
    """Draw poses of which some joints may be invisible, and then NaN."""
    links = draw(trees(6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(0, 4)), len(links) + 1)
    keypoints = rng.uniform(0, 64, (*shape, dimensions))
    visible = None
    if draw(st.booleans()):
        visible = rng.random(shape) < draw(st.sampled_from([0.0, 0.5, 0.9]))
        keypoints[~visible] = NAN
    return tree(links), rng, keypoints, visible


def reduced(per_link: np.ndarray, skeleton: Skeleton, visible: Any, reduction: str) -> np.ndarray:
    """Return the loss of log-likelihoods of links (B, L), as its definition has it."""
    if reduction == "none":
        return -per_link
    if reduction == "sum":
        return -per_link.sum()
    counted = np.ones(per_link.shape, bool)
    if visible is not None:
        for link, (parent, child) in enumerate(skeleton.links):
            counted[:, link] = visible[:, parent] & visible[:, child]
    return -per_link[counted].sum() / max(counted.sum(), 1)


def tensor(array: np.ndarray | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(array)


@given(st.data())
@examples(1)
def test_lengths_equal_the_twin(data: st.DataObject) -> None:
    skeleton, rng, keypoints, visible = annotations(data.draw, 2)
    own = data.draw(st.sampled_from([(), (len(keypoints),)]))
    length = rng.choice([3.0, 20.0, -1.0, 2e6], (*own, skeleton.num_links))
    log_variance = rng.choice([-2.0, 0.0, 3.0, 25.0], length.shape)
    params = np.stack([length, np.where(length > 1e6, 25.0, log_variance)], -1)
    reduction = data.draw(st.sampled_from(REDUCTIONS))
    found = nll_loss(
        torch.from_numpy(params),
        torch.from_numpy(keypoints),
        skeleton=skeleton,
        visible=tensor(visible),
        reduction=reduction,
    )
    per_link = reference.pose_log_likelihood(
        keypoints, params, skeleton=skeleton, visible=visible, per_link=True
    )
    expected = reduced(per_link, skeleton, visible, reduction)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-12, atol=1e-12)


@given(st.data())
@examples(1)
def test_offsets_equal_the_twin(data: st.DataObject) -> None:
    D = data.draw(st.sampled_from([2, 3]))
    skeleton, rng, keypoints, visible = annotations(data.draw, D)
    L, batch = skeleton.num_links, (len(keypoints),)
    own = [data.draw(st.sampled_from([(), batch])) for _ in range(2)]
    offsets = rng.normal(size=(*own[0], L, D))
    scale_tril = np.tril(rng.normal(size=(*own[1], L, D, D)), -1)
    scale_tril += np.eye(D) * rng.uniform(0.5, 3, (*own[1], L, D, 1))
    reduction = data.draw(st.sampled_from(REDUCTIONS))
    found = offset_nll_loss(
        torch.from_numpy(offsets),
        torch.from_numpy(scale_tril),
        torch.from_numpy(keypoints),
        skeleton=skeleton,
        visible=tensor(visible),
        reduction=reduction,
    )
    per_link = reference.offset_log_likelihood(
        keypoints, offsets, scale_tril, skeleton=skeleton, visible=visible, per_link=True
    )
    expected = reduced(per_link, skeleton, visible, reduction)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-12, atol=1e-12)


def test_the_constant_is_in_it() -> None:
    """A bone of the expected length and variance 1 has density 1 / sqrt(2 pi), not 1."""
    bone = tree([(0, 1)])
    keypoints = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]], dtype=torch.float64)
    loss = nll_loss(torch.tensor([[5.0, 0.0]]), keypoints, skeleton=bone)
    assert float(loss) == pytest.approx(0.5 * math.log(2 * math.pi), rel=1e-15)
    loss = offset_nll_loss(torch.tensor([[3.0, 4.0]]), torch.eye(2)[None], keypoints, skeleton=bone)
    assert float(loss) == pytest.approx(math.log(2 * math.pi), rel=1e-15)


# What is not visible -----------------------------------------------------------------------------

Loss = Callable[..., Tensor]


def lengths_and_offsets() -> dict[str, tuple[Loss, list[Tensor]]]:
    """Return both losses as functions of (keypoints, visible, *what is predicted)."""
    scale_tril = 2 * torch.eye(2) + 0.1 * torch.rand(3, 3, 2, 2)
    return {
        "nll_loss": (
            lambda keypoints, visible, params, **options: nll_loss(
                params, keypoints, skeleton=TREE, visible=visible, **options
            ),
            [torch.rand(3, 3, 2)],
        ),
        "offset_nll_loss": (
            lambda keypoints, visible, offsets, scale, **options: offset_nll_loss(
                offsets, scale, keypoints, skeleton=TREE, visible=visible, **options
            ),
            [torch.rand(3, 3, 2), scale_tril],
        ),
    }


BOTH = ("nll_loss", "offset_nll_loss")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", BOTH)
def test_without_a_visible_link_loss_and_gradient_are_zero(name: str, reduction: str) -> None:
    loss, predicted = lengths_and_offsets()[name]
    keypoints = torch.full((3, 4, 2), NAN)
    visible = torch.zeros(3, 4, dtype=torch.bool)
    visible[:, 3] = True  # one end of a link is not enough
    keypoints[:, 3] = 1.0
    inputs = [array.clone().requires_grad_() for array in (keypoints, *predicted)]
    result = loss(inputs[0], visible, *inputs[1:], reduction=reduction)
    assert_positive_zero(result.detach())
    for gradient in torch.autograd.grad(result.sum(), inputs):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("unread", [NAN, INF, 1e30])
@pytest.mark.parametrize("name", BOTH)
def test_coordinates_that_are_not_visible_are_not_read(name: str, unread: float) -> None:
    loss, predicted = lengths_and_offsets()[name]
    keypoints = torch.rand(3, 4, 2)
    visible = torch.tensor(
        [[True, True, True, True], [True, True, False, True], [False, True, True, False]]
    )
    results = []
    for value in (0.0, unread):
        inputs = [array.clone().requires_grad_() for array in (keypoints, *predicted)]
        with torch.no_grad():
            inputs[0][~visible] = value
        result = loss(inputs[0], visible, *inputs[1:])
        result.backward()
        results.append([result.detach(), *(array.grad for array in inputs)])
        assert torch.isfinite(result)
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found, expected)
    by_keypoints = results[0][1]
    assert torch.equal(by_keypoints[~visible], torch.zeros_like(by_keypoints[~visible]))
    assert (by_keypoints[0] != 0).any()
    assert torch.equal(by_keypoints[1, 3], torch.zeros(2))  # whose parent is not visible


@pytest.mark.parametrize("name", BOTH)
def test_the_mean_is_over_visible_links_of_all_images(name: str) -> None:
    loss, predicted = lengths_and_offsets()[name]
    keypoints = torch.rand(3, 4, 2)
    visible = torch.ones(3, 4, dtype=torch.bool)
    visible[0], visible[1, 0] = False, False  # of 9 links, 5 are left
    terms = loss(keypoints, visible, *predicted, reduction="none")
    assert terms.shape == (3, 3)
    assert_positive_zero(terms[0])
    assert_positive_zero(terms[1, 0])
    total = loss(keypoints, visible, *predicted, reduction="sum")
    torch.testing.assert_close(total, terms.sum())
    torch.testing.assert_close(loss(keypoints, visible, *predicted), total / 5)
    all_visible = torch.ones(3, 4, dtype=torch.bool)
    assert torch.equal(loss(keypoints, all_visible, *predicted), loss(keypoints, None, *predicted))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", BOTH)
def test_no_images_and_no_links(name: str, reduction: str) -> None:
    loss, predicted = lengths_and_offsets()[name]
    result = loss(
        torch.rand(0, 4, 2), None, *(array[:0] for array in predicted), reduction=reduction
    )
    assert result.shape == ((0, 3) if reduction == "none" else ())
    assert_positive_zero(result)
    alone = tree([])
    for visible in (None, torch.tensor([[True], [False]])):
        result = nll_loss(
            torch.zeros(2, 0, 2),
            torch.rand(2, 1, 2),
            skeleton=alone,
            visible=visible,
            reduction=reduction,
        )
        assert result.shape == ((2, 0) if reduction == "none" else ())
        assert_positive_zero(result)


# Shapes and dtypes -------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", BOTH)
def test_one_pose_is_a_batch_of_one(name: str, reduction: str) -> None:
    loss, predicted = lengths_and_offsets()[name]
    keypoints, visible = torch.rand(3, 4, 2), torch.rand(3, 4) < 0.8
    of_one = [array[0] for array in (keypoints, visible, *predicted)]
    found = loss(*of_one, reduction=reduction)
    expected = loss(*(array[None] for array in of_one), reduction=reduction)
    assert torch.equal(found, expected[0] if reduction == "none" else expected)


def test_shared_params_are_those_of_every_image() -> None:
    params, keypoints = torch.rand(3, 2, requires_grad=True), 9 * torch.rand(5, 4, 2)
    shared = nll_loss(params, keypoints, skeleton=TREE)
    repeated = nll_loss(params.expand(5, 3, 2), keypoints, skeleton=TREE)
    assert torch.equal(shared, repeated)
    found, expected = (torch.autograd.grad(loss, params)[0] for loss in (shared, repeated))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", BOTH)
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    loss, predicted = lengths_and_offsets()[name]
    inputs = [array.to(dtype).requires_grad_() for array in (8 * torch.rand(3, 4, 2), *predicted)]
    result = loss(inputs[0], None, *inputs[1:])
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = loss(inputs[0].double(), None, *(array.double() for array in inputs[1:]))
    torch.testing.assert_close(result.double(), exact, rtol=1e-6, atol=1e-6)
    result.backward()
    for array in inputs:
        assert array.grad is not None
        assert array.grad.dtype == dtype


# Module forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("skeleton", [TREE, "lsp", None])
def test_modules_are_the_functions(skeleton: Skeleton | str | None, reduction: str) -> None:
    J = 4 if skeleton is TREE else 14
    params, keypoints = torch.rand(2, J - 1, 2), 9 * torch.rand(2, J, 2)
    visible = torch.rand(2, J) < 0.8
    module = NLLLoss(skeleton, reduction=reduction)
    for mask in (None, visible):
        expected = nll_loss(params, keypoints, skeleton=skeleton, visible=mask, reduction=reduction)
        assert torch.equal(module(params, keypoints, mask), expected)
    assert torch.equal(module(params, keypoints, visible=visible), expected)
    if skeleton is None:
        return
    scale_tril = torch.eye(2).expand(2, J - 1, 2, 2)
    offset_module = OffsetNLLLoss(skeleton, reduction=reduction)
    for mask in (None, visible):
        expected = offset_nll_loss(
            params, scale_tril, keypoints, skeleton=skeleton, visible=mask, reduction=reduction
        )
        assert torch.equal(offset_module(params, scale_tril, keypoints, mask), expected)


def test_modules_tell_what_they_are() -> None:
    assert repr(NLLLoss()) == "NLLLoss(skeleton=None, reduction='mean')"
    assert repr(NLLLoss("lsp", reduction="sum")) == "NLLLoss(skeleton='lsp', reduction='sum')"
    assert repr(OffsetNLLLoss(TREE)) == "OffsetNLLLoss(skeleton='tree', reduction='mean')"
    assert list(NLLLoss().parameters()) == []


def test_all_names_are_public() -> None:
    for name in ("nll_loss", "offset_nll_loss", "NLLLoss", "OffsetNLLLoss"):
        assert getattr(vl4pose, name) is getattr(vl4pose.losses, name)


# Errors ------------------------------------------------------------------------------------------

PARAMS, KEYPOINTS = torch.rand(2, 3, 2), torch.rand(2, 4, 2)
VISIBLE = torch.ones(2, 4, dtype=torch.bool)
OFFSETS, SCALE_TRIL = torch.rand(2, 3, 2), torch.eye(2).expand(2, 3, 2, 2)
GOOD: dict[str, dict[str, Any]] = {
    "nll_loss": {"params": PARAMS, "keypoints": KEYPOINTS, "visible": VISIBLE},
    "offset_nll_loss": {
        "offsets": OFFSETS,
        "scale_tril": SCALE_TRIL,
        "keypoints": KEYPOINTS,
        "visible": VISIBLE,
    },
}
ERRORS: list[tuple[str, Any, type[Exception], str]] = [
    ("reduction", "avg", ValueError, "reduction must be one of mean, sum, none, got 'avg'"),
    ("reduction", None, TypeError, "reduction must be one of mean, sum, none, got None"),
    ("skeleton", "icvl", ValueError, "skeleton must have as many joints as the arrays (4)"),
    ("skeleton", 3, TypeError, "skeleton must be "),
    ("keypoints", torch.rand(2, 4, 5), ValueError, "keypoints must have axes (B, J, D)"),
    ("keypoints", torch.rand(4), ValueError, "keypoints must have axes (B, J, D)"),
    ("keypoints", torch.ones(2, 4, 2, dtype=torch.int64), TypeError, "keypoints must be float16"),
    ("keypoints", None, TypeError, "keypoints must be "),
    ("keypoints", np.zeros((2, 4, 2)), TypeError, "keypoints must be a tensor, got ndarray"),
    ("visible", torch.ones(2, 4), TypeError, "visible must be bool, got torch.float32"),
    ("visible", torch.ones(2, 3) > 0, ValueError, "visible must have shape (2, 4), got (2, 3)"),
    ("visible", np.ones((2, 4), bool), TypeError, "visible must be a tensor, got ndarray"),
]
OWN_ERRORS: dict[str, list[tuple[str, Any, type[Exception], str]]] = {
    "nll_loss": [
        ("params", PARAMS[:, :2], ValueError, "params must have shape (2, 3, 2) or (3, 2), got"),
        ("params", PARAMS[..., 0], ValueError, "params must have shape (2, 3, 2) or (3, 2), got"),
        ("params", PARAMS.int(), TypeError, "params must be float16, bfloat16, float32 or float64"),
        ("params", [[1.0, 2.0]], TypeError, "params must be a tensor, got list"),
        ("keypoints", torch.rand(2, 4, 3), ValueError, "keypoints must have axes (B, J, D)"),
    ],
    "offset_nll_loss": [
        ("offsets", OFFSETS[:1], ValueError, "offsets must have shape (2, 3, 2) or (3, 2), got"),
        ("offsets", OFFSETS.long(), TypeError, "offsets must be float16"),
        ("offsets", None, TypeError, "offsets must be "),
        ("scale_tril", OFFSETS, ValueError, "scale_tril must have shape (2, 3, 2, 2) or"),
        ("skeleton", None, TypeError, "skeleton must be a Skeleton or a preset's name, got None"),
    ],
}


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", BOTH)
def test_errors(name: str, requires_grad: bool) -> None:
    """The same whether torch sees the call or not."""
    loss = getattr(vl4pose, name)
    for argument, value, error, message in ERRORS + OWN_ERRORS[name]:
        arguments = {**GOOD[name], "skeleton": TREE, argument: value}
        if requires_grad:
            arguments = {
                key: array.clone().requires_grad_()
                if isinstance(array, Tensor) and array.is_floating_point() and key != "visible"
                else array
                for key, array in arguments.items()
            }
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            loss(**arguments)


@pytest.mark.parametrize("module", [NLLLoss, OffsetNLLLoss])
def test_modules_refuse_a_reduction_when_they_are_made(module: Any) -> None:
    with pytest.raises(ValueError, match=r"^reduction must be one of mean, sum, none, got 'avg'$"):
        module("lsp", reduction="avg")


# Minima ------------------------------------------------------------------------------------------


def descend(loss: Callable[..., Tensor], *parameters: Tensor) -> None:
    """Minimise a smooth loss."""
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=500,
        tolerance_grad=1e-10,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(*parameters)
        value.backward()
        return value

    optimizer.step(closure)


def random_poses(D: int = 2) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    keypoints = torch.randn(60, 4, D, generator=rng, dtype=torch.float64)
    keypoints += torch.arange(4.0)[:, None] * torch.linspace(2, 3, D)
    visible = torch.rand(60, 4, generator=rng) < 0.8
    keypoints[~visible] = NAN
    return keypoints, visible


def test_the_minimum_is_what_fit_params_fits() -> None:
    keypoints, visible = random_poses()
    params = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    descend(lambda p: nll_loss(p, keypoints, skeleton=TREE, visible=visible), params)
    expected = vl4pose.fit_params(keypoints, visible, TREE)
    torch.testing.assert_close(params.detach(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("D", [2, 3])
def test_the_minimum_over_offsets_is_their_mean_and_covariance(D: int) -> None:
    keypoints, visible = random_poses(D)
    offsets = torch.zeros(3, D, dtype=torch.float64, requires_grad=True)
    scale_tril = torch.eye(D, dtype=torch.float64).repeat(3, 1, 1).requires_grad_()
    descend(
        lambda o, t: offset_nll_loss(o, t, keypoints, skeleton=TREE, visible=visible),
        offsets,
        scale_tril,
    )
    for link, (parent, child) in enumerate(TREE.links):
        both = visible[:, parent] & visible[:, child]
        steps = keypoints[both, child] - keypoints[both, parent]
        torch.testing.assert_close(offsets[link].detach(), steps.mean(0), rtol=1e-6, atol=1e-6)
        covariance = torch.cov(steps.T, correction=0)
        torch.testing.assert_close(
            scale_tril[link].detach().tril(),
            torch.linalg.cholesky(covariance),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", BOTH)
def test_second_derivatives(name: str, reduction: str) -> None:
    loss, predicted = lengths_and_offsets()[name]
    inputs = [array.double().requires_grad_() for array in (9 * torch.rand(3, 4, 2), *predicted)]
    visible = torch.tensor([[True] * 4, [True, True, True, False], [False, True, True, True]])
    assert torch.autograd.gradgradcheck(
        lambda k, *p: loss(k, visible, *p, reduction=reduction), inputs
    )


def test_newton_s_step_finds_the_length() -> None:
    """For a given variance the loss is a parabola of the length."""
    keypoints, visible = random_poses()
    expected = vl4pose.fit_params(keypoints, visible, TREE)

    def loss(length: Tensor) -> Tensor:
        params = torch.stack([length, torch.full_like(length, 0.3)], -1)
        return nll_loss(params, keypoints, skeleton=TREE, visible=visible)

    length = torch.full((3,), 7.0, dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(loss, length)
    hessian = torch.autograd.functional.hessian(loss, length)
    assert torch.equal(hessian, torch.diag(hessian.diagonal()))
    torch.testing.assert_close(length - gradient / hessian.diagonal(), expected[:, 0])
