// The most probable pose that an image's peaks make, by Viterbi over the skeleton's tree.
// Reference: vl4pose/reference.py, refine.
#pragma once

#include <cstdint>
#include <vector>

#include "pose_peaks.h"
#include "skeleton.h"
#include "tree_recursion.h"

namespace vl4pose {

enum class Objective : std::uint8_t {
  map,  // sum_j log p_j(y_j) + sum_links ell
  eq6,  // the paper's Eq. 6 as printed: sum_links p_child(b) ell(a, b)
};

// Serves image after image and keeps its scratch memory. O(L K^2) operations an image.
class Refine {
 public:
  Refine(const Tree& tree, std::int64_t K);

  // Writes the chosen peak of each joint, pick (J); equal poses go to the lower index, the root
  // first and then each child. Returns log p + log q of the pose, for either objective.
  double operator()(const PosePeaks& peaks, const Link* links, Objective objective,
                    std::int32_t* pick);

 private:
  double log_probability(const PosePeaks& peaks, const Link* links, const std::int32_t* pick) const;

  TreeRecursion recursion_;
  std::vector<std::int32_t> best_;  // (J, K): joint j's best peak for each peak of its parent
};

}  // namespace vl4pose
