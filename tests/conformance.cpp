// Runs the core's operations on the cases of a file that golden.py has written, with every CPU
// capability of this machine or those that are named, and compares what they give with what the
// file says: conformance FILE [CAPABILITY...]. No Python is needed where this runs.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu_capability.h"
#include "k_centre.h"
#include "log_likelihood.h"
#include "offset_log_likelihood.h"
#include "score.h"
#include "score_backward.h"
#include "skeleton.h"
#include "weights.h"

static_assert(std::endian::native == std::endian::little, "the file is little-endian");

namespace vl4pose {
namespace {

struct Array {
  DType dtype = DType::float64;
  std::vector<std::int64_t> shape, strides;  // strides in bytes
  std::int64_t offset = 0;                   // where in its memory the first element is
  std::vector<std::byte> memory;             // as much as is needed, so that a sanitizer sees more

  std::int64_t size() const {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  }

  template <int N>
  View<N> view() const {
    if (shape.size() != N) throw std::runtime_error("array of unexpected rank");
    static constexpr std::byte nothing{};  // an array without elements is no null pointer
    View<N> view{memory.empty() ? &nothing : memory.data() + offset, dtype, {}, {}};
    std::copy_n(shape.begin(), N, view.shape.begin());
    std::copy_n(strides.begin(), N, view.strides.begin());
    return view;
  }

  template <class T>
  std::vector<T> vector() const {
    if (dtype != kDType<T>) throw std::runtime_error("array of unexpected dtype");
    std::vector<T> values(size());
    if (!values.empty()) std::memcpy(values.data(), memory.data() + offset, size() * sizeof(T));
    return values;
  }
};

using Arrays = std::map<std::string, Array>;

// Of a contiguous array.
double element(const Array& array, std::int64_t i) {
  const std::byte* address = array.memory.data() + i * size_of(array.dtype);
  if (array.dtype == DType::int32) return read<std::int32_t>(address);
  if (array.dtype == DType::uint8) return read<std::uint8_t>(address);
  return read_floating(address, array.dtype);
}

// Whether they are the same number with the same sign, or both NaN: of that, each processor chooses
// sign and bits of its own.
bool is_same(double found, double expected) {
  if (std::isnan(found) || std::isnan(expected)) return std::isnan(found) && std::isnan(expected);
  return std::bit_cast<std::uint64_t>(found) == std::bit_cast<std::uint64_t>(expected);
}

struct Tolerance {
  double relative = 0.0, absolute = 0.0;
};

bool is_close(double found, double expected, Tolerance allowed) {
  return std::abs(found - expected) <= allowed.absolute + allowed.relative * std::abs(expected);
}

// Cases ------------------------------------------------------------------------------------------

struct Case {
  std::string description, operation;
  Arrays arrays;

  const Array* find(const std::string& name) const {
    const auto found = arrays.find(name);
    return found == arrays.end() ? nullptr : &found->second;
  }
  const Array& at(const std::string& name) const {
    if (const Array* array = find(name)) return *array;
    throw std::runtime_error("case without " + name);
  }
  std::optional<double> number(const std::string& name) const {
    const Array* array = find(name);
    return array ? std::optional(array->vector<double>().at(0)) : std::nullopt;
  }
  Tree tree() const {
    return {at("parents").vector<std::int32_t>(), at("child_of_link").vector<std::int32_t>()};
  }
};

class File {
 public:
  explicit File(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    std::transform(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(),
                   std::back_inserter(bytes_), [](char c) { return static_cast<std::byte>(c); });
    constexpr std::string_view kMagic = "VL4POSE1";
    if (bytes_.size() < kMagic.size() || std::memcmp(take(8), kMagic.data(), 8) != 0) {
      throw std::runtime_error(path + " was not written by golden.py");
    }
  }

  std::vector<Case> cases() {
    std::vector<Case> cases;
    while (at_ < bytes_.size()) {
      Case of{text(), text(), {}};
      for (auto left = number<std::uint32_t>(); left > 0; --left) {
        std::string name = text();
        of.arrays.emplace(std::move(name), array());
      }
      cases.push_back(std::move(of));
    }
    return cases;
  }

 private:
  const std::byte* take(std::size_t size) {
    if (size > bytes_.size() - at_) throw std::runtime_error("the file ends early");
    at_ += size;
    return bytes_.data() + at_ - size;
  }
  template <class T>
  T number() {
    return read<T>(take(sizeof(T)));
  }
  std::string text() {
    const auto size = number<std::uint32_t>();
    return {reinterpret_cast<const char*>(take(size)), size};
  }
  Array array() {
    Array array;
    array.dtype = static_cast<DType>(number<std::uint8_t>());
    const auto rank = number<std::uint8_t>();
    for (int axis = 0; axis < rank; ++axis) array.shape.push_back(number<std::int64_t>());
    for (int axis = 0; axis < rank; ++axis) array.strides.push_back(number<std::int64_t>());
    array.offset = number<std::int64_t>();
    const auto size = number<std::int64_t>();
    const std::byte* memory = take(size);
    array.memory.assign(memory, memory + size);
    return array;
  }

  std::vector<std::byte> bytes_;
  std::size_t at_ = 0;
};

// Operations -------------------------------------------------------------------------------------

// What the core writes: an array for each output for which a case says what is expected.
class Outputs {
 public:
  explicit Outputs(const Case& of) {
    for (const auto& [name, expected] : of.arrays) {
      if (!name.starts_with(kPrefix)) continue;
      Array output = expected;
      std::ranges::fill(output.memory, std::byte{0xa5});  // what is not written is seen
      arrays_.emplace(name.substr(kPrefix.size()), std::move(output));
    }
  }

  template <class T>
  T* get(const std::string& name) {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) return nullptr;
    if (found->second.dtype != kDType<T>) throw std::runtime_error(name + " of unexpected dtype");
    return reinterpret_cast<T*>(found->second.memory.data());
  }

  const Arrays& arrays() const { return arrays_; }

 private:
  static constexpr std::string_view kPrefix = "core.";
  Arrays arrays_;
};

template <class T>
void run_score(const Case& of, Outputs& to, int num_threads) {
  ScoreInputs inputs{of.at("heatmaps").view<4>(), {}, nullptr};
  std::optional<Tree> tree;
  if (const Array* params = of.find("params")) {
    inputs.params = params->view<3>();
    inputs.tree = &tree.emplace(of.tree());
  }
  const auto integer = [&of](const char* name) {
    return static_cast<std::int64_t>(of.number(name).value_or(0.0));
  };
  const ScoreOptions options{
      {integer("num_peaks"), integer("min_distance"), of.number("threshold_abs"),
       of.number("threshold_rel"), integer("exclude_border")},
      of.number("temperature").value(),
      static_cast<Method>(integer("method")),
      static_cast<Objective>(integer("objective")),
      static_cast<Subpixel>(integer("subpixel"))};
  ScoreOutputs<T> outputs;
  outputs.xy = to.get<T>("xy");
  outputs.values = to.get<T>("values");
  outputs.count = to.get<std::int32_t>("count");
  outputs.entropy = to.get<T>("entropy");
  outputs.entropy_sum = to.get<T>("entropy_sum");
  outputs.keypoints = to.get<T>("keypoints");
  outputs.confidence = to.get<T>("confidence");
  outputs.score = to.get<T>("score");
  outputs.per_link = to.get<T>("per_link");
  outputs.posterior = to.get<T>("posterior");
  outputs.refined_keypoints = to.get<T>("refined_keypoints");
  outputs.peak_index = to.get<std::int32_t>("peak_index");
  outputs.changed = to.get<std::uint8_t>("changed");
  outputs.log_prob = to.get<T>("log_prob");
  outputs.status = to.get<std::uint8_t>("status");
  score(inputs, options, outputs, num_threads);
}

template <class T>
void run_peak_weights(const Case& of, Outputs& to, int num_threads) {
  const Array* count = of.find("count");
  peak_weights(of.at("values").view<3>(), count ? count->view<2>() : View<2>{},
               of.number("temperature").value(), to.get<T>("weights"), num_threads);
}

template <class T>
void run_pose_log_likelihood(const Case& of, Outputs& to, int num_threads) {
  const Array* visible = of.find("visible");
  pose_log_likelihood(of.at("keypoints").view<3>(), of.at("params").view<3>(),
                      visible ? visible->view<2>() : View<2>{}, of.tree(), to.get<T>("total"),
                      to.get<T>("per_link"), num_threads);
}

template <class T>
void run_offset_log_likelihood(const Case& of, Outputs& to, int num_threads) {
  const Array* visible = of.find("visible");
  offset_log_likelihood(of.at("keypoints").view<3>(), of.at("offsets").view<3>(),
                        of.at("scale_tril").view<4>(), visible ? visible->view<2>() : View<2>{},
                        of.tree(), to.get<T>("total"), to.get<T>("per_link"), num_threads);
}

template <int N>
View<N> view_or_none(const Case& of, const std::string& name) {
  const Array* array = of.find(name);
  return array ? array->view<N>() : View<N>{};
}

// An argument that may be one for all images: then without the axis of images.
template <int N>
View<N> repeated(const Case& of, const std::string& name, std::int64_t B) {
  const Array* array = of.find(name);
  if (!array || array->shape.size() == N) return view_or_none<N>(of, name);
  const View<N - 1> own = array->view<N - 1>();
  View<N> view{own.data, own.dtype, {B}, {0}};
  std::ranges::copy(own.shape, view.shape.begin() + 1);
  std::ranges::copy(own.strides, view.strides.begin() + 1);
  return view;
}

bool is_shared(const Case& of, const std::string& name, std::size_t rank) {
  return of.at(name).shape.size() < rank;
}

template <class T>
void run_score_backward(const Case& of, Outputs& to, int num_threads) {
  const View<3> values = of.at("values").view<3>();
  const std::int64_t B = values.shape[0];
  const Tree tree = of.tree();
  const ScoreBackwardInputs inputs{of.at("xy").view<4>(),
                                   values,
                                   of.at("count").view<2>(),
                                   repeated<3>(of, "params", B),
                                   view_or_none<1>(of, "grad_score"),
                                   view_or_none<1>(of, "grad_entropy"),
                                   &tree,
                                   view_or_none<3>(of, "values_tangent"),
                                   repeated<3>(of, "params_tangent", B)};
  ScoreOptions options;
  options.temperature = of.number("temperature").value();
  options.method = static_cast<Method>(static_cast<int>(of.number("method").value()));
  ScoreGradients<T> gradients;
  gradients.values = to.get<T>("by_values");
  gradients.params = to.get<T>("by_params");
  gradients.score = to.get<T>("score_tangent");
  gradients.entropy = to.get<T>("entropy_tangent");
  gradients.params_are_shared = is_shared(of, "params", 3);
  score_backward(inputs, options, gradients, num_threads);
}

template <class T>
void run_peak_weights_backward(const Case& of, Outputs& to, int num_threads) {
  peak_weights_backward(of.at("grad").view<3>(), of.at("values").view<3>(),
                        view_or_none<2>(of, "count"), of.number("temperature").value(),
                        view_or_none<3>(of, "values_tangent"), to.get<T>("by_values"),
                        to.get<T>("weights_tangent"), num_threads);
}

template <class T>
void run_pose_log_likelihood_backward(const Case& of, Outputs& to, int num_threads) {
  const View<3> keypoints = of.at("keypoints").view<3>();
  const std::int64_t B = keypoints.shape[0];
  PoseGradients<T> gradients;
  gradients.keypoints = to.get<T>("by_keypoints");
  gradients.params = to.get<T>("by_params");
  gradients.per_link = to.get<T>("per_link_tangent");
  gradients.params_are_shared = is_shared(of, "params", 3);
  pose_log_likelihood_backward(
      of.at("grad").view<2>(), keypoints, repeated<3>(of, "params", B),
      view_or_none<2>(of, "visible"), of.tree(),
      {view_or_none<3>(of, "keypoints_tangent"), repeated<3>(of, "params_tangent", B)}, gradients,
      num_threads);
}

template <class T>
void run_offset_log_likelihood_backward(const Case& of, Outputs& to, int num_threads) {
  const View<3> keypoints = of.at("keypoints").view<3>();
  const std::int64_t B = keypoints.shape[0];
  OffsetGradients<T> gradients;
  gradients.keypoints = to.get<T>("by_keypoints");
  gradients.offsets = to.get<T>("by_offsets");
  gradients.scale_tril = to.get<T>("by_scale_tril");
  gradients.per_link = to.get<T>("per_link_tangent");
  gradients.offsets_are_shared = is_shared(of, "offsets", 3);
  gradients.scale_tril_is_shared = is_shared(of, "scale_tril", 4);
  const OffsetTangents tangents{view_or_none<3>(of, "keypoints_tangent"),
                                repeated<3>(of, "offsets_tangent", B),
                                repeated<4>(of, "scale_tril_tangent", B)};
  offset_log_likelihood_backward(of.at("grad").view<2>(), keypoints, repeated<3>(of, "offsets", B),
                                 repeated<4>(of, "scale_tril", B), view_or_none<2>(of, "visible"),
                                 of.tree(), tangents, gradients, num_threads);
}

template <class T>
void run_k_centre(const Case& of, Outputs& to, int num_threads) {
  const Array& embeddings = of.at("embeddings");
  const Array& labelled = of.at("labelled");
  // Both are contiguous.
  const KCentreInputs<T> inputs{reinterpret_cast<const T*>(embeddings.memory.data()),
                                embeddings.shape.at(0),
                                embeddings.shape.at(1),
                                reinterpret_cast<const T*>(labelled.memory.data()),
                                labelled.shape.at(0),
                                static_cast<std::int64_t>(of.number("first").value()),
                                of.number("min_separation").value()};
  const std::int64_t num_centres = of.at("core.indices").size();
  auto* const indices = to.get<std::int32_t>("indices");
  auto* const distances = to.get<T>("distances");
  const std::int64_t n = k_centre(inputs, num_centres, indices, distances, num_threads, [] {});
  std::fill(indices + n, indices + num_centres, 0);
  std::fill(distances + n, distances + num_centres, T{0});
}

Outputs run(const Case& of, int num_threads) {
  struct Operation {
    const char* name;
    const char* first;  // the argument whose dtype the results follow
    void (*single)(const Case&, Outputs&, int);
    void (*twice)(const Case&, Outputs&, int);
  };
  static constexpr Operation operations[] = {
      {"score", "heatmaps", run_score<float>, run_score<double>},
      {"peak_weights", "values", run_peak_weights<float>, run_peak_weights<double>},
      {"pose_log_likelihood", "keypoints", run_pose_log_likelihood<float>,
       run_pose_log_likelihood<double>},
      {"offset_log_likelihood", "keypoints", run_offset_log_likelihood<float>,
       run_offset_log_likelihood<double>},
      {"score_backward", "values", run_score_backward<float>, run_score_backward<double>},
      {"peak_weights_backward", "values", run_peak_weights_backward<float>,
       run_peak_weights_backward<double>},
      {"pose_log_likelihood_backward", "keypoints", run_pose_log_likelihood_backward<float>,
       run_pose_log_likelihood_backward<double>},
      {"offset_log_likelihood_backward", "keypoints", run_offset_log_likelihood_backward<float>,
       run_offset_log_likelihood_backward<double>},
      {"k_centre", "embeddings", run_k_centre<float>, run_k_centre<double>},
  };
  Outputs to(of);
  for (const Operation& operation : operations) {
    if (of.operation != operation.name) continue;
    const bool is_double = of.at(operation.first).dtype == DType::float64;
    (is_double ? operation.twice : operation.single)(of, to, num_threads);
    return to;
  }
  throw std::runtime_error("no operation is called " + of.operation);
}

// Comparison -------------------------------------------------------------------------------------

class Report {
 public:
  explicit Report(std::string capability) : capability_(std::move(capability)) {}

  void check(const Case& of, int num_threads) {
    const Outputs outputs = run(of, num_threads);
    for (const auto& [name, found] : outputs.arrays()) {
      for (const char* judge : {"core", "twin"}) {
        const Array* expected = of.find(judge + ("." + name));
        if (!expected) continue;
        if (expected->dtype != found.dtype || expected->shape != found.shape) {
          throw std::runtime_error(of.description + ": " + name + " of two shapes or dtypes");
        }
        Tolerance allowed;
        const Array* tolerance = of.find("tolerance." + name);
        if (tolerance && judge == std::string_view("twin")) {
          const auto values = tolerance->vector<double>();
          allowed = {values.at(0), values.at(1)};
        }
        compare(of, num_threads, name, judge, found, *expected, allowed);
      }
    }
  }

  // Prints the result in one line and returns whether all is well.
  bool finish(std::size_t num_cases) const {
    std::printf("%s: %zu cases, %lld values compared, %lld differ\n", capability_.c_str(),
                num_cases, static_cast<long long>(num_compared_),
                static_cast<long long>(num_different_));
    std::fflush(stdout);  // for the next one may end in an illegal instruction
    return num_different_ == 0;
  }

 private:
  static constexpr int kMaxShown = 10;  // arrays, the first difference of each

  void compare(const Case& of, int num_threads, const std::string& name, const char* judge,
               const Array& found, const Array& expected, Tolerance allowed) {
    const bool is_rounded = allowed.relative > 0.0;
    const auto agree = [&](double a, double b) {
      return is_same(a, b) || (is_rounded && is_close(a, b, allowed));
    };
    std::int64_t first = -1, differ = 0;
    for (std::int64_t i = 0; i < found.size(); ++i) {
      if (agree(element(found, i), element(expected, i))) continue;
      if (differ++ == 0) first = i;
    }
    num_compared_ += found.size();
    num_different_ += differ;
    if (differ == 0 || num_shown_++ >= kMaxShown) return;
    std::printf("%s, num_threads %d: %s%s is %.17g, expected %.17g of the %s", capability_.c_str(),
                num_threads, name.c_str(), place(found, first).c_str(), element(found, first),
                element(expected, first), judge);
    if (is_rounded) std::printf(" within %g + %g of it", allowed.absolute, allowed.relative);
    std::printf("; %lld of %lld differ\n  in %s\n", static_cast<long long>(differ),
                static_cast<long long>(found.size()), of.description.c_str());
  }

  // Such as "[1, 0, 3]".
  static std::string place(const Array& array, std::int64_t i) {
    std::string text = "]";
    for (std::size_t axis = array.shape.size(); axis-- > 0; i /= array.shape[axis]) {
      text = (axis > 0 ? ", " : "[") + std::to_string(i % array.shape[axis]) + text;
    }
    return text;
  }

  std::string capability_;
  std::int64_t num_compared_ = 0, num_different_ = 0;
  int num_shown_ = 0;
};

bool conforms(const std::vector<Case>& cases, const std::string& capability) {
  set_cpu_capability(capability);
  Report report(capability);
  for (const Case& of : cases) {
    for (const int num_threads : {1, 3}) report.check(of, num_threads);
  }
  return report.finish(cases.size());
}

}  // namespace
}  // namespace vl4pose

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FILE [CAPABILITY...]\n", argv[0]);
    return 2;
  }
  try {
    const auto cases = vl4pose::File(argv[1]).cases();
    std::vector<std::string> capabilities(argv + 2, argv + argc);
    if (capabilities.empty()) capabilities = vl4pose::cpu_capabilities();
    bool all_conform = true;
    for (const std::string& capability : capabilities) {
      all_conform &= vl4pose::conforms(cases, capability);
    }
    return all_conform ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "conformance: %s\n", error.what());
    return 2;
  }
}
