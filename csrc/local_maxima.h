// The peaks of one heatmap: the kept local maxima, exactly as scikit-image's peak_local_max with
// the Chebyshev norm finds, orders and numbers them. Reference: vl4pose/reference.py, local_maxima.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "array.h"

namespace vl4pose {

struct PeakOptions {
  std::int64_t num_peaks = 5;     // K >= 1
  std::int64_t min_distance = 5;  // d >= 1, in pixels
  std::optional<double> threshold_abs;
  std::optional<double> threshold_rel;
  std::int64_t exclude_border = 0;  // pixels on each side in which no peak is kept
};

template <class T>
struct Peak {
  T value;
  std::int32_t x, y;
};

// Finds the peaks of maps of one size, one after another, and keeps its scratch memory between
// them. scan() reads the whole map once; what the other two look at afterwards is small.
//
// The scan reduces the map to the maxima of small cells, of which several around a pixel's own lie
// wholly inside its window of (2 d + 1)^2 pixels: N cells each way where a cell is G pixels long
// and G (N + 1) <= d + 1. Only a pixel that equals the maximum of all of these can be a local
// maximum: a few dozen of a typical map, which are then looked at from the highest down, each in
// its whole window, until K are kept.
template <class T>
class LocalMaxima {
 public:
  LocalMaxima(const PeakOptions& options, std::int64_t H, std::int64_t W);

  // Takes the next map, which nobody may write to until its peaks are found (they would not be
  // specified, though no memory is touched that is not the map's); false when it holds a NaN or
  // +inf. -inf is an ordinary value.
  bool scan(const Map<T>& map);

  // The map's maximum, the first in row-major order.
  Peak<T> first_maximum() const;

  // Writes at most K peaks, the highest first, equal ones in row-major order, and returns their
  // number; 0 when there is none and the caller falls back to the first maximum.
  std::int64_t find(Peak<T>* peaks);

 private:
  struct Candidate {
    T value;            // the maximum of a cell
    std::int64_t cell;  // row-major

    bool operator<(const Candidate& other) const { return value < other.value; }
  };

  T threshold() const;
  bool in_border(std::int64_t y, std::int64_t x) const;
  void reduce_bands_to_cells();
  void find_candidates(T threshold);
  void add_pixels(const Candidate& candidate);
  const T* maxima_around(std::int64_t row);
  bool is_window_maximum(const Peak<T>& pixel) const;
  Candidate* take_highest(Candidate* begin, Candidate* end);
  std::int64_t keep_spaced(Peak<T>* peaks);

  const T* band(std::int64_t i) const { return bands_.data() + i * W_; }
  T* band(std::int64_t i) { return bands_.data() + i * W_; }
  T* cells(std::int64_t i) { return cells_.data() + (i + 1) * cell_columns_; }

  const PeakOptions options_;
  const std::int64_t H_, W_;
  const std::int64_t cell_height_, cell_rows_;  // N = 1 down the columns
  const std::int64_t cell_width_, cell_columns_;
  const std::int64_t reach_;  // N along a row; beyond the map's width it adds nothing
  std::vector<T> bands_;      // (cell_rows, W): maxima down the columns of each row of cells
  std::vector<T> cells_;      // (1 + cell_rows + 1, cell_columns); -inf in the first and last row
  std::vector<T> around_, widened_;             // (cell_columns + 2 reach), or W at least
  std::vector<T> smallest_of_column_;           // (W)
  std::vector<std::int32_t> column_nonfinite_;  // (W)
  std::unique_ptr<Candidate[]> candidates_;     // (cell_rows * cell_columns + 1)
  std::int64_t num_candidates_ = 0;
  std::vector<Peak<T>> pixels_;  // of the candidates that share one value

  Map<T> map_{};
  T smallest_{}, largest_{};
};

}  // namespace vl4pose
