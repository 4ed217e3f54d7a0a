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
    }
    parents_.resize(slots, kNoSlot);
    levels_.resize(slots, -1);
    upper_.resize(slots);
}

void Graph::clear() noexcept { *this = Graph(m_, max_neighbors_); }

std::size_t Graph::bytes() const noexcept {
    std::size_t total = bottom_.bytes() + parents_.capacity() * sizeof(Slot) + levels_.capacity() +
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
    set_parent(slot, kNoSlot);
}

void Graph::remove_node(Slot slot) noexcept {
    upper_[slot].reset();
    levels_[slot] = -1;
    set_parent(slot, kNoSlot);
}

void Graph::set_links(Slot slot, int level, std::span<const Slot> links) noexcept {
    Slot* row = row_of(slot, level);
    row[0] = static_cast<Slot>(links.size());
    std::copy(links.begin(), links.end(), row + 1);
}

bool Graph::adopt(Slot slot, Slot child) noexcept {
    if (!rooted(slot)) return false;
    const std::span<const Slot> there = links(slot, 0);
    const auto children =
        std::count_if(there.begin(), there.end(), [&](Slot s) { return is_child(s, slot); });
    if (children >= max_neighbors_ / 2) return false;
    set_parent(child, slot);
    return true;
}

void Graph::keep_children(Slot slot, std::span<const Slot> offered,
                          std::vector<Slot>& links) const {
    for (const Slot child : offered) {
        if (!is_child(child, slot) || std::find(links.begin(), links.end(), child) != links.end()) {
            continue;
        }
        if (links.size() < max_neighbors_) {
            links.push_back(child);
            continue;
        }
        const auto other =
            std::find_if(links.rbegin(), links.rend(), [&](Slot s) { return !is_child(s, slot); });
        if (other != links.rend()) *other = child;
    }
}

void Graph::plant_tree(Slot root) noexcept {
    std::fill(parents_.begin(), parents_.end(), kNoSlot);
    set_parent(root, root);
}

void Graph::grow_tree(Slot slot) {
    // Depth first, so that a node has few children: a child is a link that it can't exchange.
    struct Step {
        Slot slot;
        std::uint32_t next;
    };
    std::vector<Step> path{{slot, 0}};
    while (!path.empty()) {
        Step& step = path.back();
        const std::span<const Slot> there = links(step.slot, 0);
        while (step.next < there.size() && rooted(there[step.next])) ++step.next;
        if (step.next == there.size()) {
            path.pop_back();
            continue;
        }
        const Slot child = there[step.next++];
        set_parent(child, step.slot);
        path.push_back({child, 0});
    }
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
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        if (moved[slot] != kNoSlot) fresh.parents_[moved[slot]] = moved[parents_[slot]];
    }
    fresh.set_entry(moved[entry_], max_level_);
    *this = std::move(fresh);
}

}  // namespace llmspell::index
