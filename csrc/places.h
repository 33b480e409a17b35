// How a piece of memory of a GPU is divided.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host_device.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Places in a piece of memory, in bytes from its begin, each for so many values of a type.
class Places {
 public:
  template <class T>
  std::int64_t take(std::int64_t n) {
    const std::int64_t place = end_;
    end_ += (n * static_cast<std::int64_t>(sizeof(T)) + 15) / 16 * 16;
    return place;
  }
  std::int64_t end() const { return end_; }

 private:
  std::int64_t end_ = 0;
};

// What is at a place of the memory from `begin` on.
template <class T>
VL4POSE_DEVICE T* array_at(std::byte* begin, std::int64_t place) {
  return reinterpret_cast<T*>(begin + place);
}

// A piece of memory and the places in it, which a GPU reads from where all threads share them.
template <class Layout>
struct Memory {
  std::byte* begin;
  const Layout& at;

  template <class T>
  VL4POSE_DEVICE T* array(std::int64_t place) const {
    return array_at<T>(begin, place);
  }
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
