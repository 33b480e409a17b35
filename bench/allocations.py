"""What one call to ``vl4pose.score`` allocates, counted in a process of its own."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import numpy as np

import vl4pose
from bench import native
from bench.heatmaps import synthetic_heatmaps, synthetic_params

BATCHES = (64, 1024)
JOINTS = 16
NUM_THREADS = (1, 2)


def allocations_of_score(min_distance: int, num_peaks: int) -> list[dict[str, int]]:
    """Return what a call allocates on NumPy arrays, for each batch size and number of threads.

    Returns
    -------
    list of dict
        ``images``, ``num_threads``, ``num_allocations``, and ``extra_bytes``: the most that was in
        use at once, beyond the result.
    """
    library = native.shared_library("allocations")
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(library), str(min_distance), str(num_peaks)],
        env=os.environ | {"LD_PRELOAD": str(library)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def _count(library: ctypes.CDLL, min_distance: int, num_peaks: int) -> list[dict[str, int]]:
    options = {"min_distance": min_distance, "num_peaks": num_peaks}
    different = synthetic_heatmaps(BATCHES[0], JOINTS, 64, 64)
    counts = []
    for batch in BATCHES:
        heatmaps = np.tile(different, (batch // len(different), 1, 1, 1))
        params = synthetic_params(batch, JOINTS - 1)
        for num_threads in NUM_THREADS:
            vl4pose.score(heatmaps, params, **options, num_threads=num_threads)  # lazy imports
            library.start_counting()
            result = vl4pose.score(heatmaps, params, **options, num_threads=num_threads)
            extra = library.counted_peak_bytes() - result.nbytes
            counts.append(
                {
                    "images": batch,
                    "num_threads": num_threads,
                    "num_allocations": library.counted_allocations(),
                    "extra_bytes": extra,
                }
            )
    return counts


def _check(library: ctypes.CDLL) -> None:
    library.start_counting()
    size = 1 << 20
    np.empty(size, np.uint8)
    assert library.counted_peak_bytes() >= size
    assert library.counted_allocations() >= 1


if __name__ == "__main__":
    library = ctypes.CDLL(sys.argv[1])
    library.counted_allocations.restype = library.counted_peak_bytes.restype = ctypes.c_int64
    _check(library)
    print(json.dumps(_count(library, int(sys.argv[2]), int(sys.argv[3]))))
