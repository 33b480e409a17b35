// Tests the interpreter of PTX. Prints a line for each check.
#include "interpreter.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "device_memory.h"

namespace interpreted {
namespace {

constexpr std::uint64_t kSeeds = 10;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

int num_failed = 0;

void check(bool holds, const std::string& what) {
  std::printf("%s: %s\n", holds ? "ok" : "FAILED", what.c_str());
  num_failed += !holds;
}

// Memory of the device, with bytes of the host.
class Memory {
 public:
  explicit Memory(std::size_t bytes) : bytes_(bytes), address_(allocate(bytes)) {}
  ~Memory() { interpreted::free(address_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void write(std::size_t offset, const void* from, std::size_t bytes) {
    std::memcpy(static_cast<std::byte*>(address_) + offset, from, bytes);
    mark_written(static_cast<std::byte*>(address_) + offset, bytes);
  }
  void fill(int byte) {
    std::memset(address_, byte, bytes_);
    mark_written(address_, bytes_);
  }
  template <class T>
  T at(std::size_t i) const {
    T value;
    std::memcpy(&value, static_cast<const std::byte*>(address_) + i * sizeof(T), sizeof(T));
    return value;
  }
  void* address() const { return address_; }
  std::size_t num_written() const { return interpreted::num_written(address_, bytes_); }

 private:
  std::size_t bytes_;
  void* address_;
};

constexpr std::string_view kHead = R"(
.version 8.0
.target sm_90
.address_size 64
.extern .shared .align 16 .b8 memory[];
)";

// A kernel of the parameters in and out, both addresses. %in and %out are those of the thread, each
// of which has so many bytes there; %t is its number.
std::string kernel(std::string_view body, int in_bytes = 4, int out_bytes = 4,
                   std::string_view before = "") {
  return std::string(kHead) + std::string(before) + R"(
.visible .entry test(.param .u64 in, .param .u64 out)
{
  .reg .pred %p<9>;
  .reg .b16 %h<9>;
  .reg .b32 %r<19>, %t, %b;
  .reg .f32 %f<9>;
  .reg .f64 %fd<9>;
  .reg .b64 %rd<19>, %in, %out, %begin;
  .reg .b32 %local;
  mov.u32 %t, %tid.x;
  mov.u32 %b, %ctaid.x;
  ld.param.u64 %begin, [in];
  mad.wide.u32 %in, %t, )" +
         std::to_string(in_bytes) + R"(, %begin;
  ld.param.u64 %out, [out];
  mad.wide.u32 %out, %t, )" +
         std::to_string(out_bytes) + ", %out;\n" + std::string(body) + "\n  ret;\n}\n";
}

void run(const std::string& ptx, const Memory& in, const Memory& out, unsigned num_threads = 1,
         std::uint64_t seed = 0, unsigned num_blocks = 1, std::size_t shared_bytes = 0) {
  Module module(ptx);
  void *from = in.address(), *to = out.address();
  void* arguments[] = {&from, &to};
  module.run("test", {{num_blocks, 1, 1}, {num_threads, 1, 1}, shared_bytes, seed}, arguments);
}

// Operations -------------------------------------------------------------------------------------

// What `body`, which sets %o from %a0, %a1, ..., makes of values.
template <class Out, class... In>
Out apply(std::string_view body, In... values) {
  constexpr std::size_t kSizes[] = {sizeof(In)..., 0};
  std::string text;
  const auto bits = [](std::size_t bytes) { return ".b" + std::to_string(bytes * 8); };
  text += "  .reg " + bits(sizeof(Out)) + " %o;\n";
  for (std::size_t i = 0; i < sizeof...(In); ++i) {
    const std::string name = "%a" + std::to_string(i);
    text += "  .reg " + bits(kSizes[i]) + " " + name + ";\n  ld.global" + bits(kSizes[i]) + " " +
            name + ", [%in+" + std::to_string(8 * i) + "];\n";
  }
  text += std::string(body) + "\n  st.global" + bits(sizeof(Out)) + " [%out], %o;";
  Memory in(8 * sizeof...(In)), out(8);
  std::size_t offset = 0;
  ((in.write(offset, &values, sizeof values), offset += 8), ...);
  run(kernel(text), in, out, 1, 0, 1, 64);
  return out.at<Out>(0);
}

// Compares bits: -0 is not 0, and of NaN there is one.
template <class Out, class... In>
void expect(Out expected, const std::string& body, In... values) {
  const Out got = apply<Out>(body, values...);
  const bool is_same = std::memcmp(&got, &expected, sizeof got) == 0;
  check(is_same, body + (is_same ? ""
                                 : " got " + std::to_string(got) + ", expected " +
                                       std::to_string(expected)));
}
// An instruction of so many operands, and all of them.
template <class Out, class... In>
void expect_of(Out expected, const std::string& opcode, In... values) {
  std::string body = opcode + " %o";
  for (std::size_t i = 0; i < sizeof...(In); ++i) body += ", %a" + std::to_string(i);
  expect(expected, body + ";", values...);
}

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

void check_integers() {
  expect_of<s32>(std::numeric_limits<s32>::min(), "add.s32", 0x7fffffff, 1);
  expect_of<s64>(-3, "add.s64", s64{4}, s64{-7});
  expect_of<u16>(1, "sub.s16", u16{0}, u16{0xffff});
  expect_of<u32>(0xfffffffe, "mul.lo.s32", 0xffffffffu, 2u);
  expect_of<u32>(0xfffffffe, "mul.hi.u32", 0xffffffffu, 0xffffffffu);
  expect_of<s32>(-1, "mul.hi.s32", -1, 1);
  expect_of<u64>(~u64{0} - 1, "mul.hi.u64", ~u64{0}, ~u64{0});
  expect_of<s64>(-0x100000000, "mul.wide.s32", std::numeric_limits<s32>::min(), 2);
  expect_of<u64>(0xfffffffe00000001, "mul.wide.u32", 0xffffffffu, 0xffffffffu);
  expect_of<s32>(-6, "mul.wide.s16", s16{-2}, s16{3});
  expect_of<s32>(17, "mad.lo.s32", 3, 4, 5);
  expect_of<s64>(17, "mad.lo.s64", s64{3}, s64{4}, s64{5});
  expect_of<s64>(-7, "mad.wide.s32", -3, 4, s64{5});
  expect_of<s32>(-2, "div.s32", -7, 3);
  expect_of<s32>(std::numeric_limits<s32>::min(), "div.s32", std::numeric_limits<s32>::min(), -1);
  expect_of<u32>(3, "div.u32", 7u, 2u);
  expect_of<u32>(~u32{0}, "div.u32", 7u, 0u);
  expect_of<s32>(-1, "rem.s32", -7, 3);
  expect_of<s64>(0, "rem.s64", std::numeric_limits<s64>::min(), s64{-1});
  expect_of<s32>(7, "abs.s32", -7);
  expect_of<s64>(-7, "neg.s64", s64{7});
  expect_of<s32>(-1, "min.s32", -1, 1);
  expect_of<u32>(1, "min.u32", 0xffffffffu, 1u);
  expect_of<s64>(1, "max.s64", s64{-1}, s64{1});
  expect_of<u16>(0xffff, "max.u16", u16{0xffff}, u16{1});
  expect_of<u32>(15, "sad.u32", 5u, 10u, 10u);
  expect_of<s32>(0x7fffffff, "add.sat.s32", 0x7fffffff, 1);
  expect_of<u32>(0x0001ffff, "max.s16x2", 0x0001fffeu, 0xfffffffFu);
  expect_of<s32>(-38, "dp4a.s32.s32", 0x0102ff04, 0x04030201, -50);
}

void check_bits() {
  expect_of<u32>(0x0f00, "and.b32", 0xff00u, 0x0ff0u);
  expect_of<u64>(~u64{0}, "or.b64", u64{0xffffffff}, u64{0xffffffff} << 32);
  expect_of<u32>(0xf0f0, "xor.b32", 0xff00u, 0x0ff0u);
  expect_of<u16>(0xfff0, "not.b16", u16{0xf});
  expect_of<u32>(0x80000000, "shl.b32", 1u, 31u);
  expect_of<u32>(0, "shl.b32", 1u, 32u);
  expect_of<u64>(0, "shl.b64", u64{1}, 99u);
  expect_of<u16>(0x8000, "shl.b16", u16{1}, 15u);
  expect_of<s32>(-1, "shr.s32", -5, 99u);
  expect_of<u32>(1, "shr.u32", 0x80000000u, 31u);
  expect_of<u32>(0, "shr.u32", 0x80000000u, 32u);
  expect_of<u64>(0, "shr.u64", ~u64{0}, 64u);
  expect_of<u16>(0, "shr.u16", u16{0xffff}, 16u);
  expect_of<s64>(-2, "shr.s64", s64{-8}, 2u);
  expect_of<u32>(0x23456788, "shf.l.wrap.b32", 0x89abcdefu, 0x12345678u, 36u);
  expect_of<u32>(0x89abcdef, "shf.l.clamp.b32", 0x89abcdefu, 0x12345678u, 36u);
  expect_of<u32>(0x889abcde, "shf.r.wrap.b32", 0x89abcdefu, 0x12345678u, 4u);
  expect_of<u32>(0x12345678, "shf.r.clamp.b32", 0x89abcdefu, 0x12345678u, 99u);
  expect_of<u32>(17, "popc.b32", 0xffff0001u);
  expect_of<u32>(64, "popc.b64", ~u64{0});
  expect_of<u32>(32, "clz.b32", 0u);
  expect_of<u32>(3, "clz.b64", u64{1} << 60);
  expect_of<u32>(0x80000001, "brev.b32", 0x80000001u);
  expect_of<u64>(u64{1} << 63, "brev.b64", u64{1});
  expect_of<u32>(0xb, "bfe.u32", 0xabcdu, 8u, 4u);
  expect_of<s32>(-5, "bfe.s32", 0xabcd, 8u, 4u);
  expect_of<s32>(-1, "bfe.s32", 0x80000000, 31u, 8u);
  expect_of<u32>(0, "bfe.u32", 0xabcdu, 8u, 0u);
  expect_of<s64>(-1, "bfe.s64", s64{-1}, 60u, 16u);
  expect_of<u32>(0xa5cd, "bfi.b32", 0x5u, 0xabcdu, 8u, 4u);
  expect_of<u32>(15, "bfind.u32", 0xabcdu);
  expect_of<u32>(~u32{0}, "bfind.u32", 0u);
  expect_of<u32>(~u32{0}, "bfind.s32", -1);
  expect_of<u32>(2, "bfind.s32", -5);
  expect_of<u32>(16, "bfind.shiftamt.u32", 0xabcdu);
  expect_of<u32>(3, "fns.b32", 0xbu, 0u, 3);
  expect_of<u32>(1, "fns.b32", 0xbu, 3u, -2);
  expect_of<u32>(~u32{0}, "fns.b32", 0xbu, 0u, 4);
  expect_of<u32>(0x44ff6601, "prmt.b32", 0x33226681u, 0x44556601u, 0x7814u);
  expect<u32>(0xe8, "lop3.b32 %o, %a0, %a1, %a2, 0xe8;", 0xf0u, 0xccu, 0xaau);
  expect<u32>(0x96, "lop3.b32 %o, %a0, %a1, %a2, 0x96;", 0xf0u, 0xccu, 0xaau);
}

void check_floats() {
  const float least = std::numeric_limits<float>::denorm_min();
  const float nan = std::bit_cast<float>(0x7fffffff);
  expect_of<float>(1.0f, "add.rn.f32", 1.0f, 0x1p-24f);
  expect_of<float>(2 * least, "add.f32", least, least);
  expect_of<float>(nan, "sub.f32", kInfinity, kInfinity);
  expect_of<double>(0x1.0000000000001p0, "add.rn.f64", 1.0, 0x1.8p-53);
  expect_of<float>(std::fma(0.1f, 10.0f, -1.0f), "fma.rn.f32", 0.1f, 10.0f, -1.0f);
  expect_of<double>(std::fma(0.1, 10.0, -1.0), "fma.rn.f64", 0.1, 10.0, -1.0);
  expect<float>(0.1f * 10.0f - 1.0f, "mul.f32 %f0, %a0, %a1; sub.f32 %o, %f0, %a2;", 0.1f, 10.0f,
                1.0f);
  expect_of<double>(1.0 / 3.0, "div.rn.f64", 1.0, 3.0);
  expect_of<float>(-kInfinity, "div.rn.f32", -1.0f, 0.0f);
  expect_of<double>(1.0 / 49.0, "rcp.rn.f64", 49.0);
  expect_of<double>(std::sqrt(2.0), "sqrt.rn.f64", 2.0);
  expect_of<float>(nan, "sqrt.rn.f32", -1.0f);
  expect_of<float>(-0.0f, "neg.f32", 0.0f);
  expect_of<double>(0.0, "abs.f64", -0.0);
  expect_of<float>(1.0f, "add.sat.f32", 1.0f, 1.0f);
  expect_of<float>(-2.0f, "copysign.f32", -0.0f, 2.0f);
}

void check_limits() {
  const float nan = std::bit_cast<float>(0x7fffffff);
  expect_of<float>(0.0f, "max.f32", -0.0f, 0.0f);
  expect_of<float>(0.0f, "max.f32", 0.0f, -0.0f);
  expect_of<float>(-0.0f, "min.f32", 0.0f, -0.0f);
  expect_of<double>(-0.0, "min.f64", -0.0, 0.0);
  expect_of<float>(1.0f, "max.f32", 1.0f, kNaN);
  expect_of<float>(1.0f, "min.f32", -kNaN, 1.0f);
  expect_of<float>(nan, "max.f32", -kNaN, kNaN);
  expect_of<float>(nan, "max.NaN.f32", 1.0f, kNaN);
  expect_of<float>(2.0f, "max.NaN.f32", 1.0f, 2.0f);
  expect<float>(3.0f, "max.f32 %o, %a0, %a1, %a2;", 1.0f, kNaN, 3.0f);
  expect_of<double>(1.0, "max.f64", 1.0, double{kNaN});
  // 1 and 2; -0 and a subnormal number: pairs of the upper and the lower half.
  expect_of<u32>(0x40000001, "max.f16x2", 0x3c000001u, 0x40008000u);
  expect_of<u32>(0x3c008000, "min.f16x2", 0x3c000000u, 0x7e008000u);
  expect_of<u32>(0x7fff4000, "max.NaN.f16x2", 0x7e003c00u, 0x3c004000u);
  expect_of<u32>(0x40003f80, "max.bf16x2", 0x3f803f80u, 0x40007fc0u);
  expect_of<u32>(0xffff0000, "set.gt.u32.f16x2", 0x40003c00u, 0x3c007e00u);
  expect_of<float>(1.0f, "set.ge.f32.f32", 2.0f, 2.0f);
  expect_of<u32>(~u32{0}, "set.nan.u32.f64", double{kNaN}, 1.0);
  expect_of<u16>(0x3f80, "set.lt.bf16.bf16", u16{0x3f80}, u16{0x4000});
  expect_of<u32>(0x00003c00, "set.le.f16x2.f16x2", 0x40003c00u, 0x3c003c00u);
  expect_of<u16>(0x7fff, "min.NaN.bf16", u16{0x7fc0}, u16{0x3f80});
}

void check_small_floats() {
  expect_of<u16>(0x4200, "add.f16", u16{0x3c00}, u16{0x4000});
  expect_of<u16>(0x7c00, "mul.f16", u16{0x7bff}, u16{0x4000});
  expect_of<u16>(0x0002, "add.f16", u16{0x0001}, u16{0x0001});
  expect_of<u32>(0x42003c00, "add.rn.f16x2", 0x40003c00u, 0x3c000000u);
  // (1 + 2^-10)^2 = 1 + 2^-9 + 2^-20, a tie of 16-bit numbers but for what is added.
  expect_of<u16>(0x3c02, "fma.rn.f16", u16{0x3c01}, u16{0x3c01}, u16{0x0000});
  expect_of<u16>(0x3c01, "fma.rn.f16", u16{0x3c00}, u16{0x3c00}, u16{0x1001});
  expect_of<u16>(0x3c00, "fma.rn.f16", u16{0x3c00}, u16{0x3c00}, u16{0x1000});
  expect_of<u16>(0x3f81, "fma.rn.bf16", u16{0x3f80}, u16{0x3f80}, u16{0x3b81});
  expect_of<u16>(0x3c00, "cvt.rn.f16.f32", 1.0f);
  expect_of<u16>(0x0001, "cvt.rn.f16.f32", 0x1p-24f);
  expect_of<u16>(0x8000, "cvt.rn.f16.f32", -0x1p-25f);
  expect_of<u16>(0x0001, "cvt.rn.f16.f32", 0x1.8p-25f);
  expect_of<u16>(0x0400, "cvt.rn.f16.f32", 0x1.ffep-15f);
  expect_of<u16>(0x7c00, "cvt.rn.f16.f32", 65520.0f);
  expect_of<u16>(0x7bff, "cvt.rn.f16.f32", 65519.0f);
  expect_of<u16>(0x7bff, "cvt.rz.f16.f32", 1e9f);
  expect_of<u16>(0x7fff, "cvt.rn.f16.f32", kNaN);
  expect_of<u16>(0x3f80, "cvt.rn.bf16.f32", 1.00390625f);
  expect_of<u16>(0x3f82, "cvt.rn.bf16.f32", 1.01171875f);
  expect_of<u32>(0x3c004000, "cvt.rn.f16x2.f32", 1.0f, 2.0f);
  expect_of<float>(0x1p-24f, "cvt.f32.f16", u16{1});
  expect_of<float>(-kInfinity, "cvt.f32.f16", u16{0xfc00});
  expect_of<double>(-0.0, "cvt.f64.f16", u16{0x8000});
  expect_of<float>(1.5f, "cvt.f32.bf16", u16{0x3fc0});
  // There and back: every number of 16 bits.
  bool all_same = true;
  Memory in(2 * 65536), out(2 * 65536);
  for (u32 i = 0; i < 65536; ++i) {
    const auto bits = static_cast<u16>(i);
    in.write(2 * i, &bits, 2);
  }
  for (const char* const type : {"f16", "bf16"}) {
    const std::string name = type;
    run(kernel("mul.wide.u32 %rd1, %b, 2048; add.u64 %rd2, %in, %rd1; add.u64 %rd3, %out, %rd1;"
               "ld.global.b16 %h1, [%rd2]; cvt.f32." +
                   name + " %f1, %h1; cvt.rn." + name + ".f32 %h2, %f1; st.global.b16 [%rd3], %h2;",
               2, 2),
        in, out, 1024, 0, 64);
    for (u32 i = 0; i < 65536; ++i) {
      const bool is_nan = (i & 0x7fff) > (name == "f16" ? 0x7c00u : 0x7f80u);
      all_same = all_same && out.at<u16>(i) == (is_nan ? 0x7fff : i);
    }
    check(all_same, "every " + name + " becomes a float and the same again");
  }
}

void check_conversions() {
  expect_of<s32>(-1, "cvt.s32.s16", u16{0xffff});
  expect_of<u32>(0xffff, "cvt.u32.u16", u16{0xffff});
  expect_of<s32>(-1, "cvt.s32.s8", u16{0x12ff});
  expect_of<s64>(-5, "cvt.s64.s32", -5);
  expect_of<u32>(5, "cvt.u32.u64", u64{0x100000005});
  expect_of<u16>(0xff80, "cvt.s8.s32", 0x180);
  expect_of<u16>(0x80, "cvt.u8.u32", 0x180u);
  expect_of<u16>(127, "cvt.sat.s8.s32", 1000);
  expect_of<u32>(0, "cvt.sat.u32.s32", -1);
  expect_of<s32>(-2, "cvt.rzi.s32.f64", -2.9);
  expect_of<s32>(-3, "cvt.rmi.s32.f64", -2.9);
  expect_of<s32>(2, "cvt.rni.s32.f32", 2.5f);
  expect_of<s32>(3, "cvt.rpi.s32.f32", 2.1f);
  expect_of<s32>(0x7fffffff, "cvt.rzi.s32.f32", 1e20f);
  expect_of<u32>(0, "cvt.rzi.u32.f64", -1e20);
  expect_of<s32>(0, "cvt.rzi.s32.f32", kNaN);
  expect_of<s32>(std::numeric_limits<s32>::min(), "cvt.rzi.s32.f64", double{kNaN});
  expect_of<s64>(std::numeric_limits<s64>::min(), "cvt.rzi.s64.f32", kNaN);
  expect_of<s64>(std::numeric_limits<s64>::max(), "cvt.rzi.s64.f64", 0x1p63);
  expect_of<double>(-3.0, "cvt.rn.f64.s32", -3);
  expect_of<float>(16777216.0f, "cvt.rn.f32.s32", 16777217);
  expect_of<float>(16777218.0f, "cvt.rp.f32.s32", 16777217);
  expect_of<float>(16777216.0f, "cvt.rz.f32.u32", 16777219u - 2u);
  expect_of<double>(18446744073709551616.0, "cvt.rn.f64.u64", ~u64{0});
  expect_of<float>(0.1f, "cvt.rn.f32.f64", 0.1);
  expect_of<float>(std::nextafter(0.1f, 0.0f), "cvt.rz.f32.f64", 0.1);
  expect_of<double>(0.5, "cvt.f64.f32", 0.5f);
  expect_of<float>(-2.0f, "cvt.rni.f32.f32", -2.5f);
  expect_of<float>(0.0f, "cvt.sat.f32.f32", kNaN);
}

void check_predicates() {
  const auto holds = [](u32 expected, const std::string& opcode, auto a, auto b) {
    expect<u32>(expected, opcode + " %p1, %a0, %a1; selp.b32 %o, 1, 0, %p1;", a, b);
  };
  holds(1, "setp.lt.s32", -1, 1);
  holds(0, "setp.lt.u32", 0xffffffffu, 1u);
  holds(1, "setp.hi.u32", 0xffffffffu, 1u);
  holds(1, "setp.eq.s64", s64{5}, s64{5});
  holds(0, "setp.ne.f32", kNaN, kNaN);
  holds(1, "setp.neu.f32", kNaN, kNaN);
  holds(0, "setp.ge.f64", double{kNaN}, 1.0);
  holds(1, "setp.geu.f64", double{kNaN}, 1.0);
  holds(1, "setp.leu.f32", 1.0f, 2.0f);
  holds(0, "setp.ltu.f32", 2.0f, 2.0f);
  holds(1, "setp.eq.f32", 0.0f, -0.0f);
  holds(1, "setp.nan.f32", 1.0f, kNaN);
  holds(1, "setp.num.f32", 1.0f, 2.0f);
  holds(1, "setp.gt.f16", u16{0x4000}, u16{0x3c00});
  expect<u32>(1,
              "setp.lt.s32 %p0, %a0, 5; setp.lt.and.s32 %p1|%p2, %a0, 3, %p0;"
              "selp.b32 %o, 2, 0, %p1; @%p2 add.u32 %o, %o, 1;",
              4);
  expect<u32>(2,
              "setp.lt.s32 %p0, %a0, 5; setp.lt.or.s32 %p1, %a0, 3, !%p0;"
              "selp.b32 %o, 2, 0, %p1;",
              2);
  expect<u32>(6,
              "setp.lt.s32 %p0, %a0, 5; not.pred %p1, %p0; xor.pred %p2, %p0, %p1;"
              "or.pred %p3, %p1, %p0; and.pred %p4, %p3, %p1; mov.pred %p5, -1;"
              "selp.b32 %o, 2, 0, %p2; @!%p4 add.u32 %o, %o, 1; @%p5 add.u32 %o, %o, 3;",
              4);
  expect<double>(2.0, "setp.gt.f64 %p1, %a0, %a1; selp.f64 %o, %a0, %a1, %p1;", 1.0, 2.0);
}

void check_moves() {
  expect<u64>(0x0000000200000001, "mov.b64 %o, {%a0, %a1};", 1u, 2u);
  expect<u32>(0x00020001,
              "mov.b64 {%r0, %r1}, %a0; mov.b32 {%h0, %h1}, %r1; cvt.u32.u16 %r2, %h1;"
              "cvt.u32.u16 %r3, %h0; shl.b32 %r4, %r2, 16; or.b32 %o, %r4, %r3;",
              u64{0x0002000100000000});
  expect<double>(1.0, "mov.f64 %o, 0d3FF0000000000000;");
  expect<float>(-1.0f, "mov.f32 %o, 0fBF800000;");
  expect<u32>(32, "mov.u32 %o, WARP_SZ;");
}

// The value that each of so many threads writes.
std::vector<u32> values_of(const std::string& body, unsigned num_threads, std::uint64_t seed = 0,
                           std::string_view before = "") {
  Memory in(4 * num_threads), out(4 * num_threads);
  for (u32 i = 0; i < num_threads; ++i) in.write(4 * i, &i, 4);
  run(kernel(body + "\n st.global.u32 [%out], %r9;", 4, 4, before), in, out, num_threads, seed, 1,
      4096);
  std::vector<u32> values;
  for (u32 i = 0; i < num_threads; ++i) values.push_back(out.at<u32>(i));
  return values;
}

template <class Expected>
void expect_values(const std::string& what, const std::string& body, unsigned num_threads,
                   const Expected& expected, std::string_view before = "") {
  bool all_right = true;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<u32> values = values_of(body, num_threads, seed, before);
    for (u32 i = 0; i < num_threads; ++i) all_right = all_right && values[i] == expected(i);
  }
  check(all_right, what);
}

// Memory -----------------------------------------------------------------------------------------

void check_memory() {
  // By threads: from global to shared memory and, through a generic address, another thread's back.
  const std::string exchange = kernel(R"(
    ld.global.u32 %r1, [%in];
    mov.u32 %r2, memory;
    mad.lo.u32 %r3, %t, 4, %r2;
    st.shared.u32 [%r3], %r1;
    bar.sync 0;
    xor.b32 %r4, %t, 63;
    mad.lo.u32 %r5, %r4, 4, %r2;
    cvt.u64.u32 %rd1, %r5;
    cvta.shared.u64 %rd2, %rd1;
    ld.u32 %r6, [%rd2];
    st.global.u32 [%out], %r6;)");
  Memory in(256), out(256);
  for (u32 i = 0; i < 64; ++i) in.write(4 * i, &i, 4);
  bool all_right = true;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    run(exchange, in, out, 64, seed, 1, 256);
    for (u32 i = 0; i < 64; ++i) all_right = all_right && out.at<u32>(i) == 63 - i;
  }
  check(all_right, "values go through shared memory");

  expect<u32>(0xffffff80, "st.global.u32 [%out], %a0; ld.global.s8 %o, [%out];", 0x12345680u);
  expect<u32>(0x80, "st.global.u32 [%out], %a0; ld.global.u8 %o, [%out];", 0x12345680u);
  expect<u32>(0x5680, "st.global.v2.u16 [%out], {%a1, %a0}; ld.global.u16 %o, [%out+2];",
              u16{0x5680}, u16{1});
  expect<u64>(0x0000000200000001, "st.global.v2.u32 [%out], {%a0, %a1}; ld.global.u64 %o, [%out];",
              1u, 2u);
  expect<u32>(7,
              ".local .align 8 .b8 depot[16]; mov.u64 %rd1, depot; cvta.local.u64 %rd2, %rd1;"
              "st.local.u32 [%rd1+4], %a0; ld.u32 %o, [%rd2+4];",
              7u);
  expect<u32>(7,
              "mov.u32 %r1, memory; cp.async.ca.shared.global [%r1+16], [%in], 4;"
              "cp.async.commit_group; cp.async.wait_group 0; ld.shared.u32 %o, [memory+16];",
              7u);
  // A part of the lanes gets zeros, and reads nothing: not what is behind the end.
  expect_values("copies of some lanes, zeros for the others", R"(
      mad.lo.u32 %r1, %t, 4, 1024;
      setp.lt.u32 %p1, %t, 20;
      selp.b32 %r2, 4, 0, %p1;
      selp.b64 %rd1, %in, 0, %p1;
      cp.async.ca.shared.global [%r1], [%rd1], 4, %r2;
      cp.async.wait_all;
      ld.shared.u32 %r9, [%r1];)",
                32, [](u32 i) { return i < 20 ? i : 0; });
  expect_values("addresses in several spaces at once", R"(
      .local .align 4 .b8 depot[4];
      mov.u64 %rd1, depot;
      cvta.local.u64 %rd2, %rd1;
      mov.u32 %r1, memory;
      cvt.u64.u32 %rd3, %r1;
      cvta.shared.u64 %rd3, %rd3;
      mul.wide.u32 %rd4, %t, 4;
      add.s64 %rd3, %rd3, %rd4;
      and.b32 %r2, %t, 3;
      setp.eq.u32 %p1, %r2, 1;
      setp.eq.u32 %p2, %r2, 2;
      selp.b64 %rd5, %rd2, %out, %p1;
      selp.b64 %rd5, %rd3, %rd5, %p2;
      st.u32 [%rd5], %t;
      ld.u32 %r9, [%rd5];
      isspacep.shared %p3, %rd5;
      @%p3 add.u32 %r9, %r9, 100;)",
                64, [](u32 i) { return i % 4 == 2 ? i + 100 : i; });
  expect<u32>(3, "prefetch.global.L2 [%in+4096]; mov.u32 %o, 3;");
}

// Branches, calls, collectives
// ---------------------------------------------------------------------

void check_branches() {
  expect_values("a loop that each lane leaves at another time", R"(
      mov.u32 %r9, 0;
      mov.u32 %r1, 0;
    $loop:
      setp.ge.u32 %p1, %r1, %t;
      @%p1 bra $end;
      add.u32 %r1, %r1, 1;
      add.u32 %r9, %r9, %r1;
      bra.uni $loop;
    $end:)",
                40, [](u32 i) { return i * (i + 1) / 2; });
  expect_values("lanes meet again behind a branch", R"(
      and.b32 %r1, %t, 1;
      setp.eq.u32 %p1, %r1, 0;
      mov.u32 %r9, 5;
      @%p1 bra $even;
      mov.u32 %r9, 7;
    $even:
      mov.u32 %r2, -1;
      activemask.b32 %r3;
      vote.sync.ballot.b32 %r4, %p1, %r2;
      add.u32 %r9, %r9, %r4;)",
                32, [](u32 i) { return (i % 2 ? 7 : 5) + 0x55555555u; });
  expect_values("a branch to one of a list", R"(
      and.b32 %r1, %t, 3;
      $targets: .branchtargets $a, $b, $a, $c;
      mov.u32 %r9, 0;
      brx.idx %r1, $targets;
    $a:
      add.u32 %r9, %r9, 1;
    $b:
      add.u32 %r9, %r9, 10;
    $c:
      add.u32 %r9, %r9, 100;)",
                32, [](u32 i) { return i % 4 == 3   ? 100u
                                       : i % 4 == 1 ? 110u
                                                    : 111u; });
}

constexpr std::string_view kFactorial = R"(
.func (.param .b32 result) factorial(.param .b32 n)
;
.func (.param .b32 result) factorial(.param .b32 n)
{
  .local .align 4 .b8 depot[4];
  .reg .pred %p<2>;
  .reg .b32 %r<9>;
  .reg .b64 %rd<2>;
  mov.u64 %rd1, depot;
  ld.param.u32 %r1, [n];
  st.local.u32 [%rd1], %r1;
  setp.gt.u32 %p1, %r1, 1;
  @%p1 bra $more;
  mov.u32 %r2, 1;
  st.param.b32 [result+0], %r2;
  ret;
$more:
  sub.u32 %r3, %r1, 1;
  {
    .param .b32 param0;
    st.param.b32 [param0+0], %r3;
    .param .b32 retval0;
    call.uni (retval0), factorial, (param0);
    ld.param.b32 %r4, [retval0+0];
  }
  ld.local.u32 %r5, [%rd1];
  mul.lo.u32 %r6, %r4, %r5;
  st.param.b32 [result+0], %r6;
  ret;
}
)";

void check_calls() {
  const std::string call = R"(
      rem.u32 %r1, %t, 7;
      {
        .param .b32 param0;
        st.param.b32 [param0+0], %r1;
        .param .b32 retval0;
        call.uni (retval0), factorial, (param0);
        ld.param.b32 %r9, [retval0+0];
      })";
  expect_values(
      "a function that calls itself", call, 40,
      [](u32 i) {
        u32 product = 1;
        for (u32 k = 2; k <= i % 7; ++k) product *= k;
        return product;
      },
      kFactorial);
}

void check_collectives() {
  const auto shuffle = [](const std::string& what, const std::string& operands,
                          const auto& expected) {
    expect_values(what,
                  "shfl.sync." + operands + "selp.u32 %r2, 100, 0, %p1; add.u32 %r9, %r1, %r2;", 32,
                  expected);
  };
  shuffle("shfl.idx", "idx.b32 %r1|%p1, %t, 5, 31, -1;", [](u32) { return 105u; });
  shuffle("shfl.bfly", "bfly.b32 %r1|%p1, %t, 3, 31, -1;", [](u32 i) { return 100 + (i ^ 3); });
  shuffle("shfl.up", "up.b32 %r1|%p1, %t, 4, 0, -1;",
          [](u32 i) { return i < 4 ? i : 100 + i - 4; });
  shuffle("shfl.down in segments of 8", "down.b32 %r1|%p1, %t, 2, 0x181f, -1;",
          [](u32 i) { return i % 8 < 6 ? 100 + i + 2 : i; });
  const auto collective = [](const std::string& body, const auto& expected) {
    expect_values(body, "mov.b32 %r1, -1; setp.lt.u32 %p1, %t, 9;" + body, 32, expected);
  };
  collective("vote.sync.ballot.b32 %r9, %p1, %r1;", [](u32) { return 0x1ffu; });
  collective("vote.sync.ballot.b32 %r9, !%p1, -1;", [](u32) { return ~0x1ffu; });
  collective("vote.sync.any.pred %p2, %p1, %r1; selp.u32 %r9, 1, 0, %p2;", [](u32) { return 1u; });
  collective("vote.sync.all.pred %p2, %p1, %r1; selp.u32 %r9, 1, 0, %p2;", [](u32) { return 0u; });
  collective("redux.sync.max.s32 %r9, %t, %r1;", [](u32) { return 31u; });
  collective("redux.sync.add.s32 %r9, %t, %r1;", [](u32) { return 496u; });
  collective("redux.sync.or.b32 %r9, %t, %r1;", [](u32) { return 31u; });
  collective("and.b32 %r2, %t, 3; match.any.sync.b32 %r9, %r2, %r1;",
             [](u32 i) { return 0x11111111u << i % 4; });
  collective("match.all.sync.b32 %r9|%p3, %t, %r1;", [](u32) { return 0u; });
  collective("elect.sync %r9|%p3, %r1;", [](u32) { return 0u; });
  expect_values("a collective of some lanes, beside one of the others", R"(
      setp.lt.u32 %p1, %t, 8;
      mov.u32 %r1, 0xffffff00;
      @!%p1 bra $rest;
      mov.u32 %r1, 0xff;
    $rest:
      redux.sync.min.u32 %r9, %t, %r1;)",
                32, [](u32 i) { return i < 8 ? 0u : 8u; });
  expect_values("barriers that count", R"(
      setp.lt.u32 %p1, %t, 50;
      bar.red.popc.u32 %r1, 0, %p1;
      bar.red.and.pred %p2, 0, %p1;
      bar.red.or.pred %p3, 0, %p1;
      selp.u32 %r2, 1000, 0, %p2;
      selp.u32 %r3, 100, 0, %p3;
      add.u32 %r9, %r1, %r2;
      add.u32 %r9, %r9, %r3;)",
                64, [](u32) { return 150u; });
}

// Checks -----------------------------------------------------------------------------------------

// The message of what a kernel does wrong, or nothing.
std::string complaint(const std::string& body, unsigned num_threads, std::uint64_t seed,
                      unsigned num_blocks, std::string_view before) {
  Memory in(4 * num_threads), out(4 * num_threads);
  for (u32 i = 0; i < num_threads; ++i) in.write(4 * i, &i, 4);
  try {
    run(kernel(body, 4, 4, before), in, out, num_threads, seed, num_blocks, 1024);
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return {};
}

// In every order; without an expected beginning nothing is wrong.
void expect_complaint(const std::string& what, std::string_view expected, const std::string& body,
                      unsigned num_threads = 64, unsigned num_blocks = 1,
                      std::string_view before = "") {
  std::string wrong;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::string got = complaint(body, num_threads, seed, num_blocks, before);
    if (expected.empty() ? !got.empty() : got.find(expected) == std::string::npos) {
      wrong = "; with seed " + std::to_string(seed) + ": " + (got.empty() ? "nothing" : got);
    }
  }
  check(wrong.empty(), what + wrong);
}

constexpr const char* kOwnShared =
    "mad.lo.u32 %r1, %t, 4, 1024; xor.b32 %r2, %t, 1;"
    "mad.lo.u32 %r2, %r2, 4, 1024; xor.b32 %r3, %t, 32;"
    "mad.lo.u32 %r3, %r3, 4, 1024;";

void check_memcheck() {
  expect_complaint("writes inside are fine", "", "st.global.u32 [%out], %t;");
  expect_complaint("a write behind the end", "memcheck: a write of 4 bytes of global memory",
                   "st.global.u32 [%out+4], %t;");
  expect_complaint("a write before the begin", "memcheck:", "st.global.u32 [%out+-4], %t;");
  expect_complaint("a read across the end", "memcheck:", "ld.global.v2.u32 {%r1, %r2}, [%in];", 1);
  expect_complaint("a read at null", "memcheck:", "mov.u64 %rd1, 0; ld.u32 %r1, [%rd1];");
  expect_complaint("a read that is not aligned", "not aligned", "ld.global.u16 %h1, [%in+1];");
  expect_complaint("shared memory ends", "memcheck: a write of 4 bytes of shared",
                   "st.shared.u32 [memory+1024], %t;", 1);
  expect_complaint("shared memory up to its end", "", "st.shared.u32 [memory+1020], %t;", 1);
  expect_complaint(
      "local memory ends", "memcheck: a write of 4 bytes of local",
      ".local .align 4 .b8 depot[16]; mov.u64 %rd1, depot; st.local.u32 [%rd1+32], %t;");
  expect_complaint("a read of what is no address",
                   "memcheck:", "ld.global.u64 %rd1, [%in]; ld.global.u32 %r1, [%rd1];", 2);
}

void check_initcheck() {
  expect_complaint("a read of what was never written", "initcheck: a read of 4 bytes of global",
                   "ld.global.u32 %r1, [%out];");
  expect_complaint("a read of what the kernel wrote", "",
                   "st.global.u32 [%out], %t; ld.global.u32 %r1, [%out];");
  expect_complaint("of two bytes only one was written", "initcheck:",
                   "cvt.u16.u32 %h1, %t; st.global.u8 [%out], %h1; ld.global.u16 %h2, [%out];");
  expect_complaint("a read of shared memory", "initcheck: a read of 4 bytes of shared",
                   "ld.shared.u32 %r1, [memory];", 1);
  expect_complaint("a branch by what was never set", "initcheck: a predicate",
                   "@%p1 bra $end; st.global.u32 [%out], %t; $end:");
  expect_complaint("a branch by what follows from it", "initcheck: a predicate",
                   "add.u32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 0; @%p1 bra $end; $end:");
  expect_complaint("a choice that does not choose it", "",
                   "setp.ge.u32 %p1, %t, 0; selp.u32 %r2, %t, %r1, %p1;"
                   "setp.eq.u32 %p2, %r2, 0; @%p2 bra $end; $end:");
  expect_complaint("an address that was never set", "initcheck: an address",
                   "st.global.u32 [%rd5], %t;");
  expect_complaint("a copy that nobody waited for", "initcheck:",
                   "mad.lo.u32 %r1, %t, 4, 1024; cp.async.ca.shared.global [%r1], [%in], 4;"
                   "cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r2, [%r1];");
  expect_complaint("a shuffle by what was never set", "initcheck: a collective",
                   "shfl.sync.idx.b32 %r1, %t, %r2, 31, -1;");
  expect_complaint("local memory that was never set", "initcheck: a predicate",
                   ".local .align 4 .b8 depot[4]; mov.u64 %rd1, depot; ld.local.u32 %r1, [%rd1];"
                   "setp.eq.u32 %p1, %r1, 0; @%p1 bra $end; $end:");
}

void check_racecheck() {
  const std::string own = kOwnShared;
  expect_complaint("a barrier between", "",
                   own + "st.shared.u32 [%r1], %t; bar.sync 0; ld.shared.u32 %r5, [%r3];");
  expect_complaint("no barrier between",
                   "racecheck:", own + "st.shared.u32 [%r1], %t; ld.shared.u32 %r5, [%r3];");
  expect_complaint("no barrier before a write", "racecheck:",
                   own +
                       "st.shared.u32 [%r1], %t; bar.sync 0; ld.shared.u32 %r5, [%r3];"
                       "st.shared.u32 [%r1], %r5;");
  expect_complaint("two writes", "racecheck:", "st.shared.u32 [memory], %t;", 2);
  expect_complaint("bytes beside each other", "",
                   "cvt.u16.u32 %h1, %t; cvt.u64.u32 %rd1, %t; mov.u32 %r1, memory;"
                   "add.u32 %r1, %r1, %t; st.shared.u8 [%r1], %h1; ld.shared.u8 %h2, [%r1];");
  expect_complaint("a byte within another thread's word", "racecheck:",
                   "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [memory], %t; cvt.u16.u32 %h1, %t;"
                   "@!%p1 st.shared.u8 [memory+3], %h1;",
                   2);
  expect_complaint("lanes that waited for each other", "",
                   own + "st.shared.u32 [%r1], %t; bar.warp.sync -1; ld.shared.u32 %r5, [%r2];");
  expect_complaint("lanes that did not",
                   "racecheck:", own + "st.shared.u32 [%r1], %t; ld.shared.u32 %r5, [%r2];");
  expect_complaint("a vote does not order memory", "racecheck:",
                   own +
                       "st.shared.u32 [%r1], %t; setp.eq.u32 %p1, %t, 0;"
                       "vote.sync.ballot.b32 %r7, %p1, -1; ld.shared.u32 %r5, [%r2];");
  expect_complaint("a warp's barrier does not order two warps", "racecheck:",
                   own + "st.shared.u32 [%r1], %t; bar.warp.sync -1; ld.shared.u32 %r5, [%r3];");
  expect_complaint("lanes that waited for others", "racecheck:",
                   own +
                       "setp.lt.u32 %p1, %t, 16; selp.b32 %r6, 0xffff, 0xffff0000, %p1;"
                       "xor.b32 %r7, %t, 16; mad.lo.u32 %r7, %r7, 4, 1024;"
                       "st.shared.u32 [%r1], %t; bar.warp.sync %r6; ld.shared.u32 %r5, [%r7];",
                   32);
  expect_complaint("lanes that waited for each other in two steps", "",
                   own +
                       "xor.b32 %r7, %t, 17; mad.lo.u32 %r7, %r7, 4, 1024;"
                       "shl.b32 %r8, 1, %t; and.b32 %r9, %t, 15; shl.b32 %r10, 0x10001, %r9;"
                       "and.b32 %r11, %t, 30; shl.b32 %r12, 3, %r11;"
                       "st.shared.u32 [%r1], %t; bar.warp.sync %r10; bar.warp.sync %r12;"
                       "ld.shared.u32 %r5, [%r7];",
                   32);
  // All read a word that thread 0 wrote; then it writes another.
  const std::string first = "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [memory], %t;";
  const std::string read = "ld.shared.u32 %r5, [memory];";
  const std::string write = "@%p1 st.shared.u32 [memory], %r5;";
  expect_complaint("a word that all read, written after a barrier", "",
                   first + "bar.sync 0;" + read + "bar.sync 0;" + write);
  expect_complaint("a word that all read, written too soon",
                   "racecheck:", first + "bar.sync 0;" + read + write);
  expect_complaint("a word that all read too soon", "racecheck:", first + read + "bar.sync 0;");
  expect_complaint("a word that a warp reads, written after its barrier", "",
                   first + "bar.warp.sync -1;" + read + "bar.warp.sync -1;" + write, 32);
  expect_complaint("a word that a warp reads, written too soon",
                   "racecheck:", first + "bar.warp.sync -1;" + read + write, 32);
  expect_complaint("a word that two warps read, written after one's barrier",
                   "racecheck:", first + "bar.sync 0;" + read + "bar.warp.sync -1;" + write);
  expect_complaint("a word that all read twice, written after a barrier of some", "racecheck:",
                   first + "bar.warp.sync -1;" + read + "bar.warp.sync -1;" + read +
                       "setp.lt.u32 %p2, %t, 16; @%p2 bar.warp.sync 0xffff;" + write,
                   32);
  expect_complaint("global memory of two blocks", "racecheck:", "st.global.u32 [%out], %t;", 32, 2);
  expect_complaint("global memory that one block reads and the next writes",
                   "racecheck:", "ld.global.u32 %r1, [%in]; st.global.u32 [%in], %r1;", 32, 2);
  expect_complaint("global memory that all blocks read", "", "ld.global.u32 %r1, [%in];", 32, 3);
  expect_complaint("global memory of one block", "racecheck:",
                   "st.global.u32 [%out], %t; xor.b32 %r1, %t, 1; ld.param.u64 %rd1, [out];"
                   "mad.wide.u32 %rd2, %r1, 4, %rd1; ld.global.u32 %r2, [%rd2];");
}

void check_synccheck() {
  expect_complaint("a barrier that some threads skip",
                   "synccheck:", "setp.ge.u32 %p1, %t, 48; @%p1 bra $end; bar.sync 0; $end:");
  expect_complaint("a barrier of one warp alone",
                   "synccheck:", "setp.ge.u32 %p1, %t, 32; @%p1 bra $end; bar.sync 0; $end:");
  expect_complaint("two barriers at once", "synccheck:",
                   "setp.ge.u32 %p1, %t, 32; @%p1 bra $other; bar.sync 0; bra.uni $end;"
                   "$other: bar.sync 0; $end:");
  expect_complaint("a collective that some lanes skip",
                   "synccheck:", "setp.ge.u32 %p1, %t, 16; @%p1 bra $end; bar.warp.sync -1; $end:");
  expect_complaint("a vote that some lanes take elsewhere", "synccheck:",
                   "setp.ge.u32 %p1, %t, 16; @%p1 bra $other;"
                   "vote.sync.ballot.b32 %r1, %p1, -1; bra.uni $end;"
                   "$other: vote.sync.ballot.b32 %r1, %p1, -1; $end:");
  expect_complaint("a function with a collective, called from two places", "synccheck:",
                   "setp.ge.u32 %p1, %t, 16; @%p1 bra $other; { call.uni meet; } bra.uni $end;"
                   "$other: { call.uni meet; } $end:",
                   32, 1, ".func meet() { bar.warp.sync -1; ret; }");
  expect_complaint("a function with a collective, called from one place", "", "{ call.uni meet; }",
                   32, 1, ".func meet() { bar.warp.sync -1; ret; }");
  expect_complaint("a mask without the lane itself", "synccheck:", "bar.warp.sync 0xffff;");
  expect_complaint("a shuffle that asks a lane that is not there", "synccheck:",
                   "setp.ge.u32 %p1, %t, 16; @%p1 bra $end;"
                   "shfl.sync.idx.b32 %r1, %t, 20, 31, 0xffff; $end:");
  expect_complaint("a barrier that all come to, each in its time", "",
                   "mov.u32 %r1, 0; $loop: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, %t;"
                   "@%p1 bra $loop; bar.sync 0;");
}

// Modules ----------------------------------------------------------------------------------------

void check_unknown() {
  for (const char* const body :
       {"sin.approx.f32 %f1, %f2;", "add.s32 %r1, %rd1, 1;", "add.s32 %r1, %r2;",
        "mov.u32 %r1, %clock;", "bra $nowhere;", "ld.global.u128 %r1, [%in];", "bar.sync 1;",
        "add.s32 %r1, %unknown, 1;"}) {
    std::string said;
    try {
      const Module module(kernel(body));
    } catch (const std::runtime_error& error) {
      said = error.what();
    }
    check(said.starts_with("PTX, line "), std::string("not known: ") + body + " " + said);
  }
}

void check_module() {
  const Module module(std::string(kHead) + R"(
.global .align 4 .u32 table[3] = {1, 2, 0x10};
.visible .entry of_many(.param .u8 a, .param .align 8 .b8 b[24], .param .f32 c)
.maxntid 64, 2, 1
.minnctapersm 4
{
  .shared .align 8 .b8 own[40];
  ret;
}
.entry of_none()
{
  ret;
}
)");
  const Kernel kernel = module.kernel("of_many");
  check(module.has_kernel("of_none") && !module.has_kernel("none"), "kernels by name");
  check(kernel.parameters.size() == 3 && kernel.parameters[1].offset == 8 &&
            kernel.parameters[1].bytes == 24 && kernel.parameters[2].offset == 32,
        "where the parameters are");
  check(kernel.max_threads_per_block == 128 && kernel.shared_bytes == 40, "a kernel's limits");
  const Variable table = module.variable("table");
  u32 last = 0;
  std::memcpy(&last, static_cast<std::byte*>(table.address) + 8, 4);
  check(table.bytes == 12 && last == 16, "a variable has its initial values");
  check(module.variable("other").address == nullptr, "a variable that is not there");
}

void check_counts() {
  Memory in(4 * 64), out(4 * 64);
  in.fill(0);
  const std::string text = kernel(
      "ld.global.u32 %r1, [%in]; st.global.u32 [%out], %r1;"
      "shl.b32 %r2, %t, 7; st.shared.u32 [%r2+1024], %t; bar.sync 0;");
  reset_counts();
  run(text, in, out, 64, 0, 1, 64 * 128);
  const Counts got = counts();
  check(got.launches == 1 && got.instructions == 2 * 12, "instructions are counted");
  check(got.global_accesses == 4 && got.global_sectors == 2 * 8 && got.global_bytes == 2 * 256,
        "sectors are counted");
  check(got.shared_accesses == 2 && got.shared_conflicts == 2 * 31, "conflicts are counted");
  check(got.block_barriers == 2, "barriers are counted");
}

void check_device_memory() {
  const std::size_t before = num_allocations();
  void* const memory = allocate(100);
  auto* const bytes = static_cast<std::byte*>(memory);
  check(num_allocations() == before + 1, "an allocation is counted");
  check(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0, "an allocation is aligned");
  check(find(bytes + 99) == find(memory) && !find(bytes + 100) && !find(bytes - 1),
        "an allocation has its bytes and no others");
  check(is_allocated(bytes + 50, 50) && !is_allocated(bytes + 50, 51), "it ends");
  check(num_written(memory, 100) == 0, "memory is not written at first");
  mark_written(bytes + 1, 9);
  check(num_written(bytes + 1, 50) == 9 && num_written(memory, 1) == 0, "a part is written");
  void* const other = allocate(0);
  check(other && find(other), "no bytes have an address");
  void* const third = allocate(100);
  copy(third, bytes + 1, 20);
  check(num_written(third, 20) == 9, "a copy is written where its source is");
  mark_unwritten(third, 4);
  check(num_written(third, 20) == 0, "memory that is lent anew");
  check(interpreted::free(third) && interpreted::free(other), "memory is freed");
  check(!interpreted::free(bytes + 1), "only from its begin");
  bytes[100] = std::byte{0};
  bool throws = false;
  try {
    interpreted::free(memory);
  } catch (const std::logic_error&) {
    throws = true;
  }
  check(throws, "a host that writes behind its end");
  check(num_allocations() == before, "all are freed");
}

}  // namespace
}  // namespace interpreted

int main() {
  using namespace interpreted;
  try {
    check_integers();
    check_bits();
    check_floats();
    check_limits();
    check_small_floats();
    check_conversions();
    check_predicates();
    check_moves();
    check_memory();
    check_branches();
    check_calls();
    check_collectives();
    check_memcheck();
    check_initcheck();
    check_racecheck();
    check_synccheck();
    check_unknown();
    check_module();
    check_counts();
    check_device_memory();
  } catch (const std::exception& error) {
    check(false, error.what());
  }
  return num_failed == 0 ? 0 : 1;
}
