"""The core without Python: every CPU capability gives what the core gave here, and the twin gives.

`conformance.cpp` compares, on the cases of `golden.py`; `emulate.sh` runs it on other CPUs.
"""

from __future__ import annotations

import copy
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import golden
import numpy as np
import pytest
from golden import Case

import vl4pose

ROOT = Path(__file__).parents[1]
OUTPUTS = (*golden.ALL, "weights", "total", "indices", "distances")


def tool(*names: str) -> str:
    """Return the path of the first of the programs that there is, or skip."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    pytest.skip(f"needs {' or '.join(names)}")


@pytest.fixture(scope="session")
def build() -> Iterator[Path]:
    """The folder in which the program was built, as the package was: ccache has seen all of it."""
    cmake, maker = tool("cmake"), tool("ninja", "make")
    generator = "Ninja" if Path(maker).stem == "ninja" else "Unix Makefiles"
    threads = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(len(os.sched_getaffinity(0)))
    options = [f"CMAKE_MAKE_PROGRAM={maker}", "CMAKE_BUILD_TYPE=Release", "VL4POSE_CONFORMANCE=ON"]
    given = shlex.split(os.environ.get("CMAKE_ARGS", ""))
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="conformance-", dir=ROOT / "build") as folder:
        configure = [cmake, "-S", ROOT, "-B", folder, "-G", generator]
        for command in (
            [*configure, *given, *(f"-D{option}" for option in options)],
            [cmake, "--build", folder, "--parallel", threads],
        ):
            process = subprocess.run(command, capture_output=True, text=True, check=False)
            assert process.returncode == 0, process.stdout + process.stderr
        yield Path(folder)


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    return golden.golden_cases()


def run(build: Path, file: Path, *capabilities: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [build / "conformance", file, *capabilities],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_capability_conforms(build: Path, cases: list[Case], tmp_path: Path) -> None:
    golden.write(tmp_path / "golden", cases)
    process = run(build, tmp_path / "golden")
    assert process.returncode == 0, process.stdout + process.stderr
    lines = process.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == list(vl4pose.cpu_capabilities())
    assert all(line.endswith(", 0 differ") and f" {len(cases)} cases" in line for line in lines)


@pytest.mark.parametrize("judge", ["core", "twin"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_one_wrong_value_is_found(
    build: Path, cases: list[Case], tmp_path: Path, output: str, judge: str
) -> None:
    """By one bit, or where the twin may round otherwise, by little more than is allowed."""
    name = f"{judge}.{output}"
    right = next(case for case in cases if np.isfinite(case.arrays.get(name, np.nan)).any())
    wrong = copy.deepcopy(right)
    array = wrong.arrays[name]
    place = tuple(np.argwhere(np.isfinite(array))[-1])
    if array.dtype.kind in "iub":
        array[place] ^= 1
    elif judge == "twin" and f"tolerance.{output}" in wrong.arrays:
        rtol, atol = wrong.arrays[f"tolerance.{output}"]
        array[place] += 1.5 * (atol + rtol * abs(array[place]))
    else:
        array[place] = np.nextafter(array[place], np.inf)
    golden.write(tmp_path / "golden", [right, wrong])
    process = run(build, tmp_path / "golden", "baseline")
    assert process.returncode == 1, process.stdout + process.stderr
    *differences, last = process.stdout.splitlines()
    assert last.startswith("baseline: 2 cases, ")
    assert last.endswith(", 2 differ")  # with each number of threads
    said = f"num_threads 3: {output}[{', '.join(map(str, place))}] is "
    assert sum(said in line and f" of the {judge}" in line for line in differences) == 1
    assert sum(right.description in line for line in differences) == 2


def test_files_that_are_none(build: Path, cases: list[Case], tmp_path: Path) -> None:
    file = tmp_path / "golden"
    golden.write(file, cases[:3])
    whole = file.read_bytes()
    for content, message in (
        (whole[: len(whole) - 1], "the file ends early"),
        (b"", "was not written by golden.py"),
        (b"x" + whole[1:], "was not written by golden.py"),
    ):
        file.write_bytes(content)
        process = run(build, file)
        assert process.returncode == 2
        assert message in process.stderr
    assert run(build, tmp_path / "missing").returncode == 2
    file.write_bytes(whole)
    process = run(build, file, "avx3")
    assert process.returncode == 2
    assert "must be one of baseline" in process.stderr


def test_cases_have_everything(cases: list[Case]) -> None:
    """Whatever an output can say is said by some case."""

    def found(name: str) -> np.ndarray:
        arrays = [np.ravel(case.arrays[name]) for case in cases if name in case.arrays]
        return np.unique(np.concatenate(arrays))

    for bit in vl4pose.Status:
        assert (found("twin.status") & bit).any(), bit.name
    assert set(found("twin.changed")) == {False, True}
    assert set(range(6)) | {64} <= {int(n) for n in found("twin.count")}
    assert {-1, 0, 1, 2} <= set(found("twin.peak_index"))
    for name in ("score", "per_link", "posterior", "entropy", "confidence", "weights", "total"):
        values = found(f"twin.{name}")
        assert np.isnan(values).any(), name
        assert np.isfinite(values).any(), name


# One copy of a function that two object files define is kept by the linker, which cannot know that
# it was compiled for a CPU that others are not.


def shared_symbols(object_file: Path, capability: str) -> set[str]:
    """Return what an object file shares with others but not with those of its capability alone."""
    listing = subprocess.run(
        [tool("nm"), "-C", "--defined-only", str(object_file)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = set()
    for line in listing.splitlines():
        _, kind, name = line.split(maxsplit=2)
        # DW.ref. are addresses that unwinding reads, and no code.
        if kind in "WVu" and f"vl4pose::{capability}" not in name and not name.startswith("DW.ref"):
            symbols.add(name)
    return symbols


def test_kernels_of_a_capability_are_its_own(build: Path) -> None:
    folders = sorted(build.glob("**/vl4pose_kernels_*.dir"))
    capabilities = {folder.stem.removeprefix("vl4pose_kernels_"): folder for folder in folders}
    assert set(vl4pose.cpu_capabilities()) <= capabilities.keys()
    shared = set()
    for capability, folder in capabilities.items():
        object_files = list(folder.glob("**/*.o"))
        assert len(object_files) > 5
        for object_file in object_files:
            symbols = shared_symbols(object_file, capability)
            shared |= {(capability, object_file.name, symbol) for symbol in symbols}
    assert shared == set()


def test_shared_symbols(tmp_path: Path) -> None:
    source = tmp_path / "source.cpp"
    source.write_text(
        "template <class T> T shared(T x) { return x; }\n"
        "inline int constant = 1;\n"
        "int alone() { return constant; }\n"
        "namespace vl4pose { inline namespace wide {\n"
        "template <class T> T own(T x) { return x; }\n"
        "int (*functions[])(int) = {shared<int>, own<int>};\n"
        "}}\n"
    )
    object_file = tmp_path / "source.o"
    subprocess.run(
        [tool("c++"), "-std=c++20", "-c", str(source), "-o", str(object_file)], check=True
    )
    assert shared_symbols(object_file, "wide") == {"constant", "int shared<int>(int)"}
    assert len(shared_symbols(object_file, "narrow")) == 3
