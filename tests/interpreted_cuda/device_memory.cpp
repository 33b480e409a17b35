#include "device_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "race.h"

namespace interpreted {
namespace {

constexpr std::size_t kGuard = 256;  // cudaMalloc aligns to as much
constexpr int kGuardByte = 0xa5, kGarbage = 0xcb;

struct Owned : Allocation {
  ~Owned() { std::free(memory); }
  std::byte* memory = nullptr;  // with its guards
  std::vector<std::uint8_t> notes;
  std::unique_ptr<RaceCells> race_cells;
};

struct Allocations {
  std::mutex mutex;
  std::map<std::uintptr_t, std::unique_ptr<Owned>> by_begin;
};

Allocations& allocations() {
  static Allocations* const all = new Allocations;  // kept until the process ends
  return *all;
}

std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

const Allocation& find_all(const void* address, std::size_t bytes) {
  if (!is_allocated(address, bytes)) {
    throw std::logic_error("memcheck: the " + std::to_string(bytes) +
                           " bytes that the host asks for are not in one allocation");
  }
  return *find(address);
}

}  // namespace

void* allocate(std::size_t bytes) {
  auto owned = std::make_unique<Owned>();
  const std::size_t size = (bytes + kGuard - 1) / kGuard * kGuard;
  owned->memory = static_cast<std::byte*>(std::aligned_alloc(kGuard, size + 2 * kGuard));
  if (!owned->memory) throw std::bad_alloc();
  owned->data = owned->memory + kGuard;
  owned->bytes = bytes;
  owned->notes.resize(bytes + 16);
  owned->written = owned->notes.data();
  owned->race_cells = std::make_unique<RaceCells>(bytes);
  owned->cells = owned->race_cells.get();
  std::memset(owned->memory, kGuardByte, size + 2 * kGuard);
  std::memset(owned->data, kGarbage, bytes);
  void* const data = owned->data;
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  all.by_begin[number(data)] = std::move(owned);
  return data;
}

bool free(void* address) {
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_begin.find(number(address));
  if (found == all.by_begin.end()) return false;
  const std::unique_ptr<Owned> owned = std::move(found->second);
  all.by_begin.erase(found);
  const auto is_touched = [](std::byte byte) { return byte != std::byte{kGuardByte}; };
  const std::byte* const end = owned->data + owned->bytes;
  if (std::any_of(owned->memory, owned->data, is_touched) ||
      std::any_of(end, end + kGuard, is_touched)) {
    throw std::logic_error("memcheck: the host wrote before or behind an allocation");
  }
  return true;
}

const Allocation* find(const void* address) {
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  auto after = all.by_begin.upper_bound(number(address));
  if (after == all.by_begin.begin()) return nullptr;
  const Allocation& allocation = *(--after)->second;
  const std::size_t offset = number(address) - number(allocation.data);
  return offset < std::max<std::size_t>(allocation.bytes, 1) ? &allocation : nullptr;
}

bool is_allocated(const void* address, std::size_t bytes) {
  const Allocation* const allocation = find(address);
  return allocation && bytes <= allocation->bytes - (number(address) - number(allocation->data));
}

void mark_written(const void* address, std::size_t bytes) {
  const Allocation& all = find_all(address, bytes);
  std::memset(all.written + (number(address) - number(all.data)), 1, bytes);
}

void mark_unwritten(const void* address, std::size_t bytes) {
  const Allocation& all = find_all(address, bytes);
  std::memset(all.written + (number(address) - number(all.data)), 0, bytes);
}

std::size_t num_written(const void* address, std::size_t bytes) {
  const Allocation& all = find_all(address, bytes);
  const std::uint8_t* const first = all.written + (number(address) - number(all.data));
  return static_cast<std::size_t>(std::find(first, first + bytes, 0) - first);
}

void copy(void* to, const void* from, std::size_t bytes) {
  const Allocation &target = find_all(to, bytes), &source = find_all(from, bytes);
  std::memmove(to, from, bytes);
  std::memmove(target.written + (number(to) - number(target.data)),
               source.written + (number(from) - number(source.data)), bytes);
}

std::size_t num_allocations() {
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  return all.by_begin.size();
}

}  // namespace interpreted
