// How the fused pass is laid out on a GPU: the launches, and the memory that their blocks work in.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "pass_cuda.h"
#include "score_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// The launches of one pass, one after another, and the workspace that they share.
struct ScorePlan {
  int num_launches = 0;
  std::array<LaunchPlan, 2> launches;
  std::int64_t peaks_of_image = 0;   // bytes; 0 in one launch
  std::int64_t workspace_bytes = 0;  // of the blocks and, behind, of the images' peaks
  std::int64_t blocks_bytes = 0;     // of the blocks alone
};

namespace detail {

// The layout of the blocks of a launch; sets all but where the cells and the poses are.
template <class T>
void lay_out(ScoreArguments<T>& arguments, bool keeps_terms) {
  LaunchPlan& plan = arguments.plan;
  BlockLayout& layout = plan.layout;
  const std::int64_t J = arguments.heatmaps.shape[1], K = arguments.options.peaks.num_peaks;
  Places shared, workspace;
  shared.take<ScoreArguments<T>>(1);
  layout.summaries = shared.take<MapSummary<T>>(plan.num_warps);
  layout.scratch =
      shared.take<double>(plan.num_warps * subpixel_scratch(arguments.options.subpixel));
  Places of_image;
  layout.of_peaks = PeaksLayout(of_image, J, K);
  if (plan.stage == Stage::both) {
    layout.peaks = (layout.poses_are_shared ? shared : workspace).take<std::byte>(of_image.end());
  }
  // Cells are needed until the peaks are found, and poses afterwards: they may lie in one place.
  Places of_cells = layout.cells_are_shared ? shared : workspace;
  Places of_poses = layout.poses_are_shared ? shared : workspace;
  if (plan.stage != Stage::images) {
    layout.bytes_of_cells = arguments.grid.template bytes<T>();
    const int searches = plan.stage == Stage::maps ? 1 : plan.num_warps;
    layout.cells = of_cells.take<std::byte>(searches * layout.bytes_of_cells);
  }
  if (plan.stage != Stage::maps) {
    Places poses;
    layout.of_poses = PoseLayout(poses, J, arguments.tree.num_links, K, keeps_terms);
    layout.poses = of_poses.take<std::byte>(poses.end());
  }
  const auto end_of = [](Places all, bool cells_are_here, Places of_cells, bool poses_are_here,
                         Places of_poses) {
    return std::max(
        {all.end(), cells_are_here ? of_cells.end() : 0, poses_are_here ? of_poses.end() : 0});
  };
  layout.shared_bytes =
      end_of(shared, layout.cells_are_shared, of_cells, layout.poses_are_shared, of_poses);
  layout.workspace_bytes =
      end_of(workspace, !layout.cells_are_shared, of_cells, !layout.poses_are_shared, of_poses);
}

// Lays out a launch for so many maps or images: its blocks work in shared memory as far as that
// goes, cells before poses, with as many warps as find room.
template <class T>
LaunchPlan fit(ScoreArguments<T> arguments, const DeviceLimits& limits, int num_items) {
  constexpr std::int64_t kMaxKeptTerms = 2048;
  LaunchPlan& plan = arguments.plan;
  const std::int64_t K = arguments.options.peaks.num_peaks;
  const bool keeps_terms = arguments.tree.num_links * K * K <= kMaxKeptTerms;
  const int most_warps = plan.num_warps;
  const auto fits = [&](bool cells_are_shared, bool poses_are_shared) {
    plan.layout.cells_are_shared = cells_are_shared;
    plan.layout.poses_are_shared = poses_are_shared;
    // With fewer warps a block's cells need less; and its scratch, if all else is elsewhere.
    const bool can_have_fewer =
        (cells_are_shared && plan.stage == Stage::both) || !(cells_are_shared || poses_are_shared);
    for (plan.num_warps = most_warps; plan.num_warps > 0; plan.num_warps /= 2) {
      lay_out(arguments, keeps_terms);
      if (plan.layout.shared_bytes <= limits.shared_bytes) return true;
      if (!can_have_fewer) break;
    }
    plan.num_warps = most_warps;
    return false;
  };
  if (!fits(true, true) && !fits(true, false) && !fits(false, true) && !fits(false, false)) {
    throw std::runtime_error("a GPU with so little shared memory is not supported");
  }
  // Blocks that have memory in the workspace are as many as may run at once.
  const bool is_bounded = plan.layout.workspace_bytes > 0 && plan.stage != Stage::maps;
  plan.num_items = num_items;
  plan.num_blocks = is_bounded ? std::min(num_items, limits.num_multiprocessors * 4) : num_items;
  return plan;
}

// How many warps a block has that does a whole image: the fewer blocks a multiprocessor has, the
// more, and so many that all have as many maps, if that can be.
inline int warps_of_image(std::int64_t B, std::int64_t J, const DeviceLimits& limits) {
  const std::int64_t blocks = (B + limits.num_multiprocessors - 1) / limits.num_multiprocessors;
  const std::int64_t most = std::max<std::int64_t>(kMaxWarps / blocks, kMinWarps);
  const std::int64_t maps_of_warp = (J + most - 1) / most;
  return static_cast<int>((J + maps_of_warp - 1) / maps_of_warp);
}

}  // namespace detail

template <class T>
ScorePlan plan_score(ScoreArguments<T> arguments, const DeviceLimits& limits) {
  const auto [B, J, H, W] = arguments.heatmaps.shape;
  const std::int64_t K = arguments.options.peaks.num_peaks;
  constexpr std::int64_t kMaxSlots = 1 << 24, kMaxImages = 2147483647;
  if (B > kMaxImages) {
    throw std::invalid_argument("heatmaps must have fewer than 2^31 images on a GPU, got " +
                                std::to_string(B));
  }
  if (J > kMaxSlots / K) {
    throw std::invalid_argument(
        "heatmaps must have at most 2^24 / num_peaks joints on a GPU, got " + std::to_string(J));
  }
  ScorePlan plan;
  const auto add = [&](Stage stage, int num_warps, std::int64_t num_items) {
    arguments.plan.stage = stage;
    arguments.plan.num_warps = num_warps;
    const LaunchPlan launch = detail::fit(arguments, limits, static_cast<int>(num_items));
    plan.blocks_bytes = std::max(plan.blocks_bytes,
                                 std::int64_t{launch.num_blocks} * launch.layout.workspace_bytes);
    plan.launches[plan.num_launches++] = launch;
  };
  if (B >= limits.num_multiprocessors || J == 1) {
    add(Stage::both, detail::warps_of_image(B, J, limits), B);
  } else {
    Places of_image;
    const PeaksLayout peaks(of_image, J, K);
    plan.peaks_of_image = of_image.end();
    // A warp reads three rows of cells at once.
    add(Stage::maps, std::min((arguments.grid.rows + 2) / 3, kMaxWarps), B * J);
    add(Stage::images, kMinWarps, B);
  }
  plan.workspace_bytes = plan.blocks_bytes + B * plan.peaks_of_image;
  return plan;
}

// What the threads of one of the launches are given.
template <class T>
ScoreArguments<T> arguments_of(ScoreArguments<T> arguments, const ScorePlan& plan, int launch,
                               std::byte* workspace) {
  arguments.plan = plan.launches[launch];
  arguments.workspace = workspace;
  arguments.image_peaks = workspace + plan.blocks_bytes;
  arguments.peaks_of_image = plan.peaks_of_image;
  return arguments;
}

template <class T>
ScoreArguments<T> make_arguments(const ScoreInputs& inputs, const ScoreOptions& options,
                                 const ScoreOutputs<T>& outputs) {
  const auto [B, J, H, W] = inputs.heatmaps.shape;
  return {inputs.heatmaps,
          inputs.params,
          options,
          outputs,
          CellGrid(options.peaks.min_distance, H, W),
          inputs.tree ? DeviceTree(*inputs.tree) : DeviceTree{},
          {},
          nullptr,
          nullptr,
          0};
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
