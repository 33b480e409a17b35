// Instructions in the form that they are run in, and the state of the warp that runs them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "ptx.h"

namespace interpreted {

inline constexpr int kLanes = 32;
inline constexpr std::uint32_t kAllLanes = 0xffffffff;

class Warp;
struct Instruction;

// What the lanes in warp.active do, one instruction.
using Run = void (*)(Warp& warp, const Instruction& instruction);

// Of all lanes, side by side; of predicates the bits of one number.
struct Operand {
  enum class Area : std::uint8_t { frame, constant, special };
  std::uint32_t offset = 0;  // in its area, in bytes
  std::uint32_t index = 0;   // of what says in which lanes it is defined
  Area area = Area::frame;
  std::uint8_t bytes = 0;  // of a lane; 0 for predicates, and where there is no operand
  bool is_negated = false;
};

// What a barrier of the block says about the threads whose predicate holds.
enum class BarrierValue : std::uint8_t { count, all, any };

struct Instruction {
  // What is left to the warp, as the lanes part or meet there.
  enum class Kind : std::uint8_t {
    simple,
    branch,     // to target
    branch_of,  // to one of targets
    call,       // of function `target`
    ret,
    exit,
    collective,  // of the lanes in the mask, which is the last operand
    barrier,     // of the block
    trap,
  };
  static constexpr int kMaxOperands = 6;

  Run run = nullptr;
  std::array<Operand, kMaxOperands> operands{};  // what is written first
  Operand guard;
  bool has_guard = false;
  bool is_leader = false;  // lanes that parted may meet here
  Kind kind = Kind::simple;

  // Of accesses to memory, whose address is the last operand.
  ptx::Space space = ptx::Space::generic;
  std::uint8_t bytes = 0, vector = 1;  // of an element, and how many
  bool is_signed = false;
  bool is_frame_relative = false;  // the immediate, in local memory

  std::uint8_t detail = 0;     // what else an operation has to know
  std::int64_t immediate = 0;  // the same; or what is added to an address
  std::uint32_t target = 0;    // an instruction's index, or a function's
  std::uint32_t list = 0;      // of targets or of arguments, in its function
};

// A copy between the parameters of a call and of the function.
struct Argument {
  std::size_t caller, callee, bytes;  // where it is in their memory for parameters
};

struct Call {
  std::vector<Argument> passed, returned;
};

// For messages.
struct Source {
  int line;
  ptx::Place place;
  std::string_view opcode;
};

struct Function {
  const ptx::Function* text = nullptr;
  std::vector<Instruction> code;
  std::vector<Source> sources;  // of each
  std::vector<std::vector<std::uint32_t>> targets;
  std::vector<Call> calls;
  std::size_t register_bytes = 0;  // of all lanes
  std::size_t num_registers = 0;
  std::size_t local_bytes = 0;  // of a lane, parameters included
  std::size_t param_begin = 0;  // among these
};

struct Program {
  ptx::Module text;
  std::vector<Function> functions;
  std::unordered_map<std::string_view, std::size_t> function_of;
  std::vector<std::uint64_t> constants;                            // 32 lanes each
  std::unordered_map<const ptx::Variable*, std::byte*> memory_of;  // global and constant variables
};

// Throws std::runtime_error where something is not known.
Program decode(std::string_view ptx);

// The special registers, in this order.
enum class Special : std::uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  smid,
  dynamic_smem_size,
  total_smem_size,
  count,
};

// Windows of the generic address space; global memory is where it is for the host. They are above
// what a process can have.
inline constexpr std::uint64_t kSharedWindow = std::uint64_t{1} << 56;
inline constexpr std::uint64_t kLocalWindow = std::uint64_t{2} << 56;
inline constexpr std::uint64_t kParamWindow = std::uint64_t{3} << 56;
inline constexpr std::uint64_t kWindowMask = std::uint64_t{0xff} << 56;

// Where a block's shared memory begins: on recent GPUs the system has the first KiB.
inline constexpr std::uint64_t kSharedBegin = 1024;

// Registers have no type of their own.
template <class T>
struct AliasOf {
  using type __attribute__((may_alias)) = T;
};
template <class T>
  requires(std::is_class_v<T> || std::is_same_v<T, std::byte>)
struct AliasOf<T> {
  using type = T;  // which may alias by itself
};
template <class T>
using Alias = typename AliasOf<T>::type;

template <class F>
inline void for_lanes(std::uint32_t lanes, const F& f) {
  if (lanes == kAllLanes) {
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
  } else {
    for (; lanes != 0; lanes &= lanes - 1) f(__builtin_ctz(lanes));
  }
}

// The registers that an instruction reads and writes.
class Registers {
 public:
  std::uint32_t active = 0;

  template <class T>
  const Alias<T>* in(const Operand& operand) const {
    return reinterpret_cast<const Alias<T>*>(values_[static_cast<int>(operand.area)] +
                                             operand.offset);
  }
  template <class T>
  Alias<T>* out(const Operand& operand) {
    return reinterpret_cast<Alias<T>*>(values_[0] + operand.offset);
  }

  std::uint32_t predicate(const Operand& operand) const {
    const std::uint32_t lanes = *in<std::uint32_t>(operand);
    return operand.is_negated ? ~lanes : lanes;
  }
  void set_predicate(const Operand& operand, std::uint32_t lanes) {
    Alias<std::uint32_t>& old = *out<std::uint32_t>(operand);
    old = (old & ~active) | (lanes & active);
  }

  // In which lanes it is defined.
  std::uint32_t defined(const Operand& operand) const {
    return defined_[static_cast<int>(operand.area)][operand.index];
  }
  void define(const Operand& operand, std::uint32_t lanes) {
    std::uint32_t& old = defined_[0][operand.index];
    old = (old & ~active) | (lanes & active);
  }

 protected:
  std::byte* values_[3] = {};
  std::uint32_t* defined_[3] = {};
};

}  // namespace interpreted
