// Adding and removing: what of it runs beside searches, and what in short steps for itself.
#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <unordered_set>
#include <utility>

#include "index/access.hpp"
#include "index/build.hpp"
#include "index/index.hpp"
#include "index/relink.hpp"

namespace llmspell::index {

// Vectors that come in at once: first staged, each in a slot of its own, then published together.
class Index::Batch {
  public:
    Batch(Index& index, const Label* labels, const std::byte* vectors, std::size_t count,
          bool replace)
        : index_(index),
          labels_(labels, labels + count),
          vectors_(vectors),
          count_(count),
          replace_(replace) {
        slots_.reserve(count);
    }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;
    ~Batch() {
        if (!claimed_) return;
        const ExclusiveStep step(index_);
        for (const Slot slot : slots_) index_.storage_.unstage(slot);
        index_.storage_.disclaim(labels_.data(), count_);
        if (linking_) {
            index_.drop_graph();  // a graph that is half linked is none
        } else {
            for (const Slot slot : slots_) index_.give_away(slot);
        }
    }

    // In a step of the caller's. False where another batch holds one of the labels.
    bool try_claim() {
        Storage& storage = index_.storage_;
        for (std::size_t i = 0; !replace_ && i < count_; ++i) {
            if (storage.find(labels_[i]) == kNoSlot) continue;
            throw Error(ErrorCode::duplicate_id, "id " + std::to_string(labels_[i]) +
                                                     " is in the index already; use upsert");
        }
        claimed_ = storage.claim(labels_.data(), count_);
        return claimed_;
    }

    void stage() {
        const std::size_t vector_bytes = index_.storage_.quantiser().vector_bytes();
        while (slots_.size() < count_) {
            const ExclusiveStep step(index_);
            const std::size_t first = slots_.size();
            index_.make_room(count_ - first);
            for (std::size_t i = first; i < std::min(first + kSlotsAtOnce, count_); ++i) {
                slots_.push_back(index_.storage_.stage(labels_[i], vectors_ + i * vector_bytes));
            }
            if (!index_.has_graph_) continue;
            add_nodes(index_.storage_, index_.graph_, index_.params_,
                      std::span(slots_).subspan(first));
        }
    }

    // Beside searches and other batches.
    void link(unsigned threads) {
        const auto enter = [&] {
            SharedEntry entry(index_.writers_);
            if (!index_.has_graph_) entry.unlock();
            return entry;
        };
        // All have their codes before a link leads to one.
        constexpr std::size_t kCodedAtOnce = 1024;
        for (std::size_t first = 0; index_.coded_ && first < count_; first += kCodedAtOnce) {
            const SharedEntry entry = enter();
            if (!entry.owns_lock()) return;
            const std::size_t some = std::min(kCodedAtOnce, count_ - first);
            index_.coded_->encode(index_.storage_, std::span(slots_).subspan(first, some), threads);
        }
        const Sq4* rounded = nullptr;
        {
            const SharedEntry entry = enter();
            if (!entry.owns_lock()) return;
            if (index_.coded_) rounded = index_.coded_->rounded_rows();
        }
        linking_ = true;
        link_nodes(index_.storage_, index_.graph_, index_.params_, slots_, threads, rounded,
                   index_.link_locks_, [&](Slot) { return enter(); });
    }

    // In a step of the caller's.
    void publish() noexcept {
        for (const Slot slot : slots_) {
            const Slot old = index_.storage_.publish(slot);
            if (old != kNoSlot && !index_.is_linked(old)) index_.storage_.release(old);
        }
        index_.size_ = index_.storage_.live();
        claimed_ = false;
    }

    std::size_t count() const noexcept { return count_; }
    std::size_t count_new() const noexcept {
        return static_cast<std::size_t>(
            std::count_if(labels_.begin(), labels_.end(),
                          [&](Label label) { return index_.storage_.find(label) == kNoSlot; }));
    }

  private:
    Index& index_;
    std::vector<Label> labels_;  // a copy: what is claimed must be given up again
    const std::byte* vectors_;
    std::size_t count_;
    bool replace_;
    bool claimed_ = false;
    bool linking_ = false;
    std::vector<Slot> slots_;
};

void Index::check_batch(const Label* labels, const std::byte* vectors, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
        storage_.quantiser().check(vectors + i * storage_.quantiser().vector_bytes(), i);
        if (labels[i] > kMaxLabel) {
            throw Error(ErrorCode::invalid_id,
                        "ids must be from 0 to 2^63 - 1, got " + std::to_string(labels[i]));
        }
    }
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
}

void Index::add(const Label* labels, const void* input, std::size_t count, bool replace,
                unsigned threads) {
    const auto* vectors = static_cast<const std::byte*>(input);
    check_batch(labels, vectors, count);
    if (count == 0) return;
    open_for_changes();
    bool added = false;
    {
        const SharedEntry change(changes_);
        Batch batch(*this, labels, vectors, count, replace);
        added = add(batch, threads);
    }
    if (!added) {
        const ExclusiveEntry change = only_change(nullptr);
        Batch batch(*this, labels, vectors, count, replace);
        if (!add(batch, threads)) build(batch, threads);
    }
    look_after(threads);
}

// False, and nothing has happened, where it makes a first graph due.
bool Index::add(Batch& batch, unsigned threads) {
    constexpr std::chrono::microseconds kLongest{10'000};
    std::chrono::microseconds pause{50};
    for (bool claimed = false; !claimed;) {
        {
            const ExclusiveEntry step(writers_);
            if (builds_graph(batch.count()) && builds_graph(batch.count_new())) return false;
            claimed = batch.try_claim();
        }
        if (!claimed) std::this_thread::sleep_for(pause);
        pause = std::min(2 * pause, kLongest);
    }
    batch.stage();
    batch.link(threads);
    const ExclusiveEntry writers(writers_);
    std::optional<CodedGraph::Starts> starts;
    if (has_graph_ && coded_ && coded_->are_starts_due(graph_)) {
        starts = coded_->choose_starts(graph_);
    }
    const ExclusiveEntry readers(readers_);
    if (starts) coded_->set_starts(std::move(*starts));
    batch.publish();
    return true;
}

// A first graph is built aside, by the only change. Where walks go by codes, which is quick, it is
// built with half the width, and all nodes are linked again once all are there, with three
// quarters of it.
void Index::build(Batch& batch, unsigned threads) {
    batch.try_claim();
    batch.stage();
    std::vector<Slot> slots;
    for (Slot slot = 0; slot < storage_.slots(); ++slot) {
        if (storage_.stays(slot)) slots.push_back(slot);
    }
    Graph graph(params_.m, params_.max_neighbors);
    graph.reserve(storage_.capacity());
    std::unique_ptr<CodedGraph> coded = rounded(slots, threads);
    if (coded) coded->train(storage_, slots, threads);
    const bool twice = coded && coded->walks_rows();
    const auto at_least_m = [&](std::uint32_t width) { return std::max(params_.m, width); };
    Params first = params_;
    if (twice) first.ef_construction = at_least_m(params_.ef_construction / 2);
    link_all(storage_, graph, first, slots, threads, coded ? coded->rounded_rows() : nullptr);
    if (coded) coded->attach(graph, threads);
    {
        const ExclusiveStep step(*this);
        graph_ = std::move(graph);
        coded_.swap(coded);
        has_graph_ = true;
        batch.publish();
    }
    if (!twice) return;
    try {
        relink(storage_, graph_, *coded_, params_, slots,
               at_least_m(params_.ef_construction / 4 * 3), threads, link_locks_,
               [&] { return SharedEntry(writers_); });
    } catch (const std::bad_alloc&) {
        // What was added stands, with the links that it has.
    }
}

bool Index::is_sparse() const noexcept {
    return has_graph_ && storage_.live() + storage_.staged() <
                             std::max<std::size_t>(params_.graph_threshold / 2, 1);
}

bool Index::builds_graph(std::size_t more) const noexcept {
    return !has_graph_ && storage_.live() + storage_.claimed() + more >=
                              std::max<std::size_t>(params_.graph_threshold, 1);
}

// The start of codes for these slots, which are all.
std::unique_ptr<CodedGraph> Index::rounded(std::span<const Slot> slots, unsigned threads) const {
    if (params_.quantization == Quantization::none) return nullptr;
    auto coded = std::make_unique<CodedGraph>(storage_.quantiser(), params_);
    coded->round(storage_, slots, threads);
    return coded;
}

// The graph and its codes have room for as many as the storage, so that one of them decides.
void Index::make_room(std::size_t count) {
    storage_.reserve(count);
    if (!has_graph_) return;
    graph_.reserve(storage_.capacity());
    if (coded_) coded_->resize(storage_.capacity());
}

// Whoever comes first makes the index fit to be changed.
void Index::open_for_changes(const Watch* watch) {
    if (!sealed_) return;
    const ExclusiveEntry change = only_change(watch);
    unseal();
}

std::size_t Index::remove(const Label* labels, std::size_t count) {
    open_for_changes();
    std::size_t removed = 0;
    {
        const SharedEntry change(changes_);
        const ExclusiveStep step(*this);
        for (std::size_t i = 0; i < count; ++i) {
            const Slot slot = storage_.find(labels[i]);
            if (slot == kNoSlot) continue;
            storage_.mark_deleted(slot);
            if (!is_linked(slot)) storage_.release(slot);
            ++removed;
        }
        size_ = storage_.live();
    }
    look_after(1);
    return removed;
}

bool Index::is_linked(Slot slot) const noexcept {
    return has_graph_ && slot < graph_.slots() && graph_.contains(slot);
}

// A deleted slot that nothing leads to.
void Index::give_away(Slot slot) noexcept {
    if (is_linked(slot)) graph_.remove_node(slot);
    if (has_graph_ && coded_) coded_->wipe(slot);
    storage_.release(slot);
}

// What is stored is found by a sweep until the next addition.
void Index::drop_graph() noexcept {
    graph_.clear();
    if (coded_) coded_->clear();
    has_graph_ = false;
    ++graphs_;
    for (Slot slot = 0; slot < storage_.slots(); ++slot) {
        if (storage_.state(slot) == SlotState::deleted) storage_.release(slot);
    }
}

}  // namespace llmspell::index
