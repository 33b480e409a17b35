// The arithmetic that every operation shares, on CPUs and GPUs; the only copy of it. Everything
// after the peaks is computed in double and rounded to the result's dtype at the end. D is double,
// or a vector of it (simd.h).
#pragma once

#include <cstdint>
#include <limits>

#include "host_device.h"
#include "status.h"
#include "vector_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

inline constexpr double kLog2Pi = 1.8378770664093454836;
inline constexpr double kMaxAbsLogVariance = 20.0;
inline constexpr double kMaxAbsDistance = 1e6;
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// One link's expected distance in pixels, log-variance in pixels squared, and exp(-log_variance).
struct Link {
  double distance;
  double log_variance;
  double precision;
};

// Of numbers that are neither NaN nor infinite.
VL4POSE_HOST_DEVICE inline bool is_finite(double x) { return x - x == 0.0; }

// Params clamped to the range in which the arithmetic is exact; adds what was found to `status`.
// The precision is left to the caller.
VL4POSE_HOST_DEVICE inline Link make_link(double distance, double log_variance,
                                          std::uint8_t& status) {
  if (!is_finite(distance) || !is_finite(log_variance)) {
    status |= status::kNonfiniteParams;
    return {kNaN, kNaN, kNaN};
  }
  const auto clamped = [](double x, double most) {
    return x < -most ? -most : x > most ? most : x;
  };
  const double d = clamped(distance, kMaxAbsDistance),
               s = clamped(log_variance, kMaxAbsLogVariance);
  if (d != distance || s != log_variance) status |= status::kClampedParams;
  return {d, s, 0.0};
}

// Log-density of a link whose ends lie (dx, dy) apart, Eq. 5:
// -1/2 (log 2 pi + s + (r - d)^2 exp(-s)).
template <class D>
VL4POSE_HOST_DEVICE D link_log_likelihood(D dx, D dy, const Link& link) {
  const D difference = square_root(dx * dx + dy * dy) - link.distance;
  return -0.5 * ((kLog2Pi + link.log_variance) + difference * difference * link.precision);
}

// Index of the largest of n values; the lowest such index when several are equal.
VL4POSE_HOST_DEVICE inline std::int32_t first_largest(const double* values, std::int64_t n) {
  std::int32_t best = 0;
  for (std::int32_t k = 1; k < n; ++k) best = values[k] > values[best] ? k : best;
  return best;
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
