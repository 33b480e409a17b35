// Log-likelihoods of poses over a skeleton's tree: of all the poses that the peaks of an image
// make, and of one pose given by its keypoints. Reference: vl4pose/reference.py.
#pragma once

#include <cstdint>
#include <vector>

#include "array.h"
#include "pose_peaks.h"
#include "skeleton.h"
#include "tree_recursion.h"

namespace vl4pose {

// H_j = -sum_k p_j(k) log p_j(k).
double entropy(const PosePeaks& peaks, std::int64_t j);

// Serves image after image and keeps its scratch memory. O(L K^2) operations each; links (L).
class TreeLikelihood {
 public:
  TreeLikelihood(const Tree& tree, std::int64_t K);

  // per_link[l] = sum_{a,b} p_parent(a) p_child(b) ell(a, b); returns their sum, Eq. 3.
  double expected(const PosePeaks& peaks, const Link* links, double* per_link);

  // log sum_Y p(Y) q(Y), by messages from the leaves to the root.
  double marginal(const PosePeaks& peaks, const Link* links);

  // posterior[j * K + k] = share of the poses with y_j = k in exp(marginal); unused slots are left
  // alone. Returns the marginal.
  double posterior(const PosePeaks& peaks, const Link* links, double* posterior);

  // The released code's recursion, "sum": no expectation when a joint has several peaks.
  double released_sum(const PosePeaks& peaks, const Link* links);

 private:
  TreeRecursion recursion_;
  std::vector<double> down_;     // (J, K): what the rest of the tree says of a joint's peaks
  std::vector<double> row_;      // (K)
  std::vector<double> outside_;  // (K)
};

// Log-likelihood of one pose per image, Eq. 5 summed over the links: keypoints (B, J, 2), params
// (B, L, 2), visible (B, J) of uint8 or data null for all. Writes total (B) and per_link (B, L),
// each of T and contiguous, unless null. Link rules: link_total.h.
template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, int num_threads);

}  // namespace vl4pose
