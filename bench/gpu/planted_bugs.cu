// A bug for each of compute-sanitizer's tools, so that gpu.sh can tell a tool that finds nothing
// from one that does not look. Usage: planted_bugs TOOL bug|none; the same kernel, with and
// without.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

namespace {

constexpr int kThreads = 64;

// memcheck: one thread writes behind the end.
template <bool kHasBug>
__global__ void out_of_bounds(const int*, int* to) {
  to[threadIdx.x + (kHasBug ? 1 : 0)] = static_cast<int>(threadIdx.x);
}

// racecheck: a thread reads what one of another warp writes, and nobody waits.
template <bool kHasBug>
__global__ void race(const int* from, int* to) {
  __shared__ int values[kThreads];
  values[threadIdx.x] = from[threadIdx.x];
  if (!kHasBug) __syncthreads();
  to[threadIdx.x] = values[kThreads - 1 - threadIdx.x];
}

// initcheck: the second half of what is read was never written.
template <bool kHasBug>
__global__ void uninitialised(const int* from, int* to) {
  to[threadIdx.x] = from[threadIdx.x + (kHasBug ? kThreads : 0)];
}

// synccheck: the threads of a warp come to two barriers.
template <bool kHasBug>
__global__ void divergent_barrier(const int* from, int* to) {
  __shared__ int values[kThreads];
  constexpr unsigned kSome = kHasBug ? kThreads - 16 : kThreads;
  if (threadIdx.x < kSome) {
    values[threadIdx.x] = from[threadIdx.x];
    __syncthreads();
    to[threadIdx.x] = values[kSome - 1 - threadIdx.x];
  } else {
    values[threadIdx.x] = -from[threadIdx.x];
    __syncthreads();
    to[threadIdx.x] = values[threadIdx.x - kSome] + 1;
  }
}

using Kernel = void (*)(const int*, int*);
struct Planted {
  const char* tool;
  Kernel with_bug, without;
};
constexpr Planted kPlanted[] = {
    {"memcheck", out_of_bounds<true>, out_of_bounds<false>},
    {"racecheck", race<true>, race<false>},
    {"initcheck", uninitialised<true>, uninitialised<false>},
    {"synccheck", divergent_barrier<true>, divergent_barrier<false>},
};

bool succeeds(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return true;
  std::fprintf(stderr, "planted_bugs: %s: %s\n", what, cudaGetErrorString(error));
  return false;
}

// Whether the launch went well, which with a bug it need not.
bool run(Kernel kernel) {
  constexpr std::size_t kBytes = kThreads * sizeof(int);
  const int values[kThreads] = {};
  int results[kThreads];
  int *from = nullptr, *to = nullptr;
  if (!succeeds(cudaMalloc(&from, 2 * kBytes), "cudaMalloc") ||
      !succeeds(cudaMalloc(&to, kBytes), "cudaMalloc") ||
      !succeeds(cudaMemcpy(from, values, kBytes, cudaMemcpyHostToDevice), "cudaMemcpy")) {
    return false;
  }
  kernel<<<1, kThreads>>>(from, to);
  return succeeds(cudaGetLastError(), "launch") &&
         succeeds(cudaMemcpy(results, to, kBytes, cudaMemcpyDeviceToHost), "results") &&
         succeeds(cudaFree(from), "cudaFree") && succeeds(cudaFree(to), "cudaFree");
}

}  // namespace

int main(int argc, char** argv) {
  for (const Planted& planted : kPlanted) {
    if (argc == 3 && std::strcmp(argv[1], planted.tool) == 0) {
      const bool has_bug = std::strcmp(argv[2], "bug") == 0;
      return run(has_bug ? planted.with_bug : planted.without) ? 0 : 1;
    }
  }
  std::fprintf(stderr, "usage: planted_bugs memcheck|racecheck|initcheck|synccheck bug|none\n");
  return 2;
}
