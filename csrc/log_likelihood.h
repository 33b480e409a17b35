// Log-likelihood of one pose per image, given by its keypoints. Reference: vl4pose/reference.py,
// pose_log_likelihood.
#pragma once

#include "array.h"

namespace vl4pose {

struct Tree;  // skeleton.h

// Eq. 5 summed over the links: keypoints (B, J, 2), params (B, L, 2), visible (B, J) of uint8 or
// data null for all. Writes total (B) and per_link (B, L), each of T and contiguous, unless null.
// Link rules: link_total.h.
template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, int num_threads);

// Where derivatives go, each contiguous, of T, null where it is not wanted.
template <class T>
struct PoseGradients {
  T* keypoints = nullptr;          // (B, J, 2)
  T* params = nullptr;             // (B, L, 2), or (L, 2)
  T* per_link = nullptr;           // (B, L), with tangents only
  bool params_are_shared = false;  // by all images: their gradient is the sum, (L, 2)
};

// A direction in which the arguments move; data null for what stays.
struct PoseTangents {
  View<3> keypoints;  // (B, J, 2)
  View<3> params;     // (B, L, 2)

  // Always inlined, for no function must be shared between files that are compiled for different
  // CPUs.
  [[gnu::always_inline]] bool are_given() const { return keypoints.data || params.data; }
};

// The gradient of sum grad * per_link by keypoints and params, grad (B, L). With tangents, the
// derivative of that gradient along them instead, and to per_link that of per_link: what a second
// backward pass needs. A joint that is not visible has gradient 0; the length of a bone of length 0
// has none.
template <class T>
void pose_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                  const View<3>& params, const View<2>& visible, const Tree& tree,
                                  const PoseTangents& tangents, const PoseGradients<T>& to,
                                  int num_threads);

}  // namespace vl4pose
