// The arithmetic that every operation shares; the only copy of it. Everything after the peaks is
// computed in double and rounded to the result's dtype at the end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace vl4pose {

inline constexpr double kLog2Pi = 1.8378770664093454836;
inline constexpr double kMaxAbsLogVariance = 20.0;
inline constexpr double kMaxAbsDistance = 1e6;
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// What may be remarkable about one image; the bits of `status`.
namespace status {
inline constexpr std::uint8_t kPeakFallback = 1;
inline constexpr std::uint8_t kClampedParams = 2;
inline constexpr std::uint8_t kNonfiniteParams = 4;
inline constexpr std::uint8_t kNonfiniteHeatmap = 8;
}  // namespace status

// One link's expected distance in pixels, log-variance in pixels squared, and exp(-log_variance).
struct Link {
  double distance;
  double log_variance;
  double precision;
};

// The link of params (distance, log_variance), clamped to the range in which the arithmetic is
// exact; adds what it found to `status`.
inline Link make_link(double distance, double log_variance, std::uint8_t& status) {
  if (!std::isfinite(distance) || !std::isfinite(log_variance)) {
    status |= status::kNonfiniteParams;
    return {kNaN, kNaN, kNaN};
  }
  const double d = std::clamp(distance, -kMaxAbsDistance, kMaxAbsDistance);
  const double s = std::clamp(log_variance, -kMaxAbsLogVariance, kMaxAbsLogVariance);
  if (d != distance || s != log_variance) status |= status::kClampedParams;
  return {d, s, std::exp(-s)};
}

// Log-density of a link whose ends lie (dx, dy) apart, Eq. 5:
// -1/2 (log 2 pi + s + (r - d)^2 exp(-s)).
inline double link_log_likelihood(double dx, double dy, const Link& link) {
  const double difference = std::sqrt(dx * dx + dy * dy) - link.distance;
  return -0.5 * (kLog2Pi + link.log_variance + difference * difference * link.precision);
}

// log sum exp of n values, of which at least one is finite.
inline double log_sum_exp(const double* values, std::int64_t n) {
  const double largest = *std::max_element(values, values + n);
  double sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(values[i] - largest);
  return largest + std::log(sum);
}

// Index of the largest of n values; the lowest such index when several are equal.
inline std::int32_t first_largest(const double* values, std::int64_t n) {
  return static_cast<std::int32_t>(std::max_element(values, values + n) - values);
}

}  // namespace vl4pose
