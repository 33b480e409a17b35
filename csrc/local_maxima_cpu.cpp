#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "local_maxima.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

// What each stage asks for of the next map, so that memory is busy in all of them: found by
// measuring. In 1/256 of a map, the whole scan, after which much or little follows, each candidate
// that is looked at, and the search for a single maximum; and in cache lines, each vector and each
// word of cells.
constexpr std::int64_t kShareOfScan = 60, kShareOfLoneScan = 192;
constexpr std::int64_t kShareOfCandidate = 6, kShareOfMaximum = 32;
constexpr std::int64_t kLinesOfVector = 1, kLinesOfWord = 5;

std::int64_t divided_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

// Where each piece of a row of n values begins: one after the other, and the last one where it ends
// with the row.
template <class Visit>
void for_each_piece(std::int64_t n, std::int64_t piece, const Visit& visit) {
  for (std::int64_t x = 0; x < n - piece; x += piece) visit(x);
  visit(n - piece);
}

template <class T>
T larger(T a, T b) {
  return a > b ? a : b;
}

}  // namespace

template <class Stored>
LocalMaxima<Stored>::LocalMaxima(const PeakOptions& options, std::int64_t H, std::int64_t W,
                                 Prefetch& prefetch, bool finds)
    : options_(options),
      prefetch_(prefetch),
      H_(H),
      W_(W),
      cell_height_(std::min({(options.min_distance + 1) / 2, H, kMaxCellHeight})),
      cell_width_(std::min<std::int64_t>(cell_height_, 2)),
      cell_rows_(divided_up(H, cell_height_)),
      cell_columns_(divided_up(W, cell_width_)),
      cells_(cell_rows_, cell_columns_, (options.min_distance + 1) / cell_height_ - 1,
             (options.min_distance + 1) / cell_width_ - 1),
      do_cells_hold_windows_((options.min_distance + 1) / cell_height_ * cell_height_ >=
                             options.min_distance),
      masks_(cells_.size() / kLanes<T> + kMasksOfWord),
      candidates_(Buffer<T>::uninitialized(cell_rows_ * cell_columns_ + kUsual + kBlock)),
      positions_(Buffer<std::int64_t>::uninitialized(cell_rows_ * cell_columns_ + kUsual)),
      tied_(Buffer<Peak<T>>::uninitialized(kMaxTied * cell_height_ * cell_width_)) {
  // What follows the scan of a map asks for the rest of the next one, unless little follows.
  const bool is_scan_all = !finds || options.num_peaks == 1;
  const std::int64_t lines = prefetch.lines_of_map();
  lines_of_row_ = divided_up(lines * (is_scan_all ? kShareOfLoneScan : kShareOfScan) / 256,
                             H * divided_up(W, 4 * kLanes<T>));
  lines_of_candidate_ = divided_up(lines * kShareOfCandidate, 256);
  lines_of_maximum_ = divided_up(lines * kShareOfMaximum, 256);
}

template <class Stored>
bool LocalMaxima<Stored>::scan(const Map<Stored>& map) {
  map_ = map;
  map.readable_width() >= 4 * kLanes<T> ? scan_pieces<4>() : scan_pieces<2>();
  largest_ = largest_lane<T>(highest_);
  lowest_of_cells_ = smallest_lane<T>(lowest_);
  // Of finite numbers, and of nothing else, the sum is finite, unless it overflows.
  const Vector<T> rest = total_ - total_;
  return lanes_where<Comparison::equal, T>(rest, rest) == lanes_between(0, kLanes<T> - 1) ||
         is_finite();
}

// Scans so many vectors of a row at a time, which memory likes better than as many rows.
template <class Stored>
template <int kVectors>
void LocalMaxima<Stored>::scan_pieces() {
  using Piece = std::array<Vector<T>, kVectors>;
  // Copies, which the compiler knows not to change with what is stored.
  const std::int64_t width = map_.readable_width(), row_stride = map_.row_stride;
  const std::int64_t cell_width = cell_width_;
  Vector<T> total{}, highest = broadcast(-kInfinity), lowest = broadcast(kInfinity);
  const std::int64_t lines_of_row = lines_of_row_;
  for (std::int64_t i = 0; i < cell_rows_; ++i) {
    const std::int64_t height = std::min(cell_height_, H_ - i * cell_height_);
    const std::byte* top = map_.data + i * cell_height_ * row_stride;
    T* cells = cells_.row(i);
    // The maxima down the columns of a piece.
    const auto take = [&](std::int64_t x) {
      const std::byte* row = top + x * static_cast<std::int64_t>(sizeof(Stored));
      Piece largest;
      Vector<T> sum{};
      prefetch_.lines(lines_of_row);
      for (int v = 0; v < kVectors; ++v) {
        largest[v] = loaded_once(load(reinterpret_cast<const Stored*>(row) + v * kLanes<T>));
        sum += largest[v];
      }
      for (std::int64_t r = 1; r < height; ++r) {
        row += row_stride;
        prefetch_.lines(lines_of_row);
        for (int v = 0; v < kVectors; ++v) {
          const Vector<T> values =
              loaded_once(load(reinterpret_cast<const Stored*>(row) + v * kLanes<T>));
          largest[v] = maximum<T>(largest[v], values);
          sum += values;
        }
      }
      total += sum;
      return largest;
    };
    const auto put = [&](T* cell, Vector<T> maxima) {
      store(cell, maxima);
      highest = maximum<T>(highest, maxima);
      lowest = minimum<T>(lowest, maxima);
    };
    if (cell_width == 1) {
      for_each_piece(width, kVectors * kLanes<T>, [&](std::int64_t x) {
        const Piece maxima = take(x);
        for (int v = 0; v < kVectors; ++v) put(cells + x + v * kLanes<T>, maxima[v]);
      });
    } else {
      for_each_piece(width & ~1, kVectors * kLanes<T>, [&](std::int64_t x) {
        const Piece maxima = take(x);
        for (int v = 0; v < kVectors; v += 2) {
          put(cells + x / 2 + v / 2 * kLanes<T>, maxima_of_pairs<T>(maxima[v], maxima[v + 1]));
        }
      });
      if (width % 2) {  // the last column makes cells of its own
        const Map<Stored>& map = map_;
        T largest = -kInfinity, sum = 0;
        for (std::int64_t y = i * cell_height_; y < i * cell_height_ + height; ++y) {
          largest = larger(largest, map(y, width - 1));
          sum += map(y, width - 1);
        }
        cells[width / 2] = largest;
        total += broadcast(sum);
        highest = maximum<T>(highest, broadcast(largest));
        lowest = minimum<T>(lowest, broadcast(largest));
      }
    }
    if (width > W_) {  // what stands for pixels behind the row's last
      store(cells + cell_columns_, broadcast(-kInfinity));
      store(cells + cell_columns_ + kLanes<T>, broadcast(-kInfinity));
    }
  }
  total_ = total;
  highest_ = highest;
  lowest_ = lowest;
}

template <class Stored>
bool LocalMaxima<Stored>::is_finite() const {
  std::uint64_t not_less = 0;
  for (std::int64_t y = 0; y < H_ && !not_less; ++y) {
    for_each_piece(map_.readable_width(), kLanes<T>, [&](std::int64_t x) {
      const Vector<T> values = load(map_.row(y) + x);
      not_less |= ~lanes_where<Comparison::less, T>(values, broadcast(kInfinity));
    });
    not_less &= lanes_between(0, kLanes<T> - 1);
  }
  return !not_less;
}

template <class Stored>
auto LocalMaxima<Stored>::smallest() const -> T {
  Vector<T> smallest = broadcast(kInfinity);
  for (std::int64_t y = 0; y < H_; ++y) {
    for_each_piece(map_.readable_width(), kLanes<T>,
                   [&](std::int64_t x) { smallest = minimum<T>(smallest, load(map_.row(y) + x)); });
  }
  return smallest_lane<T>(smallest);
}

template <class Stored>
auto LocalMaxima<Stored>::first_maximum() const -> Peak<T> {
  const Vector<T> largest = broadcast(largest_);
  // From the end to the beginning, so that the first is found last: a branch to stop at it could
  // not be predicted.
  std::int64_t cell_row = 0, found = 0;
  for (std::int64_t i = cell_rows_ - 1; i >= 0; --i) {
    std::uint64_t any = 0;
    for (std::int64_t c = 0; c < cell_columns_; c += kLanes<T>) {
      any |= lanes_where<Comparison::equal, T>(load(cells_.row(i) + c), largest);
    }
    cell_row = any ? i : cell_row;
  }
  const std::int64_t top = cell_row * cell_height_, width = map_.readable_width();
  for (std::int64_t y = std::min(top + cell_height_, H_) - 1; y >= top; --y) {
    for (std::int64_t end = width; end > 0; end -= kLanes<T>) {
      const std::int64_t x = std::max(end - kLanes<T>, std::int64_t{0});
      const auto bits = lanes_where<Comparison::equal, T>(load(map_.row(y) + x), largest);
      found = bits ? y * width + x + std::countr_zero(bits) : found;
    }
  }
  return pixel(found / width, found % width);
}

template <class Stored>
std::int64_t LocalMaxima<Stored>::find(Peak<T>* peaks) {
  // The cells' maxima tell of nearly every map and value that some pixel is lower. Only where they
  // do not is the smallest pixel looked for.
  const bool has_absolute = options_.threshold_abs.has_value();
  if (lowest_of_cells_ == largest_ && (H_ * W_ > 1 || !has_absolute) && smallest() == largest_) {
    return 0;
  }
  T threshold = has_absolute ? static_cast<T>(*options_.threshold_abs) : -kInfinity;
  if (options_.threshold_rel) {
    threshold = larger(static_cast<T>(*options_.threshold_rel) * largest_, threshold);
  }
  if (!(largest_ > threshold)) return 0;
  if (options_.num_peaks == 1) {
    prefetch_.lines(lines_of_maximum_);
    // The first maximum is a local maximum wherever it lies, and no other comes before it.
    peaks[0] = first_maximum();
    if (!in_border(peaks[0])) return 1;
  }
  if (has_absolute || threshold >= lowest_of_cells_) return find_above(threshold, peaks);
  const std::int64_t count = find_above(lowest_of_cells_, peaks);
  if (count == options_.num_peaks) return count;
  const T smallest = this->smallest();
  return smallest == lowest_of_cells_ ? count : find_above(larger(threshold, smallest), peaks);
}

// Finds the peaks that are above a bound.
template <class Stored>
std::int64_t LocalMaxima<Stored>::find_above(T bound, Peak<T>* peaks) {
  const std::int64_t n = list_candidates(bound);
  std::int64_t kept = 0;
  T value = kInfinity;
  while (kept < options_.num_peaks && value > -kInfinity) {
    // First the order, in which each step waits for the one before, then the pixels of several
    // candidates, which do not.
    std::array<std::int64_t, kMaxTied> next;
    std::int64_t num_next = 0, num_tied = 0;
    const std::int64_t wanted = std::min(options_.num_peaks - kept, kMaxTied);
    while (num_next < wanted && num_tied <= 1) {
      value = highest_below(candidates_.data(), n, value);
      if (value == -kInfinity) break;
      num_tied = 0;
      for (std::int64_t i = 0; i < n; i += kBlock) {
        const auto bits = where_equal(candidates_.data() + i, value);
        if (bits) next[num_next] = i + std::countr_zero(bits);
        num_tied += std::popcount(bits);
      }
      num_next += num_tied == 1;
      prefetch_.lines(lines_of_candidate_);
    }
    for (std::int64_t i = 0; i < num_next && kept < options_.num_peaks; ++i) {
      prefetch_.lines(lines_of_candidate_);
      const Cell cell = cell_of(next[i]);
      const T of_cell = candidates_[next[i]];
      const std::uint64_t pixels = pixels_equal(cell, of_cell);
      if (std::has_single_bit(pixels)) {
        peaks[kept] = pixel_of(cell, std::countr_zero(pixels));
        const bool is_highest =
            (do_cells_hold_windows_ && cells_.is_bounded_around(cell.row, cell.column, of_cell)) ||
            is_window_maximum(peaks[kept]);
        kept += static_cast<int>(is_highest) & static_cast<int>(!in_border(peaks[kept]));
      } else {
        kept = keep_tied(of_cell, n, peaks, kept);
      }
    }
    if (num_tied > kMaxTied) return find_among_pixels(bound, peaks);
    if (num_tied > 1) kept = keep_tied(value, n, peaks, kept);
  }
  return kept;
}

// Lists the maxima of cells above a bound, in row-major order; returns how many.
template <class Stored>
std::int64_t LocalMaxima<Stored>::list_candidates(T bound) {
  LaneMask* const masks = masks_.data();
  cells_.for_each_vector([&](std::int64_t position, Vector<T> values, Vector<T> maxima) {
    const auto bits = lanes_where<Comparison::greater_equal, T>(values, maxima) &
                      lanes_where<Comparison::greater, T>(values, broadcast(bound));
    masks[position / kLanes<T>] = static_cast<LaneMask>(bits);
    prefetch_.lines(kLinesOfVector);
  });
  const T* const values = cells_.row(0);
  T* const candidates = candidates_.data();
  std::int64_t* const positions = positions_.data();
  const std::int64_t size = cells_.size();
  std::int64_t n = 0;
  for (std::int64_t first = 0; first < size; first += kMasksOfWord * kLanes<T>) {
    std::uint64_t bits;
    std::memcpy(&bits, masks + first / kLanes<T>, sizeof bits);
    const std::int64_t end = n + std::popcount(bits);
    const auto take = [&] {
      const int bit = std::countr_zero(bits);
      const std::int64_t position = first + bit / kMaskBits * kLanes<T> + bit % kMaskBits;
      candidates[n] = values[position];
      positions[n++] = position;
      bits &= bits - 1;
    };
    prefetch_.lines(kLinesOfWord);
    // Most words have a few. How many could not be predicted, so that it is no branch.
    for (int i = 0; i < kUsual; ++i) take();
    while (n < end) take();
    n = end;
  }
  for (std::int64_t i = 0; i < kBlock; i += kLanes<T>) {
    store(candidates + n + i, broadcast(-kInfinity));
  }
  return n;
}

template <class Stored>
auto LocalMaxima<Stored>::cell_of(std::int64_t candidate) const -> Cell {
  const std::int64_t position = positions_[candidate], row = position / cells_.stride();
  return {row, position - row * cells_.stride()};
}

// Which pixels of a cell have a value: a bit for each, in row-major order.
template <class Stored>
std::uint64_t LocalMaxima<Stored>::pixels_equal(Cell cell, T value) const {
  const std::int64_t top = cell.row * cell_height_, left = cell.column * cell_width_;
  const std::int64_t height = std::min(cell_height_, H_ - top);
  const std::int64_t x = std::min(left, map_.readable_width() - kLanes<T>);
  const std::uint64_t of_cell = left + 1 < W_ ? (1u << cell_width_) - 1 : 1;
  const int shift = cell_width_ == 2;
  const std::byte* row = reinterpret_cast<const std::byte*>(map_.row(top) + x);
  std::uint64_t found = 0;
  for (std::int64_t r = 0; r < height; ++r, row += map_.row_stride) {
    const Vector<T> values = load(reinterpret_cast<const Stored*>(row));
    const auto bits = lanes_where<Comparison::equal, T>(values, broadcast(value));
    found |= ((bits >> (left - x)) & of_cell) << (r << shift);
  }
  return found;
}

template <class Stored>
auto LocalMaxima<Stored>::pixel_of(Cell cell, int bit) const -> Peak<T> {
  const int shift = cell_width_ == 2;
  return pixel(cell.row * cell_height_ + (bit >> shift), (cell.column << shift) + (bit & shift));
}

// Keeps peaks among the pixels that have a value, in row-major order, each if it lies no closer
// than min_distance to one already kept. (A kept one of another value never is so close: one of the
// two would not be the maximum of its window.)
template <class Stored>
std::int64_t LocalMaxima<Stored>::keep_tied(T value, std::int64_t num_candidates, Peak<T>* peaks,
                                            std::int64_t kept) {
  const auto comes_before = [](const Peak<T>& a, const Peak<T>& b) {
    return a.y != b.y ? a.y < b.y : a.x < b.x;
  };
  Peak<T>* const tied = tied_.data();
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < num_candidates; ++i) {
    if (candidates_[i] != value) continue;
    const Cell cell = cell_of(i);
    for (auto bits = pixels_equal(cell, value); bits; bits &= bits - 1) {
      const Peak<T> pixel = pixel_of(cell, std::countr_zero(bits));
      std::int64_t place = n++;
      for (; place > 0 && comes_before(pixel, tied[place - 1]); --place)
        tied[place] = tied[place - 1];
      tied[place] = pixel;
    }
  }
  const std::int64_t d = options_.min_distance, first_of_value = kept;
  const auto is_spaced = [&](const Peak<T>& pixel) {
    for (std::int64_t k = first_of_value; k < kept; ++k) {
      if (std::abs(pixel.x - peaks[k].x) < d && std::abs(pixel.y - peaks[k].y) < d) return false;
    }
    return true;
  };
  for (std::int64_t i = 0; i < n && kept < options_.num_peaks; ++i) {
    if (!in_border(tied[i]) && is_spaced(tied[i]) && is_window_maximum(tied[i])) {
      peaks[kept++] = tied[i];
    }
  }
  return kept;
}

template <class Stored>
std::int64_t LocalMaxima<Stored>::find_among_pixels(T bound, Peak<T>* peaks) {
  if (!pixels_.is_made()) {
    pixels_ = WindowMaxima<T>(H_, W_, options_.min_distance, options_.min_distance);
    pixel_peaks_ = Buffer<T>(whole_blocks(pixels_.size()), -kInfinity);
  }
  read_pixels();
  pixels_.for_each_vector([&](std::int64_t position, Vector<T> values, Vector<T> maxima) {
    const Vector<T> lowest = broadcast(-kInfinity);
    const Vector<T> above = values > broadcast(bound) ? values : lowest;
    store(pixel_peaks_.data() + position, above >= maxima ? above : lowest);
  });
  erase_border();
  std::int64_t kept = 0;
  for (T value = kInfinity; kept < options_.num_peaks;) {
    value = highest_below(pixel_peaks_.data(), pixels_.size(), value);
    if (value == -kInfinity) break;
    for (std::int64_t block = 0; block < pixels_.size(); block += kBlock) {
      while (const auto bits = where_equal(pixel_peaks_.data() + block, value)) {
        const std::int64_t position = block + std::countr_zero(bits);
        peaks[kept] = pixel(position / pixels_.stride(), position % pixels_.stride());
        erase_around(peaks[kept]);
        if (++kept == options_.num_peaks) return kept;
      }
    }
  }
  return kept;
}

template <class Stored>
void LocalMaxima<Stored>::read_pixels() {
  const std::int64_t width = map_.readable_width();
  for (std::int64_t y = 0; y < H_; ++y) {
    T* row = pixels_.row(y);
    for_each_piece(width, kLanes<T>,
                   [&](std::int64_t x) { store(row + x, load(map_.row(y) + x)); });
    for (std::int64_t x = W_; x < width; ++x) row[x] = -kInfinity;
  }
}

template <class Stored>
void LocalMaxima<Stored>::erase_border() {
  const std::int64_t border = options_.exclude_border;
  if (border == 0) return;
  for (std::int64_t y = 0; y < H_; ++y) {
    const bool whole = y < border || y >= H_ - border;
    T* row = pixel_peaks_.data() + y * pixels_.stride();
    std::fill(row, row + (whole ? W_ : std::min(border, W_)), -kInfinity);
    std::fill(row + std::max(W_ - border, std::int64_t{0}), row + W_, -kInfinity);
  }
}

// Erases a peak that has been kept, and those after it that lie closer to it than min_distance.
template <class Stored>
void LocalMaxima<Stored>::erase_around(const Peak<T>& peak) {
  const std::int64_t d = options_.min_distance;
  const std::int64_t left = std::max(peak.x - d + 1, std::int64_t{0});
  const std::int64_t right = std::min(peak.x + d, W_), bottom = std::min(peak.y + d, H_);
  for (std::int64_t y = peak.y; y < bottom; ++y) {
    T* row = pixel_peaks_.data() + y * pixels_.stride();
    std::fill(row + left, row + right, -kInfinity);
  }
}

template <class Stored>
auto LocalMaxima<Stored>::pixel(std::int64_t y, std::int64_t x) const -> Peak<T> {
  return {map_(y, x), static_cast<std::int32_t>(x), static_cast<std::int32_t>(y)};
}

template <class Stored>
bool LocalMaxima<Stored>::in_border(const Peak<T>& pixel) const {
  const std::int64_t border = options_.exclude_border;
  return pixel.y < border || pixel.x < border || pixel.y >= H_ - border || pixel.x >= W_ - border;
}

template <class Stored>
bool LocalMaxima<Stored>::is_window_maximum(const Peak<T>& pixel) const {
  const std::int64_t d = options_.min_distance;
  const std::int64_t reach = std::min(d, H_ - 1);
  const std::int64_t left = std::max<std::int64_t>(pixel.x - d, 0);
  const std::int64_t right = std::min(pixel.x + d, W_ - 1);
  const std::int64_t last = map_.readable_width() - kLanes<T>;
  for (std::int64_t column = left; column <= right; column += kLanes<T>) {
    const std::int64_t x = std::min(column, last);
    const auto values = [x](const std::byte* row) {
      return load(reinterpret_cast<const Stored*>(row) + x);
    };
    const std::byte *above = map_.data + pixel.y * map_.row_stride, *below = above;
    Vector<T> largest = values(above);
    for (std::int64_t step = 1; step <= reach; ++step) {
      // At the border, the same row again: no branch that depends on where the pixel lies.
      above -= step <= pixel.y ? map_.row_stride : 0;
      below += step < H_ - pixel.y ? map_.row_stride : 0;
      largest = maximum<T>(largest, maximum<T>(values(above), values(below)));
    }
    const auto bits = lanes_where<Comparison::greater, T>(largest, broadcast(pixel.value));
    if (bits & lanes_between(left - x, right - x)) return false;
  }
  return true;
}

template class LocalMaxima<Float16>;
template class LocalMaxima<BFloat16>;
template class LocalMaxima<float>;
template class LocalMaxima<double>;

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
