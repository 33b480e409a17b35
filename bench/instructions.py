"""``python -m bench.instructions``: instructions a map, counted by callgrind; a minute.

Times are noisy, counts are not. The kernels are compiled as `CMakeLists.txt` does it, each CPU
capability by itself. valgrind knows no AVX-512.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.heatmaps import synthetic_heatmaps

IMAGES, JOINTS = 8, 16
CASES = {"d=5 K=5": (5, 5), "d=8 K=1": (8, 1)}
CAPABILITIES = {"avx2": ["-march=x86-64-v3"], "baseline": []}
OPTIONS = ["-O3", "-g", "-std=c++20", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
ROOT = Path(__file__).parents[1]


def main() -> int:
    """Count and print."""
    for tool in ("valgrind", "c++"):
        if shutil.which(tool) is None:
            sys.exit(f"bench: {tool} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        heatmaps = Path(folder) / "heatmaps.bin"
        synthetic_heatmaps(IMAGES, JOINTS, 64, 64).tofile(heatmaps)
        for capability in CAPABILITIES:
            program = compiled(capability, Path(folder))
            for case, options in CASES.items():
                per_map = count(program, heatmaps, options) / (IMAGES * JOINTS)
                print(f"{capability:9} {case} {per_map:8,.0f} instructions a map", flush=True)
    return 0


def compiled(capability: str, folder: Path) -> Path:
    """Compile the kernels of one capability and return the program."""
    program = folder / capability
    sources = [*sorted(ROOT.glob("csrc/*_cpu.cpp")), ROOT / "bench" / "instructions.cpp"]
    command = ["c++", *OPTIONS, *CAPABILITIES[capability], f"-DVL4POSE_CPU_CAPABILITY={capability}"]
    command += [f"-I{ROOT / 'csrc'}", *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def count(program: Path, heatmaps: Path, options: tuple[int, int]) -> int:
    """Return the instructions of the score of all images."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += ["--toggle-collect=counted*", str(program), str(heatmaps), str(IMAGES)]
    done = subprocess.run(
        [*command, *map(str, options)], capture_output=True, text=True, check=True
    )
    (collected,) = re.findall(r"Collected : (\d+)", done.stderr)
    return int(collected)


if __name__ == "__main__":
    sys.exit(main())
