#include "index/audit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "index/build.hpp"
#include "index/flat.hpp"
#include "index/repair.hpp"

namespace llmspell::index {
namespace {

bool on_layer(const Graph& graph, Slot slot, int level) {
    return slot < graph.slots() && graph.level(slot) >= level;
}

// Marks in `seen` all that a walk from `start` on a layer comes to; how many are new.
std::size_t reach(const Graph& graph, Slot start, int level, std::vector<bool>& seen) {
    std::vector<Slot> stack{start};
    std::size_t count = 0;
    if (!seen[start]) {
        seen[start] = true;
        ++count;
    }
    while (!stack.empty()) {
        const Slot slot = stack.back();
        stack.pop_back();
        for (const Slot next : graph.links(slot, level)) {
            if (!on_layer(graph, next, level) || seen[next]) continue;
            seen[next] = true;
            ++count;
            stack.push_back(next);
        }
    }
    return count;
}

void check_links(const Graph& graph, Slot slot, GraphFaults& faults) {
    std::vector<Slot> sorted;
    for (int level = 0; level <= graph.level(slot); ++level) {
        const std::span<const Slot> links = graph.links(slot, level);
        sorted.assign(links.begin(), links.end());
        if (level == 0) {
            const std::span<const Slot> extras = graph.extras(slot);
            sorted.insert(sorted.end(), extras.begin(), extras.end());
        }
        std::sort(sorted.begin(), sorted.end());
        for (std::size_t i = 0; i < sorted.size(); ++i) {
            if (!on_layer(graph, sorted[i], level)) {
                ++faults.bad_links;
            } else if (sorted[i] == slot || (i > 0 && sorted[i] == sorted[i - 1])) {
                ++faults.repeated_links;
            }
        }
    }
}

// Calls each(level, seen) for every layer from the top, where `seen` is what walks from above, and
// on from there, come to.
template <class Each>
void for_each_upper_layer(const Graph& graph, const Each& each) {
    std::vector<bool> seen(graph.slots());
    for (int level = graph.max_level(); level > 0; --level) {
        seen[graph.entry()] = true;
        for (Slot slot = 0; slot < graph.slots(); ++slot) {
            if (seen[slot]) reach(graph, slot, level, seen);
        }
        each(level, seen);
    }
}

bool entry_is_bad(const Graph& graph) {
    int top = -1;
    for (Slot slot = 0; slot < graph.slots(); ++slot) top = std::max(top, graph.level(slot));
    if (top < 0) return !graph.empty();
    return !on_layer(graph, graph.entry(), top) || graph.max_level() != top;
}

// The links of a list that lead somewhere, each once.
std::vector<Slot> sound_links(const Graph& graph, Slot slot, int level, std::span<const Slot> links,
                              std::span<const Slot> others) {
    std::vector<Slot> kept;
    for (const Slot link : links) {
        if (on_layer(graph, link, level) && link != slot &&
            std::find(kept.begin(), kept.end(), link) == kept.end() &&
            std::find(others.begin(), others.end(), link) == others.end()) {
            kept.push_back(link);
        }
    }
    return kept;
}

std::size_t drop_links(Graph& graph) {
    std::size_t dropped = 0;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        for (int level = 0; level <= graph.level(slot); ++level) {
            const std::vector<Slot> links =
                sound_links(graph, slot, level, graph.links(slot, level), {});
            std::vector<Slot> extras;
            std::size_t before = graph.links(slot, level).size();
            if (level == 0) {
                before += graph.extras(slot).size();
                extras = sound_links(graph, slot, 0, graph.extras(slot), links);
            }
            if (links.size() + extras.size() == before) continue;
            dropped += before - links.size() - extras.size();
            graph.set_links(slot, level, links, extras);
        }
    }
    return dropped;
}

// Links from the nearest node with room on this layer that can be reached; false where none has.
bool link_on_layer(const Storage& storage, Graph& graph, const Params& params, Slot slot, int level,
                   SearchContext& context) {
    context.prepare(graph.slots(), params.max_neighbors);
    const Query query = storage.quantiser().query_of_row(storage.row(slot), context.query);
    Candidate start{0.0f, graph.entry()};
    storage.keys(query, &start.slot, 1, &start.key);
    start = descend(storage, graph, query, start, graph.max_level(), level, context);
    context.visited.reset(graph.slots());
    beam_search(storage, graph, query, start, level, params.ef_construction, 0, AcceptAll{},
                context);
    for (std::size_t i = 0; i < context.beam.size(); ++i) {
        const Slot near = context.beam[i].slot;
        const std::span<const Slot> there = graph.links(near, level);
        if (near == slot || there.size() >= graph.degree_limit(level)) continue;
        std::vector<Slot> links(there.begin(), there.end());
        links.push_back(slot);
        graph.set_links(near, level, links);
        return true;
    }
    return false;
}

std::size_t link_upper(const Storage& storage, Graph& graph, const Params& params) {
    std::size_t linked = 0;
    SearchContext context;
    for_each_upper_layer(graph, [&](int level, std::vector<bool>& seen) {
        for (Slot slot = 0; slot < graph.slots(); ++slot) {
            if (!on_layer(graph, slot, level) || seen[slot]) continue;
            if (!link_on_layer(storage, graph, params, slot, level, context)) continue;
            reach(graph, slot, level, seen);
            ++linked;
        }
    });
    return linked;
}

// Two sums of the same products may differ by rounding.
float widened(float key) { return key + 1e-6f * (1.0f + std::fabs(key)); }

const std::byte* stored_vector(const Storage& storage, Slot slot, SearchContext& context) {
    context.stored.resize(storage.quantiser().vector_bytes());
    storage.quantiser().decode(storage.row(slot), context.stored.data());
    return context.stored.data();
}

}  // namespace

std::size_t count_unrooted(const Graph& graph) {
    enum State : std::uint8_t { unknown, open, rooted, lost };
    std::vector<State> states(graph.slots(), unknown);
    std::vector<Slot> path;
    std::size_t count = 0;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (!graph.contains(slot)) continue;
        path.clear();
        State outcome = lost;
        for (Slot at = slot;;) {
            if (states[at] != unknown) {  // open: the parents go round in a circle
                outcome = states[at] == rooted ? rooted : lost;
                break;
            }
            states[at] = open;
            path.push_back(at);
            const Slot parent = graph.parent(at);
            if (parent == at || !on_layer(graph, parent, 0)) {
                outcome = parent == at && at == graph.entry() ? rooted : lost;
                break;
            }
            const std::span<const Slot> links = graph.links(parent, 0);
            if (std::find(links.begin(), links.end(), at) == links.end()) break;
            at = parent;
        }
        for (const Slot at : path) states[at] = outcome;
        count += outcome == lost ? path.size() : 0;
    }
    return count;
}

GraphFaults check_graph(const Storage& storage, const Graph& graph) {
    GraphFaults faults;
    std::size_t nodes = 0;
    for (Slot slot = 0; slot < std::max(storage.slots(), graph.slots()); ++slot) {
        const bool stored = slot < storage.slots() && storage.state(slot) != SlotState::free;
        const bool node = on_layer(graph, slot, 0);
        faults.missing += !node && stored && storage.is_live(slot) ? 1 : 0;
        faults.stale += node && !stored ? 1 : 0;
        nodes += node ? 1 : 0;
        if (node) check_links(graph, slot, faults);
    }
    faults.bad_entry = entry_is_bad(graph);
    if (faults.bad_entry || nodes == 0) return faults;  // the rest is said from the entry
    std::vector<bool> seen(graph.slots());
    faults.unreachable = nodes - reach(graph, graph.entry(), 0, seen);
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (graph.contains(slot) && reach(graph, slot, 0, seen) > 0) ++faults.islands;
    }
    faults.unrooted = count_unrooted(graph);
    for_each_upper_layer(graph, [&](int level, const std::vector<bool>& reached) {
        for (Slot slot = 0; slot < graph.slots(); ++slot) {
            if (on_layer(graph, slot, level) && !reached[slot]) ++faults.upper_unreachable;
        }
    });
    return faults;
}

Mended mend_graph(const Storage& storage, Graph& graph, const Params& params) {
    Mended mended;
    const GraphFaults faults = check_graph(storage, graph);
    if (faults.sound() && faults.upper_unreachable == 0) return mended;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (graph.contains(slot) && storage.state(slot) == SlotState::free) {
            graph.remove_node(slot);
            ++mended.dropped_nodes;
        }
    }
    mended.dropped_links = drop_links(graph);
    if (entry_is_bad(graph)) choose_entry(storage, graph);
    if (graph.empty()) return mended;
    const GraphFaults left = check_graph(storage, graph);
    if (!left.sound()) reconnect(storage, graph, params);
    mended.linked_nodes = left.unreachable + link_upper(storage, graph, params);
    return mended;
}

bool finds_itself(const Searcher& searcher, Slot slot, SearchContext& context, Slot* end) {
    const Storage& storage = searcher.storage();
    const std::byte* vector = stored_vector(storage, slot, context);
    Unwatched probe;
    const Candidate nearest = searcher.nearest(vector, 1, 0, nullptr, context, probe)[0];
    if (end != nullptr) *end = nearest.slot;
    if (nearest.slot == slot) return true;
    float own = 0.0f;
    storage.keys(storage.quantiser().query(vector, context.row_query), &slot, 1, &own);
    return nearest.key <= widened(own);
}

bool guide(const Storage& storage, Graph& graph, Slot end, Slot slot) {
    const std::span<const Slot> there = graph.links(end, 0);
    if (std::find(there.begin(), there.end(), slot) != there.end()) return false;
    std::vector<Slot> links(there.begin(), there.end());
    const std::vector<Slot> extras = graph.extras_but(end, slot);
    if (links.size() < graph.degree_limit(0)) {
        links.push_back(slot);
        graph.set_links(end, 0, links, extras);
        return true;
    }
    std::vector<std::byte> scratch;
    std::vector<float> keys(links.size());
    storage.keys(storage.quantiser().query_of_row(storage.row(end), scratch), links.data(),
                 links.size(), keys.data());
    std::size_t farthest = links.size();
    for (std::size_t i = 0; i < links.size(); ++i) {
        if (graph.is_child(links[i], end)) continue;
        if (farthest == links.size() || keys[i] > keys[farthest]) farthest = i;
    }
    if (farthest == links.size()) return false;
    links[farthest] = slot;
    graph.set_links(end, 0, links, extras);
    return true;
}

double recall_of(const Searcher& searcher, Slot slot, std::size_t k, SearchContext& context) {
    const Storage& storage = searcher.storage();
    const std::size_t wanted = std::min(k, storage.live() - 1);
    if (wanted == 0) return 1.0;
    const std::byte* vector = stored_vector(storage, slot, context);
    Unwatched probe;
    const Query query = storage.quantiser().query(vector, context.query);
    sweep(storage, query, wanted + 1, context.accepted, probe);
    float bound = -std::numeric_limits<float>::infinity();
    for (std::size_t i = 0, seen = 0; i < context.accepted.size() && seen < wanted; ++i) {
        if (context.accepted[i].slot == slot) continue;
        bound = context.accepted[i].key;
        ++seen;
    }
    const CandidatePool& found = searcher.nearest(vector, wanted + 1, 0, nullptr, context, probe);
    std::size_t hits = 0;
    for (std::size_t i = 0; i < std::min(found.size(), wanted + 1); ++i) {
        if (found[i].slot != slot && found[i].key <= widened(bound)) ++hits;
    }
    return static_cast<double>(std::min(hits, wanted)) / static_cast<double>(wanted);
}

}  // namespace llmspell::index
