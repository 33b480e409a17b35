// Launches of passes (pass_cuda.h) on a stream. For *.cu only, which instantiate their kernels.
#pragma once

#include "group.h"
#include "pass_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class Pass>
__global__ void __launch_bounds__(kThreadsOfPass, 4)
    pass_kernel(const __grid_constant__ typename Pass::Arguments arguments) {
  run_pass<Pass>(Block{}, arguments);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#if !defined(__CUDACC_RTC__)  // the host's part

#include <cstddef>
#include <cstdint>

#include "cuda_launch.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

class StreamLauncher {
 public:
  using Block = vl4pose::Block;

  explicit StreamLauncher(const CudaStream& stream) : stream_(stream), device_(stream.device) {}

  std::byte* allocate(std::int64_t bytes) const { return stream_.allocate(stream_.context, bytes); }

  template <class Pass>
  void run(typename Pass::Arguments arguments) const {
    const PassPlan plan = plan_pass(arguments, limits_of(stream_.device));
    if (plan.workspace_bytes > 0) arguments.work.workspace = allocate(plan.workspace_bytes);
    launch(pass_kernel<Pass>, plan.num_blocks, kThreadsOfPass, plan.shared_bytes, stream_,
           arguments);
  }

 private:
  const CudaStream& stream_;
  const CurrentDevice device_;
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose

#endif
