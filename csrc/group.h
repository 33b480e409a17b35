// The threads of a GPU that work on one thing together. The kernels are templates over these two
// types, so that the tests can run them on a CPU, on threads that take their steps in any order
// (tests/emulated_group.h, which has the same members).
//
// A collective is a step that all threads of the group must take, and take at the same place; it is
// marked as one. What a thread wrote to memory the others of its group see after a sync(); other
// collectives give their value alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// 32 threads, its lanes.
class Warp {
 public:
  static constexpr int kSize = 32;

  VL4POSE_DEVICE int lane() const { return static_cast<int>(threadIdx.x % kSize); }

  // Collective.
  VL4POSE_DEVICE void sync() const { __syncwarp(); }

  // Collective: bit i says whether it holds in lane i.
  VL4POSE_DEVICE std::uint32_t where(bool holds) const { return __ballot_sync(kAll, holds); }

  // Collective: the value of a lane, which is the same one for all who ask.
  template <class T>
  VL4POSE_DEVICE T of_lane(T value, int lane) const {
    return __shfl_sync(kAll, value, lane);
  }

  // Collective: the largest of all lanes' values, none of them NaN.
  VL4POSE_DEVICE float largest(float value) const {
#if __CUDA_ARCH__ >= 800
    // In the order of the floats; the integers of those below zero run the other way.
    const auto order = [](int bits) { return bits ^ ((bits >> 31) & 0x7fffffff); };
    value = __int_as_float(order(__reduce_max_sync(kAll, order(__float_as_int(value)))));
#else
    for (int step = kSize / 2; step > 0; step /= 2) {
      value = fmaxf(value, __shfl_xor_sync(kAll, value, step));
    }
#endif
    return value;
  }
  VL4POSE_DEVICE double largest(double value) const {
    for (int step = kSize / 2; step > 0; step /= 2) {
      const double other = __shfl_xor_sync(kAll, value, step);
      value = other > value ? other : value;
    }
    return value;
  }

  // Asks for the cache line at an address, which may be read soon.
  VL4POSE_DEVICE void prefetch(const void* address) const {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
  }

 private:
  static constexpr std::uint32_t kAll = 0xffffffff;
};

// Whole warps.
class Block {
 public:
  VL4POSE_DEVICE int thread() const { return static_cast<int>(threadIdx.x); }
  VL4POSE_DEVICE int num_threads() const { return static_cast<int>(blockDim.x); }
  VL4POSE_DEVICE int warp_index() const { return thread() / Warp::kSize; }
  VL4POSE_DEVICE int num_warps() const { return num_threads() / Warp::kSize; }
  VL4POSE_DEVICE Warp warp() const { return {}; }

  // Which of the blocks this is.
  VL4POSE_DEVICE int index() const { return static_cast<int>(blockIdx.x); }
  VL4POSE_DEVICE int num_blocks() const { return static_cast<int>(gridDim.x); }

  // Collective.
  VL4POSE_DEVICE void sync() const { __syncthreads(); }

  // Memory of the block, aligned to 16 bytes, as much as it was launched with.
  VL4POSE_DEVICE std::byte* shared() const {
    extern __shared__ __align__(16) std::byte memory[];
    return memory;
  }
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
