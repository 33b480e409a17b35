// The maxima of the windows around the values of a grid.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "buffer.h"
#include "ordered.h"
#include "simd.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// A grid of rows x columns values, each with a window that reaches so far down and up, left and
// right. A value has a position: its row times `stride`, which is of whole vectors, plus its
// column. Behind the columns of a row and around all rows there are the lowest of values, enough
// for the windows.
template <class T>
class WindowMaxima {
 public:
  WindowMaxima() = default;
  WindowMaxima(std::int64_t rows, std::int64_t columns, std::int64_t reach_down,
               std::int64_t reach_across)
      : rows_(rows),
        columns_(columns),
        down_(2 * std::min(reach_down, rows - 1) + 1),
        across_(2 * std::min(reach_across, columns - 1) + 1),
        stride_(whole_vectors<T>(columns + across_ / 2)),
        margin_(whole_vectors<T>((down_ / 2 + 1) * stride_ + across_)),
        values_(rows * stride_ + 2 * margin_ + kBlock, kLowest<T>),
        runs_((down_ > 1 && down_ != kRolling) || across_ > kMaxRuns
                  ? Buffer<T>(values_.size(), kLowest<T>)
                  : Buffer<T>()) {}

  bool is_made() const { return rows_ > 0; }

  std::int64_t stride() const { return stride_; }
  // The number of positions.
  std::int64_t size() const { return rows_ * stride_; }
  const T* values() const { return values_.data() + margin_; }
  // Row i, for the caller to fill.
  T* row(std::int64_t i) { return values_.data() + margin_ + i * stride_; }
  const T* row(std::int64_t i) const { return values() + i * stride_; }

  // Calls visit(row, column, values, maxima of their windows) for each vector of positions, of
  // which that is the first, in any order.
  template <class Visit>
  void for_each_vector(const Visit& visit) {
    // Maxima over runs of values, first down the columns, then along the rows, until a few runs
    // make a window, where they may overlap. Windows 3 high are left to the last step.
    const bool is_rolling = down_ == kRolling;
    const T* runs = values_.data();
    std::int64_t width = 1;
    if (!is_rolling && down_ > 1) {
      for (std::int64_t column = 0; column < stride_; column += kLanes<T>) {
        const T* from = values_.data();
        for (std::int64_t height = 1; height < down_; from = runs_.data()) {
          const std::int64_t higher = std::min(3 * height, down_);
          slide(from, height * stride_, (higher - height) * stride_, column, stride_);
          height = higher;
        }
      }
      runs = runs_.data();
    }
    for (; kMaxRuns * width < across_; width *= 3, runs = runs_.data()) {
      slide(runs, width, 2 * width, 0, kLanes<T>);
    }
    const std::int64_t up = is_rolling ? 0 : down_ / 2 * stride_;
    runs += margin_ - up - across_ / 2;  // where the window of the first position begins
    const std::int64_t num_runs = (across_ + width - 1) / width;
    const bool shifts = kShiftsLanes && width == 1;
    const auto visit_all = [&]<int kRuns> {
      const auto visit_rows = [&]<bool is_rolling> {
        shifts ? this->visit_all<is_rolling, kRuns, kShiftsLanes>(runs, width, visit)
               : this->visit_all<is_rolling, kRuns, false>(runs, width, visit);
      };
      is_rolling ? visit_rows.template operator()<true>() : visit_rows.template operator()<false>();
    };
    if (num_runs == 1) {
      visit_all.template operator()<1>();
    } else if (num_runs <= 3) {
      visit_all.template operator()<3>();
    } else if (num_runs <= 5) {
      visit_all.template operator()<5>();
    } else {
      visit_all.template operator()<kMaxRuns>();
    }
  }

  // Whether no other value is as high in the window of a value and a step beyond it. (Some of the
  // next rows' may be counted in.)
  bool is_alone_around(std::int64_t row, std::int64_t column) const {
    const T* const place = this->row(row) + column;
    const Vector<T> value = broadcast(*place);
    std::uint64_t other_rows = 0;
    int in_row = 0;  // with itself
    for (std::int64_t c = 0; c < across_ + 2; c += kLanes<T>) {
      const T *const here = place + c - (across_ / 2 + 1), *above = here, *below = here;
      Vector<T> highest = broadcast(kLowest<T>);
      for (std::int64_t step = 0; step <= down_ / 2; ++step) {
        above -= stride_;
        below += stride_;
        highest = maximum<T>(highest, maximum<T>(load(above), load(below)));
      }
      const std::uint64_t window = lanes_between(0, across_ + 1 - c);
      other_rows |= lanes_where<Comparison::greater_equal, T>(highest, value) & window;
      in_row +=
          std::popcount(lanes_where<Comparison::greater_equal, T>(load(here), value) & window);
    }
    return other_rows == 0 && in_row == 1;
  }

 private:
  static constexpr int kMaxRuns = 7;
  static constexpr std::int64_t kRolling = 3;  // the height of a window of three rows

  // Joins to each run, of every so many from the first, the two that begin so much behind it.
  void slide(const T* from, std::int64_t second, std::int64_t third, std::int64_t first,
             std::int64_t step) {
    second = std::min(second, third);
    T* to = runs_.data();
    const std::int64_t n = values_.size() - kBlock - third;
    for (std::int64_t p = first; p < n; p += step) {
      const Vector<T> ends = maximum<T>(load(from + p), load(from + p + third));
      store(to + p, maximum<T>(ends, load(from + p + second)));
    }
  }

  // Whether runs of one value are moved lane by lane: nearly all loads of 64 bytes cross cache
  // lines otherwise, and take longer.
  static constexpr bool kShiftsLanes = kVectorBytes == 64;

  // The maxima of a vector's values and of as many on either side.
  template <std::size_t... I>
  static Vector<T> maxima_of_shifted(const T* place, std::index_sequence<I...>) {
    const Vector<T> here = load(place);
    [[maybe_unused]] const Vector<T> before = load(place - kLanes<T>);
    [[maybe_unused]] const Vector<T> after = load(place + kLanes<T>);
    Vector<T> maxima = here;
    ((maxima = maximum<T>(
          maxima, maximum<T>(lanes_from<kLanes<T> - 1 - static_cast<int>(I), T>(before, here),
                             lanes_from<1 + static_cast<int>(I), T>(here, after)))),
     ...);
    return maxima;
  }

  template <bool is_rolling, int kRuns, bool shifts, class Visit>
  void visit_all(const T* runs, std::int64_t width, const Visit& visit) const {
    std::int64_t begin[kRuns];  // of each run of a window
    for (int i = 0; i < kRuns; ++i) begin[i] = std::min(i * width, across_ - width);
    const T* const values = this->values();
    const std::int64_t stride = stride_;
    for (std::int64_t column = 0; column < columns_; column += kLanes<T>) {
      const auto row_maxima = [&](std::int64_t position) {
        if constexpr (shifts) {
          return maxima_of_shifted(runs + position + kRuns / 2,
                                   std::make_index_sequence<kRuns / 2>{});
        } else {
          Vector<T> maxima = load(runs + position + begin[0]);
          for (int i = 1; i < kRuns; ++i) {
            maxima = maximum<T>(maxima, load(runs + position + begin[i]));
          }
          return maxima;
        }
      };
      Vector<T> before{}, here = row_maxima(column);
      if (is_rolling) before = row_maxima(column - stride);
      for (std::int64_t row = 0, position = column; row < rows_; ++row, position += stride) {
        const Vector<T> next = row_maxima(position + stride);
        const Vector<T> maxima = is_rolling ? maximum<T>(maximum<T>(before, here), next) : here;
        visit(row, column, load(values + position), maxima);
        before = here;
        here = next;
      }
    }
  }

  std::int64_t rows_ = 0, columns_ = 0;
  std::int64_t down_ = 0, across_ = 0;  // the size of a window
  std::int64_t stride_ = 0, margin_ = 0;
  Buffer<T> values_, runs_;  // both with a margin before and behind
};

// The highest of n values below a bound, the lowest of all values when there is none. Whole blocks
// are read: what lies behind the n values must be the lowest.
template <class T>
T highest_below(const T* values, std::int64_t n, T bound) {
  const Vector<T> lowest = broadcast(kLowest<T>);
  Vector<T> highest = lowest;
  for (std::int64_t block = 0; block < n; block += kBlock) {
    for (std::int64_t i = 0; i < kBlock; i += kLanes<T>) {
      const Vector<T> value = load(values + block + i);
      highest = maximum<T>(highest, value < broadcast(bound) ? value : lowest);
    }
  }
  return largest_lane<T>(highest);
}

// Which of a block of values are equal to one, or greater, ...
template <Comparison kind, class T>
std::uint64_t where(const T* block, T value) {
  std::uint64_t bits = 0;
  for (std::int64_t i = 0; i < kBlock; i += kLanes<T>) {
    bits |= lanes_where<kind, T>(load(block + i), broadcast(value)) << i;
  }
  return bits;
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
