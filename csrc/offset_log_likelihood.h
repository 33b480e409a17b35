// Log-likelihood of directly regressed poses, Eq. 4. Reference: vl4pose/reference.py,
// offset_log_likelihood.
#pragma once

#include "array.h"

namespace vl4pose {

struct Tree;  // skeleton.h

// For each link with offset o and lower-triangular T, Sigma = T T^t, and e = child - parent - o:
// -1/2 (D log 2 pi + 2 sum log diag T + |T^-1 e|^2). keypoints (B, J, D) with D of 2 or 3, offsets
// (B, L, D), scale_tril (B, L, D, D) of which only the lower triangle is read; visible (B, J) of
// uint8 or data null for all. A link whose diagonal is not positive is NaN, an image with
// non-finite offsets or scale_tril is NaN throughout. Outputs: link_total.h.
template <class T>
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, int num_threads);

// Where derivatives go, each contiguous, of T, null where it is not wanted.
template <class T>
struct OffsetGradients {
  T* keypoints = nullptr;   // (B, J, D)
  T* offsets = nullptr;     // (B, L, D), or (L, D)
  T* scale_tril = nullptr;  // (B, L, D, D), or (L, D, D); 0 above the diagonal
  T* per_link = nullptr;    // (B, L), with tangents only
  // By all images: their gradients are the sums, without the axis B.
  bool offsets_are_shared = false, scale_tril_is_shared = false;
};

// A direction in which the arguments move; data null for what stays.
struct OffsetTangents {
  View<3> keypoints;   // (B, J, D)
  View<3> offsets;     // (B, L, D)
  View<4> scale_tril;  // (B, L, D, D)

  [[gnu::always_inline]] bool are_given() const {
    return keypoints.data || offsets.data || scale_tril.data;
  }
};

// The gradient of sum grad * per_link by keypoints, offsets and scale_tril, grad (B, L); or, with
// tangents, the derivatives along them: see log_likelihood.h.
template <class T>
void offset_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                    const View<3>& offsets, const View<4>& scale_tril,
                                    const View<2>& visible, const Tree& tree,
                                    const OffsetTangents& tangents, const OffsetGradients<T>& to,
                                    int num_threads);

}  // namespace vl4pose
