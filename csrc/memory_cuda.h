// Memory of a GPU whose kind is known where it is used, for which it has shorter instructions.
#pragma once

#include <cstdint>
#include <type_traits>

#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

#if defined(__CUDA_ARCH__)

// The address of values in shared memory.
template <class V>
class SharedPointer {
 public:
  VL4POSE_DEVICE explicit SharedPointer(V* address)
      : address_(static_cast<std::uint32_t>(__cvta_generic_to_shared(address))) {}

  VL4POSE_DEVICE V& operator[](int i) const {
    return *static_cast<V*>(__cvta_shared_to_generic((*this + i).address_));
  }
  VL4POSE_DEVICE V& operator*() const { return (*this)[0]; }
  VL4POSE_DEVICE SharedPointer operator+(int n) const {
    SharedPointer other = *this;
    return other += n;
  }
  VL4POSE_DEVICE SharedPointer operator-(int n) const { return *this + -n; }
  VL4POSE_DEVICE SharedPointer& operator+=(int n) {
    address_ += static_cast<std::uint32_t>(n * int{sizeof(V)});
    return *this;
  }

 private:
  std::uint32_t address_;
};

// Reads what is in global memory, and is not written to while the kernel runs.
template <class V>
VL4POSE_DEVICE V read_global(const V* address) {
  using Bits =
      std::conditional_t<sizeof(V) == 2, unsigned short,
                         std::conditional_t<sizeof(V) == 4, unsigned,
                                            std::conditional_t<sizeof(V) == 8, uint2, uint4>>>;
  static_assert(sizeof(V) == sizeof(Bits) && alignof(V) == alignof(Bits));
  const Bits bits = __ldg(reinterpret_cast<const Bits*>(address));
  return *reinterpret_cast<const V*>(&bits);
}

#else

template <class V>
using SharedPointer = V*;

template <class V>
V read_global(const V* address) {
  return *address;
}

#endif

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
