// What module.cpp takes in: NumPy arrays through NumPy's C interface, torch tensors and others
// through DLPack's. Neither copies.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "array.h"
#include "cuda.h"
#include "third_party/dlpack.h"

namespace vl4pose::python {

namespace py = pybind11;

// An array of any rank, as long as the Python object lives.
struct Array {
  static constexpr int kMaxRank = 8;

  std::byte* data = nullptr;
  DType dtype = DType::float32;
  int ndim = 0;
  std::array<std::int64_t, kMaxRank> shape{}, strides{};  // strides in bytes
  py::object owner;  // a DLPack capsule that must outlive the use of `data`

  // A view of rank N; where the array has one axis less, a first one of size `repeat` is put in
  // front that repeats it.
  template <int N>
  View<N> view(std::int64_t repeat = 1) const {
    const int missing = N - ndim;
    if (missing < 0 || missing > 1) throw py::value_error("array of unexpected rank");
    View<N> view;
    view.data = data;
    view.dtype = dtype;
    if (missing) view.shape[0] = repeat;
    for (int axis = missing; axis < N; ++axis) {
      view.shape[axis] = shape[axis - missing];
      view.strides[axis] = strides[axis - missing];
    }
    return view;
  }

  // The memory of a contiguous array of n values of T, for an output.
  template <class T>
  T* contiguous(std::int64_t n) const {
    if (!data && n > 0) throw py::value_error("output must have memory");
    std::int64_t size = 1;
    for (int axis = 0; axis < ndim; ++axis) size *= shape[axis];
    std::int64_t expected = size_of(dtype);
    for (int axis = ndim - 1; axis >= 0 && size > 0; --axis) {
      if (shape[axis] > 1 && strides[axis] != expected) {
        throw py::value_error("output must be contiguous");
      }
      expected *= shape[axis];
    }
    if (size != n || dtype != kDType<T>) {
      throw py::value_error("output of unexpected size or dtype");
    }
    return reinterpret_cast<T*>(data);
  }
};

inline DType dtype_of(const py::dtype& dtype) {
  switch (dtype.num()) {
    case py::detail::npy_api::NPY_FLOAT_:
      return DType::float32;
    case py::detail::npy_api::NPY_DOUBLE_:
      return DType::float64;
    case py::detail::npy_api::NPY_INT_:
      return DType::int32;
    case py::detail::npy_api::NPY_UBYTE_:
    case py::detail::npy_api::NPY_BOOL_:
      return DType::uint8;
    case 23:  // NPY_HALF, which pybind11 has no name for
      return DType::float16;
    default:
      if (dtype.attr("name").cast<std::string>() == "bfloat16") return DType::bfloat16;
      throw py::type_error("array of unexpected dtype");
  }
}

inline DType dtype_of(const DLDataType& dtype) {
  if (dtype.lanes == 1) {
    if (dtype.code == kDLFloat && dtype.bits == 16) return DType::float16;
    if (dtype.code == kDLFloat && dtype.bits == 32) return DType::float32;
    if (dtype.code == kDLFloat && dtype.bits == 64) return DType::float64;
    if (dtype.code == kDLBfloat && dtype.bits == 16) return DType::bfloat16;
    if (dtype.code == kDLInt && dtype.bits == 32) return DType::int32;
    if ((dtype.code == kDLUInt || dtype.code == kDLBool) && dtype.bits == 8) return DType::uint8;
  }
  throw py::type_error("array of unexpected dtype");
}

inline void check_rank(int ndim) {
  if (ndim > Array::kMaxRank) throw py::value_error("array of unexpected rank");
}

inline Array from_numpy(const py::array& source) {
  Array array;
  check_rank(static_cast<int>(source.ndim()));
  array.data = static_cast<std::byte*>(const_cast<void*>(source.data()));
  array.dtype = dtype_of(source.dtype());
  array.ndim = static_cast<int>(source.ndim());
  for (int axis = 0; axis < array.ndim; ++axis) {
    array.shape[axis] = source.shape(axis);
    array.strides[axis] = source.strides(axis);
  }
  return array;
}

// Where an operation runs, and all its arrays are: on so many threads, or on a GPU.
struct Where {
  int num_threads = 1;
  const CudaStream* stream = nullptr;

  bool has(const DLDevice& device) const {
    if (!stream) return device.device_type == kDLCPU;
    const bool is_gpu = device.device_type == kDLCUDA || device.device_type == kDLCUDAManaged;
    return is_gpu && device.device_id == stream->device;
  }
};

inline Array from_dlpack(const DLTensor& source, const Where& where) {
  if (!where.has(source.device)) throw py::value_error("array of unexpected device");
  Array array;
  check_rank(source.ndim);
  array.data = static_cast<std::byte*>(source.data) + source.byte_offset;
  array.dtype = dtype_of(source.dtype);
  array.ndim = source.ndim;
  std::int64_t compact = size_of(array.dtype);
  for (int axis = array.ndim - 1; axis >= 0; --axis) {
    array.shape[axis] = source.shape[axis];
    if (source.strides) {
      array.strides[axis] = source.strides[axis] * size_of(array.dtype);
    } else {
      array.strides[axis] = compact;
      compact *= source.shape[axis];
    }
  }
  return array;
}

// DLPack's table of C functions of a type, or null where the type has none. The Python layer turns
// everything but torch tensors into NumPy arrays, so that few types ever come here.
inline const DLPackExchangeAPI* exchange_api(PyTypeObject* type) {
  struct Known {
    py::object type;  // held, so that its address is not given to another type
    const DLPackExchangeAPI* api;
  };
  static auto* known = new std::vector<Known>;  // never freed: outlives the interpreter
  for (const Known& entry : *known) {
    if (entry.type.ptr() == reinterpret_cast<PyObject*>(type)) return entry.api;
  }
  const auto object = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(type));
  const DLPackExchangeAPI* api = nullptr;
  const py::object capsule = py::getattr(object, "__dlpack_c_exchange_api__", py::none());
  if (PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) {
    api = static_cast<const DLPackExchangeAPI*>(
        PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (api->header.version.major != DLPACK_MAJOR_VERSION ||
        !api->dltensor_from_py_object_no_sync) {
      api = nullptr;
    }
  }
  known->push_back({object, api});
  return api;
}

// Takes arrays in, all of one place.
class ArrayReader {
 public:
  explicit ArrayReader(const Where& where) : where_(where) {}

  Array operator()(const py::handle& source) const {
    if (!where_.stream && py::isinstance<py::array>(source)) {
      return from_numpy(py::reinterpret_borrow<py::array>(source));
    }
    if (const DLPackExchangeAPI* api = exchange_api(Py_TYPE(source.ptr()))) {
      DLTensor tensor;
      if (api->dltensor_from_py_object_no_sync(source.ptr(), &tensor) != 0) {
        throw py::error_already_set();
      }
      return from_dlpack(tensor, where_);
    }
    if (where_.stream && !py::hasattr(source, "__dlpack__")) return from_interface(source);
    py::object capsule = where_.stream ? on_stream(source) : source.attr("__dlpack__")();
    auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (!managed) throw py::error_already_set();
    Array array = from_dlpack(managed->dl_tensor, where_);
    array.owner = std::move(capsule);
    return array;
  }

 private:
  // What the array holds when the stream comes to it. DLPack's number of the default stream is 1.
  py::object on_stream(const py::handle& source) const {
    const auto handle = reinterpret_cast<std::intptr_t>(where_.stream->handle);
    return source.attr("__dlpack__")(py::arg("stream") = handle == 0 ? 1 : handle);
  }

  // Likewise, of an array of libraries that know __cuda_array_interface__ alone.
  Array from_interface(const py::handle& source) const {
    const py::dict interface = source.attr("__cuda_array_interface__");
    const auto get = [&](const char* key) {
      return interface.contains(key) ? py::object(interface[key]) : py::object(py::none());
    };
    if (!get("stream").is_none()) {
      CudaStream producer = *where_.stream;
      const auto handle = interface["stream"].cast<std::intptr_t>();
      producer.handle = reinterpret_cast<void*>(handle == 1 ? std::intptr_t{0} : handle);
      cuda_wait(*where_.stream, producer);
    }
    const py::sequence shape = interface["shape"];
    check_rank(static_cast<int>(shape.size()));
    Array array;
    array.dtype = dtype_of(py::dtype::from_args(interface["typestr"]));
    array.ndim = static_cast<int>(shape.size());
    const auto address = py::tuple(interface["data"])[0].cast<std::intptr_t>();
    array.data = reinterpret_cast<std::byte*>(address);
    std::int64_t compact = size_of(array.dtype);
    for (int axis = array.ndim - 1; axis >= 0; --axis) {
      array.shape[axis] = shape[axis].cast<std::int64_t>();
      const bool is_compact = get("strides").is_none();
      array.strides[axis] =
          is_compact ? compact : py::tuple(interface["strides"])[axis].cast<std::int64_t>();
      compact *= array.shape[axis];
    }
    return array;
  }

  const Where& where_;
};

}  // namespace vl4pose::python
