// The pass from the leaves to the root that "marginal", "sum" and Viterbi have in common.
#pragma once

#include <cstdint>
#include <vector>

#include "pose_peaks.h"
#include "skeleton.h"

namespace vl4pose {

// up_j(k) = own(j, k) + the messages of j's children, in the order of the links;
// message_j(a) = fold(j, a, ell(a, .), up_j, count_j) for each peak a of j's parent.
class TreeRecursion {
 public:
  TreeRecursion(const Tree& tree, std::int64_t K)
      : tree(tree), K(K), up_(tree.num_joints() * K), message_(tree.num_joints() * K), row_(K) {}

  // Returns up of the root: count[root] values.
  template <class Own, class Fold>
  const double* run(const PosePeaks& peaks, const Link* links, const Own& own, const Fold& fold) {
    for (const std::int32_t j : tree.leaves_first) {
      const std::int32_t n = peaks.count[j];
      double* up = up_.data() + j * K;
      for (std::int32_t k = 0; k < n; ++k) {
        up[k] = own(j, k);
        for (const std::int32_t child : tree.children[j]) up[k] += message(child)[k];
      }
      const std::int32_t parent = tree.parent[j];
      if (parent < 0) break;
      for (std::int32_t a = 0; a < peaks.count[parent]; ++a) {
        link_row(peaks, parent * K + a, j, links[tree.link[j]], row_.data());
        message_[j * K + a] = fold(j, a, row_.data(), up, n);
      }
    }
    return up(tree.root);
  }

  const double* up(std::int64_t j) const { return up_.data() + j * K; }
  const double* message(std::int64_t j) const { return message_.data() + j * K; }

  const Tree& tree;
  const std::int64_t K;

 private:
  std::vector<double> up_, message_;  // (J, K)
  std::vector<double> row_;           // (K)
};

}  // namespace vl4pose
