// The rooted tree of a skeleton in a form that is handed to a GPU with a launch.
#pragma once

#include <array>
#include <cstdint>

#include "host_device.h"
#if !defined(__CUDACC_RTC__)
#include <stdexcept>
#include <string>

#include "skeleton.h"
#endif

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

struct DeviceTree {
  static constexpr int kMaxJoints = 255;
  using Indices = std::array<std::uint8_t, kMaxJoints + 1>;

  int num_joints = 0, num_links = 0, num_levels = 0;
  // Joints by level, the root first; those of a level have no links among them.
  Indices order{}, level_begin{};
  Indices parent{}, link{};              // of each joint but the root
  Indices child{};                       // of each link
  Indices children{}, children_begin{};  // of each joint, in the order of the links

  DeviceTree() = default;
#if !defined(__CUDACC_RTC__)
  explicit DeviceTree(const Tree& tree)
      : num_joints(tree.num_joints()), num_links(tree.num_links()) {
    if (num_joints > kMaxJoints) {
      throw std::invalid_argument("skeleton must have at most 255 joints on a GPU, got " +
                                  std::to_string(num_joints));
    }
    const auto index = [](std::int64_t i) { return static_cast<std::uint8_t>(i); };
    std::array<int, kMaxJoints> level{};
    int num_children = 0;
    for (int i = 0; i < num_joints; ++i) {
      const int joint = tree.leaves_first[num_joints - 1 - i];
      order[i] = index(joint);
      if (tree.parent[joint] >= 0) {
        parent[joint] = index(tree.parent[joint]);
        link[joint] = index(tree.link[joint]);
        level[joint] = level[tree.parent[joint]] + 1;
      }
      if (level[joint] == num_levels) level_begin[num_levels++] = index(i);
    }
    level_begin[num_levels] = index(num_joints);
    for (int joint = 0; joint < num_joints; ++joint) {
      children_begin[joint] = index(num_children);
      for (const std::int32_t of_joint : tree.children[joint]) {
        children[num_children++] = index(of_joint);
      }
    }
    children_begin[num_joints] = index(num_children);
    for (int l = 0; l < num_links; ++l) child[l] = index(tree.child[l]);
  }
#endif

  VL4POSE_HOST_DEVICE int root() const { return order[0]; }

  // Calls visit(l, is_end) for each link of a joint, in their order; is_end says that the link ends
  // at the joint, where it does not begin.
  template <class Visit>
  VL4POSE_HOST_DEVICE void for_each_link_of(int joint, const Visit& visit) const {
    const int end = children_begin[joint + 1];
    bool has_own = joint != root();
    for (int i = children_begin[joint]; has_own || i < end;) {
      const bool is_own = has_own && (i == end || link[joint] < link[children[i]]);
      visit(int{is_own ? link[joint] : link[children[i]]}, is_own);
      if (is_own) {
        has_own = false;
      } else {
        ++i;
      }
    }
  }
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
