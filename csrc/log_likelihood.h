// Log-likelihood of one pose per image, given by its keypoints. Reference: vl4pose/reference.py,
// pose_log_likelihood.
#pragma once

#include "array.h"
#include "skeleton.h"

namespace vl4pose {

// Eq. 5 summed over the links: keypoints (B, J, 2), params (B, L, 2), visible (B, J) of uint8 or
// data null for all. Writes total (B) and per_link (B, L), each of T and contiguous, unless null.
// Link rules: link_total.h.
template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, int num_threads);

}  // namespace vl4pose
