#include "log_likelihood_cuda.h"
#include "pass_launch.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template __global__ void pass_kernel<LinkTotals<Block, PoseLinks<float>>>(
    const __grid_constant__ LinksArguments<PoseLinks<float>>);
template __global__ void pass_kernel<LinkTotals<Block, PoseLinks<double>>>(
    const __grid_constant__ LinksArguments<PoseLinks<double>>);
template __global__ void pass_kernel<LinkGradients<Block, PoseLinkGradients<float, double>>>(
    const __grid_constant__ LinksArguments<PoseLinkGradients<float, double>>);
template __global__ void pass_kernel<LinkGradients<Block, PoseLinkGradients<double, double>>>(
    const __grid_constant__ LinksArguments<PoseLinkGradients<double, double>>);
template __global__ void pass_kernel<LinkGradients<Block, PoseLinkGradients<float, Dual>>>(
    const __grid_constant__ LinksArguments<PoseLinkGradients<float, Dual>>);
template __global__ void pass_kernel<LinkGradients<Block, PoseLinkGradients<double, Dual>>>(
    const __grid_constant__ LinksArguments<PoseLinkGradients<double, Dual>>);
template __global__ void pass_kernel<ImageSum<Block, float>>(
    const __grid_constant__ ImageSumArguments<float>);
template __global__ void pass_kernel<ImageSum<Block, double>>(
    const __grid_constant__ ImageSumArguments<double>);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#if !defined(__CUDACC_RTC__)  // the host's part

#include "kernels_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, const CudaStream& stream) {
  check_aligned("keypoints", keypoints, "params", params);
  launch_pose_log_likelihood(StreamLauncher(stream), keypoints, params, visible, tree, total,
                             per_link, {0, keypoints.shape[0]});
}

template <class T>
void pose_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                  const View<3>& params, const View<2>& visible, const Tree& tree,
                                  const PoseTangents& tangents, const PoseGradients<T>& to,
                                  const CudaStream& stream) {
  check_aligned("grad", grad, "keypoints", keypoints, "params", params);
  check_aligned("tangents", tangents.keypoints, "tangents", tangents.params);
  launch_pose_log_likelihood_backward(StreamLauncher(stream), grad, keypoints, params, visible,
                                      tree, tangents, to, {0, keypoints.shape[0]});
}

template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  float*, float*, const CudaStream&);
template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  double*, double*, const CudaStream&);
template void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                           const View<2>&, const Tree&, const PoseTangents&,
                                           const PoseGradients<float>&, const CudaStream&);
template void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                           const View<2>&, const Tree&, const PoseTangents&,
                                           const PoseGradients<double>&, const CudaStream&);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
