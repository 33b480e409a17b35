// The peaks of one heatmap: the kept local maxima, exactly as scikit-image's peak_local_max with
// the Chebyshev norm finds, orders and numbers them. Reference: vl4pose/reference.py, local_maxima.
#pragma once

#include <cstdint>
#include <type_traits>

#include "array.h"
#include "buffer.h"
#include "map.h"
#include "options.h"
#include "ordered.h"
#include "prefetch.h"
#include "window_maxima.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
struct Peak {
  T value;
  std::int32_t x, y;
};

// Finds the peaks of maps of one size, one after another, and keeps its memory between them.
//
// scan() reads the map once, and reduces it to the maxima of small cells, of which several around a
// pixel's own lie wholly inside its window of (2 d + 1)^2 pixels: N cells each way where a cell is
// G pixels long and G (N + 1) <= d + 1. Only a pixel that equals the maximum of all of these can be
// a local maximum: a few dozen of a typical map, and a few more for their keys are compared, which
// takes half the time. find() looks at these from the highest down, each in its whole window, until
// K are kept. Where many are equal (saturated maps, or of integers) and are not the map's maximum,
// which no pixel exceeds, it does the same with cells of one pixel: these need no second look.
template <class Stored>
class LocalMaxima {
 public:
  using T = Wide<Stored>;
  using V = Ordered<Stored>;

  // `finds` tells whether find() will be called.
  LocalMaxima(const PeakOptions& options, std::int64_t H, std::int64_t W, Prefetch& prefetch,
              bool finds);

  // Takes the next map, which nobody may write to until its peaks are found (they would not be
  // specified, though no memory is touched that is not the map's); false when it holds a NaN or
  // +inf. -inf is an ordinary value.
  bool scan(const Map<Stored>& map);

  // The map's maximum, the first in row-major order.
  Peak<T> first_maximum() const;

  // Writes at most K peaks, the highest first, equal ones in row-major order, and returns their
  // number; 0 when there is none and the caller falls back to the first maximum.
  std::int64_t find(Peak<T>* peaks);

 private:
  struct Cell {
    std::int64_t row, column;
  };
  using LaneMask =
      std::conditional_t<kLanes<Key> == 32, std::uint32_t,
                         std::conditional_t<kLanes<Key> == 16, std::uint16_t, std::uint8_t>>;
  static constexpr std::int64_t kMaxTied = 8;   // equal candidates that are looked at one by one
  static constexpr std::int64_t kMaxNext = 16;  // candidates that are put in order at once
  static constexpr int kGroups = 16;            // of candidates, of which the highest are taken
  static constexpr int kUsual = 4;              // candidates of a word
  static constexpr std::int64_t kMaxCellHeight = 32;  // a cell's pixels fit into one integer's bits

  // Asks for a cache line of what is read later, for so many bytes that are read now.
  template <int kCellWidth, int kBytesOfLine>
  Finite scan_cells();
  LaneMaxima<Stored> scan_last_column();
  void clear_behind_columns();
  bool is_finite() const;
  V smallest() const;
  std::int64_t find_above(V bound, Peak<T>* peaks);
  std::int64_t list_candidates(V bound);
  std::int64_t rank_candidates(std::int64_t n, std::int64_t* order);
  Cell cell_of(std::int64_t candidate) const;
  std::uint64_t pixels_equal(Cell cell, V value) const;
  Peak<T> pixel_of(Cell cell, int bit) const;
  std::int64_t keep_tied(V value, std::int64_t num_candidates, Peak<T>* peaks, std::int64_t kept);
  std::int64_t keep_highest(Peak<T>* peaks) const;
  bool is_spaced(const Peak<T>& pixel, const Peak<T>* begin, const Peak<T>* end) const;
  std::int64_t find_among_pixels(V bound, Peak<T>* peaks);
  void read_pixels();
  void erase_border();
  void erase_around(const Peak<T>& peak);
  Peak<T> pixel(std::int64_t y, std::int64_t x) const;
  bool in_border(const Peak<T>& pixel) const;
  bool is_window_maximum(const Peak<T>& pixel, V value) const;

  const PeakOptions options_;
  Prefetch& prefetch_;
  const std::int64_t H_, W_;
  const std::int64_t cell_height_, cell_width_;  // G; N = 1 down the columns
  const std::int64_t cell_rows_, cell_columns_;
  const bool do_cells_hold_windows_;  // of a pixel, the cells that lie one farther than N away
  const bool lists_candidates_;       // and else the map's maximum is all that is looked for
  const int cell_stride_bits_;
  const std::int64_t cell_stride_;  // whole vectors of keys, a power of two
  Buffer<V> cells_;                 // their maxima; behind the columns, the lowest of values
  WindowMaxima<Key> keys_;          // of the same
  Buffer<LaneMask> masks_;          // which cells are candidates, a bit for each position
  Buffer<V> candidates_;            // their maxima, in row-major order
  Buffer<std::int64_t> positions_;  // and positions
  Buffer<Peak<T>> tied_;            // pixels
  WindowMaxima<V> pixels_;          // these two are made when first needed
  Buffer<V> pixel_peaks_;           // by position; the lowest of values where there is none

  Map<Stored> map_{};
  V largest_{};
  V lowest_of_cells_{};  // the smallest value is no higher
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
