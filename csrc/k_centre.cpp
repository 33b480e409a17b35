// The steps of k_centre, each over all rows; what looks at a row is in k_centre_cpu.cpp.
#include "k_centre.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "kernels.h"
#include "parallel.h"

namespace vl4pose {

template <class T>
std::int64_t k_centre(const KCentreInputs<T>& inputs, std::int64_t num_centres,
                      std::int32_t* indices, T* distances, int num_threads,
                      const std::function<void()>& after_each) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::int64_t N = inputs.N, D = inputs.D;
  const std::int64_t grain = (std::int64_t{1} << 20) / std::max<std::int64_t>(D, 1) + 1;
  const auto kernel = kernels<T>().farthest_row;
  std::vector<double> nearest(N, kInfinity);
  std::vector<std::int32_t> num_seen(N, 0);
  std::vector<T> chosen(num_centres * D);  // side by side, for they are read again and again
  std::vector<const T*> centres;
  centres.reserve(inputs.M + num_centres);
  for (std::int64_t m = 0; m < inputs.M; ++m) centres.push_back(inputs.labelled + m * D);

  for (std::int64_t n = 0; n < num_centres; ++n) {
    Farthest farthest{inputs.first, kInfinity};
    if (!centres.empty()) {
      const KCentreRows<T> rows{
          inputs.embeddings, centres.data(), D, static_cast<std::int64_t>(centres.size()),
          nearest.data(),    num_seen.data()};
      farthest = {0, -1.0};
      std::mutex mutex;
      parallel_for(N, grain, num_threads, [&](Range range) {
        const Farthest found = kernel(rows, range);
        const std::scoped_lock lock(mutex);
        if (found.is_farther_than(farthest)) farthest = found;
      });
    }
    const double distance = std::sqrt(farthest.nearest);
    if (distance <= inputs.min_separation) return n;
    indices[n] = static_cast<std::int32_t>(farthest.row);
    distances[n] = static_cast<T>(distance);
    std::copy_n(inputs.embeddings + farthest.row * D, D, chosen.data() + n * D);
    centres.push_back(chosen.data() + n * D);
    after_each();
  }
  return num_centres;
}

template std::int64_t k_centre(const KCentreInputs<float>&, std::int64_t, std::int32_t*, float*,
                               int, const std::function<void()>&);
template std::int64_t k_centre(const KCentreInputs<double>&, std::int64_t, std::int32_t*, double*,
                               int, const std::function<void()>&);

}  // namespace vl4pose
