// The gradient of the fused pass by a block; contract: score_backward.h. A block has an image at a
// time. Whatever gradients are added to belongs to one thread, which adds them in the order that
// score_backward_cpu.cpp has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "array.h"
#include "block_cuda.h"
#include "dual.h"
#include "host_device.h"
#include "link_gradient.h"
#include "options.h"
#include "pass_cuda.h"
#include "places.h"
#include "pose_cuda.h"
#include "pose_math.h"
#include "score_backward.h"
#include "shared_gradient_cuda.h"
#include "softmax_cuda.h"
#include "softmax_gradient.h"
#include "status.h"
#include "tree_cuda.h"
#include "tree_recursion_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// What a block keeps of one image.
template <class S>
struct ScoreBackwardLayout {
  PeaksLayout of_peaks;
  PoseLayout of_poses;                        // whose weights and log-weights stand still
  std::int64_t log_tangent;                   // (J, K) of double: of log-weight; for duals
  std::int64_t by_log_weight;                 // (J, K) of S: the gradient, before the softmax
  std::int64_t of_joint;                      // (J) of S
  std::int64_t links;                         // (L) of LinkOf<S>
  std::int64_t by_distance, by_log_variance;  // (L) of S: the gradient
  std::int64_t up, message, belief;           // (J, K) of S: for the marginal
  std::int64_t parts;                         // (2, J, K) of S: what is to be added up

  ScoreBackwardLayout() = default;
  ScoreBackwardLayout(Places& places, std::int64_t J, std::int64_t L, std::int64_t K, bool is_along,
                      Method method)
      : of_peaks(places, J, K),
        of_poses(places, J, L, K, false),
        log_tangent(places.take<double>(is_along ? J * K : 0)),
        by_log_weight(places.take<S>(J * K)),
        of_joint(places.take<S>(J)),
        links(places.take<LinkOf<S>>(L)),
        by_distance(places.take<S>(L)),
        by_log_variance(places.take<S>(L)),
        up(places.take<S>(method == Method::marginal ? J * K : 0)),
        message(places.take<S>(method == Method::marginal ? J * K : 0)),
        belief(places.take<S>(method == Method::marginal ? J * K : 0)),
        parts(places.take<S>(2 * J * K)) {}
};

template <class T, class S>
struct ScoreBackwardArguments {
  ScoreBackwardInputs inputs;  // of which the tree is the host's
  ScoreOptions options;
  ScoreGradients<T> to;
  DeviceTree tree;  // of no joints where the score has no gradient
  ScoreBackwardLayout<S> layout;
  Work work;  // the images
};

template <class Block, class T, class S>
class ScoreBackward {
 public:
  using Arguments = ScoreBackwardArguments<T, S>;

  VL4POSE_DEVICE ScoreBackward(const Block& block, const Arguments& arguments, std::byte* memory)
      : block_(block), in_(arguments), memory_(memory) {}

  VL4POSE_DEVICE void operator()(std::int64_t first, int n) const {
    for (std::int64_t b = first; b < first + n; ++b) {
      pull_back(b);
      block_.sync();
    }
  }

 private:
  static constexpr bool kIsAlong = std::is_same_v<S, Dual>;

  VL4POSE_DEVICE int J() const { return static_cast<int>(in_.inputs.values.shape[1]); }
  VL4POSE_DEVICE int L() const { return in_.tree.num_links; }
  VL4POSE_DEVICE int K() const { return static_cast<int>(in_.inputs.values.shape[2]); }
  VL4POSE_DEVICE bool has_tree() const { return in_.tree.num_joints > 0; }

  VL4POSE_DEVICE ImagePeaks peaks() const { return {memory_, in_.layout.of_peaks}; }
  VL4POSE_DEVICE PoseMemory poses() const { return {memory_, in_.layout.of_poses}; }
  VL4POSE_DEVICE S* array(std::int64_t place) const { return array_at<S>(memory_, place); }
  VL4POSE_DEVICE auto* log_tangent() const {
    return array_at<double>(memory_, in_.layout.log_tangent);
  }
  VL4POSE_DEVICE S* by_log_weight() const { return array(in_.layout.by_log_weight); }
  VL4POSE_DEVICE S* of_joint() const { return array(in_.layout.of_joint); }
  VL4POSE_DEVICE auto* links() const { return array_at<LinkOf<S>>(memory_, in_.layout.links); }
  VL4POSE_DEVICE S* by_distance() const { return array(in_.layout.by_distance); }
  VL4POSE_DEVICE S* by_log_variance() const { return array(in_.layout.by_log_variance); }
  VL4POSE_DEVICE S* up() const { return array(in_.layout.up); }
  VL4POSE_DEVICE S* message() const { return array(in_.layout.message); }
  VL4POSE_DEVICE S* belief() const { return array(in_.layout.belief); }
  VL4POSE_DEVICE S* parts() const { return array(in_.layout.parts); }

  VL4POSE_DEVICE int count(int j) const { return peaks().count()[j]; }
  VL4POSE_DEVICE int child_of(int l) const { return in_.tree.child[l]; }
  VL4POSE_DEVICE int parent_of(int l) const { return in_.tree.parent[child_of(l)]; }
  VL4POSE_DEVICE bool is_pair(int l, int a, int b) const {
    return a < count(parent_of(l)) && b < count(child_of(l));
  }

  // Slots count those of all joints.
  VL4POSE_DEVICE int parent_slot(int l, int a) const { return parent_of(l) * K() + a; }
  VL4POSE_DEVICE int child_slot(int l, int b) const { return child_of(l) * K() + b; }
  VL4POSE_DEVICE double log_tangent_of(int slot) const {
    if constexpr (kIsAlong) return log_tangent()[slot];
    return 0.0;
  }
  VL4POSE_DEVICE S weight(int slot) const {
    return moving_weight<S>(poses().weight()[slot], log_tangent_of(slot));
  }
  VL4POSE_DEVICE S log_weight(int slot) const {
    return moving<S>(poses().log_weight()[slot], log_tangent_of(slot));
  }

  VL4POSE_DEVICE PosePass<Block> pose() const { return {block_, in_.tree, peaks(), poses(), K()}; }
  VL4POSE_DEVICE SoftmaxRows<Block> rows() const { return {block_, peaks().count(), J(), K()}; }
  VL4POSE_DEVICE TreeLevels<Block> levels() const {
    return {block_, in_.tree, peaks().count(), K()};
  }

  // Calls work(j, k, slot) for each peak.
  template <class Work>
  VL4POSE_DEVICE void for_each_peak(const Work& work) const {
    for_each(block_, J() * K(), [&](int slot) {
      const int j = slot / K(), k = slot - j * K();
      if (k < count(j)) work(j, k, slot);
    });
  }

  VL4POSE_DEVICE void pull_back(std::int64_t b) const {
    const ScoreBackwardInputs& inputs = in_.inputs;
    const double grad_entropy = inputs.grad_entropy.data ? inputs.grad_entropy(b) : 0.0;
    const double grad_score = inputs.grad_score.data ? inputs.grad_score(b) : 0.0;
    const bool has_params = read_links(b), has_peaks = read_peaks(b);
    if (!has_params || !has_peaks) poison(b, has_peaks, grad_score, grad_entropy);
    if (!has_peaks) return;
    set_weights();
    add_entropy(b, grad_entropy);
    if (!has_tree() && in_.to.score && block_.thread() == 0) in_.to.score[b] = T{0};
    if (has_params && has_tree()) add_score(b, grad_score);
    if (in_.to.values && (has_params || grad_score == 0.0)) write_values(b);
  }

  // False where they are not finite.
  VL4POSE_NOINLINE VL4POSE_DEVICE bool read_links(std::int64_t b) const {
    for_each(block_, L(), [&](int l) {
      std::uint8_t flags = 0;
      const LinkOf<S> link =
          read_link<S, T>(in_.inputs.params, in_.inputs.params_tangent, b, l, flags);
      links()[l] = link;
      poses().links()[l] = {value_of(link.distance), value_of(link.log_variance),
                            value_of(link.precision)};
      poses().link_flags()[l] = flags;
    });
    unsigned flags = 0;
    for (int l = 0; l < L(); ++l) flags |= poses().link_flags()[l];
    return (flags & status::kNonfiniteParams) == 0;
  }

  // False for an image without peaks, whose heatmaps were not finite.
  VL4POSE_NOINLINE VL4POSE_DEVICE bool read_peaks(std::int64_t b) const {
    const ScoreBackwardInputs& inputs = in_.inputs;
    for_each(block_, J(), [&](int j) {
      peaks().count()[j] = std::max(0, std::min(read<std::int32_t>(inputs.count.at(b, j)), K()));
    });
    for (int j = 0; j < J(); ++j) {
      if (count(j) == 0) return false;
    }
    for_each_peak([&](int j, int k, int slot) {
      peaks().x()[slot] = static_cast<std::int32_t>(inputs.xy(b, j, k, 0));
      peaks().y()[slot] = static_cast<std::int32_t>(inputs.xy(b, j, k, 1));
      peaks().value()[slot] = inputs.values(b, j, k);
      if constexpr (kIsAlong) {
        const View<3>& tangent = inputs.values_tangent;
        log_tangent()[slot] = tangent.data ? tangent(b, j, k) : 0.0;
      }
    });
    return true;
  }

  VL4POSE_NOINLINE VL4POSE_DEVICE void poison(std::int64_t b, bool has_peaks, double grad_score,
                                              double grad_entropy) const {
    const bool is_asked = grad_score != 0.0 || (!has_peaks && grad_entropy != 0.0);
    fill(in_.to.values, b, J() * K(), is_asked ? kNaN : 0.0);
    fill(in_.to.params, b, L() * 2, grad_score != 0.0 ? kNaN : 0.0);
    fill(in_.to.score, b, 1, kNaN);
    fill(in_.to.entropy, b, 1, kNaN);
  }
  VL4POSE_DEVICE void fill(T* output, std::int64_t b, int per_image, double value) const {
    if (!output) return;
    for_each(block_, per_image, [&](int i) { output[b * per_image + i] = static_cast<T>(value); });
  }

  VL4POSE_DEVICE void set_weights() const {
    pose().set_weights(J(), in_.options.temperature);
    if constexpr (kIsAlong) {
      rows().set_log_weight_tangents(poses().weight(), in_.options.temperature, log_tangent(),
                                     poses().message());
    }
  }

  // Sets the gradient of grad * entropy_sum, and writes the latter.
  VL4POSE_NOINLINE VL4POSE_DEVICE void add_entropy(std::int64_t b, double grad) const {
    const auto counts = [&](int slot) { return poses().weight()[slot] != 0.0; };
    for_each_peak([&](int, int, int slot) {
      S gradient{};
      if (grad != 0.0 && counts(slot)) {
        gradient -= grad * entropy_by_log_weight(weight(slot), log_weight(slot));
      }
      by_log_weight()[slot] = gradient;
    });
    write_sum(in_.to.entropy, b, J() * K(), [&](std::int64_t i) {
      const int slot = static_cast<int>(i), j = slot / K();
      const bool is_used = slot - j * K() < count(j) && counts(slot);
      return is_used ? -(weight(slot) * log_weight(slot)) : S{};
    });
  }

  // Adds the gradient of grad * score to that by the log-weights, writes that by params, and the
  // score.
  VL4POSE_DEVICE void add_score(std::int64_t b, double grad) const {
    switch (in_.options.method) {
      case Method::expected:
        return add_expected(b, grad);
      case Method::marginal:
        return add_marginal(b, grad);
      case Method::max:
        return add_max(b, grad);
      case Method::sum:
        return add_sum(b, grad);
    }
  }

  VL4POSE_DEVICE LinkTerm<S> term(int l, int a, int b) const {
    const int from = parent_slot(l, a), to = child_slot(l, b);
    const double dx = peaks().x()[to] - peaks().x()[from], dy = peaks().y()[to] - peaks().y()[from];
    return link_term(S{square_root(dx * dx + dy * dy)}, links()[l]);
  }

  // Writes what is asked of the sum of addend(i) over n of them, in their order.
  template <class Addend>
  VL4POSE_DEVICE void write_sum(T* output, std::int64_t b, std::int64_t n,
                                const Addend& addend) const {
    if (!output) return;
    const std::int64_t at_once = 2 * J() * K();
    S sum{};
    for (std::int64_t first = 0; first < n; first += at_once) {
      const int m = static_cast<int>(std::min(at_once, n - first));
      for_each(block_, m, [&](int i) { parts()[i] = addend(first + i); });
      for (int i = 0; i < m && block_.thread() == 0; ++i) sum += parts()[i];
      block_.sync();
    }
    if (block_.thread() == 0) output[b] = static_cast<T>(asked_of(sum));
  }

  // Writes the gradient by params, where share(l, a, b, term) is what grad is multiplied with for
  // each pair of peaks of a link. All links add up at once what a peak of their parents gives.
  template <class Share>
  VL4POSE_DEVICE void write_params(std::int64_t image, double grad, const Share& share) const {
    if (!in_.to.params) return;
    int most_parents = 0;
    for (int l = 0; l < L(); ++l) most_parents = std::max(most_parents, count(parent_of(l)));
    for_each(block_, L(), [&](int l) { by_distance()[l] = by_log_variance()[l] = S{}; });
    S *const distances = parts(), *const log_variances = parts() + L() * K();
    for (int a = 0; a < most_parents; ++a) {
      for_each(block_, L() * K(), [&](int i) {
        const int l = i / K(), b = i % K();
        if (!is_pair(l, a, b)) return;
        const LinkTerm<S> of_pair = term(l, a, b);
        const S of_share = share(l, a, b, of_pair);
        distances[i] = grad * (of_share * of_pair.by_distance);
        log_variances[i] = grad * (of_share * of_pair.by_log_variance);
      });
      for_each(block_, L(), [&](int l) {
        for (int b = 0; is_pair(l, a, b); ++b) {
          by_distance()[l] += distances[l * K() + b];
          by_log_variance()[l] += log_variances[l * K() + b];
        }
      });
    }
    write_link_gradients(image);
  }
  VL4POSE_DEVICE void write_link_gradients(std::int64_t b) const {
    for_each(block_, L(), [&](int l) {
      write_link_gradient(links()[l], by_distance()[l], by_log_variance()[l],
                          in_.to.params + (b * L() + l) * 2);
    });
  }

  VL4POSE_NOINLINE VL4POSE_DEVICE void add_expected(std::int64_t image, double grad) const {
    const auto share = [&](int l, int a, int b) {
      return weight(parent_slot(l, a)) * weight(child_slot(l, b));
    };
    const auto part = [&](int l, int a, int b) { return share(l, a, b) * term(l, a, b).value; };
    for_each_peak([&](int j, int k, int slot) {
      S gradient = by_log_weight()[slot];
      in_.tree.for_each_link_of(j, [&](int l, bool is_end) {
        const int n = count(is_end ? parent_of(l) : child_of(l));
        for (int i = 0; i < n; ++i) gradient += grad * part(l, is_end ? i : k, is_end ? k : i);
      });
      by_log_weight()[slot] = gradient;
    });
    write_params(image, grad,
                 [&](int l, int a, int b, const LinkTerm<S>&) { return share(l, a, b); });
    const std::int64_t pairs = std::int64_t{K()} * K();
    write_sum(in_.to.score, image, L() * pairs, [&](std::int64_t i) {
      const int l = static_cast<int>(i / pairs), a = static_cast<int>(i % pairs / K()),
                b = static_cast<int>(i % K());
      return is_pair(l, a, b) ? part(l, a, b) : S{};
    });
  }

  // The shares of the poses through each peak and each pair of them, by messages up and down.
  VL4POSE_NOINLINE VL4POSE_DEVICE void add_marginal(std::int64_t image, double grad) const {
    const DeviceTree& tree = in_.tree;
    const S* const of_root = levels().run_up_by_peak(
        [&](int slot) { return log_weight(slot); },
        [&](int j, int a, const S* up_j) {
          return log_sum_exp(count(j), [&](std::int64_t b) {
            return term(tree.link[j], a, static_cast<int>(b)).value + up_j[b];
          });
        },
        up(), message());
    levels().for_each_peak(0, false, [&](int j, int k) {
      const S marginal = log_sum_exp(count(j), [&](std::int64_t i) { return of_root[i]; });
      belief()[j * K() + k] = exponential(of_root[k] - marginal);
      if (k == 0 && in_.to.score) in_.to.score[image] = static_cast<T>(asked_of(marginal));
    });
    const auto share = [&](int l, int a, int b, const LinkTerm<S>& term) {
      return pair_share(belief()[parent_slot(l, a)], term, up()[child_slot(l, b)],
                        message()[child_slot(l, a)]);
    };
    for (int level = 1; level < tree.num_levels; ++level) {
      levels().for_each_peak(level, false, [&](int j, int b) {
        const int l = tree.link[j], num_parents = count(tree.parent[j]);
        S sum{};
        for (int a = 0; a < num_parents; ++a) sum += share(l, a, b, term(l, a, b));
        belief()[j * K() + b] = sum;
      });
    }
    for_each_peak([&](int, int, int slot) { by_log_weight()[slot] += grad * belief()[slot]; });
    write_params(image, grad, share);
  }

  VL4POSE_NOINLINE VL4POSE_DEVICE void add_max(std::int64_t image, double grad) const {
    pose().refine(Objective::map);
    const std::int32_t* const pick = poses().pick();
    const S one = 1.0;
    const auto best = [&](int l) { return term(l, pick[parent_of(l)], pick[child_of(l)]); };
    for_each(block_, J(), [&](int j) { by_log_weight()[j * K() + pick[j]] += grad * one; });
    for_each(block_, L(), [&](int l) {
      const LinkTerm<S> of_link = best(l);
      S of_distance{}, of_log_variance{};
      of_distance += grad * (one * of_link.by_distance);
      of_log_variance += grad * (one * of_link.by_log_variance);
      by_distance()[l] = of_distance;
      by_log_variance()[l] = of_log_variance;
    });
    if (in_.to.params) write_link_gradients(image);
    write_sum(in_.to.score, image, J() + L(), [&](std::int64_t i) {
      const int j = static_cast<int>(i);
      return j < J() ? log_weight(j * K() + pick[j]) : best(j - J()).value;
    });
  }

  // The released recursion counts a joint's terms once for each choice of peaks on the way from the
  // root to its parent.
  VL4POSE_NOINLINE VL4POSE_DEVICE void add_sum(std::int64_t image, double grad) const {
    const DeviceTree& tree = in_.tree;
    S* const times = of_joint();  // that each of its peaks is counted
    for (int level = 0; level < tree.num_levels; ++level) {
      levels().for_each_joint(level, [&](int j) {
        const int parent = tree.parent[j];
        times[j] = level == 0 ? S{1.0} : times[parent] * static_cast<double>(count(parent));
      });
    }
    for_each_peak([&](int j, int, int slot) { by_log_weight()[slot] += grad * times[j]; });
    write_params(image, grad,
                 [&](int l, int, int, const LinkTerm<S>&) { return times[parent_of(l)]; });
    // Joint by joint from the root on, the terms of the peaks and those of the pairs with its
    // parent's.
    const std::int64_t of_joint = K() + std::int64_t{K()} * K();
    write_sum(in_.to.score, image, J() * of_joint, [&](std::int64_t i) {
      const int j = tree.order[i / of_joint], l = tree.link[j];
      const std::int64_t k = i % of_joint, pair = k - K();
      if (pair < 0)
        return k < count(j) ? times[j] * log_weight(j * K() + static_cast<int>(k)) : S{};
      const int a = static_cast<int>(pair / K()), b = static_cast<int>(pair % K());
      const bool is_used = j != tree.root() && is_pair(l, a, b);
      return is_used ? times[parent_of(l)] * term(l, a, b).value : S{};
    });
  }

  VL4POSE_NOINLINE VL4POSE_DEVICE void write_values(std::int64_t b) const {
    rows().pull_back([&](int slot) { return weight(slot); }, in_.options.temperature,
                     by_log_weight(), of_joint());
    T* const values = in_.to.values + b * J() * K();
    for_each(block_, J() * K(), [&](int slot) {
      const int j = slot / K();
      const bool is_used = slot - j * K() < count(j);
      values[slot] = is_used ? static_cast<T>(asked_of(by_log_weight()[slot])) : T{0};
    });
  }

  const Block& block_;
  const Arguments& in_;
  std::byte* const memory_;
};

#if !defined(__CUDACC_RTC__)  // the host's part

template <class T, class Launcher>
void launch_score_backward(const Launcher& launcher, const ScoreBackwardInputs& inputs,
                           const ScoreOptions& options, const ScoreGradients<T>& to, Range images) {
  const auto [B, J, K] = inputs.values.shape;
  const std::int64_t L = inputs.params.shape[1];
  check_slots(J, K);
  ScoreGradients<T> of_images = to;
  const DeviceSharedGradient<T, Launcher> params(launcher, of_images.params, to.params_are_shared,
                                                 B, L * 2);
  const bool is_along = inputs.has_tangents();
  with_number(is_along, [&]<class S>(S) {
    ScoreBackwardArguments<T, S> arguments{
        inputs, options, of_images, inputs.tree ? DeviceTree(*inputs.tree) : DeviceTree{}, {}, {}};
    Places places;
    arguments.layout = {places, J, arguments.tree.num_links, K, is_along, options.method};
    arguments.work = {images, 1, places.end()};
    launcher.template run<ScoreBackward<typename Launcher::Block, T, S>>(arguments);
  });
  params.add_up();
}

#endif

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
