// A graph as arrays: with other slots, for a snapshot, and back.
#include <algorithm>
#include <cstring>
#include <utility>

#include "index/graph.hpp"

namespace llmspell::index {

Graph Graph::renumbered(const std::vector<Slot>& moved, std::size_t live) const {
    Graph fresh(m_, max_neighbors_);
    fresh.row_bytes_ = row_bytes_;
    fresh.resize(live);
    fresh.beside_ = beside_;
    fresh.beside_bytes_ = beside_bytes_;
    std::size_t rows = 0;
    for (const std::int8_t level : levels_) rows += std::size_t(std::max<int>(level, 0));
    fresh.reserve_rows(rows);
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        if (moved[slot] == kNoSlot) continue;
        const Slot to = moved[slot];
        const int level = this->level(slot);
        fresh.levels_[to] = static_cast<std::int8_t>(level);
        fresh.counts_[to] = counts_[slot];
        fresh.parents_[to] = moved[parents_[slot]];
        // What lies beside the places tells of the same nodes as before.
        std::memcpy(fresh.bottom_row(to), bottom_row(slot), row_bytes_);
        auto* places = reinterpret_cast<Slot*>(fresh.bottom_row(to));
        for (std::size_t i = 0; i < max_neighbors_ && places[i] != kNoSlot; ++i) {
            places[i] = moved[places[i]];
        }
        if (level > 0) fresh.upper_.add(to, level);
        for (int l = 1; l <= level; ++l) {
            Slot* row = fresh.upper_.row(to, l);
            for (const Slot target : links(slot, l)) row[++row[0]] = moved[target];
        }
    }
    fresh.set_entry(moved[entry()], max_level());
    return fresh;
}

std::vector<Slot> Graph::upper_rows() const {
    std::vector<Slot> rows;
    for (Slot slot = 0; slot < slots(); ++slot) {
        if (level(slot) <= 0) continue;
        const Slot* first = upper_.row(slot, 1);
        rows.insert(rows.end(), first, first + std::size_t(level(slot)) * upper_.row_slots());
    }
    return rows;
}

bool Graph::restore(Arrays arrays, std::size_t row_bytes) {
    const std::size_t count = arrays.levels.size();
    row_bytes_ = row_bytes;
    bottom_ = std::move(arrays.bottom);
    counts_ = std::move(arrays.counts);
    levels_ = std::move(arrays.levels);
    parents_ = std::move(arrays.parents);
    changed_.assign((count + 63) / 64, 0);
    if (!upper_.restore(std::move(arrays.upper), levels_)) return false;
    set_entry(arrays.entry, arrays.max_level);
    const auto [entry, top] = this->top();
    if (entry >= count || top < 0 || level(entry) != top) return false;
    const bool full = std::none_of(levels_.begin(), levels_.end(), [](int l) { return l < 0; });
    for (Slot slot = 0; slot < count; ++slot) {
        const int level = levels_[slot];
        if (level < -1 || level > top || level > kMaxLevel) return false;
        if (level < 0) continue;
        const Slot up = parents_[slot];
        if (counts_[slot] > max_neighbors_) return false;
        if (up != kNoSlot && (up >= count || (!full && !contains(up)))) return false;
        for (int l = 1; l <= level; ++l) {
            if (*upper_.row(slot, l) > m_) return false;
            for (const Slot target : links(slot, l)) {
                if (target >= count || this->level(target) < l || target == slot) return false;
            }
        }
    }
    return true;
}

bool Graph::sound_row(Slot slot, std::size_t count) const noexcept {
    if (!contains(slot)) return true;  // no row leads to it, or that one isn't sound
    const Slot* row = places(slot);
    bool ended = false;
    for (std::size_t i = 0; i < count; ++i) {
        const Slot target = row[i];
        if (target == kNoSlot) {
            ended = true;
            if (i < counts_[slot]) return false;
        } else if (ended || i >= max_neighbors_ || target >= slots() || !contains(target) ||
                   target == slot) {
            return false;
        }
    }
    return true;
}

}  // namespace llmspell::index
