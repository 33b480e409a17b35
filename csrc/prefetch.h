// Asks for the heatmaps that will be read next while others are worked on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "array.h"
#include "buffer.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// The processor's own prefetching follows a map while it is read and stops when its peaks are
// looked at. So that memory is busy throughout, every stage of the work asks for a few cache lines
// as it goes on: of the next map, and no farther, for more would not fit into the first cache; or
// where two maps do not fit, of what will be read soon. No stage should ask for many more than
// memory delivers meanwhile: with some 64 lines under way, what is asked for is dropped, and waited
// for when it is read.
class Prefetch {
 public:
  // For maps (B, J, H, W) that are read one after the other.
  explicit Prefetch(const View<4>& heatmaps) : heatmaps_(&heatmaps), next_(heatmaps.data) {
    const auto [B, J, H, W] = heatmaps.shape;
    const std::int64_t row = std::abs(heatmaps.strides[2]);
    // Only of maps that lie in one piece of memory, or nearly.
    if (heatmaps.strides[3] == size_of(heatmaps.dtype) && row <= 2 * W * heatmaps.strides[3]) {
      lines_of_map_ = (H * row + kCacheLine - 1) / kCacheLine;
    }
  }

  // Whether what is asked for lies a little ahead of what is read, and not in the next map.
  bool is_close() const { return lines_of_map_ > kMostOfNextMap; }

  // Map (b, j) is read now, or will be next.
  void start(std::int64_t b, std::int64_t j) {
    const auto [B, J, H, W] = heatmaps_->shape;
    if ((b == b_ && j == j_) || b == B) return;
    b_ = b;
    j_ = j;
    if (is_close()) {
      next_ = first_line(b, j) + kLead * kCacheLine;
      end_ = next_ + lines_of_map_ * kCacheLine;
      step_ = kCacheLine;
      return;
    }
    const bool is_last_joint = j + 1 == J;
    const std::int64_t next_b = is_last_joint ? b + 1 : b, next_j = is_last_joint ? 0 : j + 1;
    const bool is_any = next_b < B && lines_of_map_ > 0;
    step_ = is_any ? kCacheLine : 0;
    end_ = next_;
    if (!is_any) return;
    next_ = first_line(next_b, next_j);
    end_ = next_ + lines_of_map_ * kCacheLine;
  }

  // Asks for so many cache lines more.
  void lines(std::int64_t n) {
    // In a register: the compiler does not know that a prefetch reads nothing of this object.
    const std::byte* line = next_;
    const std::byte* const end = std::min(line + n * kCacheLine, end_);
    for (; line < end; line += kCacheLine) __builtin_prefetch(line);
    next_ = line;
  }

  // The same for inner loops, on a copy that is assigned back: some of the lines may lie behind the
  // next map.
  template <int n>
  void some_lines() {
    for (int i = 0; i < n; ++i, next_ += step_) __builtin_prefetch(next_);
  }

  // Asks for what is left of the next map: of every line that is not there when it is read,
  // memory's whole latency would be waited for.
  void rest() { lines(lines_of_map_); }

 private:
  static constexpr std::int64_t kMostOfNextMap = 384;  // lines, half of a small first cache
  static constexpr std::int64_t kLead = 96;            // lines

  const std::byte* first_line(std::int64_t b, std::int64_t j) const {
    const std::int64_t last_row = heatmaps_->shape[2] - 1, row_stride = heatmaps_->strides[2];
    const std::byte* const row = heatmaps_->at(b, j, std::int64_t{0}, std::int64_t{0});
    return row_stride < 0 ? row + last_row * row_stride : row;
  }

  const View<4>* heatmaps_;
  std::int64_t lines_of_map_ = 0, step_ = 0;
  std::int64_t b_ = -1, j_ = -1;            // the map that was started
  const std::byte *next_, *end_ = nullptr;  // end_ of the next map
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
