// What holds of a graph after any change: links lead to nodes of their layer, none twice and none
// to itself, within the degree; and a walk from the entry on layer 0 comes to every node.
#include "index/graph.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "index/build.hpp"
#include "index/relink.hpp"
#include "index/repair.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kDim = 8;

struct Built {
    explicit Built(const Params& p, Metric metric = Metric::l2)
        : params(p),
          storage(Quantiser(kDim, metric, simd::ElementType::f32)),
          graph(p.m, p.max_neighbors) {}

    void add(std::size_t count, std::uint64_t seed, unsigned threads) {
        const std::vector<float> vectors = make_vectors(count, kDim, seed);
        storage.reserve(count);
        std::vector<Slot> slots;
        for (std::size_t i = 0; i < count; ++i) {
            slots.push_back(put(storage, next_label++, &vectors[i * kDim]));
        }
        link_all(storage, graph, params, slots, threads);
    }

    template <class Doomed>
    void remove(const Doomed& doomed) {
        for (Slot slot = 0; slot < storage.slots(); ++slot) {
            if (storage.is_live(slot) && doomed(slot)) storage.mark_deleted(slot);
        }
    }

    // As Index does; whatever step it is at, a walk comes to all that stays.
    void remove_deleted() {
        if (find_entry(storage, graph) == kNoSlot) {
            graph.clear();
            for (Slot slot = 0; slot < storage.slots(); ++slot) {
                if (storage.state(slot) == SlotState::deleted) storage.release(slot);
            }
            return;
        }
        Repair repair(storage, graph, params);
        check_live_are_reached();
        while (!repair.step(storage, graph, params)) check_live_are_reached();
        for (const Slot slot : repair.doomed()) {
            graph.remove_node(slot);
            storage.release(slot);
        }
    }

    void check_live_are_reached() const {
        const std::vector<bool> seen = walk_from_entry();
        for (Slot slot = 0; slot < graph.slots(); ++slot)
            CHECK(seen[slot] || !storage.is_live(slot));
    }

    void check() const {
        std::size_t nodes = 0;
        int top = -1;
        for (Slot slot = 0; slot < graph.slots(); ++slot) {
            if (!graph.contains(slot)) continue;
            ++nodes;
            top = std::max(top, graph.level(slot));
            for (int level = 0; level <= graph.level(slot); ++level) {
                const std::span<const Slot> links = graph.links(slot, level);
                CHECK(links.size() <= graph.degree_limit(level));
                std::vector<Slot> sorted(links.begin(), links.end());
                std::sort(sorted.begin(), sorted.end());
                CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
                for (const Slot target : links) {
                    CHECK(target != slot && target < graph.slots());
                    CHECK(graph.contains(target) && graph.level(target) >= level);
                }
            }
        }
        CHECK(nodes == storage.live() + storage.deleted());
        CHECK(graph.max_level() == top);
        CHECK(reached() == nodes);
    }

    std::size_t reached() const {
        if (graph.empty()) return 0;
        const std::vector<bool> seen = walk_from_entry();
        return static_cast<std::size_t>(std::count(seen.begin(), seen.end(), true));
    }

    std::vector<bool> walk_from_entry() const {
        std::vector<bool> seen(graph.slots());
        std::vector<Slot> stack{graph.entry()};
        seen[graph.entry()] = true;
        while (!stack.empty()) {
            const Slot slot = stack.back();
            stack.pop_back();
            for (const Slot next : graph.links(slot, 0)) {
                if (!seen[next]) stack.push_back(next);
                seen[next] = true;
            }
        }
        return seen;
    }

    Params params;
    Storage storage;
    Graph graph;
    Label next_label = 0;
};

Params params_of(std::uint32_t m, std::uint32_t max_neighbors) {
    Params params;
    params.m = m;
    params.max_neighbors = max_neighbors;
    params.ef_construction = std::max(24u, m);
    return params;
}

void a_build_reaches_every_node() {
    for (const auto& [m, max_neighbors] : {std::pair{2u, 2u}, {2u, 4u}, {3u, 12u}, {16u, 32u}}) {
        for (const Metric metric : {Metric::l2, Metric::ip, Metric::cosine}) {
            for (const unsigned threads : {1u, 4u}) {
                Built built(params_of(m, max_neighbors), metric);
                built.add(700, m, threads);
                built.check();
            }
        }
    }
}

void single_additions_reach_every_node() {
    Built built(params_of(2, 3));
    for (int i = 0; i < 300; ++i) {
        built.add(1, static_cast<std::uint64_t>(i), 1);
        CHECK(built.reached() == static_cast<std::size_t>(i + 1));
    }
    built.check();
}

void removal_leaves_no_trace_and_reaches_the_rest() {
    Built built(params_of(3, 6));
    built.add(800, 1, 1);
    SplitMix64 random(5);
    for (int round = 0; round < 6; ++round) {
        const std::size_t before = built.storage.live();
        built.remove([&](Slot) { return random() % 3 == 0; });
        CHECK(built.storage.deleted() == before - built.storage.live());
        built.check();
        built.add(150, static_cast<std::uint64_t>(20 + round), round % 2 == 0 ? 1 : 3);
        built.check();
        built.remove_deleted();
        CHECK(built.storage.deleted() == 0);
        built.check();
    }
}

void the_entry_may_go() {
    Built built(params_of(4, 8));
    built.add(300, 1, 1);
    for (int i = 0; i < 40; ++i) {
        const Slot entry = built.graph.entry();
        built.remove([&](Slot slot) { return slot == entry; });
        built.remove_deleted();
        CHECK(built.graph.entry() != entry);
        built.check();
    }
}

void all_may_go_and_others_come() {
    for (const bool repaired : {true, false}) {
        Built built(params_of(4, 8));
        built.add(200, 1, 1);
        built.remove([](Slot) { return true; });
        if (repaired) built.remove_deleted();
        CHECK(built.graph.empty() == repaired);
        built.add(100, 2, 1);
        built.check();
        built.remove_deleted();
        CHECK(built.storage.live() == 100);
        built.check();
    }
}

void renumbering_keeps_the_graph() {
    Built built(params_of(4, 8));
    built.add(400, 1, 1);
    built.remove([](Slot slot) { return slot % 4 != 1; });
    built.remove_deleted();
    const std::vector<Slot> moved = built.storage.packed();
    built.graph = built.graph.renumbered(moved, built.storage.live());
    built.storage.compact(moved);
    CHECK(built.graph.slots() == 100);
    built.check();
    built.add(200, 3, 1);
    built.check();
}

void nothing_but_copies_is_reached_too() {
    Built built(params_of(2, 4));
    const std::vector<float> same(kDim, 1.0f);
    for (int i = 0; i < 500; ++i) {
        built.storage.reserve(1);
        const Slot slot = put(built.storage, built.next_label++, same.data());
        link_all(built.storage, built.graph, built.params, std::vector{slot}, 1);
    }
    built.check();
}

void lost_nodes_are_linked_again() {
    Built built(params_of(4, 8));
    built.add(400, 1, 1);
    // Cut every link into a quarter of the nodes, and half of these off from each other.
    for (Slot slot = 0; slot < built.graph.slots(); ++slot) {
        std::vector<Slot> kept;
        for (const Slot target : built.graph.links(slot, 0)) {
            if (target % 4 != 0 || (slot % 8 == 0 && target % 8 == 0)) kept.push_back(target);
        }
        built.graph.set_links(slot, 0, kept);
    }
    CHECK(built.reached() < 400);
    reconnect(built.storage, built.graph, built.params);
    built.check();
}

void levels_do_not_depend_on_the_order() {
    const Params params = params_of(4, 8);
    Built forward(params), backward(params);
    const std::vector<float> vectors = make_vectors(200, kDim, 1);
    std::vector<Slot> slots;
    forward.storage.reserve(200);
    backward.storage.reserve(200);
    for (Slot i = 0; i < 200; ++i) {
        put(forward.storage, i, &vectors[i * kDim]);
        put(backward.storage, 199 - i, &vectors[(199 - i) * kDim]);
        slots.push_back(i);
    }
    link_all(forward.storage, forward.graph, params, slots, 1);
    link_all(backward.storage, backward.graph, params, slots, 1);
    for (Slot i = 0; i < 200; ++i) {
        CHECK(forward.graph.level(i) == backward.graph.level(199 - i));
    }
}

// A node of a narrow build lacks links that a wide walk over the whole graph finds for it.
void a_second_pass_finds_better_links() {
    constexpr std::size_t kCount = 4000;
    for (const unsigned threads : {1u, 4u}) {
        Params params = params_of(8, 16);
        params.quantization = Quantization::pq;
        Params narrow = params;
        narrow.ef_construction = 8;
        Built built(narrow);
        built.add(kCount, 3, threads);
        std::vector<Slot> slots(kCount), nearest(kCount);
        std::vector<std::byte> scratch;
        std::vector<float> keys(kCount);
        std::iota(slots.begin(), slots.end(), Slot{0});
        const auto& storage = built.storage;
        for (const Slot slot : slots) {
            const Query query = storage.quantiser().query_of_row(storage.row(slot), scratch);
            storage.keys(query, slots.data(), kCount, keys.data());
            keys[slot] = std::numeric_limits<float>::infinity();
            nearest[slot] =
                static_cast<Slot>(std::min_element(keys.begin(), keys.end()) - keys.begin());
        }
        const auto without_nearest = [&] {
            return std::count_if(slots.begin(), slots.end(), [&](Slot slot) {
                const std::span<const Slot> links = built.graph.links(slot, 0);
                return std::find(links.begin(), links.end(), nearest[slot]) == links.end();
            });
        };
        CodedGraph coded(storage.quantiser(), params);
        coded.train(storage, slots, threads);
        CHECK(coded.walks_rows());
        coded.attach(built.graph, threads);
        const auto before = without_nearest();
        LinkLocks locks;
        Gate gate;
        relink(storage, built.graph, coded, params, slots, 100, threads, locks,
               [&] { return SharedEntry(gate); });
        CHECK(before > 100);
        CHECK(without_nearest() < before / 10);
        built.check();
    }
}

}  // namespace

int main() {
    a_build_reaches_every_node();
    single_additions_reach_every_node();
    removal_leaves_no_trace_and_reaches_the_rest();
    the_entry_may_go();
    all_may_go_and_others_come();
    renumbering_keeps_the_graph();
    a_second_pass_finds_better_links();
    nothing_but_copies_is_reached_too();
    lost_nodes_are_linked_again();
    levels_do_not_depend_on_the_order();
    return check_result();
}
