// One heatmap as the peak search reads it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "array.h"
#include "buffer.h"
#include "ordered.h"
#include "simd.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// H rows of W contiguous values each. A vector may be read from every row, however narrow: what
// lies between W and readable_width() then equals the row's last value.
template <class Stored>
struct Map {
  const std::byte* data;
  std::int64_t row_stride;  // in bytes
  std::int64_t H, W;

  std::int64_t readable_width() const { return std::max<std::int64_t>(W, kLanes<Ordered<Stored>>); }
  const Stored* row(std::int64_t y) const {  // perhaps unaligned: for load_ordered() and operator()
    return reinterpret_cast<const Stored*>(data + y * row_stride);
  }
  Wide<Stored> operator()(std::int64_t y, std::int64_t x) const {
    return widen(
        read<Stored>(data + y * row_stride + x * static_cast<std::int64_t>(sizeof(Stored))));
  }
};

// Gives the maps of heatmaps (B, J, H, W), one at a time: in place where they are rows that vectors
// can be read from, and else as a copy in its own memory. Copies are made of a few joints at once,
// which lie side by side where channels come last.
template <class Stored>
class MapReader {
 public:
  explicit MapReader(const View<4>& heatmaps) : heatmaps_(heatmaps) {}

  // Map (b, j), valid until the next call.
  Map<Stored> operator()(std::int64_t b, std::int64_t j) {
    const auto [B, J, H, W] = heatmaps_.shape;
    const std::int64_t size = sizeof(Stored);
    const Map<Stored> in_place{heatmaps_.at(b, j, std::int64_t{0}, std::int64_t{0}),
                               heatmaps_.strides[2], H, W};
    const std::int64_t width = in_place.readable_width();
    if (heatmaps_.strides[3] == size && width == W) return in_place;
    const std::int64_t first = j / kJoints * kJoints;
    if (b != copied_b_ || first != copied_j_) copy(b, first, width);
    const Stored* copy = copy_.data() + (j - first) * H * width;
    return {reinterpret_cast<const std::byte*>(copy), width * size, H, W};
  }

 private:
  static constexpr std::int64_t kJoints = 4;

  void copy(std::int64_t b, std::int64_t first, std::int64_t width) {
    const auto [B, J, H, W] = heatmaps_.shape;
    if (copy_.size() == 0) copy_ = Buffer<Stored>(kJoints * H * width);
    const std::int64_t joints = std::min(J - first, kJoints), map_size = H * width;
    joints == kJoints ? copy_rows<true>(b, first, joints, width, map_size)
                      : copy_rows<false>(b, first, joints, width, map_size);
    copied_b_ = b;
    copied_j_ = first;
  }

  template <bool is_whole>
  void copy_rows(std::int64_t b, std::int64_t first, std::int64_t joints, std::int64_t width,
                 std::int64_t map_size) {
    const auto [B, J, H, W] = heatmaps_.shape;
    const std::int64_t joint_step = heatmaps_.strides[1], step = heatmaps_.strides[3];
    // Where channels come last, the first joints bring the whole image into the second cache. So
    // that memory is busy afterwards, the other joints ask for the next image, a share each.
    const bool asks = joint_step == sizeof(Stored) && first > 0 && b + 1 < B;
    const std::int64_t share = asks ? W * step / ((J + kJoints - 1) / kJoints - 1) : 0;
    for (std::int64_t y = 0; y < H; ++y) {
      const std::byte* row = heatmaps_.at(b, first, y, std::int64_t{0});
      Stored* target = copy_.data() + y * width;
      const std::byte* const next =
          asks ? heatmaps_.at(b + 1, std::int64_t{0}, y, std::int64_t{0}) : nullptr;
      for (std::int64_t asked = 0; asked < share; asked += kCacheLine) {
        __builtin_prefetch(next + (first / kJoints - 1) * share + asked);
      }
      const std::int64_t n = is_whole ? kJoints : joints;
      std::int64_t x = 0;
      if constexpr (is_whole && sizeof(Stored) == 4) {
        for (; joint_step == sizeof(Stored) && x + kJoints <= W; x += kJoints) {
          transpose(row + x * step, step, target + x, map_size);
        }
      }
      for (; x < W; ++x) {
        for (std::int64_t i = 0; i < n; ++i) {
          target[i * map_size + x] = read<Stored>(row + x * step + i * joint_step);
        }
      }
      for (std::int64_t i = 0; i < n; ++i) {
        Stored* const rest = target + i * map_size;
        std::fill(rest + W, rest + width, rest[W - 1]);
      }
    }
  }

  // Four pixels of four joints that lie side by side, with vectors.
  static void transpose(const std::byte* pixels, std::int64_t step, Stored* target,
                        std::int64_t map_size) {
    using Four = typename VectorOf<Stored, 4 * sizeof(Stored)>::type;
    const auto pixel = [&](std::int64_t x) { return read<Four>(pixels + x * step); };
    const auto put = [&](std::int64_t i, Four values) {
      std::memcpy(target + i * map_size, &values, sizeof values);
    };
    const Four a = pixel(0), b = pixel(1), c = pixel(2), d = pixel(3);
    const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const Four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    put(0, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
    put(1, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
    const Four upper_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Four upper_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    put(2, __builtin_shufflevector(upper_ab, upper_cd, 0, 1, 4, 5));
    put(3, __builtin_shufflevector(upper_ab, upper_cd, 2, 3, 6, 7));
  }

  const View<4>& heatmaps_;
  Buffer<Stored> copy_;  // (kJoints, H, readable width)
  std::int64_t copied_b_ = -1, copied_j_ = -1;
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
