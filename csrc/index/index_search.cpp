// The searches of Index: who may read, who walks for which query, and what callers get.
#include <algorithm>

#include "base/parallel.hpp"
#include "index/access.hpp"
#include "index/index.hpp"

namespace llmspell::index {

// Calls one(i, allowed, context, probe) for each query, by options.threads. A few at a time, or
// one sweep, are under one lock, so that a change waits for few, and searches behind it no longer;
// after a change the filter is looked at again.
template <class One>
void Index::for_each_query(std::size_t count, const SearchOptions& options, const One& one) const {
    constexpr std::size_t kQueriesPerThread = 4, kMostAtOnce = 8;
    const std::size_t threads =
        std::min<std::size_t>(options.threads, std::max<std::size_t>(count / kQueriesPerThread, 1));
    const std::size_t at_once =
        options.exact ? 1 : std::clamp<std::size_t>(count / (threads * 4), 1, kMostAtOnce);
    struct State {
        Borrowed context;
        std::shared_ptr<PreparedFilter> filter;
    };
    std::shared_ptr<PreparedFilter> filter;
    if (options.filter != nullptr) {
        const SharedLock lock(*this, options.watch);
        filter = prepare(options, count);
    }
    const auto answer_some = [&](std::size_t part, State& state) {
        const SharedLock lock(*this, options.watch);
        const std::size_t first = part * at_once, end = std::min(first + at_once, count);
        if (state.filter != nullptr && !state.filter->is_current(storage_)) {
            state.filter = prepare(options, end - first);
        }
        const Allowed allowed = state.filter != nullptr ? state.filter->allowed() : Allowed{};
        const Allowed* let_through = state.filter != nullptr ? &allowed : nullptr;
        for (std::size_t i = first; i < end; ++i) {
            if (options.watch == nullptr) {
                Unwatched probe;
                one(i, let_through, *state.context, probe);
            } else {
                Watched probe(*options.watch);
                one(i, let_through, *state.context, probe);
            }
        }
    };
    parallel_for((count + at_once - 1) / at_once, threads,
                 [&] { return State{Borrowed(*this), filter}; }, answer_some);
}

// A filter as slots; with blocks of codes, once the queries under it would have been as much
// quicker with them as they cost, and with copies of four-bit rows, where such queries are quicker
// with these.
std::shared_ptr<PreparedFilter> Index::prepare(const SearchOptions& options,
                                               std::size_t queries) const {
    constexpr std::size_t kShare = 16, kLeast = std::size_t{1} << 20;
    const std::size_t budget =
        std::max(kLeast, storage_.slots() * storage_.quantiser().row_bytes() / kShare);
    std::shared_ptr<PreparedFilter> filter = filters_.prepare(storage_, *options.filter, budget);
    const CodedGraph* coded = options.exact ? nullptr : useful_codes();
    const std::size_t allowed = filter->allowed().count;
    if (coded == nullptr || coded->rounded() || allowed <= kSweptRows) return filter;
    const std::size_t wanted = std::min(options.k, allowed);
    const CodedGraph::Costs costs =
        coded->costs(storage_, std::max(wanted, options.ef == 0 ? params_.ef_search : options.ef),
                     wanted, allowed);
    const std::size_t block_bytes = coded->block_bytes(allowed);
    if (block_bytes < budget / 4) {
        const bool copies =
            costs.copies < costs.blocks && block_bytes + coded->copy_bytes(allowed) < budget / 4;
        filter->spend(static_cast<double>(queries) * costs.spared_by_blocks(),
                      costs.packing + (copies ? costs.copying : 0.0),
                      [&] { return coded->blocks_of(filter->allowed(), copies); });
    }
    return filter;
}

// Query i is vector_of(i, context), and doesn't get the slot left_out(i).
template <class VectorOf, class LeftOut>
void Index::answer(std::size_t count, const SearchOptions& options, const VectorOf& vector_of,
                   const LeftOut& left_out, Label* labels, float* scores,
                   std::size_t* found) const {
    const auto one = [&](std::size_t i, const Allowed* allowed, SearchContext& context,
                         auto& probe) {
        const Searcher searcher =
            options.exact ? Searcher(storage_, nullptr, nullptr, params_) : this->searcher();
        const Slot self = left_out(i);
        const CandidatePool& pool =
            searcher.nearest(vector_of(i, context), options.k + (self == kNoSlot ? 0 : 1),
                             options.ef, allowed, context, probe);
        std::size_t n = 0;
        for (std::size_t at = 0; at < pool.size() && n < options.k; ++at) {
            const float score = storage_.quantiser().score_of(pool[at].key);
            if (options.threshold && score < *options.threshold) break;
            if (pool[at].slot == self) continue;
            labels[i * options.k + n] = storage_.label(pool[at].slot);
            scores[i * options.k + n] = score;
            ++n;
        }
        found[i] = n;
    };
    for_each_query(count, options, one);
}

void Index::search(const void* input, std::size_t count, const SearchOptions& asked, Label* labels,
                   float* scores, std::size_t* found) const {
    const auto* queries = static_cast<const std::byte*>(input);
    const std::size_t vector_bytes = storage_.quantiser().vector_bytes();
    if (asked.k == 0) throw Error(ErrorCode::input, "k must be at least 1, got 0");
    for (std::size_t i = 0; i < count; ++i) {
        storage_.quantiser().check(queries + i * vector_bytes, i);
    }
    const SearchOptions options = settled(asked);
    calibration_.offer(queries, count, vector_bytes);
    answer(
        count, options,
        [&](std::size_t i, const SearchContext&) { return queries + i * vector_bytes; },
        [](std::size_t) { return kNoSlot; }, labels, scores, found);
}

void Index::search_stored(const Label* stored, std::size_t count, bool keep_self,
                          const SearchOptions& asked, Label* labels, float* scores,
                          std::size_t* found) const {
    if (asked.k == 0) throw Error(ErrorCode::input, "k must be at least 1, got 0");
    const SearchOptions options = settled(asked);
    {
        const SharedLock lock(*this, options.watch);
        find_all(stored, count);
    }
    answer(
        count, options,
        [&](std::size_t i, SearchContext& context) {
            const Slot slot = find_all(stored + i, 1).front();  // it may have gone meanwhile
            context.stored.resize(storage_.quantiser().vector_bytes());
            storage_.quantiser().decode(storage_.checked_row(slot), context.stored.data());
            return context.stored.data();
        },
        [&](std::size_t i) { return keep_self ? kNoSlot : storage_.find(stored[i]); }, labels,
        scores, found);
}

RangeResults Index::range_search(const void* input, std::size_t count, float threshold,
                                 const SearchOptions& asked) const {
    const auto* queries = static_cast<const std::byte*>(input);
    const std::size_t vector_bytes = storage_.quantiser().vector_bytes();
    for (std::size_t i = 0; i < count; ++i) {
        storage_.quantiser().check(queries + i * vector_bytes, i);
    }
    SearchOptions options = asked;
    options.exact = true;  // by the vectors, so that no codes are laid together for the filter
    struct Found {
        Label label;
        float score;
    };
    std::vector<std::vector<Found>> found(count);
    for_each_query(count, options,
                   [&](std::size_t i, const Allowed* allowed, SearchContext& context, auto& probe) {
                       std::vector<Candidate> near;
                       searcher().within(queries + i * vector_bytes, -threshold, options.ef,
                                         allowed, context, near, probe);
                       found[i].reserve(near.size());
                       for (const Candidate& candidate : near) {
                           found[i].push_back({storage_.label(candidate.slot),
                                               storage_.quantiser().score_of(candidate.key)});
                       }
                   });
    RangeResults results;
    results.offsets.push_back(0);
    for (const std::vector<Found>& one : found) {
        results.offsets.push_back(results.offsets.back() + one.size());
        for (const Found& each : one) {
            results.labels.push_back(each.label);
            results.scores.push_back(each.score);
        }
    }
    return results;
}

std::unique_ptr<PageWalk> Index::start_pages(const void* query, std::size_t ef,
                                             const Filter* filter) const {
    storage_.quantiser().check(query, 0);
    return std::make_unique<PageWalk>(query, storage_.quantiser().vector_bytes(), ef, filter);
}

Page Index::next_page(PageWalk& walk, std::size_t size, Watch* watch) const {
    const SharedLock lock(*this, watch);
    const Borrowed context(*this);
    if (watch == nullptr) {
        Unwatched probe;
        return walk.next(searcher(), size, *context, probe);
    }
    Watched probe(*watch);
    return walk.next(searcher(), size, *context, probe);
}

}  // namespace llmspell::index
