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

// The gradient of sum grad * weights by values, grad (B, J, K), written to grad_values (B, J, K).
// With a tangent of values, data not null, the derivative of that gradient along it instead, and to
// weights_tangent (B, J, K) that of weights: what a second backward pass needs. Both contiguous, of
// T, null where not wanted. Unused slots have gradient 0, a row with NaN or +inf NaN, unless its
// grad is 0.
template <class T>
void peak_weights_backward(const View<3>& grad, const View<3>& values, const View<2>& count,
                           double temperature, const View<3>& tangent, T* grad_values,
                           T* weights_tangent, int num_threads);

}  // namespace vl4pose
