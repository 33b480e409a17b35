#include "interpreter.h"

#include <cfenv>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>

#include "block.h"
#include "device_memory.h"
#include "instruction.h"

namespace interpreted {
namespace {

std::mutex& running() {
  static std::mutex mutex;
  return mutex;
}

Counts& all_counts() {
  static Counts counts;
  return counts;
}

void add(Counts& to, const Counts& from) {
  to.launches += from.launches;
  to.instructions += from.instructions;
  to.global_accesses += from.global_accesses;
  to.global_sectors += from.global_sectors;
  to.global_bytes += from.global_bytes;
  to.shared_accesses += from.shared_accesses;
  to.shared_conflicts += from.shared_conflicts;
  to.block_barriers += from.block_barriers;
}

}  // namespace

struct Module::Impl {
  std::string ptx;
  Program program;

  explicit Impl(std::string_view text) : ptx(text), program(decode(ptx)) {}
  ~Impl() {
    for (const auto& [variable, memory] : program.memory_of) interpreted::free(memory);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const Function* find(std::string_view name) const {
    const auto found = program.function_of.find(name);
    if (found == program.function_of.end()) return nullptr;
    const Function& function = program.functions[found->second];
    return function.text->is_kernel ? &function : nullptr;
  }
  const Function& get(std::string_view name) const {
    const Function* const function = find(name);
    if (!function) throw std::invalid_argument("no such kernel: " + std::string(name));
    return *function;
  }
};

Module::Module(std::string_view ptx) : impl_(std::make_unique<Impl>(ptx)) {}
Module::~Module() = default;

bool Module::has_kernel(std::string_view name) const { return impl_->find(name) != nullptr; }

Kernel Module::kernel(std::string_view name) const {
  const Function& function = impl_->get(name);
  Kernel kernel{.parameters = {},
                .shared_bytes = function.text->shared_bytes,
                .max_threads_per_block = function.text->max_threads};
  for (const ptx::Variable* const variable : function.text->parameters) {
    kernel.parameters.push_back({variable->offset, variable->bytes});
  }
  return kernel;
}

Variable Module::variable(std::string_view name) const {
  const auto& variables = impl_->program.text.global_of;
  const auto found = variables.find(name);
  if (found == variables.end()) return {nullptr, 0};
  const auto memory = impl_->program.memory_of.find(found->second);
  if (memory == impl_->program.memory_of.end()) return {nullptr, 0};
  return {memory->second, found->second->bytes};
}

void Module::run(std::string_view name, const Launch& launch, void** arguments) {
  const Function& function = impl_->get(name);
  const std::size_t num_threads = std::size_t{launch.block[0]} * launch.block[1] * launch.block[2];
  if (num_threads == 0 || num_threads > function.text->max_threads) {
    throw std::invalid_argument("a launch of " + std::to_string(num_threads) +
                                " threads a block of a kernel for at most " +
                                std::to_string(function.text->max_threads));
  }
  if (launch.grid[0] == 0 || launch.grid[1] == 0 || launch.grid[2] == 0) {
    throw std::invalid_argument("a launch of no blocks");
  }
  std::vector<std::byte> params;
  for (std::size_t i = 0; i < function.text->parameters.size(); ++i) {
    const ptx::Variable& variable = *function.text->parameters[i];
    params.resize(variable.offset + variable.bytes);
    std::memcpy(&params[variable.offset], arguments[i], variable.bytes);
  }
  const std::lock_guard lock(running());
  // Rounding, and subnormal numbers, as GPUs have them, whatever the host was told.
  std::fenv_t environment;
  std::feholdexcept(&environment);
  std::fesetenv(FE_DFL_ENV);
  const struct Restore {
    const std::fenv_t& environment;
    ~Restore() { std::fesetenv(&environment); }
  } restore{environment};
  Block block(impl_->program, function, launch, std::move(params));
  const struct Count {
    Block& block;
    ~Count() { add(all_counts(), block.counts()); }
  } count{block};
  block.run_all();
}

Counts counts() {
  const std::lock_guard lock(running());
  return all_counts();
}

void reset_counts() {
  const std::lock_guard lock(running());
  all_counts() = {};
}

}  // namespace interpreted
