// The most probable pose that an image's peaks make, by Viterbi over the skeleton's tree.
// Reference: vl4pose/reference.py, refine.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "link_terms.h"
#include "options.h"
#include "skeleton.h"
#include "tree_recursion.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Serves image after image and keeps its scratch memory. O(L K^2) operations an image.
class Refine {
 public:
  Refine(const Tree& tree, std::int64_t K);

  // Writes the chosen peak of each joint, pick (J); equal poses go to the lower index, the root
  // first and then each child. Returns log p + log q of the pose, for either objective.
  double operator()(LinkTerms& terms, Objective objective, std::int32_t* pick);

 private:
  double log_probability(const LinkTerms& terms, const std::int32_t* pick) const;

  TreeRecursion recursion_;
  Buffer<std::int64_t> best_;  // (J, stride): joint j's best peak for each peak of its parent
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
