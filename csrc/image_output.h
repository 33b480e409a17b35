// What is written of one image where there is nothing to compute.
#pragma once

#include <cstdint>

#include "array.h"
#include "host_device.h"
#include "pose_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Sets the `per_image` numbers of image b of an output, unless that is null.
template <class T>
void fill_image(T* output, std::int64_t b, std::int64_t per_image, double value) {
  for (std::int64_t i = 0; i < per_image && output; ++i) {
    output[b * per_image + i] = static_cast<T>(value);
  }
}

// The gradient of a result that is NaN: NaN as well, but 0 where nothing depends on it (`grad` (n)
// is 0), so that results which a caller leaves out of a sum do no harm.
VL4POSE_HOST_DEVICE inline double gradient_of_nan(const View<1>& grad) {
  for (std::int64_t i = 0; i < grad.shape[0]; ++i) {
    if (grad(i) != 0.0) return kNaN;
  }
  return 0.0;
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
