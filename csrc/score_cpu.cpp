#include <algorithm>
#include <optional>
#include <vector>

#include "log_likelihood.h"
#include "parallel.h"
#include "score.h"
#include "weights.h"

namespace vl4pose {
namespace {

// Everything of one image, and the scratch memory that one thread keeps from image to image.
template <class T>
class ImagePass {
 public:
  ImagePass(const ScoreInputs& inputs, const ScoreOptions& options, const ScoreOutputs<T>& outputs)
      : in_(inputs),
        options_(options),
        out_(outputs),
        J_(inputs.heatmaps.shape[1]),
        L_(inputs.tree ? inputs.tree->num_links() : 0),
        K_(options.peaks.num_peaks),
        local_maxima_(options.peaks, inputs.heatmaps.shape[2], inputs.heatmaps.shape[3]),
        found_(K_),
        peaks_(J_, K_),
        links_(L_),
        per_link_(L_),
        posterior_(outputs.posterior ? J_ * K_ : 0),
        pick_(J_) {
    if (inputs.tree) {
      likelihood_.emplace(*inputs.tree, K_);
      refine_.emplace(*inputs.tree, K_);
    }
  }

  void operator()(std::int64_t b) {
    status_ = 0;
    for (std::int64_t j = 0; j < J_ && !(status_ & status::kNonfiniteHeatmap); ++j) read_map(b, j);
    if (status_ & status::kNonfiniteHeatmap) poison_image(b);
    if (in_.params.data) read_links(b);
    if (!(status_ & status::kNonfiniteHeatmap)) {
      if (out_.wants_weights()) write_weights(b);
      if (out_.wants_pose()) {
        status_& status::kNonfiniteParams ? poison_pose(b) : write_pose(b);
      }
    }
    if (out_.status) out_.status[b] = status_;
  }

 private:
  void read_map(std::int64_t b, std::int64_t j) {
    const Map<T> map = load_map(in_.heatmaps, b, j, scratch_);
    if (!local_maxima_.scan(map)) {
      status_ = status::kNonfiniteHeatmap;  // whatever the maps before it were like
      return;
    }
    if (out_.wants_maximum()) write_maximum(b, j, map);
    if (out_.wants_peaks()) find_peaks(b, j);
  }

  void write_maximum(std::int64_t b, std::int64_t j, const Map<T>& map) {
    const Peak<T> maximum = local_maxima_.first_maximum();
    if (out_.keypoints) write_keypoint(out_.keypoints, b, j, map, maximum.x, maximum.y);
    if (out_.confidence) out_.confidence[b * J_ + j] = maximum.value;
  }

  void write_keypoint(T* keypoints, std::int64_t b, std::int64_t j, const Map<T>& map,
                      std::int64_t x, std::int64_t y) {
    const Offset offset = subpixel_offset(map, x, y, options_.subpixel);
    T* keypoint = keypoints + (b * J_ + j) * 2;
    keypoint[0] = static_cast<T>(static_cast<double>(x) + offset.x);
    keypoint[1] = static_cast<T>(static_cast<double>(y) + offset.y);
  }

  void find_peaks(std::int64_t b, std::int64_t j) {
    std::int64_t count = local_maxima_.find(found_.data());
    if (count == 0) {
      status_ |= status::kPeakFallback;
      found_[0] = local_maxima_.first_maximum();
      count = 1;
    }
    peaks_.count[j] = static_cast<std::int32_t>(count);
    for (std::int64_t k = 0; k < count; ++k) {
      peaks_.x[j * K_ + k] = found_[k].x;
      peaks_.y[j * K_ + k] = found_[k].y;
      peaks_.value[j * K_ + k] = found_[k].value;
    }
    const std::int64_t row = b * J_ + j;
    if (out_.count) out_.count[row] = peaks_.count[j];
    if (out_.xy) {
      T* xy = out_.xy + row * K_ * 2;
      for (std::int64_t k = 0; k < count; ++k) {
        xy[2 * k] = static_cast<T>(found_[k].x);
        xy[2 * k + 1] = static_cast<T>(found_[k].y);
      }
      std::fill(xy + 2 * count, xy + 2 * K_, T{-1});
    }
    if (out_.values) {
      T* values = out_.values + row * K_;
      for (std::int64_t k = 0; k < count; ++k) values[k] = found_[k].value;
      std::fill(values + count, values + K_, static_cast<T>(-kInfinity));
    }
  }

  void read_links(std::int64_t b) {
    for (std::int64_t l = 0; l < L_; ++l) {
      const std::int64_t distance = 0, log_variance = 1;
      links_[l] = make_link(static_cast<T>(in_.params(b, l, distance)),
                            static_cast<T>(in_.params(b, l, log_variance)), status_);
    }
  }

  void write_weights(std::int64_t b) {
    double sum = 0.0;
    for (std::int64_t j = 0; j < J_; ++j) {
      const std::int64_t begin = j * K_, end = begin + peaks_.count[j];
      log_weights(peaks_.value.data() + begin, peaks_.count[j], options_.temperature,
                  peaks_.log_weight.data() + begin);
      for (std::int64_t i = begin; i < end; ++i) {
        peaks_.weight[i] = std::exp(peaks_.log_weight[i]);
      }
      if (out_.entropy || out_.entropy_sum) {
        const double of_joint = entropy(peaks_, j);
        if (out_.entropy) out_.entropy[b * J_ + j] = static_cast<T>(of_joint);
        sum += of_joint;
      }
    }
    if (out_.entropy_sum) out_.entropy_sum[b] = static_cast<T>(sum);
  }

  void write_pose(std::int64_t b) {
    const Link* links = links_.data();
    const Method method = options_.method;
    double score = kNaN, marginal = kNaN;
    if (out_.per_link || (out_.score && method == Method::expected)) {
      score = likelihood_->expected(peaks_, links, per_link_.data());
      if (out_.per_link) std::copy_n(per_link_.begin(), L_, out_.per_link + b * L_);
    }
    if (out_.posterior) {
      std::fill(posterior_.begin(), posterior_.end(), 0.0);
      marginal = likelihood_->posterior(peaks_, links, posterior_.data());
      std::copy_n(posterior_.begin(), J_ * K_, out_.posterior + b * J_ * K_);
    } else if (out_.score && method == Method::marginal) {
      marginal = likelihood_->marginal(peaks_, links);
    }
    if (method == Method::marginal) score = marginal;
    if (out_.score && method == Method::sum) score = likelihood_->released_sum(peaks_, links);
    const bool scores_best_pose = out_.score && method == Method::max;
    if (scores_best_pose) score = (*refine_)(peaks_, links, Objective::map, pick_.data());
    if (out_.wants_refined()) {
      const bool is_known = scores_best_pose && options_.objective == Objective::map;
      write_refined(b,
                    is_known ? score : (*refine_)(peaks_, links, options_.objective, pick_.data()));
    }
    if (out_.score) out_.score[b] = static_cast<T>(score);
  }

  void write_refined(std::int64_t b, double log_prob) {
    if (out_.log_prob) out_.log_prob[b] = static_cast<T>(log_prob);
    for (std::int64_t j = 0; j < J_; ++j) {
      const std::int64_t row = b * J_ + j;
      if (out_.peak_index) out_.peak_index[row] = pick_[j];
      if (out_.changed) out_.changed[row] = pick_[j] != 0;
      if (out_.refined_keypoints) {
        const std::int64_t slot = j * K_ + pick_[j];
        const Map<T> map = options_.subpixel == Subpixel::none
                               ? Map<T>{}  // not looked at
                               : load_map(in_.heatmaps, b, j, scratch_);
        write_keypoint(out_.refined_keypoints, b, j, map, static_cast<std::int64_t>(peaks_.x[slot]),
                       static_cast<std::int64_t>(peaks_.y[slot]));
      }
    }
  }

  template <class U>
  static void fill(U* output, std::int64_t b, std::int64_t per_image, double value) {
    if (output) std::fill_n(output + b * per_image, per_image, static_cast<U>(value));
  }

  void poison_image(std::int64_t b) {
    fill(out_.xy, b, J_ * K_ * 2, -1);
    fill(out_.values, b, J_ * K_, kNaN);
    fill(out_.count, b, J_, 0);
    fill(out_.entropy, b, J_, kNaN);
    fill(out_.entropy_sum, b, 1, kNaN);
    fill(out_.keypoints, b, J_ * 2, kNaN);
    fill(out_.confidence, b, J_, kNaN);
    poison_pose(b);
  }

  void poison_pose(std::int64_t b) {
    fill(out_.score, b, 1, kNaN);
    fill(out_.per_link, b, L_, kNaN);
    fill(out_.posterior, b, J_ * K_, kNaN);
    fill(out_.refined_keypoints, b, J_ * 2, kNaN);
    fill(out_.peak_index, b, J_, -1);
    fill(out_.changed, b, J_, 0);
    fill(out_.log_prob, b, 1, kNaN);
  }

  const ScoreInputs& in_;
  const ScoreOptions& options_;
  const ScoreOutputs<T>& out_;
  const std::int64_t J_, L_, K_;
  std::uint8_t status_ = 0;
  std::vector<T> scratch_;  // (H, W): a map that has to be widened or gathered
  LocalMaxima<T> local_maxima_;
  std::vector<Peak<T>> found_;  // (K): of one map
  PosePeaks peaks_;
  std::optional<TreeLikelihood> likelihood_;  // these two where there is a tree
  std::optional<Refine> refine_;
  std::vector<Link> links_;
  std::vector<double> per_link_, posterior_;
  std::vector<std::int32_t> pick_;
};

}  // namespace

template <class T>
void score(const ScoreInputs& inputs, const ScoreOptions& options, const ScoreOutputs<T>& outputs,
           int num_threads) {
  const auto [B, J, H, W] = inputs.heatmaps.shape;
  if (B == 0) return;
  // Values that a thread should have to be worth its start. In double, for of arrays with strides
  // of 0 the product may be anything.
  const double grain = 262144.0 / (static_cast<double>(J) * static_cast<double>(H * W));
  parallel_for(B, static_cast<std::int64_t>(grain) + 1, num_threads,
               [&](std::int64_t begin, std::int64_t end) {
                 ImagePass<T> pass(inputs, options, outputs);
                 for (std::int64_t b = begin; b < end; ++b) pass(b);
               });
}

template void score(const ScoreInputs&, const ScoreOptions&, const ScoreOutputs<float>&, int);
template void score(const ScoreInputs&, const ScoreOptions&, const ScoreOutputs<double>&, int);

}  // namespace vl4pose
