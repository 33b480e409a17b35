// Stands in for CUDA's runtime library: what csrc/*.cu and bench/gpu/planted_bugs.cu call of it,
// and what nvcc puts between them and the library. Its GPUs are interpreted (interpreter.h), and
// done with everything when a call returns. What the interpreter finds is an error of the launch,
// which cudaGetErrorString then has the text of.
//
// The GPUs are all different: for each architecture that the kernels were compiled for there are
// some with few multiprocessors, so that some batches fill them, and with little shared memory, so
// that not all fits.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "device_memory.h"
#include "fat_binary.h"
#include "interpreter.h"

// Which nvcc's own headers declare, for nvcc alone.
extern "C" {
void** __cudaRegisterFatBinary(void* registered);
void __cudaRegisterFatBinaryEnd(void** handle);
void __cudaUnregisterFatBinary(void** handle);
char __cudaInitModule(void** handle);
void __cudaRegisterFunction(void** handle, const char* host_function, char* device_function,
                            const char* name, int thread_limit, uint3* thread, uint3* block,
                            dim3* block_size, dim3* grid_size, int* warp_size);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes,
                                     cudaStream_t stream);
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes,
                                       void* stream);
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function);
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared_bytes, cudaStream_t stream);

// For Python: copies to or from a GPU. Returns what is wrong, or null.
__attribute__((visibility("default"))) const char* interpreted_cuda_copy(void* to, const void* from,
                                                                         std::size_t bytes,
                                                                         int is_upload);
}

namespace interpreted {
namespace {

struct Device {
  int capability;  // 75 for 7.5
  int num_multiprocessors;
  std::size_t shared_bytes;  // that a block can ask for
};

constexpr std::size_t kSharedWithoutAsking = 48 * 1024;
constexpr std::size_t kSharedOfDevices[] = {8192, 16384, 49152, 101376, 232448};
constexpr int kMaxMultiprocessors = 4;

struct FatBinary {
  std::vector<PtxImage> images;
  std::map<int, std::unique_ptr<Module>> modules;  // by capability; read when first needed
};

struct Function {
  FatBinary* binary;
  std::string name;
  std::map<int, std::size_t> allowed_shared_bytes;  // by device
};

struct Call {
  dim3 grid, block;
  std::size_t shared_bytes;
  cudaStream_t stream;
};

struct Failure : std::runtime_error {
  Failure(cudaError_t code, const std::string& text) : std::runtime_error(text), code(code) {}
  cudaError_t code;
};

struct Runtime {
  std::recursive_mutex mutex;
  std::vector<std::unique_ptr<FatBinary>> binaries;
  std::map<const void*, Function> functions;  // by the host's function of that name
  std::vector<Device> devices;
  std::map<const void*, int> device_of;  // allocations
  std::set<cudaEvent_t> events;
  std::uintptr_t last_event = 0;
};

Runtime& runtime() {
  static auto* const all = new Runtime;  // never freed: outlives what is registered
  return *all;
}

struct Thread {
  int device = 0;
  std::vector<Call> calls;
  cudaError_t last_error = cudaSuccess;
  cudaError_t error_of_text = cudaSuccess;
  std::string text;
};
thread_local Thread this_thread;

// Runs a function of the library, and makes what it throws an error of it.
template <class Body>
cudaError_t guarded(const Body& body) {
  const auto fail = [](cudaError_t code, const char* text) {
    this_thread.last_error = this_thread.error_of_text = code;
    this_thread.text = text;
    return code;
  };
  try {
    const std::lock_guard lock(runtime().mutex);
    body(runtime());
    return cudaSuccess;
  } catch (const Failure& failure) {
    return fail(failure.code, failure.what());
  } catch (const std::invalid_argument& error) {  // sizes of a launch
    return fail(cudaErrorInvalidConfiguration, error.what());
  } catch (const std::logic_error& error) {  // a broken rule
    return fail(cudaErrorLaunchFailure, error.what());
  } catch (const std::runtime_error& error) {
    return fail(cudaErrorInvalidPtx, error.what());
  }
}

void require(bool holds, cudaError_t code, const char* text) {
  if (!holds) throw Failure(code, text);
}

const Device& device_at(int index) {
  const auto& devices = runtime().devices;
  require(index >= 0 && index < static_cast<int>(devices.size()), cudaErrorInvalidDevice,
          "no such device");
  return devices[index];
}

// There are no streams but those that always are.
void check_stream(cudaStream_t stream) {
  require(!stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread,
          cudaErrorInvalidResourceHandle, "no such stream");
}

void check_event(cudaEvent_t event) {
  require(runtime().events.count(event) == 1, cudaErrorInvalidResourceHandle, "no such event");
}

Function& function_of(const void* host_function) {
  const auto found = runtime().functions.find(host_function);
  require(found != runtime().functions.end(), cudaErrorInvalidDeviceFunction, "no such kernel");
  return found->second;
}

// The module of a kernel that a GPU takes: of the newest architecture that it understands.
Module& module_of(const Function& function, const Device& device) {
  FatBinary& binary = *function.binary;
  const PtxImage* best = nullptr;
  for (const PtxImage& image : binary.images) {
    if (image.capability <= device.capability && (!best || image.capability > best->capability)) {
      best = &image;
    }
  }
  require(best, cudaErrorNoKernelImageForDevice, "no PTX for this GPU");
  auto& module = binary.modules[best->capability];
  if (!module) module = std::make_unique<Module>(best->text);
  return *module;
}

void add_devices(int capability) {
  auto& devices = runtime().devices;
  const auto has = [&](const Device& device) { return device.capability == capability; };
  if (std::any_of(devices.begin(), devices.end(), has)) return;
  for (const std::size_t shared_bytes : kSharedOfDevices) {
    for (int n = 1; n <= kMaxMultiprocessors; ++n) devices.push_back({capability, n, shared_bytes});
  }
}

void check_sizes(const Call& call, const Device& device, const Kernel& kernel,
                 std::size_t allowed_shared_bytes) {
  const auto is_within = [](const dim3& size, unsigned x, unsigned y, unsigned z) {
    return size.x > 0 && size.x <= x && size.y > 0 && size.y <= y && size.z > 0 && size.z <= z;
  };
  const unsigned num_threads = call.block.x * call.block.y * call.block.z;
  require(is_within(call.grid, 2147483647, 65535, 65535) && is_within(call.block, 1024, 1024, 64) &&
              num_threads <= kernel.max_threads_per_block,
          cudaErrorInvalidConfiguration, "sizes that no launch can have");
  const std::size_t allowed =
      std::min(device.shared_bytes,
               std::max(kSharedWithoutAsking - kernel.shared_bytes, allowed_shared_bytes));
  require(call.shared_bytes + kernel.shared_bytes <= device.shared_bytes &&
              call.shared_bytes <= allowed,
          cudaErrorInvalidValue, "more shared memory than was asked for");
}

void launch(const void* host_function, const Call& call, void** arguments) {
  Function& function = function_of(host_function);
  const Device& device = device_at(this_thread.device);
  check_stream(call.stream);
  Module& module = module_of(function, device);
  check_sizes(call, device, module.kernel(function.name),
              function.allowed_shared_bytes[this_thread.device]);
  // Drawn anew for each kind of launch, but the same from run to run.
  std::uint64_t seed = 0;
  for (const std::uint64_t number :
       {std::uint64_t{call.grid.x}, std::uint64_t{call.block.x}, std::uint64_t{call.shared_bytes},
        static_cast<std::uint64_t>(this_thread.device)}) {
    seed = (seed ^ number) * 0x9e3779b97f4a7c15u;
    seed ^= seed >> 29;
  }
  module.run(function.name,
             {{call.grid.x, call.grid.y, call.grid.z},
              {call.block.x, call.block.y, call.block.z},
              call.shared_bytes,
              seed},
             arguments);
}

void allocate_on_device(void** to, std::size_t bytes) {
  device_at(this_thread.device);
  *to = allocate(bytes);
  runtime().device_of[*to] = this_thread.device;
}

void free_on_device(void* address) {
  if (!address) return;
  require(runtime().device_of.erase(address) == 1 && interpreted::free(address),
          cudaErrorInvalidValue, "no such allocation");
}

void copy_to_device(void* to, const void* from, std::size_t bytes) {
  require(is_allocated(to, bytes), cudaErrorInvalidValue, "copied to what is not allocated");
  std::memcpy(to, from, bytes);
  mark_written(to, bytes);
}

void copy_from_device(void* to, const void* from, std::size_t bytes) {
  require(is_allocated(from, bytes), cudaErrorInvalidValue, "copied from what is not allocated");
  const std::size_t written = num_written(from, bytes);
  if (written < bytes) {
    throw std::logic_error("initcheck: copied to the host, but byte " + std::to_string(written) +
                           " of " + std::to_string(bytes) + " was never written");
  }
  std::memcpy(to, from, bytes);
}

}  // namespace
}  // namespace interpreted

using namespace interpreted;

// What nvcc generates calls of
// ---------------------------------------------------------------------

void** __cudaRegisterFatBinary(void* registered) {
  FatBinary* binary = nullptr;
  guarded([&](Runtime& all) {
    all.binaries.push_back(std::make_unique<FatBinary>());
    binary = all.binaries.back().get();
    binary->images = ptx_images(registered);
    for (const PtxImage& image : binary->images) add_devices(image.capability);
  });
  return reinterpret_cast<void**>(binary);
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void**) {}  // the process ends

char __cudaInitModule(void**) { return 1; }

void __cudaRegisterFunction(void** handle, const char* host_function, char*, const char* name, int,
                            uint3*, uint3*, dim3*, dim3*, int*) {
  guarded([&](Runtime& all) {
    all.functions[host_function] = {reinterpret_cast<FatBinary*>(handle), name, {}};
  });
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes,
                                     cudaStream_t stream) {
  this_thread.calls.push_back({grid, block, shared_bytes, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes,
                                       void* stream) {
  return guarded([&](Runtime&) {
    require(!this_thread.calls.empty(), cudaErrorMissingConfiguration, "no launch to configure");
    const Call call = this_thread.calls.back();
    this_thread.calls.pop_back();
    *grid = call.grid;
    *block = call.block;
    *shared_bytes = call.shared_bytes;
    *static_cast<cudaStream_t*>(stream) = call.stream;
  });
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(host_function));
  return guarded([&](Runtime&) { function_of(host_function); });
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared_bytes, cudaStream_t stream) {
  return guarded([&](Runtime&) { launch(kernel, {grid, block, shared_bytes, stream}, arguments); });
}

// What nvcc before 13 has in the place of the two above.
cudaError_t cudaLaunchKernel(const void* host_function, dim3 grid, dim3 block, void** arguments,
                             std::size_t shared_bytes, cudaStream_t stream) {
  return guarded(
      [&](Runtime&) { launch(host_function, {grid, block, shared_bytes, stream}, arguments); });
}

// Errors
// -------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() { return std::exchange(this_thread.last_error, cudaSuccess); }

const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaSuccess) return "no error";
  return error == this_thread.error_of_text ? this_thread.text.c_str() : "an error";
}

// Devices
// ------------------------------------------------------------------------------------------

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  return guarded([&](Runtime& all) { *count = static_cast<int>(all.devices.size()); });
}

cudaError_t cudaGetDevice(int* device) {
  *device = this_thread.device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return guarded([&](Runtime&) {
    device_at(device);
    this_thread.device = device;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return guarded([&](Runtime&) {
    const Device& of = device_at(device);
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name,
                  "interpreted, %d multiprocessors, %zu bytes", of.num_multiprocessors,
                  of.shared_bytes);
    properties->major = of.capability / 10;
    properties->minor = of.capability % 10;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return guarded([&](Runtime&) {
    const Device& of = device_at(device);
    if (attribute == cudaDevAttrMultiProcessorCount) {
      *value = of.num_multiprocessors;
    } else {
      require(attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaErrorInvalidValue,
              "an attribute that the interpreted GPUs do not have");
      *value = static_cast<int>(of.shared_bytes);
    }
  });
}

cudaError_t cudaFuncSetAttribute(const void* host_function, cudaFuncAttribute attribute,
                                 int value) {
  return guarded([&](Runtime&) {
    Function& function = function_of(host_function);
    const Device& device = device_at(this_thread.device);
    require(attribute == cudaFuncAttributeMaxDynamicSharedMemorySize, cudaErrorInvalidValue,
            "an attribute that the interpreted kernels do not have");
    const std::size_t own = module_of(function, device).kernel(function.name).shared_bytes;
    require(value >= 0 && value + own <= device.shared_bytes, cudaErrorInvalidValue,
            "more shared memory than this GPU has");
    function.allowed_shared_bytes[this_thread.device] = value;
  });
}

// Memory
// -------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  return guarded([&](Runtime&) { allocate_on_device(address, bytes); });
}

cudaError_t cudaFree(void* address) {
  return guarded([&](Runtime&) { free_on_device(address); });
}

cudaError_t cudaMallocAsync(void** address, std::size_t bytes, cudaStream_t stream) {
  return guarded([&](Runtime&) {
    check_stream(stream);
    allocate_on_device(address, bytes);
  });
}

cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  return guarded([&](Runtime&) {
    check_stream(stream);
    free_on_device(address);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return guarded([&](Runtime&) {
    require(kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToHost,
            cudaErrorInvalidMemcpyDirection, "a copy that the interpreted GPUs cannot do");
    const auto run = kind == cudaMemcpyHostToDevice ? copy_to_device : copy_from_device;
    run(to, from, bytes);
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  return guarded([&](Runtime& all) {
    *attributes = {};
    const Allocation* allocation = find(address);
    if (!allocation) return;  // which is no error: memory of the host
    attributes->type = cudaMemoryTypeDevice;
    attributes->device = all.device_of.at(allocation->data);
    attributes->devicePointer = const_cast<void*>(address);
  });
}

// Streams and events, which have nothing to wait for
// ------------------------------------------------

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return guarded([&](Runtime& all) {
    *event = reinterpret_cast<cudaEvent_t>(++all.last_event);
    all.events.insert(*event);
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return guarded([&](Runtime& all) {
    check_event(event);
    all.events.erase(event);
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return guarded([&](Runtime&) {
    check_stream(stream);
    check_event(event);
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return guarded([&](Runtime&) {
    check_stream(stream);
    check_event(event);
  });
}

// ---------------------------------------------------------------------------------------------------

const char* interpreted_cuda_copy(void* to, const void* from, std::size_t bytes, int is_upload) {
  const auto kind = is_upload ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
  const cudaError_t error = cudaMemcpy(to, from, bytes, kind);
  cudaGetLastError();  // so that the next launch does not find it
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
