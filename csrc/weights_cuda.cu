#include "pass_launch.h"
#include "weights_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template __global__ void pass_kernel<PeakWeights<Block, float>>(
    const __grid_constant__ WeightsArguments<float, double>);
template __global__ void pass_kernel<PeakWeights<Block, double>>(
    const __grid_constant__ WeightsArguments<double, double>);
template __global__ void pass_kernel<PeakWeightsBackward<Block, float, double>>(
    const __grid_constant__ WeightsArguments<float, double>);
template __global__ void pass_kernel<PeakWeightsBackward<Block, double, double>>(
    const __grid_constant__ WeightsArguments<double, double>);
template __global__ void pass_kernel<PeakWeightsBackward<Block, float, Dual>>(
    const __grid_constant__ WeightsArguments<float, Dual>);
template __global__ void pass_kernel<PeakWeightsBackward<Block, double, Dual>>(
    const __grid_constant__ WeightsArguments<double, Dual>);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#if !defined(__CUDACC_RTC__)  // the host's part

#include "kernels_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  const CudaStream& stream) {
  check_aligned("values", values, "count", count);
  launch_peak_weights(StreamLauncher(stream), values, count, temperature, weights,
                      {0, values.shape[0] * values.shape[1]});
}

template <class T>
void peak_weights_backward(const View<3>& grad, const View<3>& values, const View<2>& count,
                           double temperature, const View<3>& tangent, T* grad_values,
                           T* weights_tangent, const CudaStream& stream) {
  check_aligned("grad", grad, "values", values, "count", count, "tangent", tangent);
  launch_peak_weights_backward(StreamLauncher(stream), grad, values, count, temperature, tangent,
                               grad_values, weights_tangent,
                               {0, values.shape[0] * values.shape[1]});
}

template void peak_weights(const View<3>&, const View<2>&, double, float*, const CudaStream&);
template void peak_weights(const View<3>&, const View<2>&, double, double*, const CudaStream&);
template void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double,
                                    const View<3>&, float*, float*, const CudaStream&);
template void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double,
                                    const View<3>&, double*, double*, const CudaStream&);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
