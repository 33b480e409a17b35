// One pose per image, scored link by link: what the two log-likelihoods of given keypoints share.
#pragma once

#include <cstdint>

#include "array.h"
#include "kernels.h"
#include "pose_math.h"
#include "skeleton.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// visible (B, J) of uint8, data null for all.
inline bool is_visible(const View<2>& visible, std::int64_t b, std::int64_t j) {
  return visible.data == nullptr || read<std::uint8_t>(visible.at(b, j)) != 0;
}

// Whether both ends of link l count.
inline bool is_visible_link(const Tree& tree, const View<2>& visible, std::int64_t b,
                            std::int64_t l) {
  const std::int64_t child = tree.child[l];
  return is_visible(visible, b, child) && is_visible(visible, b, tree.parent[child]);
}

// For each image b: per_link[b, l] = term(b, parent, child, l) where both joints of the link are
// visible, and 0 where not (the term is not asked for); total[b] = their sum in the order of the
// links. An image for which usable(b) is false is NaN throughout. Either output may be null.
template <class T, class Usable, class Term>
void total_over_links(const Tree& tree, const View<2>& visible, const Usable& usable,
                      const Term& term, T* total, T* per_link, Range images) {
  const std::int64_t L = tree.num_links();
  for (std::int64_t b = images.begin; b < images.end; ++b) {
    const bool valid = usable(b);
    double sum = valid ? 0.0 : kNaN;
    for (std::int64_t l = 0; l < L; ++l) {
      const std::int64_t child = tree.child[l], parent = tree.parent[child];
      double value = valid ? 0.0 : kNaN;
      if (valid && is_visible_link(tree, visible, b, l)) value = term(b, parent, child, l);
      sum += value;
      if (per_link) per_link[b * L + l] = static_cast<T>(value);
    }
    if (total) total[b] = static_cast<T>(sum);
  }
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
