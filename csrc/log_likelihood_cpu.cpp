#include <algorithm>
#include <numeric>

#include "link_total.h"
#include "log_likelihood.h"

namespace vl4pose {

double entropy(const PosePeaks& peaks, std::int64_t j) {
  double sum = 0.0;
  for (std::int64_t i = j * peaks.K; i < j * peaks.K + peaks.count[j]; ++i) {
    if (peaks.weight[i] > 0.0) sum -= peaks.weight[i] * peaks.log_weight[i];
  }
  return sum;
}

TreeLikelihood::TreeLikelihood(const Tree& tree, std::int64_t K)
    : recursion_(tree, K), down_(tree.num_joints() * K), row_(K), outside_(K) {}

double TreeLikelihood::expected(const PosePeaks& peaks, const Link* links, double* per_link) {
  const Tree& tree = recursion_.tree;
  double total = 0.0;
  for (std::int32_t l = 0; l < tree.num_links(); ++l) {
    const std::int32_t child = tree.child[l], parent = tree.parent[child];
    const double* weight = peaks.weight.data() + child * peaks.K;
    double sum = 0.0;
    for (std::int64_t a = parent * peaks.K; a < parent * peaks.K + peaks.count[parent]; ++a) {
      link_row(peaks, a, child, links[l], row_.data());
      double over_child = 0.0;
      for (std::int32_t b = 0; b < peaks.count[child]; ++b) over_child += weight[b] * row_[b];
      sum += peaks.weight[a] * over_child;
    }
    per_link[l] = sum;
    total += sum;
  }
  return total;
}

double TreeLikelihood::marginal(const PosePeaks& peaks, const Link* links) {
  const auto own = [&](std::int64_t j, std::int64_t k) {
    return peaks.log_weight[j * peaks.K + k];
  };
  const auto fold = [](std::int64_t, std::int64_t, double* row, const double* up, std::int64_t n) {
    for (std::int64_t b = 0; b < n; ++b) row[b] += up[b];
    return log_sum_exp(row, n);
  };
  const double* up = recursion_.run(peaks, links, own, fold);
  return log_sum_exp(up, peaks.count[recursion_.tree.root]);
}

double TreeLikelihood::posterior(const PosePeaks& peaks, const Link* links, double* posterior) {
  const double marginal = this->marginal(peaks, links);
  const Tree& tree = recursion_.tree;
  const std::int64_t K = peaks.K;
  for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
    const std::int64_t j = *joint, parent = tree.parent[j];
    if (parent < 0) {
      std::fill_n(down_.begin() + j * K, peaks.count[j], 0.0);
    } else {
      for (std::int64_t a = 0; a < peaks.count[parent]; ++a) {
        outside_[a] = peaks.log_weight[parent * K + a] + down_[parent * K + a];
        for (const std::int32_t sibling : tree.children[parent]) {
          if (sibling != j) outside_[a] += recursion_.message(sibling)[a];
        }
      }
      for (std::int64_t b = 0; b < peaks.count[j]; ++b) {
        link_row(peaks, j * K + b, parent, links[tree.link[j]], row_.data());
        for (std::int64_t a = 0; a < peaks.count[parent]; ++a) row_[a] += outside_[a];
        down_[j * K + b] = log_sum_exp(row_.data(), peaks.count[parent]);
      }
    }
    // exp(marginal) is the sum of any joint's beliefs. Divided by that sum they sum to one, even
    // where huge terms have left few digits.
    const std::int64_t n = peaks.count[j];
    for (std::int64_t k = 0; k < n; ++k) row_[k] = recursion_.up(j)[k] + down_[j * K + k];
    const double largest = *std::max_element(row_.begin(), row_.begin() + n);
    double sum = 0.0;
    for (std::int64_t k = 0; k < n; ++k) {
      posterior[j * K + k] = std::exp(row_[k] - largest);
      sum += posterior[j * K + k];
    }
    for (std::int64_t k = 0; k < n; ++k) posterior[j * K + k] /= sum;
  }
  return marginal;
}

double TreeLikelihood::released_sum(const PosePeaks& peaks, const Link* links) {
  const auto own = [&](std::int64_t j, std::int64_t k) {
    return peaks.log_weight[j * peaks.K + k];
  };
  const auto fold = [](std::int64_t, std::int64_t, const double* row, const double* up,
                       std::int64_t n) {
    double sum = 0.0;
    for (std::int64_t b = 0; b < n; ++b) sum += row[b] + up[b];
    return sum;
  };
  const double* up = recursion_.run(peaks, links, own, fold);
  return std::accumulate(up, up + peaks.count[recursion_.tree.root], 0.0);
}

template <class T>
void pose_log_likelihood(const View<3>& keypoints, const View<3>& params, const View<2>& visible,
                         const Tree& tree, T* total, T* per_link, int num_threads) {
  const std::int64_t x = 0, y = 1;  // and, of params, the distance and the log-variance
  const auto link = [&](std::int64_t b, std::int64_t l, std::uint8_t& status) {
    return make_link(static_cast<T>(params(b, l, x)), static_cast<T>(params(b, l, y)), status);
  };
  const auto usable = [&](std::int64_t b) {
    std::uint8_t status = 0;
    for (std::int64_t l = 0; l < tree.num_links(); ++l) link(b, l, status);
    return (status & status::kNonfiniteParams) == 0;
  };
  const auto term = [&](std::int64_t b, std::int64_t parent, std::int64_t child, std::int64_t l) {
    std::uint8_t ignored = 0;
    return link_log_likelihood(keypoints(b, child, x) - keypoints(b, parent, x),
                               keypoints(b, child, y) - keypoints(b, parent, y),
                               link(b, l, ignored));
  };
  total_over_links(keypoints.shape[0], tree, visible, usable, term, total, per_link, num_threads);
}

template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  float*, float*, int);
template void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&,
                                  double*, double*, int);

}  // namespace vl4pose
