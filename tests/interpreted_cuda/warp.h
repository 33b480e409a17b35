// A warp: its lanes, which go on together as far as they can.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device_memory.h"
#include "instruction.h"
#include "race.h"
#include "scratch.h"

namespace interpreted {

class Block;

// A call of a function from one place, in one call of that which has it, and so on to the kernel.
struct Chain {
  int parent;  // or -1
  int depth;
  const Function* function;
  std::uint32_t called_at;  // of the parent's function
  std::size_t local_begin;  // of its frame, in a lane's local memory
};

// Lanes that are at one instruction.
struct Group {
  enum class State : std::uint8_t { ready, at_collective, at_barrier };
  std::uint32_t lanes;
  std::uint32_t at;
  int chain;
  State state = State::ready;
  std::uint32_t mask = 0;  // which a collective waits for
};

// From global to shared memory, not yet done.
struct Copy {
  int lane;
  std::uint64_t to;
  std::array<std::byte, 16> data;
  std::size_t bytes;
  std::int64_t group = -1;  // none as yet
};

class Warp : public Registers {
 public:
  Warp(Block& block, int index, std::uint32_t lanes);

  // Lets it begin the kernel in the block that is next.
  void begin();

  // Goes on for so many instructions, or until all of its lanes wait or have exited; returns
  // whether it could go on.
  bool run(std::int64_t num_instructions);

  const std::vector<Group>& groups() const { return groups_; }
  std::uint32_t lanes() const { return lanes_; }
  int index() const { return index_; }

  // All lanes of the block are at the barrier; `value` is what it gives them, if anything.
  void pass_barrier(std::uint32_t value);
  // Those of this warp for which the barrier's predicate holds.
  std::uint32_t holds_at_barrier();
  std::uint32_t barrier_value() const { return barrier_value_; }

  // What follows is for the instructions.
  Block& block() const { return block_; }

  void sync_lanes();  // those that are active

  void copy_later(const Copy& copy) { copies_.push_back(copy); }
  void commit_copies();
  // Those of the active lanes that are in all groups but the last so many; or all.
  std::vector<Copy> take_copies(std::int64_t num_last, bool takes_all);

  // Local memory of a lane, and whether it was written.
  std::byte* local(int lane) {
    return local_.get() + static_cast<std::size_t>(lane) * local_bytes_;
  }
  std::uint8_t* local_written(int lane) {
    return reinterpret_cast<std::uint8_t*>(local_written_.get()) +
           static_cast<std::size_t>(lane) * local_bytes_;
  }
  std::size_t local_begin() const;  // of the frame that is run
  std::size_t local_end() const;

  Accessor accessor(Time since) const;
  void become(Accessor& accessor, int lane) const {
    accessor.thread = index_ * kLanes + lane;
    accessor.seen = seen_[static_cast<std::size_t>(lane)].data();
  }

  const Allocation* last_allocation = nullptr;  // that an access found

  // Throws std::logic_error: which check, what, and where which lanes were.
  [[noreturn]] void fail(const char* check, const std::string& what, std::uint32_t lanes) const;
  std::string message(const char* check, const std::string& what, std::uint32_t lanes) const;
  // The source of an instruction.
  std::string place(int chain, std::uint32_t at) const;

 private:
  struct Frame {
    Scratch values;
    std::vector<std::uint32_t> defined;
  };

  void set_frame(int chain);
  void enter(int chain, std::uint32_t lanes);
  void make_local(std::size_t bytes);
  // The group that goes on, or -1.
  int choose();
  // Goes on with it alone, and returns how many instructions it did.
  std::int64_t execute(std::size_t group, std::int64_t at_most);
  // The lanes of a group that are active are at a collective. True if these, and no others, are
  // those that it asks for.
  bool is_complete(const Operand& mask) const;
  void meet(std::size_t group, const Instruction& instruction);
  void wait_at_barrier(std::size_t group);
  void call(std::size_t group, const Instruction& instruction);
  void ret(std::size_t group);
  void copy_arguments(const std::vector<Argument>& arguments, int caller, int callee,
                      bool is_return);
  // The lanes of the group that are not active go on at the next instruction.
  void leave_rest(std::size_t group);

  Block& block_;
  const int index_;
  const std::uint32_t lanes_;
  std::vector<Group> groups_;  // of lanes that have not exited
  std::vector<Frame> frames_;  // of each chain
  int frame_ = -1;             // the chain that is run
  std::uint32_t at_ = 0;       // the instruction that is run
  Scratch local_, local_written_;
  std::size_t local_bytes_ = 0;  // of a lane
  std::array<std::array<Time, kLanes>, kLanes> seen_{};
  std::array<std::uint32_t, static_cast<std::size_t>(Special::count) * kLanes> special_{};
  std::uint32_t always_ = kAllLanes;
  std::uint32_t barrier_value_ = 0;
  std::vector<Copy> copies_;
  std::int64_t num_commits_ = 0;
};

}  // namespace interpreted
