// The sub-pixel step from a heatmap's pixel to a keypoint. Reference: vl4pose/reference.py, decode.
#pragma once

#include <cstdint>

#include "decode_math.h"
#include "map.h"
#include "options.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// How far the keypoint at pixel (x, y) of a map lies from that pixel's centre.
template <class Stored>
Offset subpixel_offset(const Map<Stored>& map, std::int64_t x, std::int64_t y, Subpixel subpixel);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
