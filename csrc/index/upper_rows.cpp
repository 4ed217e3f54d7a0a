#include "index/upper_rows.hpp"

#include <algorithm>
#include <utility>

namespace llmspell::index {

void UpperRows::reserve_rows(std::size_t more) {
    const std::size_t needed = rows_.size() + more * row_slots_;
    if (needed <= rows_.capacity()) return;
    // Half as much again: growing one by one stays linear.
    rows_.reserve(std::max(needed, rows_.size() + rows_.size() / 2));
}

void UpperRows::add(Slot slot, int level) {
    const auto rows = static_cast<std::size_t>(level);
    std::uint32_t at = free_[rows];
    if (at != kNone) {
        free_[rows] = rows_[at * row_slots_];
        std::fill_n(rows_.data() + at * row_slots_, rows * row_slots_, Slot{0});
    } else {
        at = static_cast<std::uint32_t>(rows_.size() / row_slots_);
        reserve_rows(rows);
        rows_.resize(rows_.size() + rows * row_slots_);
    }
    at_[slot] = at;
}

void UpperRows::remove(Slot slot, int level) noexcept {
    std::uint32_t& last = free_[static_cast<std::size_t>(level)];
    *row(slot, 1) = std::exchange(last, at_[slot]);
}

bool UpperRows::restore(AlignedArray<Slot> rows, const AlignedArray<std::int8_t>& levels) {
    rows_ = std::move(rows);
    at_.resize(levels.size());
    std::size_t next = 0;
    for (std::size_t slot = 0; slot < levels.size(); ++slot) {
        at_[slot] = static_cast<std::uint32_t>(next);
        next += static_cast<std::size_t>(std::max<int>(levels[slot], 0));
    }
    return rows_.size() == next * row_slots_;
}

}  // namespace llmspell::index
