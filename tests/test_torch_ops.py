"""The operations as torch sees them: registered, compiled, exported, under transforms, fake."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.testing
import torch.autograd.forward_ad as forward_ad
from strategies import METHODS, named_arrays, tree
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.flop_counter import FlopCounterMode

import vl4pose
from vl4pose import _torch_ops
from vl4pose.losses import NLLLoss, OffsetNLLLoss, nll_loss, offset_nll_loss

INF = float("inf")
TREE = tree([(1, 0), (1, 2), (2, 3)])
LINKS = [1, 0, 1, 2, 2, 3]


@pytest.fixture(scope="module", autouse=True)
def _deprecated_parts_of_torch() -> None:
    """Import what torch imports at first use, which warns of deprecated parts of torch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script(_method)?` is deprecated")
        import torch._decomp.decompositions_for_jvp  # forward mode
        import torch._inductor.compile_fx  # noqa: F401


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def data(images: int = 4, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return arguments of every operation for some images."""
    return {
        "heatmaps": torch.rand(images, 4, 9, 8).to(dtype),
        "params": (3 * torch.rand(images, 3, 2)).to(dtype),
        "values": torch.rand(images, 4, 5).to(dtype),
        "count": torch.randint(0, 6, (images, 4)),
        "keypoints": (8 * torch.rand(images, 4, 2)).to(dtype),
        "visible": torch.rand(images, 4) < 0.8,
        "offsets": torch.randn(images, 3, 2).to(dtype),
        "scale_tril": (torch.eye(2) + 0.2 * torch.rand(images, 3, 2, 2)).to(dtype),
    }


PEAKS: dict[str, Any] = {"num_peaks": 3, "min_distance": 2}
TREE_OPTIONS: dict[str, Any] = {"skeleton": TREE}
# Every public operation: its arguments by name, and which of them it is differentiable by.
Operation = tuple[Callable[..., Any], tuple[str, ...], tuple[str, ...]]
OPERATIONS: dict[str, Operation] = {
    **{
        f"score, {method}": (
            lambda h, p, method=method: vl4pose.score(h, p, method=method, **TREE_OPTIONS, **PEAKS),
            ("heatmaps", "params"),
            ("heatmaps", "params"),
        )
        for method in METHODS
    },
    "multi_peak_entropy": (
        lambda h: vl4pose.multi_peak_entropy(h, **PEAKS),
        ("heatmaps",),
        ("heatmaps",),
    ),
    "local_maxima": (
        lambda h: vl4pose.local_maxima(h, exclude_border=True, **PEAKS),
        ("heatmaps",),
        ("heatmaps",),
    ),
    "peak_weights": (
        lambda v, c: vl4pose.peak_weights(v, count=c, temperature=0.5),
        ("values", "count"),
        ("values",),
    ),
    "pose_log_likelihood": (
        lambda k, p: vl4pose.pose_log_likelihood(k, p, **TREE_OPTIONS),
        ("keypoints", "params"),
        ("keypoints", "params"),
    ),
    "offset_log_likelihood": (
        lambda k, o, t, v: vl4pose.offset_log_likelihood(
            k, o, t, visible=v, per_link=True, **TREE_OPTIONS
        ),
        ("keypoints", "offsets", "scale_tril", "visible"),
        ("keypoints", "offsets", "scale_tril"),
    ),
    "nll_loss": (
        lambda p, k, v: nll_loss(p, k, visible=v, **TREE_OPTIONS),
        ("params", "keypoints", "visible"),
        ("params", "keypoints"),
    ),
    "offset_nll_loss": (
        lambda o, t, k: offset_nll_loss(o, t, k, reduction="sum", **TREE_OPTIONS),
        ("offsets", "scale_tril", "keypoints"),
        ("offsets", "scale_tril", "keypoints"),
    ),
    "refine": (
        lambda h, p: vl4pose.refine(h, p, subpixel="dark", **TREE_OPTIONS, **PEAKS),
        ("heatmaps", "params"),
        (),
    ),
    "analyze": (
        lambda h, p: vl4pose.analyze(h, p, **TREE_OPTIONS, **PEAKS),
        ("heatmaps", "params"),
        (),
    ),
    "decode": (lambda h: vl4pose.decode(h, subpixel="quarter"), ("heatmaps",), ()),
}
DIFFERENTIABLE = [name for name, (_, _, by) in OPERATIONS.items() if by]
WITH_FORMULA = [
    "peak_weights",
    "pose_log_likelihood",
    "offset_log_likelihood",
    "nll_loss",
    "offset_nll_loss",
]


def parts(result: Any) -> list[Tensor]:
    return list(named_arrays(result).values()) if hasattr(result, "_asdict") else [result]


def used(result: Any) -> Tensor:
    """Return the part of a result that has a gradient, without the -inf of unused slots."""
    if hasattr(result, "_asdict"):
        return torch.where(result.values == -INF, 0, result.values)
    return result


def assert_equal(found: Any, expected: Any) -> None:
    for tensor, other in zip(parts(found), parts(expected), strict=True):
        torch.testing.assert_close(tensor, other, rtol=0, atol=0, equal_nan=True)


def run(operation: str, arguments: dict[str, Tensor], function: Any = None) -> Any:
    call, names, _ = OPERATIONS[operation]
    return (function or call)(*(arguments[name] for name in names))


def gradients(
    operation: str, arguments: dict[str, Tensor], function: Any = None
) -> tuple[Tensor, ...]:
    _, _, by = OPERATIONS[operation]
    arguments = dict(arguments)
    for name in by:
        arguments[name] = arguments[name].clone().requires_grad_()
    result = used(run(operation, arguments, function))
    weights = torch.linspace(1, 2, result.numel(), device=result.device).reshape(result.shape)
    return torch.autograd.grad((result * weights).sum(), [arguments[name] for name in by])


# Registration ------------------------------------------------------------------------------------

OPTIONS = (3, 2, None, None, 0, 0.7)  # the options of peaks, and the temperature
NAMES = ["score", "xy", "values", "count"]
EVERYTHING = [
    *("score", "per_link", "entropy", "entropy_sum", "posterior", "keypoints", "confidence"),
    *("refined_keypoints", "peak_index", "changed", "log_prob", "xy", "values", "count", "status"),
]


def registered_arguments() -> dict[str, list[tuple[Any, ...]]]:
    """Return arguments for every registered operation, to be checked with and without gradient."""
    arguments = data(2)
    heatmaps, params = arguments["heatmaps"], arguments["params"]
    peaks = vl4pose.local_maxima(heatmaps, **PEAKS)
    kept = (peaks.xy, peaks.values, peaks.count)
    per_image, like_values, per_link = torch.rand(2), torch.rand(2, 4, 3), torch.rand(2, 3)
    values, count = arguments["values"], arguments["count"]
    keypoints, visible = arguments["keypoints"], arguments["visible"]
    offsets, scale_tril = arguments["offsets"], arguments["scale_tril"]
    score_gradient = [
        (per_image, None, *kept, params, LINKS, 0.7, "expected", None),
        (per_image, None, *kept, params[0], LINKS, 0.7, "marginal", 1),
        (None, per_image, *kept, None, None, 0.7, "expected", None),
    ]
    weights_gradient = [
        (torch.rand_like(values), values, count, 0.7, None),
        (torch.rand_like(values), values, None, 0.7, 1),
    ]
    pose_gradient = [
        (per_link, keypoints, params, visible, LINKS, None),
        (per_link[0], keypoints[0], params[0], None, LINKS, 1),
    ]
    offset_gradient = [
        (per_link, keypoints, offsets, scale_tril, visible, LINKS, None),
        (per_link, keypoints, offsets[0], scale_tril[0], None, LINKS, None),
    ]
    tangents = {
        "score": [
            (like_values, torch.rand_like(params)),
            (like_values, torch.rand_like(params[0])),
            (like_values, None),
        ],
        "weights": [(torch.rand_like(values),)] * 2,
        "pose": [
            (torch.rand_like(keypoints), torch.rand_like(params)),
            (torch.rand_like(keypoints[0]), None),
        ],
        "offset": [
            (torch.rand_like(keypoints), torch.rand_like(offsets), torch.rand_like(scale_tril)),
            (torch.rand_like(keypoints), None, torch.rand_like(scale_tril[0])),
        ],
    }

    def with_tangents(gradient: list[tuple[Any, ...]], kind: str) -> list[tuple[Any, ...]]:
        return [(*a, *t) for a, t in zip(gradient, tangents[kind], strict=True)]

    return {
        "analyze": [
            (heatmaps, params, LINKS, *OPTIONS, "expected", "map", None, None, NAMES),
            (heatmaps, params[0], LINKS, *OPTIONS, "max", "eq6", "dark", 1, EVERYTHING),
            (heatmaps[0], params[0], LINKS, *OPTIONS, "sum", "map", None, None, NAMES),
            (heatmaps[:, :1], params[:, :0], [], *OPTIONS, "marginal", "map", None, 1, NAMES),
            (heatmaps, None, None, *OPTIONS, "expected", "map", None, 1, NAMES[1:]),
        ],
        "score_backward": score_gradient,
        "score_double_backward": with_tangents(score_gradient, "score"),
        "peak_weights": [(values, count, 0.7, None), (values[0], None, 0.7, 1)],
        "peak_weights_backward": weights_gradient,
        "peak_weights_double_backward": with_tangents(weights_gradient, "weights"),
        "pose_log_likelihood": [
            (keypoints, params, visible, LINKS, True, None),
            (keypoints, params[0], None, LINKS, False, 1),
        ],
        "pose_log_likelihood_backward": pose_gradient,
        "pose_log_likelihood_double_backward": with_tangents(pose_gradient, "pose"),
        "offset_log_likelihood": [
            (keypoints, offsets, scale_tril, visible, LINKS, False, None),
            (keypoints[0], offsets[0], scale_tril[0], None, LINKS, True, None),
        ],
        "offset_log_likelihood_backward": offset_gradient,
        "offset_log_likelihood_double_backward": with_tangents(offset_gradient, "offset"),
    }


REGISTERED = sorted(
    name.removeprefix("vl4pose::")
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("vl4pose::")
)


@pytest.mark.parametrize("name", REGISTERED)
def test_torch_s_own_checks_of_an_operation(name: str) -> None:
    operation = getattr(torch.ops.vl4pose, name).default
    for arguments in registered_arguments()[name]:
        torch.library.opcheck(operation, arguments)
        if "double_backward" in name:  # of which there is no gradient
            continue
        with_gradient = [
            argument.clone().requires_grad_()
            if isinstance(argument, Tensor) and argument.is_floating_point()
            else argument
            for argument in arguments
        ]
        if name == "analyze" and arguments[-1] is EVERYTHING:
            with_gradient[0] = arguments[0]  # positions have none
        torch.library.opcheck(operation, tuple(with_gradient))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_registered_operation_gives_the_same_bits(operation: str) -> None:
    arguments = data()

    def through_dispatcher(*inputs: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_torch_ops, "is_compiling", lambda: True)
            patch.setattr("vl4pose.scoring.through_torch", lambda *arrays: True)
            return OPERATIONS[operation][0](*inputs)

    assert_equal(run(operation, arguments, through_dispatcher), run(operation, arguments))
    if operation in DIFFERENTIABLE:
        for found, expected in zip(
            gradients(operation, arguments, through_dispatcher),
            gradients(operation, arguments),
            strict=True,
        ):
            assert torch.equal(found, expected)


def test_unused_slots_have_gradient_zero() -> None:
    arguments = data()
    peaks = vl4pose.local_maxima(arguments["heatmaps"], num_peaks=9, min_distance=2)
    unused = peaks.values == -INF
    assert unused.any()
    for method in METHODS:
        by_values, _ = torch.ops.vl4pose.score_backward(
            torch.ones(4), torch.ones(4), *peaks, arguments["params"], LINKS, 1.0, method, None
        )
        assert torch.equal(by_values[unused], torch.zeros_like(by_values[unused]))
        assert (by_values[~unused] != 0).any()


# torch.compile -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_compiled_for_any_batch_without_a_break(operation: str) -> None:
    function, _, by = OPERATIONS[operation]
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)

    def dynamic(*inputs: Tensor) -> Any:
        for tensor in inputs:
            torch._dynamo.mark_dynamic(tensor, 0)  # an error where the graph is for one size only
        return compiled(*inputs)

    for images in (6, 3, 7):
        arguments = data(images)
        assert_equal(run(operation, arguments, dynamic), run(operation, arguments))
    assert counter.frame_count == 1
    if not by:
        return
    for images in (6, 3, 7):
        arguments = data(images)
        for found, expected in zip(
            gradients(operation, arguments, dynamic), gradients(operation, arguments), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert counter.frame_count == 2


def test_a_batch_that_changes_makes_one_dynamic_graph() -> None:
    """As by default: the first size is taken for the only one, until a second comes."""
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(OPERATIONS["nll_loss"][0], fullgraph=True, backend=counter)
    for images in (6, 2, 7, 5, 3):
        arguments = data(images)
        assert_equal(run("nll_loss", arguments, compiled), run("nll_loss", arguments))
    assert counter.frame_count == 2


def test_compiled_for_any_size_of_the_maps() -> None:
    function, _, _ = OPERATIONS["score, expected"]
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for images, height, width in ((6, 9, 8), (5, 12, 7), (3, 5, 20)):
        heatmaps, params = torch.rand(images, 4, height, width), torch.rand(images, 3, 2)
        found, expected = (heatmaps.clone().requires_grad_() for _ in range(2))
        for axis in (0, 2, 3):
            torch._dynamo.mark_dynamic(found, axis)
        torch._dynamo.mark_dynamic(params, 0)
        compiled(found, params).sum().backward()
        function(expected, params).sum().backward()
        assert_equal(found.grad, expected.grad)
    assert counter.frame_count == 1


class Step(nn.Module):
    """What a training step computes: predicted params, their loss, and the images' scores."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 6)
        self.loss = NLLLoss(TREE)

    def forward(self, heatmaps: Tensor, keypoints: Tensor, visible: Tensor) -> Tensor:
        params = self.layer(heatmaps.mean((1, 2))).unflatten(-1, (3, 2))
        score = vl4pose.score(heatmaps, params, **TREE_OPTIONS, **PEAKS)
        return self.loss(params, keypoints, visible) - 0.1 * score.mean()


def test_a_training_step_compiled_by_inductor() -> None:
    eager = Step()
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, dynamic=True)
    with torch._inductor.config.patch(compile_threads=1):  # which starts no processes
        for images in (4, 3):
            arguments = data(images)
            inputs = [arguments[name] for name in ("heatmaps", "keypoints", "visible")]
            losses = []
            for step in (eager, compiled):
                step.zero_grad()
                loss = step(*inputs)
                loss.backward()
                losses.append(loss.detach())
            torch.testing.assert_close(losses[1], losses[0])
            for found, expected in zip(compiled.parameters(), eager.parameters(), strict=True):
                torch.testing.assert_close(found.grad, expected.grad)


BAD_CALLS: dict[str, tuple[str, Callable[..., Any]]] = {
    "skeleton": (
        "skeleton must be one of",
        lambda a: vl4pose.score(a["heatmaps"], a["params"], skeleton="lps"),
    ),
    "number of joints": (
        "skeleton must have as many joints",
        lambda a: vl4pose.score(a["heatmaps"], a["params"], skeleton="lsp"),
    ),
    "no default": (
        "skeleton must be given for 4 joints",
        lambda a: vl4pose.score(a["heatmaps"], a["params"]),
    ),
    "params": (
        r"params must have shape \(4, 3, 2\) or \(3, 2\), got \(4, 2, 2\)",
        lambda a: vl4pose.score(a["heatmaps"], a["params"][:, :2], skeleton=TREE),
    ),
    "kind of params": (
        "params must be a NumPy array, a torch tensor",
        lambda a: vl4pose.score(a["heatmaps"], [1.0], skeleton=TREE),
    ),
    "dtype": (
        "heatmaps must be float16, bfloat16, float32 or float64, got torch.int32",
        lambda a: vl4pose.score(a["heatmaps"].int(), a["params"], skeleton=TREE),
    ),
    "dtype of params": (
        "params must be float16, bfloat16, float32 or float64, got torch.int32",
        lambda a: vl4pose.score(a["heatmaps"], a["params"].int(), skeleton=TREE),
    ),
    "axes": (
        r"heatmaps must have axes \(B, J, H, W\)",
        lambda a: vl4pose.multi_peak_entropy(a["heatmaps"][None]),
    ),
    "method": (
        "method must be one of",
        lambda a: vl4pose.score(a["heatmaps"], a["params"], skeleton=TREE, method="mean"),
    ),
    "temperature": (
        "temperature must be between 1e-06 and 1e\\+06, got 0.0",
        lambda a: vl4pose.multi_peak_entropy(a["heatmaps"], temperature=0.0),
    ),
    "num_peaks": (
        "num_peaks must be an integer, got 2.5",
        lambda a: vl4pose.local_maxima(a["heatmaps"], num_peaks=2.5),
    ),
    "subpixel": (
        "subpixel must be one of",
        lambda a: vl4pose.decode(a["heatmaps"], subpixel="darc"),
    ),
    "count": (
        "count must be integer, got torch.float32",
        lambda a: vl4pose.peak_weights(a["values"], count=a["count"].float()),
    ),
    "visible": (
        "visible must be bool, got torch.int32",
        lambda a: nll_loss(a["params"], a["keypoints"], skeleton=TREE, visible=a["visible"].int()),
    ),
    "shape of visible": (
        r"visible must have shape \(4, 4\), got \(3, 4\)",
        lambda a: nll_loss(a["params"], a["keypoints"], skeleton=TREE, visible=a["visible"][1:]),
    ),
    "reduction": (
        "reduction must be one of",
        lambda a: nll_loss(a["params"], a["keypoints"], skeleton=TREE, reduction="avg"),
    ),
    "scale_tril": (
        r"scale_tril must have shape",
        lambda a: offset_nll_loss(a["offsets"], a["offsets"], a["keypoints"], skeleton=TREE),
    ),
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_bad_input_is_the_same_error_without_data(bad: str) -> None:
    message, call = BAD_CALLS[bad]
    arguments = data()
    with pytest.raises((TypeError, ValueError), match=f"^{message}") as eager:
        call(arguments)
    with FakeTensorMode() as mode:
        fake = {name: mode.from_tensor(tensor) for name, tensor in arguments.items()}
        with pytest.raises(eager.type, match=f"^{message}"):
            call(fake)
    with pytest.raises(eager.type, match=f"^{message}"):
        call({name: tensor.to("meta") for name, tensor in arguments.items()})
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    with pytest.raises(Exception, match=message):
        compiled(arguments)


@pytest.mark.parametrize("operation", ["refine", "analyze", "decode"])
def test_what_has_no_gradient_says_so_when_compiled(operation: str) -> None:
    compiled = torch.compile(OPERATIONS[operation][0], fullgraph=True, backend="aot_eager")
    arguments = data()
    arguments["heatmaps"].requires_grad_()
    with pytest.raises(Exception, match="heatmaps must not require grad"):
        run(operation, arguments, compiled)
    with torch.no_grad():
        assert_equal(run(operation, arguments, compiled), run(operation, arguments))


# torch.export ------------------------------------------------------------------------------------


class Report(nn.Module):
    """A module that scores."""

    def forward(self, heatmaps: Tensor, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score = vl4pose.score(heatmaps, params, method="marginal", **TREE_OPTIONS, **PEAKS)
        refined = vl4pose.refine(heatmaps.detach(), params.detach(), **TREE_OPTIONS, **PEAKS)
        return score, refined.keypoints, vl4pose.multi_peak_entropy(heatmaps)


READ_EXPORTED = """
import sys
{imports}
program, arguments = sys.argv[1:]
module = torch.export.load(program).module()
arguments = torch.load(arguments)
for found, expected in zip(module(*arguments["inputs"]), arguments["outputs"], strict=True):
    assert torch.equal(found, expected)
leaf = arguments["inputs"][1].requires_grad_()
score, *_ = module(arguments["inputs"][0], leaf)
score.sum().backward()
assert torch.equal(leaf.grad, arguments["gradient"])
"""


@pytest.mark.parametrize(
    "imports",
    ["import torch, vl4pose", "import vl4pose, torch, vl4pose.losses"],
    ids=["torch first", "vl4pose first"],
)
def test_an_exported_module_is_read_elsewhere(imports: str, tmp_path: Path) -> None:
    arguments = data(4)
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Report(),
        (arguments["heatmaps"], arguments["params"]),
        dynamic_shapes=({0: batch}, {0: batch}),
    )
    torch.export.save(program, tmp_path / "report.pt2")
    arguments = data(3)
    inputs = (arguments["heatmaps"], arguments["params"])
    outputs = Report()(*inputs)
    leaf = inputs[1].clone().requires_grad_()
    vl4pose.score(inputs[0], leaf, method="marginal", **TREE_OPTIONS, **PEAKS).sum().backward()
    saved = {"inputs": inputs, "outputs": outputs, "gradient": leaf.grad}
    torch.save(saved, tmp_path / "arguments.pt")
    command = [sys.executable, "-c", READ_EXPORTED.format(imports=imports)]
    files = [str(tmp_path / "report.pt2"), str(tmp_path / "arguments.pt")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_a_traced_graph_is_of_the_operation_and_not_of_its_result(mode: str) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    def function(heatmaps: Tensor, params: Tensor) -> Tensor:
        return vl4pose.score(heatmaps, params, **TREE_OPTIONS, **PEAKS)

    first, other = data(), data()
    graph = make_fx(function, tracing_mode=mode)(first["heatmaps"], first["params"])
    assert torch.equal(graph(other["heatmaps"], other["params"]), run("score, expected", other))


def test_torch_jit_trace_is_an_error() -> None:
    arguments = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.jit.trace is deprecated
        with pytest.raises(TypeError, match=r"must not be traced by torch\.jit\.trace"):
            torch.jit.trace(lambda h: vl4pose.multi_peak_entropy(h), (arguments["heatmaps"],))


# torch.func --------------------------------------------------------------------------------------


def stacked(calls: int, images: int | None = None) -> dict[str, Tensor]:
    """Return arguments with an axis for calls first."""
    one = data(calls * (images or 1), torch.float64)
    lead = (calls,) if images is None else (calls, images)
    return {name: tensor.reshape(*lead, *tensor.shape[1:]) for name, tensor in one.items()}


def close(found: Any, expected: Any) -> None:
    for tensor, other in zip(parts(found), parts(expected), strict=True):
        torch.testing.assert_close(tensor, other, rtol=1e-12, atol=1e-12, equal_nan=True)


def stack(results: list[Any]) -> list[Tensor]:
    return [torch.stack(tensors) for tensors in zip(*map(parts, results), strict=True)]


@pytest.mark.parametrize("images", [None, 3], ids=["one image a call", "batches"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_vmap_is_a_loop(operation: str, images: int | None) -> None:
    function, names, _ = OPERATIONS[operation]
    arguments = stacked(4, images)
    calls = [{name: tensor[i] for name, tensor in arguments.items()} for i in range(4)]
    expected = stack([run(operation, call) for call in calls])
    for found in (
        run(operation, arguments, torch.func.vmap(function)),
        run(operation, arguments, torch.func.vmap(function, chunk_size=3)),
    ):
        for tensor, other in zip(parts(found), expected, strict=True):
            close(tensor, other)
    # Calls along another axis of the first argument.
    first, *rest = (arguments[name] for name in names)
    mapped = torch.func.vmap(function, in_dims=(1, *(0 for _ in rest)))
    for tensor, other in zip(parts(mapped(first.movedim(0, 1), *rest)), expected, strict=True):
        close(tensor, other)


@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("images", [None, 3], ids=["one image a call", "batches"])
@pytest.mark.parametrize(
    "operation", [n for n, (_, names, _) in OPERATIONS.items() if len(names) == 2]
)
def test_vmap_with_an_argument_that_all_calls_share(
    operation: str, images: int | None, shared: int
) -> None:
    function, names, _ = OPERATIONS[operation]
    arguments = stacked(4, images)
    arguments[names[shared]] = arguments[names[shared]][0]
    in_dims = tuple(None if index == shared else 0 for index in range(2))
    found = run(operation, arguments, torch.func.vmap(function, in_dims=in_dims))
    results = []
    for i in range(4):
        call = dict(arguments)
        call[names[1 - shared]] = arguments[names[1 - shared]][i]
        results.append(run(operation, call))
    for tensor, other in zip(parts(found), stack(results), strict=True):
        close(tensor, other)


@pytest.mark.parametrize(
    "operation", [n for n, (_, names, _) in OPERATIONS.items() if "params" in names]
)
def test_vmap_with_params_that_the_images_of_a_call_share(operation: str) -> None:
    function, _, by = OPERATIONS[operation]
    arguments = stacked(4, 3)
    arguments["params"] = arguments["params"][:, 0]
    calls = [{name: tensor[i] for name, tensor in arguments.items()} for i in range(4)]
    expected = stack([run(operation, call) for call in calls])
    found = run(operation, arguments, torch.func.vmap(function))
    for tensor, other in zip(parts(found), expected, strict=True):
        close(tensor, other)
    if by:
        where = tuple(OPERATIONS[operation][1].index(name) for name in by)
        gradient = torch.func.grad(scalar(operation), where)
        found = run(operation, arguments, torch.func.vmap(gradient))
        for i, call in enumerate(calls):
            for tensor, other in zip(found, run(operation, call, gradient), strict=True):
                close(tensor[i], other)


def test_nested_vmap() -> None:
    function, _, _ = OPERATIONS["score, marginal"]
    arguments = stacked(3, 2)
    heatmaps, params = arguments["heatmaps"], arguments["params"]
    nested = torch.func.vmap(torch.func.vmap(function))
    assert torch.equal(nested(heatmaps, params), torch.func.vmap(function)(heatmaps, params))


def scalar(operation: str) -> Callable[..., Tensor]:
    function, _, _ = OPERATIONS[operation]
    return lambda *inputs: used(function(*inputs)).sum()


@pytest.mark.parametrize("operation", DIFFERENTIABLE)
def test_gradients_by_torch_func(operation: str) -> None:
    _, names, by = OPERATIONS[operation]
    arguments = data(3, torch.float64)
    inputs = [arguments[name] for name in names]
    where = tuple(names.index(name) for name in by)
    found = torch.func.grad(scalar(operation), argnums=where)(*inputs)
    tracked = [
        tensor.clone().requires_grad_() if index in where else tensor
        for index, tensor in enumerate(inputs)
    ]
    wanted = torch.autograd.grad(scalar(operation)(*tracked), [tracked[index] for index in where])
    for gradient, expected in zip(found, wanted, strict=True):
        close(gradient, expected)


@pytest.mark.parametrize("images", [None, 3], ids=["one image a sample", "batches"])
@pytest.mark.parametrize("operation", DIFFERENTIABLE)
def test_gradients_per_sample(operation: str, images: int | None) -> None:
    _, names, by = OPERATIONS[operation]
    arguments = stacked(4, images)
    inputs = [arguments[name] for name in names]
    gradient = torch.func.grad(scalar(operation), tuple(names.index(name) for name in by))
    found = torch.func.vmap(gradient)(*inputs)
    for i in range(4):
        expected = gradient(*(tensor[i] for tensor in inputs))
        for tensor, other in zip(found, expected, strict=True):
            close(tensor[i], other)


@pytest.mark.parametrize("images", [None, 3], ids=["one image a sample", "batches"])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_per_sample_by_params_that_all_share(method: str, images: int | None) -> None:
    arguments = stacked(4, images)
    heatmaps, params = arguments["heatmaps"], arguments["params"].reshape(-1, 3, 2)[0]
    gradient = torch.func.grad(scalar(f"score, {method}"), 1)
    found = torch.func.vmap(gradient, in_dims=(0, None))(heatmaps, params)
    for i in range(4):
        close(found[i], gradient(heatmaps[i], params))


@pytest.mark.parametrize("operation", ["score, expected", "score, max", "multi_peak_entropy"])
def test_jacobians_of_scores(operation: str) -> None:
    function, names, by = OPERATIONS[operation]
    arguments = data(3, torch.float64)
    for name in by:
        own = arguments[name]
        for x in (own, own[0]) if name == "params" else (own,):  # or the same for all images

            def of_one(x: Tensor, name: str = name) -> Tensor:
                return function(*(x if n == name else arguments[n] for n in names))

            expected = torch.autograd.functional.jacobian(of_one, x)
            close(torch.func.jacrev(of_one)(x), expected)


@pytest.mark.parametrize("operation", DIFFERENTIABLE)
def test_usual_gradients_go_through_vmap(operation: str) -> None:
    arguments = data(3, torch.float64)
    function, _, _ = OPERATIONS[operation]

    def mapped(*inputs: Tensor) -> Tensor:
        if "loss" in operation:  # a mean or a sum over images
            return torch.func.vmap(function)(*(tensor[None] for tensor in inputs))[0]
        return torch.func.vmap(lambda *of_image: used(function(*of_image)))(*inputs)

    found = gradients(operation, arguments, mapped)
    for gradient, expected in zip(found, gradients(operation, arguments), strict=True):
        close(gradient, expected)


@pytest.mark.parametrize("operation", ["refine", "analyze", "decode"])
def test_what_has_no_gradient_says_so_under_vmap(operation: str) -> None:
    function, _, _ = OPERATIONS[operation]
    arguments = data()
    heatmaps = arguments["heatmaps"].clone().requires_grad_()
    with pytest.raises(RuntimeError, match="must not require grad"):
        run(operation, {**arguments, "heatmaps": heatmaps}, torch.func.vmap(function))
    with pytest.raises(RuntimeError, match="must not require grad"):
        torch.func.grad(lambda h: run(operation, {**arguments, "heatmaps": h}).keypoints.sum())(
            arguments["heatmaps"]
        )
    with torch.no_grad():
        found = run(operation, {**arguments, "heatmaps": heatmaps}, torch.func.vmap(function))
    for tensor, other in zip(parts(found), parts(run(operation, arguments)), strict=True):
        close(tensor, other)


@pytest.mark.parametrize("operation", WITH_FORMULA)
def test_jacobians_and_hessians_of_given_poses(operation: str) -> None:
    function, names, by = OPERATIONS[operation]
    arguments = data(2, torch.float64)

    def of_one(name: str) -> Callable[[Tensor], Tensor]:
        return lambda x: function(*(x if n == name else arguments[n] for n in names))

    for name in by:
        x = arguments[name]
        expected = torch.autograd.functional.jacobian(of_one(name), x)
        for jacobian in (torch.func.jacrev, torch.func.jacfwd):
            close(jacobian(of_one(name))(x), expected)
        tangent = torch.rand_like(x)
        primal_out, tangent_out = torch.func.jvp(of_one(name), (x,), (tangent,))
        close(primal_out, of_one(name)(x))
        close(tangent_out, (expected * tangent).flatten(-x.ndim).sum(-1))

        def sum_of_squares(x: Tensor, name: str = name) -> Tensor:
            return of_one(name)(x).square().sum()

        hessian = torch.func.hessian(sum_of_squares)(x)
        judge = torch.autograd.functional.hessian(sum_of_squares, x)
        torch.testing.assert_close(hessian, judge, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_second_derivatives_of_scores_by_torch_func(method: str) -> None:
    function = scalar(f"score, {method}")
    arguments = data(2, torch.float64)
    heatmaps, params = arguments["heatmaps"], arguments["params"]
    inner = torch.func.grad(function, 1)
    found = torch.func.grad(lambda p: inner(heatmaps, p).square().sum())(params)
    leaf = params.clone().requires_grad_()
    [first] = torch.autograd.grad(function(heatmaps, leaf), leaf, create_graph=True)
    [expected] = torch.autograd.grad(first.square().sum(), leaf)
    close(found, expected)
    # Inside of the usual kind of gradient.
    leaf = params.clone().requires_grad_()
    inner(heatmaps, leaf).square().sum().backward()
    assert leaf.grad is not None
    close(leaf.grad, expected)


def test_second_derivatives_of_scores_under_vmap_are_an_error() -> None:
    function = scalar("score, expected")
    arguments = data(2)
    with pytest.raises(RuntimeError, match=r"must not be called under torch\.vmap"):
        torch.func.jacrev(torch.func.jacrev(function, 1), 1)(
            arguments["heatmaps"], arguments["params"]
        )


# torch's compiler makes an instance of a function that has a backward of its own.
@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("operation", ["score, expected", "nll_loss", "peak_weights"])
def test_transforms_are_compiled(operation: str) -> None:
    function, _, _ = OPERATIONS[operation]
    transformed = [torch.func.vmap(function)]
    if operation in WITH_FORMULA:
        transformed.append(torch.func.grad(scalar(operation)))
    arguments = data()
    for each in transformed:
        compiled = torch.compile(each, fullgraph=True, backend="aot_eager")
        expected = run(operation, arguments, each)
        torch.testing.assert_close(run(operation, arguments, compiled), expected)


# Forward mode ------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_tangent_is_lost(operation: str) -> None:
    arguments = data(2, torch.float64)
    for name in OPERATIONS[operation][1]:
        if not arguments[name].is_floating_point():
            continue
        tangent = torch.rand_like(arguments[name])
        with forward_ad.dual_level():
            dual = {**arguments, name: forward_ad.make_dual(arguments[name], tangent)}
            if operation not in WITH_FORMULA:
                with pytest.raises(NotImplementedError, match="forward mode AD"):
                    run(operation, dual)
                continue
            primal, found = forward_ad.unpack_dual(run(operation, dual))
        close(primal, run(operation, arguments))

        def of_one(x: Tensor, name: str = name) -> Any:
            return run(operation, {**arguments, name: x})

        expected = torch.autograd.functional.jacobian(of_one, arguments[name])
        close(found, (expected * tangent).flatten(-tangent.ndim).sum(-1))


def test_no_tangent_is_lost_beside_numpy() -> None:
    arguments = data(2)
    with forward_ad.dual_level():
        params = forward_ad.make_dual(arguments["params"], torch.ones(2, 3, 2))
        with pytest.raises(RuntimeError, match=r"^params must not carry a tangent"):
            vl4pose.score(arguments["heatmaps"].numpy(), params, **TREE_OPTIONS)


@pytest.mark.parametrize("operation", ["score, expected", "multi_peak_entropy"])
def test_forward_mode_of_scores_by_torch_func_is_an_error(operation: str) -> None:
    function, names, _ = OPERATIONS[operation]
    inputs = tuple(data(2)[name] for name in names)
    for call in (
        lambda: torch.func.jvp(function, inputs, inputs),
        lambda: torch.func.jacfwd(function)(*inputs),
        lambda: torch.func.hessian(scalar(operation))(*inputs),
    ):
        with pytest.raises(NotImplementedError, match="forward mode AD"):
            call()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_forward_mode_without_a_tangent(operation: str) -> None:
    arguments = data(2)
    with forward_ad.dual_level():
        found = run(operation, arguments)
    for tensor, other in zip(parts(found), parts(run(operation, arguments)), strict=True):
        torch.testing.assert_close(tensor, other, rtol=1e-5, atol=1e-5)


# Tensors of other sorts --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_tensors_without_data_have_the_same_shapes(operation: str, dtype: torch.dtype) -> None:
    for images in (2, 0):
        arguments = data(images, dtype)
        expected = parts(run(operation, arguments))
        meta = run(operation, {name: tensor.to("meta") for name, tensor in arguments.items()})
        with FakeTensorMode() as mode:
            fake = run(operation, {n: mode.from_tensor(t) for n, t in arguments.items()})
        for result, device in ((meta, "meta"), (fake, "cpu")):
            for tensor, other in zip(parts(result), expected, strict=True):
                assert tensor.shape == other.shape
                assert tensor.dtype == other.dtype
                assert tensor.stride() == other.stride()
                assert tensor.device.type == device
    assert all(type(tensor) is not Tensor for tensor in parts(fake))


@pytest.mark.parametrize("operation", DIFFERENTIABLE)
def test_gradients_of_tensors_without_data(operation: str) -> None:
    arguments = {name: tensor.to("meta") for name, tensor in data().items()}
    _, _, by = OPERATIONS[operation]
    leaves = {**arguments, **{name: arguments[name].clone().requires_grad_() for name in by}}
    used(run(operation, leaves)).sum().backward()
    for name in by:
        gradient = leaves[name].grad
        assert gradient is not None
        assert gradient.is_meta
        assert gradient.shape == arguments[name].shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_autocast_changes_nothing(operation: str, dtype: torch.dtype) -> None:
    for arguments in (data(), data(dtype=dtype)):
        expected = run(operation, arguments)
        with torch.autocast("cpu", dtype=dtype):
            found = run(operation, arguments)
        assert_equal(found, expected)
        assert torch.float32 in {tensor.dtype for tensor in parts(found)}
        if operation not in DIFFERENTIABLE:
            continue
        expected = gradients(operation, arguments)
        with torch.autocast("cpu", dtype=dtype):
            found = gradients(operation, arguments)
        for gradient, other in zip(found, expected, strict=True):
            assert_equal(gradient, other)


class Tagged(Tensor):
    """A subclass that only has another name."""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_subclass_gives_the_same_numbers(operation: str) -> None:
    arguments = data()
    tagged = {name: tensor.as_subclass(Tagged) for name, tensor in arguments.items()}
    found = run(operation, tagged)
    for tensor, other in zip(parts(found), parts(run(operation, arguments)), strict=True):
        assert torch.equal(tensor.as_subclass(Tensor), other)
    if operation in DIFFERENTIABLE:
        for gradient, other in zip(
            gradients(operation, tagged), gradients(operation, arguments), strict=True
        ):
            assert torch.equal(gradient.as_subclass(Tensor), other)


@pytest.mark.parametrize("operation", ["score, expected", "refine", "peak_weights", "nll_loss"])
def test_a_subclass_that_holds_other_tensors(operation: str) -> None:
    a, b = data(), data()
    both = {name: TwoTensor(a[name], b[name]) for name in a}
    found = run(operation, both)
    for pair, first, second in zip(
        parts(found), parts(run(operation, a)), parts(run(operation, b)), strict=True
    ):
        assert type(pair) is TwoTensor
        assert torch.equal(pair.a, first)
        assert torch.equal(pair.b, second)


def test_parameters_and_buffers() -> None:
    arguments = data()
    expected = run("score, expected", arguments)
    buffers = {name: nn.Buffer(tensor) for name, tensor in arguments.items()}
    assert torch.equal(run("score, expected", buffers), expected)
    parameters = {**arguments, "params": nn.Parameter(arguments["params"])}
    score = run("score, expected", parameters)
    assert torch.equal(score.detach(), expected)
    score.sum().backward()
    assert parameters["params"].grad is not None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_modes_that_see_every_operation(operation: str) -> None:
    arguments = data()
    expected = run(operation, arguments)
    with FlopCounterMode(display=False):
        found = run(operation, arguments)
        if operation in DIFFERENTIABLE:
            of_mode = gradients(operation, arguments)
    assert_equal(found, expected)
    if operation in DIFFERENTIABLE:
        for gradient, other in zip(of_mode, gradients(operation, arguments), strict=True):
            assert torch.equal(gradient, other)


@pytest.mark.parametrize("operation", DIFFERENTIABLE)
def test_the_default_device_is_no_matter(operation: str) -> None:
    arguments = data()
    expected = gradients(operation, arguments)
    with torch.device("meta"):
        found = gradients(operation, arguments)
    for gradient, other in zip(found, expected, strict=True):
        assert torch.equal(gradient, other)


def test_numpy_params_stay_on_the_cpu() -> None:
    arguments = data()
    heatmaps = arguments["heatmaps"].clone().requires_grad_()
    with torch.device("meta"):
        score = vl4pose.score(heatmaps, arguments["params"].numpy(), **TREE_OPTIONS, **PEAKS)
    assert torch.equal(score.detach(), run("score, expected", arguments))


# Storing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [NLLLoss("lsp", reduction="sum"), NLLLoss(), NLLLoss(TREE), OffsetNLLLoss(TREE)]
)
def test_losses_are_stored_and_copied(loss: nn.Module, tmp_path: Path) -> None:
    torch.save(loss, tmp_path / "loss.pt")
    copies = [
        copy.deepcopy(loss),
        pickle.loads(pickle.dumps(loss)),
        torch.load(tmp_path / "loss.pt", weights_only=False),
    ]
    for other in copies:
        assert repr(other) == repr(loss)
        assert other.skeleton == loss.skeleton
    assert loss.state_dict() == {}


IMPORT_ORDERS = {
    "torch first": "import torch, vl4pose",
    "vl4pose first": "import vl4pose, torch",
}
USE_AT_ONCE = """
import warnings
warnings.simplefilter("error")
{imports}
chain = vl4pose.Skeleton("chain", ["a", "b"], [(0, 1)])
heatmaps, params = torch.rand(2, 2, 9, 9), torch.rand(1, 2, requires_grad=True)
score = vl4pose.score(heatmaps, params, skeleton=chain)
score.sum().backward()
assert torch.isfinite(params.grad).all()
again = torch.func.vmap(lambda h: vl4pose.score(h, params.detach(), skeleton=chain))(heatmaps)
assert torch.equal(again, score.detach())
"""


@pytest.mark.parametrize("order", IMPORT_ORDERS)
def test_torch_may_be_imported_before_or_after(order: str) -> None:
    script = USE_AT_ONCE.format(imports=IMPORT_ORDERS[order])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_numpy_arrays_never_come_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch_ops, "_call", lambda *inputs: pytest.fail("no plain call"))
    arguments = {name: tensor.numpy() for name, tensor in data().items()}
    for operation in ("score, expected", "peak_weights", "pose_log_likelihood", "refine"):
        for result in parts(run(operation, arguments)):
            assert isinstance(result, np.ndarray)
        plain = {name: torch.from_numpy(array) for name, array in arguments.items()}
        assert all(isinstance(part, Tensor) for part in parts(run(operation, plain)))
