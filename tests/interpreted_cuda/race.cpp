#include "race.h"

#include <new>

namespace interpreted {

RaceCells::Cells RaceCells::make(std::size_t count) {
  auto* const cells = static_cast<Cell*>(std::calloc(count + 1, sizeof(Cell)));
  if (!cells) throw std::bad_alloc();
  return Cells(cells);
}

Race RaceCells::access_bytes(std::size_t offset, std::size_t bytes, bool is_write,
                             const Accessor& who) {
  if (!of_bytes_) of_bytes_ = make((bytes_ + kWord - 1) / kWord * kWord);
  Cell& word = words_[offset / kWord];
  if (!word.is_split) {
    for (std::size_t i = 0; i < kWord; ++i) of_bytes_[offset / kWord * kWord + i] = word;
    word.is_split = 1;
  }
  Race race;
  for (std::size_t i = offset; i < offset + bytes && !race.is_found; ++i) {
    race = is_write ? write(of_bytes_[i], who) : read(of_bytes_[i], who);
  }
  return race;
}

}  // namespace interpreted
