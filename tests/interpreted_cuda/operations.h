// Arithmetic, logic and conversions: what an instruction does with registers alone.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "instruction.h"

namespace interpreted {

struct Operation {
  Run run = nullptr;
  int num_operands = 0;
  std::array<std::uint8_t, Instruction::kMaxOperands> bytes{};  // of a lane; 0 of predicates
  int num_written = 1;
  bool is_loose = false;       // registers may be wider than the operands
  bool has_immediate = false;  // the last operand, which is in the instruction
  std::uint8_t detail = 0;
  Instruction::Kind kind = Instruction::Kind::simple;
};

// Null where it is not known.
const Operation* find_operation(std::string_view opcode);

}  // namespace interpreted
