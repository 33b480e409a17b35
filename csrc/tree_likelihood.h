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
  double collect(LinkTerms& terms);
  void find_best(LinkTerms& terms, std::int64_t begin, std::int64_t end);
  void add_up(LinkTerms& terms, std::int64_t j);
  void pass_down(LinkTerms& terms, std::int64_t j);

  // For the vector of the parent's peaks from a: of each peak b of joint j, how probable the best
  // pose through it is relative to the best through any.
  const Vector<double>* ratios(LinkTerms& terms, std::int64_t j, std::int64_t a);
  void compute_ratios(LinkTerms& terms, std::int64_t j, std::int64_t a, Vector<double>* ratio);

  TreeRecursion recursion_;
  std::int64_t K_, stride_;
  bool can_count_;       // see can_count_poses()
  Buffer<double> row_;   // (stride)
  Buffer<double> best_;  // (J, stride): the best pose below each peak of the parent, log p + log q
  Buffer<double> inverse_sum_;     // (J, stride): 1 / all of them, relative to the best
  Buffer<double> sum_;             // (J, stride): all of them, relative to the best
  Buffer<double> total_;           // (J, stride): all poses below a peak, relative to the best
  Buffer<double> belief_;          // (J, stride): posteriors
  Buffer<double> share_;           // (stride)
  Buffer<Vector<double>> ratios_;  // as LinkTerms keeps its columns
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
