#include "index/build.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <thread>

#include "base/random.hpp"

namespace llmspell::index {
namespace {

void sort_by_key(std::vector<Candidate>& candidates) {
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        return a.key < b.key || (a.key == b.key && a.slot < b.slot);
    });
}

// One build over one graph: what the threads share.
class Linker {
  public:
    Linker(const Storage& storage, Graph& graph, const Params& params, NodeLocks* locks)
        : storage_(storage), graph_(graph), params_(params), locks_(locks) {}

    void link(Slot slot, SearchContext& context, bool forced) {
        const int level = graph_.level(slot);
        // A node above all others becomes the entry: nobody else may read the entry meanwhile.
        std::unique_lock<std::mutex> entry_lock(entry_mutex_);
        const int top = graph_.max_level();
        const Slot entry = graph_.entry();
        if (entry == kNoSlot) {
            graph_.set_entry(slot, level);
            return;
        }
        if (level <= top) entry_lock.unlock();

        context.prepare(graph_.slots(), params_.max_neighbors);
        const Query query = storage_.quantiser().query_of_row(storage_.row(slot), context.query);
        Candidate at{0.0f, entry};
        storage_.keys(query, &at.slot, 1, &at.key);
        at = descend(storage_, graph_, query, at, top, level, context, locks_);
        for (int l = std::min(level, top); l >= 0; --l) {
            at = link_on_level(slot, query, at, l, context, forced && l == 0);
        }
        if (level > top) graph_.set_entry(slot, level);
    }

  private:
    Candidate link_on_level(Slot slot, const Query& query, Candidate start, int level,
                            SearchContext& context, bool forced) {
        const std::size_t ef = params_.ef_construction;
        context.visited.reset(graph_.slots());
        beam_search(storage_, graph_, query, start, level, ef, ef,
                    [&](Slot s) { return s != slot && storage_.is_live(s); }, context, locks_);
        std::vector<Candidate>& candidates = context.candidates;
        candidates.clear();
        for (std::size_t i = 0; i < context.accepted.size(); ++i) {
            candidates.push_back(context.accepted[i]);
        }
        const Candidate next = candidates.empty() ? start : candidates.front();
        std::vector<Slot> selected;
        select_neighbours(storage_, candidates, params_.m, selected, context);
        const std::vector<Slot> back = selected;
        {
            const NodeLock lock(locks_, slot);
            graph_.set_links_keeping(slot, level, selected);
        }
        for (std::size_t i = 0; i < back.size(); ++i) {
            link_back(back[i], slot, level, context, forced && i == 0);
        }
        return next;
    }

    // Adds `to` to the links of `from`; where they are full, the best of all are kept.
    void link_back(Slot from, Slot to, int level, SearchContext& context, bool forced) {
        const std::uint32_t limit = graph_.degree_limit(level);
        const NodeLock lock(locks_, from);
        const std::span<const Slot> links = graph_.links(from, level);
        if (std::find(links.begin(), links.end(), to) != links.end()) return;
        std::vector<Slot> kept(links.begin(), links.end());
        kept.push_back(to);
        if (kept.size() > limit) {
            std::vector<float> keys(kept.size());
            const Query query = storage_.quantiser().query_of_row(storage_.row(from), context.row_query);
            storage_.keys(query, kept.data(), kept.size(), keys.data());
            std::vector<Candidate> candidates(kept.size());
            for (std::size_t i = 0; i < kept.size(); ++i) candidates[i] = {keys[i], kept[i]};
            sort_by_key(candidates);
            select_neighbours(storage_, candidates, limit, kept, context);
            const bool held = std::find(kept.begin(), kept.end(), to) != kept.end();
            if (forced && !held) {
                if (kept.size() == limit) kept.pop_back();
                kept.push_back(to);
            }
        }
        graph_.set_links_keeping(from, level, kept);
    }

    const Storage& storage_;
    Graph& graph_;
    const Params& params_;
    NodeLocks* locks_;
    std::mutex entry_mutex_;
};

}  // namespace

int level_of(Label label, const Params& params) noexcept {
    SplitMix64 random(params.seed ^ (label * 0x9e3779b97f4a7c15));
    const double level = -std::log(random.unit()) / std::log(static_cast<double>(params.m));
    return std::min(static_cast<int>(level), kMaxLevel);
}

void select_neighbours(const Storage& storage, std::vector<Candidate>& candidates,
                       std::size_t limit, std::vector<Slot>& selected, SearchContext& context) {
    selected.clear();
    constexpr std::size_t kAtOnce = 4;
    float keys[kAtOnce];
    for (const Candidate& candidate : candidates) {
        if (selected.size() >= limit) break;
        const Query query =
            storage.quantiser().query_of_row(storage.row(candidate.slot), context.pair_query);
        bool kept = true;
        for (std::size_t i = 0; i < selected.size() && kept; i += kAtOnce) {
            const std::size_t count = std::min(kAtOnce, selected.size() - i);
            storage.keys(query, selected.data() + i, count, keys);
            for (std::size_t j = 0; j < count; ++j) kept = kept && !(keys[j] < candidate.key);
        }
        if (kept) selected.push_back(candidate.slot);
    }
}

void link_all(const Storage& storage, Graph& graph, const Params& params,
              std::span<const Slot> slots, unsigned threads) {
    graph.resize(storage.slots());
    for (const Slot slot : slots) graph.add_node(slot, level_of(storage.label(slot), params));
    threads = static_cast<unsigned>(std::clamp<std::size_t>(slots.size() / 64, 1, threads));
    NodeLocks locks;
    Linker linker(storage, graph, params, threads > 1 ? &locks : nullptr);
    if (threads == 1) {
        SearchContext context;
        for (const Slot slot : slots) linker.link(slot, context, false);
        return;
    }
    std::atomic<std::size_t> next{0};
    std::mutex failure_mutex;
    std::exception_ptr failure;
    const auto work = [&] {
        try {
            SearchContext context;
            for (std::size_t i = next.fetch_add(1); i < slots.size(); i = next.fetch_add(1)) {
                linker.link(slots[i], context, false);
            }
        } catch (...) {
            const std::lock_guard<std::mutex> guard(failure_mutex);
            failure = std::current_exception();
            next = slots.size();
        }
    };
    std::vector<std::thread> workers;
    for (unsigned t = 1; t < threads; ++t) workers.emplace_back(work);
    work();
    for (std::thread& worker : workers) worker.join();
    if (failure) std::rethrow_exception(failure);
}

void relink(const Storage& storage, Graph& graph, const Params& params, Slot slot,
            SearchContext& context) {
    Linker(storage, graph, params, nullptr).link(slot, context, true);
}

}  // namespace llmspell::index
