// Eq. 5 of one link with its derivatives, for S of double or Dual (dual.h).
#pragma once

#include <cstdint>

#include "array.h"
#include "dual.h"
#include "host_device.h"
#include "pose_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class S>
struct LinkOf {
  S distance, log_variance, precision;
  bool distance_is_clamped, log_variance_is_clamped;  // then the gradient is 0
};

// Link l of image b of params (B, L, 2), which are rounded to the results' dtype T first and move
// along `tangent`, of data null for not at all.
template <class S, class T>
VL4POSE_HOST_DEVICE LinkOf<S> read_link(const View<3>& params, const View<3>& tangent,
                                        std::int64_t b, std::int64_t l, std::uint8_t& status) {
  const double distance = static_cast<T>(params(b, l, 0));
  const double log_variance = static_cast<T>(params(b, l, 1));
  const Link link = make_link(distance, log_variance, status);
  const bool clamped[] = {link.distance != distance, link.log_variance != log_variance};
  const auto along = [&](std::int64_t i) {
    return tangent.data && !clamped[i] ? tangent(b, l, i) : 0.0;
  };
  const S s = moving<S>(link.log_variance, along(1));
  return {moving<S>(link.distance, along(0)), s, exponential(-s), clamped[0], clamped[1]};
}

// The log-density of a link of length r; its derivative by r is the opposite of that by the
// expected distance.
template <class S>
struct LinkTerm {
  S value, by_distance, by_log_variance;
};

template <class S>
VL4POSE_HOST_DEVICE LinkTerm<S> link_term(const S& r, const LinkOf<S>& link) {
  const S difference = r - link.distance, scaled = difference * link.precision;
  const S squared = difference * scaled;
  return {-0.5 * ((kLog2Pi + link.log_variance) + squared), scaled, -0.5 * (1.0 - squared)};
}

// The share of the poses through a peak of a link's parent and one of its child: `belief` is that
// of the poses through the former; `up` of the child's and `message` to the parent's are those of
// tree_recursion.h.
template <class S>
VL4POSE_HOST_DEVICE S pair_share(const S& belief, const LinkTerm<S>& term, const S& up,
                                 const S& message) {
  return belief * exponential(term.value + up - message);
}

// Writes what is asked of a link's gradient, (2).
template <class T, class S>
VL4POSE_HOST_DEVICE void write_link_gradient(const LinkOf<S>& link, const S& by_distance,
                                             const S& by_log_variance, T* to) {
  to[0] = static_cast<T>(link.distance_is_clamped ? 0.0 : asked_of(by_distance));
  to[1] = static_cast<T>(link.log_variance_is_clamped ? 0.0 : asked_of(by_log_variance));
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
