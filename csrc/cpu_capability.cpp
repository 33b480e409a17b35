#include "cpu_capability.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "kernels.h"

namespace vl4pose {

namespace baseline {
extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
}  // namespace baseline
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
}  // namespace avx2
namespace avx512 {
extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
}  // namespace avx512
#endif
#if defined(VL4POSE_EMULATE_CUDA)
namespace cuda_emulated {
extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
}  // namespace cuda_emulated
#endif

namespace {

struct Capability {
  const char* name;
  bool (*is_supported)();
  const Kernels<float>& float_kernels;
  const Kernels<double>& double_kernels;
};

// As CMakeLists.txt says, the kernels are compiled for x86-64-v3 and -v4. Of what these ask for,
// what no CPU that has the rest is without is not asked about; not all compilers know its name.
#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#endif

constexpr Capability kCapabilities[] = {
#if defined(VL4POSE_EMULATE_CUDA)  // first, so that it is not the default
    {"cuda_emulated", [] { return true; }, cuda_emulated::float_kernels,
     cuda_emulated::double_kernels},
#endif
    {"baseline", [] { return true; }, baseline::float_kernels, baseline::double_kernels},
#if defined(__x86_64__)
    {"avx2", has_avx2, avx2::float_kernels, avx2::double_kernels},
    {"avx512",
     [] {
       return has_avx2() && __builtin_cpu_supports("avx512f") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
     },
     avx512::float_kernels, avx512::double_kernels},
#endif
};

const Capability& find(const std::string& name, const char* argument) {
  for (const Capability& capability : kCapabilities) {
    if (name == capability.name && capability.is_supported()) return capability;
  }
  std::string names;
  for (const std::string& valid : cpu_capabilities()) names += (names.empty() ? "" : ", ") + valid;
  throw std::invalid_argument(std::string(argument) + " must be one of " + names +
                              " on this machine, got '" + name + "'");
}

const Capability& initial() {
  const char* name = std::getenv("VL4POSE_CPU_CAPABILITY");
  return find(name && *name ? name : cpu_capabilities().back(), "VL4POSE_CPU_CAPABILITY");
}

std::atomic<const Capability*> in_use{nullptr};

const Capability& current() {
  const Capability* capability = in_use.load(std::memory_order_relaxed);
  if (!capability) {
    // Two first calls at once find the same; one that is set meanwhile stays.
    const Capability* unset = nullptr;
    in_use.compare_exchange_strong(unset, &initial());
    capability = in_use.load();
  }
  return *capability;
}

}  // namespace

std::vector<std::string> cpu_capabilities() {
  std::vector<std::string> names;
  for (const Capability& capability : kCapabilities) {
    if (capability.is_supported()) names.emplace_back(capability.name);
  }
  return names;
}

std::string cpu_capability() { return current().name; }

void set_cpu_capability(const std::string& name) { in_use.store(&find(name, "capability")); }

template <>
const Kernels<float>& kernels() {
  return current().float_kernels;
}

template <>
const Kernels<double>& kernels() {
  return current().double_kernels;
}

}  // namespace vl4pose
