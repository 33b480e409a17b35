#include "block_order.h"

#include <numeric>

namespace interpreted {

std::vector<std::uint32_t> block_order(const Function& function) {
  std::vector<std::uint32_t> rank(function.code.size());
  std::iota(rank.begin(), rank.end(), 0);
  return rank;
}

}  // namespace interpreted
