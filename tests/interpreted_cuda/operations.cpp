#include "operations.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "collectives.h"
#include "small_float.h"
#include "warp.h"

namespace interpreted {
namespace {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

template <class T>
constexpr bool kIsSmall = std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>;
template <class T>
constexpr bool kIsFloat = std::is_floating_point_v<T> || kIsSmall<T>;

template <class T>
std::string name_of() {
  if constexpr (std::is_same_v<T, Half>) return "f16";
  if constexpr (std::is_same_v<T, Bfloat>) return "bf16";
  if constexpr (std::is_integral_v<T> || std::is_floating_point_v<T>) {
    std::string name(1, std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 's' : 'u');
    return name += std::to_string(sizeof(T) * 8);
  }
}
template <class T>
std::string suffix_of() {
  std::string suffix = ".";
  return suffix += name_of<T>();
}

// --- How an operation goes over the lanes

template <class T>
struct Source {
  const Alias<T>* values;
  T operator[](int lane) const { return values[lane]; }
};
template <>
struct Source<bool> {
  u32 lanes;
  bool operator[](int lane) const { return (lanes >> lane & 1) != 0; }
};
template <class T>
Source<T> source(const Warp& warp, const Operand& operand) {
  if constexpr (std::is_same_v<T, bool>) {
    return {warp.predicate(operand)};
  } else {
    return {warp.in<T>(operand)};
  }
}

// Bit i: whether f(i) holds; of the lanes that are active.
template <class F>
u32 ballot(u32 active, const F& f) {
  u8 holds[kLanes];
  if (active != kAllLanes) std::memset(holds, 0, sizeof holds);
  for_lanes(active, [&](int lane) { holds[lane] = f(lane); });
  u32 lanes = 0;
  for (int i = 0; i < kLanes; i += 8) {
    u64 eight;
    std::memcpy(&eight, holds + i, 8);
    if constexpr (std::endian::native == std::endian::big) eight = __builtin_bswap64(eight);
    lanes |= static_cast<u32>((eight * 0x0102040810204080) >> 56) << i;
  }
  return lanes;
}

template <class T>
constexpr u8 bytes_of() {
  return std::is_same_v<T, bool> ? 0 : sizeof(T);
}

// f of the operands, lane by lane.
template <auto f>
struct Lanewise;
template <class D, class... S, D (*f)(S...)>
struct Lanewise<f> {
  static void run(Warp& warp, const Instruction& instruction) {
    run(warp, instruction, std::index_sequence_for<S...>());
  }

  template <std::size_t... k>
  static void run(Warp& warp, const Instruction& instruction, std::index_sequence<k...>) {
    const auto& operands = instruction.operands;
    const std::tuple sources{source<S>(warp, operands[k + 1])...};
    const u32 defined = (kAllLanes & ... & warp.defined(operands[k + 1]));
    if constexpr (std::is_same_v<D, bool>) {
      const u32 lanes =
          ballot(warp.active, [&](int lane) { return f(std::get<k>(sources)[lane]...); });
      warp.set_predicate(operands[0], lanes);
    } else {
      Alias<D>* const out = warp.out<D>(operands[0]);
      for_lanes(warp.active, [&](int lane) { out[lane] = f(std::get<k>(sources)[lane]...); });
    }
    warp.define(operands[0], defined);
  }

  static Operation operation() {
    return {
        .run = run, .num_operands = 1 + sizeof...(S), .bytes = {bytes_of<D>(), bytes_of<S>()...}};
  }
};

// The same of registers that may be wider than the operands: a result is extended by its sign.
template <auto f>
struct Loose;
template <class D, class S, D (*f)(S)>
struct Loose<f> {
  static void run(Warp& warp, const Instruction& instruction) {
    const Operand &to = instruction.operands[0], &from = instruction.operands[1];
    const std::byte* const in = warp.in<std::byte>(from);
    std::byte* const out = warp.out<std::byte>(to);
    for_lanes(warp.active, [&](int lane) {
      S x;
      std::memcpy(&x, in + lane * from.bytes, sizeof x);
      const D result = f(x);
      if constexpr (std::is_integral_v<D>) {
        const auto wide = static_cast<u64>(static_cast<s64>(result));
        std::memcpy(out + lane * to.bytes, &wide, to.bytes);
      } else {
        std::memcpy(out + lane * to.bytes, &result, sizeof result);
      }
    });
    warp.define(to, warp.defined(from));
  }

  static Operation operation() {
    return {.run = run, .num_operands = 2, .bytes = {sizeof(D), sizeof(S)}, .is_loose = true};
  }
};

// --- Integers

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
struct WiderOf;
template <>
struct WiderOf<u16> : std::type_identity<u32> {};
template <>
struct WiderOf<s16> : std::type_identity<s32> {};
template <>
struct WiderOf<u32> : std::type_identity<u64> {};
template <>
struct WiderOf<s32> : std::type_identity<s64> {};
template <>
struct WiderOf<u64> : std::type_identity<Uint128> {};
template <>
struct WiderOf<s64> : std::type_identity<Int128> {};
template <class T>
using Wider = typename WiderOf<T>::type;

// Unsigned arithmetic of at least 32 bits, which cannot overflow.
template <class T>
using Safe = std::conditional_t<sizeof(T) < 4, u32, std::make_unsigned_t<T>>;

template <class T>
T add(T a, T b) {
  return static_cast<T>(static_cast<Safe<T>>(a) + static_cast<Safe<T>>(b));
}
template <class T>
T sub(T a, T b) {
  return static_cast<T>(static_cast<Safe<T>>(a) - static_cast<Safe<T>>(b));
}
template <class T>
T mul_lo(T a, T b) {
  return static_cast<T>(static_cast<Safe<T>>(a) * static_cast<Safe<T>>(b));
}
template <class T>
T mul_hi(T a, T b) {
  return static_cast<T>((static_cast<Wider<T>>(a) * static_cast<Wider<T>>(b)) >> (sizeof(T) * 8));
}
template <class T>
Wider<T> mul_wide(T a, T b) {
  return static_cast<Wider<T>>(a) * static_cast<Wider<T>>(b);
}
template <class T>
T mad_lo(T a, T b, T c) {
  return add<T>(mul_lo<T>(a, b), c);
}
template <class T>
T mad_hi(T a, T b, T c) {
  return add<T>(mul_hi<T>(a, b), c);
}
template <class T>
Wider<T> mad_wide(T a, T b, Wider<T> c) {
  return add<Wider<T>>(mul_wide<T>(a, b), c);
}
// By zero: what GPUs are seen to give, PTX leaves it open.
template <class T>
T div(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return sub<T>(0, a);
  return static_cast<T>(a / b);
}
template <class T>
T rem(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}
template <class T>
T neg(T a) {
  return sub<T>(0, a);
}
template <class T>
T abs_of(T a) {
  return a < 0 ? neg<T>(a) : a;
}
template <class T>
T sad(T a, T b, T c) {
  return add<T>(c, a < b ? sub<T>(b, a) : sub<T>(a, b));
}
template <class T>
T min_of(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max_of(T a, T b) {
  return a < b ? b : a;
}
template <class T>
T add_sat(T a, T b) {
  const Wider<T> sum = static_cast<Wider<T>>(a) + b;
  return static_cast<T>(
      std::clamp<Wider<T>>(sum, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}
template <class T>
T sub_sat(T a, T b) {
  const Wider<T> sum = static_cast<Wider<T>>(a) - b;
  return static_cast<T>(
      std::clamp<Wider<T>>(sum, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

// --- Bits

template <class T>
T and_of(T a, T b) {
  return a & b;
}
template <class T>
T or_of(T a, T b) {
  return a | b;
}
template <class T>
T xor_of(T a, T b) {
  return a ^ b;
}
template <class T>
T not_of(T a) {
  return static_cast<T>(~a);
}
template <class T>
T cnot(T a) {
  return a == 0;
}
template <class T>
T shl(T a, u32 n) {
  return n < sizeof(T) * 8 ? static_cast<T>(static_cast<Safe<T>>(a) << n) : T{0};
}
template <class T>
T shr(T a, u32 n) {
  return static_cast<T>(a >> std::min<u32>(n, sizeof(T) * 8 - 1)) *
         static_cast<T>(std::is_signed_v<T> || n < sizeof(T) * 8);
}
template <bool wraps>
u32 shf_l(u32 low, u32 high, u32 n) {
  n = wraps ? n & 31 : std::min(n, u32{32});
  return static_cast<u32>((((u64{high} << 32) | low) << n) >> 32);
}
template <bool wraps>
u32 shf_r(u32 low, u32 high, u32 n) {
  n = wraps ? n & 31 : std::min(n, u32{32});
  return static_cast<u32>(((u64{high} << 32) | low) >> n);
}
template <class T>
u32 popc(T a) {
  return static_cast<u32>(std::popcount(a));
}
template <class T>
u32 clz(T a) {
  return static_cast<u32>(std::countl_zero(a));
}
template <class T>
T brev(T a) {
  T result = 0;
  for (unsigned i = 0; i < sizeof(T) * 8; ++i) result = (result << 1) | (a >> i & 1);
  return result;
}
template <class T>
T bfe(T a, u32 position, u32 length) {
  constexpr u32 kBits = sizeof(T) * 8;
  position &= 0xff;
  length &= 0xff;
  const bool is_negative = std::is_signed_v<T> && length > 0 &&
                           (a >> std::min(position + length - 1, kBits - 1) & 1) != 0;
  T result = 0;
  for (u32 i = 0; i < kBits; ++i) {
    const bool bit =
        i < length && position + i < kBits ? (a >> (position + i) & 1) != 0 : is_negative;
    if (bit) result = static_cast<T>(static_cast<Unsigned<T>>(result) | Unsigned<T>{1} << i);
  }
  return result;
}
template <class T>
T bfi(T from, T into, u32 position, u32 length) {
  position &= 0xff;
  length &= 0xff;
  for (u32 i = 0; i < length && position + i < sizeof(T) * 8; ++i) {
    const T bit = T{1} << (position + i);
    into = from >> i & 1 ? into | bit : into & ~bit;
  }
  return into;
}
template <class T>
u32 bfind(T a) {
  const auto bits = static_cast<Unsigned<T>>(a < 0 ? static_cast<T>(~a) : a);
  return static_cast<u32>(static_cast<int>(sizeof(T) * 8) - 1 - std::countl_zero(bits));
}
template <class T>
u32 bfind_shiftamt(T a) {
  const u32 found = bfind<T>(a);
  return found == ~u32{0} ? found : static_cast<u32>(sizeof(T) * 8 - 1) - found;
}
u32 fns(u32 mask, u32 base, s32 offset) {
  if (offset == 0) return mask >> base & 1 ? base : ~u32{0};
  const int step = offset > 0 ? 1 : -1;
  int position = static_cast<int>(base), count = std::abs(offset) - 1;
  for (; position >= 0 && position < 32; position += step) {
    if (mask >> position & 1 && count-- == 0) return static_cast<u32>(position);
  }
  return ~u32{0};
}
u32 prmt(u32 a, u32 b, u32 selection) {
  const u64 both = (u64{b} << 32) | a;
  u32 result = 0;
  for (int i = 0; i < 4; ++i) {
    const u32 choice = selection >> (4 * i) & 0xf;
    u32 byte = static_cast<u32>(both >> (8 * (choice & 7))) & 0xff;
    if (choice & 8) byte = byte & 0x80 ? 0xff : 0;
    result |= byte << (8 * i);
  }
  return result;
}
template <class A, class B>
u32 dp4a(u32 a, u32 b, u32 c) {
  for (int i = 0; i < 32; i += 8) {
    c += static_cast<u32>(s32{static_cast<A>(a >> i)} * s32{static_cast<B>(b >> i)});
  }
  return c;
}

void lop3(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  const auto *a = warp.in<u32>(operands[1]), *b = warp.in<u32>(operands[2]),
             *c = warp.in<u32>(operands[3]);
  auto* const out = warp.out<u32>(operands[0]);
  const auto table = static_cast<u32>(instruction.immediate);
  for_lanes(warp.active, [&](int lane) {
    u32 result = 0;
    for (u32 i = 0; i < 8; ++i) {
      const u32 part = (i & 4 ? a[lane] : ~a[lane]) & (i & 2 ? b[lane] : ~b[lane]) &
                       (i & 1 ? c[lane] : ~c[lane]);
      result |= table >> i & 1 ? part : 0;
    }
    out[lane] = result;
  });
  warp.define(operands[0],
              warp.defined(operands[1]) & warp.defined(operands[2]) & warp.defined(operands[3]));
}

// --- Floating point

// NaN has no payload in single precision.
inline float canonical(float x) { return x == x ? x : std::bit_cast<float>(0x7fffffff); }
inline double canonical(double x) { return x; }

template <class T>
T canonical_nan() {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<float>(0x7fffffff);
  if constexpr (std::is_same_v<T, double>) return std::numeric_limits<double>::quiet_NaN();
  if constexpr (kIsSmall<T>) return T{0x7fff};
}

template <class T>
T fadd(T a, T b) {
  if constexpr (kIsSmall<T>)
    return narrow<T>(double{widen(a)} + widen(b));
  else
    return canonical(a + b);
}
template <class T>
T fsub(T a, T b) {
  if constexpr (kIsSmall<T>)
    return narrow<T>(double{widen(a)} - widen(b));
  else
    return canonical(a - b);
}
template <class T>
T fmul(T a, T b) {
  if constexpr (kIsSmall<T>)
    return narrow<T>(double{widen(a)} * widen(b));
  else
    return canonical(a * b);
}
template <class T>
T ffma(T a, T b, T c) {
  if constexpr (kIsSmall<T>)
    return narrow<T>(fused(widen(a), widen(b), widen(c)));
  else
    return canonical(std::fma(a, b, c));
}
template <class T>
T fdiv(T a, T b) {
  return canonical(a / b);
}
template <class T>
T frcp(T a) {
  return canonical(T{1} / a);
}
template <class T>
T fsqrt(T a) {
  return canonical(std::sqrt(a));
}
template <class T>
T fneg(T a) {
  if constexpr (kIsSmall<T>)
    return T{static_cast<u16>(a.bits ^ 0x8000)};
  else
    return -a;
}
template <class T>
T fabs_of(T a) {
  if constexpr (kIsSmall<T>)
    return T{static_cast<u16>(a.bits & 0x7fff)};
  else
    return std::abs(a);
}
template <class T>
T saturated(T a) {
  return a > 0 ? (a < 1 ? a : T{1}) : T{0};  // NaN: 0
}
template <class T>
T fadd_sat(T a, T b) {
  return saturated(a + b);
}
template <class T>
T fmul_sat(T a, T b) {
  return saturated(a * b);
}
template <class T>
T ffma_sat(T a, T b, T c) {
  return saturated(std::fma(a, b, c));
}

// -0 is less than +0. Of a NaN and a number it is the number, or with keeps_nan the NaN.
template <class T, bool keeps_nan>
T fmax_of(T a, T b) {
  const auto x = widen(a), y = widen(b);
  if (x != x || y != y) {
    if (keeps_nan || (x != x && y != y)) return canonical_nan<T>();
    return x != x ? b : a;
  }
  if (x == y) return std::signbit(x) ? b : a;
  return x > y ? a : b;
}
template <class T, bool keeps_nan>
T fmin_of(T a, T b) {
  const auto x = widen(a), y = widen(b);
  if (x != x || y != y) {
    if (keeps_nan || (x != x && y != y)) return canonical_nan<T>();
    return x != x ? b : a;
  }
  if (x == y) return std::signbit(x) ? a : b;
  return x < y ? a : b;
}
template <class T, bool keeps_nan>
T fmax_of_three(T a, T b, T c) {
  return fmax_of<T, keeps_nan>(fmax_of<T, keeps_nan>(a, b), c);
}
template <class T, bool keeps_nan>
T fmin_of_three(T a, T b, T c) {
  return fmin_of<T, keeps_nan>(fmin_of<T, keeps_nan>(a, b), c);
}
template <class T>
T with_sign_of(T sign, T a) {
  return std::copysign(a, sign);
}
bool is_finite32(float a) { return std::isfinite(a); }
bool is_finite64(double a) { return std::isfinite(a); }
bool is_infinite32(float a) { return std::isinf(a); }
bool is_infinite64(double a) { return std::isinf(a); }
bool is_nan32(float a) { return a != a; }
bool is_nan64(double a) { return a != a; }
bool is_number32(float a) { return a == a; }
bool is_number64(double a) { return a == a; }

// Two values of 16 bits in one register.
template <auto f>
struct Pairwise;
template <class D, class T, class... S, D (*f)(T, S...)>
struct Pairwise<f> {
  static T low(u32 x) { return std::bit_cast<T>(static_cast<u16>(x)); }
  static T high(u32 x) { return std::bit_cast<T>(static_cast<u16>(x >> 16)); }
  static u32 both(D low, D high) {
    return std::bit_cast<u16>(low) | u32{std::bit_cast<u16>(high)} << 16;
  }
  static u32 one(u32 a) { return both(f(low(a)), f(high(a))); }
  static u32 two(u32 a, u32 b) { return both(f(low(a), low(b)), f(high(a), high(b))); }
  static u32 three(u32 a, u32 b, u32 c) {
    return both(f(low(a), low(b), low(c)), f(high(a), high(b), high(c)));
  }
  static Operation operation() {
    if constexpr (sizeof...(S) == 0)
      return Lanewise<one>::operation();
    else if constexpr (sizeof...(S) == 1)
      return Lanewise<two>::operation();
    else
      return Lanewise<three>::operation();
  }
};

// --- Comparisons

enum class Comparison : u8 { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
constexpr const char* kComparisonNames[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                            "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

template <class T, Comparison comparison>
bool compare(T first, T second) {
  const auto values = [](T x) {
    if constexpr (kIsFloat<T>)
      return widen(x);
    else
      return x;
  };
  const auto a = values(first), b = values(second);
  const bool is_unordered = a != a || b != b;
  switch (comparison) {
    case Comparison::eq:
      return a == b;
    case Comparison::ne:
      return a != b && !is_unordered;
    case Comparison::lt:
      return a < b;
    case Comparison::le:
      return a <= b;
    case Comparison::gt:
      return a > b;
    case Comparison::ge:
      return a >= b;
    case Comparison::equ:
      return a == b || is_unordered;
    case Comparison::neu:
      return a != b;
    case Comparison::ltu:
      return !(a >= b);
    case Comparison::leu:
      return !(a > b);
    case Comparison::gtu:
      return !(a <= b);
    case Comparison::geu:
      return !(a < b);
    case Comparison::num:
      return !is_unordered;
    case Comparison::nan:
      return is_unordered;
  }
}
// Of set: 1, or of integers all bits.
template <class D, class T, Comparison comparison>
D as_number(T a, T b) {
  constexpr auto kOne = [] {
    if constexpr (std::is_same_v<D, Half>) return Half{0x3c00};
    if constexpr (std::is_same_v<D, Bfloat>) return Bfloat{0x3f80};
    if constexpr (std::is_same_v<D, float>) return 1.0f;
    if constexpr (std::is_integral_v<D>) return static_cast<D>(-1);
  }();
  return compare<T, comparison>(a, b) ? kOne : D{};
}

enum class Logic : u8 { none, and_, or_, xor_ };
u32 combined(u8 logic, u32 a, u32 b) {
  switch (static_cast<Logic>(logic)) {
    case Logic::and_:
      return a & b;
    case Logic::or_:
      return a | b;
    case Logic::xor_:
      return a ^ b;
    default:
      return a;
  }
}

// p, q, a, b and perhaps c: p is (a <=> b) combined with c, q is its opposite combined with c.
template <class T, Comparison comparison>
void setp(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  const Source<T> a = source<T>(warp, operands[2]), b = source<T>(warp, operands[3]);
  const u32 lanes =
      ballot(warp.active, [&](int lane) { return compare<T, comparison>(a[lane], b[lane]); });
  u32 defined = warp.defined(operands[2]) & warp.defined(operands[3]), with = 0;
  if (instruction.detail != 0) {
    with = warp.predicate(operands[4]);
    defined &= warp.defined(operands[4]);
  }
  warp.set_predicate(operands[0], combined(instruction.detail, lanes, with));
  warp.set_predicate(operands[1], combined(instruction.detail, ~lanes, with));
  warp.define(operands[0], defined);
  warp.define(operands[1], defined);
}

// --- Predicates

// What a false operand of "and" leaves to say, is not asked whether it was defined.
void and_pred(Warp& warp, const Instruction& instruction) {
  const Operand &p = instruction.operands[1], &q = instruction.operands[2];
  const u32 a = warp.predicate(p), b = warp.predicate(q);
  const u32 da = warp.defined(p), db = warp.defined(q);
  warp.set_predicate(instruction.operands[0], a & b);
  warp.define(instruction.operands[0], (da & db) | (da & ~a) | (db & ~b));
}
void or_pred(Warp& warp, const Instruction& instruction) {
  const Operand &p = instruction.operands[1], &q = instruction.operands[2];
  const u32 a = warp.predicate(p), b = warp.predicate(q);
  const u32 da = warp.defined(p), db = warp.defined(q);
  warp.set_predicate(instruction.operands[0], a | b);
  warp.define(instruction.operands[0], (da & db) | (da & a) | (db & b));
}
void xor_pred(Warp& warp, const Instruction& instruction) {
  const Operand &p = instruction.operands[1], &q = instruction.operands[2];
  warp.set_predicate(instruction.operands[0], warp.predicate(p) ^ warp.predicate(q));
  warp.define(instruction.operands[0], warp.defined(p) & warp.defined(q));
}
template <bool negates>
void mov_pred(Warp& warp, const Instruction& instruction) {
  const Operand& p = instruction.operands[1];
  const u32 defined = warp.defined(p);
  warp.set_predicate(instruction.operands[0], negates ? ~warp.predicate(p) : warp.predicate(p));
  warp.define(instruction.operands[0], defined);
}

template <class T>
void selp(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  const auto *a = warp.in<T>(operands[1]), *b = warp.in<T>(operands[2]);
  const u32 first = warp.predicate(operands[3]);
  const u32 defined = warp.defined(operands[3]) &
                      ((first & warp.defined(operands[1])) | (~first & warp.defined(operands[2])));
  auto* const out = warp.out<T>(operands[0]);
  if (warp.active == kAllLanes && first == kAllLanes) {
    std::memmove(out, a, kLanes * sizeof(T));
  } else if (warp.active == kAllLanes && first == 0) {
    std::memmove(out, b, kLanes * sizeof(T));
  } else {
    for_lanes(warp.active, [&](int lane) { out[lane] = first >> lane & 1 ? a[lane] : b[lane]; });
  }
  warp.define(operands[0], defined);
}

// --- Moves

template <class T>
T same(T a) {
  return a;
}

void pack(Warp& warp, const Instruction& instruction) {
  const int pieces = instruction.detail;
  const Operand& to = instruction.operands[0];
  std::byte whole[kLanes][16];
  u32 defined = kAllLanes;
  for (int i = 0; i < pieces; ++i) {
    const Operand& piece = instruction.operands[i + 1];
    const std::byte* const in = warp.in<std::byte>(piece);
    for_lanes(warp.active, [&](int lane) {
      std::memcpy(whole[lane] + i * piece.bytes, in + lane * piece.bytes, piece.bytes);
    });
    defined &= warp.defined(piece);
  }
  std::byte* const out = warp.out<std::byte>(to);
  for_lanes(warp.active,
            [&](int lane) { std::memcpy(out + lane * to.bytes, whole[lane], to.bytes); });
  warp.define(to, defined);
}
void unpack(Warp& warp, const Instruction& instruction) {
  const int pieces = instruction.detail;
  const Operand& from = instruction.operands[pieces];
  std::byte whole[kLanes][16];
  const std::byte* const in = warp.in<std::byte>(from);
  for_lanes(warp.active,
            [&](int lane) { std::memcpy(whole[lane], in + lane * from.bytes, from.bytes); });
  const u32 defined = warp.defined(from);
  for (int i = 0; i < pieces; ++i) {
    const Operand& piece = instruction.operands[i];
    std::byte* const out = warp.out<std::byte>(piece);
    for_lanes(warp.active, [&](int lane) {
      std::memcpy(out + lane * piece.bytes, whole[lane] + i * piece.bytes, piece.bytes);
    });
    warp.define(piece, defined);
  }
}

void activemask(Warp& warp, const Instruction& instruction) {
  auto* const out = warp.out<u32>(instruction.operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = warp.active; });
  warp.define(instruction.operands[0], kAllLanes);
}

void nothing(Warp&, const Instruction&) {}

// --- Conversions

template <class D, class S, bool saturates>
D integer_of_integer(S x) {
  if constexpr (saturates) {
    if (std::cmp_less(x, std::numeric_limits<D>::min())) return std::numeric_limits<D>::min();
    if (std::cmp_greater(x, std::numeric_limits<D>::max())) return std::numeric_limits<D>::max();
  }
  return static_cast<D>(x);
}

template <class D, class S, Rounding rounding>
D integer_of_float(S x) {
  const double value = round_to_integer(widen(x), rounding);
  constexpr D kMin = std::numeric_limits<D>::min(), kMax = std::numeric_limits<D>::max();
  if (value != value) {
    if constexpr (!std::is_same_v<S, double> && sizeof(D) < 8)
      return 0;
    else
      return static_cast<D>(Unsigned<D>{1} << (sizeof(D) * 8 - 1));
  }
  if (value < static_cast<double>(kMin)) return kMin;
  if (value >= std::ldexp(1.0, std::numeric_limits<D>::digits)) return kMax;
  return static_cast<D>(value);
}

template <class D, class S, Rounding rounding>
D float_of_integer(S x) {
  if constexpr (kIsSmall<D>) {
    return narrow<D>(static_cast<double>(x), rounding);
  } else if constexpr (rounding == Rounding::nearest) {
    return static_cast<D>(x);
  } else {
    return rounded<D>(static_cast<long double>(x), rounding);
  }
}

template <class D, class S, Rounding rounding>
D narrow_float(S x) {
  if constexpr (std::is_same_v<D, float>)
    return canonical(narrow<D>(x, rounding));
  else
    return narrow<D>(widen(x), rounding);
}
template <class D, class S>
D wide_float(S x) {
  return static_cast<D>(widen(x));
}
template <class T, Rounding rounding>
T integral(T x) {
  if constexpr (kIsSmall<T>)
    return narrow<T>(round_to_integer(widen(x), rounding));
  else
    return static_cast<T>(round_to_integer(x, rounding));
}
// cvt.rn.f16x2.f32: the first is the upper one.
template <class T, Rounding rounding>
u32 narrow_pair(float high, float low) {
  return u32{narrow<T>(high, rounding).bits} << 16 | narrow<T>(low, rounding).bits;
}

// --- All of them by name

class Table {
 public:
  Table() {
    add_integers<u16>();
    add_integers<s16>();
    add_integers<u32>();
    add_integers<s32>();
    add_integers<u64>();
    add_integers<s64>();
    add_bits<u16>();
    add_bits<u32>();
    add_bits<u64>();
    add_narrow_integers();
    add_floats<float>();
    add_floats<double>();
    add_small_floats<Half>();
    add_small_floats<Bfloat>();
    add_comparisons();
    add_predicates();
    add_moves();
    add_conversions();
    add_collectives(
        [this](const std::string& name, const Operation& operation) { all_[name] = operation; });
  }

  const Operation* find(std::string_view name) const {
    const auto found = all_.find(std::string(name));
    return found == all_.end() ? nullptr : &found->second;
  }

 private:
  template <auto f>
  void add(const std::string& name) {
    all_[name] = Lanewise<f>::operation();
  }
  void add(const std::string& name, const Operation& operation) { all_[name] = operation; }

  template <class T>
  void add_integers() {
    const std::string type = suffix_of<T>();
    add<interpreted::add<T>>("add" + type);
    add<sub<T>>("sub" + type);
    add<mul_lo<T>>("mul.lo" + type);
    add<mul_hi<T>>("mul.hi" + type);
    add<mad_lo<T>>("mad.lo" + type);
    add<mad_hi<T>>("mad.hi" + type);
    add<div<T>>("div" + type);
    add<rem<T>>("rem" + type);
    add<min_of<T>>("min" + type);
    add<max_of<T>>("max" + type);
    add<sad<T>>("sad" + type);
    add<shr<T>>("shr" + type);
    if constexpr (std::is_signed_v<T>) {
      add<neg<T>>("neg" + type);
      add<abs_of<T>>("abs" + type);
    }
    if constexpr (sizeof(T) < 8) {
      add<mul_wide<T>>("mul.wide" + type);
      add<mad_wide<T>>("mad.wide" + type);
    }
    if constexpr (sizeof(T) >= 4) {
      add<bfe<T>>("bfe" + type);
      add<bfind<T>>("bfind" + type);
      add<bfind_shiftamt<T>>("bfind.shiftamt" + type);
    }
    if constexpr (sizeof(T) == 2) {
      all_["add" + type + "x2"] = Pairwise<interpreted::add<T>>::operation();
      all_["min" + type + "x2"] = Pairwise<min_of<T>>::operation();
      all_["max" + type + "x2"] = Pairwise<max_of<T>>::operation();
    }
  }

  template <class T>
  void add_bits() {
    const std::string type = ".b" + std::to_string(sizeof(T) * 8);
    add<and_of<T>>("and" + type);
    add<or_of<T>>("or" + type);
    add<xor_of<T>>("xor" + type);
    add<not_of<T>>("not" + type);
    add<cnot<T>>("cnot" + type);
    add<shl<T>>("shl" + type);
    add<shr<T>>("shr" + type);
    if constexpr (sizeof(T) >= 4) {
      add<popc<T>>("popc" + type);
      add<clz<T>>("clz" + type);
      add<brev<T>>("brev" + type);
      add<bfi<T>>("bfi" + type);
    }
  }

  void add_narrow_integers() {
    add<add_sat<s32>>("add.sat.s32");
    add<sub_sat<s32>>("sub.sat.s32");
    add<shf_l<true>>("shf.l.wrap.b32");
    add<shf_l<false>>("shf.l.clamp.b32");
    add<shf_r<true>>("shf.r.wrap.b32");
    add<shf_r<false>>("shf.r.clamp.b32");
    add<fns>("fns.b32");
    add<prmt>("prmt.b32");
    add<dp4a<u8, u8>>("dp4a.u32.u32");
    add<dp4a<u8, s8>>("dp4a.u32.s32");
    add<dp4a<s8, u8>>("dp4a.s32.u32");
    add<dp4a<s8, s8>>("dp4a.s32.s32");
    add("lop3.b32", {.run = lop3, .num_operands = 5, .bytes = {4, 4, 4, 4}, .has_immediate = true});
  }

  template <class T>
  void add_floats() {
    const std::string type = suffix_of<T>();
    for (const char* const rounding : {"", ".rn"}) {
      add<fadd<T>>("add" + (rounding + type));
      add<fsub<T>>("sub" + (rounding + type));
      add<fmul<T>>("mul" + (rounding + type));
    }
    add<ffma<T>>("fma.rn" + type);
    add<ffma<T>>("mad.rn" + type);
    add<fdiv<T>>("div.rn" + type);
    add<frcp<T>>("rcp.rn" + type);
    add<fsqrt<T>>("sqrt.rn" + type);
    add<with_sign_of<T>>("copysign" + type);
    add_signs_and_limits<T>();
    if constexpr (std::is_same_v<T, float>) {
      for (const char* const rounding : {"", ".rn"}) {
        add<fadd_sat<T>>("add" + (rounding + (".sat" + type)));
        add<fmul_sat<T>>("mul" + (rounding + (".sat" + type)));
      }
      add<ffma_sat<T>>("fma.rn.sat" + type);
      add<fmax_of_three<T, false>>("max.f32.three");
      add<fmin_of_three<T, false>>("min.f32.three");
      add<fmax_of_three<T, true>>("max.NaN.f32.three");
      add<fmin_of_three<T, true>>("min.NaN.f32.three");
    }
  }

  template <class T>
  void add_signs_and_limits() {
    const std::string type = suffix_of<T>();
    add<fneg<T>>("neg" + type);
    add<fabs_of<T>>("abs" + type);
    add<fmin_of<T, false>>("min" + type);
    add<fmax_of<T, false>>("max" + type);
    if constexpr (!std::is_same_v<T, double>) {
      add<fmin_of<T, true>>("min.NaN" + type);
      add<fmax_of<T, true>>("max.NaN" + type);
    }
  }

  template <class T>
  void add_small_floats() {
    const std::string type = suffix_of<T>();
    add_signs_and_limits<T>();
    for (const char* const rounding : {"", ".rn"}) {
      add<fadd<T>>("add" + (rounding + type));
      add<fsub<T>>("sub" + (rounding + type));
      add<fmul<T>>("mul" + (rounding + type));
      all_["add" + (rounding + type) + "x2"] = Pairwise<fadd<T>>::operation();
      all_["sub" + (rounding + type) + "x2"] = Pairwise<fsub<T>>::operation();
      all_["mul" + (rounding + type) + "x2"] = Pairwise<fmul<T>>::operation();
    }
    add<ffma<T>>("fma.rn" + type);
    all_["fma.rn" + type + "x2"] = Pairwise<ffma<T>>::operation();
    all_["neg" + type + "x2"] = Pairwise<fneg<T>>::operation();
    all_["abs" + type + "x2"] = Pairwise<fabs_of<T>>::operation();
    all_["min" + type + "x2"] = Pairwise<fmin_of<T, false>>::operation();
    all_["max" + type + "x2"] = Pairwise<fmax_of<T, false>>::operation();
    all_["min.NaN" + type + "x2"] = Pairwise<fmin_of<T, true>>::operation();
    all_["max.NaN" + type + "x2"] = Pairwise<fmax_of<T, true>>::operation();
    add<narrow_pair<T, Rounding::nearest>>("cvt.rn" + type + "x2.f32");
    add<narrow_pair<T, Rounding::to_zero>>("cvt.rz" + type + "x2.f32");
  }

  template <class T, Comparison... comparison>
  void add_comparisons(const std::string& type) {
    (add_comparison<T, comparison>(type), ...);
  }
  template <class T, Comparison comparison>
  void add_comparison(const std::string& type) {
    const char* const name = kComparisonNames[static_cast<int>(comparison)];
    const std::string full = std::string("setp.") + name;
    add_comparison(full, type, setp<T, comparison>, sizeof(T));
    const std::string set = std::string("set.") + name;
    add<as_number<float, T, comparison>>(set + ".f32." + type);
    add<as_number<u32, T, comparison>>(set + ".u32." + type);
    add<as_number<u32, T, comparison>>(set + ".s32." + type);
    if constexpr (kIsSmall<T>) {
      add<as_number<T, T, comparison>>(set + "." + type + "." + type);
      all_[set + "." + type + "x2." + type + "x2"] =
          Pairwise<as_number<T, T, comparison>>::operation();
      all_[set + ".u32." + type + "x2"] = Pairwise<as_number<u16, T, comparison>>::operation();
    }
  }
  void add_comparison(const std::string& name, const std::string& type, Run run, u8 bytes) {
    const Operation operation{
        .run = run, .num_operands = 4, .bytes = {0, 0, bytes, bytes}, .num_written = 2};
    all_[name + "." + type] = operation;
    const char* const logic_names[] = {"", ".and.", ".or.", ".xor."};
    for (u8 logic = 1; logic < 4; ++logic) {
      Operation combined = operation;
      combined.detail = logic;
      combined.num_operands = 5;
      all_[name + logic_names[logic] + type] = combined;
    }
  }
  template <class T>
  void add_integer_comparisons() {
    using enum Comparison;
    add_comparisons<T, eq, ne, lt, le, gt, ge>(name_of<T>());
    if constexpr (std::is_unsigned_v<T>) {
      const std::string type = name_of<T>();
      add_comparisons<T, eq, ne>(std::string(1, 'b').append(type, 1));
      add_comparison("setp.lo", type, setp<T, lt>, sizeof(T));
      add_comparison("setp.ls", type, setp<T, le>, sizeof(T));
      add_comparison("setp.hi", type, setp<T, gt>, sizeof(T));
      add_comparison("setp.hs", type, setp<T, ge>, sizeof(T));
    }
  }
  template <class T>
  void add_float_comparisons() {
    using enum Comparison;
    add_comparisons<T, eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan>(
        name_of<T>());
  }
  void add_comparisons() {
    add_integer_comparisons<u16>();
    add_integer_comparisons<s16>();
    add_integer_comparisons<u32>();
    add_integer_comparisons<s32>();
    add_integer_comparisons<u64>();
    add_integer_comparisons<s64>();
    add_float_comparisons<float>();
    add_float_comparisons<double>();
    add_float_comparisons<Half>();
    add_float_comparisons<Bfloat>();
    add<is_finite32>("testp.finite.f32");
    add<is_finite64>("testp.finite.f64");
    add<is_infinite32>("testp.infinite.f32");
    add<is_infinite64>("testp.infinite.f64");
    add<is_nan32>("testp.notanumber.f32");
    add<is_nan64>("testp.notanumber.f64");
    add<is_number32>("testp.number.f32");
    add<is_number64>("testp.number.f64");
  }

  void add_predicates() {
    add("and.pred", {.run = and_pred, .num_operands = 3});
    add("or.pred", {.run = or_pred, .num_operands = 3});
    add("xor.pred", {.run = xor_pred, .num_operands = 3});
    add("not.pred", {.run = mov_pred<true>, .num_operands = 2});
    add("mov.pred", {.run = mov_pred<false>, .num_operands = 2});
  }

  template <class T>
  void add_moves(std::initializer_list<const char*> types) {
    for (const char* const type : types) {
      add<same<T>>(std::string("mov.") + type);
      add(std::string("selp.") + type,
          {.run = selp<T>, .num_operands = 4, .bytes = {sizeof(T), sizeof(T), sizeof(T), 0}});
    }
  }
  void add_moves() {
    add_moves<u16>({"b16", "u16", "s16"});
    add_moves<u32>({"b32", "u32", "s32", "f32"});
    add_moves<u64>({"b64", "u64", "s64", "f64"});
    add("pack", {.run = pack});
    add("unpack", {.run = unpack});
    add("activemask.b32", {.run = activemask, .num_operands = 1, .bytes = {4}});
    add("nanosleep.u32", {.run = nothing, .num_operands = 1, .bytes = {4}, .num_written = 0});
    for (const char* const name :
         {"membar.cta", "membar.gl", "membar.sys", "fence.sc.cta", "fence.sc.gpu", "fence.sc.sys",
          "fence.acq_rel.cta", "fence.acq_rel.gpu", "fence.acq_rel.sys"}) {
      add(name, {.run = nothing, .num_written = 0});
    }
  }

  template <auto f>
  void add_conversion(const std::string& name) {
    all_[name] = Loose<f>::operation();
  }
  // Where no register is wider.
  template <auto f>
  void add_fast_conversion(const std::string& name) {
    add_conversion<f>(name);
    all_[name + ".fast"] = Lanewise<f>::operation();
  }

  template <class D, class S>
  void add_integer_conversions() {
    const std::string types = suffix_of<D>() + suffix_of<S>();
    add_fast_conversion<integer_of_integer<D, S, false>>("cvt" + types);
    add_conversion<integer_of_integer<D, S, true>>("cvt.sat" + types);
  }
  template <class D>
  void add_conversions_to_integer() {
    add_integer_conversions<D, u8>();
    add_integer_conversions<D, s8>();
    add_integer_conversions<D, u16>();
    add_integer_conversions<D, s16>();
    add_integer_conversions<D, u32>();
    add_integer_conversions<D, s32>();
    add_integer_conversions<D, u64>();
    add_integer_conversions<D, s64>();
    add_conversions_between<D, float>();
    add_conversions_between<D, double>();
    add_conversions_between<D, Half>();
    add_conversions_between<D, Bfloat>();
  }
  // Of an integer and a float.
  template <class D, class S>
  void add_conversions_between() {
    using enum Rounding;
    const std::string to_integer = suffix_of<D>() + suffix_of<S>();
    add_fast_conversion<integer_of_float<D, S, nearest>>("cvt.rni" + to_integer);
    add_fast_conversion<integer_of_float<D, S, to_zero>>("cvt.rzi" + to_integer);
    add_fast_conversion<integer_of_float<D, S, down>>("cvt.rmi" + to_integer);
    add_fast_conversion<integer_of_float<D, S, up>>("cvt.rpi" + to_integer);
    const std::string to_float = suffix_of<S>() + suffix_of<D>();
    add_fast_conversion<float_of_integer<S, D, nearest>>("cvt.rn" + to_float);
    add_conversion<float_of_integer<S, D, to_zero>>("cvt.rz" + to_float);
    add_conversion<float_of_integer<S, D, down>>("cvt.rm" + to_float);
    add_conversion<float_of_integer<S, D, up>>("cvt.rp" + to_float);
  }
  template <class D, class S>
  void add_narrowing() {
    using enum Rounding;
    const std::string types = suffix_of<D>() + suffix_of<S>();
    add_fast_conversion<narrow_float<D, S, nearest>>("cvt.rn" + types);
    add_conversion<narrow_float<D, S, to_zero>>("cvt.rz" + types);
    add_conversion<narrow_float<D, S, down>>("cvt.rm" + types);
    add_conversion<narrow_float<D, S, up>>("cvt.rp" + types);
  }
  template <class T>
  void add_integral() {
    using enum Rounding;
    const std::string types = suffix_of<T>() + suffix_of<T>();
    add_conversion<same<T>>("cvt" + types);
    add_conversion<integral<T, nearest>>("cvt.rni" + types);
    add_conversion<integral<T, to_zero>>("cvt.rzi" + types);
    add_conversion<integral<T, down>>("cvt.rmi" + types);
    add_conversion<integral<T, up>>("cvt.rpi" + types);
  }
  void add_conversions() {
    add_conversions_to_integer<u8>();
    add_conversions_to_integer<s8>();
    add_conversions_to_integer<u16>();
    add_conversions_to_integer<s16>();
    add_conversions_to_integer<u32>();
    add_conversions_to_integer<s32>();
    add_conversions_to_integer<u64>();
    add_conversions_to_integer<s64>();
    add_narrowing<float, double>();
    add_narrowing<Half, float>();
    add_narrowing<Half, double>();
    add_narrowing<Bfloat, float>();
    add_narrowing<Bfloat, double>();
    add_fast_conversion<wide_float<double, float>>("cvt.f64.f32");
    add_fast_conversion<wide_float<float, Half>>("cvt.f32.f16");
    add_fast_conversion<wide_float<double, Half>>("cvt.f64.f16");
    add_fast_conversion<wide_float<float, Bfloat>>("cvt.f32.bf16");
    add_fast_conversion<wide_float<double, Bfloat>>("cvt.f64.bf16");
    add_integral<float>();
    add_integral<double>();
    add_integral<Half>();
    add_conversion<saturated<float>>("cvt.sat.f32.f32");
    add_conversion<saturated<double>>("cvt.sat.f64.f64");
  }

  std::unordered_map<std::string, Operation> all_;
};

}  // namespace

const Operation* find_operation(std::string_view opcode) {
  static const Table table;
  return table.find(opcode);
}

}  // namespace interpreted
