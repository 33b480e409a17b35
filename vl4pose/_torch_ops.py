"""The operations as torch knows them: with gradients, under tracing, and under transforms.

A plain call on plain tensors never comes here. What does are tensors that require grad, and those
that hold no memory of their own: of torch.compile, torch.export, torch.func and their like. Every
operation is one :class:`_Operation`, registered with torch.library; its gradient is an operation
again, computed beside it in the compiled core, and so is that one's. Places of peaks are constants.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vl4pose import _core, _torch_formulas, scoring
from vl4pose._arrays import (
    FLOATING,
    Allocator,
    check_dense,
    has_kernels,
    is_compiling,
    no_kernels,
    take,
)
from vl4pose._options import Options, check_options, core_options, threads
from vl4pose._torch_formulas import result_dtype
from vl4pose.skeleton import Skeleton, resolve_skeleton

_LIBRARY = torch.library.Library("vl4pose", "DEF")  # type: ignore[no-untyped-call]

# Of the outputs of the fused pass, those that have a gradient, and what it is computed from.
_DIFFERENTIABLE = ("score", "entropy_sum", "values")
_PEAKS = ("xy", "values", "count")
_WITH_GRADIENT = {*_DIFFERENTIABLE, *_PEAKS}


@dataclass(eq=False)
class _Operation:
    """What torch has to know about an operation.

    Attributes
    ----------
    schema : str
        Name, arguments and results, as torch.library.define takes them.
    compute : callable
        Takes the schema's arguments, without gradient; returns the results.
    empty : callable
        Likewise, but returns tensors whose contents do not matter.
    save : callable
        Takes the context of a torch.autograd.Function, the arguments and the results.
    backward : callable
        Takes the context and the gradients of the results; returns those of the arguments.
    vmap : callable, optional
        As torch.library.register_vmap takes it.
    registered : callable
        The operation as torch's dispatcher calls it.
    """

    schema: str
    compute: Callable[..., Any]
    empty: Callable[..., Any]
    save: Callable[..., None]
    backward: Callable[..., tuple[Any, ...]]
    vmap: Callable[..., tuple[Any, Any]] | None = None
    registered: Any = field(init=False)

    def __post_init__(self) -> None:
        _LIBRARY.define(self.schema)  # type: ignore[no-untyped-call]
        for device in ("CPU", "CUDA"):
            _LIBRARY.impl(self.name, self.compute, device)  # type: ignore[no-untyped-call]
        torch.library.register_fake(self.name, self.empty, lib=_LIBRARY)
        returns_list = self.schema.endswith("Tensor[]")

        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            self.save(ctx, inputs, output)
            # To torch a list without elements, as links of one joint are, is one of tensors.
            ctx.empty_lists = [i for i, value in enumerate(inputs) if value == []]

        def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
            gradients = list(self.backward(ctx, *(grads[0] if returns_list else grads)))
            for i in ctx.empty_lists:
                gradients[i] = []
            return tuple(gradients)

        torch.library.register_autograd(
            self.name, backward, setup_context=setup_context, lib=_LIBRARY
        )
        if self.vmap is not None:
            torch.library.register_vmap(self.name, self.vmap, lib=_LIBRARY)
        self.registered = getattr(torch.ops.vl4pose, self.name.removeprefix("vl4pose::")).default

    @property
    def name(self) -> str:
        """With its namespace."""
        return "vl4pose::" + self.schema.partition("(")[0]


class _Eager(torch.autograd.Function):
    """An operation on tensors that hold data: as the registered one, but for less overhead."""

    @staticmethod
    def forward(ctx: Any, *inputs_and_operation: Any) -> Any:
        *inputs, operation = inputs_and_operation
        output = _as_output(operation.compute(*inputs))
        ctx.operation = operation
        operation.save(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return *ctx.operation.backward(ctx, *grads), None


class _Transformed(torch.autograd.Function):
    """An operation under the transforms of torch.func."""

    @staticmethod
    def forward(*inputs_and_operation: Any) -> Any:
        *inputs, operation = inputs_and_operation
        return _as_output(operation.compute(*inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *rest, operation = inputs
        ctx.operation = operation
        operation.save(ctx, rest, output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return *ctx.operation.backward(ctx, *grads), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs_and_operation: Any) -> Any:
        *inputs, operation = inputs_and_operation
        if operation.vmap is None:
            raise RuntimeError(f"{operation.name} must not be called under torch.vmap")
        output, out_dims = operation.vmap(info, in_dims[:-1], *inputs)
        return _as_output(output), _as_output(out_dims)


def _as_output(output: Any) -> Any:
    return tuple(output) if isinstance(output, list) else output


def _call(operation: _Operation, *inputs: Any) -> Any:
    """Call an operation in the way that its tensors need."""
    is_traced = is_compiling() or torch._C._len_torch_dispatch_stack() > 0
    if is_traced or any(_is_subclass(value) for value in inputs):
        return operation.registered(*inputs)
    if torch._C._are_functorch_transforms_active():
        return _Transformed.apply(*inputs, operation)  # type: ignore[no-untyped-call]
    return _Eager.apply(*inputs, operation)  # type: ignore[no-untyped-call]


def _is_subclass(value: object) -> bool:
    """Return whether this is a tensor of another type, such as a fake one, or without data."""
    if not isinstance(value, Tensor):
        return False
    return value.is_meta or type(value) not in (Tensor, torch.nn.Parameter)


# ------------------------------------------------------------------------------------------------
# The fused pass over heatmaps
# ------------------------------------------------------------------------------------------------


def fused_pass(
    names: tuple[str, ...],
    heatmaps: Tensor,
    options: tuple[Any, ...],
    num_threads: int | None,
    params: Any,
    skeleton: Skeleton | str | None,
) -> list[Any]:
    """Return the named outputs of one pass: see `scoring._fused_pass`."""
    options = check_options(*options)
    _check_has_kernels(heatmaps)
    shape = scoring.checked_heatmap_shape(heatmaps.shape)
    links = None
    if scoring.needs_tree(names):
        links = resolve_skeleton(skeleton, shape[-3])._flat_links
        params = _as_tensor(params, "params", heatmaps, "heatmaps")
    wanted = names
    if torch.is_grad_enabled():
        _check_has_gradient(names, heatmaps, params)
        if set(names).issubset(_WITH_GRADIENT):
            wanted = (*names, *(name for name in _PEAKS if name not in names))
    outputs = _call(_ANALYZE, heatmaps, params, links, *options, num_threads, wanted)
    return list(outputs[: len(names)])


def _check_has_gradient(names: Sequence[str], heatmaps: Tensor, params: Tensor | None) -> None:
    """Raise if heatmaps or params require grad and an output would leave them without."""
    if set(names).issubset(_WITH_GRADIENT):
        return
    for argument, array in (("heatmaps", heatmaps), ("params", params)):
        if array is not None and array.requires_grad:
            raise RuntimeError(
                f"{argument} must not require grad, got a tensor that does: this operation gives "
                f"no gradient; pass {argument}.detach() or call it under torch.no_grad()"
            )


def _as_tensor(array: Any, argument: str, first: Tensor, first_argument: str) -> Tensor:
    """Return an argument that may be of another kind than the first one, and elsewhere."""
    if not isinstance(array, Tensor):
        array = torch.as_tensor(take(array, argument, first_argument)[0], device="cpu")
    check_dense(array, argument)
    if array.device != first.device:
        raise ValueError(
            f"{argument} must be on the device of {first_argument} ({first.device}), "
            f"got {array.device}"
        )
    return array  # type: ignore[no-any-return]


def _check_has_kernels(heatmaps: Tensor) -> None:
    check_dense(heatmaps, "heatmaps")
    if not has_kernels(heatmaps.device.type):
        raise RuntimeError(no_kernels(heatmaps, "heatmaps"))


def _skeleton_of(links: Sequence[int] | None) -> Skeleton | None:
    """Return a skeleton of these links, the joints going by their numbers."""
    return None if links is None else _numbered_skeleton(tuple(links))


@functools.lru_cache(maxsize=256)
def _numbered_skeleton(links: tuple[int, ...]) -> Skeleton:
    pairs = list(zip(links[::2], links[1::2], strict=True))
    return Skeleton("links", [str(joint) for joint in range(len(pairs) + 1)], pairs)


def _analyze(
    heatmaps: Tensor, params: Tensor | None, links: Sequence[int] | None, *rest: Any
) -> list[Tensor]:
    *options, num_threads, names = rest
    return scoring.compute_pass(
        tuple(names), heatmaps, tuple(options), num_threads, params, _skeleton_of(links)
    )


class _EmptyAllocator(Allocator):
    """Makes tensors of symbolic shapes, on the device of a given one."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self.empty = lambda shape, dtype: like.new_empty(shape, dtype=dtype)

    def layout(self, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
        return shape, result_dtype(self._like) if dtype == "result" else getattr(torch, dtype)


def check_floating(array: Tensor, argument: str) -> None:
    """Raise unless the tensor has a dtype that the operations take."""
    if array.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f"{argument} must be {FLOATING}, got {array.dtype}")


def _empty_analysis(
    heatmaps: Tensor, params: Tensor | None, links: Sequence[int] | None, *rest: Any
) -> list[Tensor]:
    *options, _, names = rest
    allocator = _EmptyAllocator(heatmaps)
    check_floating(heatmaps, "heatmaps")
    _check_has_kernels(heatmaps)
    plan = scoring.plan_pass(heatmaps.shape, tuple(names), _skeleton_of(links), allocator, *options)
    if params is not None:
        check_floating(params, "params")
        scoring.check_shape(params.shape, "params", plan.params_shapes)
    return [allocator.empty(*layout) for layout in plan.layouts]


def _save_analysis(ctx: Any, inputs: Sequence[Any], outputs: Sequence[Tensor]) -> None:
    heatmaps, params, links, *options, num_threads, names = inputs
    by_name = dict(zip(names, outputs, strict=True))
    ctx.mark_non_differentiable(
        *(output for name, output in by_name.items() if name not in _DIFFERENTIABLE)
    )
    ctx.set_materialize_grads(False)
    # The values of peaks only where they are read: a caller may change them in place.
    reads_values = "score" in by_name or "entropy_sum" in by_name
    kept = ("xy", "values", "count") if reads_values else ("xy", "count")
    peaks = {name: by_name.get(name) for name in kept}
    ctx.save_for_backward(params, peaks["xy"], peaks.get("values"), peaks["count"])
    ctx.heatmaps_shape, ctx.heatmaps_dtype = heatmaps.shape, heatmaps.dtype
    ctx.links, ctx.options, ctx.num_threads = links, Options(*options), num_threads
    ctx.names = names


def _analysis_backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
    params, xy, values, count = ctx.saved_tensors
    grad = dict(zip(ctx.names, grads, strict=True))
    by_values, by_params = grad.get("values"), None
    if grad.get("score") is not None or grad.get("entropy_sum") is not None:
        if xy is None or values is None or count is None:
            raise RuntimeError(f"names must hold {', '.join(_PEAKS)} for a gradient")
        through_pose, by_params = _call(
            _SCORE_BACKWARD,
            grad.get("score"),
            grad.get("entropy_sum"),
            *(xy, values, count, params, ctx.links),
            *(ctx.options.temperature, ctx.options.method, ctx.num_threads),
        )
        by_values = through_pose if by_values is None else by_values + through_pose
        by_params = None if params is None else by_params.to(params.dtype)
    by_heatmaps = None
    if by_values is not None and ctx.needs_input_grad[0]:
        by_heatmaps = _scatter_peaks(by_values, xy, count, ctx.heatmaps_shape)
        by_heatmaps = by_heatmaps.to(ctx.heatmaps_dtype)
    return by_heatmaps, by_params, *(None for _ in range(len(ctx.options) + 3))


def _scatter_peaks(by_values: Tensor, xy: Tensor, count: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the gradient by heatmaps of ``shape``, given that by the values of their peaks."""
    *lead, H, W = shape
    K = by_values.shape[-1]
    has_peaks = (count > 0)[..., None]
    # Maps that are not finite have no peaks, and a gradient that is not either.
    is_spoilt = ~has_peaks & (by_values != 0).any(-1, keepdim=True)
    others = torch.where(is_spoilt, math.nan, torch.zeros_like(by_values[..., :1]))
    # Slots that are not used write what the first one does, or what is there. So nothing is added
    # up, which a GPU does without the numbers below the smallest normal one.
    is_used = torch.arange(K, device=count.device) < count[..., None]
    pixel = xy[..., 1].long() * W + xy[..., 0].long()
    pixel = torch.where(is_used, pixel, torch.where(has_peaks, pixel[..., :1], 0))
    first = torch.where(has_peaks, by_values[..., :1], others).detach()
    written = torch.where(is_used, by_values, first) + 0.0  # no zero is -0
    return others.expand(*lead, H * W).scatter(-1, pixel, written).reshape(shape)


def _vmap_analysis(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
    heatmaps, params, *rest = inputs
    if torch.is_grad_enabled():  # what is batched does not tell that it requires grad
        _check_has_gradient(rest[-1], heatmaps, params)
    fold = _Fold(info.batch_size, heatmaps, in_dims[0], own_rank=3)
    outputs = _call(
        _ANALYZE,
        fold.of_images(heatmaps, in_dims[0], own_rank=3),
        fold.of_images(params, in_dims[1], own_rank=2),
        *rest,
    )
    return [fold.unfold(output) for output in outputs], [0] * len(outputs)


class _Fold:
    """Under torch.vmap: all images of all calls as one batch, and back.

    Parameters
    ----------
    num_calls : int
    first : Tensor
        The first argument, which tells whether a call has a batch of its own.
    dim : int or None
        Where the calls are in it.
    own_rank : int
        Its axes for one image.
    """

    def __init__(self, num_calls: int, first: Tensor, dim: int | None, own_rank: int) -> None:
        shape = self._calls_first(first, dim, num_calls).shape
        self._calls = num_calls
        self._lead: tuple[int, ...] = tuple(shape[1 : len(shape) - own_rank])

    @staticmethod
    def _calls_first(tensor: Tensor, dim: int | None, num_calls: int) -> Tensor:
        if dim is None:
            return tensor.expand(num_calls, *tensor.shape)
        return tensor.movedim(dim, 0)

    def of_images(self, tensor: Tensor | None, dim: int | None, own_rank: int) -> Tensor | None:
        """Return an argument of all images; one that all of a call's share is repeated."""
        if tensor is None:
            return None
        calls_first = self._calls_first(tensor, dim, self._calls)
        own = calls_first.shape[calls_first.ndim - own_rank :]
        if self._lead and calls_first.ndim == 1 + own_rank:
            calls_first = calls_first[:, None].expand(self._calls, *self._lead, *own)
        return calls_first.reshape(-1, *own)

    def unfold(self, tensor: Tensor) -> Tensor:
        """Return a result with the calls first."""
        return tensor.reshape(self._calls, *self._lead, *tensor.shape[1:])


_OPTIONS = (
    "int num_peaks, int min_distance, float? threshold_abs, float? threshold_rel, "
    "int exclude_border, float temperature, str method, str objective, str? subpixel"
)
_ANALYZE = _Operation(
    schema=f"analyze(Tensor heatmaps, Tensor? params, int[]? links, {_OPTIONS}, "
    "int? num_threads, str[] names) -> Tensor[]",
    compute=_analyze,
    empty=_empty_analysis,
    save=_save_analysis,
    backward=_analysis_backward,
    vmap=_vmap_analysis,
)


# ------------------------------------------------------------------------------------------------
# Its gradient
# ------------------------------------------------------------------------------------------------


def _score_gradient(
    grad_score: Tensor | None,
    grad_entropy: Tensor | None,
    xy: Tensor,
    values: Tensor,
    count: Tensor,
    params: Tensor | None,
    links: Sequence[int] | None,
    temperature: float,
    method: str,
    num_threads: int | None,
    *tangents: Tensor | None,
) -> tuple[Tensor, ...]:
    """Return the gradient by values and params; with their tangents, what changes along them."""
    skeleton = _skeleton_of(links)
    options = Options(values.shape[-1], 1, None, None, 0, temperature, method, "map", None)
    of_values, of_params, *along = _empty_score_gradient(None, None, xy, values, count, params)
    arguments = [
        *map(_readable, (xy, values, count, params, grad_score, grad_entropy)),
        *(None if skeleton is None else skeleton._tree, core_options(options)),
        *map(_readable, tangents or (None, None)),
        *(of_values, None if params is None else of_params),
        *(along if tangents else (None, None)),
        _where(values, num_threads, own_rank=2),
    ]
    _core.score_backward(*arguments)
    return (of_values, of_params, *along) if tangents else (of_values, of_params)


def _empty_score_gradient(
    grad_score: Tensor | None,
    grad_entropy: Tensor | None,
    xy: Tensor,
    values: Tensor,
    count: Tensor,
    params: Tensor | None,
    *rest: Any,
) -> tuple[Tensor, ...]:
    of_params = values.new_empty((0,) if params is None else params.shape)
    return (
        torch.empty_like(values, memory_format=torch.contiguous_format),
        of_params,
        *(values.new_empty(values.shape[:-2]) for _ in range(2)),
    )


def _readable(tensor: Tensor | None) -> Any:
    return None if tensor is None else take(tensor.detach(), "tensor")[0]


def _where(first: Tensor, num_threads: int | None, own_rank: int) -> Any:
    """Return what an operation runs on; its first argument has so many axes for one image."""
    num_images = first.shape[0] if first.ndim > own_rank else 1
    return take(first.detach(), "tensor")[1].where(first, threads(num_threads, num_images))


def _save_inputs(ctx: Any, inputs: Sequence[Any], outputs: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in inputs))
    ctx.others = [None if isinstance(value, Tensor) else value for value in inputs]


def _saved_inputs(ctx: Any) -> list[Any]:
    saved = zip(ctx.saved_tensors, ctx.others, strict=True)
    return [other if tensor is None else tensor for tensor, other in saved]


def _no_third_derivative(ctx: Any, *grads: Any) -> tuple[Any, ...]:
    raise RuntimeError("vl4pose has first and second derivatives, but none of third order")


def _score_double_backward(ctx: Any, values_tangent: Any, params_tangent: Any) -> tuple[Any, ...]:
    inputs = _saved_inputs(ctx)
    values, params = inputs[3], inputs[5]
    if values_tangent is None:
        values_tangent = torch.zeros_like(values)
    by_values, by_params, score, entropy = _call(
        _SCORE_DOUBLE_BACKWARD, *inputs, values_tangent, None if params is None else params_tangent
    )
    by_params = None if params is None else by_params.to(params.dtype)
    return (
        *(None if inputs[0] is None else score, None if inputs[1] is None else entropy),
        *(None, by_values, None, by_params, None, None, None, None),
    )


def _vmap_score_backward(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
    own_ranks = (0, 0, 3, 2, 1, 2)
    fold = _Fold(info.batch_size, inputs[3], in_dims[3], own_rank=2)
    of_images = map(fold.of_images, inputs[:6], in_dims[:6], own_ranks)
    by_values, by_params = _call(_SCORE_BACKWARD, *of_images, *inputs[6:])
    params, dim = inputs[5], in_dims[5]
    if params is not None:
        by_params = fold.unfold(by_params)
        if by_params.ndim > params.ndim + (dim is None):  # all of a call's images share them
            by_params = by_params.sum(1)
    return (fold.unfold(by_values), by_params), (0, None if params is None else 0)


_GRADIENT_ARGUMENTS = (
    "Tensor? grad_score, Tensor? grad_entropy, Tensor xy, Tensor values, Tensor count, "
    "Tensor? params, int[]? links, float temperature, str method, int? num_threads"
)
_SCORE_BACKWARD = _Operation(
    schema=f"score_backward({_GRADIENT_ARGUMENTS}) -> (Tensor, Tensor)",
    compute=_score_gradient,
    empty=lambda *inputs: _empty_score_gradient(*inputs)[:2],
    save=_save_inputs,
    backward=_score_double_backward,
    vmap=_vmap_score_backward,
)
_SCORE_DOUBLE_BACKWARD = _Operation(
    schema=f"score_double_backward({_GRADIENT_ARGUMENTS}, Tensor? values_tangent, "
    "Tensor? params_tangent) -> (Tensor, Tensor, Tensor, Tensor)",
    compute=_score_gradient,
    empty=_empty_score_gradient,
    save=_save_inputs,
    backward=_no_third_derivative,
)


# ------------------------------------------------------------------------------------------------
# Weights of peaks
# ------------------------------------------------------------------------------------------------


def peak_weights(values: Tensor, count: Any, temperature: float, num_threads: int | None) -> Tensor:
    """Return the weights of peak values: see `scoring.peak_weights`."""
    check_dense(values, "values")
    count = None if count is None else _as_tensor(count, "count", values, "values")
    if _needs_formula(values):
        _check_weights(values, count)
        return _torch_formulas.peak_weights(values, count, temperature)
    weights: Tensor = _call(_PEAK_WEIGHTS, values, count, temperature, num_threads)
    return weights


def _check_weights(values: Tensor, count: Tensor | None) -> None:
    check_floating(values, "values")
    shape = scoring.checked_values_shape(values.shape)
    if count is None:
        return
    if count.dtype.is_floating_point or count.dtype.is_complex or count.dtype == torch.bool:
        raise TypeError(f"count must be integer, got {count.dtype}")
    scoring.check_shape(count.shape, "count", (shape[:-1],))


def _empty_weights(values: Tensor, count: Tensor | None, *rest: Any) -> Tensor:
    _check_weights(values, count)
    return values.new_empty(values.shape, dtype=result_dtype(values))


def _weights_gradient(
    grad: Tensor,
    values: Tensor,
    count: Tensor | None,
    temperature: float,
    num_threads: int | None,
    tangent: Tensor | None = None,
) -> Any:
    """Return the gradient by values; with their tangent, what changes along it, and the weights."""
    of_values, along = _empty_weights_gradient(grad, values)
    counts = None if count is None else count.to(torch.int32)
    _core.peak_weights_backward(
        _readable(grad),
        _readable(values),
        _readable(counts),
        temperature,
        _readable(tangent),
        of_values,
        None if tangent is None else along,
        _where(values, num_threads, own_rank=2),
    )
    return of_values if tangent is None else (of_values, along)


def _empty_weights_gradient(grad: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    dtype = result_dtype(values)
    return values.new_empty(values.shape, dtype=dtype), values.new_empty(values.shape, dtype=dtype)


def _weights_backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
    values, *rest = _saved_inputs(ctx)
    by_values = None if grad is None else _call(_PEAK_WEIGHTS_BACKWARD, grad, values, *rest)
    return None if by_values is None else by_values.to(values.dtype), None, None, None


def _weights_double_backward(ctx: Any, tangent: Any) -> tuple[Any, ...]:
    if tangent is None:
        return None, None, None, None, None
    inputs = _saved_inputs(ctx)
    by_values, by_grad = _call(_PEAK_WEIGHTS_DOUBLE_BACKWARD, *inputs, tangent)
    return by_grad, by_values.to(inputs[1].dtype), None, None, None


_PEAK_WEIGHTS = _Operation(
    schema="peak_weights(Tensor values, Tensor? count, float temperature, int? num_threads) "
    "-> Tensor",
    compute=lambda values, *rest: scoring.compute_peak_weights(values.detach(), *rest),
    empty=_empty_weights,
    save=_save_inputs,
    backward=_weights_backward,
)
_PEAK_WEIGHTS_BACKWARD = _Operation(
    schema="peak_weights_backward(Tensor grad, Tensor values, Tensor? count, "
    "float temperature, int? num_threads) -> Tensor",
    compute=_weights_gradient,
    empty=lambda *inputs: _empty_weights_gradient(*inputs)[0],
    save=_save_inputs,
    backward=_weights_double_backward,
)
_PEAK_WEIGHTS_DOUBLE_BACKWARD = _Operation(
    schema="peak_weights_double_backward(Tensor grad, Tensor values, Tensor? count, "
    "float temperature, int? num_threads, Tensor tangent) -> (Tensor, Tensor)",
    compute=_weights_gradient,
    empty=_empty_weights_gradient,
    save=_save_inputs,
    backward=_no_third_derivative,
)


# ------------------------------------------------------------------------------------------------
# Log-likelihoods of given poses
# ------------------------------------------------------------------------------------------------


def given_pose(
    name: str,
    keypoints: Tensor,
    of_links: dict[str, Any],
    skeleton: Skeleton | str | None,
    visible: Any,
    per_link: bool,
    num_threads: int | None,
) -> Tensor:
    """Return the named log-likelihood of poses: see `scoring._given_pose`."""
    check_dense(keypoints, "keypoints")
    shapes = scoring.shapes_of_pose(name, keypoints.shape, skeleton)
    arrays = [
        _as_tensor(array, argument, keypoints, "keypoints") for argument, array in of_links.items()
    ]
    mask = None if visible is None else _as_tensor(visible, "visible", keypoints, "keypoints")
    links = shapes.skeleton._flat_links
    if _needs_formula(keypoints):
        _check_pose(shapes, keypoints, dict(zip(of_links, arrays, strict=True)), mask)
        formula = getattr(_torch_formulas, name)
        result: Tensor = formula(keypoints, *arrays, mask, links, per_link)
        return result
    operation = _POSE if name == "pose_log_likelihood" else _OFFSET
    return _call(  # type: ignore[no-any-return]
        operation, keypoints, *arrays, mask, links, per_link, num_threads
    )


def _needs_formula(first: Tensor) -> bool:
    """Return whether an operation is left to torch: without kernels, or under a transform."""
    if not has_kernels(first.device.type):
        return True
    return torch._C._are_functorch_transforms_active() or _is_forward_ad()


def _is_forward_ad() -> bool:
    return torch.autograd.forward_ad._current_level >= 0


def _check_pose(
    shapes: scoring.PoseShapes, keypoints: Tensor, of_links: dict[str, Tensor], visible: Any
) -> None:
    check_floating(keypoints, "keypoints")
    for argument, array in of_links.items():
        check_floating(array, argument)
        scoring.check_shape(array.shape, argument, shapes.of_links[argument])
    if visible is not None:
        if visible.dtype != torch.bool:
            raise TypeError(f"visible must be bool, got {visible.dtype}")
        scoring.check_shape(visible.shape, "visible", (shapes.visible,))


class _GivenPose:
    """One of the log-likelihoods of given poses, and its derivatives, as operations.

    Parameters
    ----------
    name : str
    arguments : sequence of str
        The arrays that describe the links.
    """

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self._name, self._arguments = name, tuple(arguments)
        self._num_arrays = 1 + len(arguments)
        arrays = ", ".join(f"Tensor {argument}" for argument in ("keypoints", *arguments))
        rest = "Tensor? visible, int[] links"
        tangents = ", ".join(
            f"Tensor? {argument}_tangent" for argument in ("keypoints", *arguments)
        )
        gradients = ", ".join(["Tensor"] * self._num_arrays)
        self.forward = _Operation(
            schema=f"{name}({arrays}, {rest}, bool per_link, int? num_threads) -> Tensor",
            compute=self._compute,
            empty=self._empty,
            save=_save_inputs,
            backward=self._backward,
        )
        self._gradient = _Operation(
            schema=f"{name}_backward(Tensor grad, {arrays}, {rest}, int? num_threads) "
            f"-> ({gradients})",
            compute=self._compute_gradient,
            empty=lambda *inputs: self._empty_gradient(*inputs)[:-1],
            save=_save_inputs,
            backward=self._double_backward,
        )
        self._second = _Operation(
            schema=f"{name}_double_backward(Tensor grad, {arrays}, {rest}, int? num_threads, "
            f"{tangents}) -> ({gradients}, Tensor)",
            compute=self._compute_gradient,
            empty=self._empty_gradient,
            save=_save_inputs,
            backward=_no_third_derivative,
        )

    def _split(self, inputs: Sequence[Any]) -> tuple[Tensor, dict[str, Tensor], Sequence[Any]]:
        keypoints, *arrays = inputs[: self._num_arrays]
        return (
            keypoints,
            dict(zip(self._arguments, arrays, strict=True)),
            inputs[self._num_arrays :],
        )

    def _compute(self, *inputs: Any) -> Tensor:
        keypoints, of_links, (visible, links, per_link, num_threads) = self._split(inputs)
        result: Tensor = scoring.compute_given_pose(
            self._name, keypoints, of_links, _skeleton_of(links), visible, per_link, num_threads
        )
        return result

    def _empty(self, *inputs: Any) -> Tensor:
        keypoints, of_links, (visible, links, per_link, _) = self._split(inputs)
        shapes = scoring.pose_shapes(self._name, keypoints.shape, _skeleton_of(links))
        _check_pose(shapes, keypoints, of_links, visible)
        shape = shapes.per_link if per_link else shapes.lead
        return keypoints.new_empty(shape, dtype=result_dtype(keypoints))

    def _backward(self, ctx: Any, grad: Any) -> tuple[Any, ...]:
        *arrays, visible, links, per_link, num_threads = _saved_inputs(ctx)
        nothing = (None, None, None, None)
        if grad is None:
            return *(None for _ in arrays), *nothing
        if not per_link:
            grad = grad[..., None].expand(*grad.shape, len(links) // 2)
        gradients = _call(self._gradient, grad, *arrays, visible, links, num_threads)
        return *self._like(gradients, arrays), *nothing

    def _double_backward(self, ctx: Any, *tangents: Any) -> tuple[Any, ...]:
        grad, *arrays, visible, links, num_threads = _saved_inputs(ctx)
        keypoints_tangent, *others = tangents
        if keypoints_tangent is None:
            keypoints_tangent = torch.zeros_like(arrays[0])
        *gradients, per_link = _call(
            self._second, grad, *arrays, visible, links, num_threads, keypoints_tangent, *others
        )
        return per_link.to(grad.dtype), *self._like(gradients, arrays), None, None, None

    @staticmethod
    def _like(gradients: Sequence[Tensor], arrays: Sequence[Tensor]) -> list[Tensor]:
        return [gradient.to(array.dtype) for gradient, array in zip(gradients, arrays, strict=True)]

    def _compute_gradient(self, grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
        """Return the gradient by each array; with their tangents, what changes along them."""
        arrays = inputs[: self._num_arrays]
        visible, links, num_threads, *tangents = inputs[self._num_arrays :]
        keypoints = arrays[0]
        *outputs, along = self._empty_gradient(grad, *arrays)
        getattr(_core, f"{self._name}_backward")(
            *map(_readable, (grad, *arrays, visible)),
            _numbered_skeleton(tuple(links))._tree,
            *map(_readable, tangents or (None,) * self._num_arrays),
            *outputs,
            along if tangents else None,
            _where(keypoints, num_threads, own_rank=2),
        )
        return (*outputs, along) if tangents else tuple(outputs)

    def _empty_gradient(self, grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
        arrays = inputs[: self._num_arrays]
        dtype = result_dtype(arrays[0])
        return (
            *(array.new_empty(array.shape, dtype=dtype) for array in arrays),
            grad.new_empty(grad.shape, dtype=dtype),
        )


_POSE = _GivenPose("pose_log_likelihood", ["params"]).forward
_OFFSET = _GivenPose("offset_log_likelihood", ["offsets", "scale_tril"]).forward
