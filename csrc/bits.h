// Bits of a word, for the CPU and for GPUs. There std::countr_zero compiles, without a warning, to
// a constant: nvcc takes a builtin of g++ that it lacks, in a constexpr function, for unreachable.
#pragma once

#include <bit>
#include <cstdint>

#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// The index of the lowest bit that is set; one must be.
VL4POSE_HOST_DEVICE inline int lowest_bit(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(bits)) - 1;
#else
  return std::countr_zero(bits);
#endif
}

VL4POSE_HOST_DEVICE inline bool is_one_bit(std::uint32_t bits) {
  return bits != 0 && (bits & (bits - 1)) == 0;
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
