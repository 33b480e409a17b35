#include "refine.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

Refine::Refine(const Tree& tree, std::int64_t K)
    : recursion_(tree, K), best_(tree.num_joints() * whole_vectors<double>(K)) {}

double Refine::operator()(LinkTerms& terms, Objective objective, std::int32_t* pick) {
  const PosePeaks& peaks = terms.peaks();
  const bool is_map = objective == Objective::map;
  const auto fold = [&](std::int64_t j, std::int64_t a, const Vector<double>* column,
                        const double* up, std::int64_t n) {
    const double* weight = peaks.weight.data() + j * peaks.stride;
    Vector<double> largest = broadcast(-kInfinity);
    Vector<std::int64_t> best{};
    for (std::int64_t b = 0; b < n; ++b) {
      const Vector<double> value = (is_map ? column[b] : weight[b] * column[b]) + up[b];
      best = value > largest ? broadcast(b) : best;
      largest = maximum<double>(value, largest);
    }
    store(best_.data() + j * peaks.stride + a, best);
    return largest;
  };
  const double* own = is_map ? peaks.log_weight.data() : nullptr;
  const double* up = recursion_.run(terms, own, fold);

  const Tree& tree = recursion_.tree;
  for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
    const std::int64_t j = *joint, parent = tree.parent[j];
    pick[j] = parent < 0 ? first_largest(up, peaks.count[j])
                         : static_cast<std::int32_t>(best_[j * peaks.stride + pick[parent]]);
  }
  return log_probability(terms, pick);
}

double Refine::log_probability(const LinkTerms& terms, const std::int32_t* pick) const {
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  const auto slot = [&](std::int64_t j) { return j * peaks.stride + pick[j]; };
  double sum = peaks.log_weight[slot(tree.root)];
  for (std::int32_t l = 0; l < tree.num_links(); ++l) {
    const std::int64_t child = slot(tree.child[l]), parent = slot(tree.parent[tree.child[l]]);
    sum += peaks.log_weight[child] + link_log_likelihood(peaks.x[child] - peaks.x[parent],
                                                         peaks.y[child] - peaks.y[parent],
                                                         terms.link(l));
  }
  return sum;
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
