// Tests the threads that emulated_group.h runs kernels on. Prints a line for each check.
#ifndef VL4POSE_CPU_CAPABILITY
#define VL4POSE_CPU_CAPABILITY cuda_emulated
#endif
#include "emulated_group.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace vl4pose {
namespace {

constexpr std::uint64_t kSeeds = 20;

int num_failed = 0;

void check(bool holds, const std::string& what) {
  std::printf("%s: %s\n", holds ? "ok" : "FAILED", what.c_str());
  num_failed += !holds;
}

// Kernels ----------------------------------------------------------------------------------------

// Of all lanes, in each of them.
template <class Warp>
std::int64_t warp_sum(const Warp& warp, std::int64_t value) {
  std::int64_t sum = 0;
  for (int lane = 0; lane < Warp::kSize; ++lane) sum += warp.of_lane(value, lane);
  return sum;
}

struct SumArguments {
  const std::int32_t* values;
  std::int64_t n;     // of each block
  std::int64_t* sum;  // by block
};

template <class Block>
void sum_kernel(Block& block, const SumArguments& arguments) {
  auto* const by_warp = reinterpret_cast<std::int64_t*>(block.shared());
  const std::int32_t* const values = arguments.values + block.index() * arguments.n;
  std::int64_t sum = 0;
  for (std::int64_t i = block.thread(); i < arguments.n; i += block.num_threads()) sum += values[i];
  const auto warp = block.warp();
  sum = warp_sum(warp, sum);
  if (warp.lane() == 0) by_warp[block.warp_index()] = sum;
  block.sync();
  if (block.warp_index() == 0) {
    std::int64_t total = warp.lane() < block.num_warps() ? by_warp[warp.lane()] : 0;
    total = warp_sum(warp, total);
    if (warp.lane() == 0) arguments.sum[block.index()] = total;
  }
}

// Whether the sums of 3 blocks are right.
bool sums_are_right(int num_threads, std::uint64_t seed) {
  constexpr std::int64_t kBlocks = 3, kValues = 2000;
  std::vector<std::int32_t> values(kBlocks * kValues);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int32_t>(i * i % 1009) - 500;
  }
  std::array<std::int64_t, kBlocks> sums{};
  const SumArguments arguments{values.data(), kValues, sums.data()};
  const std::size_t shared_bytes = num_threads / 32 * sizeof(std::int64_t);
  run_blocks(kBlocks, num_threads, shared_bytes, seed,
             [&](EmulatedBlock& block) { sum_kernel(block, arguments); });
  for (std::int64_t i = 0; i < kBlocks; ++i) {
    const auto first = values.begin() + i * kValues;
    if (sums[i] != std::accumulate(first, first + kValues, std::int64_t{0})) return false;
  }
  return true;
}

// Each thread's number, in the order in which they come by, once before and once after a sync.
template <class Block>
void order_kernel(Block& block, std::vector<int>* order) {
  order->push_back(block.thread());
  block.sync();
  order->push_back(block.thread());
}

std::vector<int> order_of_threads(int num_threads, std::uint64_t seed) {
  std::vector<int> order;
  run_blocks(1, num_threads, 0, seed, [&](EmulatedBlock& block) { order_kernel(block, &order); });
  return order;
}

// Reads what the next thread has written.
template <bool has_sync, class Block>
void neighbour_kernel(Block& block, int* read) {
  auto* const written = reinterpret_cast<int*>(block.shared());
  written[block.thread()] = block.thread();
  if constexpr (has_sync) block.sync();
  read[block.thread()] = written[(block.thread() + 1) % block.num_threads()];
}

// Shows the others a number, three times, in the same place.
template <bool has_sync, class Block>
void repeated_kernel(Block& block, int* read) {
  auto* const written = reinterpret_cast<int*>(block.shared());
  int& sum = read[block.thread()];
  sum = 0;
  for (int i = 0; i < 3; ++i) {
    if (block.thread() == 0) *written = 1 + i;
    block.sync();
    sum = 10 * sum + *written;
    if constexpr (has_sync) block.sync();
  }
}

// For how many seeds each thread reads what `expected` says.
int num_right(void (*kernel)(EmulatedBlock&, int*), int (*expected)(int thread)) {
  constexpr int kThreads = 128;
  int right = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::array<int, kThreads> read{};
    run_blocks(1, kThreads, kThreads * sizeof(int), seed,
               [&](EmulatedBlock& block) { kernel(block, read.data()); });
    bool is_right = true;
    for (int i = 0; i < kThreads; ++i) is_right = is_right && read[i] == expected(i);
    right += is_right;
  }
  return right;
}

// What a thread finds wrong.
template <class Block>
const char* members_are_wrong(Block& block) {
  const auto warp = block.warp();
  const int lane = warp.lane();
  if (block.thread() != block.warp_index() * 32 + lane) return "thread, warp_index or lane";
  if (block.num_threads() != block.num_warps() * 32) return "num_threads or num_warps";
  if (block.index() < 0 || block.index() >= block.num_blocks()) return "index or num_blocks";
  warp.prefetch(&block);
  warp.sync();
  if (warp.where(lane % 3 == 0) != 0x49249249) return "where";
  if (warp.where(true) != 0xffffffff || warp.where(false) != 0) return "where";
  if (warp.of_lane(lane * 2, 31) != 62) return "of_lane of an int";
  if (warp.of_lane(lane * 0.5f, 3) != 1.5f) return "of_lane of a float";
  if (warp.of_lane(lane * 0.1, 7) != 7 * 0.1) return "of_lane of a double";
  if (warp.of_lane(std::int64_t{1} << lane, 31) != std::int64_t{1} << 31)
    return "of_lane of 64 bits";
  if (warp.of_lane(lane > 3, 4) != true) return "of_lane of a bool";
  if (warp.largest(-1.5f - static_cast<float>(lane ^ 21)) != -1.5f) return "largest float";
  if (warp.largest(-0.1 * (lane ^ 9) - 0.1) != -0.1) return "largest double";
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (warp.largest(lane == 8 ? 3.0f : -kInfinity) != 3.0f) return "largest with infinities";
  return nullptr;
}

// Failures ---------------------------------------------------------------------------------------

using Body = std::function<void(EmulatedBlock&)>;

// Where a body has collectives: it says so itself, just before.
std::array<int, 2> lines;

// The message with "{0}" for where lines[0] is, and so on.
std::string without_places(std::string message) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string place = "emulated_group_test.cpp:";
    place.append(std::to_string(lines[i])).append(":");
    for (std::size_t at; (at = message.find(place)) != std::string::npos;) {
      const std::size_t end = message.find_first_not_of("0123456789", at + place.size());
      message.replace(at, end - at, i == 0 ? "{0}" : "{1}");
    }
  }
  return message;
}

void check_failure(const std::string& what, int num_threads, const Body& body,
                   const std::string& expected, std::size_t shared_bytes = 64) {
  std::string message = "no failure";
  try {
    run_blocks(2, num_threads, shared_bytes, 1, body);
  } catch (const std::logic_error& error) {
    message = error.what();
  }
  check(without_places(message) == expected, what + ": " + message);
  if (!sums_are_right(256, 2)) check(false, "a kernel after " + what);
}

void check_failures() {
  check_failure(
      "one lane at another collective", 32,
      [](EmulatedBlock& block) {
        const auto warp = block.warp();
        if (warp.lane() == 0) {
          lines[0] = __LINE__ + 1;
          warp.sync();
        } else {
          lines[1] = __LINE__ + 1;
          warp.where(true);
        }
      },
      "block 0 cannot go on: warp 0: lane 0 at {0} (Warp::sync), lanes 1-31 at {1} (where)");
  check_failure(
      "lanes at one collective in two places", 64,
      [](EmulatedBlock& block) {
        const auto warp = block.warp();
        if (block.thread() % 32 < 5 || block.thread() >= 50) {
          lines[0] = __LINE__ + 1;
          warp.where(true);
        } else {
          lines[1] = __LINE__ + 1;
          warp.where(true);
        }
      },
      "block 0 cannot go on: warp 0: lanes 0-4 at {0} (where), lanes 5-31 at {1} (where); "
      "warp 1: lanes 0-4, 18-31 at {0} (where), lanes 5-17 at {1} (where)");
#ifdef __cpp_lib_source_location
  check_failure(
      "lanes at one collective in two places of a line", 32,
      [](EmulatedBlock& block) {
        lines[0] = __LINE__ + 1;
        block.thread() < 16 ? block.warp().sync() : block.warp().sync();
      },
      "block 0 cannot go on: warp 0: lanes 0-15 at {0} (Warp::sync), lanes 16-31 at {0} "
      "(Warp::sync)");
#endif
  check_failure(
      "lanes in two rounds of a loop", 32,
      [](EmulatedBlock& block) {
        const auto warp = block.warp();
        for (int i = 0; i < 2 + warp.lane() / 16; ++i) {
          lines[0] = __LINE__ + 1;
          warp.sync();
        }
      },
      "block 0 cannot go on: warp 0: lanes 0-15 at the end, lanes 16-31 at {0} (Warp::sync)");
  check_failure(
      "lanes at the end", 128,
      [](EmulatedBlock& block) {
        if (block.warp_index() == 3 && block.warp().lane() >= 5) return;
        lines[0] = __LINE__ + 1;
        block.warp().where(true);
      },
      "block 0 cannot go on: warps 0-2: lanes 0-31 at the end; "
      "warp 3: lanes 0-4 at {0} (where), lanes 5-31 at the end");
  check_failure(
      "a thread at the end before Block::sync, in the second block", 96,
      [](EmulatedBlock& block) {
        if (block.index() == 1 && block.thread() == 40) return;
        lines[0] = __LINE__ + 1;
        block.sync();
      },
      "block 1 cannot go on: warps 0, 2: lanes 0-31 at {0} (Block::sync); "
      "warp 1: lanes 0-7, 9-31 at {0} (Block::sync), lane 8 at the end");
  check_failure(
      "Block::sync and a collective of a warp", 64,
      [](EmulatedBlock& block) {
        if (block.thread() == 63) {
          lines[0] = __LINE__ + 1;
          block.warp().largest(1.0f);
        }
        lines[1] = __LINE__ + 1;
        block.sync();
      },
      "block 0 cannot go on: warp 0: lanes 0-31 at {1} (Block::sync); "
      "warp 1: lanes 0-30 at {1} (Block::sync), lane 31 at {0} (largest)");
  check_failure(
      "Block::sync in two places", 64,
      [](EmulatedBlock& block) {
        if (block.warp_index() == 0) {
          lines[0] = __LINE__ + 1;
          block.sync();
        } else {
          lines[1] = __LINE__ + 1;
          block.sync();
        }
      },
      "block 0 cannot go on: warp 0: lanes 0-31 at {0} (Block::sync); "
      "warp 1: lanes 0-31 at {1} (Block::sync)");
  for (const int lane : {-1, 32}) {
    check_failure(
        "the value of a lane that there is not", 32,
        [lane](EmulatedBlock& block) {
          lines[0] = __LINE__ + 1;
          block.warp().of_lane(1, lane);
        },
        "block 0 cannot go on: warp 0: lanes 0-31 at {0} (of_lane " + std::to_string(lane) + ")");
  }
  check_failure(
      "the values of two lanes", 32,
      [](EmulatedBlock& block) {
        lines[0] = __LINE__ + 1;
        block.warp().of_lane(1, block.thread() / 20);
      },
      "block 0 cannot go on: warp 0: lanes 0-19 at {0} (of_lane 0), lanes 20-31 at {0} (of_lane "
      "1)");
  check_failure(
      "the largest, with a NaN", 32,
      [](EmulatedBlock& block) {
        lines[0] = __LINE__ + 1;
        block.warp().largest(block.thread() == 3 ? std::nan("") : 1.0);
      },
      "block 0 cannot go on: warp 0: lanes 0-2, 4-31 at {0} (largest), lane 3 at {0} (largest of "
      "NaN)");

  const auto write = [](std::ptrdiff_t offset) {
    return [offset](EmulatedBlock& block) {
      if (block.index() == 1 && block.thread() == 7) block.shared()[offset] = std::byte{1};
    };
  };
  check_failure("a byte behind", 32, write(100), "block 1 wrote behind its shared memory", 100);
  check_failure("many bytes behind", 32, write(1000), "block 1 wrote behind its shared memory",
                100);
  check_failure("a byte before", 32, write(-1), "block 1 wrote before its shared memory", 100);
  check_failure("behind nothing", 32, write(0), "block 1 wrote behind its shared memory", 0);
}

void check_exceptions() {
  for (const int thread : {0, 77, 255}) {
    std::string message;
    try {
      run_blocks(4, 256, 64, thread, [thread](EmulatedBlock& block) {
        block.sync();
        if (block.index() == 2 && block.thread() == thread) throw std::runtime_error("of the body");
        block.sync();
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    check(message == "of the body" && sums_are_right(256, thread),
          "an exception of thread " + std::to_string(thread));
  }
  bool all_right = true;
  for (int i = 0; i < 20; ++i) {  // the last thread that ends throws
    int num_ended = 0;
    try {
      run_blocks(1, 64, 0, i, [&](EmulatedBlock&) {
        if (++num_ended == 64) throw num_ended;
      });
      all_right = false;
    } catch (int thrown) {
      all_right = all_right && thrown == 64;
    }
  }
  check(all_right, "an exception of the last thread");
  for (const int num_threads : {-32, 0, 33, 1056}) {
    bool is_refused = false;
    try {
      run_blocks(1, num_threads, 0, 0, [](EmulatedBlock&) {});
    } catch (const std::invalid_argument&) {
      is_refused = true;
    }
    check(is_refused, std::to_string(num_threads) + " threads are refused");
  }
}

// Values -----------------------------------------------------------------------------------------

void check_values() {
  for (const int num_threads : {32, 256, 1024}) {
    bool all_right = true;
    const char* wrong = nullptr;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      all_right = all_right && sums_are_right(num_threads, seed);
      run_blocks(2, num_threads, 0, seed, [&](EmulatedBlock& block) {
        if (const char* found = members_are_wrong(block)) wrong = found;
      });
    }
    const std::string of = " of " + std::to_string(num_threads) + " threads";
    check(all_right, "sums" + of);
    check(!wrong, "members" + of + (wrong ? std::string(": ") + wrong : ""));
  }
}

void check_order() {
  for (const int num_threads : {32, 512}) {
    const auto order = order_of_threads(num_threads, 1);
    const std::string of = "order of " + std::to_string(num_threads) + " threads";
    auto before = order, after = order;
    before.resize(num_threads);
    after.erase(after.begin(), after.begin() + num_threads);
    check(before != after, of + " differs after a sync");
    check(std::ranges::is_permutation(before, after), of + " has each of them");
    check(order != order_of_threads(num_threads, 2), of + " differs with another seed");
    check(order == order_of_threads(num_threads, 1), of + " is the same with the same seed");
  }
  const auto next = [](int thread) { return (thread + 1) % 128; };
  const auto digits = [](int) { return 123; };
  const int all = static_cast<int>(kSeeds);
  check(num_right(neighbour_kernel<true, EmulatedBlock>, next) == all, "right with a sync");
  check(num_right(neighbour_kernel<false, EmulatedBlock>, next) < all, "wrong without");
  check(num_right(repeated_kernel<true, EmulatedBlock>, digits) == all, "right with two syncs");
  check(num_right(repeated_kernel<false, EmulatedBlock>, digits) < all, "wrong with one of them");
}

void check_memory() {
  bool is_garbage = true, is_aligned = true;
  for (const std::size_t bytes : {0, 1, 16, 1000, 100000, 16}) {
    run_blocks(2, 32, bytes, 0, [&](EmulatedBlock& block) {
      const auto address = reinterpret_cast<std::uintptr_t>(block.shared());
      is_aligned = is_aligned && address % 32 == 16;
      if (block.thread() == 0) {
        is_garbage = is_garbage && std::all_of(block.shared(), block.shared() + bytes,
                                               [](std::byte b) { return b == std::byte{0xcd}; });
      }
      block.sync();
      if (block.thread() == 1) std::fill_n(block.shared(), bytes, std::byte{1});
    });
  }
  check(is_garbage, "shared memory is full of garbage at first");
  check(is_aligned, "shared memory is aligned to 16 bytes and no more");
}

void check_system_threads() {
  std::array<bool, 2> all_right{true, true};
  const auto work = [](bool* right) {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      *right = *right && sums_are_right(256, seed);
      try {
        run_blocks(1, 64, 0, seed, [](EmulatedBlock& block) {
          if (block.thread() > 0) block.sync();
        });
        *right = false;
      } catch (const std::logic_error&) {
      }
    }
  };
  {
    std::jthread other(work, &all_right[0]);
    work(&all_right[1]);
  }
  check(all_right[0] && all_right[1], "two of the system's threads at once");
}

}  // namespace
}  // namespace vl4pose

int main() {
  try {
    vl4pose::check_values();
    vl4pose::check_order();
    vl4pose::check_memory();
    vl4pose::check_failures();
    vl4pose::check_exceptions();
    vl4pose::check_system_threads();
  } catch (const std::exception& error) {
    vl4pose::check(false, error.what());
  }
  return vl4pose::num_failed == 0 ? 0 : 1;
}
