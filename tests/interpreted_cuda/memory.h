// Loads and stores, each of which is checked: that it is inside and aligned, that what is read was
// written, and that no other thread uses it at the same time.
#pragma once

#include <cstdint>
#include <string_view>

#include "instruction.h"

namespace interpreted {

// Sets what the opcode says of an access: what is run, the space, and the elements. False where it
// is no access, or not one that is known.
bool set_access(std::string_view opcode, Instruction& instruction);

enum class AccessKind : std::uint8_t {
  none,      // no operands
  load,      // values, address
  store,     // address, values: kept in the order of a load
  prefetch,  // address
  copy,      // address to, address from, bytes, and perhaps how many are not zeros
  wait,      // how many groups may be missing
};
AccessKind access_kind(const Instruction& instruction);

// operands[0] is the address of `immediate` in the frame's local memory.
void frame_address(Warp& warp, const Instruction& instruction);
// Between generic addresses and those of a space: operands[0] from operands[1].
void to_generic(Warp& warp, const Instruction& instruction);
void from_generic(Warp& warp, const Instruction& instruction);
void is_space(Warp& warp, const Instruction& instruction);

}  // namespace interpreted
