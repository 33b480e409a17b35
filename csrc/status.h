// What may be remarkable about one image; the bits of `status`.
#pragma once

#include <cstdint>

namespace vl4pose::status {

inline constexpr std::uint8_t kPeakFallback = 1;
inline constexpr std::uint8_t kClampedParams = 2;
inline constexpr std::uint8_t kNonfiniteParams = 4;
inline constexpr std::uint8_t kNonfiniteHeatmap = 8;

}  // namespace vl4pose::status
