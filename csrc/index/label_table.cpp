#include "index/label_table.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace llmspell::index {
namespace {

// Five in eight are taken at most: a label that isn't there is then told by four looks.
constexpr std::size_t kPlaces = 8, kTaken = 5;

std::size_t places_for(std::size_t count) { return count / kTaken * kPlaces + kPlaces; }

// The finaliser of SplitMix64: labels may be in any pattern.
std::uint64_t mixed(Label label) {
    std::uint64_t x = label + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

}  // namespace

std::size_t LabelTable::home(Label label) const noexcept {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::size_t>(Wide{mixed(label)} * entries_.size() >> 64);
}

Slot LabelTable::find(Label label, const Label* labels) const noexcept {
    if (size_ == 0) return kNoSlot;
    std::size_t at = home(label);
    while (entries_[at] != kNoSlot && labels[entries_[at]] != label) at = next(at);
    return entries_[at];
}

std::size_t LabelTable::place(Slot slot, const Label* labels) const noexcept {
    std::size_t at = home(labels[slot]);
    while (entries_[at] != slot) at = next(at);
    return at;
}

void LabelTable::reserve(std::size_t count, const Label* labels, bool shrink) {
    const std::size_t places = places_for(count);
    if (places == entries_.size() || (places < entries_.size() && !shrink)) return;
    LabelTable fresh;
    fresh.entries_.resize(places, kNoSlot);
    for (const Slot slot : entries_) {
        if (slot != kNoSlot) fresh.insert(slot, labels);
    }
    *this = std::move(fresh);
}

void LabelTable::insert(Slot slot, const Label* labels) noexcept {
    std::size_t at = home(labels[slot]);
    while (entries_[at] != kNoSlot) at = next(at);
    entries_[at] = slot;
    ++size_;
}

// Closes the gap, so that no mark of what was there is needed: entries move back that were put
// beyond it for want of room (algorithm R there).
void LabelTable::erase(Slot slot, const Label* labels) noexcept {
    std::size_t gap = place(slot, labels);
    for (std::size_t at = next(gap); entries_[at] != kNoSlot; at = next(at)) {
        const std::size_t from = home(labels[entries_[at]]);
        const bool stays = gap <= at ? gap < from && from <= at : gap < from || from <= at;
        if (stays) continue;
        entries_[gap] = entries_[at];
        gap = at;
    }
    entries_[gap] = kNoSlot;
    --size_;
}

void LabelTable::move(Slot from, Slot to, const Label* labels) noexcept {
    entries_[place(from, labels)] = to;
}

bool LabelTable::restore(AlignedArray<Slot> entries, const std::uint8_t* live, std::size_t slots,
                         std::size_t count) {
    entries_ = std::move(entries);
    size_ = count;
    if (slots == 0) return count == 0 && entries_.size() == 0;
    if (entries_.size() < places_for(slots)) return false;  // so that there is a gap
    std::vector<bool> seen(slots);
    const bool all_live = count == slots;
    std::size_t found = 0;
    for (const Slot slot : entries_) {
        if (slot == kNoSlot) continue;
        if (slot >= slots || seen[slot] || (!all_live && live[slot] == 0)) return false;
        seen[slot] = true;
        ++found;
    }
    return found == count;
}

// Each stands between its home and the next gap behind that, and no id twice.
bool LabelTable::finds_all(const Label* labels) const noexcept {
    constexpr std::size_t kAhead = 16;
    constexpr std::size_t kMostPassed = 256;  // by each on average; about one is usual
    const std::size_t places = entries_.size();
    if (size_ == 0) return true;
    std::size_t gap = 0, passed = 0;
    while (entries_[gap] != kNoSlot) ++gap;
    std::size_t last_gap = gap, at = gap;
    for (std::size_t i = 1; i <= places; ++i) {
        at = next(at);
        const Slot ahead = entries_[std::min(at + kAhead, places - 1)];
        if (ahead != kNoSlot) __builtin_prefetch(labels + ahead);
        const Slot slot = entries_[at];
        if (slot == kNoSlot) {
            last_gap = gap + i;
            continue;
        }
        const std::size_t from = home(labels[slot]);
        const std::size_t unwrapped = from <= gap ? from + places : from;
        if (unwrapped <= last_gap || unwrapped > gap + i) return false;
        passed += gap + i - unwrapped;
        if (passed > kMostPassed * places) return false;
        for (std::size_t before = from; before != at; before = next(before)) {
            if (labels[entries_[before]] == labels[slot]) return false;
        }
    }
    return true;
}

}  // namespace llmspell::index
