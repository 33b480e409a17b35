// The text of PTX, read into functions and their statements: names are resolved, what the
// statements mean is not asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace interpreted::ptx {

enum class Space : std::uint8_t { generic, global, constant, shared, local, param };

struct Variable {
  std::string_view name;
  Space space;
  std::size_t align, bytes;
  bool is_extern = false;            // of shared memory: as much as the launch has
  std::vector<std::byte> initial{};  // of global and constant memory, or empty
  std::size_t offset = 0;            // in its space
};

struct Operand {
  enum class Kind : std::uint8_t {
    reg,       // index
    integer,   // integer
    real32,    // integer, its bits
    real64,    // integer, its bits
    variable,  // its address, plus integer
    memory,    // in brackets: base, plus integer
    list,      // in braces or parentheses
    name,      // of a label, a function or a special register
    sink,      // _
  };
  Kind kind = Kind::sink;
  Kind base = Kind::integer;  // of memory
  bool is_negated = false;
  int index = -1;
  int second = -1;  // a register after a bar, or none
  std::int64_t integer = 0;
  const Variable* variable = nullptr;
  std::string_view name{};
  std::vector<Operand> list{};
};

// Where in the source, from .loc: innermost first, and where that was inlined; lines of 0: unknown.
struct Place {
  int file = 0, line = 0;
  int outer_file = 0, outer_line = 0;
};

struct Statement {
  std::string_view opcode;
  int guard = -1;  // a register, or none
  bool guard_is_negated = false;
  std::vector<Operand> operands;
  int line;  // of the text
  Place place;
};

struct Function {
  std::string_view name;
  bool is_kernel;
  std::vector<const Variable*> returned, parameters;
  std::vector<std::uint8_t> register_bits;  // 1 for predicates
  std::vector<Statement> statements;
  std::unordered_map<std::string_view, std::size_t> labels;  // of the statement behind
  std::unordered_map<std::string_view, std::vector<std::string_view>> branch_targets;
  std::size_t local_bytes = 0, param_bytes = 0, shared_bytes = 0;
  std::size_t dynamic_shared = 0;  // where .extern memory begins
  unsigned max_threads = 1024;
};

struct Module {
  std::string_view target;
  std::deque<Variable> variables;  // of all functions
  std::deque<Function> functions;
  std::unordered_map<std::string_view, const Function*> function_of;
  std::unordered_map<std::string_view, Variable*> global_of;  // outside of functions
  std::unordered_map<int, std::string> files;
};

// The names in what is returned are pieces of `text`.
// Throws std::runtime_error, which says the line, where something is not understood.
Module parse(std::string_view text);

}  // namespace interpreted::ptx
