// The kept peaks of one image, as the recursions over the tree read them.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "pose_rows.h"
#include "simd.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// For joint j the slots [j * stride, j * stride + count[j]) of each array. Behind them, up to the
// next joint's, are values of -inf with weight 0 at any place.
struct PosePeaks {
  PosePeaks(std::int64_t J, std::int64_t K)
      : stride(whole_vectors<double>(K)),
        count(J),
        x(J * stride),
        y(J * stride),
        value(J * stride, -kInfinity),
        weight(J * stride),
        log_weight(J * stride, -kInfinity) {}

  std::int64_t stride;
  Buffer<std::int32_t> count;  // at least 1 each
  Buffer<double> x, y;         // pixels
  Buffer<double> value;
  Buffer<double> weight, log_weight;  // p and log p
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
