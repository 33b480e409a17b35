// What is compiled once for each CPU capability: the operations, each on a range of images.
#pragma once

#include <cstdint>

#include "array.h"
#include "score.h"
#include "skeleton.h"

namespace vl4pose {

struct Range {
  std::int64_t begin, end;
};

// The contracts are those of score.h, weights.h, log_likelihood.h and offset_log_likelihood.h.
template <class T>
struct Kernels {
  void (*score)(const ScoreInputs& inputs, const ScoreOptions& options,
                const ScoreOutputs<T>& outputs, Range images);
  void (*peak_weights)(const View<3>& values, const View<2>& count, double temperature, T* weights,
                       Range rows);  // of B * J
  void (*pose_log_likelihood)(const View<3>& keypoints, const View<3>& params,
                              const View<2>& visible, const Tree& tree, T* total, T* per_link,
                              Range images);
  void (*offset_log_likelihood)(const View<3>& keypoints, const View<3>& offsets,
                                const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                                T* total, T* per_link, Range images);
};

// Those of the CPU capability in use.
template <class T>
const Kernels<T>& kernels();

#ifdef VL4POSE_CPU_CAPABILITY
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void score(const ScoreInputs&, const ScoreOptions&, const ScoreOutputs<T>&, Range);
template <class T>
void peak_weights(const View<3>&, const View<2>&, double, T*, Range);
template <class T>
void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&, T*, T*,
                         Range);
template <class T>
void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                           const Tree&, T*, T*, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
#endif

}  // namespace vl4pose
