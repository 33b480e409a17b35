#include "ptx.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace interpreted::ptx {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%' || c == '.';
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t align_up(std::size_t at, std::size_t align) { return (at + align - 1) / align * align; }

// Words, numbers and strings, or one character of punctuation; empty at the end.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { advance(); }

  std::string_view peek() const { return token_; }
  int line() const { return line_; }

  std::string_view next() {
    const std::string_view token = token_;
    advance();
    return token;
  }

  bool accept(std::string_view token) {
    if (token_ != token) return false;
    next();
    return true;
  }

  void expect(std::string_view token) {
    if (!accept(token)) fail("expected \"" + std::string(token) + "\"");
  }

  // Skips the token, which is a brace, and all up to the one that closes it.
  void skip_braces() {
    int depth = 1;
    while (depth > 0) {
      const std::size_t next = text_.find_first_of("{}\n", at_);
      if (next == std::string_view::npos) fail("a brace is not closed");
      depth += text_[next] == '{' ? 1 : text_[next] == '}' ? -1 : 0;
      line_ += text_[next] == '\n';
      at_ = next + 1;
    }
    advance();
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("PTX, line " + std::to_string(line_) + ": " + what + " at \"" +
                             std::string(token_) + "\"");
  }

 private:
  void advance() {
    skip_space();
    if (at_ >= text_.size()) {
      token_ = {};
      return;
    }
    const std::size_t begin = at_;
    if (text_[at_] == '"') {
      at_ = text_.find('"', at_ + 1);
      if (at_ == std::string_view::npos) fail("a string is not closed");
      ++at_;
    } else if (is_letter(text_[at_])) {
      while (at_ < text_.size() && (is_letter(text_[at_]) || is_double_colon())) {
        at_ += text_[at_] == ':' ? 2 : 1;
      }
    } else {
      ++at_;
    }
    token_ = text_.substr(begin, at_ - begin);
  }

  // As in L1::evict_last.
  bool is_double_colon() const {
    return text_[at_] == ':' && at_ + 1 < text_.size() && text_[at_ + 1] == ':';
  }

  void skip_space() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at_;
      } else if (text_.compare(at_, 2, "//") == 0) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_.compare(at_, 2, "/*") == 0) {
        const std::size_t end = text_.find("*/", at_);
        if (end == std::string_view::npos) fail("a comment is not closed");
        line_ += static_cast<int>(std::count(&text_[at_], &text_[end], '\n'));
        at_ = end + 2;
      } else {
        return;
      }
    }
  }

  std::string_view text_, token_;
  std::size_t at_ = 0;
  int line_ = 1;
};

// 0 if it is not the name of a type. Predicates have 1 bit.
unsigned type_bits(std::string_view type) {
  if (type == ".pred") return 1;
  if (type == ".f16x2" || type == ".bf16x2" || type == ".b32" || type == ".f32") return 32;
  if (type == ".bf16") return 16;
  if (type.size() < 3 || type[0] != '.' || !std::strchr("bfsu", type[1])) return 0;
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(type.data() + 2, type.data() + type.size(), bits);
  return error == std::errc() && end == type.data() + type.size() ? bits : 0;
}

// The registers or variables that a name means, from the innermost braces outwards.
struct Scope {
  std::unordered_map<std::string_view, int> registers;
  struct Range {
    std::string_view prefix;
    int first, count;
  };
  std::vector<Range> ranges;  // %r<9>
  std::unordered_map<std::string_view, const Variable*> variables;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  Module parse() {
    while (!lexer_.peek().empty()) {
      const std::string_view word = lexer_.next();
      if (word == ".version" || word == ".address_size") {
        lexer_.next();
      } else if (word == ".target") {
        module_.target = lexer_.next();
        while (lexer_.accept(",")) lexer_.next();
      } else if (word == ".file") {
        parse_file();
      } else if (word == ".section") {
        lexer_.next();
        if (lexer_.peek() != "{") lexer_.fail("expected a section");
        lexer_.skip_braces();
      } else if (word == ".visible" || word == ".weak" || word == ".common") {
        continue;
      } else if (word == ".extern") {
        is_extern_ = true;
        continue;
      } else if (word == ".entry" || word == ".func") {
        parse_function(word == ".entry");
      } else if (const Space space = space_of(word); space != Space::generic) {
        parse_variable(space, outer_, nullptr);
      } else if (word == ".pragma") {
        lexer_.next();
        lexer_.expect(";");
      } else {
        lexer_.fail("a directive is not known: \"" + std::string(word) + "\" before what is");
      }
      is_extern_ = false;
    }
    place_dynamic_memory();
    return std::move(module_);
  }

 private:
  static Space space_of(std::string_view word) {
    if (word == ".global") return Space::global;
    if (word == ".const") return Space::constant;
    if (word == ".shared") return Space::shared;
    if (word == ".local") return Space::local;
    if (word == ".param") return Space::param;
    return Space::generic;
  }

  void parse_file() {
    const int index = static_cast<int>(parse_integer());
    std::string_view name = lexer_.next();
    name = name.substr(1, name.size() - 2);
    module_.files[index] = name;
    while (lexer_.accept(",")) lexer_.next();
  }

  // A literal, with or without a sign.
  std::int64_t parse_integer() {
    const bool is_negative = lexer_.accept("-");
    const std::string_view word = lexer_.next();
    const std::int64_t value = static_cast<std::int64_t>(integer_of(word));
    return is_negative ? -value : value;
  }

  std::uint64_t integer_of(std::string_view word) const {
    std::string_view digits = word;
    if (digits.ends_with('U')) digits.remove_suffix(1);
    int base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X")) {
      base = 16;
      digits.remove_prefix(2);
    } else if (digits.size() > 1 && digits[0] == '0') {
      base = 8;
    }
    std::uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      lexer_.fail("expected a number, got \"" + std::string(word) + "\"");
    }
    return value;
  }

  // 0f3F800000, 0d3FF0000000000000.
  static bool is_real(std::string_view word) {
    return (word.size() == 10 && (word.starts_with("0f") || word.starts_with("0F"))) ||
           (word.size() == 18 && (word.starts_with("0d") || word.starts_with("0D")));
  }
  static std::int64_t real_bits(std::string_view word) {
    std::uint64_t bits = 0;
    std::from_chars(word.data() + 2, word.data() + word.size(), bits, 16);
    return static_cast<std::int64_t>(bits);
  }

  // .align 8 .b8 name[24], after its space, without what ends it.
  Variable parse_declaration(Space space) {
    Variable variable{.name = {}, .space = space, .align = 0, .bytes = 0, .is_extern = is_extern_};
    unsigned bits = 0, vector = 1;
    while (lexer_.peek().starts_with('.')) {
      const std::string_view word = lexer_.next();
      if (word == ".align") {
        variable.align = integer_of(lexer_.next());
      } else if (word == ".v2" || word == ".v4") {
        vector = word == ".v2" ? 2 : 4;
      } else if (word == ".ptr" || space_of(word) != Space::generic) {
        continue;  // .param .u64 .ptr .global .align 4 name
      } else {
        bits = type_bits(word);
        if (bits == 0) lexer_.fail("a type is not known: \"" + std::string(word) + "\" before");
        element_bytes_ = bits / 8;
        element_is_real_ = word[1] == 'f';
        variable.align = std::max<std::size_t>(variable.align, bits / 8);
      }
    }
    variable.name = lexer_.next();
    variable.bytes = std::size_t{bits / 8} * vector;
    while (lexer_.accept("[")) {
      if (lexer_.accept("]")) {
        variable.bytes = 0;
      } else {
        variable.bytes *= integer_of(lexer_.next());
        lexer_.expect("]");
      }
    }
    return variable;
  }

  void parse_initial(Variable& variable) {
    variable.initial.resize(variable.bytes);
    std::size_t at = 0;
    int depth = 0;
    do {
      if (lexer_.accept("{")) {
        ++depth;
      } else if (lexer_.accept("}")) {
        --depth;
      } else if (!lexer_.accept(",")) {
        const bool is_literal = is_real(lexer_.peek());
        const std::int64_t value = is_literal ? real_bits(lexer_.next()) : parse_integer();
        if (at + element_bytes_ > variable.bytes) lexer_.fail("too many initial values");
        if (element_is_real_ != is_literal) lexer_.fail("an initial value of another type");
        std::memcpy(&variable.initial[at], &value, element_bytes_);
        at += element_bytes_;
      }
    } while (depth > 0);
  }

  // After the word for its space. Variables outside of functions have no function.
  void parse_variable(Space space, Scope& scope, Function* function) {
    Variable& variable = module_.variables.emplace_back(parse_declaration(space));
    if (lexer_.accept("=")) parse_initial(variable);
    lexer_.expect(";");
    scope.variables[variable.name] = &variable;
    if (function) {
      place(variable, *function);
    } else {
      if (space == Space::shared && !variable.is_extern) {
        lexer_.fail("static shared memory outside of functions is not known");
      }
      module_.global_of[variable.name] = &variable;
    }
  }

  static void place(Variable& variable, Function& function) {
    if (variable.is_extern) return;  // after all others
    std::size_t* const end = variable.space == Space::local    ? &function.local_bytes
                             : variable.space == Space::param  ? &function.param_bytes
                             : variable.space == Space::shared ? &function.shared_bytes
                                                               : nullptr;
    if (!end) return;
    variable.offset = align_up(*end, variable.align);
    *end = variable.offset + variable.bytes;
  }

  // Dynamic shared memory is behind the static memory, which here only kernels have.
  void place_dynamic_memory() {
    std::size_t begin = 0;
    for (const Function& function : module_.functions) {
      if (!function.is_kernel && function.shared_bytes > 0) {
        throw std::runtime_error("PTX: static shared memory of a function is not known");
      }
      begin = std::max(begin, function.shared_bytes);
    }
    bool has_dynamic = false;
    for (Variable& variable : module_.variables) {
      if (!variable.is_extern || variable.space != Space::shared) continue;
      has_dynamic = true;
      variable.offset = align_up(begin, 128);
    }
    for (Function& function : module_.functions) {
      function.dynamic_shared = has_dynamic ? align_up(begin, 128) : function.shared_bytes;
    }
  }

  void parse_parameters(std::vector<const Variable*>& parameters, Function& function,
                        Scope& scope) {
    if (!lexer_.accept("(")) return;
    while (!lexer_.accept(")")) {
      lexer_.expect(".param");
      Variable& variable = module_.variables.emplace_back(parse_declaration(Space::param));
      place(variable, function);
      parameters.push_back(&variable);
      scope.variables[variable.name] = &variable;
      lexer_.accept(",");
    }
  }

  void parse_function(bool is_kernel) {
    Function function{};
    Scope scope;
    function.is_kernel = is_kernel;
    if (!is_kernel) parse_parameters(function.returned, function, scope);
    function.name = lexer_.next();
    parse_parameters(function.parameters, function, scope);
    while (lexer_.peek().starts_with('.')) {
      const std::string_view word = lexer_.next();
      if (word == ".maxntid") {
        function.max_threads = 1;
        do {
          function.max_threads *= static_cast<unsigned>(integer_of(lexer_.next()));
        } while (lexer_.accept(","));
      } else if (word == ".reqntid") {
        lexer_.fail("reqntid is not known");
      } else if (word == ".minnctapersm" || word == ".maxnreg" || word == ".noreturn") {
        if (word != ".noreturn") lexer_.next();
      } else {
        lexer_.fail("a directive is not known: \"" + std::string(word) + "\" before what is");
      }
    }
    if (lexer_.accept(";")) return;  // a declaration
    module_.functions.push_back(std::move(function));
    scopes_.assign(1, std::move(scope));
    place_ = {};
    parse_body(module_.functions.back());
    module_.function_of[module_.functions.back().name] = &module_.functions.back();
  }

  void parse_body(Function& function) {
    lexer_.expect("{");
    const std::size_t outermost = scopes_.size();
    scopes_.emplace_back();
    while (scopes_.size() > outermost) {
      if (lexer_.peek().empty()) lexer_.fail("a function is not closed");
      if (lexer_.accept("{")) {
        scopes_.emplace_back();
      } else if (lexer_.accept("}")) {
        scopes_.pop_back();
      } else if (lexer_.peek() == "@" || !lexer_.peek().starts_with('.')) {
        parse_statement(function);
      } else {
        parse_directive(function);
      }
    }
  }

  void parse_directive(Function& function) {
    const std::string_view word = lexer_.next();
    if (word == ".loc") {
      parse_place();
    } else if (word == ".reg") {
      parse_registers(function);
    } else if (word == ".pragma") {
      while (!lexer_.accept(";")) lexer_.next();
    } else if (const Space space = space_of(word); space != Space::generic) {
      parse_variable(space, scopes_.back(), &function);
    } else {
      lexer_.fail("a directive is not known: \"" + std::string(word) + "\" before what is");
    }
  }

  void parse_place() {
    place_ = {};
    place_.file = static_cast<int>(parse_integer());
    place_.line = static_cast<int>(parse_integer());
    parse_integer();
    while (lexer_.accept(",")) {
      const std::string_view word = lexer_.next();
      if (word == "function_name") {
        lexer_.next();
        if (lexer_.accept("+")) lexer_.next();
      } else if (word == "inlined_at") {
        place_.outer_file = static_cast<int>(parse_integer());
        place_.outer_line = static_cast<int>(parse_integer());
        parse_integer();
      } else {
        lexer_.fail("a part of .loc is not known");
      }
    }
  }

  void parse_registers(Function& function) {
    const unsigned bits = type_bits(lexer_.next());
    if (bits == 0 || bits > 128) lexer_.fail("a type of registers is not known");
    do {
      const std::string_view name = lexer_.next();
      const int first = static_cast<int>(function.register_bits.size());
      int count = 1;
      if (lexer_.accept("<")) {
        count = static_cast<int>(parse_integer());
        lexer_.expect(">");
        scopes_.back().ranges.push_back({name, first, count});
      } else {
        scopes_.back().registers[name] = first;
      }
      function.register_bits.resize(function.register_bits.size() + count,
                                    static_cast<std::uint8_t>(bits));
    } while (lexer_.accept(","));
    lexer_.expect(";");
  }

  int find_register(std::string_view name) const {
    std::size_t digits = name.size();
    while (digits > 0 && is_digit(name[digits - 1])) --digits;
    int number = -1;
    if (digits < name.size()) {
      std::from_chars(name.data() + digits, name.data() + name.size(), number);
    }
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (number >= 0) {
        for (const Scope::Range& range : scope->ranges) {
          if (range.prefix == name.substr(0, digits) && number < range.count) {
            return range.first + number;
          }
        }
      }
      if (scope->registers.empty()) continue;
      const auto found = scope->registers.find(name);
      if (found != scope->registers.end()) return found->second;
    }
    return -1;
  }

  const Variable* find_variable(std::string_view name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->variables.find(name);
      if (found != scope->variables.end()) return found->second;
    }
    const auto found = outer_.variables.find(name);
    return found == outer_.variables.end() ? nullptr : found->second;
  }

  int parse_register() {
    const int index = find_register(lexer_.peek());
    if (index < 0) lexer_.fail("expected a register");
    lexer_.next();
    return index;
  }

  void parse_statement(Function& function) {
    Statement statement{};
    statement.line = lexer_.line();
    if (lexer_.accept("@")) {
      statement.guard_is_negated = lexer_.accept("!");
      statement.guard = parse_register();
    }
    statement.opcode = lexer_.next();
    if (lexer_.accept(":")) {
      const std::string_view label = statement.opcode;
      function.labels[label] = function.statements.size();
      if (lexer_.accept(".branchtargets")) {
        do {
          function.branch_targets[label].push_back(lexer_.next());
        } while (lexer_.accept(","));
        lexer_.expect(";");
      }
      return;
    }
    statement.place = place_;
    while (!lexer_.accept(";")) {
      statement.operands.push_back(parse_operand());
      if (!lexer_.accept(",") && lexer_.peek() != ";") lexer_.fail("expected \",\" or \";\"");
    }
    function.statements.push_back(std::move(statement));
  }

  Operand parse_operand() {
    using Kind = Operand::Kind;
    Operand operand;
    if (lexer_.accept("[")) {
      operand = parse_operand();
      if (operand.kind != Kind::reg && operand.kind != Kind::variable &&
          operand.kind != Kind::integer) {
        lexer_.fail("expected an address");
      }
      operand.base = operand.kind;
      operand.kind = Kind::memory;
      if (lexer_.accept("+")) operand.integer += parse_integer();
      lexer_.expect("]");
      return operand;
    }
    if (lexer_.peek() == "{" || lexer_.peek() == "(") {
      const std::string_view end = lexer_.next() == "{" ? "}" : ")";
      operand.kind = Kind::list;
      while (!lexer_.accept(end)) {
        operand.list.push_back(parse_operand());
        if (!lexer_.accept(",") && lexer_.peek() != end) lexer_.fail("expected \",\"");
      }
      return operand;
    }
    operand.is_negated = lexer_.accept("!");
    const std::string_view word = lexer_.peek();
    if (word == "_") {
      lexer_.next();
    } else if (word == "-" || is_digit(word[0])) {
      if (is_real(word)) {
        operand.kind = word.size() == 10 ? Kind::real32 : Kind::real64;
        operand.integer = real_bits(lexer_.next());
      } else {
        operand.kind = Kind::integer;
        operand.integer = parse_integer();
      }
    } else if ((operand.index = find_register(word)) >= 0) {
      lexer_.next();
      operand.kind = Kind::reg;
    } else if ((operand.variable = find_variable(word))) {
      lexer_.next();
      operand.kind = Kind::variable;
      // Outside of brackets: mov.u64 %rd1, name+8
      if (lexer_.accept("+")) operand.integer = parse_integer();
    } else {
      operand.kind = Kind::name;
      operand.name = lexer_.next();
    }
    if (lexer_.accept("|")) operand.second = parse_register();
    return operand;
  }

  Lexer lexer_;
  Module module_;
  Scope outer_;
  std::vector<Scope> scopes_;
  Place place_;
  bool is_extern_ = false;
  std::size_t element_bytes_ = 0;  // of the declaration read last
  bool element_is_real_ = false;
};

}  // namespace

Module parse(std::string_view text) { return Parser(text).parse(); }

}  // namespace interpreted::ptx
