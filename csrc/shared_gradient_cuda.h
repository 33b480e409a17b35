// The gradient by an argument that all images share, on a GPU: a pass writes that of each image
// elsewhere, and another one adds them up in the order of the images.
#pragma once

#include <cstddef>
#include <cstdint>

#include "block_cuda.h"
#include "host_device.h"
#include "pass_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
struct ImageSumArguments {
  const T* of_images;  // (num_images, n)
  T* sum;              // (n)
  std::int64_t num_images, n;
  Work work;  // the numbers
};

template <class Block, class T>
class ImageSum {
 public:
  using Arguments = ImageSumArguments<T>;

  VL4POSE_DEVICE ImageSum(const Block& block, const Arguments& arguments, std::byte*)
      : block_(block), in_(arguments) {}

  VL4POSE_DEVICE void operator()(std::int64_t first, int n) const {
    for_each(block_, n, [&](int i) { in_.sum[first + i] = sum_of(first + i); });
  }

 private:
  VL4POSE_DEVICE T sum_of(std::int64_t i) const {
    constexpr int kAtOnce = 16;  // numbers that are on their way from memory
    double sum = 0.0;
    for (std::int64_t b = 0; b < in_.num_images; b += kAtOnce) {
      T next[kAtOnce];
      for (int k = 0; k < kAtOnce; ++k) {
        next[k] = b + k < in_.num_images ? in_.of_images[(b + k) * in_.n + i] : T{0};
      }
      for (int k = 0; k < kAtOnce; ++k) sum += next[k];
    }
    return static_cast<T>(sum);
  }

  const Block& block_;
  const Arguments& in_;
};

#if !defined(__CUDACC_RTC__)  // the host's part

template <class T, class Launcher>
class DeviceSharedGradient {
 public:
  // `output` holds n numbers for each of B images or, if it is shared, for all; null where it is
  // not wanted. What it points to afterwards is for the pass.
  DeviceSharedGradient(const Launcher& launcher, T*& output, bool is_shared, std::int64_t B,
                       std::int64_t n)
      : launcher_(launcher), sum_(is_shared ? output : nullptr), B_(B), n_(n) {
    if (!sum_ || B_ * n_ == 0) return;
    const auto bytes = static_cast<std::int64_t>(sizeof(T)) * B_ * n_;
    of_images_ = reinterpret_cast<T*>(launcher_.allocate(bytes));
    output = of_images_;
  }

  void add_up() const {
    if (!sum_) return;
    launcher_.template run<ImageSum<typename Launcher::Block, T>>(
        {of_images_, sum_, B_, n_, {{0, n_}, kThreadsOfPass}});
  }

 private:
  const Launcher& launcher_;
  T* sum_;
  T* of_images_ = nullptr;
  std::int64_t B_, n_;
};

#endif

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
