#include "memory.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iomanip>
#include <sstream>

#include "block.h"
#include "warp.h"

namespace interpreted {
namespace {

using ptx::Space;
using u32 = std::uint32_t;

// Where the lanes' bytes are for the host, and the notes on whether they were written; without
// notes they were.
struct Places {
  std::byte* data[kLanes];
  std::uint8_t* written[kLanes];
};

std::string hexadecimal(std::uint64_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
}

std::string size_and_space(std::size_t bytes, bool is_write, const char* space) {
  return std::string(is_write ? "a write of " : "a read of ") + std::to_string(bytes) +
         " bytes of " + space + " memory";
}

bool all_written(const std::uint8_t* written, std::size_t bytes) {
  std::uint64_t notes = 0;
  switch (bytes) {
    case 1:
      return written[0] != 0;
    case 2:
      std::memcpy(&notes, written, 2);
      return notes == 0x0101;
    case 4:
      std::memcpy(&notes, written, 4);
      return notes == 0x01010101;
    default:
      for (std::size_t i = 0; i < bytes; i += 8) {
        std::memcpy(&notes, written + i, 8);
        if (notes != 0x0101010101010101) return false;
      }
      return true;
  }
}

// One access of a warp's active lanes.
class Access {
 public:
  Access(Warp& warp, std::size_t bytes, bool is_write)
      : warp_(warp), bytes_(bytes), is_write_(is_write) {}

  // The address in `operand`, plus `offset`.
  void set_addresses(const Operand& operand, std::uint64_t offset) {
    const u32 undefined = warp_.active & ~warp_.defined(operand);
    if (undefined != 0) warp_.fail("initcheck", "an address that is undefined", undefined);
    if (operand.bytes == 4) {
      const auto* const in = warp_.in<u32>(operand);
      for_lanes(warp_.active, [&](int lane) { addresses_[lane] = in[lane] + offset; });
    } else {
      const auto* const in = warp_.in<std::uint64_t>(operand);
      for_lanes(warp_.active, [&](int lane) { addresses_[lane] = in[lane] + offset; });
    }
  }

  void set_address(int lane, std::uint64_t address) { addresses_[lane] = address; }

  void resolve(Space space, Places& places) {
    std::uint64_t all = 0, common = ~std::uint64_t{0};
    for_lanes(warp_.active, [&](int lane) {
      all |= addresses_[lane];
      common &= addresses_[lane];
    });
    is_one_read_ = !is_write_ && all == common;
    if ((all & (bytes_ - 1)) != 0) report_misaligned();
    switch (space) {
      case Space::generic:
        return resolve_generic(all, places);
      case Space::shared:
        return in_shared(warp_.active, 0, places);
      case Space::local:
        return in_local(warp_.active, 0, places);
      case Space::param:
        return in_params(warp_.active, 0, places);
      default:
        return in_global(warp_.active, places);
    }
  }

 private:
  void resolve_generic(std::uint64_t all, Places& places) {
    if ((all & kWindowMask) == 0) return in_global(warp_.active, places);
    u32 rest = warp_.active;
    while (rest != 0) {
      const std::uint64_t window = addresses_[std::countr_zero(rest)] & kWindowMask;
      u32 lanes = 0;
      for_lanes(rest, [&](int lane) {
        lanes |= u32{(addresses_[lane] & kWindowMask) == window} << lane;
      });
      rest &= ~lanes;
      if (window == 0)
        in_global(lanes, places);
      else if (window == kSharedWindow)
        in_shared(lanes, window, places);
      else if (window == kLocalWindow)
        in_local(lanes, window, places);
      else if (window == kParamWindow)
        in_params(lanes, window, places);
      else
        report_outside("global", lanes, "");
    }
  }

  void in_global(u32 lanes, Places& places) {
    const Allocation* found = warp_.last_allocation;
    std::uint64_t begin = 0, size = 0;
    const auto set = [&] {
      begin = found ? reinterpret_cast<std::uint64_t>(found->data) : 0;
      size = found ? found->bytes : 0;
    };
    set();
    Accessor accessor = warp_.accessor(warp_.block().launch_begin());
    if (is_one_read_ && found) {
      const std::uint64_t offset = addresses_[std::countr_zero(lanes)] - begin;
      if (offset < size && bytes_ <= size - offset &&
          read_one(found->data, found->written, *found->cells, offset, lanes, accessor, places)) {
        return count_global(lanes);
      }
    }
    for_lanes(lanes, [&](int lane) {
      std::uint64_t offset = addresses_[lane] - begin;
      if (offset >= size || bytes_ > size - offset) {
        found = find(reinterpret_cast<const void*>(addresses_[lane]));
        set();
        offset = addresses_[lane] - begin;
        if (!found || bytes_ > size - offset) report_no_allocation(lane, found);
      }
      places.data[lane] = found->data + offset;
      places.written[lane] = found->written + offset;
      if (!is_write_ && !all_written(places.written[lane], bytes_)) {
        throw std::logic_error(unwritten("global", lane));
      }
      check_race(*found->cells, offset, lane, accessor, "global");
    });
    warp_.last_allocation = found;
    count_global(lanes);
  }

  void in_shared(u32 lanes, std::uint64_t window, Places& places) {
    Block& block = warp_.block();
    const std::size_t size = block.shared_bytes();
    Accessor accessor = warp_.accessor(block.begin());
    const std::uint64_t offset = addresses_[std::countr_zero(lanes)] - window - kSharedBegin;
    if (is_one_read_ && offset < size && bytes_ <= size - offset &&
        read_one(block.shared(), block.shared_written(), block.cells(), offset, lanes, accessor,
                 places)) {
      ++block.counts().shared_accesses;
      return;
    }
    for_lanes(lanes, [&](int lane) {
      const std::uint64_t offset = addresses_[lane] - window - kSharedBegin;
      if (offset >= size || bytes_ > size - offset) {
        report_outside("shared", u32{1} << lane,
                       "; the block has " + std::to_string(size) + " bytes from " +
                           hexadecimal(window + kSharedBegin) + " on");
      }
      places.data[lane] = block.shared() + offset;
      places.written[lane] = block.shared_written() + offset;
      // Perhaps another thread writes it later, and it is a race.
      if (!is_write_ && !all_written(places.written[lane], bytes_)) {
        block.note_unwritten(unwritten("shared", lane));
      }
      check_race(block.cells(), offset, lane, accessor, "shared");
    });
    count_shared(lanes);
  }

  void in_local(u32 lanes, std::uint64_t window, Places& places) {
    const std::size_t size = warp_.local_end();
    for_lanes(lanes, [&](int lane) {
      const std::uint64_t offset = addresses_[lane] - window;
      if (offset >= size || bytes_ > size - offset) {
        report_outside("local", u32{1} << lane, "; there are " + std::to_string(size));
      }
      places.data[lane] = warp_.local(lane) + offset;
      places.written[lane] = warp_.local_written(lane) + offset;
    });
  }

  void in_params(u32 lanes, std::uint64_t window, Places& places) {
    const auto [data, size] = warp_.block().params();
    if (is_write_) report_outside("parameter", lanes, ", which cannot be written");
    for_lanes(lanes, [&](int lane) {
      const std::uint64_t offset = addresses_[lane] - window;
      if (offset >= size || bytes_ > size - offset) {
        report_outside("parameter", u32{1} << lane, "; there are " + std::to_string(size));
      }
      places.data[lane] = data + offset;
      places.written[lane] = nullptr;
    });
  }

  // All lanes read the same. False where there is something to complain about, or could be.
  bool read_one(std::byte* data, std::uint8_t* written, RaceCells& cells, std::size_t offset,
                u32 lanes, Accessor& accessor, Places& places) {
    if (!all_written(written + offset, bytes_)) return false;
    warp_.become(accessor, std::countr_zero(lanes));
    if (!cells.read_together(offset, bytes_, lanes, accessor)) return false;
    for_lanes(lanes, [&](int lane) {
      places.data[lane] = data + offset;
      places.written[lane] = written + offset;
    });
    return true;
  }

  void check_race(RaceCells& cells, std::size_t offset, int lane, Accessor& accessor,
                  const char* space) {
    warp_.become(accessor, lane);
    const Race race = cells.access(offset, bytes_, is_write_, accessor);
    if (race.is_found) report_race(race, lane, space);
  }

  [[noreturn]] void report_misaligned() const {
    u32 lanes = 0;
    for_lanes(warp_.active,
              [&](int lane) { lanes |= u32{(addresses_[lane] & (bytes_ - 1)) != 0} << lane; });
    warp_.fail("memcheck",
               size_and_space(bytes_, is_write_, "some") + " at " +
                   hexadecimal(addresses_[std::countr_zero(lanes)]) + ", which is not aligned",
               lanes);
  }
  [[noreturn]] void report_outside(const char* space, u32 lanes, const std::string& more) const {
    warp_.fail("memcheck",
               size_and_space(bytes_, is_write_, space) + " at " +
                   hexadecimal(addresses_[std::countr_zero(lanes)]) + ", which is outside" + more,
               lanes);
  }
  [[noreturn]] void report_no_allocation(int lane, const Allocation* found) const {
    std::string where = "; no allocation is there";
    if (found) {
      where = "; the allocation's end is " +
              std::to_string(found->data + found->bytes -
                             reinterpret_cast<std::byte*>(addresses_[lane])) +
              " bytes behind that";
    } else if (warp_.last_allocation) {
      const auto* const last = warp_.last_allocation;
      where += ", and it is " +
               std::to_string(reinterpret_cast<std::byte*>(addresses_[lane]) - last->data) +
               " bytes behind the begin of one of " + std::to_string(last->bytes);
    }
    report_outside("global", u32{1} << lane, where);
  }
  std::string unwritten(const char* space, int lane) const {
    return warp_.message("initcheck",
                         size_and_space(bytes_, is_write_, space) + " at " +
                             hexadecimal(addresses_[lane]) + ", not all of which were ever written",
                         u32{1} << lane);
  }
  [[noreturn]] void report_race(const Race& race, int lane, const char* space) const {
    const std::string other =
        race.other < 0 ? "another thread" : "thread " + std::to_string(race.other);
    warp_.fail("racecheck",
               size_and_space(bytes_, is_write_, space) + " at " + hexadecimal(addresses_[lane]) +
                   ", which " + other + (race.other_wrote ? " wrote" : " read") +
                   ", and no barrier is between",
               u32{1} << lane);
  }

  void count_global(u32 lanes) const {
    Counts& counts = warp_.block().counts();
    ++counts.global_accesses;
    counts.global_bytes += bytes_ * static_cast<std::size_t>(std::popcount(lanes));
    std::uint64_t sectors[kLanes * 2], last = ~std::uint64_t{0};
    int count = 0;
    bool is_sorted = true;
    for_lanes(lanes, [&](int lane) {
      const std::uint64_t sector = addresses_[lane] / 32;
      if (sector == last) return;
      is_sorted = is_sorted && (count == 0 || sector > last);
      last = sectors[count++] = sector;
    });
    if (!is_sorted) {
      std::sort(sectors, sectors + count);
      count = static_cast<int>(std::unique(sectors, sectors + count) - sectors);
    }
    counts.global_sectors += static_cast<std::uint64_t>(count);
  }

  // Banks are 4 bytes wide. Lanes that use more go in two passes or four, which is no conflict.
  void count_shared(u32 lanes) const {
    Counts& counts = warp_.block().counts();
    ++counts.shared_accesses;
    const int at_once = kLanes / std::max<int>(1, static_cast<int>(bytes_) / 4);
    for (int first = 0; first < kLanes; first += at_once) {
      const u32 part = lanes & (kAllLanes >> (kLanes - at_once)) << first;
      if ((part & (part - 1)) == 0) continue;
      std::uint64_t words[kLanes];
      std::uint8_t of_bank[kLanes] = {}, most = 0;
      u32 used = 0;  // banks
      int count = 0;
      for_lanes(part, [&](int lane) {
        const std::uint64_t word = addresses_[lane] / std::max<std::size_t>(bytes_, 4);
        const int bank = static_cast<int>(word % static_cast<std::uint64_t>(at_once));
        if (used >> bank & 1 && std::find(words, words + count, word) != words + count) return;
        used |= u32{1} << bank;
        words[count++] = word;
        most = std::max(most, ++of_bank[bank]);
      });
      counts.shared_conflicts += most - 1u;
    }
  }

  Warp& warp_;
  const std::size_t bytes_;
  const bool is_write_;
  bool is_one_read_ = false;  // of all lanes
  std::uint64_t addresses_[kLanes];
};

std::uint64_t offset_of(const Warp& warp, const Instruction& instruction) {
  return static_cast<std::uint64_t>(instruction.immediate) +
         (instruction.is_frame_relative ? warp.local_begin() : 0);
}

template <class Element, class Register>
void load_element(Warp& warp, const Operand& to, const Places& places, int index) {
  auto* const out = warp.out<Register>(to);
  for_lanes(warp.active, [&](int lane) {
    Element value;
    std::memcpy(&value, places.data[lane] + index * sizeof value, sizeof value);
    out[lane] = static_cast<Register>(value);
  });
}
template <class Element>
void load_element(Warp& warp, const Operand& to, const Places& places, int index) {
  switch (to.bytes) {
    case 2:
      return load_element<Element, std::uint16_t>(warp, to, places, index);
    case 4:
      return load_element<Element, std::uint32_t>(warp, to, places, index);
    default:
      return load_element<Element, std::uint64_t>(warp, to, places, index);
  }
}

void load(Warp& warp, const Instruction& instruction) {
  const int bytes = instruction.bytes, vector = instruction.vector;
  Places places;
  Access access(warp, static_cast<std::size_t>(bytes * vector), false);
  access.set_addresses(instruction.operands[vector], offset_of(warp, instruction));
  access.resolve(instruction.space, places);
  for (int i = 0; i < vector; ++i) {
    const Operand& to = instruction.operands[i];
    const bool is_signed = instruction.is_signed;
    switch (bytes) {
      case 1:
        is_signed ? load_element<std::int8_t>(warp, to, places, i)
                  : load_element<std::uint8_t>(warp, to, places, i);
        break;
      case 2:
        is_signed ? load_element<std::int16_t>(warp, to, places, i)
                  : load_element<std::uint16_t>(warp, to, places, i);
        break;
      case 4:
        is_signed ? load_element<std::int32_t>(warp, to, places, i)
                  : load_element<std::uint32_t>(warp, to, places, i);
        break;
      default:
        load_element<std::uint64_t>(warp, to, places, i);
    }
    u32 defined = kAllLanes;
    if (instruction.space != Space::global && instruction.space != Space::constant) {
      for_lanes(warp.active, [&](int lane) {
        if (places.written[lane] &&
            !all_written(places.written[lane] + i * bytes, static_cast<std::size_t>(bytes))) {
          defined &= ~(u32{1} << lane);
        }
      });
    }
    warp.define(to, defined);
  }
}

void store(Warp& warp, const Instruction& instruction) {
  const int bytes = instruction.bytes, vector = instruction.vector;
  Places places;
  Access access(warp, static_cast<std::size_t>(bytes * vector), true);
  access.set_addresses(instruction.operands[vector], offset_of(warp, instruction));
  access.resolve(instruction.space, places);
  for (int i = 0; i < vector; ++i) {
    const Operand& from = instruction.operands[i];
    const std::byte* const in = warp.in<std::byte>(from);
    const u32 defined = warp.defined(from);
    for_lanes(warp.active, [&](int lane) {
      std::byte* const to = places.data[lane] + i * bytes;
      const std::byte* const value = in + lane * from.bytes;
      const int note = static_cast<int>(defined >> lane & 1);
      std::uint8_t* const written = places.written[lane] + i * bytes;
      switch (bytes) {
        case 1:
          *to = *value;
          *written = static_cast<std::uint8_t>(note);
          break;
        case 2:
          std::memcpy(to, value, 2);
          std::memset(written, note, 2);
          break;
        case 4:
          std::memcpy(to, value, 4);
          std::memset(written, note, 4);
          break;
        default:
          std::memcpy(to, value, 8);
          std::memset(written, note, 8);
      }
    });
  }
}

// The address need not be one. What is prefetched changes nothing.
void prefetch(Warp& warp, const Instruction& instruction) {
  const u32 undefined = warp.active & ~warp.defined(instruction.operands[0]);
  if (undefined != 0) warp.fail("initcheck", "an address that is undefined", undefined);
}

// operands: to, from, and how many bytes, all or none: then there will be zeros; list: what is
// added to the first. What is asked for is there after a wait.
void copy_async(Warp& warp, const Instruction& instruction) {
  const std::size_t bytes = instruction.bytes;
  const auto& operands = instruction.operands;
  const u32 all = warp.active;
  const auto* const sizes = warp.in<u32>(operands[2]);
  u32 reads = 0, parts = 0;
  for_lanes(all, [&](int lane) {
    reads |= u32{sizes[lane] == bytes} << lane;
    parts |= u32{sizes[lane] != 0 && sizes[lane] != bytes} << lane;
  });
  if (parts != 0) warp.fail("memcheck", "a copy of other than all bytes or none", parts);
  Places places;
  if (reads != 0) {
    warp.active = reads;
    Access access(warp, bytes, false);
    access.set_addresses(operands[1], static_cast<std::uint64_t>(instruction.immediate));
    access.resolve(Space::global, places);
    warp.active = all;
  }
  const auto to = [&](int lane) {
    return operands[0].bytes == 4 ? std::uint64_t{warp.in<u32>(operands[0])[lane]}
                                  : warp.in<std::uint64_t>(operands[0])[lane];
  };
  const u32 undefined = warp.active & ~(warp.defined(operands[0]) & warp.defined(operands[2]));
  if (undefined != 0) warp.fail("initcheck", "a copy that is undefined", undefined);
  for_lanes(all, [&](int lane) {
    Copy copy{.lane = lane, .to = to(lane) + instruction.list, .data = {}, .bytes = bytes};
    if (reads >> lane & 1) std::memcpy(copy.data.data(), places.data[lane], bytes);
    warp.copy_later(copy);
  });
}

void commit_copies(Warp& warp, const Instruction&) { warp.commit_copies(); }
void wait_for_copies(Warp& warp, const Instruction& instruction) {
  // detail: not only those that were committed
  for (const Copy& copy : warp.take_copies(instruction.immediate, instruction.detail != 0)) {
    const u32 active = warp.active;
    warp.active = u32{1} << copy.lane;
    Places places;
    Access access(warp, copy.bytes, true);
    access.set_address(copy.lane, copy.to);
    access.resolve(Space::shared, places);
    std::memcpy(places.data[copy.lane], copy.data.data(), copy.bytes);
    std::memset(places.written[copy.lane], 1, copy.bytes);
    warp.active = active;
  }
}

std::uint64_t window_of(Space space) {
  switch (space) {
    case Space::shared:
      return kSharedWindow;
    case Space::local:
      return kLocalWindow;
    case Space::param:
      return kParamWindow;
    default:
      return 0;
  }
}

// The parts of an opcode.
std::vector<std::string_view> split(std::string_view opcode) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t dot = opcode.find('.');
    parts.push_back(opcode.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    opcode.remove_prefix(dot + 1);
  }
}

bool set_space(std::string_view part, Space& space) {
  if (part == "global")
    space = Space::global;
  else if (part == "const")
    space = Space::constant;
  else if (part == "shared" || part == "shared::cta")
    space = Space::shared;
  else if (part == "local")
    space = Space::local;
  else if (part == "param" || part == "param::entry" || part == "param::func")
    space = Space::param;
  else
    return false;
  return true;
}

// What the caches are told.
bool is_hint(std::string_view part) {
  constexpr std::string_view kHints[] = {"volatile", "weak", "ca", "cg", "cs", "lu",
                                         "cv",       "wb",   "wt", "nc", "L1", "L2"};
  return part.starts_with("L1::") || part.starts_with("L2::") ||
         std::find(std::begin(kHints), std::end(kHints), part) != std::end(kHints);
}

bool set_element(std::string_view part, Instruction& instruction) {
  constexpr std::string_view kKinds = "bfsu";
  if (part == "v2" || part == "v4") {
    instruction.vector = part == "v2" ? 2 : 4;
    return true;
  }
  if (part.size() < 2 || kKinds.find(part[0]) == std::string_view::npos) return false;
  const std::string_view bits = part.substr(1);
  instruction.is_signed = part[0] == 's';
  instruction.bytes = bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : 0;
  return instruction.bytes != 0;
}

}  // namespace

bool set_access(std::string_view opcode, Instruction& instruction) {
  if (opcode == "cp.async.commit_group") {
    instruction.run = commit_copies;
    return true;
  }
  if (opcode == "cp.async.wait_group" || opcode == "cp.async.wait_all") {
    instruction.run = wait_for_copies;
    instruction.detail = opcode.ends_with("all");
    return true;
  }
  const auto parts = split(opcode);
  std::size_t next = 1;
  if (opcode.starts_with("cp.async.")) {
    if (opcode.starts_with("cp.async.bulk")) return false;
    instruction.run = copy_async;
    next = 2;
  } else if (parts[0] == "ld" || parts[0] == "ldu") {
    instruction.run = load;
  } else if (parts[0] == "st") {
    instruction.run = store;
  } else if (parts[0] == "prefetch" || parts[0] == "prefetchu") {
    instruction.run = prefetch;
  } else {
    return false;
  }
  for (; next < parts.size(); ++next) {
    if (!set_space(parts[next], instruction.space) && !is_hint(parts[next]) &&
        !set_element(parts[next], instruction)) {
      return false;
    }
  }
  const bool has_elements = instruction.run == load || instruction.run == store;
  return has_elements == (instruction.bytes != 0);
}

AccessKind access_kind(const Instruction& instruction) {
  if (instruction.run == load) return AccessKind::load;
  if (instruction.run == store) return AccessKind::store;
  if (instruction.run == prefetch) return AccessKind::prefetch;
  if (instruction.run == copy_async) return AccessKind::copy;
  if (instruction.run == wait_for_copies && instruction.detail == 0) return AccessKind::wait;
  return AccessKind::none;
}

void frame_address(Warp& warp, const Instruction& instruction) {
  const Operand& to = instruction.operands[0];
  const std::uint64_t address = offset_of(warp, instruction);
  if (to.bytes == 4) {
    auto* const out = warp.out<u32>(to);
    for_lanes(warp.active, [&](int lane) { out[lane] = static_cast<u32>(address); });
  } else {
    auto* const out = warp.out<std::uint64_t>(to);
    for_lanes(warp.active, [&](int lane) { out[lane] = address; });
  }
  warp.define(to, kAllLanes);
}

void to_generic(Warp& warp, const Instruction& instruction) {
  const Operand &to = instruction.operands[0], &from = instruction.operands[1];
  const std::uint64_t window = window_of(instruction.space);
  const auto* const in = warp.in<std::uint64_t>(from);
  auto* const out = warp.out<std::uint64_t>(to);
  for_lanes(warp.active, [&](int lane) { out[lane] = in[lane] + window; });
  warp.define(to, warp.defined(from));
}

void from_generic(Warp& warp, const Instruction& instruction) {
  const Operand &to = instruction.operands[0], &from = instruction.operands[1];
  const std::uint64_t window = window_of(instruction.space);
  const auto* const in = warp.in<std::uint64_t>(from);
  auto* const out = warp.out<std::uint64_t>(to);
  for_lanes(warp.active, [&](int lane) { out[lane] = in[lane] - window; });
  warp.define(to, warp.defined(from));
}

void is_space(Warp& warp, const Instruction& instruction) {
  const Operand &to = instruction.operands[0], &from = instruction.operands[1];
  const std::uint64_t window = window_of(instruction.space);
  const auto* const in = warp.in<std::uint64_t>(from);
  u32 lanes = 0;
  for_lanes(warp.active,
            [&](int lane) { lanes |= u32{(in[lane] & kWindowMask) == window} << lane; });
  warp.set_predicate(to, lanes);
  warp.define(to, warp.defined(from));
}

}  // namespace interpreted
