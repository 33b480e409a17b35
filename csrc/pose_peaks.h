// The kept peaks of one image, as the recursions over the tree read them.
#pragma once

#include <cstdint>
#include <vector>

#include "pose_math.h"

namespace vl4pose {

// For joint j the slots [j * K, j * K + count[j]) of each array.
struct PosePeaks {
  PosePeaks(std::int64_t J, std::int64_t K)
      : K(K), count(J), x(J * K), y(J * K), value(J * K), log_weight(J * K), weight(J * K) {}

  std::int64_t K;
  std::vector<std::int32_t> count;  // at least 1 each
  std::vector<double> x, y;         // pixels
  std::vector<double> value;
  std::vector<double> log_weight, weight;  // log p and p
};

// row[k] = log-density of `link` between slot `from` and peak k of joint j.
inline void link_row(const PosePeaks& peaks, std::int64_t from, std::int64_t j, const Link& link,
                     double* row) {
  const double x = peaks.x[from], y = peaks.y[from];
  const double* xs = peaks.x.data() + j * peaks.K;
  const double* ys = peaks.y.data() + j * peaks.K;
  const std::int64_t n = peaks.count[j];
  for (std::int64_t k = 0; k < n; ++k) row[k] = link_log_likelihood(xs[k] - x, ys[k] - y, link);
}

}  // namespace vl4pose
