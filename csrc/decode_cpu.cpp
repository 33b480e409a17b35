#include <algorithm>
#include <array>

#include "decode.h"
#include "vector_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

template <class Stored>
Offset quarter(const Map<Stored>& map, std::int64_t x, std::int64_t y) {
  const auto step = [](auto after, auto before) {
    return 0.25 * (static_cast<int>(after > before) - static_cast<int>(after < before));
  };
  Offset offset;
  if (x > 0 && x + 1 < map.W) offset.x = step(map(y, x + 1), map(y, x - 1));
  if (y > 0 && y + 1 < map.H) offset.y = step(map(y + 1, x), map(y - 1, x));
  return offset;
}

template <class Stored>
Offset centroid(const Map<Stored>& map, std::int64_t x, std::int64_t y) {
  constexpr std::int64_t reach = 2;
  const std::int64_t top = std::max(y - reach, std::int64_t{0});
  const std::int64_t left = std::max(x - reach, std::int64_t{0});
  const std::int64_t bottom = std::min(y + reach, map.H - 1);
  const std::int64_t right = std::min(x + reach, map.W - 1);
  double largest = 0.0;
  for (std::int64_t v = top; v <= bottom; ++v) {
    for (std::int64_t u = left; u <= right; ++u) largest = std::max<double>(largest, map(v, u));
  }
  if (largest == 0.0) return {};
  double sum = 0.0, sum_x = 0.0, sum_y = 0.0;
  for (std::int64_t v = top; v <= bottom; ++v) {
    for (std::int64_t u = left; u <= right; ++u) {
      // A share of the largest, so that no sum overflows.
      const double weight = std::max<double>(map(v, u), 0.0) / largest;
      sum += weight;
      sum_x += weight * static_cast<double>(u - x);
      sum_y += weight * static_cast<double>(v - y);
    }
  }
  return {sum_x / sum, sum_y / sum};
}

constexpr std::int64_t kBlurReach = 5;  // 11 pixels
constexpr std::int64_t kStencil = 2;    // the derivatives look two pixels away

// exp(-i^2 / (2 sigma^2)) with sigma = 2, what OpenCV takes for 11 pixels, normalised.
const std::array<double, 2 * kBlurReach + 1>& blur_kernel() {
  static const auto kernel = [] {
    std::array<double, 2 * kBlurReach + 1> values{};
    double sum = 0.0;
    for (std::int64_t i = -kBlurReach; i <= kBlurReach; ++i) {
      sum += values[i + kBlurReach] = exponential(-static_cast<double>(i * i) / 8.0);
    }
    for (double& value : values) value /= sum;
    return values;
  }();
  return kernel;
}

template <class Stored>
Offset dark(const Map<Stored>& map, std::int64_t x, std::int64_t y) {
  if (x < kStencil || x >= map.W - kStencil || y < kStencil || y >= map.H - kStencil) return {};
  constexpr std::int64_t size = 2 * kStencil + 1;
  const auto& kernel = blur_kernel();
  // The logarithm of the blurred map in the 5 x 5 pixels around; outside the map there are zeros.
  std::array<std::array<double, size>, size> log_map{};
  std::array<double, size> blurred_row{};
  std::array<std::array<double, size>, size> blurred{};
  for (std::int64_t v = y - kStencil - kBlurReach; v <= y + kStencil + kBlurReach; ++v) {
    if (v < 0 || v >= map.H) continue;
    for (std::int64_t i = 0; i < size; ++i) {
      blurred_row[i] = 0.0;
      for (std::int64_t k = -kBlurReach; k <= kBlurReach; ++k) {
        const std::int64_t u = x - kStencil + i + k;
        if (u >= 0 && u < map.W) blurred_row[i] += kernel[k + kBlurReach] * double{map(v, u)};
      }
    }
    for (std::int64_t i = 0; i < size; ++i) {
      const std::int64_t k = v - (y - kStencil + i);
      if (k < -kBlurReach || k > kBlurReach) continue;
      for (std::int64_t c = 0; c < size; ++c) {
        blurred[i][c] += kernel[k + kBlurReach] * blurred_row[c];
      }
    }
  }
  for (std::int64_t i = 0; i < size; ++i) {
    for (std::int64_t c = 0; c < size; ++c) {
      log_map[i][c] = logarithm(std::max(blurred[i][c], 1e-10));
    }
  }
  const auto at = [&](std::int64_t dy, std::int64_t dx) {
    return log_map[kStencil + dy][kStencil + dx];
  };
  const double gx = 0.5 * (at(0, 1) - at(0, -1));
  const double gy = 0.5 * (at(1, 0) - at(-1, 0));
  const double hxx = 0.25 * (at(0, 2) - 2.0 * at(0, 0) + at(0, -2));
  const double hyy = 0.25 * (at(2, 0) - 2.0 * at(0, 0) + at(-2, 0));
  // So grouped, it is exactly 0 on a ridge along an axis.
  const double hxy = 0.25 * ((at(1, 1) - at(1, -1)) - (at(-1, 1) - at(-1, -1)));
  const double determinant = hxx * hyy - hxy * hxy;
  if (determinant == 0.0) return {};
  const Offset step{-(hyy * gx - hxy * gy) / determinant, -(hxx * gy - hxy * gx) / determinant};
  const bool is_short = step.x * step.x + step.y * step.y <= 1.0;  // false for NaN as well
  return is_short ? step : Offset{};
}

}  // namespace

template <class Stored>
Offset subpixel_offset(const Map<Stored>& map, std::int64_t x, std::int64_t y, Subpixel subpixel) {
  switch (subpixel) {
    case Subpixel::none:
      return {};
    case Subpixel::quarter:
      return quarter(map, x, y);
    case Subpixel::centroid:
      return centroid(map, x, y);
    case Subpixel::dark:
      return dark(map, x, y);
  }
  return {};
}

template Offset subpixel_offset(const Map<Float16>&, std::int64_t, std::int64_t, Subpixel);
template Offset subpixel_offset(const Map<BFloat16>&, std::int64_t, std::int64_t, Subpixel);
template Offset subpixel_offset(const Map<float>&, std::int64_t, std::int64_t, Subpixel);
template Offset subpixel_offset(const Map<double>&, std::int64_t, std::int64_t, Subpixel);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
