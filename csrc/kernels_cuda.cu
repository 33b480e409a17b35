#include "cuda_launch.h"
#include "kernels_cuda.h"

namespace vl4pose {

template <class T>
constexpr CudaKernels<T> kKernels{score<T>,
                                  peak_weights<T>,
                                  pose_log_likelihood<T>,
                                  offset_log_likelihood<T>,
                                  score_backward<T>,
                                  peak_weights_backward<T>,
                                  pose_log_likelihood_backward<T>,
                                  offset_log_likelihood_backward<T>};

template <>
const CudaKernels<float>& cuda_kernels() {
  return kKernels<float>;
}
template <>
const CudaKernels<double>& cuda_kernels() {
  return kKernels<double>;
}

std::string cuda_version() { return version_text(CUDART_VERSION); }

}  // namespace vl4pose
