// Memory of a GPU as Python objects: the results for libraries that lend vl4pose none of their own.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "array.h"
#include "cuda.h"
#include "third_party/dlpack.h"

namespace vl4pose::python {

namespace py = pybind11;

// A contiguous array, as long as this or a DLPack capsule of it lives.
class CudaMemory {
 public:
  CudaMemory(int device, std::intptr_t handle, std::vector<std::int64_t> shape,
             const std::string& dtype)
      : block_(std::make_shared<Block>(Block{{device, reinterpret_cast<void*>(handle)},
                                             nullptr,
                                             std::move(shape),
                                             dlpack_dtype(dtype)})) {
    std::int64_t bytes = block_->dtype.bits / 8;
    for (const std::int64_t size : block_->shape) bytes *= size;
    block_->memory = cuda_allocate(block_->stream, std::max<std::int64_t>(bytes, 1));
  }

  py::tuple dlpack_device() const { return py::make_tuple(int{kDLCUDA}, block_->stream.device); }

  // A capsule of what the array holds when the consumer's stream comes to it; None for the default
  // one, which is 1 in DLPack, and -1 for a consumer that waits by itself.
  py::capsule dlpack(const py::object& stream, const py::kwargs&) const {
    const auto consumer = stream.is_none() ? std::intptr_t{1} : stream.cast<std::intptr_t>();
    if (consumer != -1) {
      CudaStream waiting = block_->stream;
      waiting.handle = reinterpret_cast<void*>(consumer == 1 ? std::intptr_t{0} : consumer);
      cuda_wait(waiting, block_->stream);
    }
    auto* managed = new Managed{block_, {}};
    managed->tensor.dl_tensor = {block_->memory,
                                 {kDLCUDA, block_->stream.device},
                                 static_cast<int>(block_->shape.size()),
                                 block_->dtype,
                                 block_->shape.data(),
                                 nullptr,
                                 0};
    managed->tensor.manager_ctx = managed;
    managed->tensor.deleter = [](DLManagedTensor* tensor) {
      delete static_cast<Managed*>(tensor->manager_ctx);
    };
    // A consumer renames the capsule, and deletes what is in it.
    return py::capsule(&managed->tensor, "dltensor", [](PyObject* capsule) {
      if (!PyCapsule_IsValid(capsule, "dltensor")) return;
      auto* tensor = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
      tensor->deleter(tensor);
    });
  }

  py::dict cuda_array_interface() const {
    const DLDataType dtype = block_->dtype;
    const char kind = dtype.code == kDLFloat ? 'f' : dtype.code == kDLInt ? 'i' : 'u';
    const std::string number = kind + std::to_string(dtype.bits / 8);
    py::dict interface;
    interface["version"] = 3;
    interface["shape"] = py::tuple(py::cast(block_->shape));
    interface["typestr"] = dtype.code == kDLBool ? "|b1" : (dtype.bits == 8 ? "|" : "<") + number;
    interface["data"] = py::make_tuple(reinterpret_cast<std::intptr_t>(block_->memory), false);
    const auto handle = reinterpret_cast<std::intptr_t>(block_->stream.handle);
    interface["stream"] = handle == 0 ? 1 : handle;
    return interface;
  }

 private:
  struct Block {
    CudaStream stream;
    void* memory;
    std::vector<std::int64_t> shape;
    DLDataType dtype;

    ~Block() {
      if (memory) cuda_free(stream, memory);
    }
  };
  struct Managed {
    std::shared_ptr<Block> block;
    DLManagedTensor tensor;
  };

  static DLDataType dlpack_dtype(const std::string& name) {
    if (name == "float32") return {kDLFloat, 32, 1};
    if (name == "float64") return {kDLFloat, 64, 1};
    if (name == "int32") return {kDLInt, 32, 1};
    if (name == "uint8") return {kDLUInt, 8, 1};
    if (name == "bool") return {kDLBool, 8, 1};
    throw py::value_error("dtype of unknown name");
  }

  std::shared_ptr<Block> block_;
};

}  // namespace vl4pose::python
