#include "group.h"
#include "score_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class Stored>
__global__ void __launch_bounds__(Warp::kSize* kMaxWarps, 1)
    score_kernel(const __grid_constant__ ScoreArguments<Wide<Stored>> arguments) {
  score_block<Block, Stored>(Block{}, arguments);
}

template __global__ void score_kernel<Float16>(const __grid_constant__ ScoreArguments<float>);
template __global__ void score_kernel<BFloat16>(const __grid_constant__ ScoreArguments<float>);
template __global__ void score_kernel<float>(const __grid_constant__ ScoreArguments<float>);
template __global__ void score_kernel<double>(const __grid_constant__ ScoreArguments<double>);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#if !defined(__CUDACC_RTC__)  // the host's part

#include "cuda_launch.h"
#include "kernels_cuda.h"
#include "score_plan.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

template <class Stored>
void score_stored(const ScoreInputs& inputs, const ScoreOptions& options,
                  const ScoreOutputs<Wide<Stored>>& outputs, const CudaStream& stream) {
  if (inputs.heatmaps.shape[0] == 0) return;
  check_aligned("heatmaps", inputs.heatmaps, "params", inputs.params);
  const CurrentDevice device(stream.device);
  const auto all = make_arguments<Wide<Stored>>(inputs, options, outputs);
  const ScorePlan plan = plan_score(all, limits_of(stream.device));
  std::byte* const workspace =
      plan.workspace_bytes > 0 ? stream.allocate(stream.context, plan.workspace_bytes) : nullptr;
  for (int i = 0; i < plan.num_launches; ++i) {
    const LaunchPlan& of_launch = plan.launches[i];
    launch(score_kernel<Stored>, of_launch.num_blocks, of_launch.num_warps * Warp::kSize,
           of_launch.layout.shared_bytes, stream, arguments_of(all, plan, i, workspace));
  }
}

}  // namespace

template <>
void score(const ScoreInputs& inputs, const ScoreOptions& options,
           const ScoreOutputs<float>& outputs, const CudaStream& stream) {
  const DType dtype = inputs.heatmaps.dtype;
  const auto run = dtype == DType::float16    ? score_stored<Float16>
                   : dtype == DType::bfloat16 ? score_stored<BFloat16>
                                              : score_stored<float>;
  run(inputs, options, outputs, stream);
}

template <>
void score(const ScoreInputs& inputs, const ScoreOptions& options,
           const ScoreOutputs<double>& outputs, const CudaStream& stream) {
  score_stored<double>(inputs, options, outputs, stream);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
