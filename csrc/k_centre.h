// Rows that lie far from each other: greedy k-centre. Reference: vl4pose/reference.py, k_centre.
#pragma once

#include <cstdint>
#include <functional>

namespace vl4pose {

template <class T>
struct KCentreInputs {
  const T* embeddings = nullptr;  // (N, D), finite, as are the labelled ones
  std::int64_t N = 0, D = 0;
  const T* labelled = nullptr;  // (M, D): centres from the beginning
  std::int64_t M = 0;
  std::int64_t first = 0;  // the row to begin with where M is 0
  double min_separation = 0.0;
};

// Chooses num_centres rows, at most N of them: each time the one that is farthest from all centres
// so far, the lower of equal ones. Writes their indices, and their distances from the centres
// before them, infinite where there is none; returns how many there are, which are fewer once no
// row is farther than min_separation. after_each is called behind every step, by the thread that
// called; what it throws is passed on.
//
// Squared distances are sums in double of the squares of differences in double: that of column d is
// added to sum d % kSums, and the sums are added up by halves. So the result is the same bit for
// bit on every CPU, with any number of threads.
template <class T>
std::int64_t k_centre(const KCentreInputs<T>& inputs, std::int64_t num_centres,
                      std::int32_t* indices,  // (num_centres,)
                      T* distances,           // (num_centres,)
                      int num_threads, const std::function<void()>& after_each);

inline constexpr int kSums = 16;

// What the steps know. A row's distance is not that from all centres: most rows are known to be
// nearer than another one long before, and wait.
template <class T>
struct KCentreRows {
  const T* embeddings;      // (N, D)
  const T* const* centres;  // (num_centres,), each to D values
  std::int64_t D, num_centres;
  double* nearest;         // (N,), squared distance from the nearest centre that was looked at
  std::int32_t* num_seen;  // (N,), how many were, the first ones
};

struct Farthest {
  std::int64_t row;
  double nearest;  // its squared distance from the nearest centre

  bool is_farther_than(const Farthest& other) const {
    return nearest > other.nearest || (nearest == other.nearest && row < other.row);
  }
};

}  // namespace vl4pose
