// That damage to a graph is seen and mended, whatever it is, and that nothing is seen where there
// is none.
#include "index/audit.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "check.hpp"
#include "index/build.hpp"
#include "index/index.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kDim = 8, kCount = 1500;

struct Built {
    Built() : storage(Quantiser(kDim, Metric::l2, simd::ElementType::f32)), graph(4, 8) {
        params.m = 4;
        params.max_neighbors = 8;
        params.ef_construction = 24;
        params.ef_search = 16;
        const std::vector<float> vectors = make_vectors(kCount, kDim, 1);
        storage.reserve(kCount);
        std::vector<Slot> slots;
        for (std::size_t i = 0; i < kCount; ++i) {
            slots.push_back(put(storage, i, &vectors[i * kDim]));
        }
        link_all(storage, graph, params, slots, 1);
    }

    std::vector<Slot> links(Slot slot, int level = 0) const {
        const std::span<const Slot> there = graph.links(slot, level);
        return {there.begin(), there.end()};
    }
    // The first node of a level, but the entry.
    Slot node_of(int level) const {
        Slot slot = 0;
        while (graph.level(slot) != level || slot == graph.entry()) ++slot;
        return slot;
    }
    // Drops every link of a layer that leads to one of `doomed`.
    void cut(int level, const std::function<bool(Slot)>& doomed) {
        for (Slot slot = 0; slot < graph.slots(); ++slot) {
            if (graph.level(slot) < level) continue;
            std::vector<Slot> kept;
            for (const Slot target : links(slot, level)) {
                if (!doomed(target)) kept.push_back(target);
            }
            graph.set_links(slot, level, kept);
        }
    }
    // Damage is seen; mending leaves none.
    Mended mend() {
        CHECK(!check_graph(storage, graph).sound());
        const Mended mended = mend_graph(storage, graph, params);
        CHECK(check_graph(storage, graph).sound());
        CHECK(mend_graph(storage, graph, params).dropped_links == 0);
        return mended;
    }

    Params params;
    Storage storage;
    Graph graph;
};

void a_sound_graph_has_no_faults() {
    Built built;
    CHECK(check_graph(built.storage, built.graph).sound());
    const std::vector<Slot> before = built.links(7);
    const Mended mended = mend_graph(built.storage, built.graph, built.params);
    CHECK(mended.dropped_links + mended.dropped_nodes == 0);
    CHECK(built.links(7) == before);
    const Graph empty(4, 8);
    const Storage none(Quantiser(kDim, Metric::l2, simd::ElementType::f32));
    CHECK(check_graph(none, empty).sound());
}

void links_that_lead_nowhere_are_dropped() {
    Built built;
    const Slot low = built.node_of(0), high = built.node_of(1);
    std::vector<Slot> links = built.links(5);
    links.resize(4);
    links.insert(links.end(), {5, links[0], static_cast<Slot>(kCount + 1000), kNoSlot - 1});
    built.graph.set_links(5, 0, links);
    built.graph.set_links(high, 1, std::vector{low});
    const GraphFaults faults = check_graph(built.storage, built.graph);
    CHECK(faults.bad_links == 3);
    CHECK(faults.repeated_links == 2);
    CHECK(built.mend().dropped_links == 5);
    links = built.links(5);
    CHECK(std::find(links.begin(), links.end(), Slot{5}) == links.end());
}

void nodes_of_free_slots_are_dropped() {
    Built built;
    for (const Slot slot : {3u, 50u, built.node_of(1)}) {
        built.storage.mark_deleted(slot);
        built.storage.release(slot);
    }
    CHECK(check_graph(built.storage, built.graph).stale == 3);
    CHECK(built.mend().dropped_nodes == 3);
    CHECK(!built.graph.contains(50));
}

void live_vectors_that_are_no_nodes_are_counted() {
    Built built;
    built.cut(0, [](Slot slot) { return slot == 9; });
    built.graph.remove_node(9);
    CHECK(check_graph(built.storage, built.graph).missing == 1);
}

void islands_are_linked_again() {
    Built built;
    const Slot entry = built.graph.entry();
    // Two islands, of nodes that link to each other: a third of all, and a few.
    const auto island = [&](Slot slot) { return slot == entry ? 0 : slot < 10 ? 1 : slot % 3; };
    for (Slot slot = 0; slot < kCount; ++slot) {
        std::vector<Slot> kept;
        for (const Slot target : built.links(slot)) {
            if (island(slot) == island(target)) kept.push_back(target);
        }
        built.graph.set_links(slot, 0, kept);
    }
    const GraphFaults faults = check_graph(built.storage, built.graph);
    CHECK(faults.unreachable >= kCount / 2);
    CHECK(faults.islands >= 2 && faults.islands <= faults.unreachable);
    CHECK(faults.unrooted >= faults.unreachable);
    CHECK(built.mend().linked_nodes >= 2);
}

void a_tree_that_is_cut_is_planted_anew() {
    Built built;
    const Slot child = [&] {
        Slot slot = 0;
        while (slot == built.graph.entry() || built.graph.parent(slot) == built.graph.entry()) {
            ++slot;
        }
        return slot;
    }();
    const Slot parent = built.graph.parent(child);
    std::vector<Slot> links = built.links(parent);
    links.erase(std::find(links.begin(), links.end(), child));
    built.graph.set_links(parent, 0, links);
    CHECK(check_graph(built.storage, built.graph).unrooted > 0);
    built.mend();
}

void an_entry_that_is_none_is_replaced() {
    for (const auto& [slot, level] : {std::pair<Slot, int>{static_cast<Slot>(kCount + 5), 3},
                                      {kNoSlot, -1},
                                      {Built().node_of(0), 0}}) {
        Built built;
        const int top = built.graph.max_level();
        built.graph.set_entry(slot, level);
        CHECK(check_graph(built.storage, built.graph).bad_entry);
        built.mend();
        CHECK(built.graph.max_level() == top);
    }
}

void upper_nodes_out_of_reach_are_linked_again() {
    Built built;
    mend_graph(built.storage, built.graph, built.params);
    CHECK(check_graph(built.storage, built.graph).upper_unreachable == 0);
    const Slot lost = built.node_of(1);
    built.cut(1, [&](Slot slot) { return slot == lost; });
    CHECK(check_graph(built.storage, built.graph).upper_unreachable >= 1);
    CHECK(mend_graph(built.storage, built.graph, built.params).linked_nodes >= 1);
    CHECK(check_graph(built.storage, built.graph).upper_unreachable == 0);
}

void a_vector_that_no_search_comes_to_is_led_to() {
    Built built;
    // Found by no way but a long one: from the entry's farthest node.
    Slot lost = built.node_of(0);
    built.cut(0, [&](Slot slot) { return slot == lost; });
    const Searcher searcher(built.storage, &built.graph, nullptr, built.params);
    SearchContext context;
    Slot end = kNoSlot;
    CHECK(!finds_itself(searcher, lost, context, &end));
    CHECK(end != lost && built.graph.contains(end));
    CHECK(guide(built.storage, built.graph, end, lost));
    CHECK(finds_itself(searcher, lost, context));
    CHECK(!guide(built.storage, built.graph, end, lost));
    CHECK(built.links(end).size() <= 8);
}

void a_full_row_gives_up_its_farthest_link_but_no_child() {
    Built built;
    Slot full = 0;
    while (built.links(full).size() < 8) ++full;
    std::vector<Slot> children;
    for (const Slot slot : built.links(full)) {
        if (built.graph.is_child(slot, full)) children.push_back(slot);
    }
    Slot other = 0;
    const std::vector<Slot> before = built.links(full);
    while (other == full || std::find(before.begin(), before.end(), other) != before.end()) ++other;
    CHECK(guide(built.storage, built.graph, full, other));
    const std::vector<Slot> after = built.links(full);
    CHECK(after.size() == 8);
    CHECK(std::find(after.begin(), after.end(), other) != after.end());
    for (const Slot child : children) {
        CHECK(std::find(after.begin(), after.end(), child) != after.end());
    }
    CHECK(check_graph(built.storage, built.graph).unrooted == 0);
}

void recall_is_that_of_the_search() {
    Built built;
    const Searcher walk(built.storage, &built.graph, nullptr, built.params);
    const Searcher sweep(built.storage, nullptr, nullptr, built.params);
    SearchContext context;
    double by_walk = 0.0, by_sweep = 0.0;
    for (Slot slot = 0; slot < 100; ++slot) {
        by_walk += recall_of(walk, slot, 10, context) / 100;
        by_sweep += recall_of(sweep, slot, 10, context) / 100;
    }
    CHECK(by_sweep > 0.999999);
    CHECK(by_walk > 0.5 && by_walk < 1.0);
}

void an_index_audits_itself() {
    for (const Quantization quantization :
         {Quantization::none, Quantization::pq, Quantization::sq4}) {
        Params params;
        params.m = 4;
        params.max_neighbors = 8;
        params.ef_construction = 24;
        params.graph_threshold = 100;
        params.quantization = quantization;
        Index index(kDim, Metric::l2, simd::ElementType::f32, params);
        const std::vector<float> vectors = make_vectors(kCount, kDim, 1);
        for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{50}, kCount}) {
            const std::vector<Label> labels = make_labels(count);
            index.add(labels.data(), vectors.data(), count, true, 1);
            AuditOptions options;
            options.repair = true;
            const Audit audit = index.audit(options);
            CHECK(audit.live == count && audit.checked == count);
            CHECK(audit.faults.sound());
            CHECK(audit.unmended.empty());
            CHECK(audit.recall > 0.8);
            CHECK(audit.mended.dropped_links == 0);
            options.sample = 20;
            CHECK(index.audit(options).checked == std::min<std::size_t>(count, 20));
        }
    }
}

}  // namespace

int main() {
    a_sound_graph_has_no_faults();
    links_that_lead_nowhere_are_dropped();
    nodes_of_free_slots_are_dropped();
    live_vectors_that_are_no_nodes_are_counted();
    islands_are_linked_again();
    a_tree_that_is_cut_is_planted_anew();
    an_entry_that_is_none_is_replaced();
    upper_nodes_out_of_reach_are_linked_again();
    a_vector_that_no_search_comes_to_is_led_to();
    a_full_row_gives_up_its_farthest_link_but_no_child();
    recall_is_that_of_the_search();
    an_index_audits_itself();
    return check_result();
}
