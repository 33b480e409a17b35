// exp and log of double, lane by lane, to less than one unit in the last place, from operations
// that IEEE 754 rounds one way only. So they give the same bits on every CPU, which the standard
// library's do not. The constants are fdlibm's.
#pragma once

#include <bit>
#include <cstdint>

#include "simd.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

inline constexpr double kLn2High = 6.93147180369123816490e-01;  // times an exponent, this is exact
inline constexpr double kLn2Low = 1.90821492927058770002e-10;

// For x up to 700, and -inf.
inline Vector<double> exponential(Vector<double> x) {
  constexpr double kInverseLn2 = 1.44269504088896338700;
  // Added to a number, it leaves the nearest integer in the last bits.
  constexpr double kRound = 0x1.8p52;
  constexpr double kSmall = -650.0, kNone = -746.0;
  // What gives 0 is not computed: processors take long for results below the normal numbers.
  const auto is_some = x > broadcast(kNone);
  x = is_some ? x : Vector<double>{};
  // 2^(n + 128) of the smallest, whose own 2^n may be no normal number.
  const Vector<double> round =
      x < broadcast(kSmall) ? broadcast(kRound + 128.0) : broadcast(kRound);
  const Vector<double> scale = x < broadcast(kSmall) ? broadcast(0x1p-128) : broadcast(1.0);
  const Vector<double> shifted = x * kInverseLn2 + round;
  const Vector<double> n = shifted - round;
  const Vector<double> r = (x - n * kLn2High) - n * kLn2Low;
  // The Taylor series, (exp r - 1 - r) / r^2, in pairs of terms that do not wait for each other;
  // the first one left out is 4e-18.
  const Vector<double> r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
  const Vector<double> q0 = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120));
  const Vector<double> q4 =
      (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880));
  const Vector<double> q8 =
      (1.0 / 3628800 + r * (1.0 / 39916800)) + r2 * (1.0 / 479001600 + r * (1.0 / 6227020800));
  const Vector<double> y = 1.0 + (r + r2 * (q0 + r4 * q4 + r8 * q8));
  const auto exponent = std::bit_cast<Vector<std::uint64_t>>(shifted) << 52;
  const auto power = std::bit_cast<Vector<std::uint64_t>>(y) + exponent;
  const Vector<double> result = std::bit_cast<Vector<double>>(power) * scale;
  return is_some ? result : Vector<double>{};
}

// For normal numbers above 0.
inline Vector<double> logarithm(Vector<double> x) {
  constexpr std::uint64_t kOne = 0x3ff0000000000000, kRootOfHalf = 0x3fe6a09e00000000;
  constexpr std::uint64_t kMantissa = 0x000fffffffffffff;
  // x = 2^k (1 + f) with 1 + f between the roots of 1/2 and of 2.
  const auto bits = std::bit_cast<Vector<std::uint64_t>>(x) + (kOne - kRootOfHalf);
  const auto mantissa = std::bit_cast<Vector<double>>((bits & kMantissa) + kRootOfHalf);
  // k + 1023 as a number: the last bits of 2^52 + (k + 1023).
  const auto biased = std::bit_cast<Vector<double>>((bits >> 52) | 0x4330000000000000);
  const Vector<double> k = biased - (0x1p52 + 1023.0);
  const Vector<double> f = mantissa - 1.0, half_square = 0.5 * f * f;
  const Vector<double> s = f / (2.0 + f), z = s * s, w = z * z;
  const Vector<double> even = w * (3.999999999940941908e-01 +
                                   w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const Vector<double> odd =
      z * (6.666666666666735130e-01 +
           w * (2.857142874366239149e-01 +
                w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  return s * (half_square + (even + odd)) + k * kLn2Low - half_square + f + k * kLn2High;
}

inline double exponential(double x) { return exponential(broadcast(x))[0]; }

// For numbers above 0.
inline double logarithm(double x) {
  const bool is_normal = x >= 0x1p-1022;
  const double result = logarithm(broadcast(is_normal ? x : x * 0x1p64))[0];
  return is_normal ? result : result - 64.0 * (kLn2High + kLn2Low);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
