// Memory that a kernel keeps from image to image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

inline constexpr std::int64_t kCacheLine = 64;  // bytes

// n values of a plain type, aligned to a cache line. (A std::vector's code would be shared between
// the files that are compiled for different CPUs, and the linker keeps any one of them.)
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t n, T value = T{}) : Buffer(uninitialized(n)) {
    for (std::int64_t i = 0; i < n; ++i) data_[i] = value;
  }
  // For values that are written before they are read.
  static Buffer uninitialized(std::int64_t n) {
    // Aligned by hand: an aligned operator new takes longer, which shows in a call for one image.
    constexpr std::uintptr_t kLine = kCacheLine;
    Buffer buffer;
    buffer.memory_ = ::operator new(static_cast<std::size_t>(n) * sizeof(T) + kLine);
    const auto address = reinterpret_cast<std::uintptr_t>(buffer.memory_);
    buffer.data_ = reinterpret_cast<T*>((address + kLine - 1) / kLine * kLine);
    buffer.size_ = n;
    return buffer;
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { ::operator delete(memory_); }

  std::int64_t size() const { return size_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](std::int64_t i) { return data_[i]; }
  const T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  void* memory_ = nullptr;
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
