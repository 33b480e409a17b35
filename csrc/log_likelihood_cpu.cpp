#include <algorithm>

#include "buffer.h"
#include "image_output.h"
#include "link_gradient.h"
#include "link_total.h"
#include "pose_rows.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, Range images) {
  const std::int64_t x = 0, y = 1;  // and, of params, the distance and the log-variance
  const auto link = [&](std::int64_t b, std::int64_t l, std::uint8_t& status) {
    return make_link(static_cast<T>(params(b, l, x)), static_cast<T>(params(b, l, y)), status);
  };
  const auto usable = [&](std::int64_t b) {
    std::uint8_t status = 0;
    for (std::int64_t l = 0; l < tree.num_links(); ++l) link(b, l, status);
    return (status & status::kNonfiniteParams) == 0;
  };
  const auto term = [&](std::int64_t b, std::int64_t parent, std::int64_t child, std::int64_t l) {
    std::uint8_t ignored = 0;
    Link of_pose = link(b, l, ignored);
    set_precisions(&of_pose, 1);
    return link_log_likelihood(keypoints(b, child, x) - keypoints(b, parent, x),
                               keypoints(b, child, y) - keypoints(b, parent, y), of_pose);
  };
  total_over_links(tree, visible, usable, term, total, per_link, images);
}

namespace {

template <class T, class S>
void backward(const View<2>& grad, const View<3>& keypoints, const View<3>& params,
              const View<2>& visible, const Tree& tree, const PoseTangents& tangents,
              const PoseGradients<T>& to, Range images) {
  const std::int64_t J = tree.num_joints(), L = tree.num_links();
  const auto coordinate = [&](std::int64_t b, std::int64_t j, std::int64_t i) {
    return moving<S>(keypoints(b, j, i), tangents.keypoints.data ? tangents.keypoints(b, j, i) : 0);
  };
  Buffer<LinkOf<S>> links = Buffer<LinkOf<S>>::uninitialized(L);
  Buffer<S> by_x(J), by_y(J);
  for (std::int64_t b = images.begin; b < images.end; ++b) {
    std::uint8_t status = 0;
    for (std::int64_t l = 0; l < L; ++l) {
      links[l] = read_link<S, T>(params, tangents.params, b, l, status);
    }
    if (status & status::kNonfiniteParams) {
      const double gradient = gradient_of_nan(grad[b]);
      fill_image(to.keypoints, b, J * 2, gradient);
      fill_image(to.params, b, L * 2, gradient);
      fill_image(to.per_link, b, L, kNaN);
      continue;
    }
    std::fill_n(by_x.data(), J, S{});
    std::fill_n(by_y.data(), J, S{});
    for (std::int64_t l = 0; l < L; ++l) {
      S by_distance{}, by_log_variance{}, value{};
      if (is_visible_link(tree, visible, b, l)) {
        const std::int64_t child = tree.child[l], parent = tree.parent[child];
        const S dx = coordinate(b, child, 0) - coordinate(b, parent, 0);
        const S dy = coordinate(b, child, 1) - coordinate(b, parent, 1);
        const S squared = dx * dx + dy * dy;
        const bool has_direction = value_of(squared) != 0.0;
        const S r = has_direction ? square_root(squared) : S{};
        const LinkTerm<S> term = link_term(r, links[l]);
        value = term.value;
        if (const double g = grad(b, l); g != 0.0) {
          by_distance = g * term.by_distance;
          by_log_variance = g * term.by_log_variance;
          if (has_direction) {
            const S step = by_distance / r;
            by_x[child] -= step * dx;
            by_y[child] -= step * dy;
            by_x[parent] += step * dx;
            by_y[parent] += step * dy;
          }
        }
      }
      if (to.per_link) to.per_link[b * L + l] = static_cast<T>(asked_of(value));
      if (to.params) {
        write_link_gradient(links[l], by_distance, by_log_variance, to.params + (b * L + l) * 2);
      }
    }
    for (std::int64_t j = 0; j < J && to.keypoints; ++j) {
      to.keypoints[(b * J + j) * 2] = static_cast<T>(asked_of(by_x[j]));
      to.keypoints[(b * J + j) * 2 + 1] = static_cast<T>(asked_of(by_y[j]));
    }
  }
}

}  // namespace

template <class T>
void pose_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                  const View<3>& params, const View<2>& visible, const Tree& tree,
                                  const PoseTangents& tangents, const PoseGradients<T>& to,
                                  Range images) {
  const bool is_along = tangents.keypoints.data || tangents.params.data;
  const auto run = is_along ? backward<T, Dual> : backward<T, double>;
  run(grad, keypoints, params, visible, tree, tangents, to, images);
}

template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  float*, float*, Range);
template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  double*, double*, Range);
template void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                           const View<2>&, const Tree&, const PoseTangents&,
                                           const PoseGradients<float>&, Range);
template void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                           const View<2>&, const Tree&, const PoseTangents&,
                                           const PoseGradients<double>&, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
