#include <algorithm>

#include "tree_likelihood.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

double entropy(const PosePeaks& peaks, std::int64_t j) {
  double sum = 0.0;
  for (std::int64_t i = j * peaks.stride; i < j * peaks.stride + peaks.count[j]; ++i) {
    if (peaks.weight[i] > 0.0) sum -= peaks.weight[i] * peaks.log_weight[i];
  }
  return sum;
}

TreeLikelihood::TreeLikelihood(const Tree& tree, std::int64_t K)
    : recursion_(tree, K),
      K_(K),
      down_(tree.num_joints() * whole_vectors<double>(K)),
      row_(whole_vectors<double>(K)),
      outside_(whole_vectors<double>(K)),
      column_(K) {}

double TreeLikelihood::expected(LinkTerms& terms, double* per_link) {
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  double total = 0.0;
  for (std::int32_t l = 0; l < tree.num_links(); ++l) {
    const std::int64_t child = tree.child[l], parent = tree.parent[child];
    const double* weight = peaks.weight.data() + child * peaks.stride;
    for (std::int64_t a = 0; a < peaks.count[parent]; a += kLanes<double>) {
      const Vector<double>* column = terms.column(l, a);
      Vector<double> over_child{};
      for (std::int64_t b = 0; b < peaks.count[child]; ++b) over_child += weight[b] * column[b];
      store(row_.data() + a, over_child);
    }
    double sum = 0.0;
    for (std::int64_t a = 0; a < peaks.count[parent]; ++a) {
      sum += peaks.weight[parent * peaks.stride + a] * row_[a];
    }
    per_link[l] = sum;
    total += sum;
  }
  return total;
}

double TreeLikelihood::marginal(LinkTerms& terms) {
  const PosePeaks& peaks = terms.peaks();
  const auto fold = [&](std::int64_t, std::int64_t, const Vector<double>* column, const double* up,
                        std::int64_t n) {
    for (std::int64_t b = 0; b < n; ++b) column_[b] = column[b] + up[b];
    return log_sum_exp(column_.data(), n);
  };
  const double* up = recursion_.run(terms, peaks.log_weight.data(), fold);
  const std::int64_t n = peaks.count[recursion_.tree.root];
  for (std::int64_t k = 0; k < n; ++k) column_[k] = broadcast(up[k]);
  return log_sum_exp(column_.data(), n)[0];
}

double TreeLikelihood::posterior(LinkTerms& terms, double* posterior) {
  const PosePeaks& peaks = terms.peaks();
  const double marginal = this->marginal(terms);
  const Tree& tree = recursion_.tree;
  const std::int64_t stride = peaks.stride;
  for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
    const std::int64_t j = *joint, parent = tree.parent[j], n = peaks.count[j];
    double* down = down_.data() + j * stride;
    if (parent < 0) {
      std::fill_n(down, n, 0.0);
    } else {
      const std::int64_t num_outside = peaks.count[parent];
      for (std::int64_t a = 0; a < num_outside; a += kLanes<double>) {
        const std::int64_t slot = parent * stride + a;
        Vector<double> sum = load(peaks.log_weight.data() + slot) + load(down_.data() + slot);
        for (const std::int32_t sibling : tree.children[parent]) {
          if (sibling != j) sum += load(recursion_.message(sibling) + a);
        }
        store(outside_.data() + a, sum);
      }
      for (std::int64_t b = 0; b < n; b += kLanes<double>) {
        link_column(peaks, j * stride + b, parent, terms.link(tree.link[j]), column_.data());
        for (std::int64_t a = 0; a < num_outside; ++a) column_[a] += outside_[a];
        store(down + b, log_sum_exp(column_.data(), num_outside));
      }
    }
    // exp(marginal) is the sum of any joint's beliefs. Divided by that sum they sum to one, even
    // where huge terms have left few digits.
    const double* up = recursion_.up(j);
    double largest = -kInfinity, sum = 0.0;
    for (std::int64_t k = 0; k < n; ++k) largest = std::max(largest, up[k] + down[k]);
    for (std::int64_t k = 0; k < n; k += kLanes<double>) {
      store(row_.data() + k, exponential(load(up + k) + load(down + k) - largest));
    }
    for (std::int64_t k = 0; k < n; ++k) sum += row_[k];
    for (std::int64_t k = 0; k < n; ++k) posterior[j * K_ + k] = row_[k] / sum;
  }
  return marginal;
}

double TreeLikelihood::released_sum(LinkTerms& terms) {
  const PosePeaks& peaks = terms.peaks();
  const auto fold = [](std::int64_t, std::int64_t, const Vector<double>* column, const double* up,
                       std::int64_t n) {
    Vector<double> sum{};
    for (std::int64_t b = 0; b < n; ++b) sum += column[b] + up[b];
    return sum;
  };
  const double* up = recursion_.run(terms, peaks.log_weight.data(), fold);
  double sum = 0.0;
  for (std::int64_t k = 0; k < peaks.count[recursion_.tree.root]; ++k) sum += up[k];
  return sum;
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
