// What nvcc puts into an object file: the kernels of all architectures, in a "fat binary".
#pragma once

#include <string_view>
#include <vector>

namespace interpreted {

struct PtxImage {
  int capability;  // that a GPU must have at least: 75 for 7.5
  std::string_view text;
};

// The PTX in the fat binary that an object file registers. Throws std::runtime_error where it is
// compressed, or not of the known form.
std::vector<PtxImage> ptx_images(const void* registered);

}  // namespace interpreted
