#include "index/storage.hpp"

#include <algorithm>
#include <cstring>

namespace llmspell::index {
namespace {

// The share of its vectors that an index keeps room for beyond them, where they come and go.
constexpr std::size_t kSlack = 24;

}  // namespace

std::size_t Storage::bytes() const noexcept {
    return rows_.bytes() + states_.bytes() + labels_.bytes() + table_.entries().bytes();
}

std::size_t Storage::mapped_bytes() const noexcept {
    return rows_.mapped_bytes() + states_.mapped_bytes() + labels_.mapped_bytes() +
           table_.entries().mapped_bytes();
}

Slot Storage::find(Label label) const noexcept { return table_.find(label, labels_.data()); }

std::uint64_t Storage::live_word(Slot first) const noexcept {
    // The lowest bit of a state says whether it is live; a product moves eight of them together.
    static_assert(static_cast<int>(SlotState::free) % 2 == 0 &&
                  static_cast<int>(SlotState::live) == 1 &&
                  static_cast<int>(SlotState::deleted) % 2 == 0);
    constexpr std::uint64_t kLowest = 0x0101010101010101, kTogether = 0x0102040810204080;
    const std::size_t count = std::min<std::size_t>(64, slots() - first);
    std::uint64_t word = 0;
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, states_.data() + first + i, 8);
        word |= ((eight & kLowest) * kTogether >> 56) << i;
    }
    for (; i < count; ++i) word |= std::uint64_t{states_[first + i] == SlotState::live} << i;
    return word;
}

void Storage::set_capacity(std::size_t capacity) {
    const bool smaller = capacity < capacity_;
    rows_.resize(capacity * quantiser_.row_bytes());
    if (smaller) rows_.shrink_to_fit();
    capacity_ = capacity;
}

void Storage::reserve(std::size_t more) {
    const std::size_t free = slots() - live() - deleted_;
    const std::size_t fresh = more > free ? more - free : 0;
    const std::size_t needed = states_.size() + fresh;
    if (needed >= kNoSlot) throw Error(ErrorCode::input, "an index holds at most 2^32 - 2 vectors");
    if (needed <= capacity_) return;
    // Half as much again: growing one by one stays linear. Less once vectors go as well as come:
    // then most take the place of others.
    const bool changing = gone_ > capacity_ / kSlack;
    const std::size_t grown = std::max(needed, capacity_ + capacity_ / (changing ? kSlack : 2));
    states_.reserve(grown);
    labels_.reserve(grown);
    table_.reserve(grown, labels_.data());
    set_capacity(grown);
}

bool Storage::loose() const noexcept {
    constexpr std::size_t kMinSlots = 64;
    const std::size_t slack = live() / kSlack;
    return capacity_ > kMinSlots && capacity_ > live() + slack && gone_ - gone_compact_ > slack;
}

Slot Storage::insert(Label label, const void* vector) {
    const Slot slot = next_slot();
    quantiser_.encode(vector, rows_.data() + slot * quantiser_.row_bytes());
    enrol(slot, label);
    return slot;
}

void Storage::restore_row(Label label, const std::byte* row) noexcept {
    const Slot slot = next_slot();
    std::memcpy(rows_.data() + slot * quantiser_.row_bytes(), row, quantiser_.row_bytes());
    enrol(slot, label);
}

Slot Storage::next_slot() const noexcept {
    return free_ != kNoSlot ? free_ : static_cast<Slot>(states_.size());
}

// The vectors have room for one more, by reserve.
void Storage::enrol(Slot slot, Label label) noexcept {
    ++version_;
    if (slot == free_) {
        free_ = static_cast<Slot>(labels_[slot]);
        states_[slot] = SlotState::live;
        labels_[slot] = label;
    } else {
        states_.push_back(SlotState::live);
        labels_.push_back(label);
        consecutive_ = consecutive_ && label == labels_[0] + slot;
    }
    table_.insert(slot, labels_.data());
}

void Storage::mark_deleted(Slot slot) noexcept {
    ++version_;
    states_[slot] = SlotState::deleted;
    ++deleted_;
    ++gone_;
    table_.erase(slot, labels_.data());
}

void Storage::release(Slot slot) noexcept {
    ++version_;
    ++layout_;
    std::memset(rows_.data() + slot * quantiser_.row_bytes(), 0, quantiser_.row_bytes());
    states_[slot] = SlotState::free;
    labels_[slot] = free_;
    free_ = slot;
    consecutive_ = false;
    --deleted_;
}

std::vector<Slot> Storage::compact() {
    ++version_;
    ++layout_;
    std::vector<Slot> moved(states_.size(), kNoSlot);
    const std::size_t row_bytes = quantiser_.row_bytes();
    Slot next = 0;
    for (Slot slot = 0; slot < states_.size(); ++slot) {
        if (states_[slot] != SlotState::live) continue;
        moved[slot] = next;
        if (next != slot) {
            std::memcpy(rows_.data() + next * row_bytes, row(slot), row_bytes);
            table_.move(slot, next, labels_.data());
            labels_[next] = labels_[slot];
        }
        ++next;
    }
    states_.resize(next);
    std::fill(states_.begin(), states_.end(), SlotState::live);
    states_.shrink_to_fit();
    labels_.resize(next);
    labels_.shrink_to_fit();
    free_ = kNoSlot;
    consecutive_ = true;
    for (Slot slot = 0; slot < next; ++slot) {
        consecutive_ = consecutive_ && labels_[slot] == labels_[0] + slot;
    }
    deleted_ = 0;
    gone_compact_ = gone_;
    table_.reserve(next, labels_.data(), true);
    set_capacity(next);
    return moved;
}

bool Storage::restore(Arrays arrays) {
    labels_ = std::move(arrays.labels);
    states_ = std::move(arrays.states);
    rows_ = std::move(arrays.rows);
    free_ = arrays.first_free;
    capacity_ = states_.size();
    std::size_t count = 0;
    for (std::size_t slot = 0; slot < states_.size(); ++slot) {
        const bool live = states_[slot] == SlotState::live;
        if (!live && states_[slot] != SlotState::free) return false;
        if (live && labels_[slot] > kMaxLabel) return false;
        count += live ? 1 : 0;
        consecutive_ = consecutive_ && live && labels_[slot] == labels_[0] + slot;
    }
    std::size_t free = 0;
    for (Slot slot = free_; slot != kNoSlot; slot = static_cast<Slot>(labels_[slot])) {
        if (slot >= states_.size() || states_[slot] != SlotState::free) return false;
        if (labels_[slot] > kNoSlot || ++free > states_.size() - count) return false;
    }
    static_assert(static_cast<int>(SlotState::free) == 0 && sizeof(SlotState) == 1);
    return free == states_.size() - count &&
           table_.restore(std::move(arrays.table), labels_.data(),
                          reinterpret_cast<const std::uint8_t*>(states_.data()), states_.size(),
                          count);
}

}  // namespace llmspell::index
