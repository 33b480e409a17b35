// The kept peaks of one image, as the recursions over the tree read them.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "pose_math.h"
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

// column[k] = log-density of `link` between the peaks in a vector of slots from `slot` and peak k
// of joint j.
inline void link_column(const PosePeaks& peaks, std::int64_t slot, std::int64_t j, const Link& link,
                        Vector<double>* column) {
  const Vector<double> x = load(peaks.x.data() + slot), y = load(peaks.y.data() + slot);
  const double* xs = peaks.x.data() + j * peaks.stride;
  const double* ys = peaks.y.data() + j * peaks.stride;
  for (std::int64_t k = 0; k < peaks.count[j]; ++k) {
    column[k] = link_log_likelihood<Vector<double>>(xs[k] - x, ys[k] - y, link);
  }
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
