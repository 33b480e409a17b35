// Launches in which blocks take items in turn: images, rows, or numbers. What a block does with
// them is a type, "Pass", with these members:
// - Arguments: what its threads are given, and in them the Work;
// - a constructor that takes the block, the arguments and the block's memory;
// - operator()(first, n), a collective: does n items from `first` on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "block_cuda.h"
#include "host_device.h"
#include "places.h"
#include "range.h"
#if !defined(__CUDACC_RTC__)
#include <stdexcept>
#include <string>
#endif

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

inline constexpr int kThreadsOfPass = 128;  // a block

struct Work {
  Range items;
  int at_once;                     // so many items a block takes
  std::int64_t bytes = 0;          // of memory that it has for them, aligned to 16 bytes
  std::byte* workspace = nullptr;  // this memory of all blocks; null where each has it shared
};

// How many items a block takes at once where each has so many parts: as many as give each thread
// per_thread of these.
constexpr int items_at_once(std::int64_t parts, int per_thread = 1) {
  return static_cast<int>(std::clamp<std::int64_t>(
      kThreadsOfPass * per_thread / std::max<std::int64_t>(parts, 1), 1, kThreadsOfPass));
}

// What a block runs; its shared memory begins with a copy of the arguments.
template <class Pass, class Block>
VL4POSE_DEVICE void run_pass(const Block& block, const typename Pass::Arguments& arguments) {
  const auto& in = shared_copy(block, arguments);
  const Work& work = in.work;
  constexpr int kBehind = (sizeof(arguments) + 15) / 16 * 16;
  const Pass pass(
      block, in,
      work.workspace ? work.workspace + block.index() * work.bytes : block.shared() + kBehind);
  const std::int64_t step = std::int64_t{block.num_blocks()} * work.at_once;
  std::int64_t first = work.items.begin + std::int64_t{block.index()} * work.at_once;
  for (; first < work.items.end; first += step) {
    pass(first, static_cast<int>(std::min<std::int64_t>(work.at_once, work.items.end - first)));
    block.sync();
  }
}

#if !defined(__CUDACC_RTC__)  // the host's part

// Throws where a block could not count its slots.
inline void check_slots(std::int64_t num_rows, std::int64_t K) {
  constexpr std::int64_t kMaxSlots = 1 << 24;
  if (K > kMaxSlots || num_rows > kMaxSlots / std::max<std::int64_t>(K, 1)) {
    throw std::invalid_argument("values of an image must be at most 2^24 on a GPU, got " +
                                std::to_string(num_rows) + " * " + std::to_string(K));
  }
}

// What a launch has to know about a GPU.
struct DeviceLimits {
  int num_multiprocessors;
  std::int64_t shared_bytes;  // that one block can have
};

struct PassPlan {
  std::int64_t num_blocks;
  std::int64_t shared_bytes;     // of a block
  std::int64_t workspace_bytes;  // of all blocks; 0 where their memory is shared
};

// Blocks that have memory in the workspace are as many as may run at once.
template <class Arguments>
PassPlan plan_pass(const Arguments& arguments, const DeviceLimits& limits) {
  const auto& [items, at_once, bytes, workspace] = arguments.work;
  Places shared;
  shared.take<Arguments>(1);
  const std::int64_t num_blocks = (items.end - items.begin + at_once - 1) / at_once;
  if (shared.end() + bytes <= limits.shared_bytes) return {num_blocks, shared.end() + bytes, 0};
  const auto at_most = std::min<std::int64_t>(num_blocks, limits.num_multiprocessors * 4);
  return {at_most, shared.end(), at_most * bytes};
}

#endif

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
