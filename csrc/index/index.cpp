#include "index/index.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <unordered_set>

#include "index/access.hpp"
#include "index/build.hpp"
#include "index/repair.hpp"
#include "index/snapshot.hpp"
#include "index/types.hpp"

namespace llmspell::index {

// What an addition takes out of the index, to be put back if the addition fails.
class Index::Replaced {
  public:
    Replaced(const Storage& storage, std::span<const Slot> slots)
        : row_bytes_(storage.quantiser().row_bytes()), rows_(slots.size() * row_bytes_) {
        for (std::size_t i = 0; i < slots.size(); ++i) {
            std::memcpy(rows_.data() + i * row_bytes_, storage.row(slots[i]), row_bytes_);
        }
        labels_.reserve(slots.size());
    }
    void take(Label label) { labels_.push_back(label); }
    void restore(Storage& storage) noexcept {
        for (std::size_t i = 0; i < labels_.size(); ++i) {
            storage.restore_row(labels_[i], rows_.data() + i * row_bytes_);
        }
    }

  private:
    std::size_t row_bytes_;
    std::vector<std::byte> rows_;
    std::vector<Label> labels_;
};

Index::Index(std::size_t dim, Metric metric, simd::ElementType type, const Params& params)
    : dim_((check_params(params, dim), check_types(metric, type, params.quantization), dim)),
      metric_(metric),
      type_(type),
      params_(params),
      storage_(Quantiser(dim, metric, type)),
      coded_(params.quantization == Quantization::none
                 ? nullptr
                 : std::make_unique<CodedGraph>(storage_.quantiser(), params)),
      graph_(params.m, params.max_neighbors) {}

bool Index::contains(Label label) const {
    const SharedLock lock(*this);
    return storage_.find(label) != kNoSlot;
}

void Index::check_batch(const Label* labels, const std::byte* vectors, std::size_t count,
                        bool replace) const {
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
    if (replace) return;
    for (std::size_t i = 0; i < count; ++i) {
        if (storage_.find(labels[i]) != kNoSlot) {
            throw Error(ErrorCode::duplicate_id,
                        "id " + std::to_string(labels[i]) + " is in the index already; use upsert");
        }
    }
}

void Index::add(const Label* labels, const void* input, std::size_t count, bool replace,
                unsigned threads) {
    const auto* vectors = static_cast<const std::byte*>(input);
    const std::size_t vector_bytes = storage_.quantiser().vector_bytes();
    const std::lock_guard<std::mutex> change(changes_);
    unseal();
    const ExclusiveLock lock(*this);
    check_batch(labels, vectors, count, replace);
    make_room(count);
    std::vector<Slot> slots;
    slots.reserve(count);
    std::vector<Slot> old;
    for (std::size_t i = 0; replace && i < count; ++i) {
        if (const Slot slot = storage_.find(labels[i]); slot != kNoSlot) old.push_back(slot);
    }
    Replaced replaced(storage_, old);
    for (const Slot slot : old) {
        replaced.take(storage_.label(slot));
        forget(slot);
    }
    try {
        if (!old.empty()) {
            repair();
            make_room(count);
        }
        for (std::size_t i = 0; i < count; ++i) {
            slots.push_back(storage_.insert(labels[i], vectors + i * vector_bytes));
        }
        if (has_graph_) {
            link(slots, false, threads);
        } else {
            grow_graph(threads);
        }
    } catch (...) {
        drop_graph();
        for (const Slot slot : slots) forget(slot);
        replaced.restore(storage_);
        size_ = storage_.live();
        throw;
    }
    size_ = storage_.live();
    shrink();
}

// The graph has room for as many as the storage, so that one of them decides.
void Index::make_room(std::size_t count) {
    storage_.reserve(count);
    if (has_graph_) graph_.reserve(storage_.capacity());
}

std::size_t Index::remove(const Label* labels, std::size_t count) {
    const std::lock_guard<std::mutex> change(changes_);
    unseal();
    const ExclusiveLock lock(*this);
    std::size_t removed = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const Slot slot = storage_.find(labels[i]);
        if (slot == kNoSlot) continue;
        forget(slot);
        ++removed;
    }
    size_ = storage_.live();
    repair();
    shrink();
    return removed;
}

void Index::forget(Slot slot) noexcept {
    storage_.mark_deleted(slot);
    if (!has_graph_) storage_.release(slot);
}

// A graph that is half linked is none; what is stored is found by a sweep until the next addition.
void Index::drop_graph() noexcept {
    graph_.clear();
    if (coded_) coded_->clear();
    has_graph_ = false;
    for (Slot slot = 0; slot < storage_.slots(); ++slot) {
        if (storage_.state(slot) == SlotState::deleted) storage_.release(slot);
    }
}

void Index::grow_graph(unsigned threads) {
    if (storage_.live() < std::max<std::size_t>(params_.graph_threshold, 1)) return;
    const std::vector<Slot> slots = live_slots();
    has_graph_ = true;
    link(slots, true, threads);
}

// Links slots into the graph, which are all of it or new.
void Index::link(std::span<const Slot> slots, bool all, unsigned threads) {
    if (coded_) coded_->round(storage_, slots, all, threads);
    link_all(storage_, graph_, params_, slots, threads, coded_ ? coded_->rounded_rows() : nullptr);
    code(slots, all, threads);
}

std::vector<Slot> Index::linked_slots() const {
    std::vector<Slot> slots;
    for (Slot slot = 0; slot < graph_.slots(); ++slot) {
        if (graph_.contains(slot)) slots.push_back(slot);
    }
    return slots;
}

std::vector<Slot> Index::live_slots() const {
    std::vector<Slot> slots;
    for (Slot slot = 0; slot < storage_.slots(); ++slot) {
        if (storage_.is_live(slot)) slots.push_back(slot);
    }
    return slots;
}

// Gives codes to slots that have been linked, learnt from all where these are all, or as many more
// as there were when codes were learnt.
void Index::code(std::span<const Slot> slots, bool all, unsigned threads) {
    if (!coded_) return;
    if (all) {
        coded_->train(storage_, graph_, slots, threads);
    } else if (coded_->outgrown(storage_)) {
        const std::vector<Slot> linked = linked_slots();
        coded_->round(storage_, linked, true, threads);
        coded_->train(storage_, graph_, linked, threads);
        all = true;
    } else {
        coded_->encode(storage_, slots, threads);
    }
    coded_->pack(graph_, all, threads);
    coded_->survey(storage_, graph_);
}

// Deleted nodes are bridged once they are one in fifty, so that a pass over the graph is shared by
// many deletes.
void Index::repair() {
    constexpr std::size_t kMinDeleted = 32, kDeletedShare = 50;
    if (!has_graph_) return;
    if (storage_.live() < std::max<std::size_t>(params_.graph_threshold / 2, 1)) {
        drop_graph();
    } else if (storage_.deleted() > std::max(kMinDeleted, storage_.live() / kDeletedShare)) {
        bridge();
    }
}

// The change that made it necessary stands, even if there is no memory for this.
void Index::bridge() {
    try {
        if (coded_) {
            for (Slot slot = 0; slot < storage_.slots(); ++slot) {
                if (storage_.state(slot) == SlotState::deleted) coded_->wipe(slot);
            }
        }
        remove_deleted(storage_, graph_, params_);
        if (coded_) coded_->pack(graph_, true, 1);
    } catch (const std::bad_alloc&) {
        drop_graph();
    }
}

// Rows move together once so many are unused that it is worth it.
void Index::shrink() {
    if (!storage_.loose()) return;
    if (storage_.deleted() > 0) bridge();
    try {
        const std::vector<Slot> moved = storage_.compact();
        if (has_graph_) graph_.renumber(moved, storage_.live());
        if (has_graph_ && coded_) {
            coded_->renumber(moved, storage_.live());
            coded_->pack(graph_, true, 1);
        }
    } catch (const std::bad_alloc&) {
        drop_graph();
    }
    const std::lock_guard<std::mutex> guard(contexts_mutex_);
    contexts_.clear();  // their size is that of the largest index they have seen
}

std::vector<Slot> Index::find_all(const Label* labels, std::size_t count) const {
    std::vector<Slot> slots(count);
    for (std::size_t i = 0; i < count; ++i) {
        slots[i] = storage_.find(labels[i]);
        if (slots[i] == kNoSlot) {
            throw Error(ErrorCode::id_not_found,
                        "id " + std::to_string(labels[i]) + " is not in the index");
        }
    }
    return slots;
}

void Index::get(const Label* labels, std::size_t count, void* out) const {
    const SharedLock lock(*this);
    auto* vector = static_cast<std::byte*>(out);
    const std::vector<Slot> slots = find_all(labels, count);
    for (const Slot slot : slots) {
        storage_.quantiser().decode(storage_.checked_row(slot), vector);
        vector += storage_.quantiser().vector_bytes();
    }
}

void Index::save(const std::string& path, std::uint64_t tag) {
    const std::lock_guard<std::mutex> change(changes_);
    unseal();
    {
        const ExclusiveLock lock(*this);
        if (has_graph_) bridge();
    }
    const SharedLock lock(*this);
    write_snapshot(path, {dim_, metric_, type_, params_, tag, has_graph_}, storage_, graph_,
                   coded_.get());
}

std::unique_ptr<Index> Index::load(const std::string& path, std::uint64_t* tag, Mapping mapping) {
    SnapshotReader reader(path, mapping);
    const SnapshotHeader& header = reader.header();
    auto index = std::make_unique<Index>(header.dim, header.metric, header.type, header.params);
    index->has_graph_ = header.has_graph;
    index->guards_ = reader.read_into(index->storage_, index->graph_, index->coded_.get());
    index->size_ = index->storage_.live();
    index->sealed_ = true;
    if (mapping == Mapping::none) index->unseal();
    if (tag != nullptr) *tag = header.tag;
    return index;
}

void Index::verify() const {
    const SharedLock lock(*this);
    check_blocks();
}

void Index::check_blocks() const {
    for (const std::unique_ptr<BlockGuard>& guard : guards_) guard->check_all();
}

// A change goes by what is stored, so all of that is checked before the first one, beside searches.
// The tree needs all links.
void Index::unseal() {
    if (!sealed_) return;
    verify();
    const ExclusiveLock lock(*this);
    storage_.guard_by(nullptr);
    graph_.guard_by(nullptr);
    if (coded_) coded_->codes().guard_by({});
    if (coded_ && coded_->rounded_rows() != nullptr) coded_->rounded_rows()->guard_by(nullptr);
    guards_.clear();
    sealed_ = false;
    if (!has_graph_ || count_unrooted(graph_) == 0) return;
    try {
        reconnect(storage_, graph_, params_);
        if (coded_) coded_->pack(graph_, false, 1);
    } catch (const std::bad_alloc&) {
        drop_graph();
    }
}

}  // namespace llmspell::index
