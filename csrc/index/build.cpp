#include "index/build.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "base/parallel.hpp"
#include "base/random.hpp"
#include "index/select.hpp"

namespace llmspell::index {
namespace {

// One build over one graph: what the threads share.
class Linker {
    // Calls body(rows, query) with what walks go by.
    template <class Body>
    auto by_rows(const Query& query, SearchContext& context, const Body& body) const {
        if (rounded_ == nullptr) return body(storage_, query);
        return body(FourBitRows(*rounded_, *kernels_, context.products), context.sq4);
    }

  public:
    Linker(const Storage& storage, Graph& graph, const Params& params, const Sq4* rounded = nullptr)
        : storage_(storage), graph_(graph), params_(params), rounded_(rounded) {}
    // Where others link at the same time, several threads among them each its own share of `batch`,
    // from the first to the last.
    Linker(const Storage& storage, Graph& graph, const Params& params, const Sq4* rounded,
           std::span<const Slot> batch, std::size_t threads, LinkLocks& locks)
        : Linker(storage, graph, params, rounded) {
        batch_ = batch;
        threads_ = threads;
        locks_ = &locks.nodes;
        entry_mutex_ = &locks.entry;
    }

    void link(Slot slot, SearchContext& context) {
        const std::size_t turn = started_.fetch_add(1, std::memory_order_relaxed);
        const int level = graph_.level(slot);
        // A node above all others becomes the entry: nobody else may read the entry meanwhile.
        std::unique_lock<std::mutex> entry_lock;
        if (entry_mutex_ != nullptr) entry_lock = std::unique_lock(*entry_mutex_);
        const auto [entry, top] = graph_.top();
        if (entry == kNoSlot) {
            graph_.set_entry(slot, level);
            graph_.plant_tree(slot);
            return;
        }
        if (level <= top && entry_lock.owns_lock()) entry_lock.unlock();

        context.prepare(graph_.slots(), params_.max_neighbors);
        const Query query = storage_.quantiser().query_of_row(storage_.row(slot), context.query);
        if (rounded_ != nullptr) round_query(slot, context);
        Slot at = by_rows(query, context, [&](const auto& rows, const auto& of_rows) {
            Candidate start{0.0f, entry};
            rows.keys(of_rows, &start.slot, 1, &start.key);
            return descend(rows, graph_, of_rows, start, top, level, context).slot;
        });
        std::vector<std::vector<Slot>> chosen(static_cast<std::size_t>(std::min(level, top)) + 1);
        for (int l = std::min(level, top); l >= 0; --l) {
            choose(slot, query, at, l, context);
            if (l == 0 && threads_ > 1) add_unseen(slot, query, turn, context);
            if (!context.candidates.empty()) at = context.candidates.front().slot;
            select_neighbours(storage_, context.candidates, params_.m, chosen[l], context);
        }
        // From below: whoever comes to the node by an upper layer finds it linked on the lower
        // ones.
        for (int l = 0; l < static_cast<int>(chosen.size()); ++l) {
            attach(slot, chosen[l], l, context);
        }
        if (level <= top) return;
        // The tree's root from now on: it links to the one before, and so on to all.
        {
            const NodeLock lock(locks_, slot);
            graph_.reroot(slot, entry);
            add_link(slot, entry, 0, context);
        }
        graph_.set_entry(slot, level);
    }

    // Links a node of the graph on layer 0 anew, from the entry, so that all it meets has a parent.
    void relink(Slot slot, SearchContext& context) {
        context.prepare(graph_.slots(), params_.max_neighbors);
        const Query query = storage_.quantiser().query_of_row(storage_.row(slot), context.query);
        if (rounded_ != nullptr) round_query(slot, context);
        choose(slot, query, graph_.entry(), 0, context);
        std::vector<Slot> chosen;
        select_neighbours(storage_, context.candidates, params_.m, chosen, context);
        attach(slot, chosen, 0, context);
    }

  private:
    static constexpr std::size_t kMaxDetour = 4;  // nodes looked at for each wanted, among deleted

    // Makes of the vector in a slot the query of a walk by four-bit rows, context.sq4.
    void round_query(Slot slot, SearchContext& context) const {
        context.unit.resize(storage_.quantiser().dim());
        storage_.quantiser().decode(storage_.row(slot), context.unit.data());
        rounded_->query(*kernels_, context.unit.data(), context.sq4);
    }

    // Leaves in context.candidates the nodes near `slot` on a level, nearest first.
    void choose(Slot slot, const Query& query, Slot start, int level, SearchContext& context) {
        const std::size_t ef = params_.ef_construction;
        context.visited.reset(graph_.slots());
        const CandidatePool* found = &context.beam;
        by_rows(query, context, [&](const auto& rows, const auto& of_rows) {
            Candidate from{0.0f, start};
            rows.keys(of_rows, &from.slot, 1, &from.key);
            if (storage_.going() == 0) {
                beam_search(rows, graph_, of_rows, from, level, ef, 0, AcceptAll{}, context);
                return;
            }
            beam_search(
                rows, graph_, of_rows, from, level, ef, kMaxDetour * ef,
                [this](Slot s) { return storage_.stays(s); }, context);
            // Where a whole region was deleted, what is left of it still leads to the rest.
            if (context.accepted.size() >= params_.m) found = &context.accepted;
        });
        context.candidates.clear();
        for (std::size_t i = 0; i < std::min(found->size(), ef); ++i) {
            if ((*found)[i].slot != slot) context.candidates.push_back((*found)[i]);
        }
        if (rounded_ != nullptr) compare_exactly(query, context);
    }

    // Orders context.candidates, which came by estimates, by the stored rows.
    void compare_exactly(const Query& query, SearchContext& context) const {
        std::vector<Candidate>& candidates = context.candidates;
        const std::size_t count = candidates.size();
        if (context.todo.size() < count) context.todo.resize(count);
        if (context.keys.size() < count) context.keys.resize(count);
        for (std::size_t i = 0; i < count; ++i) context.todo[i] = candidates[i].slot;
        storage_.keys(query, context.todo.data(), count, context.keys.data());
        for (std::size_t i = 0; i < count; ++i) candidates[i].key = context.keys[i];
        std::sort(candidates.begin(), candidates.end(), nearer);
    }

    // Adds to context.candidates what other threads may have linked since the search began: nodes
    // that are linked at the same moment would not see each other, however near they are.
    void add_unseen(Slot slot, const Query& query, std::size_t turn, SearchContext& context) {
        constexpr std::size_t kMost = 256;  // more have started only where this thread was halted
        const std::size_t first = turn - std::min(turn, 2 * threads_);
        const std::size_t end =
            std::min({batch_.size(), first + kMost, started_.load(std::memory_order_relaxed)});
        std::vector<Slot> unseen;
        for (std::size_t i = first; i < end; ++i) {
            const Slot other = batch_[i];
            const bool known = std::any_of(context.candidates.begin(), context.candidates.end(),
                                           [&](const Candidate& c) { return c.slot == other; });
            if (other != slot && !known) unseen.push_back(other);
        }
        std::vector<float> keys(unseen.size());
        storage_.keys(query, unseen.data(), unseen.size(), keys.data());
        for (std::size_t i = 0; i < unseen.size(); ++i) {
            context.candidates.push_back({keys[i], unseen[i]});
        }
        std::sort(context.candidates.begin(), context.candidates.end(), nearer);
    }

    // Gives a node its links on a level, and links to it from there.
    void attach(Slot slot, const std::vector<Slot>& chosen, int level, SearchContext& context) {
        {
            const NodeLock lock(locks_, slot);
            graph_.set_links(slot, level, chosen,
                             level == 0 ? choose_extras(context.candidates, chosen, params_)
                                        : std::vector<Slot>{});
        }
        // First of all a parent: whatever can be found can then be a parent itself.
        if (level == 0) find_parent(slot, context);
        for (const Slot neighbour : chosen) link_back(neighbour, slot, level, context);
    }

    void find_parent(Slot slot, SearchContext& context) {
        for (const Candidate& candidate : context.candidates) {
            if (adopt(candidate.slot, slot, context)) return;
        }
        // Each of a few hundred has its share of children: somewhere below the nearest is room.
        const auto rooted = std::find_if(context.candidates.begin(), context.candidates.end(),
                                         [&](const Candidate& c) { return graph_.rooted(c.slot); });
        Slot at = rooted == context.candidates.end() ? graph_.entry() : rooted->slot;
        while (!adopt(at, slot, context)) {
            if (const Slot child = first_child(at); child != kNoSlot) at = child;
        }
    }

    bool adopt(Slot parent, Slot child, SearchContext& context) {
        const NodeLock lock(locks_, parent);
        if (!graph_.adopt(parent, child)) return false;
        add_link(parent, child, 0, context);
        return true;
    }

    // kNoSlot where those that there were have got another parent since.
    Slot first_child(Slot slot) {
        const NodeLock lock(locks_, slot);
        const std::span<const Slot> links = graph_.links(slot, 0);
        const auto child = std::find_if(links.begin(), links.end(),
                                        [&](Slot s) { return graph_.is_child(s, slot); });
        return child == links.end() ? kNoSlot : *child;
    }

    void link_back(Slot from, Slot to, int level, SearchContext& context) {
        const NodeLock lock(locks_, from);
        add_link(from, to, level, context);
    }

    // Adds `to` to the links of `from`, whose lock is held; where they are full, the best are kept.
    void add_link(Slot from, Slot to, int level, SearchContext& context) {
        const std::span<const Slot> links = graph_.links(from, level);
        if (std::find(links.begin(), links.end(), to) != links.end()) return;
        std::vector<Slot> kept(links.begin(), links.end());
        kept.push_back(to);
        std::vector<Slot> extras;
        if (level == 0) extras = graph_.extras_but(from, to);
        const std::uint32_t limit = graph_.degree_limit(level);
        if (kept.size() > limit) {
            const std::vector<Slot> offered = kept;
            std::vector<float> keys(offered.size());
            const Query query =
                storage_.quantiser().query_of_row(storage_.row(from), context.row_query);
            storage_.keys(query, offered.data(), offered.size(), keys.data());
            std::vector<Candidate> candidates(offered.size());
            for (std::size_t i = 0; i < keys.size(); ++i) candidates[i] = {keys[i], offered[i]};
            std::sort(candidates.begin(), candidates.end(), nearer);
            select_neighbours(storage_, candidates, limit, kept, context);
            if (level == 0) {
                graph_.keep_children(from, offered, kept);
                extras = choose_extras(candidates, kept, params_);
            }
        }
        graph_.set_links(from, level, kept, extras);
    }

    const Storage& storage_;
    Graph& graph_;
    const Params& params_;
    const Sq4* rounded_;
    const WalkKernels* kernels_ = &walk_kernels(simd::active().level);
    std::span<const Slot> batch_;
    std::size_t threads_ = 1;
    NodeLocks* locks_ = nullptr;
    std::atomic<std::size_t> started_{0};
    std::mutex* entry_mutex_ = nullptr;
};

}  // namespace

int level_of(Label label, const Params& params) noexcept {
    SplitMix64 random(params.seed ^ (label * 0x9e3779b97f4a7c15));
    const double level = -std::log(random.unit()) / std::log(static_cast<double>(params.m));
    return std::min(static_cast<int>(level), kMaxLevel);
}

void add_nodes(const Storage& storage, Graph& graph, const Params& params,
               std::span<const Slot> slots) {
    graph.resize(storage.slots());
    const auto level = [&](Slot slot) { return level_of(storage.label(slot), params); };
    std::size_t rows = 0;
    for (const Slot slot : slots) rows += static_cast<std::size_t>(level(slot));
    graph.reserve_rows(rows);
    for (const Slot slot : slots) graph.add_node(slot, level(slot));
}

void link_nodes(const Storage& storage, Graph& graph, const Params& params,
                std::span<const Slot> slots, unsigned threads, const Sq4* rounded, LinkLocks& locks,
                const std::function<SharedEntry(Slot)>& enter) {
    threads = static_cast<unsigned>(std::clamp<std::size_t>(slots.size() / 64, 1, threads));
    Linker linker(storage, graph, params, rounded, slots, threads, locks);
    std::atomic<bool> ended{false};
    parallel_for(
        slots.size(), threads, [] { return SearchContext{}; },
        [&](std::size_t i, SearchContext& context) {
            if (ended) return;
            const SharedEntry entry = enter(slots[i]);
            if (entry.owns_lock()) {
                linker.link(slots[i], context);
            } else {
                ended = true;
            }
        });
}

void link_all(const Storage& storage, Graph& graph, const Params& params,
              std::span<const Slot> slots, unsigned threads, const Sq4* rounded) {
    add_nodes(storage, graph, params, slots);
    LinkLocks locks;
    Gate gate;
    link_nodes(storage, graph, params, slots, threads, rounded, locks,
               [&](Slot) { return SharedEntry(gate); });
}

void reconnect(const Storage& storage, Graph& graph, const Params& params,
               std::span<const Slot> doomed) {
    if (graph.empty()) return;
    // Nor what is still to be linked, and may not have its codes yet.
    std::vector<Slot> left_out(doomed.begin(), doomed.end());
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        const bool waits = storage.state(slot) == SlotState::staged && !graph.rooted(slot);
        if (graph.contains(slot) && waits) left_out.push_back(slot);
    }
    std::sort(left_out.begin(), left_out.end());
    graph.plant_tree(graph.entry());
    graph.grow_tree(graph.entry(), left_out);
    Linker linker(storage, graph, params);
    SearchContext context;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (!graph.contains(slot) || graph.rooted(slot)) continue;
        if (std::binary_search(left_out.begin(), left_out.end(), slot)) continue;
        linker.relink(slot, context);
        graph.grow_tree(slot, left_out);
    }
}

}  // namespace llmspell::index
