// Softmax weights of a joint's peaks. Reference: vl4pose/reference.py, peak_weights.
#pragma once

#include <cstdint>

#include "array.h"

namespace vl4pose {

// log p(k) = (v_k - max v) / T - log sum exp((v - max v) / T) over `n` >= 1 values, none of them
// NaN or +inf. When all are -inf, the first has weight 1.
void log_weights(const double* values, std::int64_t n, double temperature, double* log_weight);

// Weights of every row of values (B, J, K), written to the contiguous weights (B, J, K) of T.
// count (B, J), int32, says how many values of a row are used, the first ones; with count.data null
// every value but -inf is. An unused slot has weight 0, a row with NaN or +inf is NaN.
template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  int num_threads);

}  // namespace vl4pose
