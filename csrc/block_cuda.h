// What the threads of a block do together. These are collective.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Calls work(i) for each of n items, one by one thread. What they write is there for all threads
// afterwards.
template <class Block, class Work>
VL4POSE_DEVICE void for_each(const Block& block, int n, const Work& work) {
  for (int i = block.thread(); i < n; i += block.num_threads()) work(i);
  block.sync();
}

// Copies what all threads are given to the begin of the block's shared memory, where all read it
// fast.
template <class Block, class Arguments>
VL4POSE_DEVICE const Arguments& shared_copy(const Block& block, const Arguments& arguments) {
  const auto* const from = reinterpret_cast<const std::uint64_t*>(&arguments);
  auto* const to = reinterpret_cast<std::uint64_t*>(block.shared());
  static_assert(sizeof(Arguments) % sizeof(std::uint64_t) == 0);
  for_each(block, int{sizeof(Arguments) / sizeof(std::uint64_t)}, [&](int i) { to[i] = from[i]; });
  return *reinterpret_cast<const Arguments*>(to);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
