// The launches of pose_log_likelihood on a GPU; contract: log_likelihood.h.
#pragma once

#include "dual.h"
#include "link_total_cuda.h"
#include "log_likelihood_math.h"
#include "shared_gradient_cuda.h"

#if !defined(__CUDACC_RTC__)

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T, class Launcher>
void launch_pose_log_likelihood(const Launcher& launcher, const View<3>& keypoints,
                                const View<3>& params, const View<2>& visible, const Tree& tree,
                                T* total, T* per_link, Range images) {
  launch_link_totals(launcher, PoseLinks<T>{keypoints, params}, visible, tree, total, per_link,
                     images);
}

template <class T, class Launcher>
void launch_pose_log_likelihood_backward(const Launcher& launcher, const View<2>& grad,
                                         const View<3>& keypoints, const View<3>& params,
                                         const View<2>& visible, const Tree& tree,
                                         const PoseTangents& tangents, const PoseGradients<T>& to,
                                         Range images) {
  PoseGradients<T> of_images = to;
  const DeviceSharedGradient<T, Launcher> shared(launcher, of_images.params, to.params_are_shared,
                                                 keypoints.shape[0], params.shape[1] * 2);
  with_number(tangents.are_given(), [&]<class S>(S) {
    const PoseLinkGradients<T, S> links{grad, keypoints, params, tangents, of_images};
    launch_link_gradients(launcher, links, visible, tree, images);
  });
  shared.add_up();
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
