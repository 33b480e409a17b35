// One pose per image, link by link: the loops that the two log-likelihoods of given keypoints
// share. pose_links.h says what "Links" are.
#pragma once

#include <algorithm>
#include <cstdint>

#include "array.h"
#include "buffer.h"
#include "dual.h"
#include "image_output.h"
#include "kernels.h"
#include "pose_links.h"
#include "pose_math.h"
#include "skeleton.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class Links>
bool is_usable_image(const Tree& tree, const Links& links, std::int64_t b) {
  for (std::int64_t l = 0; l < tree.num_links(); ++l) {
    if (!links.is_usable(b, l)) return false;
  }
  return true;
}

// For each image b: per_link[b, l] = the link's log-likelihood where both joints of the link are
// visible, and 0 where not; total[b] = their sum in the order of the links. An image that is not
// usable is NaN throughout. Either output may be null.
template <class Links>
void total_over_links(const Tree& tree, const View<2>& visible, const Links& links,
                      typename Links::Result* total, typename Links::Result* per_link,
                      Range images) {
  using T = typename Links::Result;
  const std::int64_t L = tree.num_links();
  for (std::int64_t b = images.begin; b < images.end; ++b) {
    const bool is_usable = is_usable_image(tree, links, b);
    double sum = is_usable ? 0.0 : kNaN;
    for (std::int64_t l = 0; l < L; ++l) {
      const std::int64_t child = tree.child[l], parent = tree.parent[child];
      double value = is_usable ? 0.0 : kNaN;
      if (is_usable && is_visible_link(visible, b, parent, child)) {
        value = links.log_likelihood(b, l, parent, child);
      }
      sum += value;
      if (per_link) per_link[b * L + l] = static_cast<T>(value);
    }
    if (total) total[b] = static_cast<T>(sum);
  }
}

// Writes the gradients of sum grad * per_link.
template <class Links>
void pull_back_links(const Tree& tree, const View<2>& visible, const Links& links, Range images) {
  using T = typename Links::Result;
  using S = typename Links::Number;
  const std::int64_t J = tree.num_joints(), L = tree.num_links(), D = links.num_dimensions();
  Buffer<S> by_keypoint(J * D);
  for (std::int64_t b = images.begin; b < images.end; ++b) {
    if (!is_usable_image(tree, links, b)) {
      const double gradient = gradient_of_nan(links.grad[b]);
      fill_image(links.to.keypoints, b, J * D, gradient);
      for (std::int64_t l = 0; l < L; ++l) links.poison(b, l, gradient);
      continue;
    }
    std::fill_n(by_keypoint.data(), J * D, S{});
    for (std::int64_t l = 0; l < L; ++l) {
      const std::int64_t child = tree.child[l], parent = tree.parent[child];
      const Coordinates<S> by_parent =
          links.write(b, l, parent, child, is_visible_link(visible, b, parent, child));
      for (std::int64_t i = 0; i < D; ++i) {
        by_keypoint[child * D + i] -= by_parent[i];
        by_keypoint[parent * D + i] += by_parent[i];
      }
    }
    for (std::int64_t i = 0; i < J * D && links.to.keypoints; ++i) {
      links.to.keypoints[b * J * D + i] = static_cast<T>(asked_of(by_keypoint[i]));
    }
  }
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
