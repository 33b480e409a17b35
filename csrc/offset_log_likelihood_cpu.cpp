#include <algorithm>
#include <array>
#include <cmath>

#include "buffer.h"
#include "dual.h"
#include "image_output.h"
#include "link_total.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

constexpr std::int64_t kMaxDimensions = 3;

template <class S>
using Coordinates = std::array<S, kMaxDimensions>;

// One link's offset o and lower-triangular T, and what follows from them. S is double, or Dual
// where derivatives along a direction are wanted.
template <class S>
struct OffsetLink {
  std::int64_t D;
  Coordinates<S> offset;
  std::array<Coordinates<S>, kMaxDimensions> scale;  // of which the lower triangle is used

  bool is_finite() const {
    for (std::int64_t i = 0; i < D; ++i) {
      if (!std::isfinite(value_of(offset[i]))) return false;
      for (std::int64_t k = 0; k <= i; ++k) {
        if (!std::isfinite(value_of(scale[i][k]))) return false;
      }
    }
    return true;
  }

  bool has_positive_diagonal() const {
    for (std::int64_t i = 0; i < D; ++i) {
      if (!(value_of(scale[i][i]) > 0.0)) return false;
    }
    return true;
  }

  // z = T^-1 (step - o), by forward substitution.
  Coordinates<S> whiten(const Coordinates<S>& step) const {
    Coordinates<S> whitened{};
    for (std::int64_t i = 0; i < D; ++i) {
      S rest = step[i] - offset[i];
      for (std::int64_t k = 0; k < i; ++k) rest -= scale[i][k] * whitened[k];
      whitened[i] = rest / scale[i][i];
    }
    return whitened;
  }

  S log_likelihood(const Coordinates<S>& whitened) const {
    S log_determinant{}, squared_norm{};
    for (std::int64_t i = 0; i < D; ++i) {
      log_determinant += logarithm(scale[i][i]);
      squared_norm += whitened[i] * whitened[i];
    }
    return -0.5 * (static_cast<double>(D) * kLog2Pi + 2.0 * log_determinant + squared_norm);
  }

  // T^-t z, by backward substitution: the gradient of the log-likelihood by o.
  Coordinates<S> by_offset(const Coordinates<S>& whitened) const {
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
  const View<3>& keypoints;
  const View<3>& offsets;
  const View<4>& scale_tril;
  const OffsetTangents& tangents;

  OffsetLink<S> link(std::int64_t b, std::int64_t l) const {
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
  Coordinates<S> step(std::int64_t b, std::int64_t parent, std::int64_t child) const {
    Coordinates<S> step{};
    for (std::int64_t i = 0; i < keypoints.shape[2]; ++i) {
      step[i] = number(keypoints(b, child, i), tangents.keypoints, b, child, i) -
                number(keypoints(b, parent, i), tangents.keypoints, b, parent, i);
    }
    return step;
  }

 private:
  template <int N, class... Index>
  static S number(double value, const View<N>& tangent, Index... index) {
    return moving<S>(value, tangent.data ? tangent(index...) : 0.0);
  }
};

template <class T, class S>
void backward(const View<2>& grad, const View<3>& keypoints, const View<3>& offsets,
              const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
              const OffsetTangents& tangents, const OffsetGradients<T>& to, Range images) {
  const std::int64_t J = tree.num_joints(), L = tree.num_links(), D = keypoints.shape[2];
  const OffsetArguments<T, S> arguments{keypoints, offsets, scale_tril, tangents};
  Buffer<OffsetLink<S>> links = Buffer<OffsetLink<S>>::uninitialized(L);
  Buffer<S> by_keypoint(J * D);
  for (std::int64_t b = images.begin; b < images.end; ++b) {
    bool valid = true;
    for (std::int64_t l = 0; l < L; ++l) {
      links[l] = arguments.link(b, l);
      valid &= links[l].is_finite();
    }
    if (!valid) {
      const double gradient = gradient_of_nan(grad[b]);
      fill_image(to.keypoints, b, J * D, gradient);
      fill_image(to.offsets, b, L * D, gradient);
      fill_image(to.scale_tril, b, L * D * D, gradient);
      fill_image(to.per_link, b, L, kNaN);
      continue;
    }
    std::fill_n(by_keypoint.data(), J * D, S{});
    fill_image(to.scale_tril, b, L * D * D, 0.0);
    for (std::int64_t l = 0; l < L; ++l) {
      S value{};
      Coordinates<S> whitened{}, by_offset{};
      const double g = grad(b, l);
      if (is_visible_link(tree, visible, b, l)) {
        const std::int64_t child = tree.child[l], parent = tree.parent[child];
        const bool is_defined = links[l].has_positive_diagonal();
        whitened = links[l].whiten(arguments.step(b, parent, child));
        value = is_defined ? links[l].log_likelihood(whitened) : moving<S>(kNaN, kNaN);
        if (g != 0.0) {
          by_offset = links[l].by_offset(whitened);
          for (std::int64_t i = 0; i < D; ++i) {
            by_offset[i] = is_defined ? g * by_offset[i] : moving<S>(kNaN, kNaN);
            by_keypoint[child * D + i] -= by_offset[i];
            by_keypoint[parent * D + i] += by_offset[i];
            for (std::int64_t k = 0; k <= i && to.scale_tril; ++k) {
              S by_scale = by_offset[i] * whitened[k];
              if (k == i) by_scale -= g / links[l].scale[i][i];
              to.scale_tril[((b * L + l) * D + i) * D + k] = static_cast<T>(asked_of(by_scale));
            }
          }
        }
      }
      if (to.per_link) to.per_link[b * L + l] = static_cast<T>(asked_of(value));
      for (std::int64_t i = 0; i < D && to.offsets; ++i) {
        to.offsets[(b * L + l) * D + i] = static_cast<T>(asked_of(by_offset[i]));
      }
    }
    for (std::int64_t i = 0; i < J * D && to.keypoints; ++i) {
      to.keypoints[b * J * D + i] = static_cast<T>(asked_of(by_keypoint[i]));
    }
  }
}

}  // namespace

template <class T>
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, Range images) {
  const OffsetTangents none{};
  const OffsetArguments<T, double> arguments{keypoints, offsets, scale_tril, none};
  const auto usable = [&](std::int64_t b) {
    for (std::int64_t l = 0; l < tree.num_links(); ++l) {
      if (!arguments.link(b, l).is_finite()) return false;
    }
    return true;
  };
  const auto term = [&](std::int64_t b, std::int64_t parent, std::int64_t child, std::int64_t l) {
    const OffsetLink<double> link = arguments.link(b, l);
    if (!link.has_positive_diagonal()) return kNaN;
    return link.log_likelihood(link.whiten(arguments.step(b, parent, child)));
  };
  total_over_links(tree, visible, usable, term, total, per_link, images);
}

template <class T>
void offset_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                    const View<3>& offsets, const View<4>& scale_tril,
                                    const View<2>& visible, const Tree& tree,
                                    const OffsetTangents& tangents, const OffsetGradients<T>& to,
                                    Range images) {
  const bool is_along =
      tangents.keypoints.data || tangents.offsets.data || tangents.scale_tril.data;
  const auto run = is_along ? backward<T, Dual> : backward<T, double>;
  run(grad, keypoints, offsets, scale_tril, visible, tree, tangents, to, images);
}

template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                                    const Tree&, float*, float*, Range);
template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                                    const Tree&, double*, double*, Range);
template void offset_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                             const View<4>&, const View<2>&, const Tree&,
                                             const OffsetTangents&, const OffsetGradients<float>&,
                                             Range);
template void offset_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                             const View<4>&, const View<2>&, const Tree&,
                                             const OffsetTangents&, const OffsetGradients<double>&,
                                             Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
