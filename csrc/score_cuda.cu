#include "group.h"
#include "score_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Eight warps, of which four blocks fit into a multiprocessor.
template <class Stored>
__global__ void __launch_bounds__(256, 3)
    score_kernel(const __grid_constant__ ScoreArguments<Wide<Stored>> arguments) {
  score_block<Block, Stored>(Block{}, arguments);
}

template __global__ void score_kernel<Float16>(const __grid_constant__ ScoreArguments<float>);
template __global__ void score_kernel<BFloat16>(const __grid_constant__ ScoreArguments<float>);
template __global__ void score_kernel<float>(const __grid_constant__ ScoreArguments<float>);
template __global__ void score_kernel<double>(const __grid_constant__ ScoreArguments<double>);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
