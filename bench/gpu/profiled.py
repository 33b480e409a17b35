"""``python -m bench.gpu.profiled``: a few calls between cudaProfilerStart and cudaProfilerStop.

What `gpu.sh` has ncu count: analyze on float32 and float16 maps of 1024 images, and of one image.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

import vl4pose
from bench.gpu.contests import FIVE_PEAKS, MANY, batch_of, maps_of, options_of, params_of

CASES = (
    batch_of(FIVE_PEAKS, MANY, 1),
    batch_of(replace(FIVE_PEAKS, dtype="float16"), MANY, 1),
    batch_of(FIVE_PEAKS, 1, 1),
)


def main() -> None:
    """Make the calls."""
    for case in CASES:
        maps, params = maps_of(case).cuda(), params_of(case).cuda()
        for _ in range(2):
            vl4pose.analyze(maps, params, **options_of(case))
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        vl4pose.analyze(maps, params, **options_of(case))
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()
        print(f"profiled: analyze, {case}", file=sys.stderr)


if __name__ == "__main__":
    main()
