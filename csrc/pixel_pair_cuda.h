// Two pixels side by side as the threads of a GPU compare them: those of half precision both at
// once, where it has instructions for that.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "array.h"
#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Of what is not a number and b, b.
template <class T>
VL4POSE_DEVICE T larger(T a, T b) {
  return a > b ? a : b;
}
template <class T>
VL4POSE_DEVICE T smaller(T a, T b) {
  return a < b ? a : b;
}
// Of a number and NaN, NaN.
template <class T>
VL4POSE_DEVICE T larger_or_nan(T a, T b) {
  return a > b || a != a ? a : b;
}
#if defined(__CUDACC__)  // one instruction each
VL4POSE_DEVICE inline float larger(float a, float b) { return fmaxf(a, b); }
VL4POSE_DEVICE inline float smaller(float a, float b) { return fminf(a, b); }
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
VL4POSE_DEVICE inline float larger_or_nan(float a, float b) {
  asm("max.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
  return a;
}
#endif

// As two pixels are stored.
template <class Stored>
struct alignas(2 * sizeof(Stored)) StoredPair {
  Stored first, second;
};

// Each pixel of a pair is compared with the one at its place in another.
template <class Stored>
class WidePair {
 public:
  using T = Wide<Stored>;

  VL4POSE_DEVICE explicit WidePair(const StoredPair<Stored>& pair)
      : first_(widen(pair.first)), second_(widen(pair.second)) {}
  VL4POSE_DEVICE static WidePair infinite(bool is_negative) {
    constexpr T kInfinity = std::numeric_limits<T>::infinity();
    return WidePair(is_negative ? -kInfinity : kInfinity);
  }

  VL4POSE_DEVICE T first() const { return first_; }
  VL4POSE_DEVICE T second() const { return second_; }

  VL4POSE_DEVICE friend WidePair larger_or_nan(const WidePair& a, const WidePair& b) {
    return {larger_or_nan(a.first_, b.first_), larger_or_nan(a.second_, b.second_)};
  }
  VL4POSE_DEVICE friend WidePair smaller(const WidePair& a, const WidePair& b) {
    return {smaller(a.first_, b.first_), smaller(a.second_, b.second_)};
  }

 private:
  VL4POSE_DEVICE explicit WidePair(T both) : WidePair(both, both) {}
  VL4POSE_DEVICE WidePair(T first, T second) : first_(first), second_(second) {}

  T first_, second_;
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800

// Of half precision, the first in the lower bits.
template <class Stored>
class PackedPair {
 public:
  VL4POSE_DEVICE explicit PackedPair(const StoredPair<Stored>& pair)
      : bits_(*reinterpret_cast<const std::uint32_t*>(&pair)) {}
  VL4POSE_DEVICE static PackedPair infinite(bool is_negative) {
    const std::uint32_t of_one = (kIsFloat16 ? 0x7c00 : 0x7f80) | (is_negative ? 0x8000 : 0);
    return PackedPair(of_one | of_one << 16);
  }

  VL4POSE_DEVICE float first() const { return widen(Stored{static_cast<std::uint16_t>(bits_)}); }
  VL4POSE_DEVICE float second() const {
    return widen(Stored{static_cast<std::uint16_t>(bits_ >> 16)});
  }

  VL4POSE_DEVICE friend PackedPair larger_or_nan(PackedPair a, const PackedPair& b) {
    if constexpr (kIsFloat16) {
      asm("max.NaN.f16x2 %0, %0, %1;" : "+r"(a.bits_) : "r"(b.bits_));
    } else {
      asm("max.NaN.bf16x2 %0, %0, %1;" : "+r"(a.bits_) : "r"(b.bits_));
    }
    return a;
  }
  VL4POSE_DEVICE friend PackedPair smaller(PackedPair a, const PackedPair& b) {
    if constexpr (kIsFloat16) {
      asm("min.f16x2 %0, %0, %1;" : "+r"(a.bits_) : "r"(b.bits_));
    } else {
      asm("min.bf16x2 %0, %0, %1;" : "+r"(a.bits_) : "r"(b.bits_));
    }
    return a;
  }

 private:
  static constexpr bool kIsFloat16 = std::is_same_v<Stored, Float16>;

  VL4POSE_DEVICE explicit PackedPair(std::uint32_t bits) : bits_(bits) {}

  std::uint32_t bits_;
};

template <class Stored>
using PixelPair = std::conditional_t<sizeof(Stored) == 2, PackedPair<Stored>, WidePair<Stored>>;

#else

template <class Stored>
using PixelPair = WidePair<Stored>;

#endif

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
