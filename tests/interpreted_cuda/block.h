// A block: its warps, its shared memory, and the launch that it belongs to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "instruction.h"
#include "interpreter.h"
#include "race.h"
#include "scratch.h"
#include "warp.h"

namespace interpreted {

// All blocks of a launch, one after another.
class Block {
 public:
  Block(const Program& program, const Function& kernel, const Launch& launch,
        std::vector<std::byte> params);

  // Runs them. Throws std::logic_error where a rule is broken.
  void run_all();

  const Launch& launch() const { return launch_; }
  std::array<unsigned, 3> index() const { return index_; }
  const Function& kernel() const { return kernel_; }
  const Program& program() const { return program_; }
  Counts& counts() { return counts_; }

  // True one time in n, never without a seed.
  bool is_drawn(unsigned n) { return launch_.seed != 0 && random_() % n == 0; }
  std::size_t draw(std::size_t n) { return random_() % n; }

  const Chain& chain(int index) const { return chains_[static_cast<std::size_t>(index)]; }
  int chain_of_call(int parent, std::uint32_t at, const Function& function);

  // From kSharedBegin on.
  std::byte* shared() { return shared_.get(); }
  std::uint8_t* shared_written() { return reinterpret_cast<std::uint8_t*>(shared_written_.get()); }
  // What was read before it was written, first. Up to the next barrier it may be a race.
  void note_unwritten(const std::string& message) {
    if (unwritten_.empty()) unwritten_ = message;
  }
  const std::string& unwritten() const { return unwritten_; }
  std::size_t shared_bytes() const { return shared_bytes_; }
  RaceCells& cells() { return *cells_; }

  std::pair<std::byte*, std::size_t> params() { return {params_.data(), params_.size()}; }

  Time launch_begin() const { return launch_begin_; }
  Time begin() const { return begin_; }
  Time epoch() const { return epoch_; }
  Time now() const;
  Time next_step();  // of the clock

 private:
  void run();
  void pass_barrier();
  void check_written() const;
  bool is_at_barrier() const;
  [[noreturn]] void report_stuck() const;

  const Program& program_;
  const Function& kernel_;
  const Launch& launch_;
  std::vector<std::byte> params_;
  std::array<unsigned, 3> index_{};
  std::minstd_rand random_;
  std::vector<Chain> chains_;
  std::map<std::pair<int, std::uint32_t>, int> chain_of_;  // by the caller's, and where
  const std::size_t shared_bytes_;
  Scratch shared_, shared_written_;
  std::string unwritten_;
  RaceCells* cells_;
  Time launch_begin_, begin_ = 0, epoch_ = 0;
  std::vector<std::unique_ptr<Warp>> warps_;
  Counts counts_;
};

}  // namespace interpreted
