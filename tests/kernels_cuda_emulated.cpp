// The kernels of GPUs as one more CPU capability, "cuda_emulated", for tests: each launch runs on
// emulated threads (emulated_group.h), on a GPU that is another one from call to call.
#include <cstdint>
#include <vector>

#include "emulated_group.h"
#include "kernels.h"
#include "score_plan.h"

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
  constexpr std::int64_t kShared[] = {4096, 16384, 49152, 101376, 232448};
  return {static_cast<int>(1 + seed % 4), kShared[seed / 4 % 5]};
}

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
  // With garbage in it, and with a guard behind it that nobody may write to.
  constexpr std::byte kGarbage{0xcd};
  std::vector<double> workspace(plan.workspace_bytes / sizeof(double) + 8);
  auto* const memory = reinterpret_cast<std::byte*>(workspace.data());
  std::fill_n(memory, workspace.size() * sizeof(double), kGarbage);
  for (int launch = 0; launch < plan.num_launches; ++launch) {
    const auto arguments = arguments_of(all, plan, launch, memory);
    const LaunchPlan& of_launch = plan.launches[launch];
    run_blocks(of_launch.num_blocks, of_launch.num_warps * EmulatedWarp::kSize,
               of_launch.layout.shared_bytes, seed + launch,
               [&](EmulatedBlock& block) { score_block<EmulatedBlock, Stored>(block, arguments); });
  }
  if (std::any_of(memory + plan.workspace_bytes, memory + workspace.size() * sizeof(double),
                  [&](std::byte value) { return value != kGarbage; })) {
    throw std::logic_error("written behind the workspace");
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

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
