// Strided arrays of floating-point numbers as the core sees them: a pointer, a dtype, a shape and
// strides in bytes. Knows nothing of Python, torch or CUDA.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "host_device.h"

namespace vl4pose {

enum class DType : std::uint8_t { float16, bfloat16, float32, float64, int32, uint8 };

constexpr std::int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::float16:
    case DType::bfloat16:
      return 2;
    case DType::float32:
    case DType::int32:
      return 4;
    case DType::float64:
      return 8;
    case DType::uint8:
      return 1;
  }
  return 0;
}

// The DType of a C++ type; there is none of other types.
template <class T>
extern const DType kDType;
template <>
inline constexpr DType kDType<std::uint8_t> = DType::uint8;
template <>
inline constexpr DType kDType<float> = DType::float32;
template <>
inline constexpr DType kDType<double> = DType::float64;
template <>
inline constexpr DType kDType<std::int32_t> = DType::int32;

// Half precision as it is stored.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// The number as the arithmetic takes it. A float16 is widened without the F16C instructions,
// exactly; subnormals go through an integer conversion because a process may have asked its CPU to
// flush subnormal operands to zero.
VL4POSE_HOST_DEVICE inline float widen(Float16 half) {
#if defined(__CUDA_ARCH__)
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half.bits));
  return value;
#else
  const std::uint32_t magnitude = half.bits & 0x7fffu;
  const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f;
  const std::uint32_t normal = (magnitude << 13) + ((127u - 15u) << 23);
  const std::uint32_t special = (magnitude << 13) + ((255u - 31u) << 23);
  const std::uint32_t finite =
      magnitude < 0x0400u ? std::bit_cast<std::uint32_t>(subnormal) : normal;
  const std::uint32_t bits = magnitude < 0x7c00u ? finite : special;
  return std::bit_cast<float>(bits | (static_cast<std::uint32_t>(half.bits & 0x8000u) << 16));
#endif
}
VL4POSE_HOST_DEVICE inline float widen(BFloat16 half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half.bits) << 16);
}
VL4POSE_HOST_DEVICE inline float widen(float value) { return value; }
VL4POSE_HOST_DEVICE inline double widen(double value) { return value; }

template <class Stored>
using Wide = decltype(widen(Stored{}));

template <class T>
VL4POSE_HOST_DEVICE T read(const std::byte* address) {
#if defined(__CUDA_ARCH__)  // where arrays are aligned, and bytes would be copied one by one
  return *reinterpret_cast<const T*>(address);
#else
  T value;
  std::memcpy(&value, address, sizeof value);  // arrays may be unaligned
  return value;
#endif
}

// The floating-point number at `address`, widened to double.
VL4POSE_HOST_DEVICE inline double read_floating(const std::byte* address, DType dtype) {
  switch (dtype) {
    case DType::float16:
      return widen(read<Float16>(address));
    case DType::bfloat16:
      return widen(read<BFloat16>(address));
    case DType::float32:
      return read<float>(address);
    default:
      return read<double>(address);
  }
}

template <int N>
struct View {
  const std::byte* data = nullptr;
  DType dtype = DType::float32;
  std::array<std::int64_t, N> shape{};
  std::array<std::int64_t, N> strides{};  // in bytes; may be zero or negative

  template <class... Index>
  VL4POSE_HOST_DEVICE const std::byte* at(Index... index) const {
    static_assert(sizeof...(Index) == N);
    const std::array<std::int64_t, N> i{index...};
    const std::byte* address = data;
    for (int axis = 0; axis < N; ++axis) address += i[axis] * strides[axis];
    return address;
  }
  template <class... Index>
  VL4POSE_HOST_DEVICE double operator()(Index... index) const {
    return read_floating(at(index...), dtype);
  }
  // What index i of the first axis holds.
  [[gnu::always_inline]] VL4POSE_HOST_DEVICE View<N - 1> operator[](std::int64_t i) const {
    View<N - 1> rest{data + i * strides[0], dtype, {}, {}};
    for (int axis = 1; axis < N; ++axis) {
      rest.shape[axis - 1] = shape[axis];
      rest.strides[axis - 1] = strides[axis];
    }
    return rest;
  }
};

}  // namespace vl4pose
