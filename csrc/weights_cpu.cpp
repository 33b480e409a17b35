#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "pose_math.h"
#include "weights.h"

namespace vl4pose {

void log_weights(const double* values, std::int64_t n, double temperature, double* log_weight) {
  const double largest = values[first_largest(values, n)];
  if (largest == -kInfinity) {
    std::fill(log_weight, log_weight + n, -kInfinity);
    log_weight[0] = 0.0;
    return;
  }
  double sum = 0.0;
  for (std::int64_t k = 0; k < n; ++k) {
    log_weight[k] = (values[k] - largest) / temperature;
    sum += std::exp(log_weight[k]);
  }
  const double log_sum = std::log(sum);
  for (std::int64_t k = 0; k < n; ++k) log_weight[k] -= log_sum;
}

template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  int num_threads) {
  const auto [B, J, K] = values.shape;
  const auto work = [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> used(K), log_weight(K);
    std::vector<std::int64_t> slot(K);
    for (std::int64_t row = begin; row < end; ++row) {
      T* weight = weights + row * K;
      const std::int64_t b = row / J, j = row % J;
      const std::int64_t limit = count.data ? read<std::int32_t>(count.at(b, j)) : K;
      std::int64_t n = 0;
      bool bad = false;
      for (std::int64_t k = 0; k < K; ++k) {
        const double value = values(b, j, k);
        bad |= !(value < kInfinity);
        const bool is_used = count.data ? k < limit : value != -kInfinity;
        if (is_used) {
          used[n] = value;
          slot[n++] = k;
        }
      }
      std::fill(weight, weight + K, static_cast<T>(bad ? kNaN : 0.0));
      if (bad || n == 0) continue;
      log_weights(used.data(), n, temperature, log_weight.data());
      for (std::int64_t i = 0; i < n; ++i)
        weight[slot[i]] = static_cast<T>(std::exp(log_weight[i]));
    }
  };
  constexpr std::int64_t grain = 4096;  // values a thread should have to be worth its start
  parallel_for(B * J, grain / std::max<std::int64_t>(K, 1) + 1, num_threads, work);
}

template void peak_weights(const View<3>&, const View<2>&, double, float*, int);
template void peak_weights(const View<3>&, const View<2>&, double, double*, int);

}  // namespace vl4pose
