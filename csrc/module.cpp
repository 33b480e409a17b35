// The Python module vl4pose._core: arrays in, one call per operation, the GIL released. Arguments
// have been checked, and outputs allocated, by the Python layer.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cpu_capability.h"
#include "cuda.h"
#include "k_centre.h"
#include "log_likelihood.h"
#include "offset_log_likelihood.h"
#include "python_array.h"
#include "python_memory.h"
#include "score.h"
#include "score_backward.h"
#include "weights.h"

namespace vl4pose::python {
namespace {

ScoreOptions make_options(std::int64_t num_peaks, std::int64_t min_distance,
                          std::optional<double> threshold_abs, std::optional<double> threshold_rel,
                          std::int64_t exclude_border, double temperature,
                          const std::string& method, const std::string& objective,
                          const std::string& subpixel) {
  static const std::map<std::string, Method> methods{{"expected", Method::expected},
                                                     {"max", Method::max},
                                                     {"marginal", Method::marginal},
                                                     {"sum", Method::sum}};
  static const std::map<std::string, Objective> objectives{{"map", Objective::map},
                                                           {"eq6", Objective::eq6}};
  static const std::map<std::string, Subpixel> subpixels{{"none", Subpixel::none},
                                                         {"quarter", Subpixel::quarter},
                                                         {"centroid", Subpixel::centroid},
                                                         {"dark", Subpixel::dark}};
  return {{num_peaks, min_distance, threshold_abs, threshold_rel, exclude_border},
          temperature,
          methods.at(method),
          objectives.at(objective),
          subpixels.at(subpixel)};
}

// A GPU's stream, and the framework's function that gives so many bytes of memory as an array.
struct PythonStream {
  CudaStream stream;
  py::object empty;
};

// One call of an operation: where it runs, and the memory that it asked for.
class Call {
  Where where_;
  CudaStream stream_;
  py::object empty_;
  std::vector<py::object> memory_;

 public:
  // `where` is a number of threads or a PythonStream.
  explicit Call(const py::object& where) : as_array(where_) {
    if (PyLong_Check(where.ptr())) {
      where_.num_threads = where.cast<int>();
      return;
    }
    const auto& of_python = where.cast<const PythonStream&>();
    empty_ = of_python.empty;
    stream_ = of_python.stream;
    stream_.context = this;
    stream_.allocate = [](void* call, std::int64_t bytes) {
      return static_cast<Call*>(call)->allocate(bytes);
    };
    where_.stream = &stream_;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const ArrayReader as_array;

  // Runs an operation, on the CPU or on the GPU, without the GIL.
  template <class T, class OnCpu, class OnGpu, class... Arguments>
  void run(const OnCpu& on_cpu, OnGpu CudaKernels<T>::* on_gpu, const Arguments&... arguments) {
    const py::gil_scoped_release release;
    if (where_.stream) {
      (cuda_kernels<T>().*on_gpu)(arguments..., *where_.stream);
    } else {
      on_cpu(arguments..., where_.num_threads);
    }
  }

 private:
  std::byte* allocate(std::int64_t bytes) {
    const py::gil_scoped_acquire acquire;
    memory_.push_back(empty_(bytes));
    return as_array(memory_.back()).data;
  }
};

// The text of a Python string, as long as the string lives. pybind11's own cast to a string_view
// would keep note of the string, which takes longer.
std::string_view view_of(const py::handle& string) {
  py::ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(string.ptr(), &size);
  if (!data) throw py::error_already_set();
  return {data, static_cast<std::size_t>(size)};
}

// Where the outputs go that were asked for, each by its name.
template <class T>
ScoreOutputs<T> assign_outputs(const ArrayReader& as_array, const ScoreInputs& inputs,
                               const ScoreOptions& options, const py::tuple& names,
                               const py::list& arrays) {
  const std::int64_t B = inputs.heatmaps.shape[0], BJ = B * inputs.heatmaps.shape[1];
  const std::int64_t K = options.peaks.num_peaks, L = inputs.params.shape[1];
  if (names.size() != arrays.size()) throw py::value_error("outputs must have a name each");
  ScoreOutputs<T> to;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string_view given = view_of(names[i]);
    const auto is = [&]<class V>(std::string_view name, V*& pointer, std::int64_t n) {
      if (name != given) return false;
      pointer = as_array(arrays[i]).template contiguous<V>(n);
      return true;
    };
    if (!(is("xy", to.xy, BJ * K * 2) || is("values", to.values, BJ * K) ||
          is("count", to.count, BJ) || is("entropy", to.entropy, BJ) ||
          is("entropy_sum", to.entropy_sum, B) || is("keypoints", to.keypoints, BJ * 2) ||
          is("confidence", to.confidence, BJ) || is("score", to.score, B) ||
          is("per_link", to.per_link, B * L) || is("posterior", to.posterior, BJ * K) ||
          is("refined_keypoints", to.refined_keypoints, BJ * 2) ||
          is("peak_index", to.peak_index, BJ) || is("changed", to.changed, BJ) ||
          is("log_prob", to.log_prob, B) || is("status", to.status, B))) {
      throw py::value_error("output of unknown name");
    }
  }
  if (to.wants_pose() && !inputs.tree) throw py::value_error("output that needs a tree");
  return to;
}

template <class T>
void run_score(Call& call, const ScoreInputs& inputs, const ScoreOptions& options,
               const py::tuple& names, const py::list& arrays) {
  const auto outputs = assign_outputs<T>(call.as_array, inputs, options, names, arrays);
  call.run<T>(score<T>, &CudaKernels<T>::score, inputs, options, outputs);
}

void check_fits(const Tree& tree, std::int64_t J, std::int64_t L) {
  if (tree.num_joints() != J || tree.num_links() != L) {
    throw py::value_error("arrays must have the joints and links of the tree");
  }
}

// `tree` is no pointer because pybind11 takes long to see that None is a null one.
void bind_score(const py::object& heatmaps, const py::object& params, const py::object& tree,
                const ScoreOptions& options, const py::tuple& names, const py::list& outputs,
                const py::object& where) {
  Call call(where);
  const Array maps = call.as_array(heatmaps);
  ScoreInputs inputs{maps.view<4>(), {}, nullptr};
  Array links;
  if (!tree.is_none()) {
    inputs.tree = tree.cast<const Tree*>();
    links = call.as_array(params);
    inputs.params = links.view<3>(inputs.heatmaps.shape[0]);
    check_fits(*inputs.tree, inputs.heatmaps.shape[1], inputs.params.shape[1]);
  }
  const auto run = maps.dtype == DType::float64 ? run_score<double> : run_score<float>;
  run(call, inputs, options, names, outputs);
}

// Calls run(T{}), T being the dtype of the results.
template <class Run>
void with_result_dtype(DType dtype, const Run& run) {
  dtype == DType::float64 ? run(double{}) : run(float{});
}

void bind_peak_weights(const py::object& values, const py::object& count, double temperature,
                       const py::object& weights, const py::object& where) {
  Call call(where);
  const Array value_array = call.as_array(values), weight_array = call.as_array(weights);
  const View<3> view = value_array.view<3>();
  Array count_array;
  View<2> counts;
  if (!count.is_none()) counts = (count_array = call.as_array(count)).view<2>();
  const std::int64_t n = view.shape[0] * view.shape[1] * view.shape[2];
  with_result_dtype(value_array.dtype, [&]<class T>(T) {
    call.run<T>(peak_weights<T>, &CudaKernels<T>::peak_weights, view, counts, temperature,
                weight_array.contiguous<T>(n));
  });
}

// Where a log-likelihood of given poses goes: to the sum over the links, or to each link.
template <class T>
struct LinkOutput {
  T *total = nullptr, *per_link = nullptr;

  LinkOutput(const Array& array, const View<3>& keypoints, const Tree& tree, bool is_per_link) {
    const std::int64_t B = keypoints.shape[0];
    (is_per_link ? per_link : total) =
        array.contiguous<T>(B * (is_per_link ? tree.num_links() : 1));
  }
};

void bind_pose_log_likelihood(const py::object& keypoints, const py::object& params,
                              const py::object& visible, const Tree& tree, const py::object& result,
                              bool per_link, const py::object& where) {
  Call call(where);
  const Array points = call.as_array(keypoints), links = call.as_array(params);
  const Array mask = visible.is_none() ? Array{} : call.as_array(visible);
  const View<3> point_view = points.view<3>(), link_view = links.view<3>(point_view.shape[0]);
  const View<2> mask_view = mask.data ? mask.view<2>() : View<2>{};
  check_fits(tree, point_view.shape[1], link_view.shape[1]);
  with_result_dtype(points.dtype, [&]<class T>(T) {
    const LinkOutput<T> to(call.as_array(result), point_view, tree, per_link);
    call.run<T>(pose_log_likelihood<T>, &CudaKernels<T>::pose_log_likelihood, point_view, link_view,
                mask_view, tree, to.total, to.per_link);
  });
}

void bind_offset_log_likelihood(const py::object& keypoints, const py::object& offsets,
                                const py::object& scale_tril, const py::object& visible,
                                const Tree& tree, const py::object& result, bool per_link,
                                const py::object& where) {
  Call call(where);
  const Array points = call.as_array(keypoints), shifts = call.as_array(offsets),
              scales = call.as_array(scale_tril);
  const Array mask = visible.is_none() ? Array{} : call.as_array(visible);
  const View<3> point_view = points.view<3>(), shift_view = shifts.view<3>(point_view.shape[0]);
  const View<4> scale_view = scales.view<4>(point_view.shape[0]);
  const View<2> mask_view = mask.data ? mask.view<2>() : View<2>{};
  check_fits(tree, point_view.shape[1], shift_view.shape[1]);
  with_result_dtype(points.dtype, [&]<class T>(T) {
    const LinkOutput<T> to(call.as_array(result), point_view, tree, per_link);
    call.run<T>(offset_log_likelihood<T>, &CudaKernels<T>::offset_log_likelihood, point_view,
                shift_view, scale_view, mask_view, tree, to.total, to.per_link);
  });
}

// An argument that may be None, of rank N, repeated for B images where it has no axis for them.
template <int N>
View<N> view_or_none(const Call& call, Array& array, const py::object& source,
                     std::int64_t repeat = 1) {
  if (source.is_none()) return {};
  array = call.as_array(source);
  return array.view<N>(repeat);
}

// A gradient of T of n numbers that may be None, where it is not wanted.
template <class T>
T* gradient_or_none(const Call& call, const py::object& output, std::int64_t n) {
  return output.is_none() ? nullptr : call.as_array(output).template contiguous<T>(n);
}

// Of an argument that all images share, the gradient is one for all.
bool is_shared(const Call& call, const py::object& argument, int rank) {
  return !argument.is_none() && call.as_array(argument).ndim < rank;
}

void bind_score_backward(const py::object& xy, const py::object& values, const py::object& count,
                         const py::object& params, const py::object& grad_score,
                         const py::object& grad_entropy, const py::object& tree,
                         const ScoreOptions& options, const py::object& values_tangent,
                         const py::object& params_tangent, const py::object& by_values,
                         const py::object& by_params, const py::object& score_tangent,
                         const py::object& entropy_tangent, const py::object& where) {
  Call call(where);
  const Array xy_array = call.as_array(xy), value_array = call.as_array(values),
              counts = call.as_array(count);
  Array arrays[5];
  ScoreBackwardInputs inputs;
  inputs.xy = xy_array.view<4>();
  inputs.values = value_array.view<3>();
  inputs.count = counts.view<2>();
  const auto [B, J, K] = inputs.values.shape;
  inputs.params = view_or_none<3>(call, arrays[0], params, B);
  inputs.grad_score = view_or_none<1>(call, arrays[1], grad_score);
  inputs.grad_entropy = view_or_none<1>(call, arrays[2], grad_entropy);
  inputs.values_tangent = view_or_none<3>(call, arrays[3], values_tangent);
  inputs.params_tangent = view_or_none<3>(call, arrays[4], params_tangent, B);
  const std::int64_t L = inputs.params.shape[1];
  if (!tree.is_none()) {
    inputs.tree = tree.cast<const Tree*>();
    check_fits(*inputs.tree, J, L);
  }
  const bool shared = is_shared(call, params, 3);
  with_result_dtype(value_array.dtype, [&]<class T>(T) {
    ScoreGradients<T> to;
    to.values = gradient_or_none<T>(call, by_values, B * J * K);
    to.params = gradient_or_none<T>(call, by_params, (shared ? 1 : B) * L * 2);
    to.score = gradient_or_none<T>(call, score_tangent, B);
    to.entropy = gradient_or_none<T>(call, entropy_tangent, B);
    to.params_are_shared = shared;
    call.run<T>(score_backward<T>, &CudaKernels<T>::score_backward, inputs, options, to);
  });
}

void bind_peak_weights_backward(const py::object& grad, const py::object& values,
                                const py::object& count, double temperature,
                                const py::object& tangent, const py::object& by_values,
                                const py::object& weights_tangent, const py::object& where) {
  Call call(where);
  const Array grads = call.as_array(grad), value_array = call.as_array(values);
  Array counts, tangents;
  const View<3> grad_view = grads.view<3>(), view = value_array.view<3>();
  const View<2> count_view = view_or_none<2>(call, counts, count);
  const View<3> tangent_view = view_or_none<3>(call, tangents, tangent);
  const std::int64_t n = view.shape[0] * view.shape[1] * view.shape[2];
  with_result_dtype(value_array.dtype, [&]<class T>(T) {
    T* const to_values = gradient_or_none<T>(call, by_values, n);
    T* const to_weights = gradient_or_none<T>(call, weights_tangent, n);
    call.run<T>(peak_weights_backward<T>, &CudaKernels<T>::peak_weights_backward, grad_view, view,
                count_view, temperature, tangent_view, to_values, to_weights);
  });
}

void bind_pose_log_likelihood_backward(const py::object& grad, const py::object& keypoints,
                                       const py::object& params, const py::object& visible,
                                       const Tree& tree, const py::object& keypoints_tangent,
                                       const py::object& params_tangent,
                                       const py::object& by_keypoints, const py::object& by_params,
                                       const py::object& per_link_tangent,
                                       const py::object& where) {
  Call call(where);
  const Array grads = call.as_array(grad), points = call.as_array(keypoints),
              links = call.as_array(params);
  Array mask, arrays[2];
  const View<3> point_view = points.view<3>();
  const auto [B, J, D] = point_view.shape;
  const std::int64_t L = tree.num_links();
  const View<2> grad_view = grads.view<2>(), mask_view = view_or_none<2>(call, mask, visible);
  const View<3> link_view = links.view<3>(B);
  check_fits(tree, J, link_view.shape[1]);
  const PoseTangents tangents{view_or_none<3>(call, arrays[0], keypoints_tangent),
                              view_or_none<3>(call, arrays[1], params_tangent, B)};
  const bool shared = is_shared(call, params, 3);
  with_result_dtype(points.dtype, [&]<class T>(T) {
    PoseGradients<T> to;
    to.keypoints = gradient_or_none<T>(call, by_keypoints, B * J * D);
    to.params = gradient_or_none<T>(call, by_params, (shared ? 1 : B) * L * 2);
    to.per_link = gradient_or_none<T>(call, per_link_tangent, B * L);
    to.params_are_shared = shared;
    call.run<T>(pose_log_likelihood_backward<T>, &CudaKernels<T>::pose_log_likelihood_backward,
                grad_view, point_view, link_view, mask_view, tree, tangents, to);
  });
}

void bind_offset_log_likelihood_backward(
    const py::object& grad, const py::object& keypoints, const py::object& offsets,
    const py::object& scale_tril, const py::object& visible, const Tree& tree,
    const py::object& keypoints_tangent, const py::object& offsets_tangent,
    const py::object& scale_tril_tangent, const py::object& by_keypoints,
    const py::object& by_offsets, const py::object& by_scale_tril,
    const py::object& per_link_tangent, const py::object& where) {
  Call call(where);
  const Array grads = call.as_array(grad), points = call.as_array(keypoints),
              shifts = call.as_array(offsets), scales = call.as_array(scale_tril);
  Array mask, arrays[3];
  const View<3> point_view = points.view<3>();
  const auto [B, J, D] = point_view.shape;
  const std::int64_t L = tree.num_links();
  const View<2> grad_view = grads.view<2>(), mask_view = view_or_none<2>(call, mask, visible);
  const View<3> shift_view = shifts.view<3>(B);
  const View<4> scale_view = scales.view<4>(B);
  check_fits(tree, J, shift_view.shape[1]);
  const OffsetTangents tangents{view_or_none<3>(call, arrays[0], keypoints_tangent),
                                view_or_none<3>(call, arrays[1], offsets_tangent, B),
                                view_or_none<4>(call, arrays[2], scale_tril_tangent, B)};
  const bool shares_offsets = is_shared(call, offsets, 3),
             shares_scales = is_shared(call, scale_tril, 4);
  with_result_dtype(points.dtype, [&]<class T>(T) {
    OffsetGradients<T> to;
    to.keypoints = gradient_or_none<T>(call, by_keypoints, B * J * D);
    to.offsets = gradient_or_none<T>(call, by_offsets, (shares_offsets ? 1 : B) * L * D);
    to.scale_tril = gradient_or_none<T>(call, by_scale_tril, (shares_scales ? 1 : B) * L * D * D);
    to.per_link = gradient_or_none<T>(call, per_link_tangent, B * L);
    to.offsets_are_shared = shares_offsets;
    to.scale_tril_is_shared = shares_scales;
    call.run<T>(offset_log_likelihood_backward<T>, &CudaKernels<T>::offset_log_likelihood_backward,
                grad_view, point_view, shift_view, scale_view, mask_view, tree, tangents, to);
  });
}

// Raises what Ctrl-C asks for, now and then in a long call.
class SignalCheck {
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kInterval{100};
  Clock::time_point next_ = Clock::now() + kInterval;

 public:
  void operator()() {
    if (Clock::now() < next_) return;
    const py::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    next_ = Clock::now() + kInterval;
  }
};

std::int64_t bind_k_centre(const py::object& embeddings, const py::object& labelled,
                           std::int64_t first, double min_separation, const py::object& indices,
                           const py::object& distances, int num_threads) {
  const Where where;
  const ArrayReader as_array(where);
  const Array rows = as_array(embeddings), labelled_rows = as_array(labelled);
  const Array index_array = as_array(indices), distance_array = as_array(distances);
  const std::int64_t N = rows.view<2>().shape[0], D = rows.view<2>().shape[1];
  const std::int64_t M = labelled_rows.view<2>().shape[0];
  const std::int64_t num_centres = index_array.view<1>().shape[0];
  if (first < 0 || first >= std::max<std::int64_t>(N, 1) || num_centres > N) {
    throw py::value_error("index of no row, or more centres than rows");
  }
  std::int64_t num_chosen = 0;
  with_result_dtype(rows.dtype, [&]<class T>(T) {
    const KCentreInputs<T> inputs{rows.contiguous<T>(N * D),
                                  N,
                                  D,
                                  labelled_rows.contiguous<T>(M * D),
                                  M,
                                  first,
                                  min_separation};
    std::int32_t* const to_indices = index_array.contiguous<std::int32_t>(num_centres);
    T* const to_distances = distance_array.contiguous<T>(num_centres);
    const py::gil_scoped_release release;
    num_chosen =
        k_centre(inputs, num_centres, to_indices, to_distances, num_threads, SignalCheck());
  });
  return num_chosen;
}

py::dict build_info() {
  py::dict info;
  info["version"] = VL4POSE_VERSION;
  info["compiler"] = VL4POSE_COMPILER;
  info["cuda"] = cuda_version().empty() ? py::object(py::none()) : py::str(cuda_version());
  return info;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  py::class_<Tree>(module, "Tree")
      .def(py::init<std::vector<std::int32_t>, std::vector<std::int32_t>>(), py::arg("parents"),
           py::arg("child_of_link"));
  py::class_<ScoreOptions>(module, "ScoreOptions")
      .def(py::init(&make_options), py::arg("num_peaks"), py::arg("min_distance"),
           py::arg("threshold_abs"), py::arg("threshold_rel"), py::arg("exclude_border"),
           py::arg("temperature"), py::arg("method"), py::arg("objective"), py::arg("subpixel"))
      .def_property_readonly("num_peaks",
                             [](const ScoreOptions& options) { return options.peaks.num_peaks; });
  py::class_<PythonStream>(module, "CudaStream")
      .def(py::init([](int device, std::intptr_t handle, const py::object& empty) {
             return PythonStream{{device, reinterpret_cast<void*>(handle)}, empty};
           }),
           py::arg("device"), py::arg("handle"), py::arg("empty"));
  py::class_<CudaMemory>(module, "CudaMemory")
      .def(py::init<int, std::intptr_t, std::vector<std::int64_t>, const std::string&>(),
           py::arg("device"), py::arg("handle"), py::arg("shape"), py::arg("dtype"))
      .def("__dlpack__", &CudaMemory::dlpack, py::kw_only(), py::arg("stream") = py::none())
      .def("__dlpack_device__", &CudaMemory::dlpack_device)
      .def_property_readonly("__cuda_array_interface__", &CudaMemory::cuda_array_interface);
  module.def("score", &bind_score);
  module.def("peak_weights", &bind_peak_weights);
  module.def("pose_log_likelihood", &bind_pose_log_likelihood);
  module.def("offset_log_likelihood", &bind_offset_log_likelihood);
  module.def("score_backward", &bind_score_backward);
  module.def("peak_weights_backward", &bind_peak_weights_backward);
  module.def("pose_log_likelihood_backward", &bind_pose_log_likelihood_backward);
  module.def("offset_log_likelihood_backward", &bind_offset_log_likelihood_backward);
  module.def("k_centre", &bind_k_centre);
  module.def("build_info", &build_info);
  module.def("cuda_devices", &cuda_devices);
  module.def("cuda_device_of", [](std::intptr_t address) {
    return cuda_device_of(reinterpret_cast<const void*>(address));
  });
  module.def("cpu_capabilities", &cpu_capabilities);
  module.def("cpu_capability", &cpu_capability);
  module.def("set_cpu_capability", &set_cpu_capability);
}

}  // namespace vl4pose::python
