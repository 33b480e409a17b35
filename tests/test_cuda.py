"""What only a GPU can show: where results are, streams, graphs, memory, waiting, gradients.

That the kernels are right is what the tests of the core say, which run on a GPU too where there is
one (conftest.py). Those that need none: test_without_cuda.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import on_gpu
import pytest
import torch
from strategies import METHODS, OBJECTIVES, SUBPIXELS, assert_same_bits, named_arrays, noise, tree
from torch import Tensor

import vl4pose
from vl4pose.losses import nll_loss, offset_nll_loss

if (why := on_gpu.missing()) is not None:
    pytest.skip(why, allow_module_level=True)

DEVICE = "cuda"
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
TREE = tree([(1, 0), (1, 2), (2, 3)])
OPTIONS: dict[str, Any] = {"skeleton": TREE, "num_peaks": 4, "min_distance": 2}
PEAKS: dict[str, Any] = {"num_peaks": 4, "min_distance": 2}

FEW, MANY = 3, 300  # images: less and more than a GPU has multiprocessors

Arguments = dict[str, Tensor]


def arguments(images: int = FEW, dtype: torch.dtype = torch.float32, seed: int = 0) -> Arguments:
    """Return arguments of every operation for some images, in CPU memory."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=(images, *shape))).to(dtype)

    heatmaps = drawn(4, 17, 24)
    heatmaps[:, :, ::3] = heatmaps[:, :, ::3].round()  # values that are equal
    if images > 1:
        heatmaps[1, 2, 3, 4] = torch.nan
        heatmaps[0, 1] = 0.5  # no peak
    return {
        "heatmaps": heatmaps,
        "params": drawn(3, 2) + 1,
        "values": drawn(4, 5),
        "count": torch.from_numpy(rng.integers(0, 6, (images, 4))),
        "keypoints": 8 * drawn(4, 2),
        "visible": torch.from_numpy(rng.random((images, 4)) < 0.8),
        "offsets": drawn(3, 3),
        "poses": 8 * drawn(4, 3),
        "factors": (torch.eye(3) + 0.2 * drawn(3, 3, 3).double().tril()).to(dtype),
    }


def moved(given: Arguments, device: str = DEVICE) -> Arguments:
    """Return arguments elsewhere."""
    return {name: tensor.to(device) for name, tensor in given.items()}


# Every operation, on such arguments.
CALLS: dict[str, Callable[[Arguments], Any]] = {
    "local_maxima": lambda a: vl4pose.local_maxima(a["heatmaps"], **PEAKS),
    "multi_peak_entropy": lambda a: vl4pose.multi_peak_entropy(a["heatmaps"], **PEAKS),
    **{
        f"decode, {subpixel}": lambda a, subpixel=subpixel: vl4pose.decode(
            a["heatmaps"], subpixel=subpixel
        )
        for subpixel in SUBPIXELS
    },
    **{
        f"score, {method}": lambda a, method=method: vl4pose.score(
            a["heatmaps"], a["params"], method=method, **OPTIONS
        )
        for method in METHODS
    },
    **{
        f"refine, {objective}": lambda a, objective=objective: vl4pose.refine(
            a["heatmaps"], a["params"], objective=objective, subpixel="dark", **OPTIONS
        )
        for objective in OBJECTIVES
    },
    "analyze": lambda a: vl4pose.analyze(a["heatmaps"], a["params"], **OPTIONS),
    "peak_weights": lambda a: vl4pose.peak_weights(a["values"], count=a["count"]),
    "pose_log_likelihood": lambda a: vl4pose.pose_log_likelihood(
        a["keypoints"], a["params"], visible=a["visible"], skeleton=TREE
    ),
    "offset_log_likelihood": lambda a: vl4pose.offset_log_likelihood(
        a["poses"], a["offsets"], a["factors"], skeleton=TREE, per_link=True
    ),
}
# Those that compute in double to the end: a GPU rounds NaN to a NaN with other bits than a CPU.
ROUNDED = ("peak_weights", "pose_log_likelihood", "offset_log_likelihood")
# Those that have a gradient, and by what.
GRADIENTS: dict[str, tuple[Callable[[Arguments], Any], tuple[str, ...]]] = {
    **{
        name: (CALLS[name], ("heatmaps", "params"))
        for name in ("score, expected", "score, max", "score, marginal", "score, sum")
    },
    "local_maxima": (lambda a: CALLS["local_maxima"](a).values, ("heatmaps",)),
    "multi_peak_entropy": (CALLS["multi_peak_entropy"], ("heatmaps",)),
    "peak_weights": (CALLS["peak_weights"], ("values",)),
    "pose_log_likelihood": (CALLS["pose_log_likelihood"], ("keypoints", "params")),
    "offset_log_likelihood": (CALLS["offset_log_likelihood"], ("poses", "offsets", "factors")),
    "nll_loss": (
        lambda a: nll_loss(
            a["params"], a["keypoints"], visible=a["visible"], skeleton=TREE, reduction="none"
        ),
        ("params", "keypoints"),
    ),
    "offset_nll_loss": (
        lambda a: offset_nll_loss(
            a["offsets"], a["factors"], a["poses"], skeleton=TREE, reduction="none"
        ),
        ("offsets", "factors", "poses"),
    ),
}


def parts(result: Any) -> list[Tensor]:
    """Return the tensors of a result."""
    return list(named_arrays(result).values()) if hasattr(result, "_asdict") else [result]


def assert_is(result: Any, expected: Any) -> None:
    """Compare results, which are on the GPU, with the CPU's: every bit, but for the bits of NaN."""
    for found, right in zip(parts(result), parts(expected), strict=True):
        assert found.device.type == DEVICE
        assert_same_bits(with_one_nan(found.cpu()), with_one_nan(right))


def with_one_nan(tensor: Tensor) -> Tensor:
    """Return a tensor in which all NaN have the same bits."""
    return torch.where(tensor.isnan(), torch.nan, tensor) if tensor.is_floating_point() else tensor


@contextlib.contextmanager
def keeping_busy(seconds: float = 0.1) -> Iterator[None]:
    """Give the current stream something to do first; what is called must not wait for it."""
    stream = torch.cuda.current_stream()
    stream.synchronize()
    torch.cuda._sleep(int(seconds * 2e9))  # cycles
    yield
    assert not stream.query(), "the call has waited for the GPU"
    stream.synchronize()


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Raise where torch waits for the GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Results -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_results_are_the_cpu_s_on_the_device_of_the_input(name: str, dtype: torch.dtype) -> None:
    for images in (1, FEW, MANY):
        given = arguments(images, dtype)
        assert_is(CALLS[name](moved(given)), CALLS[name](given))


@pytest.mark.parametrize("name", CALLS)
def test_no_image(name: str) -> None:
    given = arguments(0)
    assert_is(CALLS[name](moved(given)), CALLS[name](given))


def test_a_single_image_without_a_batch() -> None:
    given = {key: tensor[0] for key, tensor in arguments(FEW).items()}
    for call in CALLS.values():
        assert_is(call(moved(given)), call(given))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_nan_have_the_cpu_s_bits(name: str, dtype: torch.dtype) -> None:
    given = arguments(FEW, dtype)
    for key in ("params", "values", "keypoints", "offsets", "poses"):
        given[key][1, 1] = torch.nan
    found, expected = CALLS[name](moved(given)), CALLS[name](given)
    if name in ROUNDED and dtype == torch.float32:
        assert_is(found, expected)
    else:
        for one, right in zip(parts(found), parts(expected), strict=True):
            assert_same_bits(one.cpu(), right)


def test_params_of_all_images() -> None:
    given = arguments(MANY)
    given["params"] = given["params"][0]
    assert_is(CALLS["analyze"](moved(given)), CALLS["analyze"](given))


@pytest.mark.parametrize("images", [FEW, MANY])
def test_the_same_twenty_times(images: int) -> None:
    given = moved(arguments(images))
    expected = [CALLS["analyze"](arguments(images)), CALLS["score, marginal"](arguments(images))]
    for run in range(20):
        # What the allocator gives next holds something else each time.
        rest = [torch.full((2**20,), 255 - run, dtype=torch.uint8, device=DEVICE) for _ in range(9)]
        del rest
        assert_is(CALLS["analyze"](given), expected[0])
        assert_is(CALLS["score, marginal"](given), expected[1])


@pytest.mark.parametrize(
    ("heatmaps", "options"),
    [
        (noise(2, 3, 40, 40, dtype=np.float32), {"num_peaks": 2000, "min_distance": 1}),
        (noise(1, 3, 200, 200), {"min_distance": 1}),
        (noise(MANY, 3, 12, 12), {"num_peaks": 2000, "min_distance": 1}),
        (noise(2, 3, 700, 500, dtype=np.float32), {"min_distance": 30}),
        (noise(3, 3, 1, 65, dtype=np.float32), {"min_distance": 3}),
    ],
)
def test_sizes_that_need_memory_of_their_own(heatmaps: np.ndarray, options: Any) -> None:
    maps, params = torch.from_numpy(heatmaps), torch.tensor([[5.0, 1.0], [9.0, 2.0]]).double()
    options |= {"skeleton": tree([(0, 1), (1, 2)])}
    found = vl4pose.analyze(maps.to(DEVICE), params.to(DEVICE), **options)
    assert_is(found, vl4pose.analyze(maps, params, **options))


def test_strides_beyond_32_bits() -> None:
    apart = 2**31 + 64  # values, thus more than 2^32 bytes
    need_memory(4 * apart)
    given = arguments(FEW, torch.float16)
    heatmaps = given["heatmaps"]
    far = torch.zeros(2 * apart + heatmaps[0].numel(), dtype=torch.float16, device=DEVICE)
    spread = far.as_strided(heatmaps.shape, (apart, *heatmaps.stride()[1:]))
    spread.copy_(heatmaps)
    found = CALLS["analyze"]({**moved(given), "heatmaps": spread})
    assert_is(found, CALLS["analyze"](given))


def test_more_than_2_to_the_31_values() -> None:
    shape = (70000, 1, 192, 192)
    need_memory(2 * int(np.prod(shape)))
    heatmaps = torch.zeros(shape, dtype=torch.float16, device=DEVICE)
    images = [0, 1, 58253, 58254, 58255, 69999]  # value 2^31 is in image 58254
    own = noise(len(images), 1, 192, 192, dtype=np.float16)
    heatmaps[images] = torch.from_numpy(own).to(DEVICE)
    peaks = vl4pose.local_maxima(heatmaps)
    expected = vl4pose.local_maxima(torch.from_numpy(own))
    assert_is(vl4pose.Peaks(*(part[images] for part in peaks)), expected)
    assert peaks.count.sum() == expected.count.sum() + len(heatmaps) - len(images)
    decoded = vl4pose.decode(heatmaps)
    assert_is(decoded.confidence[images], vl4pose.decode(torch.from_numpy(own)).confidence)


def need_memory(num_bytes: int) -> None:
    """Skip where the GPU has not so many bytes to spare."""
    free = torch.cuda.mem_get_info()[0]
    if free < 1.2 * num_bytes + 2**30:
        pytest.skip(f"needs {num_bytes / 2**30:.0f} GiB of the GPU's memory: {free / 2**30:.0f}")


# Waiting, streams, threads, devices ---------------------------------------------------------------


@pytest.mark.parametrize("images", [FEW, MANY])
@pytest.mark.parametrize("name", CALLS)
def test_nothing_waits_for_the_gpu(name: str, images: int) -> None:
    given = arguments(images)
    on_device = moved(given)
    CALLS[name](on_device)  # loads the kernels
    with keeping_busy(), no_waiting():
        found = CALLS[name](on_device)
    assert_is(found, CALLS[name](given))


@pytest.mark.parametrize("name", GRADIENTS)
def test_no_gradient_waits_for_the_gpu(name: str) -> None:
    function, by = GRADIENTS[name]
    given = moved(arguments())
    leaves = [given[key].requires_grad_() for key in by]

    def gradient() -> Any:
        return torch.autograd.grad(function(given).sum(), leaves)

    gradient()
    with keeping_busy(), no_waiting():
        gradient()


def test_no_mean_of_losses_waits_for_the_gpu() -> None:
    given = arguments(MANY)
    on_device = moved(given)

    def means(a: Arguments) -> list[Tensor]:
        options: dict[str, Any] = {"skeleton": TREE, "visible": a["visible"]}
        return [
            nll_loss(a["params"], a["keypoints"], **options),
            offset_nll_loss(a["offsets"], a["factors"], a["poses"], **options),
        ]

    means(on_device)
    with keeping_busy(), no_waiting():
        found = means(on_device)
    for one, right in zip(found, means(given), strict=True):
        torch.testing.assert_close(one.cpu(), right, rtol=1e-5, atol=1e-6)


def test_no_formula_waits_for_the_gpu() -> None:
    given = arguments()
    on_device = moved(given)
    names = ("peak_weights", "pose_log_likelihood", "offset_log_likelihood")

    def mapped(a: Arguments) -> list[Tensor]:
        in_dims = (dict.fromkeys(a, 0),)
        return [torch.func.vmap(CALLS[name], in_dims)(a) for name in names]

    mapped(on_device)
    with keeping_busy(), no_waiting():
        found = mapped(on_device)
    for one, right in zip(found, mapped(given), strict=True):
        torch.testing.assert_close(one.cpu(), right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("images", [FEW, MANY])
def test_calls_follow_on_the_current_stream(images: int) -> None:
    before, given = arguments(images, seed=1), arguments(images)
    on_device, later = moved(before), moved(given)
    CALLS["analyze"](on_device)
    torch.cuda.synchronize()
    stream, done = torch.cuda.Stream(), torch.cuda.Event()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(int(2e8))
        for name, tensor in on_device.items():
            tensor.copy_(later[name], non_blocking=True)
        found = CALLS["analyze"](on_device)
        done.record()
    assert not done.query()
    torch.cuda.current_stream().wait_event(done)
    copies = [part.clone() for part in parts(found)]
    for copy, right in zip(copies, parts(CALLS["analyze"](given)), strict=True):
        assert_is(copy, right)


def test_many_streams_and_threads_at_once() -> None:
    sizes = [1, MANY, FEW, 40, 7, 2 * MANY, 2, 150]
    given = {images: arguments(images, seed=images) for images in sizes}
    expected = {images: CALLS["analyze"](given[images]) for images in sizes}
    barrier = threading.Barrier(4)

    def work(first: int) -> None:
        stream = torch.cuda.Stream()
        barrier.wait()
        with torch.cuda.stream(stream):
            for run in range(10):
                images = sizes[(first + run) % len(sizes)]
                found = CALLS["analyze"](moved(given[images]))
                stream.synchronize()
                assert_is(found, expected[images])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_another_device_than_the_current_one() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs: torch finds one")
    given = arguments(MANY)
    for call in CALLS.values():
        found = call(moved(given, "cuda:1"))
        assert torch.cuda.current_device() == 0
        assert {part.device.index for part in parts(found)} == {1}
        assert_is(found, call(given))
    with pytest.raises(ValueError, match=r"params must be on the device of heatmaps \(cuda:1\)"):
        vl4pose.score(given["heatmaps"].to("cuda:1"), given["params"].to("cuda:0"), **OPTIONS)


# Arguments elsewhere ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tensor", "array", "tensor that requires grad"])
def test_params_elsewhere(kind: str) -> None:
    given = arguments()
    params = {
        "tensor": given["params"],
        "array": given["params"].numpy(),
        "tensor that requires grad": given["params"].clone().requires_grad_(),
    }[kind]
    message = r"^params must be on the device of heatmaps \(cuda:0\), got cpu$"
    with pytest.raises(ValueError, match=message):
        vl4pose.score(given["heatmaps"].to(DEVICE), params, **OPTIONS)
    message = r"^params must be on the device of heatmaps \(cpu\), got cuda:0$"
    with pytest.raises(ValueError, match=message):
        vl4pose.score(given["heatmaps"], given["params"].to(DEVICE), **OPTIONS)


def test_others_elsewhere() -> None:
    given, on_device = arguments(), moved(arguments())
    for argument, name, first in (
        ("visible", "pose_log_likelihood", "keypoints"),
        ("count", "peak_weights", "values"),
        ("offsets", "offset_log_likelihood", "keypoints"),
    ):
        message = rf"^{argument} must be on the device of {first} \(cuda:0\), got cpu$"
        with pytest.raises(ValueError, match=message):
            CALLS[name]({**on_device, argument: given[argument]})


# CUDA graphs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [1, FEW, MANY])
@pytest.mark.parametrize("name", CALLS)
def test_captured_and_replayed_with_other_data(name: str, images: int) -> None:
    call = CALLS[name]
    static = moved(arguments(images))
    call(static)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = call(static)
    for seed in (1, 2):
        other = arguments(images, seed=seed)
        for key, tensor in moved(other).items():
            static[key].copy_(tensor)
        graph.replay()
        assert_is(found, call(other))


def test_a_gradient_captured_and_replayed() -> None:
    static = moved(arguments(MANY))
    leaves = [static[key].requires_grad_() for key in ("heatmaps", "params")]

    def gradient() -> Any:
        return torch.autograd.grad(CALLS["score, expected"](static).nansum(), leaves)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        gradient()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = gradient()
    other = arguments(MANY, seed=1)
    with torch.no_grad():
        for key in ("heatmaps", "params"):
            static[key].copy_(other[key].to(DEVICE))
    graph.replay()
    for gradient_found, expected in zip(
        found, gradients("score, expected", other, nansum=True), strict=True
    ):
        assert_is(gradient_found, expected)


# Memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [FEW, MANY])
@pytest.mark.parametrize("name", CALLS)
def test_memory_is_the_outputs_and_one_workspace(name: str, images: int) -> None:
    given = moved(arguments(images))
    if name == "peak_weights":
        given["count"] = given["count"].int()  # others are converted
    CALLS[name](given)
    before, count_before = torch.cuda.memory_allocated(), num_allocations()
    found = CALLS[name](given)
    assert num_allocations() - count_before <= len(parts(found)) + 1
    # The allocator gives whole blocks of 512 bytes.
    outputs = sum(-(-part.nbytes // 512) * 512 for part in parts(found))
    assert torch.cuda.memory_allocated() - before == outputs
    del found
    assert torch.cuda.memory_allocated() == before


def num_allocations() -> int:
    return torch.cuda.memory_stats()["allocation.all.allocated"]


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_leave_no_memory_behind(name: str) -> None:
    given = arguments(MANY)
    gradients(name, given, DEVICE)
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        gradients(name, given, DEVICE)
    assert torch.cuda.memory_allocated() == before


# Gradients ----------------------------------------------------------------------------------------


def gradients(
    name: str, given: Arguments, device: str = "cpu", *, nansum: bool = False
) -> tuple[Tensor, ...]:
    """Return the gradient of an operation's weighted sum by all that it has one by."""
    function, by = GRADIENTS[name]
    copies = {key: tensor.to(device, copy=True) for key, tensor in given.items()}
    leaves = [copies[key].requires_grad_() for key in by]
    result = function(copies)
    if nansum:
        return torch.autograd.grad(result.nansum(), leaves)
    weights = torch.linspace(0.5, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
    return torch.autograd.grad((result * weights.to(device)).sum(), leaves)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_the_cpu_s(name: str, dtype: torch.dtype) -> None:
    for images in (1, FEW, MANY):
        given = arguments(images, dtype)
        found, expected = gradients(name, given, DEVICE), gradients(name, given)
        for by_one, right in zip(found, expected, strict=True):
            assert_is(by_one.double(), right.double())  # NumPy has no bfloat16


def test_gradients_below_the_smallest_normal_number_are_not_zero() -> None:
    given = arguments()
    by_heatmaps = []
    for device in (DEVICE, "cpu"):
        heatmaps = given["heatmaps"].to(device, copy=True).requires_grad_()
        values = vl4pose.local_maxima(heatmaps, **PEAKS).values
        by_heatmaps += torch.autograd.grad(values, heatmaps, torch.full_like(values, 1e-40))
    assert (by_heatmaps[1] == torch.tensor(1e-40)).any()
    assert_is(*by_heatmaps)


@pytest.mark.parametrize("name", ["score, expected", "pose_log_likelihood"])
def test_gradients_by_what_all_images_share(name: str) -> None:
    given = arguments(MANY)
    given["heatmaps"] = given["heatmaps"].nan_to_num()
    given["params"] = given["params"][0]
    for found, expected in zip(gradients(name, given, DEVICE), gradients(name, given), strict=True):
        assert_is(found, expected)


@pytest.mark.parametrize("name", GRADIENTS)
def test_second_derivatives_are_the_cpu_s(name: str) -> None:
    function, by = GRADIENTS[name]
    given = arguments(FEW, torch.float64)
    given["heatmaps"] = given["heatmaps"].nan_to_num()

    def second(device: str) -> list[Tensor]:
        copies = {key: tensor.to(device, copy=True) for key, tensor in given.items()}
        leaves = [copies[key].requires_grad_() for key in by]
        first = torch.autograd.grad(function(copies).sum(), leaves, create_graph=True)
        total = sum((gradient.square().sum() for gradient in first), torch.zeros((), device=device))
        return list(
            torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
            if total.requires_grad
            else first
        )

    # Sums over a whole tensor, which are torch's own, may differ in their order.
    for found, expected in zip(second(DEVICE), second("cpu"), strict=True):
        assert found.device.type == DEVICE
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-12, atol=1e-12)


# torch --------------------------------------------------------------------------------------------


def test_compiled_without_a_break() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own, as its compiler is imported
        import torch._inductor.compile_fx

        def step(heatmaps: Tensor, params: Tensor) -> Tensor:
            return vl4pose.score(heatmaps * 2, params, **OPTIONS) * 3

        torch._dynamo.reset()
        compiled = torch.compile(step, fullgraph=True)
        with torch._inductor.config.patch(compile_threads=1):  # which starts no processes
            for images in (FEW, MANY, 7):
                given = arguments(images)
                heatmaps, params = given["heatmaps"], given["params"]
                found = compiled(heatmaps.to(DEVICE), params.to(DEVICE))
                assert_is(found, step(heatmaps, params))
        torch._dynamo.reset()


def test_under_autocast() -> None:
    given, on_device = arguments(MANY), moved(arguments(MANY))
    with torch.autocast(DEVICE, torch.float16):
        for call in CALLS.values():
            assert_is(call(on_device), call(given))
        for function, _ in GRADIENTS.values():
            assert function(on_device).dtype == torch.float32


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_are_the_cpu_s(reduction: str) -> None:
    given, on_device = arguments(MANY), moved(arguments(MANY))

    def losses(a: Arguments) -> list[Tensor]:
        options = {"skeleton": TREE, "reduction": reduction}
        visible = a["visible"]
        return [
            nll_loss(a["params"], a["keypoints"], visible=visible, **options),
            offset_nll_loss(a["offsets"], a["factors"], a["poses"], visible=visible, **options),
        ]

    for found, expected in zip(losses(on_device), losses(given), strict=True):
        if reduction == "none":
            assert_is(found, expected)
        else:  # a sum of torch's own
            assert found.device.type == DEVICE
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)


def test_networks_and_scorer_on_the_gpu() -> None:
    network = torch.nn.Conv2d(3, 4, 3, padding=1).to(DEVICE)
    params = arguments()["params"][0]
    scorer = vl4pose.Scorer(network, params=params.numpy(), skeleton=TREE, device=DEVICE)
    images = torch.rand(5, 3, 17, 24)
    with torch.inference_mode():
        heatmaps = network(images.to(DEVICE))
    expected = vl4pose.analyze(heatmaps.cpu(), params, skeleton=TREE)
    assert_same_bits(torch.as_tensor(scorer(images).score).cpu(), expected.score)


# Other libraries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [FEW, MANY])
def test_arrays_of_cupy(images: int) -> None:
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    given = arguments(images)
    on_device = {key: cupy.asarray(tensor.numpy()) for key, tensor in given.items()}
    for name, call in CALLS.items():
        for found, right in zip(parts(call(on_device)), parts(call(given)), strict=True):
            assert isinstance(found, cupy.ndarray), name
            assert_same_bits(cupy.asnumpy(found), right.numpy())


def test_arrays_of_cupy_on_its_current_stream() -> None:
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    given = arguments(MANY)
    expected = CALLS["analyze"](given)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        on_device = {key: cupy.asarray(tensor.numpy()) for key, tensor in given.items()}
        found = CALLS["analyze"](on_device)
        stream.synchronize()
        for array, right in zip(parts(found), parts(expected), strict=True):
            assert_same_bits(cupy.asnumpy(array), right.numpy())


ARRAYS_OF_JAX = """
import jax
import numpy as np
import vl4pose

rng = np.random.default_rng(0)
heatmaps, params = rng.random((300, 14, 20, 20), np.float32), rng.random((13, 2), np.float32)
device = jax.devices()[0]
assert device.platform == "gpu", f"JAX finds no GPU: {device}"
found = vl4pose.analyze(jax.device_put(heatmaps, device), jax.device_put(params, device))
expected = vl4pose.analyze(heatmaps, params)
assert isinstance(found.score, jax.Array)
assert found.score.devices() == {device}
for name in ("score", "per_link", "entropy", "posterior", "keypoints", "confidence", "status"):
    one, right = np.asarray(getattr(found, name)), getattr(expected, name)
    assert one.dtype == right.dtype, name
    assert one.tobytes() == right.tobytes(), name
"""


def test_arrays_of_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs JAX")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # it would take all memory
    command = [sys.executable, "-P", "-c", ARRAYS_OF_JAX]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
