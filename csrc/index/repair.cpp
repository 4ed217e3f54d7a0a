#include "index/repair.hpp"

#include <algorithm>

#include "index/select.hpp"

namespace llmspell::index {

Slot find_entry(const Storage& storage, const Graph& graph) {
    Slot best = kNoSlot;
    int top = -1;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (!graph.contains(slot) || graph.level(slot) <= top) continue;
        const bool is_linked = storage.is_live(slot) ||
                               (storage.state(slot) == SlotState::staged && graph.rooted(slot));
        if (!is_linked) continue;
        best = slot;
        top = graph.level(slot);
    }
    return best;
}

void choose_entry(const Storage& storage, Graph& graph) {
    const Slot entry = find_entry(storage, graph);
    graph.set_entry(entry, entry == kNoSlot ? -1 : graph.level(entry));
}

Repair::Repair(const Storage& storage, Graph& graph, const Params& params) {
    graph.take_changed();
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (!graph.contains(slot)) continue;
        (storage.state(slot) == SlotState::deleted ? doomed_ : left_).push_back(slot);
    }
    std::reverse(left_.begin(), left_.end());
    if (is_doomed(storage, graph.entry())) choose_entry(storage, graph);
    reconnect(storage, graph, params, doomed_);
}

bool Repair::step(const Storage& storage, Graph& graph, const Params& params) {
    constexpr std::size_t kLooked = 2048, kMended = 32;  // each about half a millisecond
    std::size_t mended = 0;
    for (std::size_t looked = 0; looked < kLooked && mended < kMended; ++looked) {
        if (left_.empty()) {
            // Those that were mended, and those that others linked meanwhile.
            left_ = graph.take_changed();
            if (left_.empty()) return true;
        }
        const Slot slot = left_.back();
        left_.pop_back();
        if (mend(storage, graph, params, slot)) ++mended;
    }
    return false;
}

bool Repair::is_doomed(const Storage& storage, Slot slot) const {
    return storage.state(slot) == SlotState::deleted &&
           std::binary_search(doomed_.begin(), doomed_.end(), slot);
}

bool Repair::touches_doomed(const Storage& storage, std::span<const Slot> links) const {
    return std::any_of(links.begin(), links.end(), [&](Slot s) { return is_doomed(storage, s); });
}

// False where the node links to none of the doomed.
bool Repair::mend(const Storage& storage, Graph& graph, const Params& params, Slot slot) {
    if (!graph.contains(slot) || is_doomed(storage, slot)) return false;
    bool touched = false;
    for (int level = 0; level <= graph.level(slot); ++level) {
        if (touches_doomed(storage, graph.links(slot, level))) {
            bridge(storage, graph, params, slot, level);
            touched = true;
        }
    }
    if (touches_doomed(storage, graph.extras(slot))) {
        renew_extras(storage, graph, params, slot);
        touched = true;
    }
    return touched;
}

void Repair::bridge(const Storage& storage, Graph& graph, const Params& params, Slot slot,
                    int level) {
    gather(storage, graph, slot, level);
    exchange_links(storage, graph, params, slot, level, context_);
}

void Repair::renew_extras(const Storage& storage, Graph& graph, const Params& params, Slot slot) {
    gather(storage, graph, slot, 0);
    const std::span<const Slot> there = graph.links(slot, 0);
    const std::vector<Slot> links(there.begin(), there.end());
    graph.set_links(slot, 0, links, choose_extras(context_.candidates, links, params));
}

// Leaves in context_.candidates, the nearest first, what stays of a node's neighbours on a level,
// and of the neighbours of those that go.
void Repair::gather(const Storage& storage, const Graph& graph, Slot slot, int level) {
    context_.visited.reset(graph.slots());
    context_.visited.insert(slot);
    std::vector<Slot> reachable;
    const auto offer = [&](Slot other) {
        if (storage.state(other) == SlotState::deleted) return;
        if (context_.visited.insert(other)) reachable.push_back(other);
    };
    const auto offer_all = [&](std::span<const Slot> neighbours) {
        for (const Slot neighbour : neighbours) {
            if (storage.state(neighbour) != SlotState::deleted) {
                offer(neighbour);
            } else {
                for (const Slot second : graph.links(neighbour, level)) offer(second);
            }
        }
    };
    offer_all(graph.links(slot, level));
    if (level == 0) offer_all(graph.extras(slot));
    std::vector<float> keys(reachable.size());
    const Query query = storage.quantiser().query_of_row(storage.row(slot), context_.row_query);
    storage.keys(query, reachable.data(), reachable.size(), keys.data());
    std::vector<Candidate>& candidates = context_.candidates;
    candidates.clear();
    for (std::size_t i = 0; i < keys.size(); ++i) candidates.push_back({keys[i], reachable[i]});
    std::sort(candidates.begin(), candidates.end(), nearer);
}

}  // namespace llmspell::index
