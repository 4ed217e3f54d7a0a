#include "index/index.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <exception>
#include <thread>
#include <unordered_set>

#include "index/build.hpp"
#include "index/flat.hpp"
#include "index/repair.hpp"
#include "index/snapshot.hpp"

namespace llmspell::index {

class Index::SharedLock {
  public:
    explicit SharedLock(const Index& index) {
        index.turnstile_.lock();
        index.turnstile_.unlock();
        lock_ = std::shared_lock(index.mutex_);
    }

  private:
    std::shared_lock<std::shared_mutex> lock_;
};

class Index::ExclusiveLock {
  public:
    explicit ExclusiveLock(const Index& index) : turn_(index.turnstile_), lock_(index.mutex_) {}

  private:
    std::unique_lock<std::mutex> turn_;
    std::unique_lock<std::shared_mutex> lock_;
};

// The slots that a filter lets through, as a list and, for walks, as bits.
struct Index::Allowed {
    std::vector<Slot> slots;
    std::vector<std::uint64_t> bits;

    bool operator()(Slot slot) const noexcept { return (bits[slot / 64] >> (slot % 64)) & 1; }
};

Index::Index(std::size_t dim, Metric metric, simd::ElementType type, const Params& params)
    : dim_((check_params(params, dim), dim)),
      metric_(metric),
      type_(type),
      params_(params),
      storage_(Quantiser(dim, metric, type)),
      graph_(params.m, params.max_neighbors) {}

std::size_t Index::size() const {
    const SharedLock lock(*this);
    return storage_.live();
}

bool Index::contains(Label label) const {
    const SharedLock lock(*this);
    return storage_.find(label) != kNoSlot;
}

Stats Index::stats() const {
    const SharedLock lock(*this);
    Stats stats{storage_.live(), storage_.deleted(), storage_.slots(), 0, 0,
                graph_.max_level(), storage_.bytes(), graph_.bytes()};
    for (Slot slot = 0; slot < graph_.slots(); ++slot) {
        if (!graph_.contains(slot)) continue;
        ++stats.graph_nodes;
        stats.edges += graph_.links(slot, 0).size();
    }
    return stats;
}

void Index::check_batch(const Label* labels, const float* vectors, std::size_t count,
                        bool replace) const {
    for (std::size_t i = 0; i < count; ++i) storage_.quantiser().check(vectors + i * dim_, i);
    if (count > 1) {
        std::unordered_set<Label> seen;
        seen.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            if (!seen.insert(labels[i]).second) {
                throw Error(ErrorCode::duplicate_id,
                            "id " + std::to_string(labels[i]) + " stands twice in one batch");
            }
        }
    }
    if (replace) return;
    for (std::size_t i = 0; i < count; ++i) {
        if (storage_.find(labels[i]) != kNoSlot) {
            throw Error(ErrorCode::duplicate_id, "id " + std::to_string(labels[i]) +
                                                     " is in the index already; use upsert");
        }
    }
}

void Index::add(const Label* labels, const float* vectors, std::size_t count, bool replace,
                unsigned threads) {
    const ExclusiveLock lock(*this);
    check_batch(labels, vectors, count, replace);
    storage_.reserve(count);
    if (has_graph_) graph_.resize(storage_.slots() + count);
    if (replace) {
        for (std::size_t i = 0; i < count; ++i) {
            if (const Slot old = storage_.find(labels[i]); old != kNoSlot) forget(old);
        }
        storage_.reserve(count);
    }
    std::vector<Slot> slots(count);
    for (std::size_t i = 0; i < count; ++i) {
        slots[i] = storage_.insert(labels[i], vectors + i * dim_);
    }
    if (has_graph_) {
        link_all(storage_, graph_, params_, slots, threads);
        tidy();
    } else {
        grow_graph(threads);
    }
}

std::size_t Index::remove(const Label* labels, std::size_t count) {
    const ExclusiveLock lock(*this);
    std::size_t removed = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const Slot slot = storage_.find(labels[i]);
        if (slot == kNoSlot) continue;
        forget(slot);
        ++removed;
    }
    tidy();
    return removed;
}

void Index::forget(Slot slot) {
    storage_.mark_deleted(slot);
    if (!has_graph_) storage_.release(slot);
}

void Index::grow_graph(unsigned threads) {
    if (storage_.live() < std::max<std::size_t>(params_.graph_threshold, 1)) return;
    std::vector<Slot> slots;
    for (Slot slot = 0; slot < storage_.slots(); ++slot) {
        if (storage_.is_live(slot)) slots.push_back(slot);
    }
    has_graph_ = true;
    link_all(storage_, graph_, params_, slots, threads);
}

// Deleted nodes are bridged once they are one in fifty, so that a pass over the graph is shared by
// many deletes; rows move together once half of them are unused.
void Index::tidy() {
    constexpr std::size_t kMinDeleted = 32, kDeletedShare = 50, kMinSlots = 64;
    if (has_graph_ && storage_.live() < params_.graph_threshold / 2) {
        graph_.clear();
        has_graph_ = false;
        for (Slot slot = 0; slot < storage_.slots(); ++slot) {
            if (storage_.state(slot) == SlotState::deleted) storage_.release(slot);
        }
    }
    if (storage_.deleted() > std::max(kMinDeleted, storage_.live() / kDeletedShare)) {
        remove_deleted(storage_, graph_, params_);
    }
    if (storage_.deleted() == 0 && storage_.capacity() > kMinSlots &&
        storage_.live() < storage_.capacity() / 2) {
        const std::vector<Slot> moved = storage_.compact();
        if (has_graph_) graph_.renumber(moved, storage_.live());
    }
}

void Index::get(const Label* labels, std::size_t count, float* out) const {
    const SharedLock lock(*this);
    for (std::size_t i = 0; i < count; ++i) {
        const Slot slot = storage_.find(labels[i]);
        if (slot == kNoSlot) {
            throw Error(ErrorCode::id_not_found,
                        "id " + std::to_string(labels[i]) + " is not in the index");
        }
        storage_.quantiser().decode(storage_.row(slot), out + i * dim_);
    }
}

Index::Allowed Index::allow(const Filter& filter) const {
    Allowed allowed;
    allowed.bits.resize((storage_.slots() + 63) / 64);
    const auto admit = [&](Slot slot) {
        std::uint64_t& word = allowed.bits[slot / 64];
        const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
        if ((word & bit) != 0) return;
        word |= bit;
        allowed.slots.push_back(slot);
    };
    if (filter.ids != nullptr) {
        for (std::size_t i = 0; i < filter.id_count; ++i) {
            if (const Slot slot = storage_.find(filter.ids[i]); slot != kNoSlot) admit(slot);
        }
        return allowed;
    }
    for (Slot slot = 0; slot < storage_.slots(); ++slot) {
        const Label label = storage_.label(slot);
        if (storage_.is_live(slot) && label < filter.bit_count &&
            ((filter.bits[label / 8] >> (label % 8)) & 1) != 0) {
            admit(slot);
        }
    }
    return allowed;
}

// A walk that passes through everything must be 1 / selectivity times wider to see as many allowed
// nodes. It computes some 15 distances a step, to random rows; a sweep over the list one for each.
bool Index::sweep_is_cheaper(std::size_t allowed, std::size_t ef) const {
    constexpr std::size_t kDistancesPerStep = 15;
    return allowed * allowed <= kDistancesPerStep * ef * storage_.live();
}

const CandidatePool& Index::nearest(const Query& query, const SearchOptions& options,
                                    const Allowed* allowed, SearchContext& context) const {
    const std::size_t k = std::min(options.k, storage_.live());
    const std::size_t ef = std::max(k, options.ef == 0 ? params_.ef_search : options.ef);
    const bool filtered = allowed != nullptr;
    const std::size_t wanted = filtered ? std::min(k, allowed->slots.size()) : k;
    if (filtered && (!has_graph_ || sweep_is_cheaper(allowed->slots.size(), ef))) {
        sweep(storage_, query, allowed->slots, wanted, context.accepted);
        return context.accepted;
    }
    // Asked for a good part of all there is, a walk would touch the rest as well.
    if (!has_graph_ || k > storage_.live() / 4) {
        if (filtered) {
            sweep(storage_, query, allowed->slots, wanted, context.accepted);
        } else {
            sweep(storage_, query, k, context.accepted);
        }
        return context.accepted;
    }
    context.prepare(graph_.slots(), params_.max_neighbors);
    Candidate start{0.0f, graph_.entry()};
    storage_.keys(query, &start.slot, 1, &start.key);
    start = descend(storage_, graph_, query, start, graph_.max_level(), 0, context, nullptr);
    const CandidatePool* result = &context.accepted;
    if (filtered) {
        const std::size_t wide = ef * storage_.live() / allowed->slots.size();
        beam_search(storage_, graph_, query, start, 0, wide, wanted, *allowed, context, nullptr);
    } else if (storage_.deleted() > 0) {
        beam_search(storage_, graph_, query, start, 0, ef, wanted,
                    [this](Slot slot) { return storage_.is_live(slot); }, context, nullptr);
    } else {
        beam_search(storage_, graph_, query, start, 0, ef, wanted, AcceptAll{}, context, nullptr);
        result = &context.beam;
    }
    if (result->size() >= wanted) return *result;
    if (filtered) {
        sweep(storage_, query, allowed->slots, wanted, context.accepted);
    } else {
        sweep(storage_, query, k, context.accepted);
    }
    return context.accepted;
}

void Index::search(const float* queries, std::size_t count, const SearchOptions& options,
                   Label* labels, float* scores, std::size_t* found) const {
    if (options.k == 0) throw Error(ErrorCode::input, "k must be at least 1, got 0");
    for (std::size_t i = 0; i < count; ++i) storage_.quantiser().check(queries + i * dim_, i);
    const SharedLock lock(*this);
    std::optional<Allowed> allowed;
    if (options.filter != nullptr) allowed = allow(*options.filter);
    const auto one = [&](std::size_t i, SearchContext& context) {
        const Query query = storage_.quantiser().query(queries + i * dim_, context.query);
        const CandidatePool& pool = nearest(query, options, allowed ? &*allowed : nullptr, context);
        std::size_t n = 0;
        for (; n < std::min(pool.size(), options.k); ++n) {
            const float score = storage_.quantiser().score_of(pool[n].key);
            if (options.threshold && score < *options.threshold) break;
            labels[i * options.k + n] = storage_.label(pool[n].slot);
            scores[i * options.k + n] = score;
        }
        found[i] = n;
    };
    const auto threads =
        static_cast<unsigned>(std::clamp<std::size_t>(count / 4, 1, std::max(1u, options.threads)));
    if (threads == 1) {
        std::unique_ptr<SearchContext> context = borrow_context();
        for (std::size_t i = 0; i < count; ++i) one(i, *context);
        return_context(std::move(context));
        return;
    }
    std::atomic<std::size_t> next{0};
    std::mutex failure_mutex;
    std::exception_ptr failure;
    const auto work = [&] {
        try {
            std::unique_ptr<SearchContext> context = borrow_context();
            for (std::size_t i = next++; i < count; i = next++) one(i, *context);
            return_context(std::move(context));
        } catch (...) {
            const std::lock_guard<std::mutex> guard(failure_mutex);
            failure = std::current_exception();
            next = count;
        }
    };
    std::vector<std::thread> workers;
    for (unsigned t = 1; t < threads; ++t) workers.emplace_back(work);
    work();
    for (std::thread& worker : workers) worker.join();
    if (failure) std::rethrow_exception(failure);
}

std::unique_ptr<SearchContext> Index::borrow_context() const {
    const std::lock_guard<std::mutex> guard(contexts_mutex_);
    if (contexts_.empty()) return std::make_unique<SearchContext>();
    std::unique_ptr<SearchContext> context = std::move(contexts_.back());
    contexts_.pop_back();
    return context;
}

void Index::return_context(std::unique_ptr<SearchContext> context) const {
    const std::lock_guard<std::mutex> guard(contexts_mutex_);
    contexts_.push_back(std::move(context));
}

void Index::save(const std::string& path, std::uint64_t tag) {
    const ExclusiveLock lock(*this);
    if (has_graph_) remove_deleted(storage_, graph_, params_);
    write_snapshot(path, {dim_, metric_, type_, params_, tag, has_graph_}, storage_, graph_);
}

std::unique_ptr<Index> Index::load(const std::string& path, std::uint64_t* tag) {
    const SnapshotReader reader(path);
    const SnapshotHeader& header = reader.header();
    auto index =
        std::make_unique<Index>(header.dim, header.metric, header.type, header.params);
    reader.read_into(index->storage_, index->graph_);
    index->has_graph_ = header.has_graph;
    if (tag != nullptr) *tag = header.tag;
    return index;
}

}  // namespace llmspell::index
