// An interpreter of PTX, NVIDIA's assembly language for all of its GPUs: runs the kernels that nvcc
// compiled on the CPU, for tests. Arithmetic is exact, bit for bit what a GPU's is. As it sees
// every access, it checks what compute-sanitizer does, and more strictly:
// - memcheck: each access is inside a live allocation, shared memory or the frame, and aligned.
// - initcheck: no global or shared memory is read that was never written, and no branch, address or
//   collective depends on a register that was never set, whatever way its value took.
// - racecheck, of shared and of global memory: no thread uses what another one writes unless a
//   barrier of the block, or of lanes of one warp, orders the two; other collectives order nothing.
//   No block uses what another one of the launch writes.
// - synccheck: all threads of a block come to a barrier, and all lanes of its mask to a collective,
//   at one place in one chain of calls.
//
// Warps go in lockstep; the order of the blocks, of the warps, and of the parts of a warp that took
// different branches is drawn, but the checks do not depend on it: the wrong order need not happen.
//
// Known are the instructions that the kernels of csrc/ may come to have: no atomics, no barriers
// but the block's first, no approximations, no tensor cores, no indirect calls. Any other one is an
// error when a module is loaded.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace interpreted {

struct Launch {
  std::array<unsigned, 3> grid, block;
  std::size_t shared_bytes = 0;  // dynamic
  std::uint64_t seed = 0;        // of what is drawn; 0: nothing is
};

struct Parameter {
  std::size_t offset, bytes;  // among all of the kernel's
};

struct Kernel {
  std::vector<Parameter> parameters;
  std::size_t shared_bytes;        // static
  unsigned max_threads_per_block;  // of __launch_bounds__; 1024 without
};

struct Variable {
  void* address;
  std::size_t bytes;
};

// A PTX module. Only one thread runs a kernel at a time: others wait.
class Module {
 public:
  // Throws std::runtime_error where the text has something that is not known here, and names it.
  explicit Module(std::string_view ptx);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  bool has_kernel(std::string_view name) const;
  Kernel kernel(std::string_view name) const;

  // A .global or .const variable; its address is null where there is no such variable.
  Variable variable(std::string_view name) const;

  // Runs a launch to its end. arguments[i] points to the value of the i-th parameter.
  // Throws std::logic_error where a rule is broken. The message names the check (memcheck,
  // initcheck, racecheck or synccheck), kernel, block, threads, and the place.
  // Throws std::invalid_argument where there is no such kernel, or its sizes cannot be launched.
  void run(std::string_view kernel, const Launch& launch, void** arguments);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What was done since the process began, or since reset_counts().
struct Counts {
  std::uint64_t launches = 0;
  std::uint64_t instructions = 0;     // of warps: each once for all threads that do it together
  std::uint64_t global_accesses = 0;  // instructions of warps that load or store global memory
  std::uint64_t global_sectors = 0;   // of 32 bytes, that these touch
  std::uint64_t global_bytes = 0;     // that these ask for
  std::uint64_t shared_accesses = 0;
  std::uint64_t shared_conflicts = 0;  // more passes than one through the banks
  std::uint64_t block_barriers = 0;    // of warps
};
Counts counts();
void reset_counts();

}  // namespace interpreted
