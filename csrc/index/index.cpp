#include "index/index.hpp"

#include <new>

#include "index/access.hpp"
#include "index/build.hpp"
#include "index/snapshot.hpp"
#include "index/types.hpp"

namespace llmspell::index {

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

std::vector<Slot> Index::live_slots() const {
    std::vector<Slot> slots;
    for (Slot slot = 0; slot < storage_.slots(); ++slot) {
        if (storage_.is_live(slot)) slots.push_back(slot);
    }
    return slots;
}

std::vector<Label> Index::labels() const {
    std::vector<Label> labels;
    {
        const SharedLock lock(*this);
        labels.reserve(storage_.live());
        for (Slot slot = 0; slot < storage_.slots(); ++slot) {
            if (storage_.is_live(slot)) labels.push_back(storage_.label(slot));
        }
    }
    std::sort(labels.begin(), labels.end());
    return labels;
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

// Nobody changes anything while it is the only change.
void Index::save(const std::string& path, std::uint64_t tag) {
    const ExclusiveEntry change = only_change(nullptr);
    unseal();
    bridge_all(nullptr);
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
    if (index->has_graph_ && index->coded_) index->coded_->join(index->graph_);
    index->snapshot_ = path;
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
    if (sealed_ && !storage_.finds_all()) {
        throw Error(ErrorCode::corrupt_file,
                    "snapshot " + snapshot_ + ": the table of ids is none");
    }
    for (const std::unique_ptr<BlockGuard>& guard : guards_) guard->check_all();
}

// A change goes by what is stored, so all of that is checked before the first one, beside searches.
// The tree needs all links. The only change.
void Index::unseal() {
    if (!sealed_) return;
    verify();
    {
        const ExclusiveEntry readers(readers_);
        storage_.guard_by(nullptr);
        storage_.read_from(nullptr);
        graph_.guard_by(nullptr);
        if (coded_) coded_->codes().guard_by({});
        if (coded_ && coded_->rounded_rows() != nullptr) coded_->rounded_rows()->guard_by(nullptr);
        guards_.clear();
    }
    try {
        const ExclusiveEntry writers(writers_);
        if (has_graph_ && count_unrooted(graph_) > 0) reconnect(storage_, graph_, params_);
    } catch (const std::bad_alloc&) {
        const ExclusiveStep step(*this);
        drop_graph();
    }
    sealed_ = false;
}

}  // namespace llmspell::index
