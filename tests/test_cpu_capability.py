"""The sets of vector instructions: names, how one is chosen, and that none changes a bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import on_gpu
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    CHAIN,
    KINDS,
    LAYOUTS,
    METHODS,
    OBJECTIVES,
    SUBPIXELS,
    Batch,
    Canvas,
    assert_same_bits,
    batches,
    examples,
    gaussian,
    maps_and_options,
    noise,
    tree,
)

import vl4pose

VARIABLE = "VL4POSE_CPU_CAPABILITY"
CAPABILITIES = vl4pose.cpu_capabilities()
ONE_OF = f"must be one of {', '.join(CAPABILITIES)}"
NAN, INF = np.nan, np.inf


@pytest.fixture(autouse=True)
def same_afterwards() -> Iterator[None]:
    before = vl4pose.get_cpu_capability()
    yield
    vl4pose.set_cpu_capability(before)


def assert_same_for_all(operation: Callable[..., Any], *arrays: Any, **options: Any) -> None:
    """Compare the result of an operation bit for bit between all capabilities, and the GPUs."""
    results = []
    for capability in CAPABILITIES:
        vl4pose.set_cpu_capability(capability)
        results.append(operation(*arrays, **options))
    for gpu in on_gpu.GPUS:
        with on_gpu.run_there(gpu):
            results.append(operation(*arrays, **options))
    for result in results[1:]:
        assert_same_bits(result, results[0])


# How one is chosen -------------------------------------------------------------------------------


def test_names() -> None:
    assert isinstance(CAPABILITIES, tuple)
    assert len(set(CAPABILITIES)) == len(CAPABILITIES) > 0
    narrowest_first = ("baseline", "avx2", "avx512")
    assert tuple(name for name in narrowest_first if name in CAPABILITIES) == CAPABILITIES
    assert CAPABILITIES[0] == "baseline"


def test_set_and_get() -> None:
    for capability in (*CAPABILITIES, *reversed(CAPABILITIES)):
        vl4pose.set_cpu_capability(capability)
        assert vl4pose.get_cpu_capability() == capability
    assert vl4pose.cpu_capabilities() == CAPABILITIES


def test_one_is_set_for_all_threads() -> None:
    found = []

    def set_and_get(capability: str) -> None:
        vl4pose.set_cpu_capability(capability)
        found.append(vl4pose.get_cpu_capability())

    for capability in CAPABILITIES:
        thread = threading.Thread(target=set_and_get, args=(capability,))
        thread.start()
        thread.join()
        assert found.pop() == vl4pose.get_cpu_capability() == capability


@pytest.mark.parametrize(
    ("bad", "error", "got"),
    [
        ("avx3", ValueError, "'avx3'"),
        ("Baseline", ValueError, "'Baseline'"),
        (" baseline", ValueError, "' baseline'"),
        ("baseline\0", ValueError, r"'baseline\x00'"),
        ("", ValueError, "''"),
        (None, TypeError, "None"),
        (2, TypeError, "2"),
        (b"baseline", TypeError, "bytes"),
        (CAPABILITIES, TypeError, "tuple"),
    ],
)
def test_bad_names(bad: Any, error: type[Exception], got: str) -> None:
    vl4pose.set_cpu_capability("baseline")
    with pytest.raises(error) as caught:
        vl4pose.set_cpu_capability(bad)
    message = str(caught.value)
    assert message.startswith(f"capability {ONE_OF}")
    assert message.endswith(f" on this machine, got {got}")
    assert vl4pose.get_cpu_capability() == "baseline"


def test_a_misspelt_name_is_guessed() -> None:
    with pytest.raises(ValueError, match=r"^capability must") as caught:
        vl4pose.set_cpu_capability("base line")
    assert str(caught.value) == (
        f"capability {ONE_OF} (did you mean 'baseline'?) on this machine, got 'base line'"
    )


def run(code: str, directory: Path, value: str | None) -> list[str]:
    """Run Python code in a process where the variable has a value, and return what it prints."""
    environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
    if value is not None:
        environment[VARIABLE] = value
    preamble = (
        "import json, numpy as np, vl4pose\n"
        "maps = np.random.default_rng(0).random((2, 14, 9, 9), dtype=np.float32)\n"
        "params = np.ones((13, 2), np.float32)\n"
        "def message(call, *arguments):\n"
        "    try:\n"
        "        call(*arguments)\n"
        "    except ValueError as error:\n"
        "        return str(error)\n"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{preamble}print(json.dumps([{code}]))"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found: list[str] = json.loads(process.stdout)
    return found


@pytest.mark.parametrize("value", [None, ""])
def test_the_widest_by_default(value: str | None, tmp_path: Path) -> None:
    found = run("vl4pose.get_cpu_capability(), *vl4pose.cpu_capabilities()", tmp_path, value)
    assert found == [CAPABILITIES[-1], *CAPABILITIES]


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_variable(capability: str, tmp_path: Path) -> None:
    code = "vl4pose.score(maps, params).tobytes().hex(), vl4pose.get_cpu_capability()"
    score, found = run(code, tmp_path, capability)
    assert found == capability
    assert run(code, tmp_path, None)[0] == score


@pytest.mark.parametrize("value", ["avx3", "Baseline"])
def test_bad_variable_is_an_error_of_every_call_until_one_is_set(
    value: str, tmp_path: Path
) -> None:
    code = (
        "*vl4pose.cpu_capabilities(), message(vl4pose.score, maps, params), "
        "message(vl4pose.decode, maps), message(vl4pose.get_cpu_capability), "
        "vl4pose.set_cpu_capability('baseline'), message(vl4pose.score, maps, params), "
        "vl4pose.get_cpu_capability()"
    )
    message = f"{VARIABLE} {ONE_OF} on this machine, got {value!r}"
    expected = [*CAPABILITIES, message, message, message, None, None, "baseline"]
    assert run(code, tmp_path, value) == expected


# The same bits -----------------------------------------------------------------------------------


@given(batches())
def test_batches(batch: Batch) -> None:
    assert_same_for_all(batch.analyze)


@given(maps_and_options())
def test_hostile_maps(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    heatmaps, options = case
    assert_same_for_all(vl4pose.local_maxima, heatmaps, **options)


@given(maps_and_options(), st.sampled_from(SUBPIXELS))
@examples(0.5)
def test_decoded_maps(case: tuple[np.ndarray, dict[str, Any]], subpixel: str | None) -> None:
    assert_same_for_all(vl4pose.decode, case[0], subpixel=subpixel)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_typical_maps(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    heatmaps = noise(3, 16, 64, 64, seed=1) * 0.02
    for index in np.ndindex(heatmaps.shape[:2]):
        heatmaps[index] += gaussian(*rng.uniform(0, 64, 2)) + 0.6 * gaussian(*rng.uniform(0, 64, 2))
    params = np.stack([rng.uniform(2, 30, (3, 15)), rng.uniform(0, 5, (3, 15))], axis=-1)
    arrays = heatmaps.astype(dtype), params.astype(dtype)
    for method in METHODS:
        for objective in OBJECTIVES:
            assert_same_for_all(vl4pose.analyze, *arrays, method=method, objective=objective)
    for subpixel in SUBPIXELS:
        options = {"subpixel": subpixel, "num_peaks": 1, "min_distance": 8}
        assert_same_for_all(vl4pose.analyze, *arrays, **options)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("height", [1, 2, 7, 16, 33])
def test_odd_sizes(dtype: str, height: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(height)
    params = torch.tensor([[3.0, 1.0], [2.0, 0.5]])
    for width in (*range(1, 36), 63, 64, 65, 127):
        canvas = Canvas(rng, height, width, distance=3, levels=3)
        maps = np.stack([KINDS[rng.integers(len(KINDS))](canvas) for _ in range(3)])
        heatmaps = torch.from_numpy(maps).to(getattr(torch, dtype))
        assert_same_for_all(vl4pose.analyze, heatmaps, params, skeleton=CHAIN, min_distance=3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_layouts(layout: str, dtype: Any) -> None:
    heatmaps = LAYOUTS[layout](noise(2, 3, 19, 37, seed=3).astype(dtype))
    params = np.ones((2, 2))
    assert_same_for_all(vl4pose.analyze, heatmaps, params, skeleton=CHAIN, subpixel="centroid")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("width", [5, 16, 31, 40])
def test_values_that_are_not_finite(dtype: Any, width: int) -> None:
    """One in each column of a row, so that it comes to every place of a vector, and of its rest."""
    heatmaps = np.repeat(noise(1, 3, 4, width, seed=4), width, axis=0).astype(dtype)
    params = np.ones((2, 2))
    for value in (NAN, INF, -INF):
        spoilt = heatmaps.copy()
        spoilt[range(width), 1, 2, range(width)] = value
        assert_same_for_all(vl4pose.analyze, spoilt, params, skeleton=CHAIN)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_given_poses_and_weights(dtype: Any) -> None:
    rng = np.random.default_rng(5)
    joints = 14
    for images in (1, 3, 16, 17):
        keypoints = rng.uniform(0, 64, (images, joints, 2)).astype(dtype)
        params = np.stack(rng.uniform(0, 5, (2, images, joints - 1)), axis=-1).astype(dtype)
        offsets = rng.normal(size=(images, joints - 1, 2)).astype(dtype)
        scale_tril = np.tile(np.eye(2, dtype=dtype) * 3, (joints - 1, 1, 1))
        values = rng.normal(size=(images, joints, 7)).astype(dtype)
        values[0, 0, 3:] = -INF
        for per_link in (False, True):
            assert_same_for_all(vl4pose.pose_log_likelihood, keypoints, params, per_link=per_link)
            assert_same_for_all(
                vl4pose.offset_log_likelihood,
                *(keypoints, offsets, scale_tril),
                skeleton="lsp",
                per_link=per_link,
            )
        assert_same_for_all(vl4pose.peak_weights, values, temperature=0.7)


@pytest.mark.parametrize("num_peaks", [5, 16, 17, 21, 24, 40])
def test_many_peaks(num_peaks: int) -> None:
    """So many that terms are kept for all, for some and for no vector width."""
    heatmaps = noise(2, 22, 64, 64, seed=7)
    params = np.stack([np.linspace(2, 40, 21), np.linspace(-2, 4, 21)], axis=-1)
    skeleton = tree([(j, j + 1) for j in range(21)])
    options = {"skeleton": skeleton, "num_peaks": num_peaks, "min_distance": 2}
    assert_same_for_all(vl4pose.analyze, heatmaps, params, **options)


def test_many_threads() -> None:
    heatmaps = noise(40, 2, 24, 24, seed=6, dtype=np.float32)
    options = {"skeleton": tree([(0, 1)]), "num_threads": 3}
    assert_same_for_all(vl4pose.analyze, heatmaps, np.ones((1, 2)), **options)
