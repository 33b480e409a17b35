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
      stride_(whole_vectors<double>(K)),
      can_count_(can_count_poses(tree.num_joints(), K)),
      row_(stride_) {}

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

double TreeLikelihood::marginal(LinkTerms& terms) { return collect(terms); }

// The messages are those of the best pose, and beside each stands what all poses below come to,
// relative to that one. So no logarithm lies on the way from the leaves to the root, and there are
// three loops over all links of which only the first and the last have steps that wait for each
// other, and these are short. Where the number of poses is too large, each joint is finished before
// the next one, and what its poses come to goes into the message.
double TreeLikelihood::collect(LinkTerms& terms) {
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  const std::int64_t J = tree.num_joints(), step = can_count_ ? J : 1;
  if (best_.size() == 0) {  // the expected score needs none of it
    for (Buffer<double>* each : {&best_, &sum_, &inverse_sum_, &total_, &belief_}) {
      *each = Buffer<double>(J * stride_);
    }
    share_ = Buffer<double>(stride_);
    const std::int64_t columns = terms.are_kept() ? tree.num_links() * terms.vectors() : 1;
    ratios_ = Buffer<Vector<double>>::uninitialized(columns * K_);
  }
  for (std::int64_t begin = 0; begin < J; begin += step) {
    const std::int64_t end = begin + step;
    find_best(terms, begin, end);
    for (std::int64_t i = begin; i < end && terms.are_kept(); ++i) {
      const std::int64_t j = tree.leaves_first[i];
      if (j == tree.root) break;
      for (std::int64_t a = 0; a < peaks.count[tree.parent[j]]; a += kLanes<double>) {
        compute_ratios(terms, j, a, ratios_.data() + terms.first_of_column(tree.link[j], a));
      }
    }
    for (std::int64_t i = begin; i < end; ++i) add_up(terms, tree.leaves_first[i]);
  }
  const double* up = recursion_.up(tree.root);
  const std::int64_t n = peaks.count[tree.root], root = tree.root * stride_;
  const double best = up[first_largest(up, n)];
  for (std::int64_t k = 0; k < n; k += kLanes<double>) {
    store(belief_.data() + root + k,
          exponential(load(up + k) - best) * load(total_.data() + root + k));
  }
  double sum = 0.0;
  for (std::int64_t k = 0; k < n; ++k) sum += belief_[root + k];
  for (std::int64_t k = 0; k < n; k += kLanes<double>) {
    store(belief_.data() + root + k, load(belief_.data() + root + k) / sum);
  }
  return best + logarithm_of_normal(sum);
}

// Sends the messages of some joints, of leaves_first.
void TreeLikelihood::find_best(LinkTerms& terms, std::int64_t begin, std::int64_t end) {
  const auto fold = [&](std::int64_t j, std::int64_t a, const Vector<double>* column,
                        const double* up, std::int64_t n) {
    Vector<double> best = column[0] + up[0];
    for (std::int64_t b = 1; b < n; ++b) best = maximum<double>(best, column[b] + up[b]);
    store(best_.data() + j * stride_ + a, best);
    return best;
  };
  recursion_.run(terms, terms.peaks().log_weight.data(), begin, end, fold);
}

[[gnu::always_inline]] inline void TreeLikelihood::compute_ratios(LinkTerms& terms, std::int64_t j,
                                                                  std::int64_t a,
                                                                  Vector<double>* ratio) {
  const std::int64_t n = terms.peaks().count[j];
  if (n == 1) {
    ratio[0] = broadcast(1.0);
    return;
  }
  const Vector<double>* column = terms.column(recursion_.tree.link[j], a);
  const double* up = recursion_.up(j);
  const Vector<double> best = load(best_.data() + j * stride_ + a);
  for (std::int64_t b = 0; b < n; ++b) ratio[b] = exponential(column[b] + up[b] - best);
}

inline const Vector<double>* TreeLikelihood::ratios(LinkTerms& terms, std::int64_t j,
                                                    std::int64_t a) {
  if (terms.are_kept()) {
    return ratios_.data() + terms.first_of_column(recursion_.tree.link[j], a);
  }
  compute_ratios(terms, j, a, ratios_.data());
  return ratios_.data();
}

// The total of each of a joint's peaks, and the sums for each of its parent's.
void TreeLikelihood::add_up(LinkTerms& terms, std::int64_t j) {
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  const std::int64_t n = peaks.count[j];
  double* const total = total_.data() + j * stride_;
  for (std::int64_t k = 0; k < n; k += kLanes<double>) {
    Vector<double> product = broadcast(1.0);
    if (can_count_) {
      for (const std::int32_t child : tree.children[j]) {
        product *= load(sum_.data() + child * stride_ + k);
      }
    }
    store(total + k, product);
  }
  if (j == tree.root) return;
  for (std::int64_t a = 0; a < peaks.count[tree.parent[j]]; a += kLanes<double>) {
    const Vector<double>* ratio = ratios(terms, j, a);
    Vector<double> sum{};
    for (std::int64_t b = 0; b < n; ++b) sum += ratio[b] * total[b];
    store(sum_.data() + j * stride_ + a, sum);
    store(inverse_sum_.data() + j * stride_ + a, 1.0 / sum);
    if (!can_count_) {
      double* const message = recursion_.message(j) + a;
      store(message, load(message) + logarithm_of_normal(sum));
    }
  }
}

double TreeLikelihood::posterior(LinkTerms& terms, double* posterior) {
  const PosePeaks& peaks = terms.peaks();
  const Tree& tree = recursion_.tree;
  const double marginal = collect(terms);
  for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
    const std::int64_t j = *joint, n = peaks.count[j];
    double* const belief = belief_.data() + j * stride_;
    if (n == 1) {
      belief[0] = 1.0;
    } else if (j != tree.root) {
      pass_down(terms, j);
    }
    std::copy_n(belief, n, posterior + j * K_);
  }
  return marginal;
}

// p_j(b) = sum_a p_parent(a) p(b | a).
void TreeLikelihood::pass_down(LinkTerms& terms, std::int64_t j) {
  const PosePeaks& peaks = terms.peaks();
  const std::int64_t parent = recursion_.tree.parent[j], n = peaks.count[j];
  const std::int64_t num_parents = peaks.count[parent];
  const double* const total = total_.data() + j * stride_;
  double* const belief = belief_.data() + j * stride_;
  for (std::int64_t b = 0; b < n; b += kLanes<double>) store(belief + b, Vector<double>{});
  for (std::int64_t a = 0; a < num_parents; a += kLanes<double>) {
    const Vector<double>* ratio = ratios(terms, j, a);
    store(share_.data(), load(belief_.data() + parent * stride_ + a) *
                             load(inverse_sum_.data() + j * stride_ + a));
    const std::int64_t lanes = std::min<std::int64_t>(num_parents - a, kLanes<double>);
    for (std::int64_t b = 0; b < n; b += kLanes<double>) {
      Vector<double> block[kLanes<double>];
      for (std::int64_t i = 0; i < kLanes<double>; ++i) {
        block[i] = b + i < n ? ratio[b + i] : Vector<double>{};
      }
      transpose<double>(block);
      const Vector<double> of_joint = load(total + b);
      Vector<double> sum = load(belief + b);
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        sum += block[lane] * of_joint * share_[lane];
      }
      store(belief + b, sum);
    }
  }
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
