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
      belief_(tree.num_joints() * whole_vectors<double>(K)),
      row_(whole_vectors<double>(K)),
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

double TreeLikelihood::marginal(LinkTerms& terms) { return collect(terms, false); }

// The marginal. On the way, for the posterior, keeps the conditional probabilities of each child's
// peaks given its parent's or, where there is no room, what they follow from.
double TreeLikelihood::collect(LinkTerms& terms, bool for_posterior) {
  const bool keeps_conditionals = for_posterior && terms.are_kept();
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  const auto fold = [&](std::int64_t j, std::int64_t a, const Vector<double>* column,
                        const double* up, std::int64_t n) {
    Vector<double>* const term =
        keeps_conditionals ? conditional(terms, tree.link[j], a) : column_.data();
    Vector<double> largest = column[0] + up[0], sum{};
    if (n == 1) {
      if (keeps_conditionals) term[0] = broadcast(1.0);
      return largest;
    }
    for (std::int64_t b = 1; b < n; ++b) largest = maximum<double>(largest, column[b] + up[b]);
    for (std::int64_t b = 0; b < n; ++b) {
      term[b] = exponential(column[b] + up[b] - largest);
      sum += term[b];
    }
    const Vector<double> inverse = 1.0 / sum;
    for (std::int64_t b = 0; b < n && keeps_conditionals; ++b) term[b] *= inverse;
    if (for_posterior && !keeps_conditionals) {
      store(largest_.data() + j * peaks.stride + a, largest);
      store(inverse_.data() + j * peaks.stride + a, inverse);
    }
    return largest + logarithm_of_normal(sum);
  };
  const double* up = recursion_.run(terms, peaks.log_weight.data(), fold);
  const std::int64_t n = peaks.count[tree.root], root = tree.root * peaks.stride;
  softmax(up, &peaks.count[tree.root], 1, peaks.stride, 1.0, belief_.data() + root, row_.data());
  // Of the largest, the logarithm of the share is 0 - log sum exp(up - largest).
  const std::int32_t largest = first_largest(up, n);
  return up[largest] - row_[largest];
}

double TreeLikelihood::posterior(LinkTerms& terms, double* posterior) {
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  if (terms.are_kept() && conditionals_.size() == 0) {
    conditionals_ = Buffer<Vector<double>>::uninitialized(tree.num_links() * terms.vectors() * K_);
  }
  if (!terms.are_kept() && largest_.size() == 0) {
    largest_ = Buffer<double>(belief_.size());
    inverse_ = Buffer<double>(belief_.size());
  }
  const double marginal = collect(terms, true);
  // From the root to the leaves, p_j(b) = sum_a p_parent(a) p(b | a).
  for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
    const std::int64_t j = *joint, n = peaks.count[j];
    double* const belief = belief_.data() + j * peaks.stride;
    if (n == 1) {
      belief[0] = 1.0;
    } else if (tree.parent[j] >= 0) {
      std::fill_n(belief, n, 0.0);
      pass_down(terms, j, belief);
    }
    std::copy_n(belief, n, posterior + j * K_);
  }
  return marginal;
}

void TreeLikelihood::pass_down(LinkTerms& terms, std::int64_t j, double* belief) {
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  const std::int64_t parent = tree.parent[j], n = peaks.count[j], num_parents = peaks.count[parent];
  const double* of_parent = belief_.data() + parent * peaks.stride;
  for (std::int64_t a = 0; a < num_parents; a += kLanes<double>) {
    const Vector<double>* conditional = this->conditional(terms, tree.link[j], a);
    if (!terms.are_kept()) {
      const Vector<double>* column = terms.column(tree.link[j], a);
      // As they would have been kept, bit for bit.
      const Vector<double> largest = load(largest_.data() + j * peaks.stride + a);
      const Vector<double> inverse = load(inverse_.data() + j * peaks.stride + a);
      for (std::int64_t b = 0; b < n; ++b) {
        column_[b] = exponential(column[b] + recursion_.up(j)[b] - largest) * inverse;
      }
    }
    const std::int64_t lanes = std::min<std::int64_t>(num_parents - a, kLanes<double>);
    for (std::int64_t b = 0; b < n; ++b) {
      double sum = belief[b];
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        sum += of_parent[a + lane] * conditional[b][lane];
      }
      belief[b] = sum;
    }
  }
  // Huge terms leave few digits of a message; what they give still sums to one.
  double sum = 0.0;
  for (std::int64_t b = 0; b < n; ++b) sum += belief[b];
  const double inverse = 1.0 / sum;
  for (std::int64_t b = 0; b < n; ++b) belief[b] *= inverse;
}

Vector<double>* TreeLikelihood::conditional(const LinkTerms& terms, std::int64_t l,
                                            std::int64_t a) {
  if (!terms.are_kept()) return column_.data();
  return conditionals_.data() + (l * terms.vectors() + a / kLanes<double>)*K_;
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
