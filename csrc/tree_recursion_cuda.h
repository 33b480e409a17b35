// The loops over a skeleton's tree by a block, as tree_recursion.h has them for CPUs.
#pragma once

#include <cstdint>

#include "block_cuda.h"
#include "host_device.h"
#include "tree_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Joint j has K slots for peaks, of which the first count[j] are used.
template <class Block>
struct TreeLevels {
  const Block block;
  const DeviceTree& tree;
  const std::int32_t* count;
  int K;

  // All of these are collective.

  // Calls work(j) for each joint of a level.
  template <class Work>
  VL4POSE_DEVICE void for_each_joint(int level, const Work& work) const {
    const int begin = tree.level_begin[level];
    for_each(block, tree.level_begin[level + 1] - begin,
             [&](int i) { work(static_cast<int>(tree.order[begin + i])); });
  }

  // Calls work(j, k) for each joint of a level and each peak of its own, or of its parent.
  template <class Work>
  VL4POSE_DEVICE void for_each_peak(int level, bool of_parent, const Work& work) const {
    const int begin = tree.level_begin[level], end = tree.level_begin[level + 1];
    for_each(block, (end - begin) * K, [&](int i) {
      const int joint = tree.order[begin + i / K], k = i % K;
      if (k < count[of_parent ? tree.parent[joint] : joint]) work(joint, k);
    });
  }

  // Calls work(j, a, b) for each joint of a level, each peak a of its parent and b of its own.
  template <class Work>
  VL4POSE_DEVICE void for_each_pair(int level, const Work& work) const {
    const int begin = tree.level_begin[level], end = tree.level_begin[level + 1];
    for_each(block, (end - begin) * K * K, [&](int i) {
      const int joint = tree.order[begin + i / K / K], a = i / K % K, b = i % K;
      if (a < count[tree.parent[joint]] && b < count[joint]) work(joint, a, b);
    });
  }

  // The pass from the leaves to the root: up_j(k) = own(j, k) + the messages of j's children, in
  // the order of the links; fold(level) writes message_j(a) for each joint j of a level and each
  // peak a of its parent, from up_j. Both (J, K), own(slot) too. Returns up of the root.
  template <class S, class Own, class Fold>
  VL4POSE_DEVICE const S* run_up(const Own& own, const Fold& fold, S* up, S* message) const {
    for (int level = tree.num_levels - 1; level >= 0; --level) {
      for_each_peak(level, false, [&](int j, int k) {
        S sum = own(j * K + k);
        for (int i = tree.children_begin[j]; i < tree.children_begin[j + 1]; ++i) {
          sum += message[tree.children[i] * K + k];
        }
        up[j * K + k] = sum;
      });
      if (level > 0) fold(level);
    }
    return up + tree.root() * K;
  }

  // The same where each message is folded by one thread: fold(j, a, up_j) returns it.
  template <class S, class Own, class Fold>
  VL4POSE_DEVICE const S* run_up_by_peak(const Own& own, const Fold& fold, S* up,
                                         S* message) const {
    const auto fold_level = [&](int level) {
      for_each_peak(level, true,
                    [&](int j, int a) { message[j * K + a] = fold(j, a, up + j * K); });
    };
    return run_up(own, fold_level, up, message);
  }
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
