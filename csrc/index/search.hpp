// Algorithms 2 and 5 of the HNSW paper: a greedy descent through the upper layers, then a beam of
// width ef on one layer.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/heap.hpp"
#include "index/codes.hpp"
#include "index/graph.hpp"
#include "index/pool.hpp"
#include "index/sq4.hpp"
#include "index/storage.hpp"
#include "index/watch.hpp"

namespace llmspell::index {

// A step of a walk computes some 15 distances, to random rows.
inline constexpr std::size_t kDistancesPerStep = 15;

// Whether a sweep over so many finds the k nearest sooner than a walk would. That keeps them in
// order, so that each one that it finds moves half of them.
inline bool sweeps_for(std::size_t k, std::size_t eligible) noexcept {
    constexpr std::size_t kMovedForADistance = 64;
    return k * kDistancesPerStep >= eligible || k * k / kMovedForADistance >= eligible;
}

// Tells the probe of keys that came from `rows`.
template <class Rows, class Probe>
void count_keys(const Rows&, std::size_t count, Probe& probe) {
    if constexpr (std::is_same_v<Rows, Storage>) {
        probe.computed(count);
    } else {
        probe.estimated(count);
    }
}

// Scratch of one search at a time; kept and reused so that a search allocates nothing.
struct SearchContext {
    VisitedSet visited;
    CandidatePool beam;
    CandidatePool accepted;  // the nearest that the caller accepts
    std::vector<Slot> todo;
    std::vector<float> keys;
    std::vector<std::byte> query;
    std::vector<std::byte> row_query;
    std::vector<std::byte> pair_query;
    std::vector<Candidate> candidates;
    Frontier frontier;
    WalkPool walk;
    WalkPool found;  // of these, what a filter lets through
    CodeScratch code;
    Sq4Query sq4;
    std::vector<std::int32_t> products;
    std::vector<float> errors;
    std::vector<float> unit;
    std::vector<std::byte> stored;  // a query that is taken from the index itself
    AlignedArray<std::byte> read;   // rows from a file
    std::size_t visited_rows = 0;   // by walks over codes in the graph's rows
    std::size_t estimated = 0;      // by these, and where what they found was put in order

    std::size_t bytes() const noexcept {
        return visited.bytes() + beam.bytes() + accepted.bytes() + frontier.bytes() + walk.bytes() +
               found.bytes() + code.bytes() + held_bytes(sq4.values) + held_bytes(sq4.floats) +
               held_bytes(todo) + held_bytes(keys) + held_bytes(query) + held_bytes(row_query) +
               held_bytes(pair_query) + held_bytes(candidates) + held_bytes(products) +
               held_bytes(errors) + held_bytes(unit) + held_bytes(stored) + read.bytes();
    }
    void prepare(std::size_t slots, std::uint32_t degree) {
        visited.reset(slots);
        if (todo.size() < degree) todo.resize(degree);
        if (keys.size() < degree) keys.resize(degree);
    }
};

// Copies those of a node's links that are not in `visited`, puts them there, and asks memory for
// their rows.
//
// Here and below `rows` is what keys come from, by a query of its own: a Storage or FourBitRows.
template <class Rows>
std::size_t fresh_links(const Rows& rows, const Graph& graph, Slot node, int level,
                        VisitedSet& visited, Slot* out) {
    const std::size_t count = graph.copy_links(node, level, out);
    std::size_t fresh = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const Slot slot = out[i];
        if (!visited.insert(slot)) continue;
        out[fresh++] = slot;
        if (fresh <= 4) rows.prefetch(slot);  // the batch kernel asks for the later ones itself
    }
    return fresh;
}

// Steps to the nearest neighbour until none is nearer, on each layer from `from` down to `to` + 1.
template <class Rows, class QueryOf, class Probe = Unwatched>
Candidate descend(const Rows& rows, const Graph& graph, const QueryOf& query, Candidate at,
                  int from, int to, SearchContext& context, Probe&& probe = Probe{}) {
    for (int level = from; level > to; --level) {
        for (bool moved = true; moved;) {
            moved = false;
            const std::size_t count = graph.copy_links(at.slot, level, context.todo.data());
            rows.keys(query, context.todo.data(), count, context.keys.data());
            probe.visited();
            count_keys(rows, count, probe);
            probe.poll();
            for (std::size_t i = 0; i < count; ++i) {
                if (context.keys[i] < at.key) {
                    at = {context.keys[i], context.todo[i]};
                    moved = true;
                }
            }
        }
    }
    return at;
}

// The filter of a search without one.
struct AcceptAll {};

// Leaves in context.beam the `ef` nearest nodes that a walk along the links finds (algorithm 2).
//
// With a filter it leaves in context.accepted the `ef` nearest for which accept(slot) holds. The
// walk passes through the others too, and goes on until nothing nearer than those accepted is left
// to look at, however few they are of all: a beam of fixed width would fill up with the rest where
// those lie together. It gives up after `max_steps` nodes, and returns false.
template <class Rows, class QueryOf, class Accept, class Probe = Unwatched>
bool beam_search(const Rows& rows, const Graph& graph, const QueryOf& query, Candidate start,
                 int level, std::size_t ef, std::size_t max_steps, const Accept& accept,
                 SearchContext& context, Probe&& probe = Probe{}) {
    constexpr bool kFiltered = !std::is_same_v<Accept, AcceptAll>;
    CandidatePool& beam = context.beam;
    CandidatePool& accepted = context.accepted;
    beam.reset(kFiltered ? graph.slots() : ef);
    beam.insert(start.key, start.slot);
    context.visited.insert(start.slot);
    if constexpr (kFiltered) {
        accepted.reset(ef);
        if (accept(start.slot)) accepted.insert(start.key, start.slot);
    }
    Slot* todo = context.todo.data();
    float* keys = context.keys.data();
    for (Candidate node = beam.take_nearest(); node.slot != kNoSlot; node = beam.take_nearest()) {
        if constexpr (kFiltered) {
            if (node.key > accepted.bound()) break;
            if (max_steps-- == 0) return false;
        }
        const std::size_t fresh = fresh_links(rows, graph, node.slot, level, context.visited, todo);
        if (level == 0) {
            if (const Slot next = beam.peek_nearest(); next != kNoSlot) graph.prefetch_links(next);
        }
        rows.keys(query, todo, fresh, keys);
        probe.visited();
        count_keys(rows, fresh, probe);
        probe.poll();
        for (std::size_t i = 0; i < fresh; ++i) {
            if constexpr (kFiltered) {
                if (keys[i] > accepted.bound()) continue;
                if (accept(todo[i])) accepted.insert(keys[i], todo[i]);
                beam.insert(keys[i], todo[i]);
            } else {
                if (keys[i] < beam.bound()) beam.insert(keys[i], todo[i]);
            }
        }
    }
    return true;
}

}  // namespace llmspell::index
