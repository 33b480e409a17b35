"""Who is timed against whom on a GPU. The contestants of a contest take turns, round after round.

Nobody finds its maps in the last cache: every call gets others, of which there are five times as
many as fit there. Ours have the bits that the CPU's kernels give, or are marked as wrong; of
others, answers are compared with ours on the images where no peaks of a map tie.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

import vl4pose
from bench import competitors, heatmaps
from bench.answers import check, parts
from bench.calls import in_turn, typical
from bench.cases import PRESETS, Case
from bench.gpu.device import AfterOthers, Gpu
from bench.rounds import Call
from vl4pose.nn import StackedHourglass

MANY, FEWER, FEW = 1024, 256, 32  # images
FIVE_PEAKS = Case()
ONE_PEAK = Case(min_distance=8, num_peaks=1)
SIZES = {
    "96x72": Case(height=96, width=72),
    "48x64": Case(height=48, width=64),
    "128x128": Case(height=128, width=128),
    "33x47": Case(height=33, width=47),
    "J=17": Case(joints=17),
    "J=133": Case(joints=133),
}
PRECISIONS = ("float32", "float16", "bfloat16", "float64")
OPERATIONS = ("score", "refine", "analyze")
COPIED_BYTES = 2**30
CACHES = 5  # so many times the last cache: it need not forget what is oldest first
IMAGE = (256, 256)

COPY = "copy, device to device"
DECODE = "torch flatten(2).max(-1): no score"
EAGER, EAGER_SQUARE = "torch eager", "torch eager, square window"
COMPILED, COMPILED_STRIPS = "torch.compile", "torch.compile, best code"
CUCIM = "cuCIM + torch"
ONE_REPLAY, IN_GRAPH = "one replay", "many calls in one graph"
REPLAYS = "replays back to back, in the cache"
FORWARD, FORWARD_GRAPH = "forward pass", "forward pass in a CUDA graph"


class NotHereError(Exception):
    """Somebody else's package is not on this machine; says which."""


@dataclass(frozen=True)
class Prepared:
    """A call, and what raises AssertionError unless its answer is right."""

    call: Call
    check: Callable[[], None]


@dataclass(frozen=True)
class Contestant:
    """One that is timed.

    Attributes
    ----------
    images : int
        Of one call.
    num_bytes : int
        That one call has to read or write, where that is known: of the maps for operations on
        them; for a copy, those read and those written.
    prepare : callable
    """

    images: int
    num_bytes: int
    prepare: Callable[[], Prepared]


Contestants: TypeAlias = dict[str, Contestant]


@dataclass(frozen=True)
class Contest:
    """Those who take turns, and what is measured of them.

    Attributes
    ----------
    clock : str
        "device", "latency", "host" or "wall": a sample of Gpu.
    contestants : callable
        Takes the GPU and the scale: one in so many of the images, for tests.
    """

    clock: str
    contestants: Callable[[Gpu, int], Contestants]


# ------------------------------------------------------------------------------------------------
# Maps on the GPU, and ours
# ------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=len(PRECISIONS))
def rotated(gpu: Gpu, case: Case) -> list[Tensor]:
    """Return copies of a case's maps on the GPU, more than five of its last caches hold."""
    return copies_of(gpu, maps_of(case))


def copies_of(gpu: Gpu, maps: Tensor) -> list[Tensor]:
    """Return so many copies of maps, which lie one behind the other."""
    copies = num_copies(gpu, maps.nbytes)
    return list(maps.to(gpu.device).expand(copies, *maps.shape).contiguous())


def num_copies(gpu: Gpu, num_bytes: int) -> int:
    """Return how many copies of so many bytes are more than CACHES times what the cache holds."""
    return max(2, CACHES * gpu.cache_bytes // num_bytes + 1)


def bytes_of(case: Case) -> int:
    """Return the size of a case's maps."""
    item = getattr(torch, case.dtype).itemsize
    return case.batch * case.joints * case.height * case.width * item


def forget() -> None:
    """Give the memory of maps back."""
    rotated.cache_clear()


def maps_of(case: Case) -> Tensor:
    """Return a batch in CPU memory, of the case's dtype."""
    return torch.from_numpy(typical(replace(case, dtype="float32"))).to(getattr(torch, case.dtype))


def params_of(case: Case) -> Tensor:
    """Return a batch in CPU memory."""
    params = torch.from_numpy(case.params)
    return params.double() if case.dtype == "float64" else params


def options_of(case: Case) -> dict[str, Any]:
    """Return what our operations are called with."""
    named = {} if case.joints in PRESETS else {"skeleton": case.skeleton}
    return {**case.peak_options, **named}


def check_bits(answer: Any, expected: Any) -> None:
    """Raise unless two answers have the same dtypes, shapes and bits."""
    for found, right in zip(parts(answer), parts(expected), strict=True):
        assert found.dtype == right.dtype, f"dtype {found.dtype}, not {right.dtype}"
        assert found.shape == right.shape, f"shape {found.shape}, not {right.shape}"
        if found.tobytes() != right.tobytes():
            np.testing.assert_array_equal(found, right)
            raise AssertionError("a zero's sign or a NaN's bits differ")


def check_device(answer: Any, device: torch.device) -> None:
    """Raise unless all tensors of an answer are on a device."""
    if isinstance(answer, tuple):
        for part in answer:
            check_device(part, device)
    else:
        assert answer.device == device, f"the answer is on {answer.device}, not on {device}"


def ours(
    gpu: Gpu,
    operation: str,
    case: Case,
    maps: Tensor | None = None,
    view: Callable[[Tensor], Tensor] = lambda maps: maps,
) -> Contestant:
    """Return a contestant of one of our operations on a view of maps, by default of the case's."""

    def prepare() -> Prepared:
        if maps is None:
            on_cpu, on_gpu = maps_of(case), rotated(gpu, case)
        else:
            on_cpu, on_gpu = view(maps), [view(copy) for copy in copies_of(gpu, maps)]
        calls, expected = our_calls(gpu, operation, case, on_cpu, on_gpu)

        def check_all() -> None:
            for call in (calls[0], calls[-1]):
                answer = call()
                check_device(answer, gpu.device)
                check_bits(answer, expected)

        return Prepared(in_turn(calls), check_all)

    return Contestant(case.batch, bytes_of(case), prepare)


def our_calls(
    gpu: Gpu, operation: str, case: Case, on_cpu: Tensor, on_gpu: Sequence[Tensor]
) -> tuple[list[Callable[[], Any]], Any]:
    """Return a call for each of the copies of maps, and the answer that the CPU gives."""
    function, params = getattr(vl4pose, operation), params_of(case)
    given = {} if operation == "decode" else {"params": params.to(gpu.device)}
    options = {} if operation == "decode" else options_of(case)
    calls = [functools.partial(function, maps, **given, **options) for maps in on_gpu]
    of_cpu = {} if operation == "decode" else {"params": params}
    return calls, function(on_cpu, **of_cpu, **options)


# ------------------------------------------------------------------------------------------------
# Others
# ------------------------------------------------------------------------------------------------


def copy(gpu: Gpu, scale: int = 1) -> Contestant:
    """Return torch's copy of a large tensor to another."""
    size = COPIED_BYTES // scale

    def prepare() -> Prepared:
        source = torch.arange(size // 8, device=gpu.device)
        target = torch.empty_like(source)

        def check_copy() -> None:
            target.zero_()
            target.copy_(source)
            assert torch.equal(target, source)

        return Prepared(lambda: target.copy_(source), check_copy)

    return Contestant(1, 2 * size, prepare)  # it reads them and writes them


def decode(gpu: Gpu, case: Case) -> Contestant:
    """Return torch's maximum, which knows where it is: a plain decode, and no score."""

    def prepare() -> Prepared:
        maps = maps_of(case)
        calls = [functools.partial(highest_pixels, copy) for copy in rotated(gpu, case)]

        def check_decoded() -> None:
            values, index = parts(calls[0]())
            y, x = np.divmod(index, case.width)
            check([np.stack([x, y], -1), values], parts(vl4pose.decode(maps)))

        return Prepared(in_turn(calls), check_decoded)

    return Contestant(case.batch, bytes_of(case), prepare)


def highest_pixels(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the highest value of each map, and where it is."""
    values, index = maps.flatten(2).max(-1)
    return values, index


Analysis: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def torch_analysis(find: Callable[..., competitors.Found], case: Case) -> Analysis:
    """Return analyze as torch code, from a way to find peaks."""

    def analysis(maps: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        peaks = find(maps, **case.peak_options)
        return competitors.analyze(*peaks, params, case.links)

    return analysis


def compiled_analysis(find: Callable[..., competitors.Found], case: Case) -> Analysis:
    """Return the same compiled for one shape, at its first call: the peaks, and what follows."""
    compiled = functools.partial(torch.compile, fullgraph=True, dynamic=False)
    peaks = compiled(lambda maps: find(maps, **case.peak_options))
    rest = compiled(lambda xy, values, params: competitors.analyze(xy, values, params, case.links))
    return lambda maps, params: rest(*peaks(maps), params)


def theirs(gpu: Gpu, case: Case, make: Callable[[], Analysis]) -> Contestant:
    """Return a contestant of somebody else's analyze."""

    def prepare() -> Prepared:
        function, maps, params = make(), maps_of(case), params_of(case)
        on_gpu = params.to(gpu.device)
        comparable, right = comparable_analysis(maps, params, case)
        calls = [functools.partial(function, copy, on_gpu) for copy in rotated(gpu, case)]
        with competitors.compiling():
            calls[0]()

        def check_analysis() -> None:
            found = parts(tuple(calls[0]()))
            check([part[comparable] for part in found], [part[comparable] for part in right])

        return Prepared(in_turn(calls), check_analysis)

    return Contestant(case.batch, bytes_of(case), prepare)


def comparable_analysis(
    maps: Tensor, params: Tensor, case: Case
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the images where no peaks tie, and ours of all that others compute too."""
    comparable = ~competitors.tied(maps, **case.peak_options).numpy()
    assert comparable.mean() > 0.1, "too few images without ties"
    all_of_it = vl4pose.analyze(maps, params, **options_of(case))
    refined = all_of_it.refined
    return comparable, parts((*all_of_it[:6], refined.keypoints, refined.log_prob))


def cucim_analysis(case: Case) -> Analysis:
    """Return analyze with cuCIM's peak_local_max, which takes map by map."""
    try:
        cupy = importlib.import_module("cupy")
        feature = importlib.import_module("cucim.skimage.feature")
    except ImportError as error:
        raise NotHereError(str(error).strip().partition("\n")[0]) from error

    def analysis(maps: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        shape = (*maps.shape[:2], case.num_peaks)
        xy = torch.full((*shape, 2), -1.0, device=maps.device)
        values = torch.full(shape, -torch.inf, device=maps.device)
        for b, j in np.ndindex(*maps.shape[:2]):
            found = feature.peak_local_max(
                cupy.from_dlpack(maps[b, j]),
                min_distance=case.min_distance,
                num_peaks=case.num_peaks,
                exclude_border=False,
            )
            y, x = torch.as_tensor(cupy.asarray(found), device=maps.device).T
            xy[b, j, : len(x)] = torch.stack([x, y], -1).float()
            values[b, j, : len(x)] = maps[b, j, y, x]
        return competitors.analyze(xy, values, params, case.links)

    return analysis


# ------------------------------------------------------------------------------------------------
# The contests
# ------------------------------------------------------------------------------------------------


def batch_of(case: Case, images: int, scale: int) -> Case:
    """Return a case with another batch."""
    return replace(case, batch=max(images // scale, 1))


def large_batch(gpu: Gpu, scale: int) -> Contestants:
    """Measure our operations and what torch does eagerly, on 1024 images."""
    case = batch_of(FIVE_PEAKS, MANY, scale)
    return {
        COPY: copy(gpu, scale),
        **{name: ours(gpu, name, case) for name in (*OPERATIONS, "decode")},
        DECODE: decode(gpu, case),
        EAGER: theirs(gpu, case, lambda: torch_analysis(competitors.torch_separable_peaks, case)),
        EAGER_SQUARE: theirs(gpu, case, lambda: torch_analysis(competitors.torch_peaks, case)),
    }


def against_compiled(gpu: Gpu, scale: int) -> Contestants:
    """Measure analyze and what torch compiles, on 1024 images."""
    case = batch_of(FIVE_PEAKS, MANY, scale)
    separable, strips = competitors.torch_separable_peaks, competitors.torch_strip_peaks
    torch.compiler.reset()  # so that everything is compiled for its own sizes
    return {
        "analyze": ours(gpu, "analyze", case),
        COMPILED: theirs(gpu, case, lambda: compiled_analysis(separable, case)),
        COMPILED_STRIPS: theirs(gpu, case, lambda: compiled_analysis(strips, case)),
    }


def against_cucim(gpu: Gpu, scale: int) -> Contestants:
    """Measure analyze and what cuCIM does, on one image."""
    case = batch_of(FIVE_PEAKS, 1, scale)
    return {
        "analyze": ours(gpu, "analyze", case),
        CUCIM: theirs(gpu, case, lambda: cucim_analysis(case)),
    }


def with_copy(case: Case, images: int) -> Callable[[Gpu, int], Contestants]:
    """Return what measures a copy and our operations."""

    def contestants(gpu: Gpu, scale: int) -> Contestants:
        sized = batch_of(case, images, scale)
        return {COPY: copy(gpu, scale), **{name: ours(gpu, name, sized) for name in OPERATIONS}}

    return contestants


def few_images(gpu: Gpu, scale: int) -> Contestants:
    """Measure small batches, beside torch."""
    contestants: Contestants = {}
    for images in (FEW, 1):
        case = batch_of(FIVE_PEAKS, images, scale)
        for name in OPERATIONS:
            contestants[f"{name}, B={images}"] = ours(gpu, name, case)
        contestants[f"{DECODE}, B={images}"] = decode(gpu, case)
        analysis = torch_analysis(competitors.torch_separable_peaks, case)
        contestants[f"{EAGER}, B={images}"] = theirs(gpu, case, lambda analysis=analysis: analysis)
    return contestants


def precisions(gpu: Gpu, scale: int) -> Contestants:
    """Measure the same maps in all precisions."""
    case = batch_of(FIVE_PEAKS, MANY, scale)
    cases = {dtype: replace(case, dtype=dtype) for dtype in PRECISIONS}
    return {
        COPY: copy(gpu, scale),
        **{f"score {dtype}": ours(gpu, "score", cases[dtype]) for dtype in PRECISIONS},
        **{f"analyze {dtype}": ours(gpu, "analyze", cases[dtype]) for dtype in PRECISIONS},
    }


def other_sizes(gpu: Gpu, scale: int) -> Contestants:
    """Measure maps of other sizes, and other skeletons, on the bytes of 256 usual images."""
    contestants = {COPY: copy(gpu, scale)}
    for name, case in SIZES.items():
        images = FEWER * 16 * 64 * 64 // (case.joints * case.height * case.width)
        contestants[f"analyze {name}"] = ours(gpu, "analyze", batch_of(case, images, scale))
    return contestants


def equal_values(gpu: Gpu, scale: int) -> Contestants:
    """Measure maps with equal values, some or as many as can be."""
    case = batch_of(FIVE_PEAKS, FEWER, scale)
    kinds: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
        "typical": lambda maps: maps,
        "zeros after ReLU": heatmaps.zeros_after_relu,
        "integers 0..3": heatmaps.integers,
        "saturated plateaus": heatmaps.saturated_plateaus,
        "constant": heatmaps.constant,
    }
    return {
        f"analyze {name}": ours(gpu, "analyze", case, torch.from_numpy(make(typical(case))))
        for name, make in kinds.items()
    }


def layouts(gpu: Gpu, scale: int) -> Contestants:
    """Measure the same maps as networks may leave them."""
    case = batch_of(FIVE_PEAKS, FEWER, scale)
    maps = maps_of(case)
    channels_last = maps.permute(0, 2, 3, 1).contiguous()
    return {
        "analyze contiguous": ours(gpu, "analyze", case),
        "analyze x[:, -1] of two stacks": ours(
            gpu, "analyze", case, torch.stack([maps, maps], 1), lambda both: both[:, -1]
        ),
        "analyze channels_last": ours(
            gpu, "analyze", case, channels_last, lambda maps: maps.permute(0, 3, 1, 2)
        ),
        "analyze x[:, -1] of two stacks, channels_last": ours(
            gpu,
            "analyze",
            case,
            torch.cat([channels_last, channels_last], -1),
            lambda both: both.permute(0, 3, 1, 2)[:, case.joints :],
        ),
    }


def one_image_in_graphs(gpu: Gpu, scale: int) -> Contestants:
    """Measure the mean of single images where calls are captured, not made.

    Of one graph with a call for each of many maps, none of which is in the cache; and of replays of
    a graph with one call, whose maps lie in the cache, where a network would have left them.
    """
    case = batch_of(FIVE_PEAKS, 1, scale)

    def captured(operation: str, images: int) -> Contestant:
        def prepare() -> Prepared:
            calls, expected = our_calls(gpu, operation, case, maps_of(case), rotated(gpu, case))
            replay, answers = gpu.graph(calls[:images])
            return Prepared(replay, replayed_check(replay, answers, expected))

        return Contestant(images, images * bytes_of(case), prepare)

    many = num_copies(gpu, bytes_of(case))
    return {
        f"{name}, {how}": captured(name, images)
        for name in OPERATIONS
        for how, images in ((IN_GRAPH, many), (REPLAYS, 1))
    }


def one_replay(gpu: Gpu, scale: int) -> Contestants:
    """Measure how long one replay of a graph with one call takes, its map not in the cache."""
    case = batch_of(FIVE_PEAKS, 1, scale)

    def captured(operation: str) -> Contestant:
        def prepare() -> Prepared:
            calls, expected = our_calls(gpu, operation, case, maps_of(case), rotated(gpu, case))
            replay, answers = gpu.graph(calls[:1])
            of_all_others, _ = gpu.graph(calls[1:])
            call = AfterOthers(replay, of_all_others)
            return Prepared(call, replayed_check(replay, answers, expected))

        return Contestant(1, bytes_of(case), prepare)

    return {f"{name}, {ONE_REPLAY}": captured(name) for name in OPERATIONS}


def replayed_check(replay: Call, answers: Sequence[Any], expected: Any) -> Callable[[], None]:
    """Return what raises unless a replay's first and last answer have the expected bits."""

    def check_answers() -> None:
        replay()
        for answer in (answers[0], answers[-1]):
            check_bits(answer, expected)

    return check_answers


def calls_from_python(gpu: Gpu, scale: int) -> Contestants:
    """Measure what the host has to do for a call, which does not wait for the GPU."""
    case = batch_of(FIVE_PEAKS, 1, scale)
    outputs = len(parts(vl4pose.analyze(maps_of(case), params_of(case))))

    def allocate() -> Prepared:
        def call() -> None:
            for _ in range(outputs):
                torch.empty_strided((1, 16), (16, 1), dtype=torch.float32, device=gpu.device)

        return Prepared(call, lambda: None)

    return {
        **{name: ours(gpu, name, case) for name in (*OPERATIONS, "decode")},
        DECODE: decode(gpu, case),
        f"torch, {outputs} empty tensors": Contestant(1, 0, allocate),
    }


def gradients(gpu: Gpu, scale: int) -> Contestants:
    """Measure score, its backward pass alone, and both with what torch does to record them."""
    case = batch_of(FIVE_PEAKS, FEWER, scale)
    maps, params = maps_of(case), params_of(case)

    def passes(wanted: Sequence[str], device: torch.device) -> tuple[Callable[[], Any], ...]:
        given = {
            "heatmaps": maps.to(device, copy=True).requires_grad_("heatmaps" in wanted),
            "params": params.to(device, copy=True).requires_grad_("params" in wanted),
        }
        leaves = [given[name] for name in wanted]

        def forward() -> Tensor:
            return vl4pose.score(**given, **options_of(case)).sum()

        recorded = forward()
        return (
            lambda: torch.autograd.grad(recorded, leaves, retain_graph=True),
            lambda: torch.autograd.grad(forward(), leaves),
        )

    def differentiated(wanted: Sequence[str], which: int) -> Contestant:
        def prepare() -> Prepared:
            call = passes(wanted, gpu.device)[which]
            expected = passes(wanted, torch.device("cpu"))[which]()
            return Prepared(call, lambda: check_bits(call(), expected))

        return Contestant(case.batch, bytes_of(case), prepare)

    contestants = {"score": ours(gpu, "score", case)}
    for wanted in (("params",), ("heatmaps", "params")):
        by = " and ".join(wanted)
        contestants[f"backward by {by}"] = differentiated(wanted, 0)
        contestants[f"score and backward by {by}"] = differentiated(wanted, 1)
    return contestants


# ------------------------------------------------------------------------------------------------
# With a network
# ------------------------------------------------------------------------------------------------


@functools.cache
def hourglass(device: torch.device, channels: int) -> torch.nn.Module:
    """Return a network with weights as they are initialised, in half precision."""
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    network = StackedHourglass(num_joints=16, num_stacks=2, channels=channels)
    network = network.eval().requires_grad_(False)
    if device.type == "cpu":  # of tests
        return network
    return network.to(device, torch.float16, memory_format=torch.channels_last)


def images_for(network: torch.nn.Module, images: int) -> Tensor:
    """Return random images in the layout that the network is fastest with."""
    weight = next(network.parameters())
    noise = torch.rand(images, 3, *IMAGE, dtype=torch.float32)
    return noise.to(weight.device, weight.dtype, memory_format=torch.channels_last)


def heatmaps_of(network: torch.nn.Module, images: Tensor) -> Tensor:
    """Return the heatmaps of a forward pass, (B, S, J, H, W)."""
    with torch.inference_mode():
        return network(images)[0]


def beside_a_network(gpu: Gpu, scale: int) -> Contestants:
    """Measure a forward pass, and analyze on heatmaps that lie as it leaves them."""
    network = hourglass(gpu.device, 256 // scale)
    case = batch_of(replace(FIVE_PEAKS, dtype="float16"), FEW, scale)

    def forward(is_captured: bool) -> Contestant:
        def prepare() -> Prepared:
            images = images_for(network, case.batch)
            call = functools.partial(heatmaps_of, network, images)
            call()
            replay = gpu.graph([call])[0] if is_captured else call
            return Prepared(replay, lambda: None)

        return Contestant(case.batch, 0, prepare)

    def analyzed(*, is_captured: bool = False, is_contiguous: bool = False) -> Contestant:
        def prepare() -> Prepared:
            maps, params = maps_of(case), params_of(case)
            left = heatmaps_of(network, images_for(network, case.batch)).to(maps.dtype, copy=True)
            last_stack = left[:, -1]
            last_stack.copy_(maps)
            if is_contiguous:
                last_stack = last_stack.contiguous()
            call = functools.partial(
                vl4pose.analyze, last_stack, params.to(gpu.device), **options_of(case)
            )
            expected = vl4pose.analyze(maps, params, **options_of(case))
            if not is_captured:
                return Prepared(call, lambda: check_bits(call(), expected))
            replay, answers = gpu.graph([call])
            return Prepared(replay, replayed_check(replay, answers, expected))

        return Contestant(case.batch, bytes_of(case), prepare)

    return {
        FORWARD: forward(False),
        FORWARD_GRAPH: forward(True),
        "analyze": analyzed(),
        "analyze in a CUDA graph": analyzed(is_captured=True),
        "analyze, maps made contiguous before": analyzed(is_contiguous=True),
    }


def end_to_end(gpu: Gpu, scale: int) -> Contestants:
    """Measure from an image in the host's memory to its score there."""
    network = hourglass(gpu.device, 256 // scale)
    case = batch_of(FIVE_PEAKS, 1, scale)
    options = options_of(case)

    def prepare() -> Prepared:
        params = params_of(case)
        on_gpu = params.to(gpu.device)
        image = images_for(network, 1)
        arrived = gpu.pinned(image.cpu())

        def pipeline() -> tuple[Tensor, Tensor]:
            maps = heatmaps_of(network, image)[:, -1]
            return maps, vl4pose.score(maps, on_gpu, **options)

        replay, answers = gpu.graph([pipeline])

        def call() -> float:
            image.copy_(arrived, non_blocking=True)
            replay()
            return answers[0][1].item()

        def check_score() -> None:
            score = call()
            maps = answers[0][0].cpu()
            assert torch.isfinite(maps).all(), "the network's heatmaps are not finite"
            assert score == vl4pose.score(maps, params, **options).item()

        return Prepared(call, check_score)

    return {"images to scores": Contestant(1, 0, prepare)}


CONTESTS: dict[str, Contest] = {
    "1024 images": Contest("device", large_batch),
    "256 images": Contest("device", with_copy(FIVE_PEAKS, FEWER)),
    "1024 images, precisions": Contest("device", precisions),
    "one image, one replay of a CUDA graph": Contest("latency", one_replay),
    "one image, CUDA graphs": Contest("device", one_image_in_graphs),
    "32 images and 1": Contest("device", few_images),
    "32 images, 2-stack hourglass": Contest("device", beside_a_network),
    "one image, end to end": Contest("wall", end_to_end),
    "one image, on the host": Contest("host", calls_from_python),
    "1024 images, d=8 K=1": Contest("device", with_copy(ONE_PEAK, MANY)),
    "other sizes, bytes of 256 images": Contest("device", other_sizes),
    "256 images, equal values": Contest("device", equal_values),
    "256 images, layouts": Contest("device", layouts),
    "256 images, gradients": Contest("device", gradients),
    "one image, cuCIM": Contest("wall", against_cucim),
    "1024 images, compiled": Contest("device", against_compiled),
}
