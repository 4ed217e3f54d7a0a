#include "index/select.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace llmspell::index {
namespace {

// Rows have at least 16 bytes, and the first eight tell nearly all of them apart.
bool same_row(const Storage& storage, Slot a, Slot b) {
    const std::byte* x = storage.row(a);
    const std::byte* y = storage.row(b);
    return std::memcmp(x, y, 8) == 0 && std::memcmp(x, y, storage.quantiser().row_bytes()) == 0;
}

// How much nearer than to the node a candidate must be to one that was selected before it is left
// out: its key to that one, `shift` added, by `factor`.
struct Wider {
    float factor = 1.0f;
    float shift = 0.0f;

    // 1.22 times nearer, as Vamana has it (Subramanya et al. 2019); under ip, keys are no
    // distances.
    static Wider under(Metric metric) noexcept {
        switch (metric) {
            case Metric::l2:
                return {1.5f, 0.0f};
            case Metric::cosine:
                return {1.5f, 1.0f};
            case Metric::l1:
            case Metric::hamming:
                return {1.22f, 0.0f};
            default:
                return {};
        }
    }
};

// Adds candidates, nearest first, that aren't nearer to one that was selected than to the node, as
// long as there are fewer than `limit`.
void add_diverse(const Storage& storage, const std::vector<Candidate>& candidates,
                 std::size_t limit, Wider wider, std::vector<Slot>& selected,
                 SearchContext& context) {
    constexpr std::size_t kAtOnce = 4;
    float keys[kAtOnce];
    for (const Candidate& candidate : candidates) {
        if (selected.size() >= limit) break;
        const Query query =
            storage.quantiser().query_of_row(storage.row(candidate.slot), context.pair_query);
        const float own = candidate.key + wider.shift;
        bool kept = true;
        for (std::size_t i = 0; i < selected.size() && kept; i += kAtOnce) {
            const std::size_t count = std::min(kAtOnce, selected.size() - i);
            storage.keys(query, selected.data() + i, count, keys);
            for (std::size_t j = 0; j < count; ++j) {
                kept = kept && !((keys[j] + wider.shift) * wider.factor < own) &&
                       !same_row(storage, candidate.slot, selected[i + j]);
            }
        }
        if (kept) selected.push_back(candidate.slot);
    }
}

bool holds(std::span<const Slot> slots, Slot wanted) {
    return std::find(slots.begin(), slots.end(), wanted) != slots.end();
}

// Links go both ways where there is room, as a build leaves them.
void link_back(Graph& graph, Slot from, Slot to, int level, NodeLocks* locks) {
    const NodeLock lock(locks, from);
    const std::span<const Slot> there = graph.links(from, level);
    if (there.size() >= graph.degree_limit(level) || holds(there, to)) return;
    std::vector<Slot> links(there.begin(), there.end());
    links.push_back(to);
    graph.set_links(from, level, links,
                    level == 0 ? graph.extras_but(from, to) : std::vector<Slot>{});
}

}  // namespace

void select_neighbours(const Storage& storage, std::vector<Candidate>& candidates,
                       std::size_t limit, std::vector<Slot>& selected, SearchContext& context) {
    selected.clear();
    add_diverse(storage, candidates, limit, {}, selected, context);
    // Where vectors lie in few directions, few are left that aren't behind others. A graph of so
    // few links is slow to walk, and parts of it are hard to reach.
    if (const Wider wider = Wider::under(storage.quantiser().metric()); wider.factor > 1.0f) {
        add_diverse(storage, candidates, limit / 2, wider, selected, context);
    }
}

std::vector<Slot> choose_extras(const std::vector<Candidate>& candidates,
                                std::span<const Slot> links, const Params& params) {
    std::vector<Slot> extras;
    if (params.quantization != Quantization::pq) return extras;
    for (const Candidate& candidate : candidates) {
        if (links.size() + extras.size() >= params.max_neighbors) break;
        if (!holds(links, candidate.slot)) extras.push_back(candidate.slot);
    }
    return extras;
}

void exchange_links(const Storage& storage, Graph& graph, const Params& params, Slot slot,
                    int level, SearchContext& context, NodeLocks* locks) {
    std::vector<Slot> selected, fresh;
    select_neighbours(storage, context.candidates, graph.degree_limit(level), selected, context);
    {
        const NodeLock lock(locks, slot);
        const std::span<const Slot> there = graph.links(slot, level);
        const std::vector<Slot> old(there.begin(), there.end());
        std::copy_if(selected.begin(), selected.end(), std::back_inserter(fresh),
                     [&](Slot other) { return !holds(old, other); });
        for (const Candidate& candidate : context.candidates) {
            if (selected.size() >= graph.degree_limit(level)) break;
            if (holds(old, candidate.slot) && !holds(selected, candidate.slot)) {
                selected.push_back(candidate.slot);
            }
        }
        // What has linked here since its links were looked at.
        for (const Slot other : locks == nullptr ? std::span<const Slot>{} : std::span(old)) {
            if (selected.size() >= graph.degree_limit(level)) break;
            const bool offered = std::any_of(context.candidates.begin(), context.candidates.end(),
                                             [&](const Candidate& c) { return c.slot == other; });
            if (!offered) selected.push_back(other);
        }
        if (level == 0) graph.keep_children(slot, old, selected);
        graph.set_links(slot, level, selected, choose_extras(context.candidates, selected, params));
    }
    for (const Slot other : fresh) link_back(graph, other, slot, level, locks);
}

}  // namespace llmspell::index
