// The sub-pixel steps, on CPUs and GPUs. A Map has H, W, and map(y, x), its value there.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "host_device.h"
#include "options.h"
#include "vector_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

struct Offset {
  double x = 0.0, y = 0.0;  // pixels
};

// 0.25 sign(h[x + 1] - h[x - 1]) per axis, 0 at the border.
template <class Map>
VL4POSE_HOST_DEVICE Offset quarter(const Map& map, std::int64_t x, std::int64_t y) {
  const auto step = [](auto after, auto before) {
    return 0.25 * (static_cast<int>(after > before) - static_cast<int>(after < before));
  };
  Offset offset;
  if (x > 0 && x + 1 < map.W) offset.x = step(map(y, x + 1), map(y, x - 1));
  if (y > 0 && y + 1 < map.H) offset.y = step(map(y + 1, x), map(y - 1, x));
  return offset;
}

// The mean of the 5 x 5 pixels around, weighted by max(h, 0), clipped at the border.
template <class Map>
VL4POSE_HOST_DEVICE Offset centroid(const Map& map, std::int64_t x, std::int64_t y) {
  constexpr std::int64_t reach = 2;
  const std::int64_t top = std::max<std::int64_t>(y - reach, 0);
  const std::int64_t left = std::max<std::int64_t>(x - reach, 0);
  const std::int64_t bottom = std::min<std::int64_t>(y + reach, map.H - 1);
  const std::int64_t right = std::min<std::int64_t>(x + reach, map.W - 1);
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

// The Gaussian of "dark" has 11 pixels, and its derivatives look two pixels away.
inline constexpr int kBlurReach = 5;
inline constexpr int kStencil = 2;
inline constexpr int kStencilSize = 2 * kStencil + 1;

// exp(-i^2 / (2 sigma^2)) with sigma = 2, what OpenCV takes for 11 pixels, normalised.
VL4POSE_HOST_DEVICE constexpr std::array<double, 2 * kBlurReach + 1> blur_kernel() {
  std::array<double, 2 * kBlurReach + 1> values{};
  double sum = 0.0;
  for (int i = -kBlurReach; i <= kBlurReach; ++i) {
    sum += values[i + kBlurReach] = exponential(-static_cast<double>(i * i) / 8.0);
  }
  for (double& value : values) value /= sum;
  return values;
}

// Whether a pixel is so far from the border that "dark" takes a step.
template <class Map>
VL4POSE_HOST_DEVICE bool has_stencil(const Map& map, std::int64_t x, std::int64_t y) {
  return x >= kStencil && x < map.W - kStencil && y >= kStencil && y < map.H - kStencil;
}

// What "dark" takes the logarithm of.
VL4POSE_HOST_DEVICE inline double log_of_blurred(double blurred) {
  return logarithm(blurred > 1e-10 ? blurred : 1e-10);
}

// One Newton step of "dark", where log_map[i * kStencilSize + c] is the logarithm of the blurred
// map at the pixel (c - kStencil, i - kStencil) away; none where it is singular or longer than a
// pixel.
VL4POSE_HOST_DEVICE inline Offset newton_step(const double* log_map) {
  const auto at = [&](int dy, int dx) {
    return log_map[(kStencil + dy) * kStencilSize + kStencil + dx];
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

// The step of a kind; dark() is how the caller computes that of "dark".
template <class Map, class Dark>
VL4POSE_HOST_DEVICE Offset step_of(Subpixel subpixel, const Map& map, std::int64_t x,
                                   std::int64_t y, const Dark& dark) {
  switch (subpixel) {
    case Subpixel::none:
      return {};
    case Subpixel::quarter:
      return quarter(map, x, y);
    case Subpixel::centroid:
      return centroid(map, x, y);
    case Subpixel::dark:
      return dark();
  }
  return {};
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
