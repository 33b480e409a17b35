// What follows from the peaks of one image, computed by a block: weights, log-likelihoods of all
// the poses that they make, and the best of them. The definitions, and the order of every sum, are
// those of pose_rows.h, tree_likelihood.h and refine.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host_device.h"
#include "options.h"
#include "places.h"
#include "pose_math.h"
#include "softmax_cuda.h"
#include "tree_cuda.h"
#include "tree_recursion_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// The peaks of one image: joint j's are in the slots [j * K, j * K + count[j]).
struct PeaksLayout {
  std::int64_t count;  // (J) of int32
  std::int64_t flags;  // (J) of uint8: bits of status.h for each map
  std::int64_t x, y;   // (J, K) of int32: pixels
  std::int64_t value;  // (J, K) of double

  PeaksLayout() = default;
  PeaksLayout(Places& places, std::int64_t J, std::int64_t K)
      : count(places.take<std::int32_t>(J)),
        flags(places.take<std::uint8_t>(J)),
        x(places.take<std::int32_t>(J * K)),
        y(places.take<std::int32_t>(J * K)),
        value(places.take<double>(J * K)) {}
};

struct ImagePeaks : Memory<PeaksLayout> {
  VL4POSE_DEVICE std::int32_t* count() const { return array<std::int32_t>(at.count); }
  VL4POSE_DEVICE std::uint8_t* flags() const { return array<std::uint8_t>(at.flags); }
  VL4POSE_DEVICE std::int32_t* x() const { return array<std::int32_t>(at.x); }
  VL4POSE_DEVICE std::int32_t* y() const { return array<std::int32_t>(at.y); }
  VL4POSE_DEVICE double* value() const { return array<double>(at.value); }
};

// What a block keeps of one image while it computes what follows from the peaks.
struct PoseLayout {
  std::int64_t weight, log_weight;  // (J, K) of double: p and log p
  std::int64_t up, message;         // (J, K) of double: of the recursions; that of the link to j
  std::int64_t best;        // (J, K) of int32: joint j's best peak for each peak of its parent
  std::int64_t pick;        // (J) of int32
  std::int64_t links;       // (L) of Link
  std::int64_t per_link;    // (L) of double
  std::int64_t link_flags;  // (L) of uint8: bits of status.h
  std::int64_t result;      // (1) of double
  std::int64_t terms;       // (L, K, K) of double: ell(a, b); negative where there is no room

  PoseLayout() = default;
  PoseLayout(Places& places, std::int64_t J, std::int64_t L, std::int64_t K, bool keeps_terms)
      : weight(places.take<double>(J * K)),
        log_weight(places.take<double>(J * K)),
        up(places.take<double>(J * K)),
        message(places.take<double>(J * K)),
        best(places.take<std::int32_t>(J * K)),
        pick(places.take<std::int32_t>(J)),
        links(places.take<Link>(L)),
        per_link(places.take<double>(L)),
        link_flags(places.take<std::uint8_t>(L)),
        result(places.take<double>(1)),
        terms(keeps_terms ? places.take<double>(L * K * K) : -1) {}
};

struct PoseMemory : Memory<PoseLayout> {
  VL4POSE_DEVICE double* weight() const { return array<double>(at.weight); }
  VL4POSE_DEVICE double* log_weight() const { return array<double>(at.log_weight); }
  VL4POSE_DEVICE double* up() const { return array<double>(at.up); }
  VL4POSE_DEVICE double* message() const { return array<double>(at.message); }
  VL4POSE_DEVICE std::int32_t* best() const { return array<std::int32_t>(at.best); }
  VL4POSE_DEVICE std::int32_t* pick() const { return array<std::int32_t>(at.pick); }
  VL4POSE_DEVICE Link* links() const { return array<Link>(at.links); }
  VL4POSE_DEVICE double* per_link() const { return array<double>(at.per_link); }
  VL4POSE_DEVICE std::uint8_t* link_flags() const { return array<std::uint8_t>(at.link_flags); }
  VL4POSE_DEVICE double* result() const { return array<double>(at.result); }
  VL4POSE_DEVICE double* terms() const { return at.terms < 0 ? nullptr : array<double>(at.terms); }
};

template <class Block>
class PosePass {
 public:
  VL4POSE_DEVICE PosePass(const Block& block, const DeviceTree& tree, const ImagePeaks& peaks,
                          const PoseMemory& memory, int K)
      : block_(block), tree_(tree), peaks_(peaks), memory_(memory), K_(K) {}

  // All of these are collective, and what they write is there for all threads afterwards.

  // Softmax of the values of all joints, and its logarithm.
  VL4POSE_DEVICE void set_weights(int J, double temperature) const {
    SoftmaxRows<Block>{block_, peaks_.count(), J, K_}.softmax(
        peaks_.value(), temperature, memory_.weight(), memory_.log_weight(), memory_.message());
  }

  // entropy_of(j) may be called by any thread, after set_weights().
  VL4POSE_DEVICE double entropy_of(int j) const {
    double sum = 0.0;
    for (int i = j * K_; i < j * K_ + peaks_.count()[j]; ++i) {
      if (memory_.weight()[i] > 0.0) sum -= memory_.weight()[i] * memory_.log_weight()[i];
    }
    return sum;
  }

  // Fills the terms, where there is room for them.
  VL4POSE_DEVICE void set_terms() const;

  // Writes each link's expected term to per_link, and returns their sum.
  VL4POSE_DEVICE double expected() const;

  // Writes the best pose's peaks to pick, and returns its log p + log q.
  VL4POSE_DEVICE double refine(Objective objective) const;

  // Returns log sum_Y p(Y) q(Y). The weights, the peaks' values and the terms are lost: what
  // posterior() needs takes their place.
  VL4POSE_DEVICE double marginal() const;

  // After marginal(): returns the posterior (J, K), which takes the place of the log-weights.
  VL4POSE_DEVICE const double* posterior() const;

  // The released code's recursion.
  VL4POSE_DEVICE double released_sum() const;

 private:
  template <class Work>
  VL4POSE_DEVICE void for_each(int n, const Work& work) const {
    vl4pose::for_each(block_, n, work);
  }
  VL4POSE_DEVICE TreeLevels<Block> levels() const { return {block_, tree_, peaks_.count(), K_}; }

  VL4POSE_DEVICE double compute_term(int l, int a, int b) const;
  // ell(a, b) of a link.
  VL4POSE_DEVICE double term(int l, int a, int b) const {
    return memory_.terms() ? memory_.terms()[(l * K_ + a) * K_ + b] : compute_term(l, a, b);
  }
  VL4POSE_DEVICE auto own_log_weight() const {
    return [log_weight = memory_.log_weight()](int slot) { return log_weight[slot]; };
  }
  // See TreeLevels.
  template <class Own, class Fold>
  VL4POSE_DEVICE const double* run_up_by_peak(const Own& own, const Fold& fold) const {
    return levels().run_up_by_peak(own, fold, memory_.up(), memory_.message());
  }
  // Of a peak a of the parent of joint j and a peak b of j: the share of b in the message, before
  // it is divided by the sum of all. Each is computed once, where the terms have room.
  VL4POSE_DEVICE double compute_share(int j, int a, int b) const {
    const double exponent = term(tree_.link[j], a, b) + memory_.up()[j * K_ + b];
    return exponential(exponent - largest_term()[j * K_ + a]);
  }
  VL4POSE_DEVICE double share(int j, int a, int b) const {
    return memory_.terms() ? memory_.terms()[(tree_.link[j] * K_ + a) * K_ + b]
                           : compute_share(j, a, b);
  }
  VL4POSE_DEVICE double* largest_term() const { return memory_.weight(); }
  VL4POSE_DEVICE double* sum_of_shares() const { return peaks_.value(); }
  // What one thread computes, for all.
  template <class Compute>
  VL4POSE_DEVICE double by_one(const Compute& compute) const {
    if (block_.thread() == 0) *memory_.result() = compute();
    block_.sync();
    const double result = *memory_.result();
    block_.sync();
    return result;
  }

  const Block block_;
  const DeviceTree& tree_;
  const ImagePeaks peaks_;
  const PoseMemory memory_;
  const int K_;
};

template <class Block>
VL4POSE_DEVICE double PosePass<Block>::compute_term(int l, int a, int b) const {
  const int child = tree_.child[l];
  const int from = tree_.parent[child] * K_ + a, to = child * K_ + b;
  return link_log_likelihood(static_cast<double>(peaks_.x()[to] - peaks_.x()[from]),
                             static_cast<double>(peaks_.y()[to] - peaks_.y()[from]),
                             memory_.links()[l]);
}

template <class Block>
VL4POSE_NOINLINE VL4POSE_DEVICE void PosePass<Block>::set_terms() const {
  if (!memory_.terms()) return;
  for_each(tree_.num_links * K_ * K_, [&](int i) {
    const int b = i % K_, a = i / K_ % K_, l = i / K_ / K_, child = tree_.child[l];
    if (a < peaks_.count()[tree_.parent[child]] && b < peaks_.count()[child]) {
      memory_.terms()[i] = compute_term(l, a, b);
    }
  });
}

template <class Block>
VL4POSE_NOINLINE VL4POSE_DEVICE double PosePass<Block>::expected() const {
  for_each(tree_.num_links * K_, [&](int i) {
    const int l = i / K_, a = i % K_, child = tree_.child[l];
    if (a >= peaks_.count()[tree_.parent[child]]) return;
    double over_child = 0.0;
    for (int b = 0; b < peaks_.count()[child]; ++b) {
      over_child += memory_.weight()[child * K_ + b] * term(l, a, b);
    }
    memory_.message()[child * K_ + a] = over_child;
  });
  for_each(tree_.num_links, [&](int l) {
    const int child = tree_.child[l], parent = tree_.parent[child];
    double sum = 0.0;
    for (int a = 0; a < peaks_.count()[parent]; ++a) {
      sum += memory_.weight()[parent * K_ + a] * memory_.message()[child * K_ + a];
    }
    memory_.per_link()[l] = sum;
  });
  return by_one([&] {
    double total = 0.0;
    for (int l = 0; l < tree_.num_links; ++l) total += memory_.per_link()[l];
    return total;
  });
}

template <class Block>
VL4POSE_NOINLINE VL4POSE_DEVICE double PosePass<Block>::refine(Objective objective) const {
  const bool is_map = objective == Objective::map;
  const auto log_weight = own_log_weight();
  const auto fold = [&](int j, int a, const double* up_j) {
    double largest = -kInfinity;
    int best = 0;
    for (int b = 0; b < peaks_.count()[j]; ++b) {
      const double ell = term(tree_.link[j], a, b);
      const double value = (is_map ? ell : memory_.weight()[j * K_ + b] * ell) + up_j[b];
      if (value > largest) {
        largest = value;
        best = b;
      }
    }
    memory_.best()[j * K_ + a] = best;
    return largest;
  };
  const double* up =
      run_up_by_peak([&](int slot) { return is_map ? log_weight(slot) : 0.0; }, fold);
  for (int level = 0; level < tree_.num_levels; ++level) {
    levels().for_each_joint(level, [&](int j) {
      memory_.pick()[j] = level == 0 ? first_largest(up, peaks_.count()[j])
                                     : memory_.best()[j * K_ + memory_.pick()[tree_.parent[j]]];
    });
  }
  const auto own = [&](int j) { return log_weight(j * K_ + memory_.pick()[j]); };
  for_each(tree_.num_links, [&](int l) {
    const int child = tree_.child[l];
    memory_.message()[l] =
        own(child) + term(l, memory_.pick()[tree_.parent[child]], memory_.pick()[child]);
  });
  return by_one([&] {
    double sum = own(tree_.root());
    for (int l = 0; l < tree_.num_links; ++l) sum += memory_.message()[l];
    return sum;
  });
}

// Each step of a level is one for all its threads: the exponentials take the longest.
template <class Block>
VL4POSE_NOINLINE VL4POSE_DEVICE double PosePass<Block>::marginal() const {
  const auto fold = [&](int level) {
    levels().for_each_peak(level, true, [&](int j, int a) {
      double largest = -kInfinity;
      for (int b = 0; b < peaks_.count()[j]; ++b) {
        const double value = term(tree_.link[j], a, b) + memory_.up()[j * K_ + b];
        largest = value > largest ? value : largest;
      }
      largest_term()[j * K_ + a] = largest;
    });
    if (memory_.terms()) {
      levels().for_each_pair(level, [&](int j, int a, int b) {
        memory_.terms()[(tree_.link[j] * K_ + a) * K_ + b] = compute_share(j, a, b);
      });
    }
    levels().for_each_peak(level, true, [&](int j, int a) {
      double sum = 0.0;
      for (int b = 0; b < peaks_.count()[j]; ++b) sum += share(j, a, b);
      sum_of_shares()[j * K_ + a] = sum;
      memory_.message()[j * K_ + a] = largest_term()[j * K_ + a] + logarithm_of_normal(sum);
    });
  };
  const double* up = levels().run_up(own_log_weight(), fold, memory_.up(), memory_.message());
  const int n = peaks_.count()[tree_.root()];
  double* const shares = memory_.message() + tree_.root() * K_;
  for_each(n, [&](int k) { shares[k] = exponential(up[k] - up[first_largest(up, n)]); });
  return by_one([&] {
    double sum = 0.0;
    for (int k = 0; k < n; ++k) sum += shares[k];
    return up[first_largest(up, n)] + logarithm_of_normal(sum);
  });
}

// From the root to the leaves, p_j(b) = sum_a p_parent(a) p(b | a).
template <class Block>
VL4POSE_NOINLINE VL4POSE_DEVICE const double* PosePass<Block>::posterior() const {
  double *const belief = memory_.log_weight(), *const inverse_sum = sum_of_shares();
  const int root = tree_.root() * K_;
  SoftmaxRows<Block>{block_, peaks_.count() + tree_.root(), 1, K_}.softmax(
      memory_.up() + root, 1.0, belief + root, nullptr, memory_.message());
  for_each(tree_.num_links * K_, [&](int i) {
    const int j = tree_.child[i / K_], a = i % K_;
    if (a < peaks_.count()[tree_.parent[j]])
      inverse_sum[j * K_ + a] = 1.0 / inverse_sum[j * K_ + a];
  });
  for (int level = 1; level < tree_.num_levels; ++level) {
    levels().for_each_peak(level, false, [&](int j, int b) {
      const int parent = tree_.parent[j] * K_;
      double sum = 0.0;
      for (int a = 0; a < peaks_.count()[tree_.parent[j]] && peaks_.count()[j] > 1; ++a) {
        sum += belief[parent + a] * (share(j, a, b) * inverse_sum[j * K_ + a]);
      }
      belief[j * K_ + b] = sum;
    });
    // Huge terms leave few digits of a message; what they give still sums to one.
    levels().for_each_joint(level, [&](int j) {
      const int n = peaks_.count()[j];
      double* const of_joint = belief + j * K_;
      double sum = 0.0;
      for (int b = 0; b < n; ++b) sum += of_joint[b];
      const double inverse = 1.0 / sum;
      for (int b = 0; b < n; ++b) of_joint[b] = n == 1 ? 1.0 : of_joint[b] * inverse;
    });
  }
  return belief;
}

template <class Block>
VL4POSE_NOINLINE VL4POSE_DEVICE double PosePass<Block>::released_sum() const {
  const double* up = run_up_by_peak(own_log_weight(), [&](int j, int a, const double* up_j) {
    double sum = 0.0;
    for (int b = 0; b < peaks_.count()[j]; ++b) sum += term(tree_.link[j], a, b) + up_j[b];
    return sum;
  });
  return by_one([&] {
    double sum = 0.0;
    for (int k = 0; k < peaks_.count()[tree_.root()]; ++k) sum += up[k];
    return sum;
  });
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
