"""The fused pass: what it promises of bits, status, memory, threads and kinds of arrays."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import (
    CHAIN,
    LAYOUTS,
    METHODS,
    OBJECTIVES,
    SMOOTH,
    SUBPIXELS,
    Batch,
    assert_same_bits,
    batches,
    examples,
    named_arrays,
    noise,
    tree,
    wide,
)

import vl4pose
from vl4pose import Analysis, Peaks, Refined, Skeleton, Status, _arrays, _core, reference
from vl4pose._options import check_options, core_options, threads

pytestmark = pytest.mark.usefixtures("kernels")

NAN, INF = np.nan, np.inf
PEAK_OPTIONS = ("num_peaks", "min_distance", "threshold_abs", "threshold_rel", "exclude_border")


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def pick(result: Any, images: Any) -> Any:
    """Return some images of a result."""
    if not hasattr(result, "_asdict"):
        return result[images]
    return type(result)(*(pick(value, images) for value in result))


def some(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in (*PEAK_OPTIONS, *names)}


# Bad images and their status ---------------------------------------------------------------------

NO_PEAK, BEYOND, NO_PARAMS, NO_MAP = (
    Status.PEAK_FALLBACK,
    Status.CLAMPED_PARAMS,
    Status.NONFINITE_PARAMS,
    Status.NONFINITE_HEATMAP,
)


@st.composite
def faulty_batches(draw: st.DrawFn) -> tuple[Batch, Batch, np.ndarray]:
    """Draw a batch, the same with faults, and the status bits (B,) of the faults."""
    clean = draw(batches())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    heatmaps, options = clean.heatmaps.copy(), clean.options
    images, joints = heatmaps.shape[:2]
    params = np.broadcast_to(clean.params, (images, joints - 1, 2)).copy()
    faults = np.zeros(images, dtype=np.uint8)

    def anywhere(array: np.ndarray) -> tuple[int, ...]:
        return tuple(rng.integers(array.shape))

    for image in range(images):
        fault = draw(st.sampled_from([0, 0, *range(1, 16)]))
        if joints == 1:
            fault &= ~(BEYOND | NO_PARAMS)
        if fault & NO_MAP:
            heatmaps[image][anywhere(heatmaps[image])] = rng.choice([NAN, INF])
        if heatmaps.shape[2:] == (1, 1):
            fault &= ~NO_PEAK  # a single pixel may be a peak
        if fault & NO_PEAK:
            heatmaps[image][rng.integers(joints)] = 0.0
        if fault & BEYOND:
            params[image, 0] = [(-2e6, 1.0), (1.0, 20.5), (3e6, -21.0)][rng.integers(3)]
        if fault & NO_PARAMS:
            params[image][-1, rng.integers(2)] = rng.choice([NAN, INF, -INF])
            if joints == 2:
                fault &= ~BEYOND  # of the same link
        # The constant map may lie over the NaN; where it does not, its image has no word of peaks.
        fault &= ~NO_MAP if np.all(heatmaps[image] < INF) else ~NO_PEAK
        faults[image] = fault
    return clean, Batch(heatmaps, params, options), faults


@given(faulty_batches())
@examples(12)
def test_a_bad_image_changes_no_bit_of_another(case: tuple[Batch, Batch, np.ndarray]) -> None:
    clean_batch, batch, faults = case
    clean, result = clean_batch.analyze(), batch.analyze()
    good = faults == 0
    assert_same_bits(pick(result, good), pick(clean, good))

    bad_map = (faults & NO_MAP) > 0
    assert_array_equal(result.status & ~NO_PEAK, faults & ~NO_PEAK)
    assert ((result.status & NO_PEAK) >= (faults & NO_PEAK)).all()
    assert_array_equal(result.status[bad_map] & NO_PEAK, 0)
    assert result.status.dtype == np.uint8

    spoilt = bad_map | ((faults & NO_PARAMS) > 0)
    of_maps = {"entropy", "keypoints", "confidence", "peaks.xy", "peaks.values", "peaks.count"}
    filler = {"peaks.xy": -1, "peaks.count": 0, "refined.peak_index": -1, "refined.changed": 0}
    for name, array in named_arrays(result).items():
        if name != "status":
            unusable = array[bad_map if name in of_maps else spoilt]
            assert_array_equal(unusable, np.full_like(unusable, filler.get(name, NAN)))
    usable = ~spoilt
    assert np.isfinite(result.score[usable]).all()
    assert (result.refined.peak_index[usable] >= 0).all()
    params_only = ~bad_map & ((faults & NO_PEAK) == 0)
    for name in of_maps:
        found, wanted = named_arrays(result)[name], named_arrays(clean)[name]
        assert_same_bits(found[params_only], wanted[params_only])


@given(faulty_batches())
@examples(8)
def test_every_operation_gives_what_analyze_gives(case: tuple[Batch, Batch, np.ndarray]) -> None:
    _, batch, _ = case
    options = batch.options
    result = batch.analyze()
    peaks = vl4pose.local_maxima(batch.heatmaps, **some(options))
    assert_same_bits(peaks, result.peaks)
    decoded = vl4pose.decode(batch.heatmaps, subpixel=options["subpixel"])
    assert_same_bits(decoded, vl4pose.Decoded(result.keypoints, result.confidence))
    refine_options = some(options, "skeleton", "objective", "subpixel", "temperature")
    assert_same_bits(vl4pose.refine(batch.heatmaps, batch.params, **refine_options), result.refined)
    for method in METHODS:
        score_options = {**some(options, "skeleton", "temperature"), "method": method}
        assert_same_bits(
            vl4pose.score(batch.heatmaps, batch.params, **score_options),
            batch.analyze(method=method).score,
        )
    entropy = vl4pose.multi_peak_entropy(batch.heatmaps, **some(options, "temperature"))
    total = result.entropy.astype(np.float64).sum(axis=-1)
    assert_allclose(entropy, total, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("bits", range(16))
@pytest.mark.parametrize("joint", [0, 1, 2])
def test_status_of_every_combination(bits: int, joint: int) -> None:
    heatmaps = noise(3, 3, 9, 9, dtype=np.float32)
    params = np.tile([[3.0, 0.5], [5.0, 0.0]], (3, 1, 1))
    if bits & NO_PEAK:
        heatmaps[1, joint] = 2.0
    if bits & NO_MAP:
        heatmaps[1, 1, 4, 4] = NAN
    if bits & BEYOND:
        params[1, 0, 1] = -20.5
    if bits & NO_PARAMS:
        params[1, 1, 0] = NAN
    expected = bits & ~NO_PEAK if bits & NO_MAP else bits  # no word of peaks where none is known
    for module in (vl4pose, reference):
        assert_array_equal(
            module.analyze(heatmaps, params, skeleton=CHAIN).status, [0, expected, 0]
        )
    single = vl4pose.analyze(heatmaps[1], params[1], skeleton=CHAIN)
    assert single.status == expected
    assert Status(int(single.status)) == Status(expected)


@pytest.mark.parametrize(
    ("heatmap", "options", "xy"),
    [
        (np.full((4, 5), 7.0), {}, (0, 0)),
        (np.full((4, 5), 7.0), {"threshold_abs": 1.0}, (0, 0)),
        (np.full((4, 5), -INF), {}, (0, 0)),
        (np.full((1, 1), 7.0), {}, (0, 0)),
        (np.full((1, 1), 7.0), {"threshold_rel": 1.0}, (0, 0)),
        (np.eye(5)[:, ::-1], {"exclude_border": 3}, (4, 0)),
        (np.eye(5)[:, ::-1], {"threshold_abs": 1.0}, (4, 0)),
        (np.eye(5)[:, ::-1], {"threshold_rel": 1.0}, (4, 0)),
    ],
)
@pytest.mark.parametrize("num_peaks", [1, 3])
def test_fallback_on_the_first_maximum(
    heatmap: np.ndarray, options: dict[str, Any], xy: tuple[int, int], num_peaks: int
) -> None:
    for method in METHODS:
        result = vl4pose.analyze(
            heatmap[None, None],
            np.zeros((1, 0, 2)),
            skeleton=tree([]),
            method=method,
            num_peaks=num_peaks,
            **options,
        )
        assert_array_equal(result.peaks.xy[0, 0, 0], xy)
        assert_array_equal(result.peaks.xy[0, 0, 1:], -1)
        assert result.peaks.values[0, 0, 0] == heatmap.max()
        assert result.peaks.count.item() == 1
        assert_array_equal(result.posterior[0, 0], np.arange(num_peaks) == 0)
        assert result.score.item() == result.entropy.item() == result.refined.log_prob.item() == 0
        assert result.status.item() == NO_PEAK


def test_a_single_pixel_above_the_threshold_is_a_peak() -> None:
    for threshold, status in ((6.0, 0), (7.0, NO_PEAK), (None, NO_PEAK)):
        result = vl4pose.analyze(
            np.full((1, 1, 1, 1), 7.0),
            np.zeros((1, 0, 2)),
            skeleton=tree([]),
            threshold_abs=threshold,
        )
        assert result.status.item() == status


def test_params_are_clamped_and_flagged() -> None:
    heatmaps = noise(5, 3, 12, 12, dtype=np.float32)
    fine = [5.0, 0.0]
    beyond = np.array(
        [
            [[3, 25], fine],
            [[3, 0], [-2e6, -21]],
            [[1e7, 0], fine],
            [[1e6, 20], [-1e6, -20]],
            [fine] * 2,
        ]
    )
    within = np.clip(beyond, [-1e6, -20.0], [1e6, 20.0])
    for method in METHODS:
        clamped = vl4pose.analyze(heatmaps, beyond, skeleton=CHAIN, method=method)
        expected = vl4pose.analyze(heatmaps, within, skeleton=CHAIN, method=method)
        assert_array_equal(clamped.status, [BEYOND, BEYOND, BEYOND, 0, 0])
        assert_array_equal(expected.status, 0)
        assert_same_bits(clamped._replace(status=expected.status), expected)
        assert np.isfinite(clamped.score).all()


def test_params_that_the_results_cannot_hold_are_not_finite() -> None:
    heatmaps = noise(2, 3, 12, 12, dtype=np.float32)
    params = np.tile([[3.0, 0.5], [5.0, 0.0]], (2, 1, 1))
    params[1, 0, 0] = 1e300
    status = vl4pose.analyze(heatmaps, params, skeleton=CHAIN).status
    assert_array_equal(status, [0, NO_PARAMS])
    status = vl4pose.analyze(heatmaps.astype(np.float64), params, skeleton=CHAIN).status
    assert_array_equal(status, [0, BEYOND])


# The same bits whatever the company --------------------------------------------------------------


@given(batches(), st.randoms(use_true_random=False))
@examples(8)
def test_order_and_company_change_nothing(batch: Batch, random: Any) -> None:
    result = batch.analyze()
    assert_same_bits(batch.analyze(), result)
    images = len(batch.heatmaps)
    params = np.broadcast_to(batch.params, (images, *batch.params.shape[-2:]))
    order = [*random.sample(range(images), images), random.randrange(images)]
    reordered = Batch(batch.heatmaps[order], params[order], batch.options)
    assert_same_bits(reordered.analyze(), pick(result, order))
    for image in range(images):
        alone = Batch(batch.heatmaps[image], params[image], batch.options)
        assert_same_bits(alone.analyze(), pick(result, image))


@given(batches())
@examples(6)
def test_relabelling_joints_changes_nothing(batch: Batch) -> None:
    joints = batch.heatmaps.shape[1]
    new = np.random.default_rng(joints).permutation(joints)  # new[j]: the new name of joint j
    links = [(int(new[u]), int(new[v])) for u, v in batch.options["skeleton"].links]
    renamed = Batch(
        batch.heatmaps[:, np.argsort(new)],
        batch.params,
        {**batch.options, "skeleton": tree(links)},
    )
    before, after = named_arrays(batch.analyze()), named_arrays(renamed.analyze())
    per_image = {"score", "per_link", "refined.log_prob", "status"}
    for name, array in before.items():
        found = after[name] if name in per_image else after[name][:, new]
        assert_same_bits(found, array)


@given(batches(kinds=SMOOTH))
@examples(6)
def test_everything_equals_the_twin(batch: Batch) -> None:
    result, twin = named_arrays(batch.analyze()), named_arrays(batch.analyze(reference.analyze))
    ulp = 2.0**-23 if wide(batch.heatmaps.dtype) == np.float32 else 1e-15
    for name, expected in twin.items():
        found = result[name]
        assert found.dtype == expected.dtype, name
        if name in ("keypoints", "refined.keypoints"):  # a Newton step's determinant may be small
            assert_allclose(found, expected, rtol=ulp, atol=1e-5, err_msg=name)
        elif name in ("score", "per_link", "entropy", "posterior", "refined.log_prob"):
            assert_allclose(found, expected, rtol=ulp + 1e-11, atol=1e-9, err_msg=name)
        else:
            assert_array_equal(found, expected, err_msg=name)


def test_many_more_peaks_than_there_are_pixels() -> None:
    heatmaps, params = noise(2, 3, 9, 8), np.array([[3.0, 0.5], [5.0, 0.0]])
    options: dict[str, Any] = {"skeleton": CHAIN, "min_distance": 1, "method": "marginal"}
    few = vl4pose.analyze(heatmaps, params, num_peaks=72, **options)
    many = vl4pose.analyze(heatmaps, params, num_peaks=4096, **options)
    assert many.posterior.shape == (2, 3, 4096)
    assert_array_equal(many.posterior[..., 72:], 0)
    assert_array_equal(many.peaks.xy[:, :, 72:], -1)
    assert_array_equal(many.peaks.values[..., 72:], -INF)
    for name, array in named_arrays(few).items():
        found = named_arrays(many)[name]
        found = found[:, :, :72] if found.ndim > 2 and found.shape[2] == 4096 else found
        assert_same_bits(found, array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_shapes_and_dtypes(dtype: Any) -> None:
    result = wide(dtype)
    exact = {
        "peaks.count": np.int32,
        "refined.peak_index": np.int32,
        "refined.changed": np.bool_,
        "status": np.uint8,
    }
    shapes = {
        "score": (),
        "per_link": (2,),
        "entropy": (3,),
        "posterior": (3, 4),
        "keypoints": (3, 2),
        "confidence": (3,),
        "refined.keypoints": (3, 2),
        "refined.peak_index": (3,),
        "refined.changed": (3,),
        "refined.log_prob": (),
        "peaks.xy": (3, 4, 2),
        "peaks.values": (3, 4),
        "peaks.count": (3,),
        "status": (),
    }
    for lead in [(), (0,), (1,), (3,)]:
        for params_dtype in (np.float16, np.float32, np.float64):
            heatmaps, params = noise(*lead, 3, 10, 7, dtype=dtype), np.ones((2, 2), params_dtype)
            analysis = vl4pose.analyze(heatmaps, params, skeleton=CHAIN, num_peaks=4)
            assert isinstance(analysis, Analysis)
            assert isinstance(analysis.refined, Refined)
            assert isinstance(analysis.peaks, Peaks)
            arrays = named_arrays(analysis)
            assert {name: array.shape for name, array in arrays.items()} == {
                name: (*lead, *shape) for name, shape in shapes.items()
            }
            for name, array in arrays.items():
                assert array.dtype == exact.get(name, result), name


# Memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 3, 15, 18), (2, 3, 1, 7), (2, 3, 7, 1)])
def test_memory_layout_changes_nothing(
    layout: str, dtype: Any, shape: tuple[int, int, int, int]
) -> None:
    heatmaps = noise(*shape, dtype=dtype)
    params = np.random.default_rng(0).uniform(0.5, 9, (shape[0], 2, 2)).astype(wide(dtype))
    options: dict[str, Any] = {"skeleton": CHAIN, "min_distance": 2, "subpixel": "quarter"}
    expected = vl4pose.analyze(heatmaps, params, **options)
    change = LAYOUTS[layout]
    assert_same_bits(vl4pose.analyze(change(heatmaps), params, **options), expected)
    assert_same_bits(vl4pose.analyze(heatmaps, change(params), **options), expected)


def test_the_last_stack_of_a_network() -> None:
    stacks, params = noise(3, 2, 3, 16, 16), np.array([[3.0, 0.5], [5.0, 0.0]])
    expected = vl4pose.analyze(stacks[:, -1].copy(), params, skeleton=CHAIN)
    assert_same_bits(vl4pose.analyze(stacks[:, -1], params, skeleton=CHAIN), expected)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_repeated_values_need_no_memory_of_their_own(axis: int, dtype: Any) -> None:
    shape = [4, 3, 12, 11]
    own = noise(*(1 if i == axis else n for i, n in enumerate(shape)), dtype=dtype)
    repeated = np.broadcast_to(own, shape)
    assert repeated.strides[axis] == 0
    params = np.broadcast_to(np.array([4.0, 0.5]), (4, 2, 2))
    assert_same_bits(
        vl4pose.analyze(repeated, params, skeleton=CHAIN, min_distance=2),
        vl4pose.analyze(repeated.copy(), params.copy(), skeleton=CHAIN, min_distance=2),
    )


def test_offsets_beyond_32_bits(tmp_path: Path) -> None:
    # Three images far apart in a file that is almost all hole, and is read where they are only.
    heatmaps, params = noise(3, 3, 16, 12, dtype=np.float16), np.array([[3.0, 0.5], [5.0, 0.0]])
    apart = 2**31 + 64  # values, thus more than 2^32 bytes
    path = tmp_path / "heatmaps"
    far = np.memmap(path, np.float16, "w+", shape=2 * apart + heatmaps[0].size)
    for image in range(3):
        far[image * apart :][: heatmaps[0].size] = heatmaps[image].ravel()
    strides = (far.itemsize * apart, *heatmaps.strides[1:])
    spread = np.lib.stride_tricks.as_strided(far, heatmaps.shape, strides)
    expected = vl4pose.analyze(heatmaps, params, skeleton=CHAIN)
    assert_same_bits(vl4pose.analyze(spread, params, skeleton=CHAIN), expected)
    backwards = vl4pose.analyze(spread[::-1], params, skeleton=CHAIN)
    assert_same_bits(backwards, pick(expected, [2, 1, 0]))
    path.unlink()


COPIES_NOTHING = """
import sys
from pathlib import Path
import numpy as np
import vl4pose

def highest_memory():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

dtype, is_last = sys.argv[1], sys.argv[2] == "channels last"
shape = (1, 64, 64, 4) if is_last else (1, 4, 64, 64)
one = np.random.default_rng(0).random(shape).astype(dtype)
one = one.transpose(0, 3, 1, 2) if is_last else one
skeleton = vl4pose.Skeleton("chain", ["a", "b", "c", "d"], [(0, 1), (1, 2), (2, 3)])
params = np.broadcast_to(np.array([9.0, 1.0]), (4000, 3, 2))
heatmaps = np.broadcast_to(one, (4000, 4, 64, 64))
vl4pose.analyze(heatmaps[:8], params[:8], skeleton=skeleton, num_threads=2)
before = highest_memory()
result = vl4pose.analyze(heatmaps, params, skeleton=skeleton, num_threads=2)
assert np.unique(result.score).size == 1
print(heatmaps.size * heatmaps.itemsize, highest_memory() - before)
"""


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_batch_is_never_copied(dtype: str, layout: str) -> None:
    # In a process of its own: the highest memory use of this one may lie behind it.
    command = [sys.executable, "-c", COPIES_NOTHING, dtype, layout]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    batch, grown = (int(number) for number in done.stdout.split())
    assert batch > 100e6
    assert grown < 40e6  # the results, and what each thread keeps


# Threads and processes ---------------------------------------------------------------------------


def overlapping_images(images: int, dtype: Any = np.float32) -> np.ndarray:
    """Return different maps (images, 2, 128, 128) that share their memory."""
    step, item = 4099, np.dtype(dtype).itemsize
    memory = noise(images * step + 2 * 128 * 128, dtype=dtype)
    strides = (step * item, 128 * 128 * item, 128 * item, item)
    return np.lib.stride_tricks.as_strided(memory, (images, 2, 128, 128), strides, writeable=False)


PAIR = tree([(0, 1)])
PAIR_PARAMS = np.array([[20.0, 3.0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_threads_change_nothing(dtype: Any) -> None:
    heatmaps = overlapping_images(600, dtype)  # enough for 64 threads to have their part
    options: dict[str, Any] = {"skeleton": PAIR, "subpixel": "quarter"}
    expected = vl4pose.analyze(heatmaps, PAIR_PARAMS, num_threads=1, **options)
    assert len(np.unique(expected.score)) > 500  # images that got mixed up would show
    for num_threads in (2, 3, 7, 64, 2**20, None):
        found = vl4pose.analyze(heatmaps, PAIR_PARAMS, num_threads=num_threads, **options)
        assert_same_bits(found, expected)


def test_calls_at_the_same_time_change_nothing() -> None:
    heatmaps = overlapping_images(60)
    sizes = [60, 40, 20, 10, 60, 30, 50, 5]
    expected = vl4pose.analyze(heatmaps, PAIR_PARAMS, skeleton=PAIR, num_threads=1)

    def call(images: int) -> Any:
        return vl4pose.analyze(heatmaps[:images], PAIR_PARAMS, skeleton=PAIR, num_threads=3)

    with ThreadPoolExecutor(4) as pool:
        for images, found in zip(sizes, pool.map(call, sizes), strict=True):
            assert_same_bits(found, pick(expected, slice(images)))


def test_number_of_threads_by_default(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert threads(None, num_images=8) == 3
    finally:
        torch.set_num_threads(before)
    assert threads(None, num_images=1) == 1  # threads go over images
    assert threads(5, num_images=1) == 5
    monkeypatch.delitem(sys.modules, "torch")
    assert threads(None, num_images=8) == len(os.sched_getaffinity(0))


def digest(result: Any) -> bytes:
    parts = named_arrays(result).values()
    return hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in parts)).digest()


def in_forked_child(call: Callable[[], bytes]) -> bytes:
    """Return up to 64 bytes that ``call`` returns in a forked child; fail when it hangs."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Threads of other libraries may exist; what is tested is that ours do no harm.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.write(write, call())
        finally:
            os._exit(0)
    os.close(write)
    answered, _, _ = select.select([read], [], [], 120)
    if not answered:
        os.kill(child, signal.SIGKILL)
    answer = os.read(read, 64) if answered else b"no answer"
    os.close(read)
    os.waitpid(child, 0)
    return answer


def test_a_forked_child_gets_the_same_bits() -> None:
    heatmaps = overlapping_images(40)

    def call() -> bytes:
        result = vl4pose.analyze(heatmaps, PAIR_PARAMS, skeleton=PAIR, num_threads=4)
        return digest(result)

    expected = call()  # with threads, in the parent
    assert in_forked_child(call) == expected
    assert in_forked_child(lambda: in_forked_child(call)) == expected
    assert call() == expected


def test_a_child_forked_during_a_call_gets_the_same_bits() -> None:
    heatmaps = overlapping_images(40)
    endless = threading.Event()

    def call() -> bytes:
        result = vl4pose.analyze(heatmaps, PAIR_PARAMS, skeleton=PAIR, num_threads=4)
        return digest(result)

    def keep_calling() -> None:
        while not endless.is_set():
            call()

    expected = call()
    thread = threading.Thread(target=keep_calling)
    thread.start()
    try:
        for _ in range(5):
            assert in_forked_child(call) == expected
    finally:
        endless.set()
        thread.join()


def long_call(operation: str) -> Callable[[], Any]:
    """Return a call of tens of milliseconds, in which nothing else gives up the GIL."""
    keypoints, params = noise(1, 2, 2, dtype=np.float32), PAIR_PARAMS
    options: dict[str, Any] = {"num_threads": 1}
    if operation == "score":
        maps = np.broadcast_to(noise(1, 2, 128, 128, dtype=np.float32), (4000, 2, 128, 128))
        return lambda: vl4pose.score(maps, params, skeleton=PAIR, **options)
    if operation == "peak_weights":
        values = np.broadcast_to(noise(1, 2, 3, dtype=np.float32), (500_000, 2, 3))
        return lambda: vl4pose.peak_weights(values, **options)
    poses = np.broadcast_to(keypoints, (1_000_000, 2, 2))
    if operation == "pose_log_likelihood":
        return lambda: vl4pose.pose_log_likelihood(poses, params, skeleton=PAIR, **options)
    offset, factor = np.zeros((1, 2)), np.eye(2)[None]
    return lambda: vl4pose.offset_log_likelihood(poses, offset, factor, skeleton=PAIR, **options)


@pytest.mark.parametrize(
    "operation", ["score", "peak_weights", "pose_log_likelihood", "offset_log_likelihood"]
)
def test_other_python_threads_run_meanwhile(operation: str) -> None:
    call = long_call(operation)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e3)  # now a thread runs only when another gives up the GIL of its own

    def runs_meanwhile() -> bool:
        finished = threading.Event()

        def work() -> None:
            call()
            finished.set()

        thread = threading.Thread(target=work)
        thread.start()  # returns once this thread has the GIL again
        is_meanwhile = not finished.is_set()
        thread.join()
        return is_meanwhile

    try:
        # Once is proof; the system may well let this thread sleep through a whole call.
        assert any(runs_meanwhile() for _ in range(20))
    finally:
        sys.setswitchinterval(before)


# Kinds of arrays ---------------------------------------------------------------------------------

IMAGES = 3


def arguments(dtype: Any) -> dict[str, np.ndarray]:
    """Return arguments of every operation for three images of a chain of three joints."""
    rng = np.random.default_rng(0)
    scale_tril = np.tile(np.eye(2), (IMAGES, 2, 1, 1)) * rng.uniform(1, 2, (IMAGES, 2, 1, 1))
    floating = {
        "heatmaps": rng.normal(size=(IMAGES, 3, 16, 12)),
        "params": rng.uniform(0.5, 9, (IMAGES, 2, 2)),
        "values": -np.sort(-rng.normal(size=(IMAGES, 3, 5))),
        "keypoints": rng.uniform(0, 16, (IMAGES, 3, 2)),
        "offsets": rng.normal(size=(IMAGES, 2, 2)),
        "scale_tril": scale_tril,
    }
    count = rng.integers(1, 6, (IMAGES, 3)).astype(np.int32)
    visible = rng.random((IMAGES, 3)) < 0.7
    return {
        **{name: array.astype(dtype) for name, array in floating.items()},
        "count": count,
        "visible": visible,
    }


OPERATIONS: dict[str, tuple[Callable[..., Any], tuple[str, ...], dict[str, Any]]] = {
    "local_maxima": (vl4pose.local_maxima, ("heatmaps",), {"min_distance": 2}),
    "decode": (vl4pose.decode, ("heatmaps",), {"subpixel": "dark"}),
    "multi_peak_entropy": (vl4pose.multi_peak_entropy, ("heatmaps",), {}),
    "score": (vl4pose.score, ("heatmaps", "params"), {"skeleton": CHAIN}),
    "refine": (vl4pose.refine, ("heatmaps", "params"), {"skeleton": CHAIN}),
    "analyze": (vl4pose.analyze, ("heatmaps", "params"), {"skeleton": CHAIN}),
    "peak_weights": (vl4pose.peak_weights, ("values", "count"), {}),
    "pose_log_likelihood": (
        vl4pose.pose_log_likelihood,
        ("keypoints", "params", "visible"),
        {"skeleton": CHAIN},
    ),
    "offset_log_likelihood": (
        vl4pose.offset_log_likelihood,
        ("keypoints", "offsets", "scale_tril", "visible"),
        {"skeleton": CHAIN, "per_link": True},
    ),
}


def apply(operation: str, arrays: dict[str, Any]) -> Any:
    function, names, options = OPERATIONS[operation]
    by_name = {name: arrays[name] for name in names if name in ("count", "visible")}
    return function(*(arrays[name] for name in names if name not in by_name), **by_name, **options)


def convert(arrays: dict[str, np.ndarray], to: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    return {name: to(array) for name, array in arrays.items()}


def parts(result: Any) -> list[Any]:
    return list(named_arrays(result).values()) if hasattr(result, "_asdict") else [result]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_tensors_give_tensors_of_the_same_bits(torch: Any, operation: str, dtype: Any) -> None:
    arrays = arguments(dtype)
    tensors = convert(arrays, torch.from_numpy)
    before = convert(arrays, np.copy)
    for images in (slice(None), 1, slice(0)):
        expected = parts(apply(operation, convert(arrays, lambda array: array[images])))  # noqa: B023
        found = parts(apply(operation, convert(tensors, lambda tensor: tensor[images])))  # noqa: B023
        for tensor, array in zip(found, expected, strict=True):
            assert isinstance(tensor, torch.Tensor)
            assert tensor.device.type == "cpu"
            assert tensor.is_contiguous()
            assert not tensor.requires_grad
            assert_same_bits(tensor.numpy(), array)
            tensor.zero_()  # nothing of the input is in a result
    for name, array in arrays.items():
        assert_same_bits(array, before[name])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_bfloat16_is_widened(torch: Any, operation: str) -> None:
    def to_bfloat16(array: np.ndarray) -> Any:
        tensor = torch.from_numpy(array)
        return tensor.bfloat16() if tensor.is_floating_point() else tensor

    half = convert(arguments(np.float32), to_bfloat16)
    whole = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in half.items()
    }
    for found, expected in zip(
        parts(apply(operation, half)), parts(apply(operation, whole)), strict=True
    ):
        assert found.dtype != torch.bfloat16
        assert_same_bits(found.numpy(), expected.numpy())


TENSOR_LAYOUTS: dict[str, Callable[[Any, Any], Any]] = {
    "channels last": lambda torch, x: x.contiguous(memory_format=torch.channels_last),
    "last stack": lambda torch, x: torch.stack([x + 1, x], dim=1)[:, -1],
    "every second image": lambda torch, x: x.repeat_interleave(2, 0)[::2],
    "last axes swapped": lambda torch, x: x.mT.contiguous().mT,
    "narrowed": lambda torch, x: torch.nn.functional.pad(x, (1, 2, 3, 4)).narrow(3, 1, 12)[
        :, :, 3:-4
    ],
}


@pytest.mark.parametrize("layout", TENSOR_LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_layout_of_a_tensor_changes_nothing(torch: Any, layout: str, dtype: str) -> None:
    arrays = arguments(np.float32)
    heatmaps = torch.from_numpy(arrays["heatmaps"]).to(getattr(torch, dtype))
    params = torch.from_numpy(arrays["params"])
    same = TENSOR_LAYOUTS[layout](torch, heatmaps)
    assert torch.equal(same, heatmaps)
    assert not same.is_contiguous()
    expected = vl4pose.analyze(heatmaps, params, skeleton=CHAIN, subpixel="dark")
    assert_same_bits(vl4pose.analyze(same, params, skeleton=CHAIN, subpixel="dark"), expected)


def test_an_expanded_tensor(torch: Any) -> None:
    arrays = arguments(np.float32)
    one, params = (torch.from_numpy(arrays[name][:1]) for name in ("heatmaps", "params"))
    many_images = one.expand(50, -1, -1, -1)
    result = vl4pose.analyze(many_images, params.expand(50, -1, -1), skeleton=CHAIN)
    expected = vl4pose.analyze(one, params, skeleton=CHAIN)
    assert_same_bits(pick(result, [49]), expected)
    assert_same_bits(pick(result, [0]), expected)


def test_without_a_gradient_a_tensor_that_requires_grad_is_an_error(torch: Any) -> None:
    arrays = convert(arguments(np.float32), torch.from_numpy)
    for operation, (_, names, _) in OPERATIONS.items():
        expected = parts(apply(operation, arrays))
        for name in names:
            if name in ("count", "visible"):
                continue
            given_arrays = {**arrays, name: arrays[name].clone().requires_grad_()}
            if operation in ("analyze", "refine", "decode"):
                message = f"^{name} must not require grad, got a tensor that does: .*detach"
                with pytest.raises(RuntimeError, match=message):
                    apply(operation, given_arrays)
            else:
                found = parts(apply(operation, given_arrays))
                assert any(tensor.requires_grad for tensor in found)
                for tensor, wanted in zip(found, expected, strict=True):
                    assert_same_bits(tensor.detach(), wanted)
            with torch.no_grad():
                found = parts(apply(operation, given_arrays))
            for tensor, wanted in zip(found, expected, strict=True):
                assert not tensor.requires_grad
                assert_same_bits(tensor, wanted)


def test_modes_of_torch(torch: Any) -> None:
    arrays = convert(arguments(np.float32), torch.from_numpy)
    parameter = torch.nn.Parameter(arrays["heatmaps"].clone())
    expected = apply("analyze", arrays)
    with torch.inference_mode():
        inside = {name: tensor.clone() for name, tensor in arrays.items()}
        assert_same_bits(apply("analyze", inside), expected)
    assert_same_bits(apply("analyze", inside), expected)
    with torch.no_grad():
        assert_same_bits(apply("analyze", {**arrays, "heatmaps": parameter}), expected)
    with torch.device("meta"):  # where torch would make new tensors
        assert_same_bits(apply("analyze", arrays), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same_bits(apply("analyze", arrays), expected)


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "through torch.empty_strided"])
def test_results_are_tensors_like_any_other(
    torch: Any, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not quick:  # as it would be with a torch that has no _empty_strided_cpu
        monkeypatch.delattr(torch._C._dynamo.guards, "_empty_strided_cpu")
        monkeypatch.setattr(_arrays, "_KINDS", {np.ndarray: _arrays._KINDS[np.ndarray]})
    arrays = convert(arguments(np.float32), torch.from_numpy)
    for images in (slice(None), 1, slice(0)):
        for mode in (contextlib.nullcontext(), torch.inference_mode(), torch.device("meta")):
            with mode:
                some_images = {name: tensor[images] for name, tensor in arrays.items()}
                results = parts(apply("analyze", some_images))
                like = [torch.empty(r.shape, dtype=r.dtype, device="cpu") for r in results]
            for result, tensor in zip(results, like, strict=True):
                assert type(result) is torch.Tensor
                assert result.is_inference() == tensor.is_inference()
                assert result.stride() == tensor.stride()
                assert result.data_ptr() % 64 == 0
                assert result._base is None
                storage = result.untyped_storage()
                assert storage.nbytes() == result.numel() * result.element_size()
                assert storage.resizable()


def test_a_negative_view_is_read_with_its_sign(torch: Any) -> None:
    arrays = convert(arguments(np.float32), torch.from_numpy)
    negative = torch.complex(arrays["heatmaps"], -arrays["heatmaps"]).conj().imag
    assert negative.is_neg()
    assert torch.equal(negative, arrays["heatmaps"])
    expected = apply("analyze", arrays)
    assert_same_bits(apply("analyze", {**arrays, "heatmaps": negative}), expected)


class Exported:
    """An array of a library that this package has never heard of."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class OldExported(Exported):
    """One whose library knows DLPack as it was at first."""

    def __dlpack__(self, stream: Any = None) -> Any:  # type: ignore[override]
        return self.array.__dlpack__()


class Known(Exported):
    """One whose library takes DLPack arrays as well."""

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return SimpleNamespace(from_dlpack=lambda array: Known(np.from_dlpack(array)))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", [Exported, OldExported, Known])
def test_arrays_of_other_libraries(operation: str, kind: type[Exported]) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        arrays = arguments(dtype)
        for images in (slice(None), 1):
            own = convert(arrays, lambda array: array[images])  # noqa: B023
            expected = parts(apply(operation, own))
            found = parts(apply(operation, convert(own, kind)))
            for array, wanted in zip(found, expected, strict=True):
                if kind is Known:
                    assert isinstance(array, Known)
                    assert_same_bits(array.array, wanted)
                else:
                    assert isinstance(array, (np.ndarray, np.generic))
                    assert_same_bits(array, wanted)


def test_strided_arrays_of_other_libraries() -> None:
    arrays = arguments(np.float32)
    expected = apply("analyze", arrays)
    for layout in (
        "every second column",
        "last axes swapped",
        "backwards",
        "inside a larger array",
    ):
        changed = convert(arrays, LAYOUTS[layout])
        assert_same_bits(apply("analyze", convert(changed, Exported)), expected)


def test_the_first_argument_decides_the_kind(torch: Any) -> None:
    arrays = arguments(np.float32)
    expected = apply("analyze", arrays)
    kinds: Sequence[tuple[Callable[[Any], Any], type]] = [
        (np.asarray, np.ndarray),
        (torch.from_numpy, torch.Tensor),
        (Known, Known),
    ]
    for first, kind in kinds:
        for second, _ in kinds:
            mixed = {"heatmaps": first(arrays["heatmaps"]), "params": second(arrays["params"])}
            found = apply("analyze", mixed)
            assert all(isinstance(part, kind) for part in parts(found))
            values = [getattr(part, "array", part) for part in parts(found)]
            for value, wanted in zip(values, parts(expected), strict=True):
                assert_same_bits(value, wanted)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("subpixel", SUBPIXELS)
def test_no_image(objective: str, method: str, subpixel: str | None) -> None:
    options: dict[str, Any] = {"method": method, "objective": objective, "subpixel": subpixel}
    for params in (np.zeros((2, 2)), np.zeros((0, 2, 2))):
        result = vl4pose.analyze(np.zeros((0, 3, 8, 8)), params, skeleton=CHAIN, **options)
        assert all(len(array) == 0 for array in named_arrays(result).values())


def test_no_images_of_any_shape(torch: Any) -> None:
    """torch makes such shapes, whose number of pixels does not fit an integer."""
    huge = torch.zeros(1).as_strided((0, 2**16, 2**24, 2**24), (0, 0, 0, 0))
    assert vl4pose.decode(huge).keypoints.shape == (0, 2**16, 2)


def test_skeletons_of_one_name_are_told_apart() -> None:
    heatmaps, params = noise(2, 3, 12, 12), np.float64([[3.0, 1.0], [5.0, 0.5]])
    joints = ["a", "b", "c"]
    chain = Skeleton("three", joints, [(0, 1), (1, 2)])
    star = Skeleton("three", joints, [(0, 1), (0, 2)])
    assert hash(chain) == hash(star)
    for skeleton in (chain, star, chain):
        found = vl4pose.score(heatmaps, params, skeleton=skeleton)
        assert_allclose(found, reference.score(heatmaps, params, skeleton=skeleton), rtol=1e-9)


def test_core_refuses_outputs_and_trees_that_do_not_fit() -> None:
    """The Python layer never asks for these; the memory is at stake if it ever does."""
    heatmaps = np.zeros((2, 3, 4, 4), np.float32)
    options = core_options(check_options())

    def run(tree: Any = None, params: Any = None, **outputs: Any) -> None:
        names, arrays = tuple(outputs), list(outputs.values())
        _core.score(heatmaps, params, tree, options, names, arrays, 1)

    with pytest.raises(ValueError, match="unknown name"):
        run(scores=np.empty(2, np.float32))
    with pytest.raises(ValueError, match="unexpected size or dtype"):
        run(confidence=np.empty((2, 2), np.float32))
    with pytest.raises(ValueError, match="unexpected size or dtype"):
        run(confidence=np.empty((2, 3), np.int32))
    with pytest.raises(ValueError, match="contiguous"):
        run(confidence=np.empty((3, 2), np.float32).T)
    with pytest.raises(ValueError, match="name each"):
        _core.score(heatmaps, None, None, options, ("confidence",), [], 1)
    with pytest.raises(ValueError, match="needs a tree"):
        run(score=np.empty(2, np.float32))
    with pytest.raises(ValueError, match="joints and links of the tree"):
        run(_core.Tree([-1, 0], [1]), np.zeros((1, 2), np.float32), score=np.empty(2, np.float32))
    with pytest.raises(ValueError, match="rooted tree"):
        _core.Tree([1, 0], [0, 1])
