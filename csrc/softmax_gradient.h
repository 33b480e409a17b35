// Derivatives of a joint's softmax weights p, log p_k = v_k / T - log sum exp(v / T), over n
// values, for S of double or Dual (dual.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "dual.h"
#include "host_device.h"
#include "pose_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// What the derivatives of all log p_k along the values' tangents have in common.
template <class Tangent>
VL4POSE_HOST_DEVICE double mean_tangent(const double* weight, std::int64_t n,
                                        const Tangent& value_tangent) {
  double mean = 0.0;
  for (std::int64_t k = 0; k < n; ++k) mean += weight[k] * value_tangent(k);
  return mean;
}

// The derivative of log p_k along the values' tangents.
VL4POSE_HOST_DEVICE inline double log_weight_tangent(double value_tangent, double mean,
                                                     double temperature) {
  return (value_tangent - mean) / temperature;
}

// tangents[k] = the derivative of log p_k along value_tangent(k).
template <class Tangent>
void log_weight_tangents(const double* weight, std::int64_t n, double temperature,
                         const Tangent& value_tangent, double* tangents) {
  const double mean = mean_tangent(weight, n, value_tangent);
  for (std::int64_t k = 0; k < n; ++k) {
    tangents[k] = log_weight_tangent(value_tangent(k), mean, temperature);
  }
}

// p_k, whose logarithm moves so.
template <class S>
VL4POSE_HOST_DEVICE S moving_weight(double weight, double log_weight_tangent) {
  return moving<S>(weight, weight * log_weight_tangent);
}

// The derivative of -sum_k p_k log p_k by log p_k, p_k being above 0, is the opposite of this.
template <class S>
VL4POSE_HOST_DEVICE S entropy_by_log_weight(const S& weight, const S& log_weight) {
  return weight * (log_weight + 1.0);
}

// What the gradients by all values have in common: the sum of those by log p.
template <class S>
VL4POSE_HOST_DEVICE S sum_by_log_weights(const S* by_log_weight, std::int64_t n) {
  S sum{};
  for (std::int64_t k = 0; k < n; ++k) sum += by_log_weight[k];
  return sum;
}

// The gradient by v_k.
template <class S>
VL4POSE_HOST_DEVICE S by_value(const S& by_log_weight, const S& weight, const S& sum,
                               double temperature) {
  return (by_log_weight - weight * sum) / temperature;
}

// Turns the gradient by log p into that by the values, in place.
template <class S>
void pull_back_log_weights(const S* weight, std::int64_t n, double temperature, S* gradient) {
  const S sum = sum_by_log_weights(gradient, n);
  for (std::int64_t k = 0; k < n; ++k) {
    gradient[k] = by_value(gradient[k], weight[k], sum, temperature);
  }
}

// The logarithm of the sum of exp(term(k)) over n of them.
template <class Term>
VL4POSE_HOST_DEVICE auto log_sum_exp(std::int64_t n, const Term& term) {
  double largest = -kInfinity;
  for (std::int64_t k = 0; k < n; ++k) largest = std::max(largest, value_of(term(k)));
  decltype(term(n)) sum{};
  for (std::int64_t k = 0; k < n; ++k) sum += exponential(term(k) - largest);
  return largest + logarithm(sum);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
