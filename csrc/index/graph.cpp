#include "index/graph.hpp"

#include <algorithm>
#include <utility>

namespace llmspell::index {

void Graph::resize(std::size_t slots) {
    // Grown by half as much again, as Storage is; levels_ holds the number of slots in use.
    const std::size_t rows = bottom_.size() / (max_neighbors_ + 1);
    if (slots > rows) {
        const std::size_t grown = std::max(slots, rows + rows / 2);
        bottom_.resize(grown * (max_neighbors_ + 1));
        in_degree_.resize(grown);
    }
    levels_.resize(slots, -1);
    upper_.resize(slots);
}

void Graph::clear() { *this = Graph(m_, max_neighbors_); }

std::size_t Graph::bytes() const noexcept {
    std::size_t total = bottom_.bytes() + in_degree_.bytes() + levels_.capacity() +
                        upper_.capacity() * sizeof(upper_[0]);
    for (const std::int8_t level : levels_) {
        if (level > 0) total += static_cast<std::size_t>(level) * (m_ + 1) * sizeof(Slot);
    }
    return total;
}

void Graph::add_node(Slot slot, int level) {
    if (level > 0) upper_[slot] = std::make_unique<Slot[]>(std::size_t(level) * (m_ + 1));
    levels_[slot] = static_cast<std::int8_t>(level);
    row_of(slot, 0)[0] = 0;
}

void Graph::remove_node(Slot slot) {
    for (const Slot target : links(slot, 0)) count_link(target, -1);
    row_of(slot, 0)[0] = 0;
    upper_[slot].reset();
    levels_[slot] = -1;
}

std::uint32_t Graph::in_degree(Slot slot) const noexcept {
    return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(in_degree_[slot]))
        .load(std::memory_order_relaxed);
}

std::uint32_t Graph::count_link(Slot slot, std::int32_t change) noexcept {
    return std::atomic_ref<std::uint32_t>(in_degree_[slot])
               .fetch_add(static_cast<std::uint32_t>(change), std::memory_order_relaxed) +
           static_cast<std::uint32_t>(change);
}

void Graph::set_links(Slot slot, int level, std::span<const Slot> links) {
    Slot* row = row_of(slot, level);
    if (level == 0) {
        for (const Slot target : links) count_link(target, 1);
        for (const Slot target : std::span<const Slot>(row + 1, row[0])) count_link(target, -1);
    }
    row[0] = static_cast<Slot>(links.size());
    std::copy(links.begin(), links.end(), row + 1);
}

void Graph::set_links_keeping(Slot slot, int level, std::vector<Slot>& links) {
    if (level == 0) {
        for (const Slot target : this->links(slot, 0)) {
            // Only a target about to be dropped counts: the others are in `links` already.
            if (in_degree(target) > 1 ||
                std::find(links.begin(), links.end(), target) != links.end()) {
                continue;
            }
            const auto spare = std::find_if(links.rbegin(), links.rend(),
                                            [this](Slot other) { return in_degree(other) > 1; });
            if (links.size() < max_neighbors_) {
                links.push_back(target);
            } else if (spare != links.rend()) {
                *spare = target;
            }
        }
    }
    set_links(slot, level, links);
}

void Graph::renumber(const std::vector<Slot>& moved, std::size_t live) {
    Graph fresh(m_, max_neighbors_);
    fresh.resize(live);
    std::vector<Slot> links_there;
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        if (moved[slot] != kNoSlot) fresh.add_node(moved[slot], level(slot));
    }
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        if (moved[slot] == kNoSlot) continue;
        for (int l = 0; l <= level(slot); ++l) {
            links_there.clear();
            for (const Slot target : links(slot, l)) links_there.push_back(moved[target]);
            fresh.set_links(moved[slot], l, links_there);
        }
    }
    fresh.set_entry(moved[entry_], max_level_);
    *this = std::move(fresh);
}

}  // namespace llmspell::index
