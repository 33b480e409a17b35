#include "link_total.h"
#include "offset_log_likelihood_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, Range images) {
  const OffsetLinks<T> links{{keypoints, offsets, scale_tril, {}}};
  total_over_links(tree, visible, links, total, per_link, images);
}

template <class T>
void offset_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                    const View<3>& offsets, const View<4>& scale_tril,
                                    const View<2>& visible, const Tree& tree,
                                    const OffsetTangents& tangents, const OffsetGradients<T>& to,
                                    Range images) {
  with_number(tangents.are_given(), [&]<class S>(S) {
    const OffsetLinkGradients<T, S> links{grad, {keypoints, offsets, scale_tril, tangents}, to};
    pull_back_links(tree, visible, links, images);
  });
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
