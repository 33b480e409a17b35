// What the log-likelihoods of poses that are given by their keypoints share, on CPUs and GPUs.
//
// Each is a sum over links. What one link gives is a type, "Links", with these members:
// - is_usable(b, l): an image b for which it is false of any link l is NaN throughout;
// - log_likelihood(b, l, parent, child): of a link whose ends are visible, at these joints.
// That of the gradients has in their place:
// - the gradients' destinations, `to`, and what they are multiplied with, `grad` (B, L);
// - write(b, l, parent, child, is_visible): writes all that is wanted of a link, and returns its
//   gradient by the parent's place, num_dimensions() coordinates; that by the child's is the
//   opposite;
// - poison(b, l, gradient): writes that of an image that is not usable.
#pragma once

#include <array>
#include <cstdint>

#include "array.h"
#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

inline constexpr std::int64_t kMaxDimensions = 3;

template <class S>
using Coordinates = std::array<S, kMaxDimensions>;

// visible (B, J) of uint8, data null for all.
VL4POSE_HOST_DEVICE inline bool is_visible(const View<2>& visible, std::int64_t b, std::int64_t j) {
  return visible.data == nullptr || read<std::uint8_t>(visible.at(b, j)) != 0;
}

// Whether both ends of a link count.
VL4POSE_HOST_DEVICE inline bool is_visible_link(const View<2>& visible, std::int64_t b,
                                                std::int64_t parent, std::int64_t child) {
  return is_visible(visible, b, child) && is_visible(visible, b, parent);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
