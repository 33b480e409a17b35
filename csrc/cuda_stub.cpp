// In place of the *_cuda.cu, in a build without nvcc.
#include <stdexcept>

#include "cuda.h"

namespace vl4pose {
namespace {

[[noreturn]] void throw_missing() {
  throw std::runtime_error(
      "this build of vl4pose has no CUDA kernels: install it from source where nvcc is on the "
      "PATH, "
      "or pass arrays in CPU memory");
}

}  // namespace

template <>
const CudaKernels<float>& cuda_kernels() {
  throw_missing();
}
template <>
const CudaKernels<double>& cuda_kernels() {
  throw_missing();
}

void* cuda_allocate(const CudaStream&, std::int64_t) { throw_missing(); }
void cuda_free(const CudaStream&, void*) noexcept {}
int cuda_device_of(const void*) { throw_missing(); }
void cuda_wait(const CudaStream&, const CudaStream&) { throw_missing(); }

std::vector<std::string> cuda_devices() { throw_missing(); }
std::string cuda_version() { return {}; }

}  // namespace vl4pose
