// exp and log of double, to less than one unit in the last place, from operations that IEEE 754
// rounds one way only. So they give the same bits on every CPU and GPU, which the standard
// library's do not. The constants are fdlibm's. D is double, or a vector of it (simd.h), of which
// each lane is computed alone.
#pragma once

#include <bit>
#include <cstdint>

#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

inline constexpr double kLn2High = 6.93147180369123816490e-01;  // times an exponent, this is exact
inline constexpr double kLn2Low = 1.90821492927058770002e-10;

// Unsigned integers as long as the numbers of D.
template <class D>
struct BitsOf;
template <>
struct BitsOf<double> {
  using type = std::uint64_t;
};

// A number of D that is `value`, in every lane.
template <class D>
VL4POSE_HOST_DEVICE constexpr D all_lanes(double value) {
  return value - D{};  // and not plus, for the sign of a zero
}

// For x up to 700, and -inf. What would be below the normal numbers is 0.
template <class D>
VL4POSE_HOST_DEVICE constexpr D exponential(D x) {
  constexpr double kInverseLn2 = 1.44269504088896338700;
  // Added to a number, it leaves the nearest integer in the last bits.
  constexpr double kRound = 0x1.8p52;
  constexpr double kSmallest = -708.0;
  using Bits = typename BitsOf<D>::type;
  const D shifted = x * kInverseLn2 + kRound;
  const D n = shifted - kRound;
  const D r = (x - n * kLn2High) - n * kLn2Low;
  // The Taylor series, (exp r - 1 - r) / r^2, in pairs of terms that do not wait for each other;
  // the first one left out is 4e-18.
  const D r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
  const D q0 = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120));
  const D q4 = (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880));
  const D q8 =
      (1.0 / 3628800 + r * (1.0 / 39916800)) + r2 * (1.0 / 479001600 + r * (1.0 / 6227020800));
  const D y = 1.0 + (r + r2 * (q0 + r4 * q4 + r8 * q8));
  // Times 2^n.
  const D result = std::bit_cast<D>(std::bit_cast<Bits>(y) + (std::bit_cast<Bits>(shifted) << 52));
  return x > all_lanes<D>(kSmallest) ? result : D{};
}

// For normal numbers above 0.
template <class D>
VL4POSE_HOST_DEVICE D logarithm_of_normal(D x) {
  constexpr std::uint64_t kOne = 0x3ff0000000000000, kRootOfHalf = 0x3fe6a09e00000000;
  constexpr std::uint64_t kMantissa = 0x000fffffffffffff;
  using Bits = typename BitsOf<D>::type;
  // x = 2^k (1 + f) with 1 + f between the roots of 1/2 and of 2.
  const Bits bits = std::bit_cast<Bits>(x) + (kOne - kRootOfHalf);
  const D mantissa = std::bit_cast<D>((bits & kMantissa) + kRootOfHalf);
  // k + 1023 as a number: the last bits of 2^52 + (k + 1023).
  const D biased = std::bit_cast<D>((bits >> 52) | 0x4330000000000000);
  const D k = biased - (0x1p52 + 1023.0);
  const D f = mantissa - 1.0, half_square = 0.5 * f * f;
  const D s = f / (2.0 + f), z = s * s, w = z * z;
  const D even = w * (3.999999999940941908e-01 +
                      w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const D odd = z * (6.666666666666735130e-01 +
                     w * (2.857142874366239149e-01 +
                          w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  return s * (half_square + (even + odd)) + k * kLn2Low - half_square + f + k * kLn2High;
}

// For numbers above 0.
VL4POSE_HOST_DEVICE inline double logarithm(double x) {
  const bool is_normal = x >= 0x1p-1022;
  const double result = logarithm_of_normal(is_normal ? x : x * 0x1p64);
  return is_normal ? result : result - 64.0 * (kLn2High + kLn2Low);
}

template <class D>
VL4POSE_HOST_DEVICE D square_root(D x) {
  return __builtin_sqrt(x);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
