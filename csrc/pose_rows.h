// The shared arithmetic on rows of numbers, a vector of them at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "pose_math.h"
#include "simd.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// exp(-log_variance) of n links.
inline void set_precisions(Link* links, std::int64_t n) {
  for (std::int64_t first = 0; first < n; first += kLanes<double>) {
    const std::int64_t last = std::min<std::int64_t>(first + kLanes<double>, n);
    Vector<double> exponent{};
    for (std::int64_t l = first; l < last; ++l) exponent[l - first] = -links[l].log_variance;
    const Vector<double> precision = exponential(exponent);
    for (std::int64_t l = first; l < last; ++l) links[l].precision = precision[l - first];
  }
}

// Softmax of each row of values, and unless log_weight is null its logarithm:
// (v_k - max v) / T - log sum exp((v - max v) / T). Row r has count[r] >= 1 values, none of them
// NaN or +inf, from r * stride on, where stride is of whole vectors, and then -inf. When all values
// of a row are -inf, the first has weight 1.
inline void softmax(const double* values, const std::int32_t* count, std::int64_t rows,
                    std::int64_t stride, double temperature, double* weight, double* log_weight) {
  constexpr double kLowest = std::numeric_limits<double>::lowest();
  for (std::int64_t group = 0; group < rows; group += kLanes<double>) {
    const std::int64_t in_group = std::min<std::int64_t>(rows - group, kLanes<double>);
    Vector<double> sums = broadcast(1.0);  // a logarithm takes as long for one as for all
    for (std::int64_t i = 0; i < in_group; ++i) {
      const std::int64_t begin = (group + i) * stride, end = begin + count[group + i];
      if (count[group + i] == 1) {
        store(weight + begin, Vector<double>{1.0});
        if (log_weight) store(log_weight + begin, broadcast(-kInfinity));
        if (log_weight) log_weight[begin] = 0.0;
        continue;
      }
      Vector<double> highest = broadcast(kLowest);
      for (std::int64_t k = begin; k < end; k += kLanes<double>) {
        highest = maximum<double>(highest, load(values + k));
      }
      const double largest = largest_lane<double>(highest);
      for (std::int64_t k = begin; k < end; k += kLanes<double>) {
        const Vector<double> scaled = (load(values + k) - largest) / temperature;
        store(weight + k, exponential(scaled));
        if (log_weight) store(log_weight + k, scaled);
      }
      double sum = 0.0;
      for (std::int64_t k = begin; k < end; ++k) sum += weight[k];
      if (sum == 0.0) {  // all values are -inf: exp(0) is that of the largest else
        sum = weight[begin] = 1.0;
        if (log_weight) log_weight[begin] = 0.0;
      }
      for (std::int64_t k = begin; k < end; k += kLanes<double>) {
        store(weight + k, load(weight + k) / sum);
      }
      sums[i] = sum;
    }
    if (!log_weight) continue;
    const Vector<double> log_sums = logarithm_of_normal(sums);
    for (std::int64_t i = 0; i < in_group; ++i) {
      const std::int64_t begin = (group + i) * stride, end = begin + count[group + i];
      for (std::int64_t k = begin; k < end; k += kLanes<double>) {
        store(log_weight + k, load(log_weight + k) - log_sums[i]);
      }
    }
  }
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
