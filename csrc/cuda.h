// The operations on a GPU's arrays, as the rest of the core sees them; knows nothing of CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "array.h"
#include "log_likelihood.h"
#include "offset_log_likelihood.h"
#include "options.h"
#include "score.h"
#include "score_backward.h"
#include "skeleton.h"

namespace vl4pose {

// Where an operation runs: behind what is on a stream by now. The arrays are of that device.
struct CudaStream {
  int device = 0;
  void* handle = nullptr;  // a cudaStream_t
  // Gives memory of the device, from the caller's own allocator, that is not given to anyone else
  // before what is put on the stream during the call is done.
  std::byte* (*allocate)(void* context, std::int64_t bytes) = nullptr;
  void* context = nullptr;
};

// Each puts its launches on the stream and returns, without waiting for them. The contracts are
// those of score.h, weights.h, log_likelihood.h, offset_log_likelihood.h and score_backward.h; the
// results are the CPU's bit for bit, but perhaps for the bits of NaN.
template <class T>
struct CudaKernels {
  void (*score)(const ScoreInputs& inputs, const ScoreOptions& options,
                const ScoreOutputs<T>& outputs, const CudaStream& stream);
  void (*peak_weights)(const View<3>& values, const View<2>& count, double temperature, T* weights,
                       const CudaStream& stream);
  void (*pose_log_likelihood)(const View<3>& keypoints, const View<3>& params,
                              const View<2>& visible, const Tree& tree, T* total, T* per_link,
                              const CudaStream& stream);
  void (*offset_log_likelihood)(const View<3>& keypoints, const View<3>& offsets,
                                const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                                T* total, T* per_link, const CudaStream& stream);
  void (*score_backward)(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                         const ScoreGradients<T>& to, const CudaStream& stream);
  void (*peak_weights_backward)(const View<3>& grad, const View<3>& values, const View<2>& count,
                                double temperature, const View<3>& tangent, T* grad_values,
                                T* weights_tangent, const CudaStream& stream);
  void (*pose_log_likelihood_backward)(const View<2>& grad, const View<3>& keypoints,
                                       const View<3>& params, const View<2>& visible,
                                       const Tree& tree, const PoseTangents& tangents,
                                       const PoseGradients<T>& to, const CudaStream& stream);
  void (*offset_log_likelihood_backward)(const View<2>& grad, const View<3>& keypoints,
                                         const View<3>& offsets, const View<4>& scale_tril,
                                         const View<2>& visible, const Tree& tree,
                                         const OffsetTangents& tangents,
                                         const OffsetGradients<T>& to, const CudaStream& stream);
};

// Throws std::runtime_error where this build has none.
template <class T>
const CudaKernels<T>& cuda_kernels();

// Memory of the stream's device, for arrays of libraries that lend none; there when the stream
// comes to it, and given back when the stream has come so far.
void* cuda_allocate(const CudaStream& stream, std::int64_t bytes);
void cuda_free(const CudaStream& stream, void* memory) noexcept;

// Which GPU has the memory at an address.
int cuda_device_of(const void* address);

// Makes what is put on a stream from now on wait for what is on the other one, of the same device.
void cuda_wait(const CudaStream& waiting, const CudaStream& other);

// The GPUs of this machine, as "NVIDIA H200 (9.0)".
std::vector<std::string> cuda_devices();

// The version of CUDA that the kernels were compiled with, as "13.0"; empty where there are none.
std::string cuda_version();

}  // namespace vl4pose
