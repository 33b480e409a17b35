#include <algorithm>
#include <optional>

#include "buffer.h"
#include "image_output.h"
#include "kernels.h"
#include "link_gradient.h"
#include "refine.h"
#include "score_backward.h"
#include "softmax_gradient.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

// One image after another, and the memory that a thread keeps for it. S is double, or Dual where
// derivatives along a direction are wanted.
template <class T, class S>
class ImageGradient {
 public:
  ImageGradient(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                const ScoreGradients<T>& to)
      : in_(inputs),
        options_(options),
        to_(to),
        J_(inputs.values.shape[1]),
        L_(inputs.tree ? inputs.tree->num_links() : 0),
        K_(inputs.values.shape[2]),
        peaks_(J_, K_),
        log_tangent_(K_),
        weight_(J_ * K_),
        log_weight_(J_ * K_),
        by_log_weight_(J_ * K_),
        up_(J_ * K_),
        message_(J_ * K_),
        belief_(J_ * K_),
        links_(Buffer<LinkOf<S>>::uninitialized(L_)),
        by_distance_(L_),
        by_log_variance_(L_),
        fixed_links_(L_),
        pick_(J_) {
    if (inputs.tree && options.method == Method::max) {
      terms_.emplace(*inputs.tree, K_);
      refine_.emplace(*inputs.tree, K_);
    }
  }

  void operator()(std::int64_t b) {
    const double grad_entropy = in_.grad_entropy.data ? in_.grad_entropy(b) : 0.0;
    grad_score_ = in_.grad_score.data ? in_.grad_score(b) : 0.0;
    const bool has_params = read_links(b), has_peaks = read_peaks(b);
    if (!has_params || !has_peaks) {
      const double gradient = grad_score_ != 0.0 ? kNaN : 0.0;
      const bool is_asked = grad_score_ != 0.0 || (!has_peaks && grad_entropy != 0.0);
      fill_image(to_.values, b, J_ * K_, is_asked ? kNaN : 0.0);
      fill_image(to_.params, b, L_ * 2, gradient);
      fill_image(to_.score, b, 1, kNaN);
      fill_image(to_.entropy, b, 1, kNaN);
    }
    if (!has_peaks) return;
    std::fill_n(by_log_weight_.data(), J_ * K_, S{});
    const S entropy = add_entropy(grad_entropy);
    if (to_.entropy) to_.entropy[b] = static_cast<T>(asked_of(entropy));
    if (!in_.tree) fill_image(to_.score, b, 1, 0.0);
    if (has_params && in_.tree) {
      std::fill_n(by_distance_.data(), L_, S{});
      std::fill_n(by_log_variance_.data(), L_, S{});
      const S score = add_score();
      if (to_.score) to_.score[b] = static_cast<T>(asked_of(score));
      if (to_.params) write_params(b);
    }
    if (to_.values && (has_params || grad_score_ == 0.0)) write_values(b);
  }

 private:
  std::int32_t count(std::int64_t b, std::int64_t j) const {
    return std::clamp(read<std::int32_t>(in_.count.at(b, j)), 0, static_cast<std::int32_t>(K_));
  }

  // False where they are not finite.
  bool read_links(std::int64_t b) {
    std::uint8_t status = 0;
    for (std::int64_t l = 0; l < L_; ++l) {
      links_[l] = read_link<S, T>(in_.params, in_.params_tangent, b, l, status);
      fixed_links_[l] = {value_of(links_[l].distance), value_of(links_[l].log_variance), 0.0};
    }
    return (status & status::kNonfiniteParams) == 0;
  }

  // False for an image without peaks, whose heatmaps were not finite.
  bool read_peaks(std::int64_t b) {
    for (std::int64_t j = 0; j < J_; ++j) {
      peaks_.count[j] = count(b, j);
      if (peaks_.count[j] == 0) return false;
      const std::int64_t first = j * peaks_.stride;
      for (std::int64_t k = 0; k < peaks_.count[j]; ++k) {
        peaks_.x[first + k] = in_.xy(b, j, k, 0);
        peaks_.y[first + k] = in_.xy(b, j, k, 1);
        peaks_.value[first + k] = in_.values(b, j, k);
      }
      std::fill(peaks_.value.data() + first + peaks_.count[j],
                peaks_.value.data() + first + peaks_.stride, -kInfinity);
    }
    softmax(peaks_.value.data(), peaks_.count.data(), J_, peaks_.stride, options_.temperature,
            peaks_.weight.data(), peaks_.log_weight.data());
    for (std::int64_t j = 0; j < J_; ++j) {
      const double* weight = peaks_.weight.data() + j * peaks_.stride;
      const double* log_weight = peaks_.log_weight.data() + j * peaks_.stride;
      const auto value_tangent = [&](std::int64_t k) {
        return in_.values_tangent.data ? in_.values_tangent(b, j, k) : 0.0;
      };
      log_weight_tangents(weight, peaks_.count[j], options_.temperature, value_tangent,
                          log_tangent_.data());
      for (std::int64_t k = 0; k < peaks_.count[j]; ++k) {
        weight_[j * K_ + k] = moving_weight<S>(weight[k], log_tangent_[k]);
        log_weight_[j * K_ + k] = moving<S>(log_weight[k], log_tangent_[k]);
      }
    }
    return true;
  }

  // Adds the gradient of grad * entropy_sum, and returns the latter.
  S add_entropy(double grad) {
    S sum{};
    for (std::int64_t j = 0; j < J_; ++j) {
      for (std::int64_t i = j * K_; i < j * K_ + peaks_.count[j]; ++i) {
        if (value_of(weight_[i]) == 0.0) continue;
        sum -= weight_[i] * log_weight_[i];
        if (grad != 0.0) {
          by_log_weight_[i] -= grad * entropy_by_log_weight(weight_[i], log_weight_[i]);
        }
      }
    }
    return sum;
  }

  // Adds the gradient of grad_score * score, and returns the score.
  S add_score() {
    switch (options_.method) {
      case Method::expected:
        return add_expected();
      case Method::marginal:
        return add_marginal();
      case Method::max:
        return add_max();
      case Method::sum:
        return add_sum();
    }
    return {};
  }

  // Calls visit(a, b, term) for each peak a of link l's parent and b of its child; a and b count
  // the slots of all joints.
  template <class Visit>
  void for_each_pair(std::int64_t l, const Visit& visit) const {
    const std::int64_t child = in_.tree->child[l], parent = in_.tree->parent[child];
    for (std::int64_t a = 0; a < peaks_.count[parent]; ++a) {
      for (std::int64_t b = 0; b < peaks_.count[child]; ++b) {
        visit(parent * K_ + a, child * K_ + b, term(l, a, b));
      }
    }
  }

  LinkTerm<S> term(std::int64_t l, std::int64_t a, std::int64_t b) const {
    const std::int64_t child = in_.tree->child[l];
    const std::int64_t from = in_.tree->parent[child] * peaks_.stride + a;
    const std::int64_t to = child * peaks_.stride + b;
    const double dx = peaks_.x[to] - peaks_.x[from], dy = peaks_.y[to] - peaks_.y[from];
    return link_term(S{square_root(dx * dx + dy * dy)}, links_[l]);
  }

  // Adds the gradient of share * ell(a, b).
  void add_term(std::int64_t l, const S& share, const LinkTerm<S>& term) {
    by_distance_[l] += grad_score_ * (share * term.by_distance);
    by_log_variance_[l] += grad_score_ * (share * term.by_log_variance);
  }
  void add_log_weight(std::int64_t slot, const S& share) {
    by_log_weight_[slot] += grad_score_ * share;
  }

  S add_expected() {
    S total{};
    for (std::int64_t l = 0; l < L_; ++l) {
      for_each_pair(l, [&](std::int64_t a, std::int64_t b, const LinkTerm<S>& term) {
        const S share = weight_[a] * weight_[b], part = share * term.value;
        total += part;
        add_log_weight(a, part);
        add_log_weight(b, part);
        add_term(l, share, term);
      });
    }
    return total;
  }

  // The shares of the poses through each peak and each pair of them, by messages up and down.
  S add_marginal() {
    const Tree& tree = *in_.tree;
    for (const std::int32_t j : tree.leaves_first) {
      const std::int64_t n = peaks_.count[j];
      for (std::int64_t k = 0; k < n; ++k) {
        S up = log_weight_[j * K_ + k];
        for (const std::int32_t child : tree.children[j]) up += message_[child * K_ + k];
        up_[j * K_ + k] = up;
      }
      const std::int32_t parent = tree.parent[j];
      if (parent < 0) break;
      for (std::int64_t a = 0; a < peaks_.count[parent]; ++a) {
        message_[j * K_ + a] = log_sum_exp(
            n, [&](std::int64_t b) { return term(tree.link[j], a, b).value + up_[j * K_ + b]; });
      }
    }
    const std::int64_t root = tree.root * K_;
    const S marginal =
        log_sum_exp(peaks_.count[tree.root], [&](std::int64_t k) { return up_[root + k]; });
    std::fill_n(belief_.data(), J_ * K_, S{});
    for (std::int64_t k = 0; k < peaks_.count[tree.root]; ++k) {
      belief_[root + k] = exponential(up_[root + k] - marginal);
    }
    for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
      const std::int64_t l = tree.link[*joint];
      if (l >= 0) {
        const std::int64_t parent = tree.parent[*joint] * K_;
        for_each_pair(l, [&](std::int64_t a, std::int64_t b, const LinkTerm<S>& term) {
          const S& message = message_[*joint * K_ + (a - parent)];
          const S share = pair_share(belief_[a], term, up_[b], message);
          belief_[b] += share;
          add_term(l, share, term);
        });
      }
      for (std::int64_t k = 0; k < peaks_.count[*joint]; ++k) {
        add_log_weight(*joint * K_ + k, belief_[*joint * K_ + k]);
      }
    }
    return marginal;
  }

  S add_max() {
    set_precisions(fixed_links_.data(), L_);
    terms_->set(peaks_, fixed_links_.data());
    (*refine_)(*terms_, Objective::map, pick_.data());
    S total{};
    for (std::int64_t j = 0; j < J_; ++j) {
      total += log_weight_[j * K_ + pick_[j]];
      add_log_weight(j * K_ + pick_[j], 1.0);
    }
    for (std::int64_t l = 0; l < L_; ++l) {
      const std::int64_t child = in_.tree->child[l];
      const LinkTerm<S> best = term(l, pick_[in_.tree->parent[child]], pick_[child]);
      total += best.value;
      add_term(l, 1.0, best);
    }
    return total;
  }

  // The released recursion counts a joint's terms once for each choice of peaks on the way from the
  // root to its parent.
  S add_sum() {
    const Tree& tree = *in_.tree;
    S total{};
    for (auto joint = tree.leaves_first.rbegin(); joint != tree.leaves_first.rend(); ++joint) {
      const std::int64_t j = *joint, parent = tree.parent[j], l = tree.link[j];
      // The times that each of its peaks is counted, which up_ holds.
      const S times = parent < 0 ? S{1.0} : up_[parent * K_] * double(peaks_.count[parent]);
      up_[j * K_] = times;
      for (std::int64_t k = 0; k < peaks_.count[j]; ++k) {
        total += times * log_weight_[j * K_ + k];
        add_log_weight(j * K_ + k, times);
      }
      if (l < 0) continue;
      for_each_pair(l, [&](std::int64_t, std::int64_t, const LinkTerm<S>& term) {
        total += up_[parent * K_] * term.value;
        add_term(l, up_[parent * K_], term);
      });
    }
    return total;
  }

  void write_values(std::int64_t b) {
    for (std::int64_t j = 0; j < J_; ++j) {
      const std::int64_t n = peaks_.count[j];
      S* gradient = by_log_weight_.data() + j * K_;
      pull_back_log_weights(weight_.data() + j * K_, n, options_.temperature, gradient);
      T* values = to_.values + (b * J_ + j) * K_;
      for (std::int64_t k = 0; k < n; ++k) values[k] = static_cast<T>(asked_of(gradient[k]));
      std::fill(values + n, values + K_, T{0});
    }
  }

  void write_params(std::int64_t b) {
    for (std::int64_t l = 0; l < L_; ++l) {
      write_link_gradient(links_[l], by_distance_[l], by_log_variance_[l],
                          to_.params + (b * L_ + l) * 2);
    }
  }

  const ScoreBackwardInputs& in_;
  const ScoreOptions& options_;
  const ScoreGradients<T>& to_;
  const std::int64_t J_, L_, K_;
  double grad_score_ = 0.0;
  PosePeaks peaks_;
  Buffer<double> log_tangent_;               // (K)
  Buffer<S> weight_, log_weight_;            // (J, K)
  Buffer<S> by_log_weight_;                  // (J, K): the gradient, before the softmax
  Buffer<S> up_, message_, belief_;          // (J, K)
  Buffer<LinkOf<S>> links_;                  // (L)
  Buffer<S> by_distance_, by_log_variance_;  // (L): the gradient
  Buffer<Link> fixed_links_;                 // (L)
  std::optional<LinkTerms> terms_;           // these two for max
  std::optional<Refine> refine_;
  Buffer<std::int32_t> pick_;
};

}  // namespace

template <class T>
void score_backward(const ScoreBackwardInputs& inputs, const ScoreOptions& options,
                    const ScoreGradients<T>& to, Range images) {
  with_number(inputs.has_tangents(), [&]<class S>(S) {
    ImageGradient<T, S> image(inputs, options, to);
    for (std::int64_t b = images.begin; b < images.end; ++b) image(b);
  });
}

template void score_backward(const ScoreBackwardInputs&, const ScoreOptions&,
                             const ScoreGradients<float>&, Range);
template void score_backward(const ScoreBackwardInputs&, const ScoreOptions&,
                             const ScoreGradients<double>&, Range);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
