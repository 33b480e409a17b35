#include "link_total.h"

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

template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  float*, float*, Range);
template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  double*, double*, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
