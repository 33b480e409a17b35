#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "local_maxima.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

// How many cache lines of the next map each stage asks for, so that memory is busy in all of them:
// found by measuring, and no more than memory delivers in that time. One for every two that are
// scanned; for each vector of keys, each word of masks, each vector of cells, and each step with a
// candidate.
template <class Stored>
constexpr int kLinesOfKeys = std::max<int>(kVectorBytes * sizeof(Stored) / 128, 1);
template <class Stored>
constexpr int kLinesOfWord = std::max<int>(3 * sizeof(Stored) / 4, 1);
constexpr int kLinesOfCells = kVectorBytes / 16;
template <class Stored>
constexpr int kLinesOfCandidate = std::max<int>(7 * sizeof(Stored) / 4, 1);

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
      do_cells_hold_windows_((options.min_distance + 1) / cell_height_ * cell_height_ >=
                             options.min_distance),
      lists_candidates_(finds && (options.num_peaks > 1 || options.exclude_border > 0)),
      cell_stride_bits_(
          std::bit_width(static_cast<std::uint64_t>(whole_vectors<Key>(cell_columns_) - 1))),
      cell_stride_(std::int64_t{1} << cell_stride_bits_),
      cells_(cell_rows_ * cell_stride_ + kBlock, kLowest<V>) {
  if (lists_candidates_) {
    const std::int64_t most = cell_rows_ * cell_columns_ + kUsual;
    keys_ =
        WindowMaxima<Key>(cell_rows_, cell_columns_, (options.min_distance + 1) / cell_height_ - 1,
                          (options.min_distance + 1) / cell_width_ - 1);
    masks_ = Buffer<LaneMask>(whole_blocks(cells_.size()) / kLanes<Key>);
    candidates_ = Buffer<V>::uninitialized(most + kBlock);
    positions_ = Buffer<std::int64_t>::uninitialized(most);
    tied_ = Buffer<Peak<T>>::uninitialized(kMaxTied * cell_height_ * cell_width_);
  }
}

template <class Stored>
bool LocalMaxima<Stored>::scan(const Map<Stored>& map) {
  map_ = map;
  const Finite finite = prefetch_.is_close()
                            ? (cell_width_ == 1 ? scan_cells<1, 64>() : scan_cells<2, 64>())
                            : (cell_width_ == 1 ? scan_cells<1, 128>() : scan_cells<2, 128>());
  return finite == Finite::yes || (finite == Finite::unknown && is_finite());
}

template <class Stored>
template <int kCellWidth, int kBytesOfLine>
Finite LocalMaxima<Stored>::scan_cells() {
  // Copies, which the compiler knows not to change with what is stored.
  const std::int64_t H = H_, width = map_.readable_width(), row_stride = map_.row_stride;
  const std::int64_t cell_height = cell_height_, cell_stride = cell_stride_;
  const std::int64_t key_stride = keys_.stride();
  const std::int64_t end = width / kCellWidth * kCellWidth;
  const std::int64_t end_of_fours = end / (4 * kLanes<V>)*(4 * kLanes<V>);
  const std::int64_t end_of_twos = end / (2 * kLanes<V>)*(2 * kLanes<V>);
  const bool lists_candidates = lists_candidates_;
  const std::byte* top = map_.data;
  V* cells = cells_.data();
  Key* keys = lists_candidates ? keys_.row(0) : nullptr;
  Prefetch ahead = prefetch_;
  LaneMaxima<Stored> all(Vector<V>{});
  Vector<V> highest = broadcast(kLowest<V>), lowest = broadcast(kHighest<V>);
  for (std::int64_t y = 0; y < H; y += cell_height) {
    const std::int64_t height = std::min(cell_height, H - y);
    // The maxima down the columns of so many vectors at x, which memory likes better than as many
    // rows.
    const auto take = [&]<int kVectors>(std::int64_t x) {
      const std::byte* row = top + x * static_cast<std::int64_t>(sizeof(Stored));
      std::array<LaneMaxima<Stored>, kVectors> columns;
      const auto read_vector = [&](int v) {
        if (v % (kBytesOfLine / kVectorBytes) == 0) ahead.template some_lines<1>();
        return loaded_once(load_stored(reinterpret_cast<const Stored*>(row) + v * kLanes<V>));
      };
      for (int v = 0; v < kVectors; ++v) columns[v] = LaneMaxima<Stored>(read_vector(v));
      for (std::int64_t r = 1; r < height; ++r) {
        row += row_stride;
        for (int v = 0; v < kVectors; ++v) columns[v].take(read_vector(v));
      }
      std::array<Vector<V>, kVectors> largest;
      for (int v = 0; v < kVectors; ++v) largest[v] = columns[v].ordered();
      // Not each after the one before.
      for (int v = 0; v + 1 < kVectors; v += 2) columns[v].take_nonfinite(columns[v + 1]);
      if constexpr (kVectors == 4) columns[0].take_nonfinite(columns[2]);
      all.take_nonfinite(columns[0]);
      return largest;
    };
    const auto compare = [&](Vector<V> maxima) {
      highest = maximum<V>(highest, maxima);
      lowest = minimum<V>(lowest, maxima);
    };
    const auto put = [&]<std::size_t n, class Maxima>(std::int64_t cell,
                                                      const std::array<Maxima, n>& maxima) {
      constexpr int lanes = sizeof(Maxima) / sizeof(V);
      for (std::size_t v = 0; v < n; ++v) store(cells + cell + v * lanes, maxima[v]);
      if (lists_candidates) store_keys<V, sizeof(Maxima), n>(keys + cell, maxima);
    };
    const auto scan_piece = [&]<int kVectors>(std::int64_t x) {
      const auto largest = take.template operator()<kVectors>(x);
      if constexpr (kCellWidth == 1) {
        for (const Vector<V>& maxima : largest) compare(maxima);
        put(x, largest);
      } else if constexpr (kVectors == 1) {
        const Vector<V> pairs = maxima_of_pairs<V>(largest[0], largest[0]);
        compare(pairs);
        put(x / 2, std::array{first_half<V>(pairs)});
      } else {
        std::array<Vector<V>, kVectors / 2> pairs;
        for (int v = 0; v < kVectors; v += 2) {
          pairs[v / 2] = maxima_of_pairs<V>(largest[v], largest[v + 1]);
          compare(pairs[v / 2]);
        }
        put(x / 2, pairs);
      }
    };
    // As few vectors as hold the row; the last one ends with it.
    std::int64_t x = 0;
    for (; x < end_of_fours; x += 4 * kLanes<V>) scan_piece.template operator()<4>(x);
    if (x < end_of_twos) {
      scan_piece.template operator()<2>(x);
      x = end_of_twos;
    }
    for (; x < end; x += kLanes<V>) {
      scan_piece.template operator()<1>(std::min(x, end - kLanes<V>));
    }
    top += cell_height * row_stride;
    cells += cell_stride;
    keys += key_stride;
  }
  prefetch_ = ahead;
  if (end < width) {
    const LaneMaxima<Stored> last = scan_last_column();
    highest = maximum<V>(highest, last.ordered());
    lowest = minimum<V>(lowest, last.ordered());
    all.take_nonfinite(last);
  }
  if (width > W_) clear_behind_columns();
  largest_ = largest_lane<V>(highest);
  lowest_of_cells_ = smallest_lane<V>(lowest);
  return all.is_finite(largest_);
}

// Of an odd number of columns the last makes cells of its own. Returns what was read.
template <class Stored>
[[gnu::noinline]] LaneMaxima<Stored> LocalMaxima<Stored>::scan_last_column() {
  const std::int64_t width = map_.readable_width();
  const auto read = [&](std::int64_t y) { return load_stored(map_.row(y) + width - kLanes<V>); };
  LaneMaxima<Stored> all(read(0));
  for (std::int64_t i = 0; i < cell_rows_; ++i) {
    const std::int64_t top = i * cell_height_, bottom = std::min(top + cell_height_, H_);
    LaneMaxima<Stored> columns(read(top));
    for (std::int64_t y = top + 1; y < bottom; ++y) columns.take(read(y));
    all.take(columns);
    const V largest = columns.ordered()[kLanes<V> - 1];
    cells_[i * cell_stride_ + width / 2] = largest;
    if (lists_candidates_) keys_.row(i)[width / 2] = key_of(largest);
  }
  return all;
}

// Behind the row's last pixels there are no cells.
template <class Stored>
[[gnu::noinline]] void LocalMaxima<Stored>::clear_behind_columns() {
  const std::int64_t end = divided_up(map_.readable_width(), cell_width_);
  for (std::int64_t i = 0; i < cell_rows_; ++i) {
    for (std::int64_t c = cell_columns_; c < end; ++c) {
      cells_[i * cell_stride_ + c] = kLowest<V>;
      if (lists_candidates_) keys_.row(i)[c] = kLowest<Key>;
    }
  }
}

template <class Stored>
bool LocalMaxima<Stored>::is_finite() const {
  std::uint64_t not_less = 0;
  for (std::int64_t y = 0; y < H_ && !not_less; ++y) {
    for_each_piece(map_.readable_width(), kLanes<V>, [&](std::int64_t x) {
      const Vector<V> values = load_ordered(map_.row(y) + x);
      not_less |= ~lanes_where<Comparison::less, V>(values, broadcast(kHighest<V>));
    });
    not_less &= lanes_between(0, kLanes<V> - 1);
  }
  return !not_less;
}

template <class Stored>
auto LocalMaxima<Stored>::smallest() const -> V {
  Vector<V> smallest = broadcast(kHighest<V>);
  for (std::int64_t y = 0; y < H_; ++y) {
    for_each_piece(map_.readable_width(), kLanes<V>, [&](std::int64_t x) {
      smallest = minimum<V>(smallest, load_ordered(map_.row(y) + x));
    });
  }
  return smallest_lane<V>(smallest);
}

template <class Stored>
auto LocalMaxima<Stored>::first_maximum() const -> Peak<T> {
  const Vector<V> largest = broadcast(largest_);
  // From the end to the beginning, so that the first is found last: a branch to stop at it could
  // not be predicted.
  std::int64_t cell_row = 0, found = 0;
  for (std::int64_t i = cell_rows_ - 1; i >= 0; --i) {
    std::uint64_t any = 0;
    for (std::int64_t c = 0; c < cell_columns_; c += kLanes<V>) {
      const V* const cells = cells_.data() + i * cell_stride_ + c;
      any |= lanes_where<Comparison::equal, V>(load(cells), largest);
      prefetch_.lines(kLinesOfCells);
    }
    cell_row = any ? i : cell_row;
  }
  const std::int64_t top = cell_row * cell_height_, width = map_.readable_width();
  for (std::int64_t y = std::min(top + cell_height_, H_) - 1; y >= top; --y) {
    for (std::int64_t end = width; end > 0; end -= kLanes<V>) {
      const std::int64_t x = std::max(end - kLanes<V>, std::int64_t{0});
      const auto bits = lanes_where<Comparison::equal, V>(load_ordered(map_.row(y) + x), largest);
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
  const bool looks_for_smallest = lowest_of_cells_ == largest_;
  const V lowest = looks_for_smallest ? smallest() : lowest_of_cells_;
  if (lowest == largest_ && (H_ * W_ > 1 || !has_absolute)) return 0;
  const T largest = value_of<Stored>(largest_);
  T threshold =
      has_absolute ? static_cast<T>(*options_.threshold_abs) : -std::numeric_limits<T>::infinity();
  if (options_.threshold_rel) {
    threshold = larger(static_cast<T>(*options_.threshold_rel) * largest, threshold);
  }
  if (!(largest > threshold)) return 0;
  if (options_.num_peaks == 1) {
    // The first maximum is a local maximum wherever it lies, and no other comes before it.
    peaks[0] = first_maximum();
    if (!in_border(peaks[0])) return 1;
  }
  const V bound = at_or_below<Stored>(threshold);
  if (has_absolute || bound >= lowest) return find_above(bound, peaks);
  const std::int64_t count = find_above(lowest, peaks);
  if (looks_for_smallest || count == options_.num_peaks) return count;
  const V smallest = this->smallest();
  return smallest == lowest ? count : find_above(larger(bound, smallest), peaks);
}

// Finds the peaks that are above a bound.
template <class Stored>
std::int64_t LocalMaxima<Stored>::find_above(V bound, Peak<T>* peaks) {
  const std::int64_t n = list_candidates(bound);
  // First the order of several candidates, then the pixels of them all, which wait for no other.
  std::array<std::int64_t, kMaxNext> next;
  std::int64_t num_next = rank_candidates(n, next.data()), num_tied = 0, kept = 0;
  V value = num_next > 0 ? candidates_[next[num_next - 1]] : kHighest<V>;
  Prefetch prefetch = prefetch_;
  for (;;) {
    for (std::int64_t i = 0; i < num_next && kept < options_.num_peaks; ++i) {
      prefetch.template some_lines<kLinesOfCandidate<Stored>>();
      const Cell cell = cell_of(next[i]);
      const V of_cell = candidates_[next[i]];
      const std::uint64_t pixels = pixels_equal(cell, of_cell);
      if (std::has_single_bit(pixels)) {
        prefetch.template some_lines<kLinesOfCandidate<Stored>>();
        peaks[kept] = pixel_of(cell, std::countr_zero(pixels));
        const bool is_highest =
            (do_cells_hold_windows_ && keys_.is_alone_around(cell.row, cell.column)) ||
            is_window_maximum(peaks[kept], of_cell);
        kept += static_cast<int>(is_highest) & static_cast<int>(!in_border(peaks[kept]));
      } else {
        kept = keep_tied(of_cell, n, peaks, kept);
      }
    }
    prefetch_ = prefetch;
    if (num_tied > kMaxTied) {
      const bool is_enough = value == largest_ && keep_highest(peaks) == options_.num_peaks;
      return is_enough ? options_.num_peaks : find_among_pixels(bound, peaks);
    }
    if (num_tied > 1) kept = keep_tied(value, n, peaks, kept);
    if (kept == options_.num_peaks || value == kLowest<V>) return kept;
    // One after the other, up to those that are tied.
    const std::int64_t wanted = std::min(options_.num_peaks - kept, kMaxNext);
    for (num_next = num_tied = 0; num_next < wanted && num_tied <= 1;) {
      value = highest_below(candidates_.data(), n, value);
      if (value == kLowest<V>) break;
      num_tied = 0;
      for (std::int64_t i = 0; i < n; i += kBlock) {
        const auto bits = where<Comparison::equal>(candidates_.data() + i, value);
        if (bits) next[num_next] = i + std::countr_zero(bits);
        num_tied += std::popcount(bits);
      }
      num_next += num_tied == 1;
      prefetch.template some_lines<kLinesOfCandidate<Stored>>();
    }
  }
}

// Puts the highest candidates in order, up to those that are tied, and returns how many. A rank is
// how many are higher: to count them takes no step after another, as it does to find the highest
// and then the next.
template <class Stored>
std::int64_t LocalMaxima<Stored>::rank_candidates(std::int64_t n, std::int64_t* order) {
  const V* const candidates = candidates_.data();
  const std::int64_t wanted = std::min(options_.num_peaks + 2, kMaxNext);
  // As many as are wanted are no lower than the wanted-th of the maxima of groups, and few others.
  constexpr int kVectors = kLanes<V> < kGroups ? kGroups / kLanes<V> : 1;
  std::array<Vector<V>, kVectors> groups;
  groups.fill(broadcast(kLowest<V>));
  for (std::int64_t i = 0; i < n; i += kVectors * kLanes<V>) {
    for (int v = 0; v < kVectors; ++v) {
      groups[v] = maximum<V>(groups[v], load(candidates + i + v * kLanes<V>));
    }
  }
  if constexpr (kLanes<V> > kGroups) {
    groups[0] = maximum<V>(groups[0], lanes_from<kLanes<V> / 2, V>(groups[0], groups[0]));
  }
  std::array<V, kVectors * kLanes<V>> highest;
  for (int v = 0; v < kVectors; ++v) store(highest.data() + v * kLanes<V>, groups[v]);
  std::array<Vector<SameSizeInteger<V>>, kVectors> ranks{};
  Prefetch prefetch = prefetch_;
  for (int group = 0; group < kGroups; ++group) {
    prefetch.template some_lines<1>();
    const Vector<V> other = broadcast(highest[group]);
    for (int v = 0; v < kVectors; ++v) {
      ranks[v] = other > groups[v] ? ranks[v] + 1 : ranks[v];
    }
  }
  prefetch_ = prefetch;
  std::uint64_t of_rank = 0;
  for (auto rank = static_cast<SameSizeInteger<V>>(wanted - 1); !of_rank; --rank) {
    for (int v = 0; v < kVectors; ++v) {
      of_rank |= lanes_where<Comparison::equal, SameSizeInteger<V>>(ranks[v], broadcast(rank))
                 << (v * kLanes<V>);
    }
  }
  const V least = larger(highest[std::countr_zero(of_rank)], next_above(kLowest<V>));
  int num_ranked = 0;
  std::uint64_t found = 0;
  for (std::int64_t first = 0; first < n; first += kBlock) {
    auto high = where<Comparison::greater_equal>(candidates + first, least);
    num_ranked += std::popcount(high);
    if (num_ranked > kMaxNext) return 0;
    for (; high; high &= high - 1) {
      const std::int64_t candidate = first + std::countr_zero(high);
      std::int64_t rank = 0;
      for (std::int64_t i = 0; i < n; i += kBlock) {
        rank += std::popcount(where<Comparison::greater>(candidates + i, candidates[candidate]));
      }
      if (rank >= kMaxNext) return 0;
      order[rank] = candidate;
      found |= std::uint64_t{1} << rank;
    }
  }
  const int in_order = std::countr_one(found);
  return in_order == num_ranked ? in_order : std::max(in_order - 1, 0);
}

// Lists the maxima of cells above a bound, in row-major order; returns how many.
template <class Stored>
std::int64_t LocalMaxima<Stored>::list_candidates(V bound) {
  const Key lowest_key = key_of(next_above(bound));
  // Copies, as in the scan.
  LaneMask* const masks = masks_.data();
  const std::int64_t masks_of_row = cell_stride_ / kLanes<Key>;
  Prefetch prefetch = prefetch_;
  keys_.for_each_vector(
      [=, &prefetch](std::int64_t row, std::int64_t column, Vector<Key> keys, Vector<Key> maxima) {
        const auto bits = lanes_where<Comparison::greater_equal, Key>(keys, maxima) &
                          lanes_where<Comparison::greater_equal, Key>(keys, broadcast(lowest_key));
        masks[row * masks_of_row + column / kLanes<Key>] = static_cast<LaneMask>(bits);
        prefetch.template some_lines<kLinesOfKeys<Stored>>();
      });
  const V* const cells = cells_.data();
  V* const candidates = candidates_.data();
  std::int64_t* const positions = positions_.data();
  const std::int64_t size = cell_rows_ * cell_stride_;
  std::int64_t n = 0;
  for (std::int64_t first = 0; first < size; first += kBlock) {
    std::uint64_t bits;
    std::memcpy(&bits, masks + first / kLanes<Key>, sizeof bits);
    const std::int64_t end = n + std::popcount(bits);
    const auto take = [&] {
      const std::int64_t position = first + std::countr_zero(bits);
      candidates[n] = cells[position];
      positions[n++] = position;
      bits &= bits - 1;
    };
    prefetch.template some_lines<kLinesOfWord<Stored>>();
    // Most words have a few. How many could not be predicted, so that it is no branch.
    for (int i = 0; i < kUsual; ++i) take();
    while (n < end) take();
    n = end;
  }
  prefetch_ = prefetch;
  const Vector<V> lowest = broadcast(kLowest<V>);
  for (std::int64_t i = 0; i < kBlock; i += kLanes<V>) store(candidates + n + i, lowest);
  for (std::int64_t i = 0; i < n; i += kLanes<V>) {  // where the key alone is above the bound
    const Vector<V> values = load(candidates + i);
    store(candidates + i, values > broadcast(bound) ? values : lowest);
  }
  return n;
}

template <class Stored>
[[gnu::always_inline]] inline auto LocalMaxima<Stored>::cell_of(std::int64_t candidate) const
    -> Cell {
  const std::int64_t position = positions_[candidate];
  return {position >> cell_stride_bits_, position & (cell_stride_ - 1)};
}

// Which pixels of a cell have a value: a bit for each, in row-major order.
template <class Stored>
[[gnu::always_inline]] inline std::uint64_t LocalMaxima<Stored>::pixels_equal(Cell cell,
                                                                              V value) const {
  const int shift = cell_width_ == 2;
  const std::int64_t top = cell.row * cell_height_, left = cell.column << shift;
  const std::int64_t x = std::min(left, map_.readable_width() - kLanes<V>);
  const std::uint64_t of_cell = left + shift < W_ ? (1u << cell_width_) - 1 : 1;
  const std::byte* row = map_.data + top * map_.row_stride + x * std::int64_t{sizeof(Stored)};
  const std::int64_t bits_of_cell = std::min(cell_height_, H_ - top) << shift;
  std::uint64_t found = 0;
  for (std::int64_t bit = 0; bit < bits_of_cell; bit += cell_width_, row += map_.row_stride) {
    const Vector<V> values = load_ordered(reinterpret_cast<const Stored*>(row));
    const auto bits = lanes_where<Comparison::equal, V>(values, broadcast(value));
    found |= ((bits >> (left - x)) & of_cell) << bit;
  }
  return found;
}

template <class Stored>
[[gnu::always_inline]] inline auto LocalMaxima<Stored>::pixel_of(Cell cell, int bit) const
    -> Peak<T> {
  const int shift = cell_width_ == 2;
  return pixel(cell.row * cell_height_ + (bit >> shift), (cell.column << shift) + (bit & shift));
}

// Keeps peaks among the pixels that have a value, in row-major order, each if it lies no closer
// than min_distance to one already kept. (A kept one of another value never is so close: one of the
// two would not be the maximum of its window.)
template <class Stored>
std::int64_t LocalMaxima<Stored>::keep_tied(V value, std::int64_t num_candidates, Peak<T>* peaks,
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
  const std::int64_t first_of_value = kept;
  for (std::int64_t i = 0; i < n && kept < options_.num_peaks; ++i) {
    if (!in_border(tied[i]) && is_spaced(tied[i], peaks + first_of_value, peaks + kept) &&
        is_window_maximum(tied[i], value)) {
      peaks[kept++] = tied[i];
    }
  }
  return kept;
}

// Keeps peaks among the pixels that have the map's maximum, in the same way. None of them has a
// higher one in its window.
template <class Stored>
std::int64_t LocalMaxima<Stored>::keep_highest(Peak<T>* peaks) const {
  const std::int64_t width = map_.readable_width();
  std::int64_t kept = 0;
  for (std::int64_t y = 0; y < H_; ++y) {
    for (std::int64_t begin = 0; begin < W_; begin += kLanes<V>) {
      const std::int64_t x = std::min(begin, width - kLanes<V>);
      auto bits =
          lanes_where<Comparison::equal, V>(load_ordered(map_.row(y) + x), broadcast(largest_)) &
          lanes_between(begin - x, W_ - 1 - x);
      for (; bits; bits &= bits - 1) {
        const Peak<T> pixel = this->pixel(y, x + std::countr_zero(bits));
        if (in_border(pixel) || !is_spaced(pixel, peaks, peaks + kept)) continue;
        peaks[kept++] = pixel;
        if (kept == options_.num_peaks) return kept;
      }
    }
  }
  return kept;
}

// Whether a pixel lies no closer than min_distance to any of several peaks.
template <class Stored>
bool LocalMaxima<Stored>::is_spaced(const Peak<T>& pixel, const Peak<T>* begin,
                                    const Peak<T>* end) const {
  const std::int64_t d = options_.min_distance;
  return std::none_of(begin, end, [&](const Peak<T>& peak) {
    return std::abs(pixel.x - peak.x) < d && std::abs(pixel.y - peak.y) < d;
  });
}

template <class Stored>
std::int64_t LocalMaxima<Stored>::find_among_pixels(V bound, Peak<T>* peaks) {
  if (!pixels_.is_made()) {
    pixels_ = WindowMaxima<V>(H_, W_, options_.min_distance, options_.min_distance);
    pixel_peaks_ = Buffer<V>(whole_blocks(pixels_.size()), kLowest<V>);
  }
  read_pixels();
  V* const pixel_peaks = pixel_peaks_.data();
  const std::int64_t stride = pixels_.stride();
  pixels_.for_each_vector(
      [=](std::int64_t row, std::int64_t column, Vector<V> values, Vector<V> maxima) {
        const Vector<V> lowest = broadcast(kLowest<V>);
        const Vector<V> above = values > broadcast(bound) ? values : lowest;
        store(pixel_peaks + row * stride + column, above >= maxima ? above : lowest);
      });
  erase_border();
  std::int64_t kept = 0;
  for (V value = kHighest<V>; kept < options_.num_peaks;) {
    value = highest_below(pixel_peaks_.data(), pixels_.size(), value);
    if (value == kLowest<V>) break;
    for (std::int64_t block = 0; block < pixels_.size(); block += kBlock) {
      while (const auto bits = where<Comparison::equal>(pixel_peaks_.data() + block, value)) {
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
    V* row = pixels_.row(y);
    for_each_piece(width, kLanes<V>,
                   [&](std::int64_t x) { store(row + x, load_ordered(map_.row(y) + x)); });
    for (std::int64_t x = W_; x < width; ++x) row[x] = kLowest<V>;
  }
}

template <class Stored>
void LocalMaxima<Stored>::erase_border() {
  const std::int64_t border = options_.exclude_border;
  if (border == 0) return;
  for (std::int64_t y = 0; y < H_; ++y) {
    const bool whole = y < border || y >= H_ - border;
    V* row = pixel_peaks_.data() + y * pixels_.stride();
    std::fill(row, row + (whole ? W_ : std::min(border, W_)), kLowest<V>);
    std::fill(row + std::max(W_ - border, std::int64_t{0}), row + W_, kLowest<V>);
  }
}

// Erases a peak that has been kept, and those after it that lie closer to it than min_distance.
template <class Stored>
void LocalMaxima<Stored>::erase_around(const Peak<T>& peak) {
  const std::int64_t d = options_.min_distance;
  const std::int64_t left = std::max(peak.x - d + 1, std::int64_t{0});
  const std::int64_t right = std::min(peak.x + d, W_), bottom = std::min(peak.y + d, H_);
  for (std::int64_t y = peak.y; y < bottom; ++y) {
    V* row = pixel_peaks_.data() + y * pixels_.stride();
    std::fill(row + left, row + right, kLowest<V>);
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
bool LocalMaxima<Stored>::is_window_maximum(const Peak<T>& pixel, V value) const {
  const std::int64_t d = options_.min_distance;
  const std::int64_t reach = std::min(d, H_ - 1);
  const std::int64_t left = std::max<std::int64_t>(pixel.x - d, 0);
  const std::int64_t right = std::min(pixel.x + d, W_ - 1);
  const std::int64_t last = map_.readable_width() - kLanes<V>;
  for (std::int64_t column = left; column <= right; column += kLanes<V>) {
    const std::int64_t x = std::min(column, last);
    const auto values = [x](const std::byte* row) {
      return load_ordered(reinterpret_cast<const Stored*>(row) + x);
    };
    const std::byte *above = map_.data + pixel.y * map_.row_stride, *below = above;
    Vector<V> largest = values(above);
    for (std::int64_t step = 1; step <= reach; ++step) {
      // At the border, the same row again: no branch that depends on where the pixel lies.
      above -= step <= pixel.y ? map_.row_stride : 0;
      below += step < H_ - pixel.y ? map_.row_stride : 0;
      largest = maximum<V>(largest, maximum<V>(values(above), values(below)));
    }
    const auto bits = lanes_where<Comparison::greater, V>(largest, broadcast(value));
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
