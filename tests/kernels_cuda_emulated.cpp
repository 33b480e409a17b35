// The kernels of GPUs as one more CPU capability, "cuda_emulated", for tests: each launch runs on
// emulated threads (emulated_group.h), on a GPU that is another one from call to call.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <vector>

#include "emulated_group.h"
#include "kernels.h"
#include "log_likelihood_cuda.h"
#include "offset_log_likelihood_cuda.h"
#include "score_backward_cuda.h"
#include "score_plan.h"
#include "weights_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

// A number that depends on all of the given ones, and little on each.
template <class... N>
std::uint64_t mixed(N... numbers) {
  std::uint64_t hash = 0;
  for (const auto number : {static_cast<std::uint64_t>(numbers)...}) {
    hash = (hash ^ number) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

// GPUs with so few multiprocessors that some batches fill them, and so little shared memory that
// not all fits.
DeviceLimits some_limits(std::uint64_t seed) {
  constexpr std::int64_t kShared[] = {8192, 16384, 49152, 101376, 232448};
  return {static_cast<int>(1 + seed % 4), kShared[seed / 4 % 5]};
}

// Memory of the device: full of garbage at first, and with a guard behind it that nobody may write
// to.
class DeviceMemory {
 public:
  explicit DeviceMemory(std::int64_t bytes) : bytes_(bytes), values_(bytes / sizeof(double) + 8) {
    std::fill_n(data(), values_.size() * sizeof(double), kGarbage);
  }

  std::byte* data() { return reinterpret_cast<std::byte*>(values_.data()); }

  void check() {
    const auto is_other = [](std::byte value) { return value != kGarbage; };
    if (std::any_of(data() + bytes_, data() + values_.size() * sizeof(double), is_other)) {
      throw std::logic_error("written behind the memory of the device");
    }
  }

 private:
  static constexpr std::byte kGarbage{0xcd};

  std::int64_t bytes_;
  std::vector<double> values_;
};

// Runs passes at once. Their GPU depends on the seed.
class EmulatedLauncher {
 public:
  using Block = EmulatedBlock;

  explicit EmulatedLauncher(std::uint64_t seed) : seed_(seed) {}

  std::byte* allocate(std::int64_t bytes) const { return memory_.emplace_back(bytes).data(); }

  template <class Pass>
  void run(typename Pass::Arguments arguments) const {
    const PassPlan plan = plan_pass(arguments, some_limits(seed_));
    if (plan.workspace_bytes > 0) arguments.work.workspace = allocate(plan.workspace_bytes);
    run_blocks(plan.num_blocks, kThreadsOfPass, plan.shared_bytes, seed_,
               [&](EmulatedBlock& block) { run_pass<Pass>(block, arguments); });
    for (DeviceMemory& memory : memory_) memory.check();
  }

 private:
  std::uint64_t seed_;
  mutable std::deque<DeviceMemory> memory_;
};

// Images [begin, end) of an array of which each has `per_image`.
template <class V>
void shift(V*& output, std::int64_t begin, std::int64_t per_image) {
  if (output) output += begin * per_image;
}

template <class T>
ScoreOutputs<T> shifted(ScoreOutputs<T> to, std::int64_t b, std::int64_t J, std::int64_t L,
                        std::int64_t K) {
  for (T** output : {&to.xy, &to.keypoints, &to.refined_keypoints}) shift(*output, b, 2 * J);
  if (to.xy) to.xy += b * 2 * J * (K - 1);
  for (T** output : {&to.values, &to.posterior}) shift(*output, b, J * K);
  for (T** output : {&to.entropy, &to.confidence}) shift(*output, b, J);
  for (T** output : {&to.entropy_sum, &to.score, &to.log_prob}) shift(*output, b, 1);
  for (std::int32_t** output : {&to.count, &to.peak_index}) shift(*output, b, J);
  shift(to.per_link, b, L);
  shift(to.changed, b, J);
  shift(to.status, b, 1);
  return to;
}

template <int N>
View<N> of_range(View<N> view, Range images) {
  if (!view.data) return view;
  view.data += images.begin * view.strides[0];
  view.shape[0] = images.end - images.begin;
  return view;
}

template <class Stored>
void score_stored(const ScoreInputs& inputs, const ScoreOptions& options,
                  const ScoreOutputs<Wide<Stored>>& outputs, Range images) {
  using T = Wide<Stored>;
  const auto [B, J, H, W] = inputs.heatmaps.shape;
  const std::int64_t K = options.peaks.num_peaks, L = inputs.params.shape[1];
  const ScoreInputs of_images{of_range(inputs.heatmaps, images), of_range(inputs.params, images),
                              inputs.tree};
  const auto all = make_arguments<T>(of_images, options, shifted(outputs, images.begin, J, L, K));
  const std::uint64_t seed =
      mixed(images.end - images.begin, J, H, W, K, options.peaks.min_distance);
  const ScorePlan plan = plan_score(all, some_limits(seed));
  DeviceMemory workspace(plan.workspace_bytes);
  for (int launch = 0; launch < plan.num_launches; ++launch) {
    const auto arguments = arguments_of(all, plan, launch, workspace.data());
    const LaunchPlan& of_launch = plan.launches[launch];
    run_blocks(of_launch.num_blocks, of_launch.num_warps * EmulatedWarp::kSize,
               of_launch.layout.shared_bytes, seed + launch,
               [&](EmulatedBlock& block) { score_block<EmulatedBlock, Stored>(block, arguments); });
  }
  workspace.check();
}

// The operations add up what the images of a range, like those of others, have for a shared
// argument. A GPU does it itself: here so that it is seen to give the same.
template <class T>
void check_sum(const EmulatedLauncher& launcher, T* of_images, bool is_shared, std::int64_t n,
               Range images) {
  if (!of_images || !is_shared) return;
  const std::int64_t B = images.end - images.begin;
  std::vector<T> sum(n, T{-1});
  T* output = sum.data();
  const DeviceSharedGradient<T, EmulatedLauncher> shared(launcher, output, true, B, n);
  if (B * n > 0) std::copy_n(of_images + images.begin * n, B * n, output);
  shared.add_up();
  for (std::int64_t i = 0; i < n; ++i) {
    double expected = 0.0;
    for (std::int64_t b = images.begin; b < images.end; ++b) expected += of_images[b * n + i];
    const T rounded = static_cast<T>(expected);
    if (sum[i] != rounded && (sum[i] == sum[i] || rounded == rounded)) {
      throw std::logic_error("the images' gradients add up to something else");
    }
  }
}

}  // namespace

template <>
void score(const ScoreInputs& inputs, const ScoreOptions& options,
           const ScoreOutputs<float>& outputs, Range images) {
  const DType dtype = inputs.heatmaps.dtype;
  const auto run = dtype == DType::float16    ? score_stored<Float16>
                   : dtype == DType::bfloat16 ? score_stored<BFloat16>
                                              : score_stored<float>;
  run(inputs, options, outputs, images);
}

template <>
void score(const ScoreInputs& inputs, const ScoreOptions& options,
           const ScoreOutputs<double>& outputs, Range images) {
  score_stored<double>(inputs, options, outputs, images);
}

template <class T>
void peak_weights(const View<3>& values, const View<2>& count, double temperature, T* weights,
                  Range rows) {
  const EmulatedLauncher launcher(mixed(rows.end - rows.begin, values.shape[2]));
  launch_peak_weights(launcher, values, count, temperature, weights, rows);
}

template <class T>
void peak_weights_backward(const View<3>& grad, const View<3>& values, const View<2>& count,
                           double temperature, const View<3>& tangent, T* grad_values,
                           T* weights_tangent, Range rows) {
  const EmulatedLauncher launcher(mixed(rows.end - rows.begin, values.shape[2], 1));
  launch_peak_weights_backward(launcher, grad, values, count, temperature, tangent, grad_values,
                               weights_tangent, rows);
}

template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, Range images) {
  const EmulatedLauncher launcher(mixed(images.end - images.begin, tree.num_links()));
  launch_pose_log_likelihood(launcher, keypoints, params, visible, tree, total, per_link, images);
}

template <class T>
void pose_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                  const View<3>& params, const View<2>& visible, const Tree& tree,
                                  const PoseTangents& tangents, const PoseGradients<T>& to,
                                  Range images) {
  const EmulatedLauncher launcher(mixed(images.end - images.begin, tree.num_links(), 1));
  PoseGradients<T> of_images = to;
  of_images.params_are_shared = false;
  launch_pose_log_likelihood_backward(launcher, grad, keypoints, params, visible, tree, tangents,
                                      of_images, images);
  check_sum(launcher, to.params, to.params_are_shared, tree.num_links() * 2, images);
}

template <class T>
void offset_log_likelihood(const View<3>& keypoints, const View<3>& offsets,
                           const View<4>& scale_tril, const View<2>& visible, const Tree& tree,
                           T* total, T* per_link, Range images) {
  const EmulatedLauncher launcher(mixed(images.end - images.begin, tree.num_links(), 2));
  launch_offset_log_likelihood(launcher, keypoints, offsets, scale_tril, visible, tree, total,
                               per_link, images);
}

template <class T>
void offset_log_likelihood_backward(const View<2>& grad, const View<3>& keypoints,
                                    const View<3>& offsets, const View<4>& scale_tril,
                                    const View<2>& visible, const Tree& tree,
                                    const OffsetTangents& tangents, const OffsetGradients<T>& to,
                                    Range images) {
  const EmulatedLauncher launcher(mixed(images.end - images.begin, tree.num_links(), 3));
  OffsetGradients<T> of_images = to;
  of_images.offsets_are_shared = of_images.scale_tril_is_shared = false;
  launch_offset_log_likelihood_backward(launcher, grad, keypoints, offsets, scale_tril, visible,
                                        tree, tangents, of_images, images);
  const std::int64_t L = tree.num_links(), D = keypoints.shape[2];
  check_sum(launcher, to.offsets, to.offsets_are_shared, L * D, images);
  check_sum(launcher, to.scale_tril, to.scale_tril_is_shared, L * D * D, images);
}

template <class T>
void score_backward(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                    const ScoreGradients<T>& to, Range images) {
  const auto [B, J, K] = inputs.values.shape;
  const EmulatedLauncher launcher(mixed(images.end - images.begin, J, K));
  ScoreGradients<T> of_images = to;
  of_images.params_are_shared = false;
  launch_score_backward(launcher, inputs, options, of_images, images);
  check_sum(launcher, to.params, to.params_are_shared, inputs.params.shape[1] * 2, images);
}

#define VL4POSE_INSTANTIATE(T)                                                                     \
  template void peak_weights(const View<3>&, const View<2>&, double, T*, Range);                   \
  template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,   \
                                    T*, T*, Range);                                                \
  template void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&,              \
                                      const View<2>&, const Tree&, T*, T*, Range);                 \
  template void score_backward(const ScoreBackwardInputs&, const ScoreOptions&,                    \
                               const ScoreGradients<T>&, Range);                                   \
  template void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double,      \
                                      const View<3>&, T*, T*, Range);                              \
  template void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&,       \
                                             const View<2>&, const Tree&, const PoseTangents&,     \
                                             const PoseGradients<T>&, Range);                      \
  template void offset_log_likelihood_backward(                                                    \
      const View<2>&, const View<3>&, const View<3>&, const View<4>&, const View<2>&, const Tree&, \
      const OffsetTangents&, const OffsetGradients<T>&, Range);
VL4POSE_INSTANTIATE(float)
VL4POSE_INSTANTIATE(double)
#undef VL4POSE_INSTANTIATE

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
