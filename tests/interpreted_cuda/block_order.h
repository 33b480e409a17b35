#pragma once

#include <cstdint>
#include <vector>

#include "instruction.h"

namespace interpreted {

// The order in which lanes that took different branches go on, so that they meet soon: for each
// instruction a number. Lanes with the least one go first.
std::vector<std::uint32_t> block_order(const Function& function);

}  // namespace interpreted
