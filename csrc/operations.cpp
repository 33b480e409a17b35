// The operations: each splits its images over threads and calls the kernel in use.
#include <algorithm>

#include "kernels.h"
#include "log_likelihood.h"
#include "offset_log_likelihood.h"
#include "parallel.h"
#include "score.h"
#include "weights.h"

namespace vl4pose {

template <class T>
void score(const ScoreInputs& inputs, const ScoreOptions& options, const ScoreOutputs<T>& outputs,
           int num_threads) {
  const auto [B, J, H, W] = inputs.heatmaps.shape;
  if (B == 0) return;
  const auto kernel = kernels<T>().score;
  // Values that a thread should have to be worth its start. In double, for of arrays with strides
  // of 0 the product may be anything.
  const double grain = 262144.0 / (static_cast<double>(J) * static_cast<double>(H * W));
  parallel_for(B, static_cast<std::int64_t>(grain) + 1, num_threads,
               [&](Range images) { kernel(inputs, options, outputs, images); });
}

template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  int num_threads) {
  const auto [B, J, K] = values.shape;
  const auto kernel = kernels<T>().peak_weights;
  constexpr std::int64_t grain = 4096;  // values a thread should have to be worth its start
  parallel_for(B * J, grain / std::max<std::int64_t>(K, 1) + 1, num_threads,
               [&](Range rows) { kernel(values, count, temperature, weights, rows); });
}

namespace {

constexpr std::int64_t kPoseGrain = 4096;  // poses a thread should have to be worth its start

}  // namespace

template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, int num_threads) {
  const auto kernel = kernels<T>().pose_log_likelihood;
  parallel_for(keypoints.shape[0], kPoseGrain, num_threads, [&](Range images) {
    kernel(keypoints, params, visible, tree, total, per_link, images);
  });
}

template <class T>
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, int num_threads) {
  const auto kernel = kernels<T>().offset_log_likelihood;
  parallel_for(keypoints.shape[0], kPoseGrain, num_threads, [&](Range images) {
    kernel(keypoints, offsets, scale_tril, visible, tree, total, per_link, images);
  });
}

#define VL4POSE_INSTANTIATE(T)                                                                   \
  template void score(const ScoreInputs&, const ScoreOptions&, const ScoreOutputs<T>&, int);     \
  template void peak_weights(const View<3>&, const View<2>&, double, T*, int);                   \
  template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&, \
                                    T*, T*, int);                                                \
  template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&,            \
                                      const View<2>&, const Tree&, T*, T*, int);
VL4POSE_INSTANTIATE(float)
VL4POSE_INSTANTIATE(double)
#undef VL4POSE_INSTANTIATE

}  // namespace vl4pose
