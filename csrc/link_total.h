// One pose per image, scored link by link: what the two log-likelihoods of given keypoints share.
#pragma once

#include <cstdint>

#include "array.h"
#include "kernels.h"
#include "pose_math.h"
#include "skeleton.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// For each image b: per_link[b, l] = term(b, parent, child, l) where both joints of the link are
// visible, and 0 where not (the term is not asked for); total[b] = their sum in the order of the
// links. An image for which usable(b) is false is NaN throughout. Either output may be null.
template <class T, class Usable, class Term>
void total_over_links(const Tree& tree, const View<2>& visible, const Usable& usable,
                      const Term& term, T* total, T* per_link, Range images) {
  const std::int64_t L = tree.num_links();
  const auto is_visible = [&](std::int64_t b, std::int64_t j) {
    return visible.data == nullptr || read<std::uint8_t>(visible.at(b, j)) != 0;
  };
  for (std::int64_t b = images.begin; b < images.end; ++b) {
    const bool valid = usable(b);
    double sum = valid ? 0.0 : kNaN;
    for (std::int64_t l = 0; l < L; ++l) {
      const std::int64_t child = tree.child[l], parent = tree.parent[child];
      double value = valid ? 0.0 : kNaN;
      if (valid && is_visible(b, parent) && is_visible(b, child)) {
        value = term(b, parent, child, l);
      }
      sum += value;
      if (per_link) per_link[b * L + l] = static_cast<T>(value);
    }
    if (total) total[b] = static_cast<T>(sum);
  }
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
