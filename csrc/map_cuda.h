// One heatmap as the threads of a GPU read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "array.h"
#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Pixels at any strides, which are of whole values, as the address is.
template <class Stored>
class DeviceMap {
 public:
  using T = Wide<Stored>;

  // Two pixels that lie side by side.
  struct Pair {
    T first, second;
  };

  VL4POSE_HOST_DEVICE DeviceMap(const View<4>& heatmaps, std::int64_t b, std::int64_t j)
      : H(static_cast<int>(heatmaps.shape[2])),
        W(static_cast<int>(heatmaps.shape[3])),
        data_(heatmaps.data + b * heatmaps.strides[0] + j * heatmaps.strides[1]),
        row_stride_(heatmaps.strides[2]),
        column_stride_(heatmaps.strides[3]) {
    const auto place = reinterpret_cast<std::uintptr_t>(data_) |
                       static_cast<std::uintptr_t>(H > 1 ? row_stride_ : 0);
    has_pairs_ = column_stride_ == sizeof(Stored) && W % 2 == 0 && place % sizeof(Two) == 0;
  }

  VL4POSE_HOST_DEVICE T operator()(int y, int x) const { return at(data_ + y * row_stride_, x); }

  // Where a row begins.
  VL4POSE_HOST_DEVICE const std::byte* row(int y) const { return data_ + y * row_stride_; }
  VL4POSE_HOST_DEVICE std::int64_t row_stride() const { return row_stride_; }

  // Pixels x and x + 1 of a row, x being even; behind the row's end, its last ones.
  VL4POSE_HOST_DEVICE Pair pair(const std::byte* row, int x) const {
    const int last = W - 1;
    if (has_pairs_) {
      const int first = x < last ? x : last - 1;
      const Two two = *reinterpret_cast<const Two*>(row + first * int{sizeof(Stored)});
      return {widen(two.first), widen(two.second)};
    }
    return {at(row, x < last ? x : last), at(row, x < last ? x + 1 : last)};
  }

  // Whether the map is one piece of memory.
  VL4POSE_HOST_DEVICE bool is_contiguous() const {
    return column_stride_ == sizeof(Stored) && row_stride_ == W * column_stride_;
  }

  int H, W;

 private:
  struct alignas(2 * sizeof(Stored)) Two {
    Stored first, second;
  };

  VL4POSE_HOST_DEVICE T at(const std::byte* row, int x) const {
    return widen(*reinterpret_cast<const Stored*>(row + x * column_stride_));
  }

  const std::byte* data_;
  std::int64_t row_stride_, column_stride_;  // in bytes
  bool has_pairs_;
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
