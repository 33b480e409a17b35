#pragma once

#include <cstdint>

namespace vl4pose {

struct Range {
  std::int64_t begin, end;
};

}  // namespace vl4pose
