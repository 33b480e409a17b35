// The search for the peaks of one heatmap by a warp; contract and definition: local_maxima.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "bits.h"
#include "map_cuda.h"
#include "memory_cuda.h"
#include "options.h"
#include "pixel_pair_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// How the maps of one size are reduced to the maxima of cells of so many pixels. A cell's pixels,
// and those of the cells `reach` to the left and right and of one above and below, lie wholly
// inside the windows of all the cell's pixels, so that only a cell that is the highest of these can
// hold a local maximum.
struct CellGrid {
  int height, width;  // of a cell, in pixels
  int rows, columns;
  int reach;
  int stride;                     // of a row: `columns`, and at either end as many as the reach
  int words;                      // of a row, with a bit for each cell
  int rows_aside, columns_aside;  // so many cells on each side has the window of a pixel

  CellGrid(std::int64_t min_distance, std::int64_t H, std::int64_t W) {
    // A warp has a lane for every pixel of a cell.
    constexpr std::int64_t kMaxHeight = 16;
    const std::int64_t half = (min_distance + 1) / 2;
    height = static_cast<int>(std::min({half, H, kMaxHeight}));
    width = half > 1 ? 2 : 1;
    rows = static_cast<int>((H + height - 1) / height);
    columns = static_cast<int>((W + width - 1) / width);
    reach = static_cast<int>(std::min<std::int64_t>((min_distance + 1) / width - 1, columns - 1));
    stride = columns + 2 * reach;
    words = (columns + 31) / 32;
    const auto aside = [&](std::int64_t length, std::int64_t of_cell) {
      return static_cast<int>((std::min(min_distance, length - 1) + of_cell - 1) / of_cell);
    };
    rows_aside = aside(H, height);
    columns_aside = aside(W, width);
  }

  // The memory of a search: the maxima of the cells, of T, and behind them the words.
  template <class T>
  VL4POSE_HOST_DEVICE std::int64_t bytes_of_cells() const {
    return (std::int64_t{rows} * stride * int{sizeof(T)} + 15) / 16 * 16;
  }
  template <class T>
  VL4POSE_HOST_DEVICE std::int64_t bytes() const {
    return bytes_of_cells<T>() + (std::int64_t{rows} * words * 4 + 15) / 16 * 16;
  }
};

// Where the peaks of a map are kept.
struct PeakSlots {
  std::int32_t *x, *y;
  double* value;
};

// What all of a map's pixels say.
template <class T>
struct MapSummary {
  T largest, smallest;
  bool is_finite;  // no NaN or +inf; if not, the others mean nothing
};

// A warp's search in maps of one size, one after another. The memory that it works in, of
// grid.bytes<T>(), is shared or global: the cells, and for each a bit. The options and the grid are
// in shared memory.
//
// scan() reads the map once and leaves the maximum of each cell, and mark_candidates() marks the
// cells that can hold a peak. find() takes their values from the highest down, until K are kept.
// Whether a pixel is the maximum of its window the cells say, but for those that reach beyond it.
template <class Warp, class Stored, bool kCellsAreShared>
class MapPeaks {
 public:
  using T = Wide<Stored>;

  VL4POSE_DEVICE MapPeaks(const Warp& warp, const PeakOptions& options, const CellGrid& grid, int H,
                          int W, std::byte* memory)
      : warp_(warp),
        options_(&options),
        grid_(&grid),
        cells_(Pointer<T>(reinterpret_cast<T*>(memory)) + grid.reach),
        candidates_(reinterpret_cast<std::uint32_t*>(memory + grid.bytes_of_cells<T>())),
        reach_down_(clipped(options.min_distance, H - 1)),
        reach_across_(clipped(options.min_distance, W - 1)),
        lane_row_(warp.lane() / (2 * grid.columns_aside + 1)),
        lane_column_(warp.lane() % (2 * grid.columns_aside + 1)) {}

  // Puts the lowest of values around the cells of all rows, where scan() puts nothing.
  VL4POSE_DEVICE void clear_margins() const {
    for (int r = warp_.lane(); r < grid().rows; r += Warp::kSize) {
      const auto row = cells_row(r), end = row + grid().columns;
      for (int i = 0; i < grid().reach; ++i) row[-1 - i] = end[i] = kLowest;
    }
  }

  // Collective: reduces rows [begin, end) of cells; returns what their pixels say, to all lanes.
  VL4POSE_DEVICE MapSummary<T> scan(const DeviceMap<Stored>& map, int begin, int end) const;

  // What the map's peaks exceed; +inf if it has none.
  VL4POSE_DEVICE T bound(const DeviceMap<Stored>& map, const MapSummary<T>& summary) const;

  // Collective: marks in rows [begin, end) of cells those that can hold a peak.
  VL4POSE_DEVICE void mark_candidates(T bound, int begin, int end) const;

  // Collective: writes the map's peaks, the highest first and equal ones in row-major order, and
  // returns their number, at most K; 0 when there is none. All candidates are marked, if it needs
  // them.
  VL4POSE_DEVICE int find(const DeviceMap<Stored>& map, const MapSummary<T>& summary,
                          const PeakSlots& slots) const;
  // Not for one peak that may lie anywhere: it is the maximum.
  VL4POSE_DEVICE bool needs_candidates() const {
    return options().num_peaks > 1 || options().exclude_border > 0;
  }

  // Collective: finds the map's maximum, the first in row-major order.
  VL4POSE_DEVICE void first_maximum(const DeviceMap<Stored>& map, T largest, int& y, int& x) const;

  static constexpr T kLowest = -std::numeric_limits<T>::infinity();

 private:
  static constexpr T kInfinity = std::numeric_limits<T>::infinity();

  // Of the pixels that a lane has seen. NaN or +inf is the largest, if there is one.
  struct Extremes {
    T largest, smallest;
  };
  // The highest of a lane's candidates, and how many there are of it.
  struct Best {
    T value;
    int row, column, count;
  };
  // The peaks kept so far; those from `first_tied` on have the value that is being looked at.
  struct Kept {
    const PeakSlots& slots;
    int count, first_tied;
  };

  VL4POSE_DEVICE static int clipped(std::int64_t distance, int most) {
    return static_cast<int>(distance < most ? distance : most);
  }
  template <class V>
  using Pointer = std::conditional_t<kCellsAreShared, SharedPointer<V>, V*>;

  VL4POSE_DEVICE const PeakOptions& options() const { return *options_; }
  VL4POSE_DEVICE const CellGrid& grid() const { return *grid_; }
  VL4POSE_DEVICE Pointer<T> cells_row(int r) const { return cells_ + r * grid().stride; }
  VL4POSE_DEVICE Pointer<std::uint32_t> candidates_row(int r) const {
    return candidates_ + r * grid().words;
  }

  template <bool reads_pairs, int kHeight>
  VL4POSE_DEVICE void scan_columns(const DeviceMap<Stored>& map, int x, int begin, int end,
                                   Extremes& of_lane) const;
  template <bool reads_pairs>
  VL4POSE_NOINLINE VL4POSE_DEVICE void scan_any_columns(const DeviceMap<Stored>& map, int x,
                                                        int begin, int end,
                                                        Extremes& of_lane) const {
    scan_columns<reads_pairs, 0>(map, x, begin, end, of_lane);
  }
  template <int kReach>
  VL4POSE_DEVICE void mark_candidates_within(T bound, int begin, int end) const;
  VL4POSE_NOINLINE VL4POSE_DEVICE void mark_candidates_anyhow(T bound, int begin, int end) const {
    mark_candidates_within<0>(bound, begin, end);
  }
  VL4POSE_DEVICE Best best_below(T bound) const;
  VL4POSE_DEVICE bool keep_of_cell(const DeviceMap<Stored>& map, int row, int column, T value,
                                   bool is_largest, Kept& kept) const;
  VL4POSE_DEVICE void keep_tied(const DeviceMap<Stored>& map, T value, bool is_largest,
                                Kept& kept) const;
  VL4POSE_DEVICE bool is_window_maximum(const DeviceMap<Stored>& map, int row, int y, int x,
                                        T value) const;
  VL4POSE_DEVICE bool is_spaced(int y, int x, const Kept& kept) const;
  VL4POSE_DEVICE bool is_close(int y, int x, int other_y, int other_x) const;
  VL4POSE_DEVICE bool in_border(const DeviceMap<Stored>& map, int y, int x) const;
  VL4POSE_DEVICE void keep(int y, int x, T value, Kept& kept) const;

  Warp warp_;
  const PeakOptions* const options_;
  const CellGrid* const grid_;
  const Pointer<T> cells_;  // the first cell, behind its margin
  const Pointer<std::uint32_t> candidates_;
  const int reach_down_, reach_across_;  // of a window inside the map
  const int lane_row_, lane_column_;     // the lane's first cell of a window
};

template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE auto MapPeaks<Warp, Stored, kCellsAreShared>::scan(const DeviceMap<Stored>& map,
                                                                  int begin, int end) const
    -> MapSummary<T> {
  Extremes of_lane{kLowest, kInfinity};
  const int height = map.has_pairs() ? grid().height : 0;
  for (int left = 0; left < map.W && begin < end; left += 2 * Warp::kSize) {
    const int x = left + 2 * warp_.lane();
    if (kCellsAreShared && height == 3) {
      scan_columns<true, 3>(map, x, begin, end, of_lane);
    } else if (kCellsAreShared && height == 4) {
      scan_columns<true, 4>(map, x, begin, end, of_lane);
    } else if (height > 0) {
      scan_any_columns<true>(map, x, begin, end, of_lane);
    } else {
      scan_any_columns<false>(map, x, begin, end, of_lane);
    }
  }
  const bool is_finite = of_lane.largest < kInfinity;
  return {warp_.largest(is_finite ? of_lane.largest : kLowest), -warp_.largest(-of_lane.smallest),
          warp_.where(!is_finite) == 0};
}

// Adds to what a lane has seen two columns, which may lie behind the row's end. Of cells of kHeight
// rows, which are two columns wide, several are read at once; kHeight is 0 for cells of any size.
template <class Warp, class Stored, bool kCellsAreShared>
template <bool reads_pairs, int kHeight>
VL4POSE_DEVICE void MapPeaks<Warp, Stored, kCellsAreShared>::scan_columns(
    const DeviceMap<Stored>& map, int x, int begin, int end, Extremes& of_lane) const {
  using Pair = PixelPair<Stored>;
  // Copies, which the compiler knows not to change with what is stored.
  const int H = map.H, W = map.W, height = kHeight > 0 ? kHeight : grid().height;
  const int width = kHeight > 0 ? 2 : grid().width, stride = grid().stride;
  auto cells = cells_row(begin) + x / width;
  typename DeviceMap<Stored>::template Descent<reads_pairs> rows(map, begin * height, x);
  Pair smallest = Pair::infinite(false);
  T largest = of_lane.largest;
  const auto put = [&](const Pair& of_cell) {
    const T both = larger_or_nan(of_cell.first(), of_cell.second());
    largest = larger_or_nan(largest, both);
    if (width == 2) {
      if (x < W) cells[0] = both;
    } else {
      if (x < W) cells[0] = of_cell.first();
      if (x + 1 < W) cells[1] = of_cell.second();
    }
    cells += stride;
  };
  int r = begin;
  if constexpr (kHeight > 0) {
    constexpr int kCells = 9 / kHeight;  // at once
    const int whole = std::min(end, H / kHeight);
    for (; r + kCells <= whole; r += kCells) {
      StoredPair<Stored> pixels[kCells * kHeight];
      for (auto& pair : pixels) pair = rows.next();
      for (int i = 0; i < kCells; ++i) {
        Pair of_cell(pixels[i * kHeight]);
        smallest = smaller(of_cell, smallest);
        for (int k = 1; k < kHeight; ++k) {
          const Pair pair(pixels[i * kHeight + k]);
          of_cell = larger_or_nan(of_cell, pair);
          smallest = smaller(pair, smallest);
        }
        put(of_cell);
      }
    }
  }
  for (; r < end; ++r) {
    Pair of_cell = Pair::infinite(true);
    for (int y = r * height; y < std::min((r + 1) * height, H); ++y) {
      const Pair pair(rows.next());
      of_cell = larger_or_nan(of_cell, pair);
      smallest = smaller(pair, smallest);
    }
    put(of_cell);
  }
  of_lane = {largest, smaller(of_lane.smallest, smaller(smallest.first(), smallest.second()))};
}

template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE auto MapPeaks<Warp, Stored, kCellsAreShared>::bound(
    const DeviceMap<Stored>& map, const MapSummary<T>& summary) const -> T {
  const bool has_absolute = options().threshold_abs.has_value();
  const bool is_constant = summary.smallest == summary.largest;
  if (is_constant && (std::int64_t{map.H} * map.W > 1 || !has_absolute)) return kInfinity;
  T threshold = has_absolute ? static_cast<T>(*options().threshold_abs) : summary.smallest;
  if (options().threshold_rel) {
    threshold = larger(static_cast<T>(*options().threshold_rel) * summary.largest, threshold);
  }
  return summary.largest > threshold ? threshold : kInfinity;
}

template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_NOINLINE VL4POSE_DEVICE int MapPeaks<Warp, Stored, kCellsAreShared>::find(
    const DeviceMap<Stored>& map, const MapSummary<T>& summary, const PeakSlots& slots) const {
  const T largest = summary.largest;
  if (bound(map, summary) == kInfinity) return 0;
  Kept kept{slots, 0, 0};
  if (!needs_candidates()) {
    int y, x;
    first_maximum(map, largest, y, x);
    keep(y, x, map(y, x), kept);
    return 1;
  }
  const int K = static_cast<int>(options().num_peaks);
  Best best = best_below(kInfinity);
  while (kept.count < K) {
    const T value = warp_.largest(best.value);
    if (value == kLowest) break;
    const bool has_it = best.value == value;
    const std::uint32_t lanes = warp_.where(has_it);
    const int lane = lowest_bit(lanes);
    const int row = warp_.of_lane(best.row, lane), column = warp_.of_lane(best.column, lane);
    const int count = warp_.of_lane(best.count, lane);
    const bool is_one = is_one_bit(lanes) && count == 1;
    if (!is_one || !keep_of_cell(map, row, column, value, value == largest, kept)) {
      keep_tied(map, value, value == largest, kept);
    }
    if (has_it) best = best_below(value);
  }
  return kept.count;
}

template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_NOINLINE VL4POSE_DEVICE void MapPeaks<Warp, Stored, kCellsAreShared>::first_maximum(
    const DeviceMap<Stored>& map, T largest, int& y, int& x) const {
  // The first of n for which it holds, n if for none.
  const auto first_of = [&](int n, const auto& holds) {
    for (int first = 0; first < n; first += Warp::kSize) {
      const int i = first + warp_.lane();
      const std::uint32_t lanes = warp_.where(i < n && holds(i));
      if (lanes) return first + lowest_bit(lanes);
    }
    return n;
  };
  int r = 0;
  const auto is_of_cell = [&](int c) { return cells_row(r)[c] == largest; };
  while (r + 1 < grid().rows && first_of(grid().columns, is_of_cell) == grid().columns) ++r;
  y = r * grid().height;
  const auto is_of_pixel = [&](int i) { return map(y, i) == largest; };
  for (; y < map.H; ++y) {
    x = first_of(map.W, is_of_pixel);
    if (x < map.W) return;
  }
  y = x = 0;  // only where someone writes to the map meanwhile
}

template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE void MapPeaks<Warp, Stored, kCellsAreShared>::mark_candidates(T bound, int begin,
                                                                             int end) const {
  if (kCellsAreShared && grid().reach == 2) {
    mark_candidates_within<2>(bound, begin, end);
  } else if (kCellsAreShared && grid().reach == 3) {
    mark_candidates_within<3>(bound, begin, end);
  } else {
    mark_candidates_anyhow(bound, begin, end);
  }
}

// Those above a bound that no cell in reach exceeds; kReach is 0 for any reach.
template <class Warp, class Stored, bool kCellsAreShared>
template <int kReach>
VL4POSE_DEVICE void MapPeaks<Warp, Stored, kCellsAreShared>::mark_candidates_within(T bound,
                                                                                    int begin,
                                                                                    int end) const {
  const int rows = grid().rows, columns = grid().columns, stride = grid().stride;
  const int reach = kReach > 0 ? kReach : grid().reach, words = grid().words;
  for (int word = 0; word < words && begin < end; ++word) {
    const int column = std::min(32 * word + warp_.lane(), columns - 1);
    const bool is_cell = 32 * word + warp_.lane() < columns;
    // A cell, and the maximum of it and of those in reach on its sides.
    struct Across {
      T cell, highest;
    };
    const auto across = [&](const Pointer<T>& cell) {
      T highest = cell[0];
      for (int i = 1; i <= reach; ++i) highest = larger(highest, larger(cell[i], cell[-i]));
      return Across{cell[0], highest};
    };
    auto cell = cells_row(begin) + column;
    auto marks = candidates_row(begin) + word;
    T above = begin > 0 ? across(cell - stride).highest : kLowest;
    Across here = across(cell);
    const auto mark = [&](const Across& below) {
      const T highest = larger(larger(above, below.highest), here.highest);
      const std::uint32_t lanes = warp_.where(is_cell && here.cell > bound && here.cell >= highest);
      if (warp_.lane() == 0) marks[0] = lanes;
      marks += words;
      above = here.highest;
      here = below;
    };
    for (int r = begin + 1; r < end; ++r) mark(across(cell += stride));
    mark(end < rows ? across(cell + stride) : Across{kLowest, kLowest});
  }
}

// Of the candidates in the lane's rows, those with the highest value below a bound.
template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE auto MapPeaks<Warp, Stored, kCellsAreShared>::best_below(T bound) const -> Best {
  const int rows = grid().rows, words = grid().words;
  Best best{kLowest, 0, 0, 0};
  for (int r = warp_.lane(); r < rows; r += Warp::kSize) {
    const auto cells = cells_row(r);
    const auto marks = candidates_row(r);
    for (int word = 0; word < words; ++word) {
      for (std::uint32_t bits = marks[word]; bits; bits &= bits - 1) {
        const int column = 32 * word + lowest_bit(bits);
        const T value = cells[column];
        if (value >= bound || value < best.value) continue;
        best = {value, r, column, value == best.value ? best.count + 1 : 1};
      }
    }
  }
  return best;
}

// Keeps the peak of a cell whose value no other candidate has; false, and nothing, where several of
// its pixels have it.
template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored, kCellsAreShared>::keep_of_cell(
    const DeviceMap<Stored>& map, int row, int column, T value, bool is_largest, Kept& kept) const {
  const int shift = grid().width - 1;
  const int of_cell = warp_.lane();
  const int y = row * grid().height + (of_cell >> shift);
  const int x = (column << shift) + (of_cell & shift);
  const bool is_inside = of_cell < grid().height << shift && y < map.H && x < map.W;
  const T own_value = is_inside ? map(y, x) : kLowest;
  const std::uint32_t lanes = warp_.where(own_value == value);
  if (!is_one_bit(lanes)) return false;
  const int pixel = lowest_bit(lanes);
  const int peak_y = row * grid().height + (pixel >> shift);
  const int peak_x = (column << shift) + (pixel & shift);
  if (in_border(map, peak_y, peak_x)) return true;
  if (is_largest || is_window_maximum(map, row, peak_y, peak_x, value)) {
    keep(peak_y, peak_x, warp_.of_lane(own_value, pixel), kept);  // as it is, +0 or -0
  }
  return true;
}

// Keeps peaks among the pixels that have a value, in row-major order, each if it lies no closer
// than min_distance to one already kept. (A kept one of another value never is so close: one of the
// two would not be the maximum of its window.)
template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_NOINLINE VL4POSE_DEVICE void MapPeaks<Warp, Stored, kCellsAreShared>::keep_tied(
    const DeviceMap<Stored>& map, T value, bool is_largest, Kept& kept) const {
  kept.first_tied = kept.count;
  const auto is_candidate = [&](int r, int word) {
    const bool is_marked = candidates_row(r)[word] >> warp_.lane() & 1;
    return is_marked && cells_row(r)[32 * word + warp_.lane()] == value;
  };
  for (int r = 0; r < grid().rows; ++r) {
    std::uint32_t any = 0;
    for (int word = 0; word < grid().words; ++word) any |= warp_.where(is_candidate(r, word));
    if (!any) continue;
    const int bottom = std::min((r + 1) * grid().height, map.H);
    for (int y = r * grid().height; y < bottom; ++y) {
      for (int word = 0; word < grid().words; ++word) {
        // A lane has the pixels of one cell; those that are still to be looked at are open.
        const int left = (32 * word + warp_.lane()) * grid().width;
        const bool is_marked = is_candidate(r, word);
        const auto is_open = [&](int x) {
          return is_marked && x < map.W && map(y, x) == value && !in_border(map, y, x) &&
                 is_spaced(y, x, kept);
        };
        bool first = is_open(left), second = grid().width == 2 && is_open(left + 1);
        for (;;) {
          const std::uint32_t lanes = warp_.where(first || second);
          if (!lanes) break;
          const int lane = lowest_bit(lanes);
          const int x = warp_.of_lane(first ? left : left + 1, lane);
          const bool is_peak = is_largest || is_window_maximum(map, r, y, x, value);
          if (is_peak) {
            keep(y, x, map(y, x), kept);
            if (kept.count == options().num_peaks) return;
          }
          first = first && left != x && !(is_peak && is_close(y, left, y, x));
          second = second && left + 1 != x && !(is_peak && is_close(y, left + 1, y, x));
        }
      }
    }
  }
}

// Whether no pixel in the window of one, in a cell, exceeds its value.
template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored, kCellsAreShared>::is_window_maximum(
    const DeviceMap<Stored>& map, int row, int y, int x, T value) const {
  const int height = grid().height, shift = grid().width - 1, column = x >> shift;
  const int across = 2 * grid().columns_aside + 1, rows_at_once = std::max(Warp::kSize / across, 1);
  const int last_row = std::min(row + grid().rows_aside, grid().rows - 1);
  bool is_exceeded = false;
  for (int r = row - grid().rows_aside + lane_row_; r <= last_row; r += rows_at_once) {
    for (int i = lane_column_; i < across; i += Warp::kSize) {
      const int c = column - grid().columns_aside + i;
      if (r < 0 || c < 0 || c >= grid().columns || !(cells_row(r)[c] > value)) continue;
      // Those of its pixels that are higher may lie outside the window.
      const int bottom = std::min({(r + 1) * height - 1, y + reach_down_, map.H - 1});
      const int right = std::min({(c << shift) + shift, x + reach_across_, map.W - 1});
      for (int v = std::max(r * height, y - reach_down_); v <= bottom; ++v) {
        for (int u = std::max(c << shift, x - reach_across_); u <= right; ++u) {
          is_exceeded |= map(v, u) > value;
        }
      }
    }
  }
  return warp_.where(is_exceeded) == 0;
}

// Whether a pixel lies no closer than min_distance to any kept peak of the same value.
template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored, kCellsAreShared>::is_spaced(int y, int x,
                                                                       const Kept& kept) const {
  for (int k = kept.first_tied; k < kept.count; ++k) {
    if (is_close(y, x, kept.slots.y[k], kept.slots.x[k])) return false;
  }
  return true;
}

template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored, kCellsAreShared>::is_close(int y, int x, int other_y,
                                                                      int other_x) const {
  const int dy = y < other_y ? other_y - y : y - other_y;
  const int dx = x < other_x ? other_x - x : x - other_x;
  return dy < options().min_distance && dx < options().min_distance;
}

template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored, kCellsAreShared>::in_border(const DeviceMap<Stored>& map,
                                                                       int y, int x) const {
  const std::int64_t border = options().exclude_border;
  if (border == 0) return false;
  return y < border || x < border || y >= map.H - border || x >= map.W - border;
}

// Collective.
template <class Warp, class Stored, bool kCellsAreShared>
VL4POSE_DEVICE void MapPeaks<Warp, Stored, kCellsAreShared>::keep(int y, int x, T value,
                                                                  Kept& kept) const {
  if (warp_.lane() == 0) {
    kept.slots.x[kept.count] = x;
    kept.slots.y[kept.count] = y;
    kept.slots.value[kept.count] = value;
  }
  ++kept.count;
  warp_.sync();
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
