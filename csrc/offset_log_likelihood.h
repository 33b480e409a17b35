// Log-likelihood of directly regressed poses, Eq. 4. Reference: vl4pose/reference.py,
// offset_log_likelihood.
#pragma once

#include "array.h"
#include "skeleton.h"

namespace vl4pose {

// For each link with offset o and lower-triangular T, Sigma = T T^t, and e = child - parent - o:
// -1/2 (D log 2 pi + 2 sum log diag T + |T^-1 e|^2). keypoints (B, J, D) with D of 2 or 3, offsets
// (B, L, D), scale_tril (B, L, D, D) of which only the lower triangle is read; visible (B, J) of
// uint8 or data null for all. A link whose diagonal is not positive is NaN, an image with
// non-finite offsets or scale_tril is NaN throughout. Outputs: link_total.h.
template <class T>
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, int num_threads);

}  // namespace vl4pose
