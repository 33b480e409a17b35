// Softmax weights of rows of values by a block, and their gradient; contract: weights.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "array.h"
#include "block_cuda.h"
#include "dual.h"
#include "host_device.h"
#include "image_output.h"
#include "pass_cuda.h"
#include "places.h"
#include "pose_math.h"
#include "softmax_cuda.h"
#include "softmax_gradient.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// What a block keeps of n rows of K values.
template <class S>
struct WeightsLayout {
  std::int64_t count;        // (n) of int32: so many values the softmax is over
  std::int64_t is_valid;     // (n) of bool
  std::int64_t of_row;       // (n) of S
  std::int64_t weight;       // (n, K) of double: the values, and then their weights
  std::int64_t log_tangent;  // (n, K) of double: of log weight; for duals
  std::int64_t gradient;     // (n, K) of S; for a backward pass

  WeightsLayout() = default;
  WeightsLayout(Places& places, std::int64_t n, std::int64_t K, bool is_along, bool is_backward)
      : count(places.take<std::int32_t>(n)),
        is_valid(places.take<bool>(n)),
        of_row(places.take<S>(n)),
        weight(places.take<double>(n * K)),
        log_tangent(places.take<double>(is_along ? n * K : 0)),
        gradient(places.take<S>(is_backward ? n * K : 0)) {}
};

template <class T, class S>
struct WeightsArguments {
  View<3> values;
  View<2> count;
  double temperature;
  T* weights;
  // Those of a backward pass, which has no weights.
  View<3> grad, tangent;
  T *grad_values, *weights_tangent;
  WeightsLayout<S> layout;
  Work work;  // the rows: b * J + j
};

// What both passes begin with.
template <class Block, class T, class S>
class WeightRows {
 public:
  using Arguments = WeightsArguments<T, S>;

  VL4POSE_DEVICE WeightRows(const Block& block, const Arguments& arguments, std::byte* memory)
      : block_(block), in_(arguments), memory_(memory) {}

 protected:
  VL4POSE_DEVICE int K() const { return static_cast<int>(in_.values.shape[2]); }

  VL4POSE_DEVICE auto* count() const { return array_at<std::int32_t>(memory_, in_.layout.count); }
  VL4POSE_DEVICE auto* is_valid() const { return array_at<bool>(memory_, in_.layout.is_valid); }
  template <class N>
  VL4POSE_DEVICE N* of_row() const {
    return array_at<N>(memory_, in_.layout.of_row);
  }
  VL4POSE_DEVICE auto* weight() const { return array_at<double>(memory_, in_.layout.weight); }

  VL4POSE_DEVICE SoftmaxRows<Block> rows(int n) const { return {block_, count(), n, K()}; }

  // Calls work(row, b, j) for each of n rows.
  template <class Work>
  VL4POSE_DEVICE void for_each_row(std::int64_t first, int n, const Work& work) const {
    const std::int64_t J = in_.values.shape[1];
    for_each(block_, n, [&](int row) { work(row, (first + row) / J, (first + row) % J); });
  }
  // Calls work(slot, b, j, k) for each of their slots.
  template <class Work>
  VL4POSE_DEVICE void for_each_slot(std::int64_t first, int n, const Work& work) const {
    const std::int64_t J = in_.values.shape[1];
    for_each(block_, n * K(), [&](int slot) {
      const std::int64_t row = first + slot / K();
      work(slot, row / J, row % J, slot % K());
    });
  }

  // Without a count every value but -inf is used: that has weight 0, which leaves sums as they are.
  VL4POSE_DEVICE void set_weights(std::int64_t first, int n) const {
    for_each_slot(first, n, [&](int slot, std::int64_t b, std::int64_t j, int k) {
      weight()[slot] = in_.values(b, j, k);
    });
    for_each_row(first, n, [&](int row, std::int64_t b, std::int64_t j) {
      bool is_valid = true, has_some = false;
      for (int k = 0; k < K(); ++k) {
        const double value = weight()[row * K() + k];
        is_valid = is_valid && value < kInfinity;
        has_some = has_some || value != -kInfinity;
      }
      int num_used = has_some ? K() : 0;
      if (in_.count.data) {
        num_used = std::max(0, std::min(K(), read<std::int32_t>(in_.count.at(b, j))));
      }
      count()[row] = is_valid ? num_used : 0;
      this->is_valid()[row] = is_valid;
    });
    rows(n).softmax(weight(), in_.temperature, weight(), nullptr, of_row<double>());
  }

  const Block& block_;
  const Arguments& in_;
  std::byte* const memory_;
};

template <class Block, class T>
class PeakWeights : WeightRows<Block, T, double> {
  using Rows = WeightRows<Block, T, double>;

 public:
  using Rows::Rows;
  using typename Rows::Arguments;

  VL4POSE_DEVICE void operator()(std::int64_t first, int n) const {
    this->set_weights(first, n);
    const int K = this->K();
    for_each(this->block_, n * K, [&](int slot) {
      const int row = slot / K;
      const bool is_used = slot - row * K < this->count()[row];
      const double value = is_used ? this->weight()[slot] : this->is_valid()[row] ? 0.0 : kNaN;
      this->in_.weights[first * K + slot] = static_cast<T>(value);
    });
  }
};

template <class Block, class T, class S>
class PeakWeightsBackward : WeightRows<Block, T, S> {
  using Rows = WeightRows<Block, T, S>;
  using Rows::block_;
  using Rows::count;
  using Rows::in_;
  using Rows::K;
  using Rows::rows;
  using Rows::weight;

 public:
  using Rows::Rows;
  using typename Rows::Arguments;

  VL4POSE_DEVICE void operator()(std::int64_t first, int n) const {
    this->set_weights(first, n);
    if (in_.tangent.data) {
      this->for_each_slot(first, n, [&](int slot, std::int64_t b, std::int64_t j, int k) {
        log_tangent()[slot] = is_used(slot, b, j, k) ? in_.tangent(b, j, k) : 0.0;
      });
      rows(n).set_log_weight_tangents(weight(), in_.temperature, log_tangent(),
                                      this->template of_row<double>());
    }
    this->for_each_slot(first, n, [&](int slot, std::int64_t b, std::int64_t j, int k) {
      gradient()[slot] = is_used(slot, b, j, k) ? in_.grad(b, j, k) * weight_along(slot) : S{};
    });
    rows(n).pull_back([&](int slot) { return weight_along(slot); }, in_.temperature, gradient(),
                      this->template of_row<S>());
    // What a row has in its unused slots, and all of one that is not valid.
    double* const gradient_of_unused = this->template of_row<double>();
    this->for_each_row(first, n, [&](int row, std::int64_t b, std::int64_t j) {
      gradient_of_unused[row] = this->is_valid()[row] ? 0.0 : gradient_of_nan(in_.grad[b][j]);
    });
    this->for_each_slot(first, n, [&](int slot, std::int64_t b, std::int64_t j, int k) {
      const int row = slot / K();
      double by_value = gradient_of_unused[row], along = this->is_valid()[row] ? 0.0 : kNaN;
      if (is_used(slot, b, j, k)) {
        by_value = asked_of(gradient()[slot]);
        along = asked_of(weight_along(slot));
      }
      const std::int64_t to = first * K() + slot;
      if (in_.grad_values) in_.grad_values[to] = static_cast<T>(by_value);
      if (in_.weights_tangent) in_.weights_tangent[to] = static_cast<T>(along);
    });
  }

 private:
  VL4POSE_DEVICE auto* log_tangent() const {
    return array_at<double>(this->memory_, in_.layout.log_tangent);
  }
  VL4POSE_DEVICE auto* gradient() const { return array_at<S>(this->memory_, in_.layout.gradient); }

  VL4POSE_DEVICE bool is_used(int slot, std::int64_t b, std::int64_t j, int k) const {
    return k < count()[slot / K()] && (in_.count.data || in_.values(b, j, k) != -kInfinity);
  }
  VL4POSE_DEVICE S weight_along(int slot) const {
    return moving_weight<S>(weight()[slot], in_.tangent.data ? log_tangent()[slot] : 0.0);
  }
};

#if !defined(__CUDACC_RTC__)  // the host's part

template <class T, class S>
WeightsArguments<T, S> weights_arguments(const View<3>& values, const View<2>& count,
                                         double temperature, Range rows, bool is_along,
                                         bool is_backward) {
  const std::int64_t K = values.shape[2];
  check_slots(1, K);
  constexpr int kSlotsOfThread = 4;
  WeightsArguments<T, S> arguments{};
  arguments.values = values;
  arguments.count = count;
  arguments.temperature = temperature;
  arguments.work.items = rows;
  arguments.work.at_once = items_at_once(K, kSlotsOfThread);
  Places places;
  arguments.layout = {places, arguments.work.at_once, K, is_along, is_backward};
  arguments.work.bytes = places.end();
  return arguments;
}

template <class T, class Launcher>
void launch_peak_weights(const Launcher& launcher, const View<3>& values, const View<2>& count,
                         double temperature, T* weights, Range rows) {
  auto arguments = weights_arguments<T, double>(values, count, temperature, rows, false, false);
  arguments.weights = weights;
  launcher.template run<PeakWeights<typename Launcher::Block, T>>(arguments);
}

template <class T, class Launcher>
void launch_peak_weights_backward(const Launcher& launcher, const View<3>& grad,
                                  const View<3>& values, const View<2>& count, double temperature,
                                  const View<3>& tangent, T* grad_values, T* weights_tangent,
                                  Range rows) {
  const bool is_along = tangent.data;
  with_number(is_along, [&]<class S>(S) {
    auto arguments = weights_arguments<T, S>(values, count, temperature, rows, is_along, true);
    arguments.grad = grad;
    arguments.tangent = tangent;
    arguments.grad_values = grad_values;
    arguments.weights_tangent = weights_tangent;
    launcher.template run<PeakWeightsBackward<typename Launcher::Block, T, S>>(arguments);
  });
}

#endif

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
