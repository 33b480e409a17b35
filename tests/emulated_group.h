// The groups of threads of csrc/group.h on a CPU, for tests: the same kernels run without CUDA, on
// threads that take their steps in any order. A collective that not all threads of a group take,
// or not at the same place, is an error, where a GPU would hang or compute something.
//
// What this cannot see: a missing sync() where another collective of the same threads happens to
// stand in for it, for here these order memory as well; and two calls of one function that has a
// collective in it, which are the same place.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <version>
#ifdef __cpp_lib_source_location
#include <source_location>
#else
#include <experimental/source_location>  // for clang before 16; knows no columns
#endif

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

#ifdef __cpp_lib_source_location
using Place = std::source_location;
#else
using Place = std::experimental::source_location;
#endif

class Emulator;

namespace detail {

enum class Collective : std::uint8_t {
  block_sync,
  warp_sync,
  where,
  of_lane,
  largest,
  largest_of_nan,  // which nobody may ask for
};

// What a thread brings to a collective.
struct Step {
  Collective collective;
  std::uint64_t value;  // its bytes
  int lane;             // of which the value is asked for
  Place place;
};

// Returns the bytes of the collective's value once all threads of the group are there.
std::uint64_t take(Emulator& emulator, int thread, const Step& step);

}  // namespace detail

class EmulatedWarp {
 public:
  static constexpr int kSize = 32;

  int lane() const { return thread_ % kSize; }

  void sync(Place place = Place::current()) const { take({Collective::warp_sync, 0, 0, place}); }

  std::uint32_t where(bool holds, Place place = Place::current()) const {
    return static_cast<std::uint32_t>(take({Collective::where, holds, 0, place}));
  }

  template <class T>
  T of_lane(T value, int lane, Place place = Place::current()) const {
    static_assert(std::is_arithmetic_v<T> && sizeof value <= sizeof(Step::value));
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, &value, sizeof value);
    bytes = take({Collective::of_lane, bytes, lane, place});
    std::memcpy(&value, &bytes, sizeof value);
    return value;
  }

  float largest(float value, Place place = Place::current()) const {
    return static_cast<float>(largest(double{value}, place));
  }
  double largest(double value, Place place = Place::current()) const {
    const Collective kind = value == value ? Collective::largest : Collective::largest_of_nan;
    return std::bit_cast<double>(take({kind, std::bit_cast<std::uint64_t>(value), 0, place}));
  }

  void prefetch(const void*) const {}

 private:
  friend class EmulatedBlock;
  using Collective = detail::Collective;
  using Step = detail::Step;

  EmulatedWarp(Emulator& emulator, int thread) : emulator_(&emulator), thread_(thread) {}

  std::uint64_t take(const Step& step) const { return detail::take(*emulator_, thread_, step); }

  Emulator* emulator_;
  int thread_;  // of the block
};

class EmulatedBlock {
 public:
  int thread() const { return thread_; }
  int num_threads() const { return num_threads_; }
  int warp_index() const { return thread() / EmulatedWarp::kSize; }
  int num_warps() const { return num_threads() / EmulatedWarp::kSize; }
  EmulatedWarp warp() const { return {*emulator_, thread_}; }

  int index() const { return static_cast<int>(index_); }
  int num_blocks() const { return static_cast<int>(num_blocks_); }

  void sync(Place place = Place::current()) const {
    detail::take(*emulator_, thread_, {detail::Collective::block_sync, 0, 0, place});
  }

  // Full of garbage at first, and aligned to no more than it must be.
  std::byte* shared() const { return shared_; }

 private:
  friend class Emulator;
  EmulatedBlock() = default;

  Emulator* emulator_ = nullptr;
  std::byte* shared_ = nullptr;
  std::int64_t index_ = 0, num_blocks_ = 0;
  int thread_ = 0, num_threads_ = 0;
};

namespace detail {

// What each thread of each block runs.
struct Body {
  void (*call)(const void* function, EmulatedBlock& block);
  const void* function;
};

void run_blocks(std::int64_t num_blocks, int num_threads, std::size_t shared_bytes,
                std::uint64_t seed, const Body& body);

}  // namespace detail

// Calls body(EmulatedBlock&) in each of num_threads threads, whole warps and at most 1024 of them,
// of each of num_blocks blocks, with shared_bytes bytes of shared memory. The blocks run one after
// another. Of the threads of a block one runs at a time, up to its next collective; which of those
// that can go on is next is drawn each time, from `seed`.
//
// Throws std::logic_error where the threads break a rule of the groups, or write before or behind
// their shared memory; the message says who is where. Rethrows what body throws. After either, the
// frames of the threads that had not ended are forgotten: no destructor in them runs.
//
// Any number of the system's threads may be in here at once, but not one of them twice.
template <class Function>
void run_blocks(std::int64_t num_blocks, int num_threads, std::size_t shared_bytes,
                std::uint64_t seed, const Function& body) {
  const auto call = [](const void* function, EmulatedBlock& block) {
    (*static_cast<const Function*>(function))(block);
  };
  detail::run_blocks(num_blocks, num_threads, shared_bytes, seed, {call, &body});
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
