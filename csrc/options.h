// What a caller can choose.
#pragma once

#include <cstdint>
#include <optional>

namespace vl4pose {

struct PeakOptions {
  std::int64_t num_peaks = 5;     // K >= 1
  std::int64_t min_distance = 5;  // d >= 1, in pixels
  std::optional<double> threshold_abs;
  std::optional<double> threshold_rel;
  std::int64_t exclude_border = 0;  // pixels on each side in which no peak is kept
};

enum class Method : std::uint8_t { expected, max, marginal, sum };

enum class Objective : std::uint8_t {
  map,  // sum_j log p_j(y_j) + sum_links ell
  eq6,  // the paper's Eq. 6 as printed: sum_links p_child(b) ell(a, b)
};

// The step from a pixel to a keypoint.
enum class Subpixel : std::uint8_t {
  none,
  quarter,   // 0.25 sign(h[x + 1] - h[x - 1]) per axis, 0 at the border
  centroid,  // mean of the 5 x 5 pixels around, weighted by max(h, 0), clipped at the border
  dark,      // Gaussian of 11 pixels, log, one Newton step; none where it is singular or longer
             // than a pixel
};

struct ScoreOptions {
  PeakOptions peaks;
  double temperature = 1.0;
  Method method = Method::expected;
  Objective objective = Objective::map;
  Subpixel subpixel = Subpixel::none;
};

}  // namespace vl4pose
