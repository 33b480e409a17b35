"""Greedy k-centre: what is chosen, that nothing about a call changes it, and how near it comes."""

from __future__ import annotations

import builtins
import doctest
import importlib
import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from strategies import LAYOUTS, assert_same_bits, dtypes, examples, noise, wide

from vl4pose import reference
from vl4pose.active.k_centre import MAX_MAGNITUDE, SLACK, k_centre

INF, NAN = np.inf, np.nan


@pytest.fixture(params=["exact", "approximate"])
def approximate(request: pytest.FixtureRequest) -> bool:
    if request.param == "approximate":
        pytest.importorskip("usearch", reason="the index is usearch's: pip install 'vl4pose[ann]'")
    return bool(request.param == "approximate")


@st.composite
def calls(draw: st.DrawFn) -> tuple[np.ndarray, int, dict[str, Any]]:
    """Draw arguments: spread or clustered rows, often equally far from each other, or copies."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    N = draw(st.integers(1, 60))
    D = draw(st.one_of(st.integers(1, 33), st.sampled_from([0, 63, 64, 65, 128, 300])))
    rows = rng.normal(size=(N, D)) * draw(st.sampled_from([1e-3, 1.0, 30.0]))
    match draw(st.sampled_from(["spread", "rounded", "copies", "clusters"])):
        case "rounded":
            rows = np.round(rows)
        case "copies":
            rows = rows[rng.integers(0, N, N) // 3]
        case "clusters":
            rows = rows / 64 + rows[rng.integers(0, min(N, 4), N)]
    rows = rows.astype(draw(dtypes))
    options: dict[str, Any] = {"min_separation": draw(st.sampled_from([0.0, 0.0, 0.5, 4.0]))}
    if draw(st.booleans()):
        M = draw(st.integers(0, 5))
        options["labelled"] = np.concatenate([rows[: M // 2], rng.normal(size=(M, D))])[:M]
    else:
        options["first"] = draw(st.integers(0, N - 1))
    return rows, draw(st.integers(0, N)), options


@pytest.mark.usefixtures("kernels")
@given(calls())
@examples(1.5)
def test_equals_the_twin_bit_for_bit(call: tuple[np.ndarray, int, dict[str, Any]]) -> None:
    rows, num_centres, options = call
    indices, distances = k_centre(rows, num_centres, **options)
    expected_indices, expected_distances = reference.k_centre(rows, num_centres, **options)
    assert_same_bits(indices, expected_indices)
    assert_same_bits(distances, expected_distances)
    assert distances.dtype == wide(rows.dtype)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_number_of_columns(dtype: Any) -> None:
    for D in range(1, 301, 1 if dtype == np.float32 else 37):
        rows = noise(12, D, seed=D, dtype=dtype)
        assert_same_bits(k_centre(rows, 5).distances, reference.k_centre(rows, 5)[1])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("num_threads", [2, 3, 64])
def test_threads_change_nothing(num_threads: int) -> None:
    rows = noise(30_000, 96, dtype=np.float32)  # enough for each of three to have its part
    rows[20_000:] = rows[:10_000]  # rows of one thread as far as those of another
    expected = k_centre(rows, 40, num_threads=1)
    found = k_centre(rows, 40, num_threads=num_threads)
    assert_same_bits(found, expected)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "channels last"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_layout_changes_nothing(layout: str, dtype: Any) -> None:
    rows, labelled = noise(30, 21, dtype=dtype), noise(4, 21, seed=1, dtype=dtype)
    change = LAYOUTS[layout]
    expected = k_centre(rows, 9, labelled=labelled)
    assert_same_bits(k_centre(change(rows), 9, labelled=change(labelled)), expected)


def test_half_precision_is_widened(approximate: bool) -> None:
    rows = noise(50, 20, dtype=np.float16)
    expected = k_centre(rows.astype(np.float32), 10, approximate=approximate)
    assert_same_bits(k_centre(rows, 10, approximate=approximate), expected)
    tensor = torch.from_numpy(rows.astype(np.float32)).bfloat16()
    expected = k_centre(tensor.float(), 10, approximate=approximate)
    assert_same_bits(k_centre(tensor.requires_grad_(), 10, approximate=approximate), expected)


def test_equally_far_rows_and_copies() -> None:
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    indices, distances = k_centre(square, 4)
    assert_array_equal(indices, [0, 3, 1, 2])
    assert_array_equal(distances, [INF, math.sqrt(2), 1, 1])
    copies = square[[2, 2, 0, 0, 2, 1]]
    assert_array_equal(k_centre(copies, 6).indices, [0, 5, 2])
    assert_array_equal(k_centre(copies, 6, first=4).indices, [4, 5, 2])
    assert_array_equal(k_centre(copies, 6, labelled=square[:3]).indices, [])


def test_stops_where_nothing_is_farther() -> None:
    line = np.arange(11.0)[:, None]
    assert_array_equal(k_centre(line, 11).indices[:5], [0, 10, 5, 2, 7])
    assert_array_equal(k_centre(line, 11, min_separation=2.0).indices, [0, 10, 5])
    assert_array_equal(k_centre(line, 11, min_separation=1.9999).indices, [0, 10, 5, 2, 7])
    assert_array_equal(k_centre(line, 11, labelled=line[5:6], min_separation=4).indices, [0, 10])


def test_labelled_rows_are_centres() -> None:
    rows = noise(100, 8)
    chosen = k_centre(rows, 20)
    rest = k_centre(rows, 15, labelled=rows[chosen.indices[:5]])
    assert_array_equal(rest.indices, chosen.indices[5:])
    assert_array_equal(rest.distances, chosen.distances[5:])
    # Taken as what the embeddings are; no labelled rows are as good as none.
    single = k_centre(rows.astype(np.float32), 5, labelled=rows[:3].astype(np.float16))
    assert single.distances.dtype == np.float32
    assert_same_bits(k_centre(rows, 5, labelled=rows[:0], first=7), k_centre(rows, 5, first=7))


def test_no_rows_and_no_columns(approximate: bool) -> None:
    for rows, number in ((noise(0, 5), 0), (noise(7, 5), 0), (noise(0, 0), 0)):
        indices, distances = k_centre(rows, number, approximate=approximate)
        assert (indices.shape, distances.shape) == ((0,), (0,))
        assert (indices.dtype, distances.dtype) == (np.int64, np.float64)
    assert_array_equal(k_centre(noise(7, 0), 7).indices, [0])


def test_numbers_of_extreme_size() -> None:
    huge = np.float64([[0], [MAX_MAGNITUDE], [-MAX_MAGNITUDE]])
    assert_array_equal(k_centre(huge, 3).distances, [INF, MAX_MAGNITUDE, MAX_MAGNITUDE])
    largest = np.float32([[0], [3e38], [-3e38]])
    assert_array_equal(k_centre(largest, 2).distances, np.float32([INF, 3e38]))
    # Where |x|^2 - 2 x y + |y|^2 has no digit left.
    close = np.float32(2.0**20) + np.float32([[0], [0.125], [0.375]])
    assert_array_equal(k_centre(close, 3).distances, np.float32([INF, 0.375, 0.125]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
@examples(0.3)
def test_at_most_twice_the_best_choice(seed: int, num_centres: int, use_labelled: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(9, 2))
    labelled = rng.normal(size=(2, 2)) if use_labelled else None

    def radius(choice: Any) -> float:
        centres = rows[list(choice)] if labelled is None else [*rows[list(choice)], *labelled]
        apart = np.linalg.norm(rows[:, None] - np.asarray(centres), axis=-1)
        return float(apart.min(axis=1).max())

    best = min(radius(choice) for choice in itertools.combinations(range(9), num_centres))
    assert radius(k_centre(rows, num_centres, labelled=labelled).indices) <= 2 * best * (1 + 1e-12)


# Over an index -----------------------------------------------------------------------------------


@pytest.fixture
def index() -> None:
    pytest.importorskip("usearch", reason="the index is usearch's: pip install 'vl4pose[ann]'")


def largest_distance(rows: np.ndarray, centres: np.ndarray) -> float:
    nearest = [reference.squared_distances(rows, centre) for centre in centres]
    return float(np.sqrt(np.min(nearest, axis=0).max()))


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_clustered", [False, True])
def test_index_covers_nearly_as_well(dtype: Any, is_clustered: bool) -> None:
    rows = noise(3000, 12)
    if is_clustered:
        rows = rows / 20 + rows[np.random.default_rng(1).integers(0, 50, 3000)]
    rows = rows.astype(dtype)
    exact, found = k_centre(rows, 100), k_centre(rows, 100, approximate=True)
    assert len(set(found.indices.tolist())) == 100
    assert found.distances.dtype == dtype
    covered = largest_distance(rows, rows[found.indices])
    assert covered <= 1.15 * largest_distance(rows, rows[exact.indices])
    # Of few centres the index finds the nearest, and so what is promised of a step holds.
    for n in range(1, 20):
        apart = largest_distance(rows[found.indices[n : n + 1]], rows[found.indices[:n]])
        assert found.distances[n] == pytest.approx(apart, rel=1e-5)
        assert apart >= (1 - SLACK) * largest_distance(rows, rows[found.indices[:n]]) * (1 - 1e-5)


@pytest.mark.usefixtures("index")
def test_index_gives_the_same_for_a_seed() -> None:
    rows = noise(3000, 12, dtype=np.float32)
    first = k_centre(rows, 50, approximate=True, seed=3, num_threads=1)
    for num_threads in (1, 2, 5):
        again = k_centre(rows, 50, approximate=True, seed=3, num_threads=num_threads)
        assert_same_bits(again, first)
    other = k_centre(rows, 50, approximate=True, seed=4)
    assert (other.indices != first.indices).any()


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(("dtype", "exponent"), [(np.float32, 120), (np.float64, 490)])
def test_the_unit_of_rows_does_not_matter_to_the_index(dtype: Any, exponent: int) -> None:
    rows, labelled = noise(300, 5, dtype=dtype), noise(9, 5, seed=1, dtype=dtype)
    for known in (None, labelled):
        expected = k_centre(rows, 30, labelled=known, approximate=True)
        for power in (exponent, -exponent):
            found = k_centre(
                np.ldexp(rows, power),
                30,
                labelled=None if known is None else np.ldexp(known, power),
                approximate=True,
            )
            assert_array_equal(found.indices, expected.indices)
            # Where the index is not asked, squares of what is very small lose digits.
            np.testing.assert_allclose(np.ldexp(found.distances, -power), expected.distances)


@pytest.mark.usefixtures("index")
def test_index_with_labelled_rows_and_an_end() -> None:
    rows = noise(500, 3, dtype=np.float32)
    labelled = noise(40, 3, seed=1, dtype=np.float32)
    options: dict[str, Any] = {"labelled": labelled, "min_separation": 0.5, "approximate": True}
    indices, distances = k_centre(rows, 500, **options)
    assert 0 < len(indices) < 500
    assert (distances > 0.5).all()
    assert largest_distance(rows, np.concatenate([labelled, rows[indices]])) <= 0.5 * (1 + 1e-6)
    copies = rows[np.arange(500) % 20]
    indices, distances = k_centre(copies, 500, approximate=True, first=7)
    assert sorted(indices % 20) == list(range(20))
    assert indices[0] == 7
    assert distances[0] == INF


def test_index_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "usearch":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"needs usearch: pip install 'vl4pose\[ann\]'"):
        k_centre(noise(5, 2), 2, approximate=True)
    assert len(k_centre(noise(5, 2), 2).indices) == 2


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("argument", ["embeddings", "labelled"])
def test_number_that_is_none(bad: float, argument: str, approximate: bool) -> None:
    arrays = {"embeddings": noise(20, 4), "labelled": noise(20, 4, seed=1)}
    arrays[argument][13, 2] = bad
    with pytest.raises(ValueError, match=rf"^{argument} must be finite, got {bad} in row 13$"):
        k_centre(arrays["embeddings"], 3, labelled=arrays["labelled"], approximate=approximate)


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (TypeError, "embeddings must be float16, bfloat16, .*, got int64", {"embeddings": [[1]]}),
        (TypeError, "embeddings must be .* without a mask", {"embeddings": np.ma.ones((3, 2))}),
        (
            TypeError,
            "embeddings must be .* native byte order",
            {"embeddings": np.ones((2, 2), ">f4")},
        ),
        (ValueError, r"embeddings must be \(N, D\), got shape \(3,\)", {"embeddings": np.ones(3)}),
        (ValueError, "embeddings must be at most 1e\\+150", {"embeddings": np.full((2, 2), 1e151)}),
        (TypeError, "num_centres must be an integer, got 2.0", {"num_centres": 2.0}),
        (ValueError, "num_centres must be at least 0, got -1", {"num_centres": -1}),
        (
            ValueError,
            r"num_centres must be at most the number of embeddings \(5\), got 6",
            {"num_centres": 6},
        ),
        (
            ValueError,
            r"labelled must be \(M, 3\) like embeddings, got \(2, 4\)",
            {"labelled": np.ones((2, 4))},
        ),
        (
            ValueError,
            "labelled must be finite, got inf in row 1",
            {"labelled": np.float64([[1] * 3, [1e300] * 3])},
        ),
        (ValueError, "first must be between 0 and 4, got 5", {"first": 5}),
        (TypeError, "first must be an integer, got '0'", {"first": "0"}),
        (
            ValueError,
            "first must be None where rows are labelled, got 1",
            {"first": 1, "labelled": np.ones((1, 3))},
        ),
        (
            ValueError,
            "min_separation must be finite and at least 0, got -1",
            {"min_separation": -1},
        ),
        (
            ValueError,
            "min_separation must be finite and at least 0, got nan",
            {"min_separation": NAN},
        ),
        (TypeError, "min_separation must be a real number, got True", {"min_separation": True}),
        (ValueError, "num_threads must be at least 1, got 0", {"num_threads": 0}),
        (TypeError, "approximate must be True or False, got 1", {"approximate": 1}),
        (ValueError, "seed must be at least 0, got -1", {"seed": -1}),
    ],
)
def test_bad_arguments(error: type[Exception], message: str, change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"embeddings": noise(5, 3, dtype=np.float32), "num_centres": 2}
    with pytest.raises(error, match=f"^{message}"):
        k_centre(**(arguments | change))


def test_example_of_the_docstring() -> None:
    result = doctest.testmod(importlib.import_module("vl4pose.active.k_centre"))
    assert result.attempted > 0
    assert result.failed == 0


def test_interrupt_stops_a_long_call() -> None:
    """Ctrl-C is answered within the call, which without it would take half a minute or more."""
    program = """
        import signal

        import numpy as np
        from vl4pose.active.k_centre import k_centre

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
        rows = np.arange(50_000, dtype=np.float32)[:, None] * np.ones(64, np.float32)
        print("ready", flush=True)
        try:
            k_centre(rows, 50_000, num_threads=1)
        except KeyboardInterrupt:
            print("interrupted")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    signal_after = 0.5
    with pytest.raises(subprocess.TimeoutExpired):  # it is in the call by then
        process.wait(signal_after)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output == "interrupted\n"
