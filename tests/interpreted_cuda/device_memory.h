// The memory of the interpreted GPU: the host's, with a note of which bytes belong to whom and
// which of them were ever written.
#pragma once

#include <cstddef>
#include <cstdint>

namespace interpreted {

class RaceCells;

struct Allocation {
  std::byte* data;
  std::size_t bytes;
  std::uint8_t* written;  // of each byte, whether it was
  RaceCells* cells;       // who used it last
};

// Zero bytes have an address of their own, too. What is there is garbage, and counts as unwritten.
// Around it are guards, which belong to no allocation.
void* allocate(std::size_t bytes);

// False where no allocation begins at `address`. Throws std::logic_error where somebody wrote into
// the guards, which a kernel cannot, but the host can.
bool free(void* address);

// The allocation that has the byte at `address`, or, of no bytes, begins there; null without one.
// It stays where it is until it is freed.
const Allocation* find(const void* address);

// Whether all `bytes` from `address` belong to one allocation.
bool is_allocated(const void* address, std::size_t bytes);

// These three throw std::logic_error where not all of the bytes belong to one allocation.
// A copy from the host, or a memset, writes them all:
void mark_written(const void* address, std::size_t bytes);
// Memory lent anew, by a framework that keeps some, counts as unwritten again:
void mark_unwritten(const void* address, std::size_t bytes);
// How many bytes from `address` are written before the first that is not; `bytes` if all are.
std::size_t num_written(const void* address, std::size_t bytes);

// A copy from the device to the device copies with the bytes whether they were written.
void copy(void* to, const void* from, std::size_t bytes);

std::size_t num_allocations();  // not freed

}  // namespace interpreted
