// Floating-point numbers of 16 bits, and rounding in any direction.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace interpreted {

struct __attribute__((may_alias)) Half {
  std::uint16_t bits;
};
struct __attribute__((may_alias)) Bfloat {
  std::uint16_t bits;
};

enum class Rounding : std::uint8_t { nearest, to_zero, down, up };

inline double round_to_integer(double x, Rounding rounding) {
  switch (rounding) {
    case Rounding::to_zero:
      return std::trunc(x);
    case Rounding::down:
      return std::floor(x);
    case Rounding::up:
      return std::ceil(x);
    default:
      return std::nearbyint(x);
  }
}

inline float widen(Half x) {
  const std::uint32_t magnitude = x.bits & 0x7fffu;
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;  // subnormal ones, too
  if (magnitude >= 0x7c00) value = magnitude == 0x7c00 ? INFINITY : NAN;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
}
inline float widen(Bfloat x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }
inline float widen(float x) { return x; }
inline double widen(double x) { return x; }

// The bits of x in a format of 16 bits, so many of which are the exponent's.
template <int kExponentBits>
std::uint16_t small_float_bits(double x, Rounding rounding) {
  constexpr int kMantissaBits = 15 - kExponentBits, kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr std::uint16_t kInfinity = ((1 << kExponentBits) - 1) << kMantissaBits;
  if (x != x) return 0x7fff;
  const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isinf(x)) return sign | kInfinity;
  if (x == 0.0) return sign;
  const int exponent = std::max(std::ilogb(x), 1 - kBias);
  const double units =
      std::abs(round_to_integer(std::scalbn(x, kMantissaBits - exponent), rounding));
  // A mantissa that is rounded up to the next power of two carries into the exponent.
  const auto bits = static_cast<std::uint32_t>(units) +
                    (static_cast<std::uint32_t>(exponent + kBias - 1) << kMantissaBits);
  if (bits < kInfinity) return static_cast<std::uint16_t>(sign | bits);
  const bool is_away = rounding == Rounding::nearest || (rounding == Rounding::up && sign == 0) ||
                       (rounding == Rounding::down && sign != 0);
  return sign | (is_away ? kInfinity : kInfinity - 1);
}

// x rounded to T.
template <class T>
T narrow(double x, Rounding rounding = Rounding::nearest);
template <>
inline Half narrow<Half>(double x, Rounding rounding) {
  return {small_float_bits<5>(x, rounding)};
}
template <>
inline Bfloat narrow<Bfloat>(double x, Rounding rounding) {
  return {small_float_bits<8>(x, rounding)};
}
template <class T>
T rounded(long double x, Rounding rounding) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  const T nearest = static_cast<T>(x);
  const long double exact = nearest;
  if (rounding == Rounding::nearest || !(exact < x || exact > x)) return nearest;
  const bool wants_less = rounding == Rounding::down || (rounding == Rounding::to_zero && x > 0);
  if (wants_less) return exact > x ? std::nextafter(nearest, -kInfinity) : nearest;
  return exact < x ? std::nextafter(nearest, kInfinity) : nearest;
}
template <>
inline float narrow<float>(double x, Rounding rounding) {
  return rounding == Rounding::nearest ? static_cast<float>(x) : rounded<float>(x, rounding);
}

// a * b + c of numbers of 16 bits as a double that rounds to 16 bits as the exact result does: the
// last bit of an inexact sum is made odd.
inline double fused(float a, float b, float c) {
  const double product = double{a} * b, sum = product + c;
  const double part = sum - product, error = (product - (sum - part)) + (c - part);
  if (error == 0.0 || error != error || std::isinf(sum)) return sum;
  const auto bits = std::bit_cast<std::uint64_t>(sum);
  if (bits & 1) return sum;
  return std::nextafter(sum, error > 0 ? INFINITY : -INFINITY);
}

}  // namespace interpreted
