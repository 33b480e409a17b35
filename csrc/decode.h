// The sub-pixel step from a heatmap's pixel to a keypoint. Reference: vl4pose/reference.py, decode.
#pragma once

#include <cstdint>

#include "array.h"

namespace vl4pose {

enum class Subpixel : std::uint8_t {
  none,
  quarter,   // 0.25 sign(h[x + 1] - h[x - 1]) per axis, 0 at the border
  centroid,  // mean of the 5 x 5 pixels around, weighted by max(h, 0), clipped at the border
  dark,      // Gaussian of 11 pixels, log, one Newton step; none where it is singular or longer
             // than a pixel
};

struct Offset {
  double x = 0.0, y = 0.0;  // pixels
};

// How far the keypoint at pixel (x, y) of a map lies from that pixel's centre.
template <class T>
Offset subpixel_offset(const Map<T>& map, std::int64_t x, std::int64_t y, Subpixel subpixel);

}  // namespace vl4pose
