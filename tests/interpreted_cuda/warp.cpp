#include "warp.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "block.h"
#include "demangled.h"

namespace interpreted {
namespace {

using u32 = std::uint32_t;
using Kind = Instruction::Kind;

const Function& function_of(const Block& block, int chain) { return *block.chain(chain).function; }

}  // namespace

Warp::Warp(Block& block, int index, u32 lanes) : block_(block), index_(index), lanes_(lanes) {
  defined_[static_cast<int>(Operand::Area::constant)] = &always_;
  defined_[static_cast<int>(Operand::Area::special)] = &always_;
  values_[static_cast<int>(Operand::Area::constant)] =
      reinterpret_cast<std::byte*>(const_cast<std::uint64_t*>(block.program().constants.data()));
  values_[static_cast<int>(Operand::Area::special)] = reinterpret_cast<std::byte*>(special_.data());
}

void Warp::begin() {
  const Launch& launch = block_.launch();
  const auto [width, height, depth] = launch.block;
  const auto set = [&](Special which, int lane, std::size_t value) {
    special_[static_cast<std::size_t>(which) * kLanes + static_cast<std::size_t>(lane)] =
        static_cast<u32>(value);
  };
  const u32 num_threads = width * height * depth;
  for (int lane = 0; lane < kLanes; ++lane) {
    using enum Special;
    const u32 thread = static_cast<u32>(index_ * kLanes + lane);
    set(tid_x, lane, thread % width);
    set(tid_y, lane, thread / width % height);
    set(tid_z, lane, thread / width / height);
    for (std::size_t i = 0; i < 3; ++i) {
      set(static_cast<Special>(static_cast<std::size_t>(ntid_x) + i), lane, launch.block[i]);
      set(static_cast<Special>(static_cast<std::size_t>(ctaid_x) + i), lane, block_.index()[i]);
      set(static_cast<Special>(static_cast<std::size_t>(nctaid_x) + i), lane, launch.grid[i]);
    }
    const u32 own = u32{1} << lane;
    set(laneid, lane, static_cast<std::size_t>(lane));
    set(warpid, lane, static_cast<std::size_t>(index_));
    set(nwarpid, lane, (num_threads + kLanes - 1) / kLanes);
    set(lanemask_eq, lane, own);
    set(lanemask_lt, lane, own - 1);
    set(lanemask_le, lane, (own - 1) | own);
    set(lanemask_gt, lane, ~((own - 1) | own));
    set(lanemask_ge, lane, ~(own - 1));
    set(smid, lane, 0);
    set(dynamic_smem_size, lane, launch.shared_bytes);
    set(total_smem_size, lane, block_.shared_bytes());
  }
  for (auto& seen : seen_) seen.fill(0);
  copies_.clear();
  num_commits_ = 0;
  frame_ = -1;
  groups_ = {{.lanes = lanes_, .at = 0, .chain = 0}};
  enter(0, lanes_);
}

// --- Groups

bool Warp::run(std::int64_t num_instructions) {
  while (num_instructions > 0) {
    const int group = choose();
    if (group < 0) return false;
    num_instructions -= execute(static_cast<std::size_t>(group), num_instructions);
  }
  return true;
}

int Warp::choose() {
  if (groups_.size() == 1) return groups_[0].state == Group::State::ready ? 0 : -1;
  const auto is_ready = [&](std::size_t i) { return groups_[i].state == Group::State::ready; };
  for (std::size_t i = 0; i < groups_.size(); ++i) {  // those that are at one place go on together
    for (std::size_t k = i + 1; k < groups_.size() && is_ready(i);) {
      if (is_ready(k) && groups_[k].at == groups_[i].at && groups_[k].chain == groups_[i].chain) {
        groups_[i].lanes |= groups_[k].lanes;
        groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(k));
      } else {
        ++k;
      }
    }
  }
  int best = -1, count = 0;
  const bool is_random = block_.is_drawn(8);
  std::pair<int, u32> best_order{};
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (!is_ready(i)) continue;
    ++count;
    if (is_random) {
      if (block_.draw(static_cast<std::size_t>(count)) == 0) best = static_cast<int>(i);
      continue;
    }
    const Chain& chain = block_.chain(groups_[i].chain);
    // nvcc puts what two branches lead to behind both, so that lanes meet if the first go on.
    const std::pair order{-chain.depth, groups_[i].at};
    if (best < 0 || order < best_order) {
      best = static_cast<int>(i);
      best_order = order;
    }
  }
  return best;
}

std::int64_t Warp::execute(std::size_t index, std::int64_t at_most) {
  set_frame(groups_[index].chain);
  const Function& function = function_of(block_, frame_);
  const Instruction* const code = function.code.data();
  const auto num_ready = std::count_if(groups_.begin(), groups_.end(), [](const Group& group) {
    return group.state == Group::State::ready;
  });
  const std::int64_t pause = num_ready > 1 ? 1 : at_most;
  const u32 lanes = groups_[index].lanes;
  u32 at = groups_[index].at;
  std::int64_t count = 0;
  const auto stop = [&](u32 next) {
    groups_[index].at = next;
    block_.counts().instructions += static_cast<std::uint64_t>(count);
    return count;
  };
  while (true) {
    const Instruction& instruction = code[at];
    if (instruction.is_leader && count >= pause) return stop(at);
    ++count;
    at_ = at;
    active = lanes;
    if (instruction.has_guard) {
      const u32 undefined = lanes & ~defined(instruction.guard);
      if (undefined != 0) fail("initcheck", "a predicate that is undefined", undefined);
      active &= predicate(instruction.guard);
    }
    switch (instruction.kind) {
      case Kind::simple:
        if (active != 0) instruction.run(*this, instruction);
        ++at;
        continue;
      case Kind::branch:
        if (active == lanes) {
          at = instruction.target;
          continue;
        }
        ++at;
        if (active == 0) continue;
        groups_[index].lanes &= ~active;
        groups_.push_back(
            {.lanes = active, .at = instruction.target, .chain = groups_[index].chain});
        return stop(at);
      case Kind::collective:
        if (active == lanes && is_complete(instruction.operands[instruction.detail])) {
          instruction.run(*this, instruction);
          ++at;
          continue;
        }
        stop(at);
        leave_rest(index);
        if (active != 0) meet(index, instruction);
        return count;
      default:
        break;
    }
    stop(at);
    leave_rest(index);
    if (active == 0) return count;
    switch (instruction.kind) {
      case Kind::branch_of: {
        const auto& targets = function.targets[instruction.list];
        const auto* const indices = in<u32>(instruction.operands[0]);
        const u32 undefined = active & ~defined(instruction.operands[0]);
        if (undefined != 0) fail("initcheck", "a branch by an undefined index", undefined);
        const int chain = groups_[index].chain;
        groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(index));
        for_lanes(active, [&](int lane) {
          if (indices[lane] >= targets.size())
            fail("memcheck", "a branch to nowhere", u32{1} << lane);
          groups_.push_back(
              {.lanes = u32{1} << lane, .at = targets[indices[lane]], .chain = chain});
        });
        break;
      }
      case Kind::call:
        call(index, instruction);
        break;
      case Kind::ret:
        ret(index);
        break;
      case Kind::exit:
        groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(index));
        break;
      case Kind::barrier:
        wait_at_barrier(index);
        break;
      default:
        fail("memcheck", "a trap", active);
    }
    return count;
  }
}

void Warp::leave_rest(std::size_t index) {
  Group& group = groups_[index];
  const u32 rest = group.lanes & ~active;
  if (rest == 0) return;
  if (active == 0) {
    ++group.at;
    return;
  }
  group.lanes = active;
  groups_.push_back({.lanes = rest, .at = group.at + 1, .chain = group.chain});
}

// --- Collectives

bool Warp::is_complete(const Operand& mask) const {
  const auto* const masks = in<u32>(mask);
  if ((active & ~defined(mask)) != 0) fail("initcheck", "a mask that is undefined", active);
  bool is_complete = true;
  for_lanes(active, [&](int lane) { is_complete &= masks[lane] == active; });
  return is_complete;
}

void Warp::meet(std::size_t index, const Instruction& instruction) {
  Group group = groups_[index];
  groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(index));
  const auto* const masks = in<u32>(instruction.operands[instruction.detail]);
  if ((active & ~defined(instruction.operands[instruction.detail])) != 0) {
    fail("initcheck", "a mask that is undefined", active);
  }
  u32 rest = group.lanes;
  while (rest != 0) {
    group.mask = masks[std::countr_zero(rest)];
    group.lanes = 0;
    for_lanes(rest, [&](int lane) { group.lanes |= u32{masks[lane] == group.mask} << lane; });
    rest &= ~group.lanes;
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      const Group& other = groups_[i];
      if (other.state == Group::State::at_collective && other.at == group.at &&
          other.chain == group.chain && other.mask == group.mask) {
        group.lanes |= other.lanes;
        groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
    }
    if ((group.lanes & ~group.mask) != 0) {
      fail("synccheck", "a collective whose mask lacks a lane that takes it",
           group.lanes & ~group.mask);
    }
    if (group.lanes == group.mask) {
      active = group.lanes;
      instruction.run(*this, instruction);
      groups_.push_back({.lanes = group.lanes, .at = group.at + 1, .chain = group.chain});
    } else {
      group.state = Group::State::at_collective;
      groups_.push_back(group);
    }
  }
}

void Warp::sync_lanes() {
  std::array<Time, kLanes> joined{};
  for_lanes(active, [&](int lane) {
    const auto& seen = seen_[static_cast<std::size_t>(lane)];
    for (std::size_t i = 0; i < kLanes; ++i) joined[i] = std::max(joined[i], seen[i]);
  });
  const Time now = block_.now();
  for_lanes(active, [&](int lane) { joined[static_cast<std::size_t>(lane)] = now; });
  for_lanes(active, [&](int lane) { seen_[static_cast<std::size_t>(lane)] = joined; });
  block_.next_step();
}

void Warp::wait_at_barrier(std::size_t index) {
  Group& group = groups_[index];
  group.state = Group::State::at_barrier;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    Group& other = groups_[i];
    if (i != index && other.state == Group::State::at_barrier && other.at == group.at &&
        other.chain == group.chain) {
      other.lanes |= group.lanes;
      groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(index));
      return;
    }
  }
}

u32 Warp::holds_at_barrier() {
  set_frame(groups_[0].chain);
  const Instruction& instruction = function_of(block_, frame_).code[groups_[0].at];
  const Operand& operand = instruction.operands[1];
  at_ = groups_[0].at;
  const u32 undefined = groups_[0].lanes & ~defined(operand);
  if (undefined != 0) fail("initcheck", "a barrier of an undefined value", undefined);
  return predicate(operand) & groups_[0].lanes;
}

void Warp::pass_barrier(u32 value) {
  Group& group = groups_[0];
  set_frame(group.chain);
  const Instruction& instruction = function_of(block_, frame_).code[group.at];
  active = group.lanes;
  if (instruction.run) {
    barrier_value_ = value;
    instruction.run(*this, instruction);
  }
  group.state = Group::State::ready;
  ++group.at;
}

void Warp::commit_copies() {
  for (Copy& copy : copies_) {
    if (copy.group < 0 && (active >> copy.lane & 1) != 0) copy.group = num_commits_;
  }
  ++num_commits_;
}

std::vector<Copy> Warp::take_copies(std::int64_t num_last, bool takes_all) {
  const auto first = std::stable_partition(copies_.begin(), copies_.end(), [&](const Copy& copy) {
    const bool is_done = copy.group >= 0 && copy.group < num_commits_ - num_last;
    return (active >> copy.lane & 1) == 0 || !(takes_all || is_done);
  });
  std::vector<Copy> taken(first, copies_.end());
  copies_.erase(first, copies_.end());
  return taken;
}

// --- Calls

void Warp::set_frame(int chain) {
  if (chain == frame_) return;
  frame_ = chain;
  Frame& frame = frames_[static_cast<std::size_t>(chain)];
  values_[0] = frame.values.get();
  defined_[0] = frame.defined.data();
}

void Warp::enter(int chain, u32 lanes) {
  const Chain& entered = block_.chain(chain);
  const Function& function = *entered.function;
  if (frames_.size() <= static_cast<std::size_t>(chain)) {
    frames_.resize(static_cast<std::size_t>(chain) + 1);
  }
  Frame& frame = frames_[static_cast<std::size_t>(chain)];
  if (!frame.values.get()) {
    frame.values = Scratch(function.register_bytes);
    frame.defined.resize(function.num_registers);
  }
  for (u32& defined : frame.defined) defined &= ~lanes;
  make_local(entered.local_begin + function.local_bytes);
  for_lanes(lanes, [&](int lane) {
    std::memset(local_written(lane) + entered.local_begin, 0, function.local_bytes);
  });
}

void Warp::make_local(std::size_t bytes) {
  if (bytes <= local_bytes_) return;
  const std::size_t old_bytes = local_bytes_, new_bytes = std::max(bytes, 2 * local_bytes_);
  const auto grow = [&](Scratch& old) {
    Scratch all(new_bytes * kLanes);
    for (std::size_t lane = 0; lane < kLanes && old_bytes > 0; ++lane) {
      std::memcpy(all.get() + lane * new_bytes, old.get() + lane * old_bytes, old_bytes);
    }
    old = std::move(all);
  };
  grow(local_);
  grow(local_written_);
  local_bytes_ = new_bytes;
}

std::size_t Warp::local_begin() const { return block_.chain(frame_).local_begin; }
std::size_t Warp::local_end() const {
  return local_begin() + function_of(block_, frame_).local_bytes;
}

void Warp::copy_arguments(const std::vector<Argument>& arguments, int caller, int callee,
                          bool is_return) {
  const auto begin = [&](int chain) {
    return block_.chain(chain).local_begin + function_of(block_, chain).param_begin;
  };
  const std::size_t of_caller = begin(caller), of_callee = begin(callee);
  for (const Argument& argument : arguments) {
    std::size_t from = of_caller + argument.caller, to = of_callee + argument.callee;
    if (is_return) std::swap(from, to);
    for_lanes(active, [&](int lane) {
      std::memcpy(local(lane) + to, local(lane) + from, argument.bytes);
      std::memcpy(local_written(lane) + to, local_written(lane) + from, argument.bytes);
    });
  }
}

void Warp::call(std::size_t index, const Instruction& instruction) {
  constexpr int kMaxDepth = 100;
  Group& group = groups_[index];
  const Function& callee = block_.program().functions[instruction.target];
  const int chain = block_.chain_of_call(group.chain, group.at, callee);
  if (block_.chain(chain).depth > kMaxDepth) fail("memcheck", "too many calls in calls", active);
  enter(chain, group.lanes);
  const Call& call = function_of(block_, group.chain).calls[instruction.list];
  copy_arguments(call.passed, group.chain, chain, false);
  group.chain = chain;
  group.at = 0;
}

void Warp::ret(std::size_t index) {
  Group& group = groups_[index];
  const Chain& chain = block_.chain(group.chain);
  const Function& caller = function_of(block_, chain.parent);
  const Instruction& instruction = caller.code[chain.called_at];
  copy_arguments(caller.calls[instruction.list].returned, chain.parent, group.chain, true);
  group.at = chain.called_at + 1;
  group.chain = chain.parent;
}

// --- Messages

Accessor Warp::accessor(Time since) const {
  return {.thread = 0,
          .now = block_.now(),
          .epoch = block_.epoch(),
          .block = block_.begin(),
          .launch = since,
          .seen = nullptr};
}

std::string Warp::place(int chain, u32 at) const {
  const Function& function = function_of(block_, chain);
  const Source& source = function.sources[at];
  const auto& files = block_.program().text.files;
  std::ostringstream text;
  text << source.opcode << " in line " << source.line << " of the PTX";
  const auto add = [&](int file, int line) {
    const auto found = files.find(file);
    if (found != files.end() && line > 0) {
      text << ", " << found->second.substr(found->second.rfind('/') + 1) << ":" << line;
    }
  };
  add(source.place.file, source.place.line);
  add(source.place.outer_file, source.place.outer_line);
  text << ", in " << demangled(function.text->name);
  return text.str();
}

void Warp::fail(const char* check, const std::string& what, u32 lanes) const {
  std::string text = message(check, what, lanes);
  if (!block_.unwritten().empty()) text += "; before that, " + block_.unwritten();
  throw std::logic_error(text);
}

std::string Warp::message(const char* check, const std::string& what, u32 lanes) const {
  const auto [width, height, depth] = block_.launch().block;
  const unsigned thread = static_cast<unsigned>(index_ * kLanes + std::countr_zero(lanes));
  const auto [x, y, z] = block_.index();
  std::ostringstream text;
  text << check << ": " << what << "; thread (" << thread % width << ", " << thread / width % height
       << ", " << thread / width / height << ")";
  if (std::popcount(lanes) > 1) text << " and " << std::popcount(lanes) - 1 << " more";
  text << " of block (" << x << ", " << y << ", " << z << "): " << place(frame_, at_) << "; kernel "
       << demangled(block_.kernel().text->name);
  return text.str();
}

}  // namespace interpreted
