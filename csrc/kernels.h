// What is compiled once for each CPU capability: the operations, each on a range of images.
#pragma once

#include <cstdint>

#include "array.h"
#include "k_centre.h"
#include "log_likelihood.h"
#include "offset_log_likelihood.h"
#include "range.h"
#include "score.h"
#include "score_backward.h"
#include "skeleton.h"

namespace vl4pose {

// The contracts are those of score.h, score_backward.h, weights.h, log_likelihood.h and
// offset_log_likelihood.h, but every gradient is of each image; and of k_centre.h, but one step.
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
  void (*score_backward)(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                         const ScoreGradients<T>& to, Range images);
  void (*peak_weights_backward)(const View<3>& grad, const View<3>& values, const View<2>& count,
                                double temperature, const View<3>& tangent, T* grad_values,
                                T* weights_tangent, Range rows);  // of B * J
  void (*pose_log_likelihood_backward)(const View<2>& grad, const View<3>& keypoints,
                                       const View<3>& params, const View<2>& visible,
                                       const Tree& tree, const PoseTangents& tangents,
                                       const PoseGradients<T>& to, Range images);
  void (*offset_log_likelihood_backward)(const View<2>& grad, const View<3>& keypoints,
                                         const View<3>& offsets, const View<4>& scale_tril,
                                         const View<2>& visible, const Tree& tree,
                                         const OffsetTangents& tangents,
                                         const OffsetGradients<T>& to, Range images);
  Farthest (*farthest_row)(const KCentreRows<T>& of, Range rows);
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
template <class T>
void score_backward(const ScoreBackwardInputs&, const ScoreOptions&, const ScoreGradients<T>&,
                    Range);
template <class T>
void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double, const View<3>&,
                           T*, T*, Range);
template <class T>
void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&, const View<2>&,
                                  const Tree&, const PoseTangents&, const PoseGradients<T>&, Range);
template <class T>
void offset_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&, const View<4>&,
                                    const View<2>&, const Tree&, const OffsetTangents&,
                                    const OffsetGradients<T>&, Range);
template <class T>
Farthest farthest_row(const KCentreRows<T>&, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
#endif

}  // namespace vl4pose
