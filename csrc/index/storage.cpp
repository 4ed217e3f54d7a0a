#include "index/storage.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

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
    constexpr std::uint64_t kLowest = 0x0101010101010101, kTogether = 0x0102040810204080;
    const std::size_t count = std::min<std::size_t>(64, slots() - first);
    std::uint64_t word = 0;
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, states_.data() + first + i, 8);
        word |= ((eight & kLowest) * kTogether >> 56) << i;
    }
    for (; i < count; ++i) word |= std::uint64_t{is_live(static_cast<Slot>(first + i))} << i;
    return word;
}

void Storage::keys_of_few(const Query& query, const Slot* slots, std::size_t count,
                          AlignedArray<std::byte>& scratch, float* out) const {
    if (!row_file_) return keys(query, slots, count, out);
    if (guard_ != nullptr) guard_->check(std::span(slots, count));
    const std::size_t row_bytes = quantiser_.row_bytes();
    if (scratch.size() < count * row_bytes) scratch.resize(count * row_bytes);
    for (std::size_t i = 0; i < count; ++i) {
        row_file_->read(slots[i], 1, scratch.data() + i * row_bytes);
    }
    quantiser_.keys(query, scratch.data(), nullptr, count, out);
}

void Storage::set_capacity(std::size_t capacity) {
    const bool smaller = capacity < capacity_;
    rows_.resize(capacity * quantiser_.row_bytes());
    if (smaller) rows_.shrink_to_fit();
    capacity_ = capacity;
}

void Storage::reserve(std::size_t more) {
    const std::size_t free = slots() - live() - hidden();
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

bool Storage::claim(const Label* labels, std::size_t count) {
    const auto is_claimed = [&](Label label) { return claimed_.count(label) > 0; };
    if (std::any_of(labels, labels + count, is_claimed)) return false;
    try {
        claimed_.insert(labels, labels + count);
    } catch (...) {
        disclaim(labels, count);
        throw;
    }
    return true;
}

void Storage::disclaim(const Label* labels, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) claimed_.erase(labels[i]);
}

Slot Storage::stage(Label label, const void* vector) {
    const Slot slot = place(label, vector, SlotState::staged);
    ++staged_;
    if (const Slot old = find(label); old != kNoSlot) {
        states_[old] = SlotState::leaving;
        ++leaving_;
    }
    return slot;
}

Slot Storage::publish(Slot slot) noexcept {
    const Label label = labels_[slot];
    const Slot old = find(label);
    ++version_;
    --staged_;
    claimed_.erase(label);
    states_[slot] = SlotState::live;
    if (old == kNoSlot) {
        table_.insert(slot, labels_.data());
    } else {
        table_.move(old, slot, labels_.data());
        --leaving_;
        bury(old);
    }
    return old;
}

void Storage::unstage(Slot slot) noexcept {
    --staged_;
    claimed_.erase(labels_[slot]);
    if (const Slot old = find(labels_[slot]); old != kNoSlot) {
        states_[old] = SlotState::live;
        --leaving_;
    }
    bury(slot);
}

// The vectors have room for one more, by reserve. Encoding may throw, before anything has changed.
Slot Storage::place(Label label, const void* vector, SlotState state) {
    const Slot slot = free_ != kNoSlot ? free_ : static_cast<Slot>(states_.size());
    quantiser_.encode(vector, rows_.data() + slot * quantiser_.row_bytes());
    if (slot == free_) {
        free_ = static_cast<Slot>(labels_[slot]);
        states_[slot] = state;
        labels_[slot] = label;
    } else {
        states_.push_back(state);
        labels_.push_back(label);
        consecutive_ = consecutive_ && label == labels_[0] + slot;
    }
    return slot;
}

void Storage::bury(Slot slot) noexcept {
    ++version_;
    states_[slot] = SlotState::deleted;
    ++deleted_;
    ++gone_;
}

void Storage::mark_deleted(Slot slot) noexcept {
    if (states_[slot] == SlotState::leaving) --leaving_;
    table_.erase(slot, labels_.data());
    bury(slot);
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

std::vector<Slot> Storage::packed() const {
    std::vector<Slot> moved(states_.size(), kNoSlot);
    Slot next = 0;
    for (Slot slot = 0; slot < states_.size(); ++slot) {
        if (is_live(slot)) moved[slot] = next++;
    }
    return moved;
}

void Storage::compact(const std::vector<Slot>& moved) {
    ++version_;
    ++layout_;
    const std::size_t row_bytes = quantiser_.row_bytes();
    const std::size_t next = live();
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        const Slot to = moved[slot];
        if (to == kNoSlot || to == slot) continue;
        std::memcpy(rows_.data() + to * row_bytes, row(slot), row_bytes);
        table_.move(slot, to, labels_.data());
        labels_[to] = labels_[slot];
    }
    states_.resize(next);
    std::fill(states_.begin(), states_.end(), SlotState::live);
    labels_.resize(next);
    free_ = kNoSlot;
    consecutive_ = true;
    for (Slot slot = 0; slot < next; ++slot) {
        consecutive_ = consecutive_ && labels_[slot] == labels_[0] + slot;
    }
    deleted_ = 0;
    gone_compact_ = gone_;
    states_.shrink_to_fit();
    labels_.shrink_to_fit();
    table_.reserve(next, labels_.data(), true);
    set_capacity(next);
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
           table_.restore(std::move(arrays.table),
                          reinterpret_cast<const std::uint8_t*>(states_.data()), states_.size(),
                          count);
}

}  // namespace llmspell::index
