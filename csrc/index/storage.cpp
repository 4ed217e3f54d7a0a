#include "index/storage.hpp"

#include <algorithm>
#include <cstring>

#include "base/heap.hpp"

namespace llmspell::index {
namespace {

// The share of its vectors that an index keeps room for beyond them, where they come and go.
constexpr std::size_t kSlack = 24;

}  // namespace

std::size_t Storage::bytes() const noexcept {
    // A node of the map: next pointer, key and value.
    constexpr std::size_t kMapNode = heap_bytes(24);
    return rows_.bytes() + held_bytes(states_) + held_bytes(labels_) + slot_of_.size() * kMapNode +
           slot_of_.bucket_count() * sizeof(void*);
}

Slot Storage::find(Label label) const noexcept {
    const auto found = slot_of_.find(label);
    return found == slot_of_.end() ? kNoSlot : found->second;
}

void Storage::set_capacity(std::size_t capacity) {
    rows_.resize(capacity * quantiser_.row_bytes());
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
    slot_of_.reserve(grown);
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
    slot_of_.emplace(label, slot);
    enrol(slot, label);
    return slot;
}

void Storage::restore_row(Entry entry, const std::byte* row) noexcept {
    const Slot slot = next_slot();
    std::memcpy(rows_.data() + slot * quantiser_.row_bytes(), row, quantiser_.row_bytes());
    enrol(slot, entry.key());
    entry.mapped() = slot;
    slot_of_.insert(std::move(entry));
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
    }
}

Storage::Entry Storage::mark_deleted(Slot slot) noexcept {
    ++version_;
    states_[slot] = SlotState::deleted;
    ++deleted_;
    ++gone_;
    return slot_of_.extract(labels_[slot]);
}

void Storage::release(Slot slot) noexcept {
    ++version_;
    ++layout_;
    std::memset(rows_.data() + slot * quantiser_.row_bytes(), 0, quantiser_.row_bytes());
    states_[slot] = SlotState::free;
    labels_[slot] = free_;
    free_ = slot;
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
            labels_[next] = labels_[slot];
            slot_of_[labels_[slot]] = next;
        }
        ++next;
    }
    states_.assign(next, SlotState::live);
    states_.shrink_to_fit();
    labels_.resize(next);
    labels_.shrink_to_fit();
    free_ = kNoSlot;
    deleted_ = 0;
    gone_compact_ = gone_;
    slot_of_.rehash(0);
    set_capacity(next);
    return moved;
}

void Storage::restore(std::vector<Label> labels, const std::vector<bool>& live,
                      const std::byte* rows) {
    const std::size_t count = labels.size();
    set_capacity(count);
    std::memcpy(rows_.data(), rows, count * quantiser_.row_bytes());
    labels_ = std::move(labels);
    states_.assign(count, SlotState::free);
    slot_of_.reserve(count);
    for (Slot slot = 0; slot < count; ++slot) {
        if (!live[slot]) {
            std::memset(rows_.data() + slot * quantiser_.row_bytes(), 0, quantiser_.row_bytes());
            labels_[slot] = free_;
            free_ = slot;
            continue;
        }
        states_[slot] = SlotState::live;
        if (!slot_of_.emplace(labels_[slot], slot).second) {
            throw Error(ErrorCode::corrupt_file, "snapshot names one id twice");
        }
    }
}

}  // namespace llmspell::index
