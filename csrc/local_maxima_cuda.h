// The search for the peaks of one heatmap by a warp; contract and definition: local_maxima.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "bits.h"
#include "map_cuda.h"
#include "options.h"

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
  int stride;  // of a row: `columns`, and at either end as many as the reach

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
  }

  // Of a row, with a bit for each cell.
  VL4POSE_HOST_DEVICE int words() const { return (columns + 31) / 32; }

  // The memory of a search: the maxima of the cells, of T, and behind them the words.
  template <class T>
  VL4POSE_HOST_DEVICE std::int64_t bytes_of_cells() const {
    return (std::int64_t{rows} * stride * int{sizeof(T)} + 15) / 16 * 16;
  }
  template <class T>
  VL4POSE_HOST_DEVICE std::int64_t bytes() const {
    return bytes_of_cells<T>() + (std::int64_t{rows} * words() * 4 + 15) / 16 * 16;
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

template <class T>
VL4POSE_DEVICE T larger(T a, T b) {
  return a > b ? a : b;
}
template <class T>
VL4POSE_DEVICE T smaller(T a, T b) {
  return a < b ? a : b;
}
#if defined(__CUDACC__)  // one instruction each
VL4POSE_DEVICE inline float larger(float a, float b) { return fmaxf(a, b); }
VL4POSE_DEVICE inline float smaller(float a, float b) { return fminf(a, b); }
#endif

// A warp's search in maps of one size, one after another. The memory that it works in, of
// grid.bytes<T>(), may be shared or global: the cells, and for each a bit.
//
// scan() reads the map once and leaves the maximum of each cell. find() marks the cells that can
// hold a peak, takes their values from the highest down, and looks at the pixels that have it, each
// in its whole window, until K are kept.
template <class Warp, class Stored>
class MapPeaks {
 public:
  using T = Wide<Stored>;

  VL4POSE_DEVICE MapPeaks(const Warp& warp, const PeakOptions& options, const CellGrid& grid, int H,
                          int W, std::byte* memory)
      : warp_(warp),
        options_(options),
        grid_(grid),
        cells_(reinterpret_cast<T*>(memory) + grid.reach),
        candidates_(reinterpret_cast<std::uint32_t*>(memory + grid.bytes_of_cells<T>())),
        reach_down_(clipped(options.min_distance, H - 1)),
        reach_across_(clipped(options.min_distance, W - 1)) {
    const int across = 2 * reach_across_ + 1;
    lane_y_ = warp.lane() / across;
    lane_x_ = warp.lane() % across;
    step_y_ = Warp::kSize / across;
    step_x_ = Warp::kSize % across;
  }

  // Puts the lowest of values around the cells of all rows, where scan() puts nothing.
  VL4POSE_DEVICE void clear_margins() const {
    for (int r = 0; r < grid_.rows; ++r) {
      T* const row = cells_row(r);
      for (int i = warp_.lane(); i < grid_.reach; i += Warp::kSize) {
        row[i - grid_.reach] = row[grid_.columns + i] = kLowest;
      }
    }
  }

  // Collective: reduces rows [begin, end) of cells; returns what their pixels say, to all lanes.
  VL4POSE_DEVICE MapSummary<T> scan(const DeviceMap<Stored>& map, int begin, int end) const;

  // Collective: writes the map's peaks, the highest first and equal ones in row-major order, and
  // returns their number, at most K; 0 when there is none.
  VL4POSE_DEVICE int find(const DeviceMap<Stored>& map, const MapSummary<T>& summary,
                          const PeakSlots& slots) const;

  // Collective: finds the map's maximum, the first in row-major order.
  VL4POSE_DEVICE void first_maximum(const DeviceMap<Stored>& map, T largest, int& y, int& x) const;

  static constexpr T kLowest = -std::numeric_limits<T>::infinity();

 private:
  static constexpr T kInfinity = std::numeric_limits<T>::infinity();

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
  VL4POSE_DEVICE T* cells_row(int r) const { return cells_ + std::int64_t{r} * grid_.stride; }
  VL4POSE_DEVICE std::uint32_t* candidates_row(int r) const {
    return candidates_ + std::int64_t{r} * grid_.words();
  }

  template <bool reads_pairs, int kHeight>
  VL4POSE_DEVICE void scan_columns(const DeviceMap<Stored>& map, int x, int begin, int end,
                                   MapSummary<T>& of_lane) const;
  VL4POSE_DEVICE void mark_candidates(T bound) const;
  template <int kReach>
  VL4POSE_DEVICE void mark_candidates_within(T bound) const;
  VL4POSE_DEVICE Best best_below(T bound) const;
  VL4POSE_DEVICE bool keep_of_cell(const DeviceMap<Stored>& map, int row, int column, T value,
                                   bool is_largest, Kept& kept) const;
  VL4POSE_DEVICE void keep_tied(const DeviceMap<Stored>& map, T value, bool is_largest,
                                Kept& kept) const;
  VL4POSE_DEVICE bool is_window_maximum(const DeviceMap<Stored>& map, int y, int x, T value) const;
  VL4POSE_DEVICE bool is_spaced(int y, int x, const Kept& kept) const;
  VL4POSE_DEVICE bool is_close(int y, int x, int other_y, int other_x) const;
  VL4POSE_DEVICE bool in_border(const DeviceMap<Stored>& map, int y, int x) const;
  VL4POSE_DEVICE void keep(const DeviceMap<Stored>& map, int y, int x, Kept& kept) const;

  Warp warp_;
  const PeakOptions& options_;
  const CellGrid& grid_;
  T* const cells_;  // the first cell, behind its margin
  std::uint32_t* const candidates_;
  const int reach_down_, reach_across_;    // of a window inside the map
  int lane_y_, lane_x_, step_y_, step_x_;  // the lane's pixel of a window, and the way to its next
};

template <class Warp, class Stored>
VL4POSE_DEVICE auto MapPeaks<Warp, Stored>::scan(const DeviceMap<Stored>& map, int begin,
                                                 int end) const -> MapSummary<T> {
  MapSummary<T> of_lane{kLowest, kInfinity, true};
  const int height = map.has_pairs() ? grid_.height : 0;
  for (int left = 0; left < map.W && begin < end; left += 2 * Warp::kSize) {
    const int x = left + 2 * warp_.lane();
    if (height == 3) {
      scan_columns<true, 3>(map, x, begin, end, of_lane);
    } else if (height == 4) {
      scan_columns<true, 4>(map, x, begin, end, of_lane);
    } else if (height > 0) {
      scan_columns<true, 0>(map, x, begin, end, of_lane);
    } else {
      scan_columns<false, 0>(map, x, begin, end, of_lane);
    }
  }
  return {warp_.largest(of_lane.largest), -warp_.largest(-of_lane.smallest),
          warp_.where(!of_lane.is_finite) == 0};
}

// Adds to a lane's summary two columns, which may lie behind the row's end. Cells of kHeight pixels
// are read one ahead; kHeight is 0 for those of any height.
template <class Warp, class Stored>
template <bool reads_pairs, int kHeight>
VL4POSE_NOINLINE VL4POSE_DEVICE void MapPeaks<Warp, Stored>::scan_columns(
    const DeviceMap<Stored>& map, int x, int begin, int end, MapSummary<T>& of_lane) const {
  using Pair = typename DeviceMap<Stored>::Pair;
  // Copies, which the compiler knows not to change with what is stored.
  const int H = map.H, W = map.W, height = kHeight > 0 ? kHeight : grid_.height;
  const int width = grid_.width, stride = grid_.stride;
  T* cells = cells_row(begin) + x / width;
  typename DeviceMap<Stored>::template Descent<reads_pairs> rows(map, begin * height, x);
  auto [largest, smallest, is_finite] = of_lane;
  T first = kLowest, second = kLowest;
  const auto take = [&](const Pair& pair) {
    const T a = widen(pair.first), b = widen(pair.second);
    is_finite = is_finite && a < kInfinity && b < kInfinity;
    // So ordered, NaN gives the other.
    smallest = smaller(b, smaller(a, smallest));
    first = larger(a, first);
    second = larger(b, second);
  };
  const auto put = [&] {
    const T both = larger(first, second);
    largest = larger(both, largest);
    if (kHeight > 0 || width == 2) {
      if (x < W) cells[0] = both;
    } else {
      if (x < W) cells[0] = first;
      if (x + 1 < W) cells[1] = second;
    }
    cells += stride;
    first = second = kLowest;
  };
  int r = begin;
  if constexpr (kHeight > 0) {
    const int last = std::min(end, H / kHeight) - 1;  // that is whole
    Pair next[kHeight];
    for (int i = 0; i < kHeight && r <= last; ++i) next[i] = rows.next();
    for (; r <= last; ++r) {
      Pair here[kHeight];
      for (int i = 0; i < kHeight; ++i) here[i] = next[i];
      for (int i = 0; i < kHeight && r < last; ++i) next[i] = rows.next();
      for (int i = 0; i < kHeight; ++i) take(here[i]);
      put();
    }
  }
  for (; r < end; ++r) {
    const int bottom = std::min((r + 1) * height, H);
    for (int y = r * height; y < bottom; ++y) take(rows.next());
    put();
  }
  of_lane = {largest, smallest, is_finite};
}

template <class Warp, class Stored>
VL4POSE_NOINLINE VL4POSE_DEVICE int MapPeaks<Warp, Stored>::find(const DeviceMap<Stored>& map,
                                                                 const MapSummary<T>& summary,
                                                                 const PeakSlots& slots) const {
  const bool has_absolute = options_.threshold_abs.has_value();
  const T largest = summary.largest;
  const bool is_constant = summary.smallest == largest;
  if (is_constant && (std::int64_t{map.H} * map.W > 1 || !has_absolute)) return 0;
  T threshold = has_absolute ? static_cast<T>(*options_.threshold_abs) : summary.smallest;
  if (options_.threshold_rel) {
    threshold = larger(static_cast<T>(*options_.threshold_rel) * largest, threshold);
  }
  if (!(largest > threshold)) return 0;
  Kept kept{slots, 0, 0};
  if (options_.num_peaks == 1) {
    // The first maximum is a local maximum wherever it lies, and no other comes before it.
    int y, x;
    first_maximum(map, largest, y, x);
    if (!in_border(map, y, x)) {
      keep(map, y, x, kept);
      return 1;
    }
  }
  mark_candidates(threshold);
  warp_.sync();
  Best best = best_below(kInfinity);
  while (kept.count < options_.num_peaks) {
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

template <class Warp, class Stored>
VL4POSE_NOINLINE VL4POSE_DEVICE void MapPeaks<Warp, Stored>::first_maximum(
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
  while (r + 1 < grid_.rows && first_of(grid_.columns, is_of_cell) == grid_.columns) ++r;
  y = r * grid_.height;
  const auto is_of_pixel = [&](int i) { return map(y, i) == largest; };
  for (; y < map.H; ++y) {
    x = first_of(map.W, is_of_pixel);
    if (x < map.W) return;
  }
  y = x = 0;  // only where someone writes to the map meanwhile
}

// Marks the cells above a bound that no cell in reach exceeds.
template <class Warp, class Stored>
VL4POSE_DEVICE void MapPeaks<Warp, Stored>::mark_candidates(T bound) const {
  switch (grid_.reach) {
    case 2:
      return mark_candidates_within<2>(bound);
    case 3:
      return mark_candidates_within<3>(bound);
    default:
      return mark_candidates_within<0>(bound);
  }
}

// kReach is 0 for any reach.
template <class Warp, class Stored>
template <int kReach>
VL4POSE_NOINLINE VL4POSE_DEVICE void MapPeaks<Warp, Stored>::mark_candidates_within(T bound) const {
  const int rows = grid_.rows, columns = grid_.columns, stride = grid_.stride;
  const int reach = kReach > 0 ? kReach : grid_.reach, words = grid_.words();
  for (int word = 0; word < words; ++word) {
    const int column = std::min(32 * word + warp_.lane(), columns - 1);
    const bool is_cell = 32 * word + warp_.lane() < columns;
    const T* cell = cells_ + column;
    // The maximum of a cell and of those in reach on its sides.
    const auto across = [&](const T* here) {
      T highest = *here;
      for (int i = 1; i <= reach; ++i) highest = larger(highest, larger(here[i], here[-i]));
      return highest;
    };
    std::uint32_t* marks = candidates_ + word;
    T above = kLowest, here = across(cell);
    for (int r = 0; r < rows; ++r, cell += stride, marks += words) {
      const T below = r + 1 < rows ? across(cell + stride) : kLowest;
      const T value = *cell, highest = larger(larger(above, below), here);
      const std::uint32_t lanes = warp_.where(is_cell && value > bound && value >= highest);
      if (warp_.lane() == 0) *marks = lanes;
      above = here;
      here = below;
    }
  }
}

// Of the candidates in the lane's rows, those with the highest value below a bound.
template <class Warp, class Stored>
VL4POSE_DEVICE auto MapPeaks<Warp, Stored>::best_below(T bound) const -> Best {
  const int rows = grid_.rows, words = grid_.words();
  Best best{kLowest, 0, 0, 0};
  for (int r = warp_.lane(); r < rows; r += Warp::kSize) {
    const T* const cells = cells_row(r);
    const std::uint32_t* const marks = candidates_row(r);
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
template <class Warp, class Stored>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored>::keep_of_cell(const DeviceMap<Stored>& map, int row,
                                                         int column, T value, bool is_largest,
                                                         Kept& kept) const {
  const int shift = grid_.width - 1;
  const int of_cell = warp_.lane();
  const int y = row * grid_.height + (of_cell >> shift);
  const int x = (column << shift) + (of_cell & shift);
  const bool is_inside = of_cell < grid_.height << shift && y < map.H && x < map.W;
  const std::uint32_t lanes = warp_.where(is_inside && map(y, x) == value);
  if (!is_one_bit(lanes)) return false;
  const int pixel = lowest_bit(lanes);
  const int peak_y = row * grid_.height + (pixel >> shift);
  const int peak_x = (column << shift) + (pixel & shift);
  if (in_border(map, peak_y, peak_x)) return true;
  if (is_largest || is_window_maximum(map, peak_y, peak_x, value)) keep(map, peak_y, peak_x, kept);
  return true;
}

// Keeps peaks among the pixels that have a value, in row-major order, each if it lies no closer
// than min_distance to one already kept. (A kept one of another value never is so close: one of the
// two would not be the maximum of its window.)
template <class Warp, class Stored>
VL4POSE_NOINLINE VL4POSE_DEVICE void MapPeaks<Warp, Stored>::keep_tied(const DeviceMap<Stored>& map,
                                                                       T value, bool is_largest,
                                                                       Kept& kept) const {
  kept.first_tied = kept.count;
  const auto is_candidate = [&](int r, int word) {
    const bool is_marked = candidates_row(r)[word] >> warp_.lane() & 1;
    return is_marked && cells_row(r)[32 * word + warp_.lane()] == value;
  };
  for (int r = 0; r < grid_.rows; ++r) {
    std::uint32_t any = 0;
    for (int word = 0; word < grid_.words(); ++word) any |= warp_.where(is_candidate(r, word));
    if (!any) continue;
    const int bottom = std::min((r + 1) * grid_.height, map.H);
    for (int y = r * grid_.height; y < bottom; ++y) {
      for (int word = 0; word < grid_.words(); ++word) {
        // A lane has the pixels of one cell; those that are still to be looked at are open.
        const int left = (32 * word + warp_.lane()) * grid_.width;
        const bool is_marked = is_candidate(r, word);
        const auto is_open = [&](int x) {
          return is_marked && x < map.W && map(y, x) == value && !in_border(map, y, x) &&
                 is_spaced(y, x, kept);
        };
        bool first = is_open(left), second = grid_.width == 2 && is_open(left + 1);
        for (;;) {
          const std::uint32_t lanes = warp_.where(first || second);
          if (!lanes) break;
          const int lane = lowest_bit(lanes);
          const int x = warp_.of_lane(first ? left : left + 1, lane);
          const bool is_peak = is_largest || is_window_maximum(map, y, x, value);
          if (is_peak) {
            keep(map, y, x, kept);
            if (kept.count == options_.num_peaks) return;
          }
          first = first && left != x && !(is_peak && is_close(y, left, y, x));
          second = second && left + 1 != x && !(is_peak && is_close(y, left + 1, y, x));
        }
      }
    }
  }
}

template <class Warp, class Stored>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored>::is_window_maximum(const DeviceMap<Stored>& map, int y,
                                                              int x, T value) const {
  const int top = y - reach_down_, left = x - reach_across_;
  const int down = 2 * reach_down_ + 1, across = 2 * reach_across_ + 1;
  bool is_exceeded = false;
  for (int i = lane_y_, k = lane_x_; i < down; i += step_y_) {
    const int v = top + i, u = left + k;
    if (v >= 0 && v < map.H && u >= 0 && u < map.W) is_exceeded |= map(v, u) > value;
    k += step_x_;
    if (k >= across) {
      k -= across;
      ++i;
    }
  }
  return warp_.where(is_exceeded) == 0;
}

// Whether a pixel lies no closer than min_distance to any kept peak of the same value.
template <class Warp, class Stored>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored>::is_spaced(int y, int x, const Kept& kept) const {
  for (int k = kept.first_tied; k < kept.count; ++k) {
    if (is_close(y, x, kept.slots.y[k], kept.slots.x[k])) return false;
  }
  return true;
}

template <class Warp, class Stored>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored>::is_close(int y, int x, int other_y, int other_x) const {
  const int dy = y < other_y ? other_y - y : y - other_y;
  const int dx = x < other_x ? other_x - x : x - other_x;
  return dy < options_.min_distance && dx < options_.min_distance;
}

template <class Warp, class Stored>
VL4POSE_DEVICE bool MapPeaks<Warp, Stored>::in_border(const DeviceMap<Stored>& map, int y,
                                                      int x) const {
  const std::int64_t border = options_.exclude_border;
  return y < border || x < border || y >= map.H - border || x >= map.W - border;
}

// Collective.
template <class Warp, class Stored>
VL4POSE_DEVICE void MapPeaks<Warp, Stored>::keep(const DeviceMap<Stored>& map, int y, int x,
                                                 Kept& kept) const {
  if (warp_.lane() == 0) {
    kept.slots.x[kept.count] = x;
    kept.slots.y[kept.count] = y;
    kept.slots.value[kept.count] = map(y, x);
  }
  ++kept.count;
  warp_.sync();
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
