// The fused pass: each map of an image is read once (a sub-pixel step looks at it again), and
// everything that is wanted of the image is computed while its maps are in cache. Every public
// operation on heatmaps is this pass with some of its outputs. Reference: vl4pose/reference.py,
// analyze.
#pragma once

#include <cstdint>

#include "array.h"
#include "host_device.h"
#include "options.h"

namespace vl4pose {

struct Tree;  // skeleton.h

struct ScoreInputs {
  View<4> heatmaps;            // (B, J, H, W), floating
  View<3> params;              // (B, L, 2), floating; data null when no output needs it
  const Tree* tree = nullptr;  // null when no output needs it
};

// Where results go: contiguous arrays of T (float for 16- and 32-bit heatmaps, double for 64-bit).
// A null pointer is an output that nobody asked for.
//
// An image with NaN or +inf in its maps has NaN in every output of T but xy, which is -1 as
// peak_index is; count is 0 and changed is 0. An image with NaN or inf in its params has the same
// in the outputs that depend on params. Unused slots: xy -1, value -inf, posterior 0.
template <class T>
struct ScoreOutputs {
  T* xy = nullptr;                     // (B, J, K, 2)
  T* values = nullptr;                 // (B, J, K)
  std::int32_t* count = nullptr;       // (B, J)
  T* entropy = nullptr;                // (B, J)
  T* entropy_sum = nullptr;            // (B): over the joints, Multi-Peak Entropy
  T* keypoints = nullptr;              // (B, J, 2): of the maps' maxima
  T* confidence = nullptr;             // (B, J): the maxima
  T* score = nullptr;                  // (B)
  T* per_link = nullptr;               // (B, L)
  T* posterior = nullptr;              // (B, J, K)
  T* refined_keypoints = nullptr;      // (B, J, 2)
  std::int32_t* peak_index = nullptr;  // (B, J)
  std::uint8_t* changed = nullptr;     // (B, J)
  T* log_prob = nullptr;               // (B)
  std::uint8_t* status = nullptr;      // (B): bits of status.h

  // Always inlined, for no function must be shared between files that are compiled for different
  // CPUs.
  [[gnu::always_inline]] VL4POSE_HOST_DEVICE bool wants_refined() const {
    return refined_keypoints || peak_index || changed || log_prob;
  }
  [[gnu::always_inline]] VL4POSE_HOST_DEVICE bool wants_pose() const {
    return score || per_link || posterior || wants_refined();
  }
  [[gnu::always_inline]] VL4POSE_HOST_DEVICE bool wants_weights() const {
    return entropy || entropy_sum || wants_pose();
  }
  [[gnu::always_inline]] VL4POSE_HOST_DEVICE bool wants_peaks() const {
    return xy || values || count || status || wants_weights();
  }
  [[gnu::always_inline]] VL4POSE_HOST_DEVICE bool wants_maximum() const {
    return keypoints || confidence;
  }
};

template <class T>
void score(const ScoreInputs& inputs, const ScoreOptions& options, const ScoreOutputs<T>& outputs,
           int num_threads);

}  // namespace vl4pose
