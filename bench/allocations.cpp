// Counts what a process allocates. Loaded before the C library (LD_PRELOAD), these functions take
// the place of its own, which they call by glibc's other names for them.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

std::atomic<std::int64_t> num_allocations, live_bytes, peak_bytes;
std::int64_t bytes_at_start;

void add(std::int64_t bytes) {
  const std::int64_t live = live_bytes += bytes;
  std::int64_t peak = peak_bytes;
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
}

void* counted(void* memory) {
  if (memory) {
    ++num_allocations;
    add(static_cast<std::int64_t>(malloc_usable_size(memory)));
  }
  return memory;
}

void forget(void* memory) {
  if (memory) add(-static_cast<std::int64_t>(malloc_usable_size(memory)));
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) { return counted(__libc_malloc(size)); }
void* calloc(std::size_t n, std::size_t size) { return counted(__libc_calloc(n, size)); }
void* memalign(std::size_t alignment, std::size_t size) {
  return counted(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  void* const allocated = memalign(alignment, size);
  if (!allocated) return ENOMEM;
  *memory = allocated;
  return 0;
}
void* realloc(void* memory, std::size_t size) {
  const std::int64_t before =
      memory ? static_cast<std::int64_t>(malloc_usable_size(memory)) : std::int64_t{0};
  void* const result = __libc_realloc(memory, size);
  if (result || size == 0) add(-before);  // else the old memory is still there
  return counted(result);
}
void free(void* memory) {
  forget(memory);
  __libc_free(memory);
}

// From here on: allocations, and the most bytes that were in use at once beyond those in use now.
void start_counting() {
  num_allocations = 0;
  bytes_at_start = live_bytes;
  peak_bytes = bytes_at_start;
}
std::int64_t counted_allocations() { return num_allocations; }
std::int64_t counted_peak_bytes() { return peak_bytes - bytes_at_start; }
}
