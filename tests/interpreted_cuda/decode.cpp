// From the text of PTX to instructions.
#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "collectives.h"
#include "device_memory.h"
#include "instruction.h"
#include "memory.h"
#include "operations.h"

namespace interpreted {
namespace {

using ptx::Space;
using ptx::Statement;
using TextKind = ptx::Operand::Kind;
using Kind = Instruction::Kind;

const std::map<std::string_view, Special>& specials() {
  using enum Special;
  static const std::map<std::string_view, Special> all = {
      {"%tid.x", tid_x},
      {"%tid.y", tid_y},
      {"%tid.z", tid_z},
      {"%ntid.x", ntid_x},
      {"%ntid.y", ntid_y},
      {"%ntid.z", ntid_z},
      {"%ctaid.x", ctaid_x},
      {"%ctaid.y", ctaid_y},
      {"%ctaid.z", ctaid_z},
      {"%nctaid.x", nctaid_x},
      {"%nctaid.y", nctaid_y},
      {"%nctaid.z", nctaid_z},
      {"%laneid", laneid},
      {"%warpid", warpid},
      {"%nwarpid", nwarpid},
      {"%lanemask_eq", lanemask_eq},
      {"%lanemask_lt", lanemask_lt},
      {"%lanemask_le", lanemask_le},
      {"%lanemask_gt", lanemask_gt},
      {"%lanemask_ge", lanemask_ge},
      {"%smid", smid},
      {"%dynamic_smem_size", dynamic_smem_size},
      {"%total_smem_size", total_smem_size},
  };
  return all;
}

// The constants of a program, each in all lanes.
class Constants {
 public:
  explicit Constants(std::vector<std::uint64_t>& all) : all_(all) {}

  Operand get(std::uint64_t value, std::size_t bytes) {
    const auto [found, is_new] = offset_of_.try_emplace({value, bytes}, all_.size());
    if (is_new) {
      all_.resize(all_.size() + kLanes);
      auto* const lanes = reinterpret_cast<std::byte*>(&all_[found->second]);
      // A predicate is the bits of one number.
      const std::uint64_t one = bytes == 0 && value != 0 ? ~std::uint64_t{0} : value;
      const std::size_t width = bytes == 0 ? 4 : std::min<std::size_t>(bytes, 8);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        std::memcpy(lanes + lane * width, &one, width);
      }
    }
    Operand operand;
    operand.offset = static_cast<std::uint32_t>(found->second * sizeof(std::uint64_t));
    operand.area = Operand::Area::constant;
    operand.bytes = static_cast<std::uint8_t>(bytes);
    return operand;
  }

 private:
  std::vector<std::uint64_t>& all_;
  std::map<std::pair<std::uint64_t, std::size_t>, std::size_t> offset_of_;
};

std::uint64_t address_of(const void* memory) { return reinterpret_cast<std::uint64_t>(memory); }

std::size_t align_up(std::size_t at, std::size_t align) { return (at + align - 1) / align * align; }

class FunctionDecoder {
 public:
  FunctionDecoder(Program& program, Constants& constants, Function& function)
      : program_(program), constants_(constants), function_(function), text_(*function.text) {}

  void decode() {
    place_registers();
    function_.param_begin = align_up(text_.local_bytes, 16);
    function_.local_bytes = function_.param_begin + align_up(text_.param_bytes, 16);
    for (const Statement& statement : text_.statements) {
      statement_ = &statement;
      function_.code.push_back(decode_statement());
      function_.sources.push_back({statement.line, statement.place, statement.opcode});
    }
    add_end();
    set_leaders();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("PTX, line " + std::to_string(statement_->line) + ", " +
                             std::string(statement_->opcode) + ": " + what);
  }

  // At the begin of a frame is a register for what nobody asks for.
  void place_registers() {
    std::size_t end = kLanes * 16;
    offsets_.reserve(text_.register_bits.size());
    for (const std::uint8_t bits : text_.register_bits) {
      offsets_.push_back(static_cast<std::uint32_t>(end));
      end += bits == 1 ? 16 : std::size_t{bits / 8u} * kLanes;
    }
    function_.register_bytes = end;
    function_.num_registers = text_.register_bits.size() + 1;
  }

  // Behind the last instruction there may be a label.
  void add_end() {
    Instruction end;
    end.kind = text_.is_kernel ? Kind::exit : Kind::ret;
    function_.code.push_back(end);
    const int line = text_.statements.empty() ? 0 : text_.statements.back().line;
    function_.sources.push_back({line, {}, "the end"});
  }

  void set_leaders() {
    auto& code = function_.code;
    code[0].is_leader = true;
    for (std::size_t i = 0; i < code.size(); ++i) {
      if (code[i].kind == Kind::simple) continue;
      if (i + 1 < code.size()) code[i + 1].is_leader = true;
      if (code[i].kind == Kind::branch) code[code[i].target].is_leader = true;
      if (code[i].kind == Kind::branch_of) {
        for (const std::uint32_t target : function_.targets[code[i].list]) {
          code[target].is_leader = true;
        }
      }
    }
  }

  Operand register_of(int index) const {
    Operand operand;
    const std::uint8_t bits = text_.register_bits[static_cast<std::size_t>(index)];
    operand.offset = offsets_[static_cast<std::size_t>(index)];
    operand.index = static_cast<std::uint32_t>(index) + 1;
    operand.bytes = bits == 1 ? 0 : bits / 8;
    return operand;
  }

  // An operand of so many bytes, 0 for a predicate. A register may be wider if it is loose.
  Operand operand(const ptx::Operand& text, std::size_t bytes, bool is_loose = false) {
    if (text.is_negated && bytes != 0) fail("a \"!\" before what is no predicate");
    switch (text.kind) {
      case TextKind::reg: {
        Operand result = register_of(text.index);
        const bool fits = is_loose && bytes != 0 ? result.bytes >= bytes : result.bytes == bytes;
        if (!fits) fail("a register of another size");
        result.is_negated = text.is_negated;
        return result;
      }
      case TextKind::integer: {
        const auto value = static_cast<std::uint64_t>(text.integer);
        return constants_.get(bytes == 0 ? (value != 0) != text.is_negated : value, bytes);
      }
      case TextKind::real32:
        if (bytes != 4) fail("a number of another size");
        return constants_.get(static_cast<std::uint64_t>(text.integer), bytes);
      case TextKind::real64:
        if (bytes != 8) fail("a number of another size");
        return constants_.get(static_cast<std::uint64_t>(text.integer), bytes);
      case TextKind::variable:
        if (bytes != 4 && bytes != 8) fail("an address of another size");
        return constants_.get(variable_address(text), bytes);
      case TextKind::sink: {
        Operand result;
        result.bytes = static_cast<std::uint8_t>(bytes);
        return result;
      }
      case TextKind::name: {
        if (text.name == "WARP_SZ") return constants_.get(kLanes, bytes);
        const auto found = specials().find(text.name);
        if (found == specials().end()) {
          fail("not known: \"" + std::string(text.name) + "\"");
        }
        if (bytes != 4) fail("a special register of another size");
        Operand result;
        result.offset = static_cast<std::uint32_t>(found->second) * kLanes * 4;
        result.area = Operand::Area::special;
        result.bytes = 4;
        return result;
      }
      default:
        fail("an operand that does not belong here");
    }
  }

  // Where it is the same for all threads and calls.
  std::uint64_t variable_address(const ptx::Operand& text) const {
    const ptx::Variable& variable = *text.variable;
    const auto offset = static_cast<std::uint64_t>(text.integer);
    switch (variable.space) {
      case Space::shared:
        return kSharedBegin + (variable.is_extern ? text_.dynamic_shared : variable.offset) +
               offset;
      case Space::global:
      case Space::constant:
        return address_of(program_.memory_of.at(&variable)) + offset;
      case Space::param:
        if (is_launch_param(variable)) return variable.offset + offset;
        [[fallthrough]];
      default:
        fail("an address that is not the same everywhere");
    }
  }

  bool is_launch_param(const ptx::Variable& variable) const {
    return text_.is_kernel && std::find(text_.parameters.begin(), text_.parameters.end(),
                                        &variable) != text_.parameters.end();
  }
  bool is_in_frame(const ptx::Variable& variable) const {
    return variable.space == Space::local ||
           (variable.space == Space::param && !is_launch_param(variable));
  }
  std::int64_t place_in_frame(const ptx::Variable& variable) const {
    return static_cast<std::int64_t>(variable.offset +
                                     (variable.space == Space::param ? function_.param_begin : 0));
  }

  std::uint32_t target(const std::string_view label) const {
    const auto found = text_.labels.find(label);
    if (found == text_.labels.end()) fail("no such label: \"" + std::string(label) + "\"");
    return static_cast<std::uint32_t>(found->second);
  }

  const ptx::Operand& text_operand(std::size_t i) const {
    if (i >= statement_->operands.size()) fail("an operand is missing");
    return statement_->operands[i];
  }
  void expect_operands(std::size_t count) const {
    if (statement_->operands.size() != count) fail("another number of operands");
  }

  Instruction decode_statement() {
    Instruction instruction;
    if (statement_->guard >= 0) {
      instruction.has_guard = true;
      instruction.guard = register_of(statement_->guard);
      if (instruction.guard.bytes != 0) fail("a guard that is no predicate");
      instruction.guard.is_negated = statement_->guard_is_negated;
    }
    const std::string_view opcode = statement_->opcode;
    const bool is_known = set_control(opcode, instruction) || set_barrier(opcode, instruction) ||
                          set_address_operation(opcode, instruction) ||
                          set_move(opcode, instruction) || set_memory(opcode, instruction) ||
                          set_operation(opcode, instruction);
    if (!is_known) fail("this instruction is not known");
    return instruction;
  }

  bool set_control(std::string_view opcode, Instruction& instruction) {
    if (opcode == "bra" || opcode == "bra.uni") {
      expect_operands(1);
      instruction.kind = Kind::branch;
      instruction.target = target(text_operand(0).name);
    } else if (opcode == "brx.idx" || opcode == "brx.idx.uni") {
      expect_operands(2);
      instruction.kind = Kind::branch_of;
      instruction.operands[0] = operand(text_operand(0), 4);
      const auto found = text_.branch_targets.find(text_operand(1).name);
      if (found == text_.branch_targets.end()) fail("no such list of targets");
      instruction.list = static_cast<std::uint32_t>(function_.targets.size());
      auto& targets = function_.targets.emplace_back();
      for (const std::string_view label : found->second) targets.push_back(target(label));
    } else if (opcode == "call" || opcode == "call.uni") {
      set_call(instruction);
    } else if (opcode == "ret" || opcode == "ret.uni") {
      instruction.kind = text_.is_kernel ? Kind::exit : Kind::ret;
    } else if (opcode == "exit") {
      instruction.kind = Kind::exit;
    } else if (opcode == "trap") {
      instruction.kind = Kind::trap;
    } else {
      return false;
    }
    return true;
  }

  // (results), function, (arguments), of which the first and the last may be missing.
  void set_call(Instruction& instruction) {
    const auto& operands = statement_->operands;
    std::size_t next = 0;
    static const std::vector<ptx::Operand> kNone;
    const auto* results = &kNone;
    const auto* arguments = &kNone;
    if (!operands.empty() && operands[0].kind == TextKind::list) results = &operands[next++].list;
    if (next >= operands.size() || operands[next].kind != TextKind::name) {
      fail("a call of what is no function");
    }
    const std::string_view name = operands[next++].name;
    if (next < operands.size()) arguments = &operands[next++].list;
    const auto found = program_.function_of.find(name);
    if (next != operands.size() || found == program_.function_of.end()) {
      fail("a call of what is not known: \"" + std::string(name) + "\"");
    }
    instruction.kind = Kind::call;
    instruction.target = static_cast<std::uint32_t>(found->second);
    instruction.list = static_cast<std::uint32_t>(function_.calls.size());
    const ptx::Function& callee = *program_.functions[found->second].text;
    Call& call = function_.calls.emplace_back();
    call.passed = match(*arguments, callee.parameters);
    call.returned = match(*results, callee.returned);
  }
  std::vector<Argument> match(const std::vector<ptx::Operand>& here,
                              const std::vector<const ptx::Variable*>& there) const {
    if (here.size() != there.size()) fail("another number of arguments");
    std::vector<Argument> arguments;
    for (std::size_t i = 0; i < here.size(); ++i) {
      const ptx::Variable* const variable = here[i].variable;
      if (here[i].kind != TextKind::variable || variable->space != Space::param ||
          is_launch_param(*variable) || variable->bytes != there[i]->bytes) {
        fail("an argument of another kind");
      }
      arguments.push_back({variable->offset, there[i]->offset, variable->bytes});
    }
    return arguments;
  }

  // Of all threads of the block. bar.red: d, barrier, predicate.
  bool set_barrier(std::string_view opcode, Instruction& instruction) {
    const bool is_plain = opcode == "bar.sync" || opcode == "barrier.sync" ||
                          opcode == "barrier.sync.aligned" || opcode == "bar.cta.sync" ||
                          opcode == "barrier.cta.sync" || opcode == "barrier.cta.sync.aligned";
    const Operation* const operation = is_plain ? nullptr : find_operation(opcode);
    if (!is_plain && (!operation || operation->kind != Kind::barrier)) return false;
    expect_operands(is_plain ? 1 : 3);
    const ptx::Operand& which = text_operand(is_plain ? 0 : 1);
    if (which.kind != TextKind::integer || which.integer != 0) {
      fail("a barrier other than 0 is not known");
    }
    instruction.kind = Kind::barrier;
    if (operation) {
      instruction.run = operation->run;
      instruction.detail = operation->detail;
      instruction.operands[0] = operand(text_operand(0), operation->bytes[0]);
      instruction.operands[1] = operand(text_operand(2), 0);
    }
    return true;
  }

  // cvta.to.shared.u64
  bool set_address_operation(std::string_view opcode, Instruction& instruction) {
    const auto take = [&](std::string_view part) {
      if (!opcode.starts_with(part)) return false;
      opcode.remove_prefix(part.size());
      return true;
    };
    if (take("isspacep.")) {
      instruction.run = is_space;
    } else if (take("cvta.to.")) {
      instruction.run = from_generic;
    } else if (take("cvta.")) {
      instruction.run = to_generic;
    } else {
      return false;
    }
    if (take("global"))
      instruction.space = Space::global;
    else if (take("const"))
      instruction.space = Space::constant;
    else if (take("shared"))
      instruction.space = Space::shared;
    else if (take("local"))
      instruction.space = Space::local;
    else if (take("param"))
      instruction.space = Space::param;
    else
      return false;
    const bool is_question = instruction.run == is_space;
    if (opcode != (is_question ? "" : ".u64")) return false;
    expect_operands(2);
    instruction.operands[0] = operand(text_operand(0), is_question ? 0 : 8);
    instruction.operands[1] = operand(text_operand(1), 8);
    return true;
  }

  // mov of several pieces, or of an address in the frame.
  bool set_move(std::string_view opcode, Instruction& instruction) {
    if (!opcode.starts_with("mov.") || statement_->operands.size() != 2) return false;
    const ptx::Operand &to = text_operand(0), &from = text_operand(1);
    if (to.kind == TextKind::list || from.kind == TextKind::list) {
      const bool packs = from.kind == TextKind::list;
      const auto& pieces = packs ? from.list : to.list;
      const std::size_t bytes = opcode.ends_with("64")   ? 8
                                : opcode.ends_with("32") ? 4
                                : opcode.ends_with("16") ? 2
                                                         : 0;
      if (bytes == 0 || (packs && to.kind == TextKind::list)) return false;
      if (pieces.size() != 2 && pieces.size() != 4) fail("another number of pieces");
      instruction.run = find_operation(packs ? "pack" : "unpack")->run;
      instruction.detail = static_cast<std::uint8_t>(pieces.size());
      std::size_t next = 0;
      if (packs) instruction.operands[next++] = operand(to, bytes);
      for (const ptx::Operand& piece : pieces) {
        instruction.operands[next++] = operand(piece, bytes / pieces.size());
      }
      if (!packs) instruction.operands[next] = operand(from, bytes);
      return true;
    }
    if (from.kind == TextKind::variable && is_in_frame(*from.variable)) {
      instruction.run = frame_address;
      instruction.operands[0] = operand(to, opcode.ends_with("64") ? 8 : 4);
      instruction.immediate = place_in_frame(*from.variable) + from.integer;
      instruction.is_frame_relative = true;
      return true;
    }
    return false;
  }

  bool set_memory(std::string_view opcode, Instruction& instruction) {
    if (!set_access(opcode, instruction)) return false;
    switch (access_kind(instruction)) {
      case AccessKind::load:
        expect_operands(2);
        set_elements(text_operand(0), instruction);
        set_address(text_operand(1), instruction);
        break;
      case AccessKind::store:
        expect_operands(2);
        set_elements(text_operand(1), instruction);
        set_address(text_operand(0), instruction);
        break;
      case AccessKind::prefetch:
        expect_operands(1);
        if (text_operand(0).kind != TextKind::memory) fail("expected an address");
        instruction.operands[0] = base(text_operand(0));
        break;
      case AccessKind::copy: {
        const bool has_size = statement_->operands.size() == 4;
        expect_operands(has_size ? 4 : 3);
        const ptx::Operand &to = text_operand(0), &from = text_operand(1);
        const std::int64_t bytes = text_operand(2).integer;
        if (text_operand(2).kind != TextKind::integer ||
            (bytes != 4 && bytes != 8 && bytes != 16)) {
          fail("another number of bytes");
        }
        instruction.operands[2] = operand(text_operand(has_size ? 3 : 2), 4);
        instruction.bytes = static_cast<std::uint8_t>(bytes);
        instruction.operands[0] = base(to);
        instruction.operands[1] = base(from);
        instruction.list = static_cast<std::uint32_t>(to.base == TextKind::reg ? to.integer : 0);
        instruction.immediate = from.base == TextKind::reg ? from.integer : 0;
        break;
      }
      case AccessKind::wait:
        expect_operands(1);
        instruction.immediate = text_operand(0).integer;
        break;
      case AccessKind::none:
        expect_operands(0);
    }
    return true;
  }

  void set_elements(const ptx::Operand& text, Instruction& instruction) {
    if (instruction.vector == 1) {
      instruction.operands[0] = operand(text, instruction.bytes, true);
      return;
    }
    if (text.kind != TextKind::list || text.list.size() != instruction.vector) {
      fail("another number of elements");
    }
    for (std::size_t i = 0; i < text.list.size(); ++i) {
      instruction.operands[i] = operand(text.list[i], instruction.bytes, true);
    }
  }

  // What is in the brackets, without what is added to a register.
  Operand base(const ptx::Operand& text) {
    ptx::Operand address = text;
    address.kind = text.base;
    if (text.base != TextKind::reg) return operand(address, 8);
    Operand result = register_of(text.index);
    if (result.bytes != 4 && result.bytes != 8) fail("an address of another size");
    return result;
  }

  void set_address(const ptx::Operand& text, Instruction& instruction) {
    if (text.kind != TextKind::memory) fail("expected an address");
    Operand& address = instruction.operands[instruction.vector];
    if (text.base == TextKind::variable) {
      const Space space = text.variable->space;
      if (space != instruction.space) fail("an address in another space");
      if (is_in_frame(*text.variable)) {
        address = constants_.get(0, 8);
        instruction.immediate = place_in_frame(*text.variable) + text.integer;
        instruction.is_frame_relative = true;
        instruction.space = Space::local;
        return;
      }
    } else if (instruction.space == Space::param && !text_.is_kernel) {
      instruction.space = Space::local;  // where a function has its parameters
    }
    address = base(text);
    instruction.immediate = text.base == TextKind::reg ? text.integer : 0;
  }

  const Operation* find_for_operands(std::string_view opcode) const {
    std::string name(opcode);
    const auto& operands = statement_->operands;
    if (opcode.starts_with("cvt.")) {  // with registers as wide as the types
      const Operation* const fast = find_operation(name + ".fast");
      const bool is_exact =
          fast && operands.size() == 2 &&
          std::equal(operands.begin(), operands.end(), fast->bytes.begin(),
                     [&](const ptx::Operand& text, std::uint8_t bytes) {
                       return text.kind == TextKind::reg && register_of(text.index).bytes == bytes;
                     });
      if (is_exact) return fast;
    }
    if ((opcode.starts_with("max.") || opcode.starts_with("min.")) && operands.size() == 4) {
      name += ".three";
    }
    return find_operation(name);
  }

  bool set_operation(std::string_view opcode, Instruction& instruction) {
    const Operation* const operation = find_for_operands(opcode);
    if (!operation) return false;
    instruction.run = operation->run;
    instruction.kind = operation->kind;
    instruction.detail = operation->detail;
    const auto count = static_cast<std::size_t>(operation->num_operands);
    const auto bytes = [&](std::size_t i) { return operation->bytes[i]; };
    std::size_t next = 0;  // of the statement's
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_written = i < static_cast<std::size_t>(operation->num_written);
      if (operation->has_immediate && i + 1 == count) {
        if (text_operand(next).kind != TextKind::integer) fail("expected a number");
        instruction.immediate = text_operand(next++).integer;
      } else if (is_written && i == 1) {  // after a bar, or nobody asks for it
        const int second = text_operand(0).second;
        instruction.operands[i] = second < 0 ? Operand{} : register_of(second);
        if (instruction.operands[i].bytes != bytes(i)) fail("a register of another size");
      } else {
        const ptx::Operand& text = text_operand(next++);
        const bool can_be_written = text.kind == TextKind::reg || text.kind == TextKind::sink;
        if (is_written && (!can_be_written || text.is_negated)) fail("expected a register");
        instruction.operands[i] = operand(text, bytes(i), operation->is_loose);
      }
    }
    expect_operands(next);
    if (instruction.kind == Kind::collective) {
      instruction.detail = static_cast<std::uint8_t>(count - 1);  // where the mask is
    }
    return true;
  }

  Program& program_;
  Constants& constants_;
  Function& function_;
  const ptx::Function& text_;
  std::vector<std::uint32_t> offsets_;  // of registers
  const Statement* statement_ = nullptr;
};

}  // namespace

Program decode(std::string_view ptx) {
  Program program;
  program.text = ptx::parse(ptx);
  for (const auto& [name, variable] : program.text.global_of) {
    if (variable->space != Space::global && variable->space != Space::constant) continue;
    auto* const memory = static_cast<std::byte*>(allocate(variable->bytes));
    std::memset(memory, 0, variable->bytes);
    std::copy(variable->initial.begin(), variable->initial.end(), memory);
    mark_written(memory, variable->bytes);
    program.memory_of[variable] = memory;
  }
  for (const ptx::Function& text : program.text.functions) {
    program.function_of[text.name] = program.functions.size();
    program.functions.emplace_back().text = &text;
  }
  Constants constants(program.constants);
  for (Function& function : program.functions) {
    FunctionDecoder(program, constants, function).decode();
  }
  return program;
}

}  // namespace interpreted
