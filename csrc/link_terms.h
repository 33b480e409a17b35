// The log-densities of an image's links between all peaks at their ends.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "pose_peaks.h"
#include "skeleton.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Of few peaks all terms are computed once, for they are asked for several times; of many, a column
// when it is asked for.
class LinkTerms {
 public:
  LinkTerms(const Tree& tree, std::int64_t K)
      : tree_(tree),
        K_(K),
        vectors_(whole_vectors<double>(K) / kLanes<double>),
        is_kept_(tree.num_links() * vectors_ * K <= kMaxKept),
        columns_(Buffer<Vector<double>>::uninitialized(is_kept_ ? tree.num_links() * vectors_ * K
                                                                : K)) {}

  // Takes the next image, whose peaks and links (L) stay where they are.
  void set(const PosePeaks& peaks, const Link* links) {
    peaks_ = &peaks;
    links_ = links;
    if (!is_kept_) return;
    for (std::int64_t l = 0; l < tree_.num_links(); ++l) {
      const std::int64_t num_parents = peaks.count[tree_.parent[tree_.child[l]]];
      for (std::int64_t a = 0; a < num_parents; a += kLanes<double>) compute(l, a, kept(l, a));
    }
  }

  // How many columns one link has, and whether all are kept.
  std::int64_t vectors() const { return vectors_; }
  bool are_kept() const { return is_kept_; }

  // column[b] = ell(a, b) of link l for the vector of the parent's peaks from a, a multiple of
  // kLanes, and each of the child's peaks b; valid until the next call.
  const Vector<double>* column(std::int64_t l, std::int64_t a) {
    if (is_kept_) return kept(l, a);
    compute(l, a, columns_.data());
    return columns_.data();
  }

  const PosePeaks& peaks() const { return *peaks_; }
  const Link& link(std::int64_t l) const { return links_[l]; }

 private:
  static constexpr std::int64_t kMaxKept = 65536 / static_cast<std::int64_t>(kVectorBytes);

  Vector<double>* kept(std::int64_t l, std::int64_t a) {
    return columns_.data() + (l * vectors_ + a / kLanes<double>)*K_;
  }

  void compute(std::int64_t l, std::int64_t a, Vector<double>* column) const {
    const PosePeaks& peaks = *peaks_;
    const std::int64_t child = tree_.child[l], parent = tree_.parent[child] * peaks.stride;
    const Vector<double> x = load(peaks.x.data() + parent + a);
    const Vector<double> y = load(peaks.y.data() + parent + a);
    const double* xs = peaks.x.data() + child * peaks.stride;
    const double* ys = peaks.y.data() + child * peaks.stride;
    for (std::int64_t b = 0; b < peaks.count[child]; ++b) {
      column[b] = link_log_likelihood<Vector<double>>(xs[b] - x, ys[b] - y, links_[l]);
    }
  }

  const Tree& tree_;
  std::int64_t K_, vectors_;
  bool is_kept_;
  Buffer<Vector<double>> columns_;
  const PosePeaks* peaks_ = nullptr;
  const Link* links_ = nullptr;
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
