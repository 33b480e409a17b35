// The sub-pixel step by a warp; contract: decode.h.
#pragma once

#include <cstdint>

#include "decode_math.h"
#include "map_cuda.h"
#include "options.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// So many doubles a warp needs for the step: rows that are blurred along x, and pixels.
inline constexpr int kBlurredRows = 2 * (kStencil + kBlurReach) + 1;
VL4POSE_HOST_DEVICE inline int subpixel_scratch(Subpixel subpixel) {
  return subpixel == Subpixel::dark ? (kBlurredRows + kStencilSize) * kStencilSize : 0;
}

template <class Warp, class Stored>
VL4POSE_NOINLINE VL4POSE_DEVICE Offset dark(const Warp& warp, const DeviceMap<Stored>& map, int x,
                                            int y, double* scratch) {
  if (!has_stencil(map, x, y)) return {};
  constexpr auto kernel = blur_kernel();
  double *const rows = scratch, *const log_map = scratch + kBlurredRows * kStencilSize;
  const int top = y - kStencil - kBlurReach, left = x - kStencil - kBlurReach;
  for (int i = warp.lane(); i < kBlurredRows * kStencilSize; i += Warp::kSize) {
    const int v = top + i / kStencilSize, first = left + i % kStencilSize;
    double sum = 0.0;
    for (int k = 0; k < int{kernel.size()}; ++k) {
      const int u = first + k;
      if (v >= 0 && v < map.H && u >= 0 && u < map.W) sum += kernel[k] * double{map(v, u)};
    }
    rows[i] = sum;
  }
  warp.sync();
  for (int i = warp.lane(); i < kStencilSize * kStencilSize; i += Warp::kSize) {
    double sum = 0.0;
    for (int k = 0; k < int{kernel.size()}; ++k) {
      const int row = i / kStencilSize + k;
      if (top + row >= 0 && top + row < map.H) {
        sum += kernel[k] * rows[row * kStencilSize + i % kStencilSize];
      }
    }
    log_map[i] = log_of_blurred(sum);
  }
  warp.sync();
  const Offset offset = newton_step(log_map);
  warp.sync();  // before anyone writes there again
  return offset;
}

// Collective.
template <class Warp, class Stored>
VL4POSE_DEVICE Offset subpixel_offset(const Warp& warp, const DeviceMap<Stored>& map, int x, int y,
                                      Subpixel subpixel, double* scratch) {
  return step_of(subpixel, map, x, y, [&] { return dark(warp, map, x, y, scratch); });
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
