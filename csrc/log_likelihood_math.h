// One link of a pose that is given by its keypoints, Eq. 5; contract: log_likelihood.h.
#pragma once

#include <cstdint>

#include "array.h"
#include "host_device.h"
#include "link_gradient.h"
#include "log_likelihood.h"
#include "pose_links.h"
#include "pose_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Params are rounded to the results' dtype T first.
template <class T>
struct PoseLinks {
  using Result = T;

  View<3> keypoints, params;

  VL4POSE_HOST_DEVICE Link link(std::int64_t b, std::int64_t l, std::uint8_t& status) const {
    const std::int64_t distance = 0, log_variance = 1;
    return make_link(static_cast<T>(params(b, l, distance)),
                     static_cast<T>(params(b, l, log_variance)), status);
  }

  VL4POSE_HOST_DEVICE bool is_usable(std::int64_t b, std::int64_t l) const {
    std::uint8_t status = 0;
    link(b, l, status);
    return (status & status::kNonfiniteParams) == 0;
  }

  VL4POSE_HOST_DEVICE double log_likelihood(std::int64_t b, std::int64_t l, std::int64_t parent,
                                            std::int64_t child) const {
    const std::int64_t x = 0, y = 1;
    std::uint8_t ignored = 0;
    Link of_pose = link(b, l, ignored);
    of_pose.precision = exponential(-of_pose.log_variance);
    return link_log_likelihood(keypoints(b, child, x) - keypoints(b, parent, x),
                               keypoints(b, child, y) - keypoints(b, parent, y), of_pose);
  }
};

template <class T, class S>
struct PoseLinkGradients {
  using Result = T;
  using Number = S;

  View<2> grad;
  View<3> keypoints, params;
  PoseTangents tangents;
  PoseGradients<T> to;

  VL4POSE_HOST_DEVICE static constexpr std::int64_t num_dimensions() { return 2; }

  VL4POSE_HOST_DEVICE bool is_usable(std::int64_t b, std::int64_t l) const {
    return PoseLinks<T>{keypoints, params}.is_usable(b, l);
  }

  VL4POSE_HOST_DEVICE Coordinates<S> write(std::int64_t b, std::int64_t l, std::int64_t parent,
                                           std::int64_t child, bool is_visible) const {
    std::uint8_t ignored = 0;
    const LinkOf<S> link = read_link<S, T>(params, tangents.params, b, l, ignored);
    S value{}, by_distance{}, by_log_variance{};
    Coordinates<S> by_parent{};
    if (is_visible) {
      const S dx = coordinate(b, child, 0) - coordinate(b, parent, 0);
      const S dy = coordinate(b, child, 1) - coordinate(b, parent, 1);
      const S squared = dx * dx + dy * dy;
      const bool has_direction = value_of(squared) != 0.0;
      const S r = has_direction ? square_root(squared) : S{};
      const LinkTerm<S> term = link_term(r, link);
      value = term.value;
      if (const double g = grad(b, l); g != 0.0) {
        by_distance = g * term.by_distance;
        by_log_variance = g * term.by_log_variance;
        if (has_direction) {
          const S step = by_distance / r;
          by_parent[0] = step * dx;
          by_parent[1] = step * dy;
        }
      }
    }
    const std::int64_t row = b * params.shape[1] + l;
    if (to.per_link) to.per_link[row] = static_cast<T>(asked_of(value));
    if (to.params) write_link_gradient(link, by_distance, by_log_variance, to.params + row * 2);
    return by_parent;
  }

  VL4POSE_HOST_DEVICE void poison(std::int64_t b, std::int64_t l, double gradient) const {
    const std::int64_t row = b * params.shape[1] + l;
    if (to.per_link) to.per_link[row] = static_cast<T>(kNaN);
    for (std::int64_t i = 0; i < 2 && to.params; ++i) {
      to.params[row * 2 + i] = static_cast<T>(gradient);
    }
  }

 private:
  VL4POSE_HOST_DEVICE S coordinate(std::int64_t b, std::int64_t j, std::int64_t i) const {
    return moving<S>(keypoints(b, j, i), tangents.keypoints.data ? tangents.keypoints(b, j, i) : 0);
  }
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
