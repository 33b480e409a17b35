// Tests of cudart.cpp: that a launch runs, and that what a GPU refuses is refused.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

void check(bool holds, const char* what, int line) {
  if (holds) return;
  std::fprintf(stderr, "cudart_test.cu:%d: %s does not hold; last failed launch: %s\n", line, what,
               cudaGetErrorString(cudaErrorLaunchFailure));
  std::exit(1);
}
#define CHECK(condition) check(condition, #condition, __LINE__)

constexpr int kThreads = 64;

// Each thread takes what another one of its block put into shared memory.
__global__ void reversed(const int* from, int* to, int scale) {
  extern __shared__ int values[];
  values[threadIdx.x] = from[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  to[blockIdx.x * blockDim.x + threadIdx.x] = scale * values[blockDim.x - 1 - threadIdx.x];
}

__global__ void architecture(int* to) {
#if defined(__CUDA_ARCH__)
  *to = __CUDA_ARCH__;
#endif
}

__global__ void __launch_bounds__(32) of_one_warp() {}

cudaError_t launched(std::size_t shared_bytes, int num_threads = kThreads) {
  static int *from = nullptr, *to = nullptr;
  if (!from) {
    const int zeros[1024] = {};
    cudaMalloc(&from, sizeof zeros);
    cudaMalloc(&to, sizeof zeros);
    cudaMemcpy(from, zeros, sizeof zeros, cudaMemcpyHostToDevice);
  }
  cudaGetLastError();  // which may be of a call before
  reversed<<<1, num_threads, shared_bytes>>>(from, to, 1);
  return cudaGetLastError();
}

int attribute_of(cudaDeviceAttr attribute, int device) {
  int value = 0;
  CHECK(cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess);
  return value;
}

void test_launch() {
  constexpr int kBlocks = 3, kValues = kBlocks * kThreads;
  int values[kValues], results[kValues];
  for (int i = 0; i < kValues; ++i) values[i] = i;
  int *from = nullptr, *to = nullptr;
  CHECK(cudaMalloc(&from, sizeof values) == cudaSuccess);
  CHECK(cudaMalloc(&to, sizeof values) == cudaSuccess);
  CHECK(cudaMemcpy(from, values, sizeof values, cudaMemcpyHostToDevice) == cudaSuccess);
  reversed<<<kBlocks, kThreads, kThreads * sizeof(int)>>>(from, to, -2);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaMemcpy(results, to, sizeof results, cudaMemcpyDeviceToHost) == cudaSuccess);
  for (int i = 0; i < kValues; ++i) {
    const int begin = i / kThreads * kThreads;
    CHECK(results[i] == -2 * (begin + kThreads - 1 - (i - begin)));
  }
  CHECK(cudaFree(from) == cudaSuccess);
  CHECK(cudaFree(to) == cudaSuccess);
}

// Each GPU runs the PTX of its own architecture.
void test_devices() {
  int count = 0;
  bool has_old = false, has_new = false;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, device) == cudaSuccess);
    const int capability = properties.major * 10 + properties.minor;
    has_old = has_old || capability == 75;
    has_new = has_new || capability == 90;
    CHECK(cudaSetDevice(device) == cudaSuccess);
    int current = -1, found = 0;
    CHECK(cudaGetDevice(&current) == cudaSuccess && current == device);
    int* to = nullptr;
    CHECK(cudaMalloc(&to, sizeof *to) == cudaSuccess);
    cudaPointerAttributes attributes;
    CHECK(cudaPointerGetAttributes(&attributes, to) == cudaSuccess);
    CHECK(attributes.type == cudaMemoryTypeDevice && attributes.device == device);
    architecture<<<1, 1>>>(to);
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cudaMemcpy(&found, to, sizeof found, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(found == 10 * capability);
    CHECK(cudaFree(to) == cudaSuccess);
  }
  CHECK(has_old && has_new);
  CHECK(cudaSetDevice(count) == cudaErrorInvalidDevice);
  CHECK(cudaSetDevice(0) == cudaSuccess);
  cudaPointerAttributes attributes;
  CHECK(cudaPointerGetAttributes(&attributes, &count) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
}

// What a block can have without asking, what it can ask for, and what it asked for.
void test_shared_memory() {
  constexpr int kWithout = 48 * 1024;
  int count = 0;
  cudaGetDeviceCount(&count);
  for (int device = 0; device < count; ++device) {
    const int most = attribute_of(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    const auto allow = [](int bytes) {
      return cudaFuncSetAttribute(reversed, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    };
    CHECK(cudaSetDevice(device) == cudaSuccess);
    CHECK(launched(most < kWithout ? most : kWithout) == cudaSuccess);
    CHECK(launched(most + 4) == cudaErrorInvalidValue);
    CHECK(launched(kWithout + 4) == cudaErrorInvalidValue);
    CHECK(allow(most + 4) == cudaErrorInvalidValue);
    CHECK(allow(most) == cudaSuccess);
    CHECK(launched(most) == cudaSuccess);
    CHECK(launched(most + 4) == cudaErrorInvalidValue);
  }
  CHECK(cudaSetDevice(0) == cudaSuccess);
}

void test_sizes() {
  CHECK(launched(4096, 1024) == cudaSuccess);
  CHECK(launched(8192, 1025) == cudaErrorInvalidConfiguration);
  CHECK(launched(0, 0) == cudaErrorInvalidConfiguration);
  of_one_warp<<<1, 32>>>();
  CHECK(cudaGetLastError() == cudaSuccess);
  of_one_warp<<<1, 64>>>();
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  of_one_warp<<<0, 32>>>();
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
}

void test_copies() {
  int values[2] = {7, 8};
  int* memory = nullptr;
  CHECK(cudaMalloc(&memory, sizeof values) == cudaSuccess);
  CHECK(cudaMemcpy(memory, values, sizeof(int), cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(cudaMemcpy(values, memory, sizeof(int), cudaMemcpyDeviceToHost) == cudaSuccess);
  const cudaError_t unwritten = cudaMemcpy(values, memory, sizeof values, cudaMemcpyDeviceToHost);
  CHECK(unwritten == cudaErrorLaunchFailure);
  CHECK(std::string(cudaGetErrorString(unwritten)) ==
        "initcheck: copied to the host, but byte 4 of 8 was never written");
  CHECK(cudaMemcpy(memory + 1, values, sizeof values, cudaMemcpyHostToDevice) ==
        cudaErrorInvalidValue);
  CHECK(cudaMemcpy(values, values, sizeof values, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaFree(memory + 1) == cudaErrorInvalidValue);
  CHECK(cudaFree(memory) == cudaSuccess);
  CHECK(cudaFree(memory) == cudaErrorInvalidValue);
  CHECK(cudaFree(nullptr) == cudaSuccess);
}

void test_streams() {
  const auto unknown = reinterpret_cast<cudaStream_t>(64);
  cudaEvent_t event;
  CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
  CHECK(cudaEventRecord(event, unknown) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventRecord(event, cudaStreamPerThread) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(nullptr, event, 0) == cudaSuccess);
  CHECK(cudaEventDestroy(event) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(nullptr, event, 0) == cudaErrorInvalidResourceHandle);
  void* memory = nullptr;
  CHECK(cudaMallocAsync(&memory, 16, unknown) == cudaErrorInvalidResourceHandle);
  CHECK(cudaMallocAsync(&memory, 16, nullptr) == cudaSuccess);
  CHECK(cudaFreeAsync(memory, nullptr) == cudaSuccess);
}

}  // namespace

int main() {
  test_launch();
  test_devices();
  test_shared_memory();
  test_sizes();
  test_copies();
  test_streams();
  std::puts("cudart_test: passed");
}
