#include <array>
#include <cmath>

#include "link_total.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, Range images) {
  const std::int64_t D = keypoints.shape[2];
  const auto offset = [&](std::int64_t b, std::int64_t l, std::int64_t i) {
    return double{static_cast<T>(offsets(b, l, i))};
  };
  const auto scale = [&](std::int64_t b, std::int64_t l, std::int64_t i, std::int64_t k) {
    return double{static_cast<T>(scale_tril(b, l, i, k))};
  };
  const auto usable = [&](std::int64_t b) {
    for (std::int64_t l = 0; l < tree.num_links(); ++l) {
      for (std::int64_t i = 0; i < D; ++i) {
        if (!std::isfinite(offset(b, l, i))) return false;
        for (std::int64_t k = 0; k <= i; ++k) {
          if (!std::isfinite(scale(b, l, i, k))) return false;
        }
      }
    }
    return true;
  };
  const auto term = [&](std::int64_t b, std::int64_t parent, std::int64_t child, std::int64_t l) {
    std::array<double, 3> whitened{};  // T^-1 e, by forward substitution
    double log_determinant = 0.0, squared_norm = 0.0;
    for (std::int64_t i = 0; i < D; ++i) {
      double rest = keypoints(b, child, i) - keypoints(b, parent, i) - offset(b, l, i);
      for (std::int64_t k = 0; k < i; ++k) rest -= scale(b, l, i, k) * whitened[k];
      const double diagonal = scale(b, l, i, i);
      if (!(diagonal > 0.0)) return kNaN;
      whitened[i] = rest / diagonal;
      log_determinant += logarithm(diagonal);
      squared_norm += whitened[i] * whitened[i];
    }
    return -0.5 * (static_cast<double>(D) * kLog2Pi + 2.0 * log_determinant + squared_norm);
  };
  total_over_links(tree, visible, usable, term, total, per_link, images);
}

template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                                    const Tree&, float*, float*, Range);
template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                                    const Tree&, double*, double*, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
