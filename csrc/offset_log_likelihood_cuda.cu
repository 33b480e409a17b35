#include "offset_log_likelihood_cuda.h"
#include "pass_launch.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template __global__ void pass_kernel<LinkTotals<Block, OffsetLinks<float>>>(
    const __grid_constant__ LinksArguments<OffsetLinks<float>>);
template __global__ void pass_kernel<LinkTotals<Block, OffsetLinks<double>>>(
    const __grid_constant__ LinksArguments<OffsetLinks<double>>);
template __global__ void pass_kernel<LinkGradients<Block, OffsetLinkGradients<float, double>>>(
    const __grid_constant__ LinksArguments<OffsetLinkGradients<float, double>>);
template __global__ void pass_kernel<LinkGradients<Block, OffsetLinkGradients<double, double>>>(
    const __grid_constant__ LinksArguments<OffsetLinkGradients<double, double>>);
template __global__ void pass_kernel<LinkGradients<Block, OffsetLinkGradients<float, Dual>>>(
    const __grid_constant__ LinksArguments<OffsetLinkGradients<float, Dual>>);
template __global__ void pass_kernel<LinkGradients<Block, OffsetLinkGradients<double, Dual>>>(
    const __grid_constant__ LinksArguments<OffsetLinkGradients<double, Dual>>);
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
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, const CudaStream& stream) {
  check_aligned("keypoints", keypoints, "offsets", offsets, "scale_tril", scale_tril);
  launch_offset_log_likelihood(StreamLauncher(stream), keypoints, offsets, scale_tril, visible,
                               tree, total, per_link, {0, keypoints.shape[0]});
}

template <class T>
void offset_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                    const View<3>& offsets, const View<4>& scale_tril,
                                    const View<2>& visible, const Tree& tree,
                                    const OffsetTangents& tangents, const OffsetGradients<T>& to,
                                    const CudaStream& stream) {
  check_aligned("grad", grad, "keypoints", keypoints, "offsets", offsets, "scale_tril", scale_tril);
  check_aligned("tangents", tangents.keypoints, "tangents", tangents.offsets, "tangents",
                tangents.scale_tril);
  launch_offset_log_likelihood_backward(StreamLauncher(stream), grad, keypoints, offsets,
                                        scale_tril, visible, tree, tangents, to,
                                        {0, keypoints.shape[0]});
}

template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                                    const Tree&, float*, float*, const CudaStream&);
template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                                    const Tree&, double*, double*, const CudaStream&);
template void offset_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                             const View<4>&, const View<2>&, const Tree&,
                                             const OffsetTangents&, const OffsetGradients<float>&,
                                             const CudaStream&);
template void offset_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,
                                             const View<4>&, const View<2>&, const Tree&,
                                             const OffsetTangents&, const OffsetGradients<double>&,
                                             const CudaStream&);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
