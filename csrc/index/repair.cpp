#include "index/repair.hpp"

#include <algorithm>

namespace llmspell::index {
namespace {

bool touches_deleted(const Storage& storage, std::span<const Slot> links) {
    return std::any_of(links.begin(), links.end(), [&](Slot s) { return !storage.is_live(s); });
}

bool holds(std::span<const Slot> slots, Slot wanted) {
    return std::find(slots.begin(), slots.end(), wanted) != slots.end();
}

// Links go both ways where there is room, as a build leaves them.
void link_back(Graph& graph, Slot from, Slot to, int level) {
    const std::span<const Slot> there = graph.links(from, level);
    if (there.size() >= graph.degree_limit(level) || holds(there, to)) return;
    std::vector<Slot> links(there.begin(), there.end()), extras;
    links.push_back(to);
    if (level == 0) {
        for (const Slot extra : graph.extras(from)) {
            if (extra != to) extras.push_back(extra);
        }
    }
    graph.set_links(from, level, links, extras);
}

// Gives a node the links chosen among `candidates`, and what it linked to before and lives, the
// nearest first, as far as there is room: a node loses links to the deleted again and again, and
// would end with few if it chose anew each time.
void exchange_links(Graph& graph, const Params& params, Slot slot, int level,
                    const std::vector<Candidate>& candidates, std::vector<Slot>& selected) {
    const std::span<const Slot> there = graph.links(slot, level);
    const std::vector<Slot> old(there.begin(), there.end());
    const std::size_t chosen = selected.size();
    for (const Candidate& candidate : candidates) {
        if (selected.size() >= graph.degree_limit(level)) break;
        if (holds(old, candidate.slot) && !holds(selected, candidate.slot)) {
            selected.push_back(candidate.slot);
        }
    }
    graph.set_links(slot, level, selected, choose_extras(candidates, selected, params));
    for (const Slot other : std::span(selected).first(chosen)) {
        if (!holds(old, other)) link_back(graph, other, slot, level);
    }
}

// Leaves in context.candidates, the nearest first, what lives of a node's neighbours on a level,
// and of the neighbours of those that don't.
void gather(const Storage& storage, const Graph& graph, Slot slot, int level,
            SearchContext& context) {
    context.visited.reset(graph.slots());
    context.visited.insert(slot);
    std::vector<Slot> reachable;
    const auto offer = [&](Slot other) {
        if (storage.is_live(other) && context.visited.insert(other)) reachable.push_back(other);
    };
    const auto offer_all = [&](std::span<const Slot> neighbours) {
        for (const Slot neighbour : neighbours) {
            if (storage.is_live(neighbour)) {
                offer(neighbour);
            } else {
                for (const Slot second : graph.links(neighbour, level)) offer(second);
            }
        }
    };
    offer_all(graph.links(slot, level));
    if (level == 0) offer_all(graph.extras(slot));
    std::vector<float> keys(reachable.size());
    const Query query = storage.quantiser().query_of_row(storage.row(slot), context.row_query);
    storage.keys(query, reachable.data(), reachable.size(), keys.data());
    std::vector<Candidate>& candidates = context.candidates;
    candidates.clear();
    for (std::size_t i = 0; i < keys.size(); ++i) candidates.push_back({keys[i], reachable[i]});
    std::sort(candidates.begin(), candidates.end(), nearer);
}

void bridge(const Storage& storage, Graph& graph, const Params& params, Slot slot, int level,
            SearchContext& context) {
    gather(storage, graph, slot, level, context);
    std::vector<Slot> selected;
    select_neighbours(storage, context.candidates, graph.degree_limit(level), selected, context);
    exchange_links(graph, params, slot, level, context.candidates, selected);
}

void renew_extras(const Storage& storage, Graph& graph, const Params& params, Slot slot,
                  SearchContext& context) {
    gather(storage, graph, slot, 0, context);
    const std::span<const Slot> there = graph.links(slot, 0);
    const std::vector<Slot> links(there.begin(), there.end());
    graph.set_links(slot, 0, links, choose_extras(context.candidates, links, params));
}

}  // namespace

void choose_entry(const Storage& storage, Graph& graph) {
    Slot best = kNoSlot;
    int top = -1;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (graph.contains(slot) && storage.is_live(slot) && graph.level(slot) > top) {
            best = slot;
            top = graph.level(slot);
        }
    }
    graph.set_entry(best, top);
}

void remove_deleted(Storage& storage, Graph& graph, const Params& params) {
    if (storage.deleted() == 0) return;
    SearchContext context;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (!graph.contains(slot) || !storage.is_live(slot)) continue;
        for (int level = 0; level <= graph.level(slot); ++level) {
            if (touches_deleted(storage, graph.links(slot, level))) {
                bridge(storage, graph, params, slot, level, context);
            }
        }
        if (touches_deleted(storage, graph.extras(slot))) {
            renew_extras(storage, graph, params, slot, context);
        }
    }
    for (Slot slot = 0; slot < storage.slots(); ++slot) {
        if (storage.state(slot) != SlotState::deleted) continue;
        graph.remove_node(slot);
        storage.release(slot);
    }
    choose_entry(storage, graph);
    reconnect(storage, graph, params);
}

}  // namespace llmspell::index
