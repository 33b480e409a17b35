// The tables of cuda.h, and what it has of memory and devices.
#if !defined(__CUDACC_RTC__)  // all of it is the host's

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

void* cuda_allocate(const CudaStream& stream, std::int64_t bytes) {
  const CurrentDevice device(stream.device);
  void* memory = nullptr;
  check_cuda(cudaMallocAsync(&memory, static_cast<std::size_t>(bytes),
                             static_cast<cudaStream_t>(stream.handle)));
  return memory;
}

void cuda_free(const CudaStream& stream, void* memory) noexcept {
  try {
    const CurrentDevice device(stream.device);
    cudaFreeAsync(memory, static_cast<cudaStream_t>(stream.handle));
  } catch (const std::runtime_error&) {  // the process ends, and CUDA has ended before it
  }
}

int cuda_device_of(const void* address) {
  cudaPointerAttributes attributes{};
  check_cuda(cudaPointerGetAttributes(&attributes, address));
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
    throw std::invalid_argument("__cuda_array_interface__ must give an address on a GPU");
  }
  return attributes.device;
}

void cuda_wait(const CudaStream& waiting, const CudaStream& other) {
  if (waiting.handle == other.handle) return;
  const CurrentDevice device(waiting.device);
  cudaEvent_t event;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  const cudaError_t recorded = cudaEventRecord(event, static_cast<cudaStream_t>(other.handle));
  const cudaError_t waits = cudaStreamWaitEvent(static_cast<cudaStream_t>(waiting.handle), event);
  cudaEventDestroy(event);  // as soon as nobody waits for it
  check_cuda(recorded);
  check_cuda(waits);
}

std::vector<std::string> cuda_devices() {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count));
  std::vector<std::string> names;
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties;
    check_cuda(cudaGetDeviceProperties(&properties, device));
    names.push_back(std::string(properties.name) + " (" + std::to_string(properties.major) + "." +
                    std::to_string(properties.minor) + ")");
  }
  return names;
}

std::string cuda_version() { return version_text(CUDART_VERSION); }

}  // namespace vl4pose

#endif
