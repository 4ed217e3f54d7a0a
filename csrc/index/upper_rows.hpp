// The links of a graph's layers above 0. A node of level L > 0 has L rows of a count and m slots,
// one behind the other; those of all nodes lie in one array, so that that of a snapshot is taken as
// it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/aligned.hpp"
#include "index/params.hpp"

namespace llmspell::index {

class UpperRows {
  public:
    explicit UpperRows(std::uint32_t m) noexcept : row_slots_(m + 1) { free_.fill(kNone); }

    // Room for as many nodes of the graph, and for as many more rows. These and resize throw
    // std::bad_alloc and then change nothing.
    void reserve(std::size_t slots) { at_.reserve(slots); }
    void reserve_rows(std::size_t more);
    void resize(std::size_t slots) { at_.resize(slots); }
    std::size_t bytes() const noexcept { return at_.bytes() + rows_.bytes(); }
    std::size_t mapped_bytes() const noexcept { return rows_.mapped_bytes(); }

    // Rows without links, for a node of a level above 0. May throw std::bad_alloc.
    void add(Slot slot, int level);
    void remove(Slot slot, int level) noexcept;

    std::size_t row_slots() const noexcept { return row_slots_; }
    // Of a node that has such a row. The next layer's is behind it.
    const Slot* row(Slot slot, int level) const noexcept {
        return rows_.data() + (at_[slot] + static_cast<std::size_t>(level - 1)) * row_slots_;
    }
    Slot* row(Slot slot, int level) noexcept {
        return const_cast<Slot*>(static_cast<const UpperRows&>(*this).row(slot, level));
    }

    // Takes the rows of nodes of these levels, in the order of slots; false where they aren't as
    // many.
    bool restore(AlignedArray<Slot> rows, const AlignedArray<std::int8_t>& levels);

  private:
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};

    std::size_t row_slots_;
    AlignedArray<std::uint32_t> at_;  // a node's first row
    AlignedArray<Slot> rows_;
    // By level the last that was removed, which holds where the one before it is.
    std::array<std::uint32_t, kMaxLevel + 1> free_;
};

}  // namespace llmspell::index
