// One link of a directly regressed pose, Eq. 4; contract: offset_log_likelihood.h.
#pragma once

#include <array>
#include <cstdint>

#include "array.h"
#include "dual.h"
#include "host_device.h"
#include "offset_log_likelihood.h"
#include "pose_links.h"
#include "pose_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// One link's offset o and lower-triangular T, and what follows from them. S is double, or Dual
// where derivatives along a direction are wanted.
template <class S>
struct OffsetLink {
  std::int64_t D;
  Coordinates<S> offset;
  std::array<Coordinates<S>, kMaxDimensions> scale;  // of which the lower triangle is used

  VL4POSE_HOST_DEVICE bool is_usable() const {
    for (std::int64_t i = 0; i < D; ++i) {
      if (!is_finite(value_of(offset[i]))) return false;
      for (std::int64_t k = 0; k <= i; ++k) {
        if (!is_finite(value_of(scale[i][k]))) return false;
      }
    }
    return true;
  }

  VL4POSE_HOST_DEVICE bool has_positive_diagonal() const {
    for (std::int64_t i = 0; i < D; ++i) {
      if (!(value_of(scale[i][i]) > 0.0)) return false;
    }
    return true;
  }

  // z = T^-1 (step - o), by forward substitution.
  VL4POSE_HOST_DEVICE Coordinates<S> whiten(const Coordinates<S>& step) const {
    Coordinates<S> whitened{};
    for (std::int64_t i = 0; i < D; ++i) {
      S rest = step[i] - offset[i];
      for (std::int64_t k = 0; k < i; ++k) rest -= scale[i][k] * whitened[k];
      whitened[i] = rest / scale[i][i];
    }
    return whitened;
  }

  VL4POSE_HOST_DEVICE S log_likelihood(const Coordinates<S>& whitened) const {
    S log_determinant{}, squared_norm{};
    for (std::int64_t i = 0; i < D; ++i) {
      log_determinant += logarithm(scale[i][i]);
      squared_norm += whitened[i] * whitened[i];
    }
    return -0.5 * (static_cast<double>(D) * kLog2Pi + 2.0 * log_determinant + squared_norm);
  }

  // T^-t z, by backward substitution: the gradient of the log-likelihood by o.
  VL4POSE_HOST_DEVICE Coordinates<S> by_offset(const Coordinates<S>& whitened) const {
    Coordinates<S> gradient{};
    for (std::int64_t i = D - 1; i >= 0; --i) {
      S rest = whitened[i];
      for (std::int64_t k = i + 1; k < D; ++k) rest -= scale[k][i] * gradient[k];
      gradient[i] = rest / scale[i][i];
    }
    return gradient;
  }
};

// The arguments as numbers: rounded to the results' dtype T, moving along the tangents.
template <class T, class S>
struct OffsetArguments {
  View<3> keypoints, offsets;
  View<4> scale_tril;
  OffsetTangents tangents;

  VL4POSE_HOST_DEVICE OffsetLink<S> link(std::int64_t b, std::int64_t l) const {
    OffsetLink<S> link{keypoints.shape[2], {}, {}};
    for (std::int64_t i = 0; i < link.D; ++i) {
      link.offset[i] = number(static_cast<T>(offsets(b, l, i)), tangents.offsets, b, l, i);
      for (std::int64_t k = 0; k <= i; ++k) {
        link.scale[i][k] =
            number(static_cast<T>(scale_tril(b, l, i, k)), tangents.scale_tril, b, l, i, k);
      }
    }
    return link;
  }

  // From joint to joint.
  VL4POSE_HOST_DEVICE Coordinates<S> step(std::int64_t b, std::int64_t parent,
                                          std::int64_t child) const {
    Coordinates<S> step{};
    for (std::int64_t i = 0; i < keypoints.shape[2]; ++i) {
      step[i] = number(keypoints(b, child, i), tangents.keypoints, b, child, i) -
                number(keypoints(b, parent, i), tangents.keypoints, b, parent, i);
    }
    return step;
  }

 private:
  template <int N, class... Index>
  VL4POSE_HOST_DEVICE static S number(double value, const View<N>& tangent, Index... index) {
    return moving<S>(value, tangent.data ? tangent(index...) : 0.0);
  }
};

template <class T>
struct OffsetLinks {
  using Result = T;

  OffsetArguments<T, double> arguments;

  VL4POSE_HOST_DEVICE bool is_usable(std::int64_t b, std::int64_t l) const {
    return arguments.link(b, l).is_usable();
  }

  VL4POSE_HOST_DEVICE double log_likelihood(std::int64_t b, std::int64_t l, std::int64_t parent,
                                            std::int64_t child) const {
    const OffsetLink<double> link = arguments.link(b, l);
    if (!link.has_positive_diagonal()) return kNaN;
    return link.log_likelihood(link.whiten(arguments.step(b, parent, child)));
  }
};

template <class T, class S>
struct OffsetLinkGradients {
  using Result = T;
  using Number = S;

  View<2> grad;
  OffsetArguments<T, S> arguments;
  OffsetGradients<T> to;

  VL4POSE_HOST_DEVICE std::int64_t num_dimensions() const { return arguments.keypoints.shape[2]; }

  VL4POSE_HOST_DEVICE bool is_usable(std::int64_t b, std::int64_t l) const {
    return arguments.link(b, l).is_usable();
  }

  VL4POSE_HOST_DEVICE Coordinates<S> write(std::int64_t b, std::int64_t l, std::int64_t parent,
                                           std::int64_t child, bool is_visible) const {
    const std::int64_t D = num_dimensions(), row = b * arguments.offsets.shape[1] + l;
    S value{};
    Coordinates<S> by_offset{};
    const double g = grad(b, l);
    const bool has_gradient = is_visible && g != 0.0;
    if (!has_gradient && to.scale_tril) {
      for (std::int64_t i = 0; i < D * D; ++i) to.scale_tril[row * D * D + i] = T{0};
    }
    if (is_visible) {
      const OffsetLink<S> link = arguments.link(b, l);
      const Coordinates<S> whitened = link.whiten(arguments.step(b, parent, child));
      const bool is_defined = link.has_positive_diagonal();
      value = is_defined ? link.log_likelihood(whitened) : moving<S>(kNaN, kNaN);
      if (has_gradient) {
        by_offset = link.by_offset(whitened);
        for (std::int64_t i = 0; i < D; ++i) {
          by_offset[i] = is_defined ? g * by_offset[i] : moving<S>(kNaN, kNaN);
          for (std::int64_t k = 0; k < D && to.scale_tril; ++k) {
            S by_scale{};
            if (k <= i) by_scale = by_offset[i] * whitened[k];
            if (k == i) by_scale -= g / link.scale[i][i];
            to.scale_tril[(row * D + i) * D + k] = static_cast<T>(asked_of(by_scale));
          }
        }
      }
    }
    if (to.per_link) to.per_link[row] = static_cast<T>(asked_of(value));
    for (std::int64_t i = 0; i < D && to.offsets; ++i) {
      to.offsets[row * D + i] = static_cast<T>(asked_of(by_offset[i]));
    }
    return by_offset;
  }

  VL4POSE_HOST_DEVICE void poison(std::int64_t b, std::int64_t l, double gradient) const {
    const std::int64_t D = num_dimensions(), row = b * arguments.offsets.shape[1] + l;
    if (to.per_link) to.per_link[row] = static_cast<T>(kNaN);
    for (std::int64_t i = 0; i < D && to.offsets; ++i) {
      to.offsets[row * D + i] = static_cast<T>(gradient);
    }
    for (std::int64_t i = 0; i < D * D && to.scale_tril; ++i) {
      to.scale_tril[row * D * D + i] = static_cast<T>(gradient);
    }
  }
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
