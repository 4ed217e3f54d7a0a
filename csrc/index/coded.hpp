// Search by codes: what an index with quantization keeps beside its graph, in step with it.
//
// A walk estimates keys from the codes in the graph's rows; what it finds nearest is ordered by
// better codes first, and the nearest of these by the stored rows. Not thread-safe for changes;
// searches may run beside each other.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/aligned.hpp"
#include "index/codes.hpp"
#include "index/graph.hpp"
#include "index/reach.hpp"
#include "index/search.hpp"
#include "index/sq4.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

class CodedGraph {
  public:
    CodedGraph(const Quantiser& quantiser, std::uint32_t max_neighbors);

    std::size_t bytes() const noexcept {
        return codes_.bytes() + starts_.bytes() + refined_bytes();
    }
    std::size_t mapped_bytes() const noexcept {
        return codes_.mapped_bytes() + (refined_ ? refined_->rows().mapped_bytes() : 0);
    }
    std::size_t refined_row_bytes() const noexcept { return refined_ ? refined_->row_bytes() : 0; }
    std::size_t refined_bytes() const noexcept { return refined_ ? refined_->bytes() : 0; }
    const Codes& codes() const noexcept { return codes_; }

    // Learns codes from these slots, which are all, and gives them to them.
    void train(const Storage& storage, Graph& graph, std::span<const Slot> slots, unsigned threads);
    // Whether there are so many more vectors now that codes should be learnt again.
    bool outgrown(const Storage& storage) const noexcept;
    // Whether walks by these codes find what walks by the vectors do; else there are none.
    bool useful() const noexcept { return useful_; }
    void encode(const Storage& storage, std::span<const Slot> slots, unsigned threads);
    void wipe(Slot slot) noexcept;
    void renumber(const std::vector<Slot>& moved, std::size_t live);
    void clear() noexcept;

    // Brings the rows whose links changed in step, or all after train. `removed`: nodes have left
    // the graph.
    void pack(Graph& graph, bool removed, unsigned threads);

    // Learns how far walks go, where codes are new or there are twice as many vectors.
    void survey(const Storage& storage, const Graph& graph);

    // Leaves in context.accepted of the `ef` nearest by estimate the `wanted` that are nearest by
    // their true keys, and live; of more than `ef`, where too few of those are live. `vector` is
    // the query as a float vector, of unit length under cosine. `passed_by` may be found, but its
    // links are not followed.
    void search(const Storage& storage, const Graph& graph, const float* vector, const Query& query,
                std::size_t ef, std::size_t wanted, SearchContext& context,
                Slot passed_by = kNoSlot) const;

    // What a snapshot holds besides codes and four-bit rows: the codebook, where walks start, and
    // when to learn anew. Reading it back, for `graph`, is false where it holds what none writes.
    std::vector<std::byte> state() const;
    bool restore(std::span<const std::byte> state, const Graph& graph);
    Codes& codes() noexcept { return codes_; }
    Sq4* refined() noexcept { return refined_ ? &*refined_ : nullptr; }
    const Sq4* refined() const noexcept { return refined_ ? &*refined_ : nullptr; }

  private:
    void pass_by(Slot slot, const WalkQuery& query, WalkPool& pool) const;
    void order(const Storage& storage, const float* vector, const Query& query, std::size_t wanted,
               SearchContext& context) const;
    void drop_distant(const float* vector, std::size_t wanted, SearchContext& context) const;
    bool tells_neighbours(const Storage& storage, std::span<const Slot> slots) const;
    void choose_starts(const Graph& graph);

    Codes codes_;
    std::optional<Sq4> refined_;      // where rows are much longer
    AlignedArray<std::byte> starts_;  // rows of one block each
    std::size_t start_rows_ = 0;
    std::size_t trained_for_ = 0;  // vectors
    bool useful_ = false;
    std::size_t nodes_ = 0;  // in the graph when the starts were chosen
    Reach reach_;
    std::size_t surveyed_for_ = 0;  // vectors
    Slot root_ = kNoSlot;           // from which every node can be reached
};

}  // namespace llmspell::index
