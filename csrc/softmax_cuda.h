// Softmax of rows of values by a block, and its derivatives. Row r has K slots, from r * K on, of
// which the first count[r] are used; the others are left alone. The order of every sum is that of
// pose_rows.h and softmax_gradient.h.
#pragma once

#include <cstdint>

#include "block_cuda.h"
#include "host_device.h"
#include "pose_math.h"
#include "softmax_gradient.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// The rows of a block.
template <class Block>
struct SoftmaxRows {
  const Block block;
  const std::int32_t* count;
  int num_rows, K;

  // All of these are collective. of_row has room for a number of each row, which is lost.

  // weight may take the place of the values; log_weight may be null.
  VL4POSE_NOINLINE VL4POSE_DEVICE void softmax(const double* values, double temperature,
                                               double* weight, double* log_weight,
                                               double* of_row) const;

  // Tangents of the values become those of log weight.
  VL4POSE_DEVICE void set_log_weight_tangents(const double* weight, double temperature,
                                              double* tangent, double* of_row) const {
    for_each(block, num_rows, [&](int row) {
      const double* const of_values = tangent + row * K;
      of_row[row] =
          mean_tangent(weight + row * K, count[row], [&](std::int64_t k) { return of_values[k]; });
    });
    for_each_used([&](int row, int slot) {
      tangent[slot] = log_weight_tangent(tangent[slot], of_row[row], temperature);
    });
  }

  // The gradient by log weight becomes that by the values; weight(slot) is of S.
  template <class S, class Weight>
  VL4POSE_DEVICE void pull_back(const Weight& weight, double temperature, S* gradient,
                                S* of_row) const {
    for_each(block, num_rows,
             [&](int row) { of_row[row] = sum_by_log_weights(gradient + row * K, count[row]); });
    for_each_used([&](int row, int slot) {
      gradient[slot] = by_value(gradient[slot], weight(slot), of_row[row], temperature);
    });
  }

 private:
  template <class Work>
  VL4POSE_DEVICE void for_each_used(const Work& work) const {
    for_each(block, num_rows * K, [&](int slot) {
      const int row = slot / K;
      if (slot - row * K < count[row]) work(row, slot);
    });
  }
};

template <class Block>
VL4POSE_NOINLINE VL4POSE_DEVICE void SoftmaxRows<Block>::softmax(const double* values,
                                                                 double temperature, double* weight,
                                                                 double* log_weight,
                                                                 double* of_row) const {
  for_each(block, num_rows, [&](int row) {
    const double* const of_slots = values + row * K;
    if (count[row] > 0) of_row[row] = of_slots[first_largest(of_slots, count[row])];
  });
  for_each_used([&](int row, int slot) {
    // Where all values are -inf, the first has weight 1.
    const double largest = of_row[row];
    const double scaled = largest == -kInfinity ? (slot == row * K ? 0.0 : -kInfinity)
                                                : (values[slot] - largest) / temperature;
    if (log_weight) log_weight[slot] = scaled;
    weight[slot] = exponential(scaled);
  });
  for_each(block, num_rows, [&](int row) {
    double sum = 0.0;
    for (int k = 0; k < count[row]; ++k) sum += weight[row * K + k];
    of_row[row] = sum;
  });
  for_each_used([&](int row, int slot) {
    weight[slot] /= of_row[row];
    if (log_weight) log_weight[slot] -= logarithm_of_normal(of_row[row]);
  });
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
