// The vectors of an index: rows in slots, and the map between slots and the caller's labels.
// Not thread-safe; Index guards it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "base/aligned.hpp"
#include "index/block_guard.hpp"
#include "index/label_table.hpp"
#include "index/quantiser.hpp"
#include "index/row_file.hpp"

namespace llmspell::index {

// What a slot holds. Live and free are what a snapshot has, as they are. Leaving: to be found until
// what replaces it is. Deleted: still linked in the graph. Staged: linked or about to be, and not
// yet to be found. Odd is what searches may return.
enum class SlotState : std::uint8_t { free = 0, live = 1, deleted = 2, leaving = 3, staged = 4 };

class Storage {
  public:
    explicit Storage(Quantiser quantiser) : quantiser_(quantiser) {}

    const Quantiser& quantiser() const noexcept { return quantiser_; }
    std::size_t slots() const noexcept { return states_.size(); }
    std::size_t live() const noexcept { return table_.size(); }
    std::size_t deleted() const noexcept { return deleted_; }
    std::size_t staged() const noexcept { return staged_; }
    std::size_t claimed() const noexcept { return claimed_.size(); }      // staged, or to be
    std::size_t hidden() const noexcept { return deleted() + staged(); }  // linked, not to be found
    std::size_t going() const noexcept { return deleted_ + leaving_; }    // not to be linked to
    std::size_t capacity() const noexcept { return capacity_; }
    // Numbers that grow: with any change, and with one after which a slot may hold another vector.
    std::uint64_t version() const noexcept { return version_; }
    // As if all had changed: where what was prepared or measured holds no longer.
    void outdate() noexcept { version_ += live() + 1; }
    std::uint64_t layout() const noexcept { return layout_; }
    std::size_t bytes() const noexcept;
    std::size_t row_bytes() const noexcept { return rows_.bytes(); }  // of these, for rows
    std::size_t mapped_bytes() const noexcept;                        // besides, of a file

    const std::byte* rows() const noexcept { return rows_.data(); }
    const std::byte* row(Slot slot) const noexcept {
        return rows_.data() + slot * quantiser_.row_bytes();
    }
    // The same, of a snapshot whose blocks may not have been looked at: may throw
    // Error(corrupt_file).
    const std::byte* checked_row(Slot slot) const {
        if (guard_ != nullptr) guard_->check(slot);
        return row(slot);
    }
    void prefetch(Slot slot) const noexcept {
        constexpr std::size_t kMost = 512;  // bytes: what a CPU waits for at once
        for (std::size_t at = 0; at < std::min(quantiser_.row_bytes(), kMost); at += 64) {
            __builtin_prefetch(row(slot) + at);
        }
    }
    SlotState state(Slot slot) const noexcept { return states_[slot]; }
    bool is_live(Slot slot) const noexcept {
        return states_[slot] == SlotState::live || states_[slot] == SlotState::leaving;
    }
    // Whether links to it make sense.
    bool stays(Slot slot) const noexcept {
        return states_[slot] == SlotState::live || states_[slot] == SlotState::staged;
    }
    Label label(Slot slot) const noexcept { return labels_[slot]; }
    Slot find(Label label) const noexcept;
    // Whether slot i has had no label but label(0) + i, for all i: so where ids are counted up.
    bool consecutive() const noexcept { return consecutive_; }
    // Bit i: is_live(first + i), for 64 slots or as many as there are.
    std::uint64_t live_word(Slot first) const noexcept;

    void keys(const Query& query, const Slot* slots, std::size_t count, float* out) const {
        if (guard_ != nullptr) guard_->check(std::span(slots, count));
        quantiser_.keys(query, rows_.data(), slots, count, out);
    }
    // The same, without a row that is mapped coming to lie in memory where there is a file to read.
    // Then it may throw Error(storage) as well. `scratch` is for what is read.
    void keys_of_few(const Query& query, const Slot* slots, std::size_t count,
                     AlignedArray<std::byte>& scratch, float* out) const;
    void keys_from(const Query& query, Slot first, std::size_t count, float* out) const {
        if (guard_ != nullptr) guard_->check(first, count);
        quantiser_.keys(query, row(first), nullptr, count, out);
    }

    void reserve(std::size_t more);  // room for `more` further inserts
    // Whether compact would give back more than it is worth keeping, and has been paid for: as many
    // vectors have gone since it last did as make its cost theirs.
    bool loose() const noexcept;
    // A batch that comes in at once. It claims its labels, all or (false) none, where another one
    // holds one of them. Each vector is staged, into reserved room; one that is live under its
    // label is marked to leave. Then publish makes the change, or unstage takes it back, slot by
    // slot. Claim and stage may throw, for lack of memory, then without a change.
    bool claim(const Label* labels, std::size_t count);
    void disclaim(const Label* labels, std::size_t count) noexcept;
    Slot stage(Label label, const void* vector);
    Slot publish(Slot slot) noexcept;  // what it replaced, which is deleted now, or kNoSlot
    void unstage(Slot slot) noexcept;
    void mark_deleted(Slot slot) noexcept;  // the label is forgotten, the row stays until release
    void release(Slot slot) noexcept;       // the row is wiped, the slot may be used again
    // For each slot the one that compact moves it to, or kNoSlot where it isn't live.
    std::vector<Slot> packed() const;
    // Moves live rows to the front, as packed() has it, and gives memory back. Where it throws,
    // rows may have moved: forget what refers to slots.
    void compact(const std::vector<Slot>& moved);

    // What a snapshot holds, in order: the arrays as they are.
    struct Arrays {
        AlignedArray<Label> labels;
        AlignedArray<SlotState> states;
        AlignedArray<Slot> table;
        AlignedArray<std::byte> rows;
        Slot first_free = kNoSlot;
    };
    const AlignedArray<Label>& labels() const noexcept { return labels_; }
    const AlignedArray<SlotState>& states() const noexcept { return states_; }
    const AlignedArray<Slot>& table() const noexcept { return table_.entries(); }
    const AlignedArray<std::byte>& row_array() const noexcept { return rows_; }
    Slot first_free() const noexcept { return free_; }
    // Takes them; false where they can't be those of a storage. Rows are the guard's to check, and
    // whether each label leads to its slot is for finds_all: nothing but an answer depends on it.
    bool restore(Arrays arrays);
    bool finds_all() const noexcept { return table_.finds_all(labels_.data()); }
    void guard_by(const BlockGuard* guard) noexcept { guard_ = guard; }
    // keys_of_few reads this file, which holds the same rows, until it is taken away.
    void read_from(std::unique_ptr<const RowFile> file) noexcept { row_file_ = std::move(file); }
    const RowFile* row_file() const noexcept { return row_file_.get(); }

  private:
    Slot place(Label label, const void* vector, SlotState state);
    void bury(Slot slot) noexcept;
    void set_capacity(std::size_t capacity);

    Quantiser quantiser_;
    AlignedArray<std::byte> rows_;
    std::size_t capacity_ = 0;
    AlignedArray<SlotState> states_;
    AlignedArray<Label> labels_;
    Slot free_ = kNoSlot;  // the first free slot; the label of each is the next one
    LabelTable table_;
    const BlockGuard* guard_ = nullptr;  // of rows that were mapped
    std::unique_ptr<const RowFile> row_file_;
    std::unordered_set<Label> claimed_;
    std::size_t staged_ = 0;
    std::size_t deleted_ = 0;
    std::size_t leaving_ = 0;
    std::size_t gone_ = 0;          // vectors, ever
    std::size_t gone_compact_ = 0;  // when rows last moved together
    std::uint64_t version_ = 0;
    std::uint64_t layout_ = 0;
    bool consecutive_ = true;
};

}  // namespace llmspell::index
