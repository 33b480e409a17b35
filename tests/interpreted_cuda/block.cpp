#include "block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <sstream>
#include <stdexcept>

#include "demangled.h"

namespace interpreted {
namespace {

constexpr int kGarbage = 0xcb;

// Of all launches, so that what memory says of earlier ones stays true.
Time clock_time = 1;

// Of any block: what they say of earlier ones was long before.
RaceCells& cells_of_shared(std::size_t bytes) {
  static std::unique_ptr<RaceCells> cells;
  static std::size_t most = 0;
  if (!cells || bytes > most) {
    most = std::max(bytes, 2 * most);
    cells = std::make_unique<RaceCells>(most);
  }
  return *cells;
}

}  // namespace

Block::Block(const Program& program, const Function& kernel, const Launch& launch,
             std::vector<std::byte> params)
    : program_(program),
      kernel_(kernel),
      launch_(launch),
      params_(std::move(params)),
      random_(static_cast<std::minstd_rand::result_type>(launch.seed)),
      chains_{{.parent = -1, .depth = 0, .function = &kernel, .called_at = 0, .local_begin = 0}},
      shared_bytes_(kernel.text->dynamic_shared + launch.shared_bytes),
      shared_(shared_bytes_),
      shared_written_(shared_bytes_),
      cells_(&cells_of_shared(shared_bytes_)),
      launch_begin_(next_step()) {
  if (clock_time > std::numeric_limits<Time>::max() / 2) {
    throw std::runtime_error("too many barriers in one process");
  }
  const unsigned num_threads = launch.block[0] * launch.block[1] * launch.block[2];
  for (unsigned first = 0; first < num_threads; first += kLanes) {
    const unsigned count = std::min<unsigned>(num_threads - first, kLanes);
    warps_.push_back(
        std::make_unique<Warp>(*this, static_cast<int>(first / kLanes), kAllLanes >> (32 - count)));
  }
  counts_.launches = 1;
}

Time Block::now() const { return clock_time; }
Time Block::next_step() { return ++clock_time; }

int Block::chain_of_call(int parent, std::uint32_t at, const Function& function) {
  const auto [found, is_new] =
      chain_of_.try_emplace({parent, at}, static_cast<int>(chains_.size()));
  if (is_new) {
    const Chain& caller = chain(parent);
    chains_.push_back({.parent = parent,
                       .depth = caller.depth + 1,
                       .function = &function,
                       .called_at = at,
                       .local_begin = caller.local_begin + caller.function->local_bytes});
  }
  return found->second;
}

void Block::run_all() {
  const auto [width, height, depth] = launch_.grid;
  const std::uint64_t count = std::uint64_t{width} * height * depth;
  std::uint64_t first = 0, step = 1;
  if (launch_.seed != 0) {  // in an order that is drawn
    first = random_() % count;
    do {
      step = random_() % count + 1;
    } while (std::gcd(step, count) != 1);
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t block = (first + i * step) % count;
    index_ = {static_cast<unsigned>(block % width), static_cast<unsigned>(block / width % height),
              static_cast<unsigned>(block / width / height)};
    run();
  }
}

void Block::run() {
  constexpr auto kForever = std::numeric_limits<std::int64_t>::max();
  std::memset(shared(), kGarbage, shared_bytes_);
  std::memset(shared_written(), 0, shared_bytes_);
  begin_ = epoch_ = next_step();
  for (const auto& warp : warps_) warp->begin();
  std::vector<Warp*> going;
  while (true) {
    going.clear();
    for (const auto& warp : warps_) {
      if (!warp->groups().empty()) going.push_back(warp.get());
    }
    while (!going.empty()) {
      const std::size_t i = launch_.seed == 0 ? 0 : draw(going.size());
      const bool goes_on =
          going[i]->run(launch_.seed == 0 ? kForever : static_cast<std::int64_t>(draw(512)) + 1);
      if (!goes_on) going.erase(going.begin() + static_cast<std::ptrdiff_t>(i));
    }
    const bool has_ended = std::all_of(warps_.begin(), warps_.end(),
                                       [](const auto& warp) { return warp->groups().empty(); });
    if (has_ended) return check_written();
    if (!is_at_barrier()) report_stuck();
    pass_barrier();
  }
}

bool Block::is_at_barrier() const {
  const Group* first = nullptr;
  for (const auto& warp : warps_) {
    if (warp->groups().size() != 1) return false;
    const Group& group = warp->groups()[0];
    if (group.state != Group::State::at_barrier || group.lanes != warp->lanes()) return false;
    if (!first) first = &group;
    if (group.at != first->at || group.chain != first->chain) return false;
  }
  return true;
}

void Block::check_written() const {
  if (!unwritten_.empty()) throw std::logic_error(unwritten_);
}

void Block::pass_barrier() {
  check_written();
  const Group& group = warps_[0]->groups()[0];
  const Instruction& instruction = chain(group.chain).function->code[group.at];
  std::uint32_t count = 0, all = 0;
  if (instruction.run) {
    for (const auto& warp : warps_) {
      count += static_cast<std::uint32_t>(std::popcount(warp->holds_at_barrier()));
      all += static_cast<std::uint32_t>(std::popcount(warp->lanes()));
    }
  }
  const auto asked = static_cast<BarrierValue>(instruction.detail);
  const std::uint32_t value = asked == BarrierValue::count ? count
                              : asked == BarrierValue::all ? count == all
                                                           : count != 0;
  for (const auto& warp : warps_) warp->pass_barrier(value);
  counts_.block_barriers += warps_.size();
  epoch_ = next_step();
}

void Block::report_stuck() const {
  std::ostringstream text;
  const auto [x, y, z] = index_;
  text << "synccheck: not all threads come to one place; block (" << x << ", " << y << ", " << z
       << ")";
  constexpr int kMost = 6;
  int count = 0;
  for (const auto& warp : warps_) {
    std::uint32_t exited = warp->lanes();
    for (const Group& group : warp->groups()) {
      exited &= ~group.lanes;
      if (count++ >= kMost) continue;
      text << "; warp " << warp->index() << ", " << std::popcount(group.lanes)
           << " lanes from lane " << std::countr_zero(group.lanes)
           << " on: " << warp->place(group.chain, group.at);
    }
    if (exited != 0 && count++ < kMost) {
      text << "; warp " << warp->index() << ", " << std::popcount(exited) << " lanes from lane "
           << std::countr_zero(exited) << " on: have exited";
    }
  }
  if (count > kMost) text << "; and more";
  text << "; kernel " << demangled(kernel_.text->name);
  throw std::logic_error(text.str());
}

}  // namespace interpreted
