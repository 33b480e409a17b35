// Who used each byte of a memory last, so that two accesses that nothing orders are found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace interpreted {

// Steps of the clock that each barrier moves on; it never goes back.
using Time = std::uint32_t;

// A thread, and what it knows.
struct Accessor {
  int thread;  // of the block
  Time now;
  Time epoch;        // since then the block had no barrier
  Time block;        // then it began
  Time launch;       // then the launch began, or for shared memory the block
  const Time* seen;  // of each lane of the warp, up to when this thread sees what it did
};

// The conflict of an access with one before.
struct Race {
  bool is_found = false;
  bool other_wrote = false;
  int other = 0;  // its thread, or -1: of several, or of another block
};

class RaceCells {
 public:
  explicit RaceCells(std::size_t bytes)
      : bytes_(bytes), words_(make((bytes + kWord - 1) / kWord)) {}

  // An access of aligned bytes, a power of two. Reports the first conflict.
  Race access(std::size_t offset, std::size_t bytes, bool is_write, const Accessor& who) {
    if (bytes >= kWord) {
      Race race;
      for (std::size_t word = offset / kWord; word < (offset + bytes) / kWord; ++word) {
        if (words_[word].is_split) {
          race = access_bytes(word * kWord, kWord, is_write, who);
        } else {
          race = is_write ? write(words_[word], who) : read(words_[word], who);
        }
        if (race.is_found) return race;
      }
      return race;
    }
    return access_bytes(offset, bytes, is_write, who);
  }

  // The same, of reads by several lanes of the accessor's warp at once. False where it takes a look
  // at each.
  bool read_together(std::size_t offset, std::size_t bytes, std::uint32_t lanes,
                     const Accessor& who) {
    const bool has_words = bytes >= kWord;
    if (!has_words && !words_[offset / kWord].is_split) return false;
    Cell* const cells = has_words ? &words_[offset / kWord] : &of_bytes_[offset];
    for (std::size_t i = 0; i < (has_words ? bytes / kWord : bytes); ++i) {
      if (!read_together(cells[i], lanes, who)) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kWord = 4;

  // The last write, and the reads since that are not known to have been seen by a later one.
  struct Cell {
    Time written = 0, read = 0;
    std::uint32_t lanes = 0;  // which read, of that warp
    std::uint16_t writer = 0;
    std::uint16_t warp : 15 = 0;
    std::uint16_t is_split : 1 = 0;  // of a word: look at its bytes
  };
  static constexpr std::uint16_t kWarps = 0x7ffe, kBlocks = 0x7fff;  // several

  struct Free {
    void operator()(Cell* cells) const { std::free(cells); }
  };
  using Cells = std::unique_ptr<Cell[], Free>;

  // Zeros, without touching them.
  static Cells make(std::size_t count);

  Race access_bytes(std::size_t offset, std::size_t bytes, bool is_write, const Accessor& who);

  static bool sees(const Accessor& who, int thread, Time time) {
    return thread / 32 == who.thread / 32 && who.seen[thread % 32] >= time;
  }

  static Race after_write(const Cell& cell, const Accessor& who) {
    if (cell.written < who.launch) return {};
    if (cell.written < who.block) return {true, true, -1};
    if (cell.written < who.epoch || cell.writer == who.thread ||
        sees(who, cell.writer, cell.written)) {
      return {};
    }
    return {true, true, cell.writer};
  }

  static Race read(Cell& cell, const Accessor& who) {
    const Race race = after_write(cell, who);
    const auto warp = static_cast<std::uint16_t>(who.thread / 32);
    const std::uint32_t lane = std::uint32_t{1} << who.thread % 32;
    if (cell.read < who.launch) {
      cell.warp = warp;
      cell.lanes = lane;
    } else if (cell.read < who.block || cell.warp == kBlocks) {
      cell.warp = kBlocks;
    } else if (cell.read < who.epoch) {
      cell.warp = warp;
      cell.lanes = lane;
    } else if (cell.warp != warp) {
      cell.warp = kWarps;
    } else if (cell.read == who.now) {
      cell.lanes |= lane;
    } else {
      cell.lanes = unseen(cell, who) == -1 ? lane : cell.lanes | lane;
    }
    cell.read = who.now;
    return race;
  }

  static bool read_together(Cell& cell, std::uint32_t lanes, const Accessor& who) {
    const auto is_past = [&](Time time) {
      return time < who.launch || (time >= who.block && time < who.epoch);
    };
    if (cell.is_split || !is_past(cell.written) || cell.warp == kBlocks) return false;
    const auto warp = static_cast<std::uint16_t>(who.thread / 32);
    if (is_past(cell.read)) {
      cell.warp = warp;
      cell.lanes = lanes;
    } else if (cell.read < who.block || (cell.warp == warp && cell.read != who.now)) {
      return false;
    } else if (cell.warp == warp) {
      cell.lanes |= lanes;
    } else {
      cell.warp = kWarps;
    }
    cell.read = who.now;
    return true;
  }

  // A lane other than the accessor's whose read it does not see, or -1.
  static int unseen(const Cell& cell, const Accessor& who) {
    std::uint32_t lanes = cell.lanes & ~(std::uint32_t{1} << who.thread % 32);
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      if (who.seen[lane] < cell.read) return lane;
    }
    return -1;
  }

  static Race write(Cell& cell, const Accessor& who) {
    Race race = after_write(cell, who);
    if (!race.is_found && cell.read >= who.launch) {
      if (cell.warp == kBlocks || cell.read < who.block) {
        race = {true, false, -1};
      } else if (cell.read >= who.epoch) {
        const int warp = who.thread / 32;
        if (cell.warp != warp) {
          race = {true, false,
                  cell.warp == kWarps ? -1 : cell.warp * 32 + __builtin_ctz(cell.lanes)};
        } else if (const int lane = unseen(cell, who); lane >= 0) {
          race = {true, false, warp * 32 + lane};
        }
      }
    }
    cell.written = who.now;
    cell.writer = static_cast<std::uint16_t>(who.thread);
    cell.read = 0;
    return race;
  }

  std::size_t bytes_;
  Cells words_, of_bytes_;
};

}  // namespace interpreted
