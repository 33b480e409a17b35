#include <cstring>

#include "k_centre.h"
#include "kernels.h"
#include "simd.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

// As many of T as Vector<double> has lanes.
template <class T>
Vector<double> load_widened(const T* address) {
  typename VectorOf<T, kLanes<double>* static_cast<int>(sizeof(T))>::type values;
  std::memcpy(&values, address, sizeof values);
  return __builtin_convertvector(values, Vector<double>);
}

template <class T>
class SquaredDistance {
  static constexpr int kVectors = kSums / kLanes<double>;
  Vector<double> sums_[kVectors]{};

 public:
  double operator()(const T* a, const T* b, std::int64_t D) {
    const std::int64_t whole = D / kSums * kSums;
    for (std::int64_t d = 0; d < whole; d += kSums) add(a + d, b + d);
    if (whole < D) {
      T last_of_a[kSums]{}, last_of_b[kSums]{};
      std::memcpy(last_of_a, a + whole, (D - whole) * sizeof(T));
      std::memcpy(last_of_b, b + whole, (D - whole) * sizeof(T));
      add(last_of_a, last_of_b);
    }
    for (int half = kVectors / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) sums_[i] += sums_[i + half];
    }
    return detail::fold_lanes<kLanes<double>>(sums_[0], [](auto x, auto y) { return x + y; });
  }

 private:
  void add(const T* a, const T* b) {
    for (int i = 0; i < kVectors; ++i) {
      const std::int64_t at = i * kLanes<double>;
      const Vector<double> difference = load_widened(a + at) - load_widened(b + at);
      sums_[i] += difference * difference;
    }
  }
};

}  // namespace

// A row is compared with the centres that are new to it, until it is nearer than a row that is
// known to be far. So most rows are compared with few centres, and each with each once at most.
template <class T>
Farthest farthest_row(const KCentreRows<T>& of, Range rows) {
  Farthest farthest{rows.begin, -1.0};
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    double nearest = of.nearest[row];
    if (nearest <= farthest.nearest) continue;
    const T* const embedding = of.embeddings + row * of.D;
    std::int64_t seen = of.num_seen[row];
    while (seen < of.num_centres && nearest > farthest.nearest) {
      const double distance = SquaredDistance<T>()(embedding, of.centres[seen++], of.D);
      if (distance < nearest) nearest = distance;
    }
    of.nearest[row] = nearest;
    of.num_seen[row] = static_cast<std::int32_t>(seen);
    if (nearest > farthest.nearest) farthest = {row, nearest};
  }
  return farthest;
}

template Farthest farthest_row(const KCentreRows<float>&, Range);
template Farthest farthest_row(const KCentreRows<double>&, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
