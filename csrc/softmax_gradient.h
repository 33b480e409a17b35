// Derivatives of a joint's softmax weights p, log p_k = v_k / T - log sum exp(v / T), over n
// values, for S of double or Dual (dual.h).
#pragma once

#include <cstdint>

#include "dual.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// tangents[k] = the derivative of log p_k along value_tangent(k).
template <class Tangent>
void log_weight_tangents(const double* weight, std::int64_t n, double temperature,
                         const Tangent& value_tangent, double* tangents) {
  double mean = 0.0;
  for (std::int64_t k = 0; k < n; ++k) mean += weight[k] * value_tangent(k);
  for (std::int64_t k = 0; k < n; ++k) tangents[k] = (value_tangent(k) - mean) / temperature;
}

// Turns the gradient by log p into that by the values, in place.
template <class S>
void pull_back_log_weights(const S* weight, std::int64_t n, double temperature, S* gradient) {
  S sum{};
  for (std::int64_t k = 0; k < n; ++k) sum += gradient[k];
  for (std::int64_t k = 0; k < n; ++k) gradient[k] = (gradient[k] - weight[k] * sum) / temperature;
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
