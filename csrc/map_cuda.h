// One heatmap as the threads of a GPU read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "array.h"
#include "host_device.h"
#include "memory_cuda.h"
#include "pixel_pair_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Pixels at any strides, which are of whole values, as the address is.
template <class Stored>
class DeviceMap {
 public:
  using T = Wide<Stored>;
  using Pair = StoredPair<Stored>;

  VL4POSE_DEVICE DeviceMap(const View<4>& heatmaps, std::int64_t b, std::int64_t j)
      : H(static_cast<int>(heatmaps.shape[2])),
        W(static_cast<int>(heatmaps.shape[3])),
        data_(heatmaps.data + b * heatmaps.strides[0] + j * heatmaps.strides[1]),
        row_stride_(heatmaps.strides[2]),
        column_stride_(heatmaps.strides[3]) {
    const auto place = reinterpret_cast<std::uintptr_t>(data_) |
                       static_cast<std::uintptr_t>(H > 1 ? row_stride_ : 0);
    has_pairs_ = column_stride_ == sizeof(Stored) && W % 2 == 0 && place % sizeof(Pair) == 0;
  }

  VL4POSE_DEVICE T operator()(int y, int x) const {
    const std::byte* const pixel = data_ + y * row_stride_ + x * column_stride_;
    return widen(read_global(reinterpret_cast<const Stored*>(pixel)));
  }

  // Whether the pixels 0 and 1, 2 and 3, ... of every row can be read as one.
  VL4POSE_DEVICE bool has_pairs() const { return has_pairs_; }

  // Goes down the map, from row y on, in columns x and x + 1, x being even. What is behind the
  // row's end are its last pixels.
  template <bool reads_pairs>
  class Descent {
   public:
    VL4POSE_DEVICE Descent(const DeviceMap& map, int y, int x) : row_stride_(map.row_stride_) {
      const int last = map.W - 1, second = x < last ? x + 1 : last;
      const int first = x < last ? x : last - static_cast<int>(reads_pairs);
      const std::byte* const row = map.data_ + y * row_stride_;
      first_ = row + first * map.column_stride_;
      second_ = row + second * map.column_stride_;
    }

    // The pixels of the next row.
    VL4POSE_DEVICE Pair next() {
      Pair pair;
      if constexpr (reads_pairs) {
        pair = read_global(reinterpret_cast<const Pair*>(first_));
      } else {
        pair = {read_global(reinterpret_cast<const Stored*>(first_)),
                read_global(reinterpret_cast<const Stored*>(second_))};
      }
      first_ += row_stride_;
      second_ += row_stride_;
      return pair;
    }

   private:
    const std::byte *first_, *second_;
    const std::int64_t row_stride_;
  };

  // The address of the map's first pixel.
  VL4POSE_DEVICE const std::byte* data() const { return data_; }
  // Whether the map is one piece of memory.
  VL4POSE_DEVICE bool is_contiguous() const {
    return column_stride_ == sizeof(Stored) && row_stride_ == W * column_stride_;
  }

  int H, W;

 private:
  const std::byte* data_;
  std::int64_t row_stride_, column_stride_;  // in bytes
  bool has_pairs_;
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
