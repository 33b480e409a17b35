// The operations: each splits its images over threads and calls the kernel in use.
#include <algorithm>
#include <vector>

#include "kernels.h"
#include "log_likelihood.h"
#include "offset_log_likelihood.h"
#include "parallel.h"
#include "score.h"
#include "weights.h"

namespace vl4pose {
namespace {

constexpr std::int64_t kPoseGrain = 4096;  // poses a thread should have to be worth its start

// Likewise rows of K values.
std::int64_t weights_grain(std::int64_t K) { return 4096 / std::max<std::int64_t>(K, 1) + 1; }

}  // namespace

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
  parallel_for(B * J, weights_grain(K), num_threads,
               [&](Range rows) { kernel(values, count, temperature, weights, rows); });
}

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

namespace {

// The gradient by an argument that all images may share: then the kernels write that of each image
// elsewhere, and it is their sum, in the order of the images.
template <class T>
class SharedGradient {
 public:
  // `output` holds n numbers for each of B images or, if it is shared, for all; null where it is
  // not wanted. What it points to afterwards is for the kernels.
  SharedGradient(T*& output, bool is_shared, std::int64_t B, std::int64_t n)
      : sum_(is_shared ? output : nullptr), B_(B), n_(n) {
    if (!sum_) return;
    of_images_.resize(static_cast<std::size_t>(B * n));
    output = of_images_.data();
  }

  void add_up() const {
    for (std::int64_t i = 0; i < n_ && sum_; ++i) {
      double sum = 0.0;
      for (std::int64_t b = 0; b < B_; ++b) sum += of_images_[b * n_ + i];
      sum_[i] = static_cast<T>(sum);
    }
  }

 private:
  T* sum_;
  std::int64_t B_, n_;
  std::vector<T> of_images_;
};

}  // namespace

template <class T>
void score_backward(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                    const ScoreGradients<T>& to, int num_threads) {
  const std::int64_t B = inputs.values.shape[0];
  const auto kernel = kernels<T>().score_backward;
  ScoreGradients<T> of_images = to;
  const SharedGradient<T> params(of_images.params, to.params_are_shared, B,
                                 inputs.params.shape[1] * 2);
  constexpr std::int64_t grain = 64;  // images a thread should have to be worth its start
  parallel_for(B, grain, num_threads,
               [&](Range images) { kernel(inputs, options, of_images, images); });
  params.add_up();
}

template <class T>
void peak_weights_backward(const View<3>& grad, const View<3>& values, const View<2>& count,
                           double temperature, const View<3>& tangent, T* grad_values,
                           T* weights_tangent, int num_threads) {
  const auto [B, J, K] = values.shape;
  const auto kernel = kernels<T>().peak_weights_backward;
  parallel_for(B * J, weights_grain(K), num_threads, [&](Range rows) {
    kernel(grad, values, count, temperature, tangent, grad_values, weights_tangent, rows);
  });
}

template <class T>
void pose_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                  const View<3>& params, const View<2>& visible, const Tree& tree,
                                  const PoseTangents& tangents, const PoseGradients<T>& to,
                                  int num_threads) {
  const std::int64_t B = keypoints.shape[0];
  const auto kernel = kernels<T>().pose_log_likelihood_backward;
  PoseGradients<T> of_images = to;
  const SharedGradient<T> shared(of_images.params, to.params_are_shared, B, params.shape[1] * 2);
  parallel_for(B, kPoseGrain, num_threads, [&](Range images) {
    kernel(grad, keypoints, params, visible, tree, tangents, of_images, images);
  });
  shared.add_up();
}

template <class T>
void offset_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                    const View<3>& offsets, const View<4>& scale_tril,
                                    const View<2>& visible, const Tree& tree,
                                    const OffsetTangents& tangents, const OffsetGradients<T>& to,
                                    int num_threads) {
  const auto [B, L, D] = offsets.shape;
  const auto kernel = kernels<T>().offset_log_likelihood_backward;
  OffsetGradients<T> of_images = to;
  const SharedGradient<T> shared[] = {
      {of_images.offsets, to.offsets_are_shared, B, L * D},
      {of_images.scale_tril, to.scale_tril_is_shared, B, L * D * D}};
  parallel_for(keypoints.shape[0], kPoseGrain, num_threads, [&](Range images) {
    kernel(grad, keypoints, offsets, scale_tril, visible, tree, tangents, of_images, images);
  });
  for (const auto& gradient : shared) gradient.add_up();
}

#define VL4POSE_INSTANTIATE(T)                                                                     \
  template void score(const ScoreInputs&, const ScoreOptions&, const ScoreOutputs<T>&, int);       \
  template void peak_weights(const View<3>&, const View<2>&, double, T*, int);                     \
  template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,   \
                                    T*, T*, int);                                                  \
  template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&,              \
                                      const View<2>&, const Tree&, T*, T*, int);                   \
  template void score_backward(const ScoreBackwardInputs&, const ScoreOptions&,                    \
                               const ScoreGradients<T>&, int);                                     \
  template void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double,      \
                                      const View<3>&, T*, T*, int);                                \
  template void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,       \
                                             const View<2>&, const Tree&, const PoseTangents&,     \
                                             const PoseGradients<T>&, int);                        \
  template void offset_log_likelihood_backward(                                                    \
      const View<2>&, const View<3>&, const View<3>&, const View<4>&, const View<2>&, const Tree&, \
      const OffsetTangents&, const OffsetGradients<T>&, int);
VL4POSE_INSTANTIATE(float)
VL4POSE_INSTANTIATE(double)
#undef VL4POSE_INSTANTIATE

}  // namespace vl4pose
