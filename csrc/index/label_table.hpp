// From labels to slots: open addressing with linear probing (Knuth, TAOCP 6.4), of slots alone, for
// each slot's label stands in an array that the caller has anyway. Where it can, an array of four
// bytes is mapped from a file, and no node is allocated.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/aligned.hpp"
#include "index/params.hpp"

namespace llmspell::index {

class LabelTable {
  public:
    std::size_t size() const noexcept { return size_; }
    const AlignedArray<Slot>& entries() const noexcept { return entries_; }

    // `labels` has the label of each slot, in all of these.
    Slot find(Label label, const Label* labels) const noexcept;
    // Room for as many in all, and the memory of no more where `shrink`. Throws std::bad_alloc and
    // then changes nothing.
    void reserve(std::size_t count, const Label* labels, bool shrink = false);
    // Into reserved room. A label stands once.
    void insert(Slot slot, const Label* labels) noexcept;
    void erase(Slot slot, const Label* labels) noexcept;
    // Gives the label of `from`, which is there, to `to`.
    void move(Slot from, Slot to, const Label* labels) noexcept;

    // Takes the entries of a snapshot; false where they aren't those of the slots for which
    // `live[slot]` is set, of which there are `count`, each once.
    bool restore(AlignedArray<Slot> entries, const std::uint8_t* live, std::size_t slots,
                 std::size_t count);
    // Whether each of them is to be found, which takes longer: labels lie anywhere in memory.
    bool finds_all(const Label* labels) const noexcept;

  private:
    std::size_t home(Label label) const noexcept;
    std::size_t next(std::size_t at) const noexcept {
        return at + 1 == entries_.size() ? 0 : at + 1;
    }
    std::size_t place(Slot slot, const Label* labels) const noexcept;

    AlignedArray<Slot> entries_;  // kNoSlot where there is none
    std::size_t size_ = 0;
};

}  // namespace llmspell::index
