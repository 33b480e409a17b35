#include <algorithm>

#include "buffer.h"
#include "kernels.h"
#include "pose_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  Range rows) {
  const auto [B, J, K] = values.shape;
  Buffer<double> used(whole_vectors<double>(K)), weight(whole_vectors<double>(K));
  Buffer<std::int64_t> slot(K);
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    T* target = weights + row * K;
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
    std::fill(target, target + K, static_cast<T>(bad ? kNaN : 0.0));
    if (bad || n == 0) continue;
    std::fill(used.data() + n, used.data() + whole_vectors<double>(n), -kInfinity);
    const auto num_used = static_cast<std::int32_t>(n);
    softmax(used.data(), &num_used, 1, whole_vectors<double>(n), temperature, weight.data(),
            nullptr);
    for (std::int64_t i = 0; i < n; ++i) target[slot[i]] = static_cast<T>(weight[i]);
  }
}

template void peak_weights(const View<3>&, const View<2>&, double, float*, Range);
template void peak_weights(const View<3>&, const View<2>&, double, double*, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
