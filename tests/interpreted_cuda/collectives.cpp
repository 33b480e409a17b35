#include "collectives.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "warp.h"

namespace interpreted {
namespace {

using u32 = std::uint32_t;
using s32 = std::int32_t;
using Kind = Instruction::Kind;

void check_defined(Warp& warp, const Operand& operand) {
  const u32 undefined = warp.active & ~warp.defined(operand);
  if (undefined != 0) warp.fail("initcheck", "a collective of an undefined value", undefined);
}

enum class Shuffle : std::uint8_t { up, down, bfly, idx };

// d, whether the lane asked for is in range, a, b, c, mask.
template <Shuffle mode>
void shfl(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  const auto* const a = warp.in<u32>(operands[2]);
  const auto *b = warp.in<u32>(operands[3]), *c = warp.in<u32>(operands[4]);
  check_defined(warp, operands[3]);
  check_defined(warp, operands[4]);
  const u32 is_defined = warp.defined(operands[2]);
  u32 results[kLanes] = {}, in_range = 0, defined = 0;
  for_lanes(warp.active, [&](int lane) {
    const int by = static_cast<int>(b[lane] & 31), clamp = static_cast<int>(c[lane] & 31);
    const int segment = static_cast<int>(c[lane] >> 8 & 31);
    const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int from = 0;
    bool is_in_range = false;
    switch (mode) {
      case Shuffle::up:
        from = lane - by;
        is_in_range = from >= last;
        break;
      case Shuffle::down:
        from = lane + by;
        is_in_range = from <= last;
        break;
      case Shuffle::bfly:
        from = lane ^ by;
        is_in_range = from <= last;
        break;
      case Shuffle::idx:
        from = first | (by & ~segment);
        is_in_range = from <= last;
        break;
    }
    if (!is_in_range) from = lane;
    if ((warp.active >> from & 1) == 0) {
      warp.fail("synccheck",
                "a shuffle asks lane " + std::to_string(from) + ", which does not take part",
                u32{1} << lane);
    }
    results[lane] = a[from];
    in_range |= u32{is_in_range} << lane;
    defined |= (is_defined >> from & 1) << lane;
  });
  auto* const out = warp.out<u32>(operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = results[lane]; });
  warp.define(operands[0], defined);
  warp.set_predicate(operands[1], in_range);
  warp.define(operands[1], kAllLanes);
}

void ballot(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  check_defined(warp, operands[1]);
  const u32 lanes = warp.predicate(operands[1]) & warp.active;
  auto* const out = warp.out<u32>(operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = lanes; });
  warp.define(operands[0], kAllLanes);
}

enum class Vote : std::uint8_t { all, any, uni };
template <Vote mode>
void vote(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  check_defined(warp, operands[1]);
  const u32 lanes = warp.predicate(operands[1]) & warp.active;
  const bool is_all = lanes == warp.active, is_none = lanes == 0;
  const bool holds = mode == Vote::all ? is_all : mode == Vote::any ? !is_none : is_all || is_none;
  warp.set_predicate(operands[0], holds ? kAllLanes : 0);
  warp.define(operands[0], kAllLanes);
}

template <class T, T (*f)(T, T)>
void redux(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  check_defined(warp, operands[1]);
  const auto* const in = warp.in<T>(operands[1]);
  T result = in[std::countr_zero(warp.active)];
  for (u32 rest = warp.active & (warp.active - 1); rest != 0; rest &= rest - 1) {
    result = f(result, in[std::countr_zero(rest)]);
  }
  auto* const out = warp.out<T>(operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = result; });
  warp.define(operands[0], kAllLanes);
}
template <class T>
T least(T a, T b) {
  return std::min(a, b);
}
template <class T>
T largest(T a, T b) {
  return std::max(a, b);
}
u32 sum(u32 a, u32 b) { return a + b; }
u32 and_of(u32 a, u32 b) { return a & b; }
u32 or_of(u32 a, u32 b) { return a | b; }
u32 xor_of(u32 a, u32 b) { return a ^ b; }

// Which lanes have the same value.
template <class T>
u32 equal_to(const Warp& warp, const Operand& operand, int lane) {
  const auto* const in = warp.in<T>(operand);
  u32 lanes = 0;
  for_lanes(warp.active, [&](int other) { lanes |= u32{in[other] == in[lane]} << other; });
  return lanes;
}
template <class T>
void match_any(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  check_defined(warp, operands[1]);
  u32 results[kLanes];
  for_lanes(warp.active, [&](int lane) { results[lane] = equal_to<T>(warp, operands[1], lane); });
  auto* const out = warp.out<u32>(operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = results[lane]; });
  warp.define(operands[0], kAllLanes);
}
template <class T>
void match_all(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  check_defined(warp, operands[2]);
  const bool is_all = equal_to<T>(warp, operands[2], std::countr_zero(warp.active)) == warp.active;
  auto* const out = warp.out<u32>(operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = is_all ? warp.active : 0; });
  warp.define(operands[0], kAllLanes);
  warp.set_predicate(operands[1], is_all ? kAllLanes : 0);
  warp.define(operands[1], kAllLanes);
}

void elect(Warp& warp, const Instruction& instruction) {
  const auto& operands = instruction.operands;
  const int elected = std::countr_zero(warp.active);
  auto* const out = warp.out<u32>(operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = static_cast<u32>(elected); });
  warp.define(operands[0], kAllLanes);
  warp.set_predicate(operands[1], u32{1} << elected);
  warp.define(operands[1], kAllLanes);
}

void sync_lanes(Warp& warp, const Instruction&) { warp.sync_lanes(); }

// What a barrier of the block gives: a number, or whether something holds.
void barrier_count(Warp& warp, const Instruction& instruction) {
  auto* const out = warp.out<u32>(instruction.operands[0]);
  for_lanes(warp.active, [&](int lane) { out[lane] = warp.barrier_value(); });
  warp.define(instruction.operands[0], kAllLanes);
}
void barrier_predicate(Warp& warp, const Instruction& instruction) {
  warp.set_predicate(instruction.operands[0], warp.barrier_value() != 0 ? kAllLanes : 0);
  warp.define(instruction.operands[0], kAllLanes);
}

}  // namespace

void add_collectives(const std::function<void(const std::string&, const Operation&)>& add) {
  const auto collective = [&](const std::string& name, Run run, int num_operands, auto bytes,
                              int num_written = 1) {
    add(name, {.run = run,
               .num_operands = num_operands,
               .bytes = bytes,
               .num_written = num_written,
               .kind = Kind::collective});
  };
  using Bytes = std::array<std::uint8_t, Instruction::kMaxOperands>;
  const Bytes of_shuffle{4, 0, 4, 4, 4, 4}, of_value{4, 4, 4};
  collective("shfl.sync.up.b32", shfl<Shuffle::up>, 6, of_shuffle, 2);
  collective("shfl.sync.down.b32", shfl<Shuffle::down>, 6, of_shuffle, 2);
  collective("shfl.sync.bfly.b32", shfl<Shuffle::bfly>, 6, of_shuffle, 2);
  collective("shfl.sync.idx.b32", shfl<Shuffle::idx>, 6, of_shuffle, 2);
  collective("vote.sync.ballot.b32", ballot, 3, Bytes{4, 0, 4});
  collective("vote.sync.all.pred", vote<Vote::all>, 3, Bytes{0, 0, 4});
  collective("vote.sync.any.pred", vote<Vote::any>, 3, Bytes{0, 0, 4});
  collective("vote.sync.uni.pred", vote<Vote::uni>, 3, Bytes{0, 0, 4});
  collective("redux.sync.add.u32", redux<u32, sum>, 3, of_value);
  collective("redux.sync.add.s32", redux<u32, sum>, 3, of_value);
  collective("redux.sync.min.u32", redux<u32, least<u32>>, 3, of_value);
  collective("redux.sync.min.s32", redux<s32, least<s32>>, 3, of_value);
  collective("redux.sync.max.u32", redux<u32, largest<u32>>, 3, of_value);
  collective("redux.sync.max.s32", redux<s32, largest<s32>>, 3, of_value);
  collective("redux.sync.and.b32", redux<u32, and_of>, 3, of_value);
  collective("redux.sync.or.b32", redux<u32, or_of>, 3, of_value);
  collective("redux.sync.xor.b32", redux<u32, xor_of>, 3, of_value);
  collective("match.any.sync.b32", match_any<u32>, 3, of_value);
  collective("match.any.sync.b64", match_any<std::uint64_t>, 3, Bytes{4, 8, 4});
  collective("match.all.sync.b32", match_all<u32>, 4, Bytes{4, 0, 4, 4}, 2);
  collective("match.all.sync.b64", match_all<std::uint64_t>, 4, Bytes{4, 0, 8, 4}, 2);
  collective("elect.sync", elect, 3, Bytes{4, 0, 4}, 2);
  collective("bar.warp.sync", sync_lanes, 1, Bytes{4}, 0);
  const auto barrier = [&](const std::string& name, Run run, std::uint8_t bytes,
                           BarrierValue value) {
    const Operation operation{.run = run,
                              .bytes = {bytes},
                              .detail = static_cast<std::uint8_t>(value),
                              .kind = Kind::barrier};
    add("bar." + name, operation);
    add("barrier." + name, operation);
    add("bar.cta." + name, operation);
    add("barrier.cta." + name, operation);
  };
  barrier("red.popc.u32", barrier_count, 4, BarrierValue::count);
  barrier("red.and.pred", barrier_predicate, 0, BarrierValue::all);
  barrier("red.or.pred", barrier_predicate, 0, BarrierValue::any);
}

}  // namespace interpreted
