// Softmax weights of a joint's peaks. Reference: vl4pose/reference.py, peak_weights.
#pragma once

#include <cstdint>

#include "array.h"

namespace vl4pose {

// Weights of every row of values (B, J, K), written to the contiguous weights (B, J, K) of T.
// count (B, J), int32, says how many values of a row are used, the first ones; with count.data null
// every value but -inf is. An unused slot has weight 0, a row with NaN or +inf is NaN.
template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  int num_threads);

}  // namespace vl4pose
