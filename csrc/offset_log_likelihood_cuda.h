// The launches of offset_log_likelihood on a GPU; contract: offset_log_likelihood.h.
#pragma once

#include "dual.h"
#include "link_total_cuda.h"
#include "offset_log_likelihood_math.h"
#include "shared_gradient_cuda.h"

#if !defined(__CUDACC_RTC__)

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T, class Launcher>
void launch_offset_log_likelihood(const Launcher& launcher, const View<3>& keypoints,
                                  const View<3>& offsets, const View<4>& scale_tril,
                                  const View<2>& visible, const Tree& tree, T* total, T* per_link,
                                  Range images) {
  const OffsetLinks<T> links{{keypoints, offsets, scale_tril, {}}};
  launch_link_totals(launcher, links, visible, tree, total, per_link, images);
}

template <class T, class Launcher>
void launch_offset_log_likelihood_backward(const Launcher& launcher, const View<2>& grad,
                                           const View<3>& keypoints, const View<3>& offsets,
                                           const View<4>& scale_tril, const View<2>& visible,
                                           const Tree& tree, const OffsetTangents& tangents,
                                           const OffsetGradients<T>& to, Range images) {
  const auto [B, L, D] = offsets.shape;
  OffsetGradients<T> of_images = to;
  const DeviceSharedGradient<T, Launcher> shared[] = {
      {launcher, of_images.offsets, to.offsets_are_shared, B, L * D},
      {launcher, of_images.scale_tril, to.scale_tril_is_shared, B, L * D * D}};
  with_number(tangents.are_given(), [&]<class S>(S) {
    const OffsetLinkGradients<T, S> links{
        grad, {keypoints, offsets, scale_tril, tangents}, of_images};
    launch_link_gradients(launcher, links, visible, tree, images);
  });
  for (const auto& gradient : shared) gradient.add_up();
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
