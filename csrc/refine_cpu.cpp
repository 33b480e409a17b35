#include "refine.h"

namespace vl4pose {

Refine::Refine(const Tree& tree, std::int64_t K)
    : recursion_(tree, K), best_(tree.num_joints() * K) {}

double Refine::operator()(const PosePeaks& peaks, const Link* links, Objective objective,
                          std::int32_t* pick) {
  const bool is_map = objective == Objective::map;
  const std::int64_t K = peaks.K;
  const auto own = [&](std::int64_t j, std::int64_t k) {
    return is_map ? peaks.log_weight[j * K + k] : 0.0;
  };
  const auto fold = [&](std::int64_t j, std::int64_t a, double* row, const double* up,
                        std::int64_t n) {
    const double* weight = peaks.weight.data() + j * K;
    for (std::int64_t b = 0; b < n; ++b) row[b] = (is_map ? row[b] : weight[b] * row[b]) + up[b];
    const std::int32_t best = first_largest(row, n);
    best_[j * K + a] = best;
    return row[best];
  };
  const double* up = recursion_.run(peaks, links, own, fold);

  const Tree& tree = recursion_.tree;
  for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
    const std::int64_t j = *joint, parent = tree.parent[j];
    pick[j] = parent < 0 ? first_largest(up, peaks.count[j]) : best_[j * K + pick[parent]];
  }
  return log_probability(peaks, links, pick);
}

double Refine::log_probability(const PosePeaks& peaks, const Link* links,
                               const std::int32_t* pick) const {
  const Tree& tree = recursion_.tree;
  const auto slot = [&](std::int64_t j) { return j * peaks.K + pick[j]; };
  double sum = peaks.log_weight[slot(tree.root)];
  for (std::int32_t l = 0; l < tree.num_links(); ++l) {
    const std::int64_t child = slot(tree.child[l]), parent = slot(tree.parent[tree.child[l]]);
    sum +=
        peaks.log_weight[child] + link_log_likelihood(peaks.x[child] - peaks.x[parent],
                                                      peaks.y[child] - peaks.y[parent], links[l]);
  }
  return sum;
}

}  // namespace vl4pose
