#include <algorithm>

#include "buffer.h"
#include "image_output.h"
#include "kernels.h"
#include "pose_rows.h"
#include "softmax_gradient.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

// The used values of a row, one after another, and their weights.
class Row {
 public:
  explicit Row(std::int64_t K)
      : slot(K), value(whole_vectors<double>(K)), weight(whole_vectors<double>(K)) {}

  // Takes row (b, j); false where it has NaN or +inf and no weights.
  bool take(const View<3>& values, const View<2>& count, double temperature, std::int64_t b,
            std::int64_t j) {
    const std::int64_t K = values.shape[2];
    const std::int64_t limit = count.data ? read<std::int32_t>(count.at(b, j)) : K;
    num_used = 0;
    for (std::int64_t k = 0; k < K; ++k) {
      const double v = values(b, j, k);
      if (!(v < kInfinity)) return false;
      if (count.data ? k < limit : v != -kInfinity) {
        value[num_used] = v;
        slot[num_used++] = k;
      }
    }
    if (num_used == 0) return true;
    const std::int64_t stride = whole_vectors<double>(num_used);
    std::fill(value.data() + num_used, value.data() + stride, -kInfinity);
    softmax(value.data(), &num_used, 1, stride, temperature, weight.data(), nullptr);
    return true;
  }

  std::int32_t num_used = 0;
  Buffer<std::int64_t> slot;
  Buffer<double> value, weight;
};

template <class S, class T>
void backward(const View<3>& grad, const View<3>& values, const View<2>& count, double temperature,
              const View<3>& tangent, T* grad_values, T* weights_tangent, Range rows) {
  const auto [B, J, K] = values.shape;
  Row row(K);
  Buffer<double> log_tangent(K);
  Buffer<S> weight(K), gradient(K);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const std::int64_t b = r / J, j = r % J;
    const bool is_valid = row.take(values, count, temperature, b, j);
    fill_image(grad_values, r, K, is_valid ? 0.0 : gradient_of_nan(grad[b][j]));
    fill_image(weights_tangent, r, K, is_valid ? 0.0 : kNaN);
    if (!is_valid) continue;
    const auto value_tangent = [&](std::int64_t i) {
      return tangent.data ? tangent(b, j, row.slot[i]) : 0.0;
    };
    const std::int64_t n = row.num_used;
    log_weight_tangents(row.weight.data(), n, temperature, value_tangent, log_tangent.data());
    for (std::int64_t i = 0; i < n; ++i) {
      weight[i] = moving_weight<S>(row.weight[i], log_tangent[i]);
      gradient[i] = grad(b, j, row.slot[i]) * weight[i];
    }
    pull_back_log_weights(weight.data(), n, temperature, gradient.data());
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t slot = r * K + row.slot[i];
      if (grad_values) grad_values[slot] = static_cast<T>(asked_of(gradient[i]));
      if (weights_tangent) weights_tangent[slot] = static_cast<T>(asked_of(weight[i]));
    }
  }
}

}  // namespace

template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  Range rows) {
  const auto [B, J, K] = values.shape;
  Row row(K);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const bool is_valid = row.take(values, count, temperature, r / J, r % J);
    fill_image(weights, r, K, is_valid ? 0.0 : kNaN);
    for (std::int64_t i = 0; is_valid && i < row.num_used; ++i) {
      weights[r * K + row.slot[i]] = static_cast<T>(row.weight[i]);
    }
  }
}

template <class T>
void peak_weights_backward(const View<3>& grad, const View<3>& values, const View<2>& count,
                           double temperature, const View<3>& tangent, T* grad_values,
                           T* weights_tangent, Range rows) {
  with_number(tangent.data, [&]<class S>(S) {
    backward<S>(grad, values, count, temperature, tangent, grad_values, weights_tangent, rows);
  });
}

template void peak_weights(const View<3>&, const View<2>&, double, float*, Range);
template void peak_weights(const View<3>&, const View<2>&, double, double*, Range);
template void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double,
                                    const View<3>&, float*, float*, Range);
template void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double,
                                    const View<3>&, double*, double*, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
