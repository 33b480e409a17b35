// Memory of which launches need much, for a short time each.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <utility>

namespace interpreted {

// Bytes that are kept for the next who needs them: the system's memory has to be cleared each time.
// For one thread at a time.
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(std::size_t bytes) : bytes_(bytes) {
    const auto found = kept().lower_bound(bytes);
    if (found == kept().end() || found->first > 2 * bytes + 4096) {
      memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
    } else {
      bytes_ = found->first;
      memory_ = std::move(found->second);
      kept().erase(found);
    }
  }
  Scratch(Scratch&&) = default;
  Scratch& operator=(Scratch&& other) {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Scratch() {
    if (memory_) kept().emplace(bytes_, std::move(memory_));
  }

  std::byte* get() const { return memory_.get(); }

 private:
  using Kept = std::multimap<std::size_t, std::unique_ptr<std::byte[]>>;
  static Kept& kept() {
    static Kept* const kept = new Kept;
    return *kept;
  }

  std::unique_ptr<std::byte[]> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace interpreted
