// The fused pass on a GPU: what a thread, a warp and a block do, and how the work is laid out.
// Contract: score.h.
//
// A block has an image, and a warp a map at a time: it reads the map once and finds its peaks. Then
// the whole block computes what follows from the peaks of all maps, and that is one launch; of few
// images the blocks have more warps. Where there are fewer images than the GPU has multiprocessors,
// a first launch gives each map a block of its own, whose warps read it together, and a second one
// finishes the images.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "block_cuda.h"
#include "decode_cuda.h"
#include "local_maxima_cuda.h"
#include "map_cuda.h"
#include "options.h"
#include "pose_cuda.h"
#include "score.h"
#include "status.h"
#include "tree_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// So many warps fit into a multiprocessor without that a thread spills registers; a block may have
// them all. It has fewer than kMinWarps only where it has fewer maps, or little memory.
inline constexpr int kMaxWarps = 16, kMinWarps = 4;

// What the blocks of a launch do: find the peaks of maps, finish images, or both.
enum class Stage : std::uint8_t { maps, images, both };

// The memory of a block: places in shared memory or, where there is no room, in the workspace.
struct BlockLayout {
  // Always in shared memory, behind the arguments.
  std::int64_t summaries;  // of the parts of a map that has a block of its own
  std::int64_t scratch;    // for the sub-pixel steps of each warp
  // Of one image: its peaks, if no other launch needs them, and what follows from them.
  std::int64_t peaks, poses;
  bool poses_are_shared;
  // For the searches of the warps, one after another.
  std::int64_t cells, bytes_of_cells;
  bool cells_are_shared;
  PeaksLayout of_peaks;
  PoseLayout of_poses;
  std::int64_t shared_bytes, workspace_bytes;
};

// A launch of so many blocks.
struct LaunchPlan {
  Stage stage = Stage::both;
  int num_warps = kMinWarps;
  int num_items = 0;  // maps or images, which the blocks take in turn
  int num_blocks = 0;
  BlockLayout layout;
};

// What the threads of a launch are given.
template <class T>
struct ScoreArguments {
  View<4> heatmaps;
  View<3> params;
  ScoreOptions options;
  ScoreOutputs<T> outputs;
  CellGrid grid;
  DeviceTree tree;  // of no joints where no output needs one
  LaunchPlan plan;
  std::byte* workspace;         // as much for each block as the layout says
  std::byte* image_peaks;       // of all images, where one launch finds them and another needs them
  std::int64_t peaks_of_image;  // of these, in bytes
};

// A block's work.
template <class Block, class Stored>
class ScorePass {
 public:
  using T = Wide<Stored>;
  using Warp = decltype(std::declval<Block&>().warp());

  // The block's shared memory begins with the arguments.
  VL4POSE_DEVICE explicit ScorePass(const Block& block) : block_(block) {}

  // Collective: does the block's share.
  VL4POSE_DEVICE void operator()() const {
    for (int item = block_.index(); item < in().plan.num_items; item += block_.num_blocks()) {
      if (in().plan.stage != Stage::images) {
        layout().cells_are_shared ? find_peaks<true>(item) : find_peaks<false>(item);
        block_.sync();
      }
      if (!is_together()) {
        finish(item);
        block_.sync();
      }
    }
  }

 private:
  template <bool kCellsAreShared>
  using Search = MapPeaks<Warp, Stored, kCellsAreShared>;

  VL4POSE_DEVICE const ScoreArguments<T>& in() const {
    return *reinterpret_cast<const ScoreArguments<T>*>(block_.shared());
  }
  VL4POSE_DEVICE Warp warp() const { return block_.warp(); }
  // Whether the block has a map, which all its warps read together, and not an image.
  VL4POSE_DEVICE bool is_together() const { return in().plan.stage == Stage::maps; }
  VL4POSE_DEVICE int J() const { return static_cast<int>(in().heatmaps.shape[1]); }
  VL4POSE_DEVICE int L() const { return in().tree.num_links; }
  VL4POSE_DEVICE int K() const { return static_cast<int>(in().options.peaks.num_peaks); }

  VL4POSE_DEVICE std::int64_t row_of(int b, int j) const { return std::int64_t{b} * J() + j; }

  template <class Work>
  VL4POSE_DEVICE void for_each(int n, const Work& work) const {
    vl4pose::for_each(block_, n, work);
  }

  VL4POSE_DEVICE const BlockLayout& layout() const { return in().plan.layout; }
  VL4POSE_DEVICE std::byte* memory(bool is_shared, std::int64_t place) const {
    return place + (is_shared
                        ? block_.shared()
                        : in().workspace + std::int64_t{block_.index()} * layout().workspace_bytes);
  }
  template <bool kCellsAreShared>
  VL4POSE_DEVICE Search<kCellsAreShared> search(int i) const {
    std::byte* const begin = memory(kCellsAreShared, layout().cells + i * layout().bytes_of_cells);
    return {block_.warp(),
            in().options.peaks,
            in().grid,
            static_cast<int>(in().heatmaps.shape[2]),
            static_cast<int>(in().heatmaps.shape[3]),
            begin};
  }
  VL4POSE_DEVICE ImagePeaks peaks_of(int b) const {
    std::byte* const begin = in().plan.stage == Stage::both
                                 ? memory(layout().poses_are_shared, layout().peaks)
                                 : in().image_peaks + std::int64_t{b} * in().peaks_of_image;
    return {begin, layout().of_peaks};
  }
  VL4POSE_DEVICE PoseMemory poses() const {
    return {memory(layout().poses_are_shared, layout().poses), layout().of_poses};
  }
  VL4POSE_DEVICE double* scratch() const {
    return reinterpret_cast<double*>(block_.shared() + layout().scratch) +
           block_.warp_index() * subpixel_scratch(in().options.subpixel);
  }

  // Collective: finds the peaks of one map, which all warps read together, or of an image's maps,
  // of which each warp has its own.
  template <bool kCellsAreShared>
  VL4POSE_NOINLINE VL4POSE_DEVICE void find_peaks(int item) const {
    const int b = is_together() ? item / J() : item;
    int j = is_together() ? item % J() : block_.warp_index();
    const auto search = this->search<kCellsAreShared>(is_together() ? 0 : block_.warp_index());
    const int rows = is_together() ? (in().grid.rows + block_.num_warps() - 1) / block_.num_warps()
                                   : in().grid.rows;
    const int begin = is_together() ? std::min(block_.warp_index() * rows, in().grid.rows) : 0;
    const int end = std::min(begin + rows, in().grid.rows);
    if (!is_together()) prefetch({in().heatmaps, b, j});
    if (!is_together() || block_.warp_index() == 0) search.clear_margins();
    for (; j < J(); j += block_.num_warps()) {
      const DeviceMap<Stored> map(in().heatmaps, b, j);
      MapSummary<T> summary = search.scan(map, begin, end);
      if (is_together()) {
        summary = joined(summary);
      } else if (j + block_.num_warps() < J()) {
        prefetch({in().heatmaps, b, j + block_.num_warps()});
      }
      warp().sync();
      if (in().outputs.wants_peaks() && search.needs_candidates()) {
        search.mark_candidates(search.bound(map, summary), begin, end);
      }
      if (is_together()) {
        block_.sync();
        if (block_.warp_index() > 0) return;
      }
      warp().sync();
      write_peaks(search, map, summary, b, j);
      if (is_together()) return;
      warp().sync();
    }
  }

  // Collective of a block: what the parts of a map say that its warps have read.
  VL4POSE_DEVICE MapSummary<T> joined(const MapSummary<T>& part) const {
    auto* const parts = reinterpret_cast<MapSummary<T>*>(block_.shared() + layout().summaries);
    if (warp().lane() == 0) parts[block_.warp_index()] = part;
    block_.sync();
    MapSummary<T> all = part;
    for (int i = 0; i < block_.num_warps(); ++i) {
      all.largest = larger(parts[i].largest, all.largest);
      all.smallest = smaller(parts[i].smallest, all.smallest);
      all.is_finite = all.is_finite && parts[i].is_finite;
    }
    return all;
  }

  // Asks for a map, which is then on its way while the one before is searched.
  VL4POSE_DEVICE void prefetch(const DeviceMap<Stored>& map) const {
    constexpr int kLine = 128;
    if (!map.is_contiguous()) return;
    const std::int64_t bytes = std::int64_t{map.H} * map.W * int{sizeof(Stored)};
    for (std::int64_t i = warp().lane() * kLine; i < bytes; i += Warp::kSize * kLine) {
      warp().prefetch(map.data() + i);
    }
  }

  // Collective of a warp: finds a map's peaks, and writes what follows from this map alone.
  template <class Search>
  VL4POSE_NOINLINE VL4POSE_DEVICE void write_peaks(const Search& search,
                                                   const DeviceMap<Stored>& map,
                                                   const MapSummary<T>& summary, int b,
                                                   int j) const {
    const ImagePeaks peaks = peaks_of(b);
    const std::int64_t row = row_of(b, j);
    const PeakSlots slots{peaks.x() + j * K(), peaks.y() + j * K(), peaks.value() + j * K()};
    int count = 0, y = 0, x = 0;
    std::uint8_t flags = 0;
    if (!summary.is_finite) {
      flags = status::kNonfiniteHeatmap;
    } else {
      bool has_maximum = false;
      if (in().outputs.wants_peaks()) {
        count = search.find(map, summary, slots);
        if (count == 0) {
          flags = status::kPeakFallback;
          count = 1;
          search.first_maximum(map, summary.largest, y, x);
          has_maximum = true;
          if (warp().lane() == 0) {
            slots.x[0] = x;
            slots.y[0] = y;
            slots.value[0] = map(y, x);
          }
          warp().sync();
        } else if (in().options.peaks.exclude_border == 0) {
          // Of the peaks, where none is excluded, the highest is the map's first maximum.
          y = slots.y[0];
          x = slots.x[0];
          has_maximum = true;
        }
        write_slots(slots, count, row);
      }
      if (in().outputs.wants_maximum()) {
        if (!has_maximum) search.first_maximum(map, summary.largest, y, x);
        if (in().outputs.keypoints) write_keypoint(in().outputs.keypoints, map, row, y, x);
        if (in().outputs.confidence && warp().lane() == 0) in().outputs.confidence[row] = map(y, x);
      }
    }
    if (warp().lane() == 0) {
      peaks.count()[j] = count;
      peaks.flags()[j] = flags;
    }
  }

  VL4POSE_DEVICE void write_slots(const PeakSlots& slots, int count, std::int64_t row) const {
    if (in().outputs.count && warp().lane() == 0) in().outputs.count[row] = count;
    for (int k = warp().lane(); k < K(); k += Warp::kSize) {
      const bool is_used = k < count;
      if (in().outputs.xy) {
        in().outputs.xy[(row * K() + k) * 2] = is_used ? static_cast<T>(slots.x[k]) : T{-1};
        in().outputs.xy[(row * K() + k) * 2 + 1] = is_used ? static_cast<T>(slots.y[k]) : T{-1};
      }
      if (in().outputs.values) {
        in().outputs.values[row * K() + k] = static_cast<T>(is_used ? slots.value[k] : -kInfinity);
      }
    }
  }

  // Collective of a warp.
  VL4POSE_DEVICE void write_keypoint(T* keypoints, const DeviceMap<Stored>& map, std::int64_t row,
                                     int y, int x) const {
    const Offset offset = subpixel_offset(warp(), map, x, y, in().options.subpixel, scratch());
    if (warp().lane() != 0) return;
    keypoints[row * 2] = static_cast<T>(x + offset.x);
    keypoints[row * 2 + 1] = static_cast<T>(y + offset.y);
  }

  // Which bits any of n flags has.
  VL4POSE_DEVICE std::uint8_t any_of(const std::uint8_t* flags, int n) const {
    unsigned bits = 0;
    for (int first = 0; first < n; first += Warp::kSize) {
      const int i = first + warp().lane();
      const unsigned own = i < n ? flags[i] : 0;
      for (unsigned bit = 1; bit <= status::kNonfiniteHeatmap; bit *= 2) {
        if (warp().where((own & bit) != 0)) bits |= bit;
      }
    }
    return static_cast<std::uint8_t>(bits);
  }

  // Collective: writes what follows from the peaks of all maps.
  VL4POSE_NOINLINE VL4POSE_DEVICE void finish(int b) const {
    const ImagePeaks peaks = peaks_of(b);
    std::uint8_t status = any_of(peaks.flags(), J());
    const bool has_peaks = (status & status::kNonfiniteHeatmap) == 0;
    if (!has_peaks) {
      status = status::kNonfiniteHeatmap;  // whatever the other maps are like
      poison_image(b);
    }
    if (in().params.data) status |= read_links(b);
    const bool has_params = (status & status::kNonfiniteParams) == 0;
    if (has_peaks) {
      const PosePass<Block> pass(block_, in().tree, peaks, poses(), K());
      if (in().outputs.wants_weights()) write_weights(pass, b);
      if (in().outputs.wants_pose()) has_params ? write_pose(pass, peaks, b) : poison_pose(b);
    }
    if (in().outputs.status && block_.thread() == 0) in().outputs.status[b] = status;
  }

  VL4POSE_DEVICE std::uint8_t read_links(int b) const {
    for_each(L(), [&](int l) {
      std::uint8_t flags = 0;
      const std::int64_t of_link = l, distance = 0, log_variance = 1;
      Link link = make_link(static_cast<T>(in().params(b, of_link, distance)),
                            static_cast<T>(in().params(b, of_link, log_variance)), flags);
      link.precision = exponential(-link.log_variance);
      poses().links()[l] = link;
      poses().link_flags()[l] = flags;
    });
    return any_of(poses().link_flags(), L());
  }

  VL4POSE_DEVICE void write_weights(const PosePass<Block>& pass, int b) const {
    pass.set_weights(J(), in().options.temperature);
    if (!in().outputs.entropy && !in().outputs.entropy_sum) return;
    double* const entropies = poses().up();
    for_each(J(), [&](int j) {
      const double of_joint = pass.entropy_of(j);
      if (in().outputs.entropy) in().outputs.entropy[row_of(b, j)] = static_cast<T>(of_joint);
      entropies[j] = of_joint;
    });
    if (in().outputs.entropy_sum && block_.thread() == 0) {
      double sum = 0.0;
      for (int j = 0; j < J(); ++j) sum += entropies[j];
      in().outputs.entropy_sum[b] = static_cast<T>(sum);
    }
    block_.sync();
  }

  VL4POSE_DEVICE void write_pose(const PosePass<Block>& pass, const ImagePeaks& peaks,
                                 int b) const {
    const Method method = in().options.method;
    const Objective objective = in().options.objective;
    double score = kNaN;
    pass.set_terms();
    if (in().outputs.per_link || (in().outputs.score && method == Method::expected)) {
      const double expected = pass.expected();
      if (method == Method::expected) score = expected;
      if (in().outputs.per_link) {
        for_each(L(), [&](int l) {
          in().outputs.per_link[std::int64_t{b} * L() + l] = static_cast<T>(poses().per_link()[l]);
        });
      }
    }
    const bool scores_best_pose = in().outputs.score && method == Method::max;
    if (scores_best_pose) score = pass.refine(Objective::map);
    if (in().outputs.wants_refined()) {
      const bool is_known = scores_best_pose && objective == Objective::map;
      write_refined(peaks, b, is_known ? score : pass.refine(objective));
    }
    if (in().outputs.score && method == Method::sum) score = pass.released_sum();
    if (in().outputs.posterior || (in().outputs.score && method == Method::marginal)) {
      const double marginal = pass.marginal();
      if (method == Method::marginal) score = marginal;
      if (in().outputs.posterior) write_posterior(pass, peaks, b);
    }
    if (in().outputs.score && block_.thread() == 0) in().outputs.score[b] = static_cast<T>(score);
  }

  VL4POSE_DEVICE void write_refined(const ImagePeaks& peaks, int b, double log_prob) const {
    if (in().outputs.log_prob && block_.thread() == 0)
      in().outputs.log_prob[b] = static_cast<T>(log_prob);
    const std::int32_t* const pick = poses().pick();
    for_each(J(), [&](int j) {
      if (in().outputs.peak_index) in().outputs.peak_index[row_of(b, j)] = pick[j];
      if (in().outputs.changed) in().outputs.changed[row_of(b, j)] = pick[j] != 0;
    });
    if (!in().outputs.refined_keypoints) return;
    for (int j = block_.warp_index(); j < J(); j += block_.num_warps()) {
      const int slot = j * K() + pick[j];
      write_keypoint(in().outputs.refined_keypoints, {in().heatmaps, b, j}, row_of(b, j),
                     peaks.y()[slot], peaks.x()[slot]);
    }
  }

  VL4POSE_DEVICE void write_posterior(const PosePass<Block>& pass, const ImagePeaks& peaks,
                                      int b) const {
    const double* const shares = pass.posterior();
    T* const posterior = in().outputs.posterior + row_of(b, 0) * K();
    for_each(J() * K(), [&](int i) {
      const bool is_used = i % K() < peaks.count()[i / K()];
      posterior[i] = is_used ? static_cast<T>(shares[i]) : T{0};
    });
  }

  template <class V>
  VL4POSE_DEVICE void fill(V* output, int b, int per_image, double value) const {
    if (!output) return;
    for (int i = block_.thread(); i < per_image; i += block_.num_threads()) {
      output[std::int64_t{b} * per_image + i] = static_cast<V>(value);
    }
  }

  VL4POSE_NOINLINE VL4POSE_DEVICE void poison_image(int b) const {
    fill(in().outputs.xy, b, J() * K() * 2, -1);
    fill(in().outputs.values, b, J() * K(), kNaN);
    fill(in().outputs.count, b, J(), 0);
    fill(in().outputs.entropy, b, J(), kNaN);
    fill(in().outputs.entropy_sum, b, 1, kNaN);
    fill(in().outputs.keypoints, b, J() * 2, kNaN);
    fill(in().outputs.confidence, b, J(), kNaN);
    poison_pose(b);
  }

  VL4POSE_NOINLINE VL4POSE_DEVICE void poison_pose(int b) const {
    fill(in().outputs.score, b, 1, kNaN);
    fill(in().outputs.per_link, b, L(), kNaN);
    fill(in().outputs.posterior, b, J() * K(), kNaN);
    fill(in().outputs.refined_keypoints, b, J() * 2, kNaN);
    fill(in().outputs.peak_index, b, J(), -1);
    fill(in().outputs.changed, b, J(), 0);
    fill(in().outputs.log_prob, b, 1, kNaN);
  }

  const Block block_;
};

// What a block runs; its shared memory begins with a copy of the arguments.
template <class Block, class Stored>
VL4POSE_DEVICE void score_block(const Block& block, const ScoreArguments<Wide<Stored>>& arguments) {
  shared_copy(block, arguments);
  ScorePass<Block, Stored>{block}();
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
