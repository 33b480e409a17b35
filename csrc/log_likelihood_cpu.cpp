#include "link_total.h"
#include "log_likelihood_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, Range images) {
  total_over_links(tree, visible, PoseLinks<T>{keypoints, params}, total, per_link, images);
}

template <class T>
void pose_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                  const View<3>& params, const View<2>& visible, const Tree& tree,
                                  const PoseTangents& tangents, const PoseGradients<T>& to,
                                  Range images) {
  with_number(tangents.are_given(), [&]<class S>(S) {
    const PoseLinkGradients<T, S> links{grad, keypoints, params, tangents, to};
    pull_back_links(tree, visible, links, images);
  });
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
