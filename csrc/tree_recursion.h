// The pass from the leaves to the root that "marginal", "sum" and Viterbi have in common.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "link_terms.h"
#include "skeleton.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// up_j(k) = own(j, k) + the messages of j's children, in the order of the links;
// message_j(a) = fold(j, a, ell(a, .), up_j, count_j) for each peak a of j's parent, a vector of
// them at a time: ell(a, .) is their column of terms.
class TreeRecursion {
 public:
  TreeRecursion(const Tree& tree, std::int64_t K)
      : tree(tree),
        stride_(whole_vectors<double>(K)),
        up_(tree.num_joints() * stride_),
        message_(tree.num_joints() * stride_) {}

  // `own` are the slots' own terms, or null for 0. Returns up of the root: count[root] values.
  template <class Fold>
  const double* run(LinkTerms& terms, const double* own, const Fold& fold) {
    const PosePeaks& peaks = terms.peaks();
    for (const std::int32_t j : tree.leaves_first) {
      const std::int64_t n = peaks.count[j], first = j * stride_;
      for (std::int64_t k = 0; k < n; k += kLanes<double>) {
        Vector<double> up = own ? load(own + first + k) : Vector<double>{};
        for (const std::int32_t child : tree.children[j]) up += load(message(child) + k);
        store(up_.data() + first + k, up);
      }
      const std::int32_t parent = tree.parent[j];
      if (parent < 0) break;
      for (std::int64_t a = 0; a < peaks.count[parent]; a += kLanes<double>) {
        const Vector<double>* column = terms.column(tree.link[j], a);
        store(message_.data() + first + a, fold(j, a, column, up(j), n));
      }
    }
    return up(tree.root);
  }

  const double* up(std::int64_t j) const { return up_.data() + j * stride_; }
  const double* message(std::int64_t j) const { return message_.data() + j * stride_; }

  const Tree& tree;

 private:
  std::int64_t stride_;
  Buffer<double> up_, message_;  // (J, stride)
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
