#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <utility>

#include "local_maxima.h"

namespace vl4pose {
namespace {

template <class T>
T larger(T a, T b) {
  return a > b ? a : b;
}

template <class T>
T smaller(T a, T b) {
  return a < b ? a : b;
}

template <class T>
void pairwise_maxima(const T* a, const T* b, std::int64_t n, T* __restrict maxima) {
  for (std::int64_t i = 0; i < n; ++i) maxima[i] = larger(a[i], b[i]);
}

// Takes R rows of n values at once, so that the state is loaded and stored once for all of them;
// largest[x] becomes their maximum, or is raised to it.
template <int R, class T>
void take_rows(const T* __restrict rows, std::int64_t stride, std::int64_t n, bool raise,
               T* __restrict largest, T* __restrict smallest, std::int32_t* __restrict nonfinite) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  for (std::int64_t x = 0; x < n; ++x) {
    T high = rows[x], low = smaller(smallest[x], rows[x]);
    std::int32_t bad = nonfinite[x] | (rows[x] < infinity ? 0 : -1);
    for (int r = 1; r < R; ++r) {
      const T value = rows[r * stride + x];
      high = larger(high, value);
      low = smaller(low, value);
      bad |= value < infinity ? 0 : -1;
    }
    largest[x] = raise ? larger(high, largest[x]) : high;
    smallest[x] = low;
    nonfinite[x] = bad;
  }
}

template <class T>
bool comes_later(const Peak<T>& a, const Peak<T>& b) {
  return a.y != b.y ? a.y > b.y : a.x > b.x;
}

template <class T>
bool any_equal(const T* values, std::int64_t n, T value) {
  int any = 0;  // no early exit: the loop vectorises
  for (std::int64_t i = 0; i < n; ++i) any |= static_cast<int>(values[i] == value);
  return any != 0;
}

}  // namespace

template <class T>
LocalMaxima<T>::LocalMaxima(const PeakOptions& options, std::int64_t H, std::int64_t W)
    : options_(options),
      H_(H),
      W_(W),
      cell_height_(std::min((options.min_distance + 1) / 2, H)),
      cell_rows_((H + cell_height_ - 1) / cell_height_),
      cell_width_(options.min_distance < 3 ? 1 : 2),
      cell_columns_((W + cell_width_ - 1) / cell_width_),
      reach_(std::min((options.min_distance + 1) / cell_width_ - 1, cell_columns_ - 1)),
      bands_(cell_rows_ * W),
      around_(std::max(cell_columns_ + 2 * reach_, W)),
      widened_(around_.size()),
      smallest_of_column_(W),
      column_nonfinite_(W) {}

template <class T>
bool LocalMaxima<T>::scan(const Map<T>& map) {
  map_ = map;
  std::ranges::fill(smallest_of_column_, std::numeric_limits<T>::infinity());
  std::ranges::fill(column_nonfinite_, 0);
  for (std::int64_t y = 0; y < H_;) {
    const std::int64_t in_cell = y % cell_height_;
    const std::int64_t rows = std::min({cell_height_ - in_cell, H_ - y, std::int64_t{4}});
    const auto take = rows == 1   ? take_rows<1, T>
                      : rows == 2 ? take_rows<2, T>
                      : rows == 3 ? take_rows<3, T>
                                  : take_rows<4, T>;
    take(map.row(y), map.row_stride, W_, in_cell > 0, band(y / cell_height_),
         smallest_of_column_.data(), column_nonfinite_.data());
    y += rows;
  }
  std::int32_t any_nonfinite = 0;
  for (const std::int32_t nonfinite : column_nonfinite_) any_nonfinite |= nonfinite;
  if (any_nonfinite) return false;

  T* largest = around_.data();
  T* next = widened_.data();
  std::copy_n(band(0), W_, largest);
  for (std::int64_t i = 1; i < cell_rows_; ++i) {
    pairwise_maxima(largest, band(i), W_, next);
    std::swap(largest, next);
  }
  largest_ = *std::max_element(largest, largest + W_);
  smallest_ = *std::ranges::min_element(smallest_of_column_);
  return true;
}

template <class T>
Peak<T> LocalMaxima<T>::first_maximum() const {
  for (std::int64_t i = 0; i < cell_rows_; ++i) {
    if (!any_equal(band(i), W_, largest_)) continue;
    const std::int64_t end = std::min((i + 1) * cell_height_, H_);
    for (std::int64_t y = i * cell_height_; y < end; ++y) {
      const T* row = map_.row(y);
      const T* found = std::find(row, row + W_, largest_);
      if (found != row + W_) {
        return {*found, static_cast<std::int32_t>(found - row), static_cast<std::int32_t>(y)};
      }
    }
  }
  return {largest_, 0, 0};  // only where somebody has written to the map since it was scanned
}

template <class T>
T LocalMaxima<T>::threshold() const {
  const T absolute = options_.threshold_abs ? static_cast<T>(*options_.threshold_abs) : smallest_;
  if (!options_.threshold_rel) return absolute;
  return larger(static_cast<T>(*options_.threshold_rel) * largest_, absolute);
}

template <class T>
bool LocalMaxima<T>::in_border(std::int64_t y, std::int64_t x) const {
  const std::int64_t border = options_.exclude_border;
  return y < border || x < border || y >= H_ - border || x >= W_ - border;
}

template <class T>
std::int64_t LocalMaxima<T>::find(Peak<T>* peaks) {
  const bool is_constant = smallest_ == largest_ && H_ * W_ > 1;
  const T threshold = this->threshold();
  if (is_constant || !(largest_ > threshold)) return 0;
  if (options_.num_peaks == 1) {
    // The first maximum is a local maximum wherever it lies, and no other comes before it.
    peaks[0] = first_maximum();
    if (!in_border(peaks[0].y, peaks[0].x)) return 1;
  }
  if (cells_.empty()) {
    cells_.assign((cell_rows_ + 2) * cell_columns_, -std::numeric_limits<T>::infinity());
    candidates_ = std::make_unique_for_overwrite<Candidate[]>(cell_rows_ * cell_columns_ + 1);
  }
  reduce_bands_to_cells();
  find_candidates(threshold);
  return keep_spaced(peaks);
}

template <class T>
void LocalMaxima<T>::reduce_bands_to_cells() {
  for (std::int64_t i = 0; i < cell_rows_; ++i) {
    const T* __restrict maxima = band(i);
    T* __restrict cell = cells(i);
    if (cell_width_ == 1) {
      std::copy_n(maxima, W_, cell);
      continue;
    }
    for (std::int64_t c = 0; c < W_ / 2; ++c) cell[c] = larger(maxima[2 * c], maxima[2 * c + 1]);
    if (W_ % 2) cell[cell_columns_ - 1] = maxima[W_ - 1];
  }
}

template <class T>
void LocalMaxima<T>::find_candidates(T threshold) {
  num_candidates_ = 0;
  for (std::int64_t i = 0; i < cell_rows_; ++i) {
    const T* values = cells(i);
    const T* maxima = maxima_around(i);
    for (std::int64_t c = 0; c < cell_columns_; ++c) {
      // Written always and kept by counting: a branch here could not be predicted.
      candidates_[num_candidates_] = {values[c], i * cell_columns_ + c};
      num_candidates_ +=
          static_cast<int>(values[c] >= maxima[c]) & static_cast<int>(values[c] > threshold);
    }
  }
}

// Adds the pixels of a cell that hold its maximum.
template <class T>
void LocalMaxima<T>::add_pixels(const Candidate& candidate) {
  const std::int64_t top = candidate.cell / cell_columns_ * cell_height_;
  const std::int64_t left = candidate.cell % cell_columns_ * cell_width_;
  const std::int64_t bottom = std::min(top + cell_height_, H_);
  const std::int64_t right = std::min(left + cell_width_, W_);
  for (std::int64_t y = top; y < bottom; ++y) {
    for (std::int64_t x = left; x < right; ++x) {
      if (map_(y, x) == candidate.value && !in_border(y, x)) {
        pixels_.push_back({map_(y, x), static_cast<std::int32_t>(x), static_cast<std::int32_t>(y)});
      }
    }
  }
}

// For each cell of a row, the maximum of the cells that its pixels' windows hold: 3 rows of them,
// 2 reach + 1 columns. The maxima over so many are those of two overlapping runs of a power of two,
// and these are built by doubling.
template <class T>
const T* LocalMaxima<T>::maxima_around(std::int64_t row) {
  T* maxima = around_.data();
  T* wider = widened_.data();
  const std::int64_t padded = cell_columns_ + 2 * reach_;
  std::fill_n(maxima, reach_, -std::numeric_limits<T>::infinity());
  std::fill_n(maxima + reach_ + cell_columns_, reach_, -std::numeric_limits<T>::infinity());
  pairwise_maxima(cells(row - 1), cells(row), cell_columns_, wider);
  pairwise_maxima(wider, cells(row + 1), cell_columns_, maxima + reach_);
  const std::int64_t window = 2 * reach_ + 1;
  std::int64_t width = 1;
  for (; 2 * width <= window; width *= 2) {
    pairwise_maxima(maxima, maxima + width, padded - 2 * width + 1, wider);
    std::swap(maxima, wider);
  }
  if (width == window) return maxima;
  pairwise_maxima(maxima, maxima + (window - width), cell_columns_, wider);
  return wider;
}

template <class T>
bool LocalMaxima<T>::is_window_maximum(const Peak<T>& pixel) const {
  const std::int64_t d = options_.min_distance;
  const std::int64_t left = std::max<std::int64_t>(pixel.x - d, 0);
  const std::int64_t right = std::min(pixel.x + d + 1, W_);
  const std::int64_t bottom = std::min(pixel.y + d + 1, H_);
  for (std::int64_t y = std::max<std::int64_t>(pixel.y - d, 0); y < bottom; ++y) {
    const T* row = map_.row(y);
    int higher = 0;
    for (std::int64_t x = left; x < right; ++x) higher |= static_cast<int>(row[x] > pixel.value);
    if (higher) return false;
  }
  return true;
}

// Moves the candidates of the highest value from the heap [begin, end) to the pixels, a heap with
// the first in row-major order on top, and returns the new end.
template <class T>
auto LocalMaxima<T>::take_highest(Candidate* begin, Candidate* end) -> Candidate* {
  const T value = begin->value;
  pixels_.clear();
  // Usually there is one. Of many, a plateau, the rest is taken at once.
  for (int few = 0; end != begin && begin->value == value && few < 8; ++few) {
    add_pixels(*begin);
    std::pop_heap(begin, end--);
  }
  if (end != begin && begin->value == value) {
    Candidate* const plateau =
        std::partition(begin, end, [&](const Candidate& c) { return c.value < value; });
    for (const Candidate* c = plateau; c != end; ++c) add_pixels(*c);
    end = plateau;
    std::make_heap(begin, end);
  }
  std::ranges::make_heap(pixels_, comes_later<T>);
  return end;
}

// Takes candidates by value, pixels of equal value in row-major order, and keeps each peak that
// lies no closer than min_distance (Chebyshev) to one already kept, until there are K.
template <class T>
std::int64_t LocalMaxima<T>::keep_spaced(Peak<T>* peaks) {
  const std::int64_t d = options_.min_distance;
  const auto is_spaced = [d](const Peak<T>& a, const Peak<T>& b) {
    return std::abs(std::int64_t{a.x} - b.x) >= d || std::abs(std::int64_t{a.y} - b.y) >= d;
  };
  Candidate* const begin = candidates_.get();
  Candidate* end = begin + num_candidates_;
  std::make_heap(begin, end);
  std::int64_t kept = 0;
  while (end != begin && kept < options_.num_peaks) {
    end = take_highest(begin, end);
    while (!pixels_.empty() && kept < options_.num_peaks) {
      std::ranges::pop_heap(pixels_, comes_later<T>);
      const Peak<T> pixel = pixels_.back();
      pixels_.pop_back();
      // Two pixels are never closer than 1: of a whole plateau, nothing need be compared.
      const bool spaced = d == 1 || std::all_of(peaks, peaks + kept, [&](const Peak<T>& peak) {
                            return is_spaced(peak, pixel);
                          });
      if (spaced && is_window_maximum(pixel)) peaks[kept++] = pixel;
    }
  }
  return kept;
}

template class LocalMaxima<float>;
template class LocalMaxima<double>;

}  // namespace vl4pose
