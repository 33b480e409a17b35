// Log-likelihoods of all the poses that the peaks of an image make, over a skeleton's tree.
// Reference: vl4pose/reference.py.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "link_terms.h"
#include "skeleton.h"
#include "tree_recursion.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// H_j = -sum_k p_j(k) log p_j(k).
double entropy(const PosePeaks& peaks, std::int64_t j);

// Serves image after image and keeps its scratch memory. O(L K^2) operations each.
class TreeLikelihood {
 public:
  TreeLikelihood(const Tree& tree, std::int64_t K);

  // per_link[l] = sum_{a,b} p_parent(a) p_child(b) ell(a, b); returns their sum, Eq. 3.
  double expected(LinkTerms& terms, double* per_link);

  // log sum_Y p(Y) q(Y), by messages from the leaves to the root.
  double marginal(LinkTerms& terms);

  // posterior[j * K + k] = share of the poses with y_j = k in exp(marginal); unused slots are left
  // alone. Returns the marginal.
  double posterior(LinkTerms& terms, double* posterior);

  // The released code's recursion, "sum": no expectation when a joint has several peaks.
  double released_sum(LinkTerms& terms);

 private:
  double collect(LinkTerms& terms, bool for_posterior);
  void pass_down(LinkTerms& terms, std::int64_t j, double* belief);
  Vector<double>* conditional(const LinkTerms& terms, std::int64_t l, std::int64_t a);

  TreeRecursion recursion_;
  std::int64_t K_;
  Buffer<double> belief_;                // (J, stride): posteriors
  Buffer<double> row_;                   // (stride)
  Buffer<Vector<double>> column_;        // (K)
  Buffer<Vector<double>> conditionals_;  // p(b | a), as LinkTerms keeps its columns
  Buffer<double> largest_, inverse_;     // (J, stride): where those are not kept, the largest term
                                         // of each child's and the inverse of what they sum to
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
