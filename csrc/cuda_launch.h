// The host's side of a launch: the device, its limits, and what went wrong. For *.cu only.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda.h"
#include "pass_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// "12.8" for 12080.
inline std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Throws what a user can do something about.
inline void check_cuda(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // so that nobody else finds it
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    throw std::runtime_error(
        driver == 0
            ? "the CUDA kernels of vl4pose need an NVIDIA driver, and this machine has none"
            : "the CUDA kernels of vl4pose need a driver for CUDA " + version_text(CUDART_VERSION) +
                  " or newer, got one for CUDA " + version_text(driver) +
                  ": update it, or install vl4pose from source with that version's nvcc");
  }
  if (error == cudaErrorNoKernelImageForDevice) {
    throw std::runtime_error(
        "this build of vl4pose has no CUDA kernels for this GPU: install it from source with "
        "CMAKE_CUDA_ARCHITECTURES=native");
  }
  throw std::runtime_error("CUDA: " + std::string(cudaGetErrorString(error)));
}

// Makes a device the current one, as long as it lives.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    check_cuda(cudaGetDevice(&before_));
    if (device != before_) check_cuda(cudaSetDevice(device));
    is_other_ = device != before_;
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    if (is_other_) cudaSetDevice(before_);
  }

 private:
  int before_ = 0;
  bool is_other_ = false;
};

inline int attribute_of(int device, cudaDeviceAttr attribute) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

inline DeviceLimits limits_of(int device) {
  return {attribute_of(device, cudaDevAttrMultiProcessorCount),
          attribute_of(device, cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

// A GPU reads whole values only from where they may begin. Takes the arrays' names and views.
template <int N, class... Rest>
void check_aligned(const char* name, const View<N>& view, const Rest&... rest) {
  auto places = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(view.data));
  for (const std::int64_t stride : view.strides) places |= stride;
  if (places % size_of(view.dtype) != 0) {
    throw std::invalid_argument(
        name + std::string(" must lie at multiples of their values' size on a GPU"));
  }
  if constexpr (sizeof...(rest) > 0) check_aligned(rest...);
}

// Puts a launch on a stream of the current device.
template <class Arguments>
void launch(void (*kernel)(Arguments), std::int64_t num_blocks, int num_threads,
            std::int64_t shared_bytes, const CudaStream& stream, const Arguments& arguments) {
  constexpr std::int64_t kWithoutAsking = 48 * 1024, kMaxBlocks = 2147483647;
  if (num_blocks == 0) return;
  if (num_blocks > kMaxBlocks) {
    throw std::invalid_argument("arrays must be smaller on a GPU: got work for " +
                                std::to_string(num_blocks) + " blocks");
  }
  const auto bytes = static_cast<int>(shared_bytes);
  if (bytes > kWithoutAsking) {  // always for the same: other threads launch the kernel too
    const auto most = static_cast<int>(limits_of(stream.device).shared_bytes);
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  }
  void* parameters[] = {const_cast<Arguments*>(&arguments)};
  check_cuda(cudaLaunchKernel(kernel, static_cast<unsigned>(num_blocks), num_threads, parameters,
                              bytes, static_cast<cudaStream_t>(stream.handle)));
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
