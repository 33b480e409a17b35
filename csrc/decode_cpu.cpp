#include <algorithm>
#include <array>

#include "decode.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

template <class Stored>
Offset dark(const Map<Stored>& map, std::int64_t x, std::int64_t y) {
  if (!has_stencil(map, x, y)) return {};
  static constexpr auto kernel = blur_kernel();
  // The blurred map in the 5 x 5 pixels around; outside the map there are zeros.
  std::array<double, kStencilSize> blurred_row{};
  std::array<double, kStencilSize * kStencilSize> blurred{};
  for (std::int64_t v = y - kStencil - kBlurReach; v <= y + kStencil + kBlurReach; ++v) {
    if (v < 0 || v >= map.H) continue;
    for (std::int64_t i = 0; i < kStencilSize; ++i) {
      blurred_row[i] = 0.0;
      for (std::int64_t k = -kBlurReach; k <= kBlurReach; ++k) {
        const std::int64_t u = x - kStencil + i + k;
        if (u >= 0 && u < map.W) blurred_row[i] += kernel[k + kBlurReach] * double{map(v, u)};
      }
    }
    for (std::int64_t i = 0; i < kStencilSize; ++i) {
      const std::int64_t k = v - (y - kStencil + i);
      if (k < -kBlurReach || k > kBlurReach) continue;
      for (std::int64_t c = 0; c < kStencilSize; ++c) {
        blurred[i * kStencilSize + c] += kernel[k + kBlurReach] * blurred_row[c];
      }
    }
  }
  for (double& value : blurred) value = log_of_blurred(value);
  return newton_step(blurred.data());
}

}  // namespace

template <class Stored>
Offset subpixel_offset(const Map<Stored>& map, std::int64_t x, std::int64_t y, Subpixel subpixel) {
  return step_of(subpixel, map, x, y, [&] { return dark(map, x, y); });
}

template Offset subpixel_offset(const Map<Float16>&, std::int64_t, std::int64_t, Subpixel);
template Offset subpixel_offset(const Map<BFloat16>&, std::int64_t, std::int64_t, Subpixel);
template Offset subpixel_offset(const Map<float>&, std::int64_t, std::int64_t, Subpixel);
template Offset subpixel_offset(const Map<double>&, std::int64_t, std::int64_t, Subpixel);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
