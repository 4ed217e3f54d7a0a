#include "index/pages.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "index/expansion.hpp"

namespace llmspell::index {

PageWalk::PageWalk(const void* vector, std::size_t bytes, std::size_t ef, const Filter* filter)
    : vector_(static_cast<const std::byte*>(vector), static_cast<const std::byte*>(vector) + bytes),
      ef_(ef) {
    if (filter == nullptr) return;
    if (filter->ids != nullptr) {
        kind_ = Kind::ids;
        ids_.assign(filter->ids, filter->ids + filter->id_count);
        std::sort(ids_.begin(), ids_.end());
        ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
    } else {
        kind_ = Kind::bits;
        bits_.assign(filter->bits, filter->bits + filter->bit_count / 8);
    }
}

bool PageWalk::admits(const Storage& storage, Slot slot) const {
    if (!storage.is_live(slot)) return false;
    const Label label = storage.label(slot);
    if (kind_ == Kind::ids && !std::binary_search(ids_.begin(), ids_.end(), label)) return false;
    if (kind_ == Kind::bits && !Filter{nullptr, 0, bits_.data(), bits_.size() * 8}.bit(label)) {
        return false;
    }
    const auto end = returned_.begin() + static_cast<std::ptrdiff_t>(sorted_);
    return !std::binary_search(returned_.begin(), end, label);
}

std::size_t PageWalk::count_eligible(const Storage& storage) const {
    if (kind_ == Kind::all) return storage.live();
    std::size_t count = 0;
    if (kind_ == Kind::ids) {
        for (const Label label : ids_) count += storage.find(label) != kNoSlot;
    } else {
        for (Slot slot = 0; slot < storage.slots(); ++slot) count += admits(storage, slot);
    }
    return count;
}

// While nothing changes a slot is visited once, and so its label returned once.
void PageWalk::remember_returned() {
    const auto middle = returned_.begin() + static_cast<std::ptrdiff_t>(sorted_);
    std::sort(middle, returned_.end());
    std::inplace_merge(returned_.begin(), middle, returned_.end());
    sorted_ = returned_.size();
}

void PageWalk::put(Candidate candidate) {
    if (near_.size() >= width_) {
        if (!nearer(candidate, near_.front())) {
            far_.push(candidate);
            return;
        }
        std::pop_heap(near_.begin(), near_.end(), nearer);
        far_.push(near_.back());
        near_.pop_back();
    }
    near_.push_back(candidate);
    std::push_heap(near_.begin(), near_.end(), nearer);
}

// A node that the walk has come to.
void PageWalk::offer(const Storage& storage, Candidate candidate) {
    if (admits(storage, candidate.slot)) {
        put(candidate);
    } else if (storage.state(candidate.slot) == SlotState::staged) {
        staged_.push_back(candidate);
    }
}

template <class Probe>
Page PageWalk::next(const Searcher& searcher, std::size_t size, SearchContext& context,
                    Probe& probe) {
    const Query query = searcher.storage().quantiser().query(vector_.data(), context.query);
    try {
        catch_up(searcher, query, size, context, probe);
        gather(searcher, query, size, context, probe);
        return take(searcher.storage(), size);
    } catch (const Error& error) {
        const bool stopped = error.code() == ErrorCode::search_timeout ||
                             error.code() == ErrorCode::search_cancelled;
        if (!stopped) begun_ = false;  // a candidate may have got lost
        throw;
    } catch (const std::bad_alloc&) {
        begun_ = false;
        throw;
    }
}

// Begins, or goes by what has changed since the last page.
template <class Probe>
void PageWalk::catch_up(const Searcher& searcher, const Query& query, std::size_t size,
                        SearchContext& context, Probe& probe) {
    const Storage& storage = searcher.storage();
    width_ = std::max(size, ef_ == 0 ? searcher.params().ef_search : ef_);
    const bool lost_graph = !frontier_.empty() && searcher.graph() == nullptr;
    const bool stays = begun_ && storage.layout() == layout_ && !lost_graph;
    if (stays) visited_.extend(storage.slots());
    if (stays && storage.version() == version_) return;
    remember_returned();
    version_ = storage.version();
    if (stays) {
        std::erase_if(near_, [&](const Candidate& c) { return !admits(storage, c.slot); });
        std::make_heap(near_.begin(), near_.end(), nearer);
        for (const Candidate candidate : std::exchange(staged_, {})) offer(storage, candidate);
        return;
    }
    begun_ = false;
    layout_ = storage.layout();
    near_.clear();
    far_.clear();
    staged_.clear();
    frontier_.clear();
    visited_.reset(storage.slots());
    const std::size_t eligible = count_eligible(storage);
    const bool walks = searcher.graph() != nullptr && size <= eligible / 4 &&
                       (kind_ == Kind::all || !searcher.sweep_is_cheaper(eligible, width_));
    if (walks) {
        const Candidate start = searcher.approach(query, context, probe);
        visited_.insert(start.slot);
        frontier_.push(start);
        offer(storage, start);
    }
    begun_ = true;
}

// Leaves in near_ at least `size`, or all that are left.
template <class Probe>
void PageWalk::gather(const Searcher& searcher, const Query& query, std::size_t size,
                      SearchContext& context, Probe& probe) {
    const Storage& storage = searcher.storage();
    if (!frontier_.empty()) {
        context.prepare(searcher.graph()->slots(), searcher.params().max_neighbors);
    }
    while (near_.size() < width_ && !far_.empty()) {
        const Candidate candidate = far_.pop();
        if (admits(storage, candidate.slot)) put(candidate);
    }
    const auto seen = [&](Candidate candidate) {
        offer(storage, candidate);
        return true;
    };
    do {
        while (!frontier_.empty() &&
               (near_.size() < width_ || nearer(frontier_.front(), near_.front()))) {
            probe.poll();
            expand(storage, *searcher.graph(), query, visited_, frontier_, context, seen, probe);
        }
    } while (near_.size() < size && sweep_rest(storage, query, probe));
}

// Puts in what no walk has come to: without a graph everything, else what links changed meanwhile
// kept from it. True where there was any.
template <class Probe>
bool PageWalk::sweep_rest(const Storage& storage, const Query& query, Probe& probe) {
    constexpr std::size_t kAtOnce = 256;
    Slot slots[kAtOnce] = {};
    float keys[kAtOnce];
    std::size_t count = 0;
    bool any = false;
    const auto flush = [&] {
        probe.poll();  // before they are visited: a search that is stopped here looks at them again
        storage.keys(query, slots, count, keys);
        probe.computed(count);
        for (std::size_t i = 0; i < count; ++i) {
            visited_.insert(slots[i]);
            put({keys[i], slots[i]});
        }
        any = any || count > 0;
        count = 0;
    };
    const auto offer = [&](Slot slot) {
        if (visited_.contains(slot) || !admits(storage, slot)) return;
        slots[count++] = slot;
        if (count == kAtOnce) flush();
    };
    if (kind_ == Kind::ids) {
        for (const Label label : ids_) {
            if (const Slot slot = storage.find(label); slot != kNoSlot) offer(slot);
        }
    } else {
        for (Slot slot = 0; slot < storage.slots(); ++slot) offer(slot);
    }
    flush();
    return any;
}

Page PageWalk::take(const Storage& storage, std::size_t size) {
    Page page;
    const std::size_t count = std::min(size, near_.size());
    page.labels.reserve(count);
    page.scores.reserve(count);
    std::sort(near_.begin(), near_.end(), nearer);
    for (std::size_t i = 0; i < count; ++i) {
        page.labels.push_back(storage.label(near_[i].slot));
        page.scores.push_back(storage.quantiser().score_of(near_[i].key));
    }
    returned_.insert(returned_.end(), page.labels.begin(), page.labels.end());
    near_.erase(near_.begin(), near_.begin() + static_cast<std::ptrdiff_t>(count));
    std::make_heap(near_.begin(), near_.end(), nearer);
    return page;
}

template Page PageWalk::next(const Searcher&, std::size_t, SearchContext&, Unwatched&);
template Page PageWalk::next(const Searcher&, std::size_t, SearchContext&, Watched&);

}  // namespace llmspell::index
