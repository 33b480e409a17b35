#include <algorithm>
#include <optional>

#include "buffer.h"
#include "decode.h"
#include "image_output.h"
#include "kernels.h"
#include "local_maxima.h"
#include "map.h"
#include "refine.h"
#include "tree_likelihood.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

// Everything of one image, and the scratch memory that one thread keeps from image to image.
template <class Stored>
class ImagePass {
 public:
  using T = Wide<Stored>;

  ImagePass(const ScoreInputs& inputs, const ScoreOptions& options, const ScoreOutputs<T>& outputs)
      : in_(inputs),
        options_(options),
        out_(outputs),
        J_(inputs.heatmaps.shape[1]),
        L_(inputs.tree ? inputs.tree->num_links() : 0),
        K_(options.peaks.num_peaks),
        wants_log_weights_(outputs.entropy || outputs.entropy_sum || outputs.posterior ||
                           outputs.wants_refined() || options.method != Method::expected),
        map_(inputs.heatmaps),
        prefetch_(inputs.heatmaps),
        local_maxima_(options.peaks, inputs.heatmaps.shape[2], inputs.heatmaps.shape[3], prefetch_,
                      outputs.wants_peaks()),
        found_(K_),
        peaks_(J_, K_),
        links_(L_),
        per_link_(L_),
        posterior_(outputs.posterior ? J_ * K_ : 0),
        pick_(J_) {
    if (!outputs.wants_pose()) return;
    const bool scores_best_pose = outputs.score && options.method == Method::max;
    terms_.emplace(*inputs.tree, K_);
    if (outputs.score || outputs.per_link || outputs.posterior) {
      likelihood_.emplace(*inputs.tree, K_);
    }
    if (outputs.wants_refined() || scores_best_pose) refine_.emplace(*inputs.tree, K_);
  }

  void operator()(std::int64_t b) {
    status_ = 0;
    for (std::int64_t j = 0; j < J_ && !(status_ & status::kNonfiniteHeatmap); ++j) read_map(b, j);
    prefetch_.start(b + 1, 0);  // all of which was asked for
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
  // Of the next image's second map, in each step after the peaks.
  static constexpr std::int64_t kLinesOfStep = 16;

  void read_map(std::int64_t b, std::int64_t j) {
    const Map<Stored> map = map_(b, j);
    prefetch_.start(b, j);
    if (!local_maxima_.scan(map)) {
      status_ = status::kNonfiniteHeatmap;  // whatever the maps before it were like
      return;
    }
    if (out_.wants_peaks()) find_peaks(b, j);
    if (out_.wants_maximum()) write_maximum(b, j, map);
    prefetch_.rest();
  }

  void write_maximum(std::int64_t b, std::int64_t j, const Map<Stored>& map) {
    // Of the peaks, where none is excluded, the highest is the map's first maximum.
    const bool is_found = out_.wants_peaks() && options_.peaks.exclude_border == 0;
    const Peak<T> maximum = is_found ? found_[0] : local_maxima_.first_maximum();
    if (out_.keypoints) write_keypoint(out_.keypoints, b, j, map, maximum.x, maximum.y);
    if (out_.confidence) out_.confidence[b * J_ + j] = maximum.value;
  }

  void write_keypoint(T* keypoints, std::int64_t b, std::int64_t j, const Map<Stored>& map,
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
    const std::int64_t first = j * peaks_.stride;
    for (std::int64_t k = 0; k < count; ++k) {
      peaks_.x[first + k] = found_[k].x;
      peaks_.y[first + k] = found_[k].y;
      peaks_.value[first + k] = found_[k].value;
    }
    std::fill_n(peaks_.value.data() + first + count, peaks_.stride - count, -kInfinity);
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
    set_precisions(links_.data(), L_);
  }

  void write_weights(std::int64_t b) {
    prefetch_.lines(kLinesOfStep);
    softmax(peaks_.value.data(), peaks_.count.data(), J_, peaks_.stride, options_.temperature,
            peaks_.weight.data(), wants_log_weights_ ? peaks_.log_weight.data() : nullptr);
    if (!out_.entropy && !out_.entropy_sum) return;
    double sum = 0.0;
    for (std::int64_t j = 0; j < J_; ++j) {
      const double of_joint = entropy(peaks_, j);
      if (out_.entropy) out_.entropy[b * J_ + j] = static_cast<T>(of_joint);
      sum += of_joint;
    }
    if (out_.entropy_sum) out_.entropy_sum[b] = static_cast<T>(sum);
  }

  void write_pose(std::int64_t b) {
    prefetch_.lines(kLinesOfStep);
    terms_->set(peaks_, links_.data());
    prefetch_.lines(kLinesOfStep);
    const Method method = options_.method;
    double score = kNaN, marginal = kNaN;
    if (out_.per_link || (out_.score && method == Method::expected)) {
      score = likelihood_->expected(*terms_, per_link_.data());
      if (out_.per_link) std::copy_n(per_link_.data(), L_, out_.per_link + b * L_);
    }
    if (out_.posterior) {
      prefetch_.lines(kLinesOfStep);
      std::fill_n(posterior_.data(), J_ * K_, 0.0);
      marginal = likelihood_->posterior(*terms_, posterior_.data());
      std::copy_n(posterior_.data(), J_ * K_, out_.posterior + b * J_ * K_);
    } else if (out_.score && method == Method::marginal) {
      marginal = likelihood_->marginal(*terms_);
    }
    if (method == Method::marginal) score = marginal;
    if (out_.score && method == Method::sum) score = likelihood_->released_sum(*terms_);
    const bool scores_best_pose = out_.score && method == Method::max;
    if (scores_best_pose) score = (*refine_)(*terms_, Objective::map, pick_.data());
    if (out_.wants_refined()) {
      const bool is_known = scores_best_pose && options_.objective == Objective::map;
      write_refined(b, is_known ? score : (*refine_)(*terms_, options_.objective, pick_.data()));
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
        const std::int64_t slot = j * peaks_.stride + pick_[j];
        const Map<Stored> map = options_.subpixel == Subpixel::none ? Map<Stored>{}
                                                                    // not looked at
                                                                    : map_(b, j);
        write_keypoint(out_.refined_keypoints, b, j, map, static_cast<std::int64_t>(peaks_.x[slot]),
                       static_cast<std::int64_t>(peaks_.y[slot]));
      }
    }
  }

  void poison_image(std::int64_t b) {
    fill_image(out_.xy, b, J_ * K_ * 2, -1);
    fill_image(out_.values, b, J_ * K_, kNaN);
    fill_image(out_.count, b, J_, 0);
    fill_image(out_.entropy, b, J_, kNaN);
    fill_image(out_.entropy_sum, b, 1, kNaN);
    fill_image(out_.keypoints, b, J_ * 2, kNaN);
    fill_image(out_.confidence, b, J_, kNaN);
    poison_pose(b);
  }

  void poison_pose(std::int64_t b) {
    fill_image(out_.score, b, 1, kNaN);
    fill_image(out_.per_link, b, L_, kNaN);
    fill_image(out_.posterior, b, J_ * K_, kNaN);
    fill_image(out_.refined_keypoints, b, J_ * 2, kNaN);
    fill_image(out_.peak_index, b, J_, -1);
    fill_image(out_.changed, b, J_, 0);
    fill_image(out_.log_prob, b, 1, kNaN);
  }

  const ScoreInputs& in_;
  const ScoreOptions& options_;
  const ScoreOutputs<T>& out_;
  const std::int64_t J_, L_, K_;
  const bool wants_log_weights_;
  std::uint8_t status_ = 0;
  MapReader<Stored> map_;
  Prefetch prefetch_;
  LocalMaxima<Stored> local_maxima_;
  Buffer<Peak<T>> found_;  // (K): of one map
  PosePeaks peaks_;
  std::optional<LinkTerms> terms_;  // these three where they are asked for
  std::optional<TreeLikelihood> likelihood_;
  std::optional<Refine> refine_;
  Buffer<Link> links_;
  Buffer<double> per_link_, posterior_;
  Buffer<std::int32_t> pick_;
};

template <class Stored>
void score_stored(const ScoreInputs& inputs, const ScoreOptions& options,
                  const ScoreOutputs<Wide<Stored>>& outputs, Range images) {
  ImagePass<Stored> pass(inputs, options, outputs);
  for (std::int64_t b = images.begin; b < images.end; ++b) pass(b);
}

}  // namespace

template <>
void score(const ScoreInputs& inputs, const ScoreOptions& options,
           const ScoreOutputs<float>& outputs, Range images) {
  const DType dtype = inputs.heatmaps.dtype;
  const auto run = dtype == DType::float16    ? score_stored<Float16>
                   : dtype == DType::bfloat16 ? score_stored<BFloat16>
                                              : score_stored<float>;
  run(inputs, options, outputs, images);
}

template <>
void score(const ScoreInputs& inputs, const ScoreOptions& options,
           const ScoreOutputs<double>& outputs, Range images) {
  score_stored<double>(inputs, options, outputs, images);
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
