#include "pass_launch.h"
#include "score_backward_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template __global__ void pass_kernel<ScoreBackward<Block, float, double>>(
    const __grid_constant__ ScoreBackwardArguments<float, double>);
template __global__ void pass_kernel<ScoreBackward<Block, double, double>>(
    const __grid_constant__ ScoreBackwardArguments<double, double>);
template __global__ void pass_kernel<ScoreBackward<Block, float, Dual>>(
    const __grid_constant__ ScoreBackwardArguments<float, Dual>);
template __global__ void pass_kernel<ScoreBackward<Block, double, Dual>>(
    const __grid_constant__ ScoreBackwardArguments<double, Dual>);
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
void score_backward(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                    const ScoreGradients<T>& to, const CudaStream& stream) {
  check_aligned("xy", inputs.xy, "values", inputs.values, "count", inputs.count, "params",
                inputs.params);
  check_aligned("grad_score", inputs.grad_score, "grad_entropy", inputs.grad_entropy);
  check_aligned("tangents", inputs.values_tangent, "tangents", inputs.params_tangent);
  launch_score_backward(StreamLauncher(stream), inputs, options, to, {0, inputs.values.shape[0]});
}

template void score_backward(const ScoreBackwardInputs&, const ScoreOptions&,
                             const ScoreGradients<float>&, const CudaStream&);
template void score_backward(const ScoreBackwardInputs&, const ScoreOptions&,
                             const ScoreGradients<double>&, const CudaStream&);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
