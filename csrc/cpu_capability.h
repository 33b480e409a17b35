// The instruction sets that the kernels are compiled for, and the choice among them. Results are
// the same bit for bit with each.
#pragma once

#include <string>
#include <vector>

namespace vl4pose {

// Those that this machine has, the narrowest vectors first: "baseline" (what every CPU of the
// architecture has: SSE2 on x86-64, NEON on aarch64), "avx2", "avx512".
std::vector<std::string> cpu_capabilities();

// The one in use, for the whole process: the one set, or that of the environment variable
// VL4POSE_CPU_CAPABILITY, or the widest. Throws std::invalid_argument when the variable names one
// that this machine does not have.
std::string cpu_capability();

// Sets it for the calls that begin from now on; throws std::invalid_argument likewise.
void set_cpu_capability(const std::string& name);

}  // namespace vl4pose
