// The gradient of the fused pass's score and entropy by the kept peaks' values and by params;
// places of peaks are constants. The forward pass is score.h's.
#pragma once

#include "array.h"
#include "options.h"

namespace vl4pose {

struct Tree;  // skeleton.h

// The peaks are those that the forward pass gave, of the results' dtype T.
struct ScoreBackwardInputs {
  View<4> xy;                  // (B, J, K, 2)
  View<3> values;              // (B, J, K)
  View<2> count;               // (B, J), int32
  View<3> params;              // (B, L, 2); data null when the score has no gradient
  View<1> grad_score;          // (B); data null for none
  View<1> grad_entropy;        // (B): of the entropies' sum; data null for none
  const Tree* tree = nullptr;  // null when the score has no gradient
  // A direction in which values and params move; data null for what stays.
  View<3> values_tangent;  // (B, J, K)
  View<3> params_tangent;  // (B, L, 2)

  [[gnu::always_inline]] bool has_tangents() const {
    return values_tangent.data || params_tangent.data;
  }
};

// Where derivatives go, each contiguous, of T, null where it is not wanted.
template <class T>
struct ScoreGradients {
  T* values = nullptr;             // (B, J, K), 0 in unused slots
  T* params = nullptr;             // (B, L, 2), or (L, 2)
  T* score = nullptr;              // (B), with tangents only
  T* entropy = nullptr;            // (B), with tangents only
  bool params_are_shared = false;  // by all images: their gradient is the sum, (L, 2)
};

// The gradient of sum grad_score * score + grad_entropy * entropy_sum: exact for the methods
// expected, marginal and sum, and through the best pose for max. With tangents, the derivative of
// that gradient along them instead, and those of score and entropy_sum: what a second backward pass
// needs. What is NaN has gradient NaN, unless its grad is 0. O(L K^2) operations an image.
template <class T>
void score_backward(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                    const ScoreGradients<T>& to, int num_threads);

}  // namespace vl4pose
