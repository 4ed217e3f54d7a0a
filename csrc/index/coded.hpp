// Search by codes: what an index with quantization keeps beside its graph, in step with it.
//
// With quantization pq a walk estimates keys from the codes in the graph's rows; what it finds
// nearest is ordered by better codes first, and the nearest of these by the stored rows. With sq4
// there are the better codes alone, rows of four bits a dimension, and a walk goes by these.
// Searches may run beside each other, and beside `encode` and `set_links` of the graph, whose rows
// it fills.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned.hpp"
#include "index/codes.hpp"
#include "index/filter.hpp"
#include "index/graph.hpp"
#include "index/reach.hpp"
#include "index/search.hpp"
#include "index/sq4.hpp"
#include "index/storage.hpp"
#include "index/watch.hpp"

namespace llmspell::index {

// How many nodes a walk keeps that expands `ef`: estimates are rough, and better ones cost less
// than the steps that would find as many more.
inline std::size_t kept_of(std::size_t ef) noexcept { return ef + ef / 4 + 16; }

class CodedGraph final : public BesideLinks {
  public:
    CodedGraph(const Quantiser& quantiser, const Params& params);

    bool rounded() const noexcept { return rounded_; }  // with sq4

    std::size_t bytes() const noexcept {
        return codes_.bytes() + starts_.rows.bytes() + refined_bytes();
    }
    std::size_t mapped_bytes() const noexcept {
        return codes_.mapped_bytes() + (refined_ ? refined_->rows().mapped_bytes() : 0);
    }
    std::size_t refined_row_bytes() const noexcept { return refined_ ? refined_->row_bytes() : 0; }
    std::size_t refined_bytes() const noexcept { return refined_ ? refined_->bytes() : 0; }
    const Codes& codes() const noexcept { return codes_; }

    // Gives four-bit rows to these slots, which are all, before they are linked, for builds walk by
    // these as well, and tries whether such rows tell near vectors from others.
    void round(const Storage& storage, std::span<const Slot> slots, unsigned threads);
    // The four-bit rows of all slots; nullptr where there are none.
    const Sq4* rounded_rows() const noexcept { return round_ ? &*refined_ : nullptr; }

    // Learns codes from these slots, which are all and have their four-bit rows, and gives them to
    // them. Rows of the graph are filled by `attach` alone.
    void train(const Storage& storage, std::span<const Slot> slots, unsigned threads);
    // Whether there are so many more vectors now that codes should be learnt again.
    bool outgrown(const Storage& storage) const noexcept;
    // Whether walks by these codes find what walks by the vectors do; else there are none.
    bool useful() const noexcept { return useful_; }
    void resize(std::size_t slots);  // room for the codes of as many
    // Gives codes, and four-bit rows unless they have them, to slots that no row of the graph names
    // yet.
    void encode(const Storage& storage, std::span<const Slot> slots, unsigned threads,
                bool round = true);
    void wipe(Slot slot) noexcept;
    // What goes by slots, where moved[old] is the new slot of each; searches may go on until adopt.
    struct Arrays {
        Codes::Arrays codes;
        AlignedArray<std::uint8_t> refined;
        AlignedArray<std::byte> start_rows;
        Slot root = kNoSlot;
        std::size_t nodes = 0;
    };
    Arrays renumbered(const std::vector<Slot>& moved, std::size_t live) const;
    void adopt(Arrays arrays) noexcept;
    void clear() noexcept;

    // After train: fills all rows of the graph, and those that are set from then on.
    void attach(Graph& graph, unsigned threads);
    // After restore: the rows are filled as they are.
    void join(Graph& graph) const { graph.set_beside(beside(), beside_bytes()); }
    // Where walks start: a sample of the nodes, and one from which every node can be reached.
    struct Starts {
        AlignedArray<std::byte> rows;  // of one block each
        std::size_t count = 0;         // of them
        std::size_t nodes = 0;         // in the graph when they were chosen
        Slot root = kNoSlot;
    };
    bool are_starts_due(const Graph& graph) const noexcept {
        return walks_rows() &&
               (graph.slots() >= 2 * starts_.nodes || graph.entry() != starts_.root);
    }
    Starts choose_starts(const Graph& graph) const;
    void set_starts(Starts starts) noexcept { starts_ = std::move(starts); }
    // Whether walks go by codes in the graph's rows.
    bool walks_rows() const noexcept { return useful_ && !rounded_; }
    void pack(std::byte* row, std::span<const Slot> places) const noexcept override {
        codes_.pack(row, codes_.layout(), places);
    }

    // How far walks go; due where codes are new or there are twice as many vectors.
    bool is_survey_due(const Storage& storage) const noexcept;
    Reach survey(const Storage& storage, const Graph& graph) const;
    void set_reach(Reach reach, const Storage& storage) noexcept {
        reach_ = std::move(reach);
        surveyed_for_ = storage.live();
    }

    // Leaves in context.accepted of the `ef` nearest by estimate the `wanted` that are nearest by
    // their true keys, and live; of more than `ef`, where too few of those are live. `vector` is
    // the query as a float vector, of unit length under cosine. `passed_by` may be found, but its
    // links are not followed.
    void search(const Storage& storage, const Graph& graph, const float* vector, const Query& query,
                std::size_t ef, std::size_t wanted, SearchContext& context,
                Slot passed_by = kNoSlot, bool goes_by_reach = true) const;
    // The same by rows of four bits a dimension, with sq4; `passed_by` is not found.
    template <class Probe>
    void search_rounded(const Storage& storage, const Graph& graph, const float* vector,
                        const Query& query, std::size_t ef, std::size_t wanted,
                        SearchContext& context, Slot passed_by, Probe& probe) const;

    // The same among `allowed`, of which there are at least `wanted`, in one of several ways; none
    // where only a sweep over the rows would do. In filtered.cpp, as what follows.
    template <class Probe>
    Strategy search_allowed(const Storage& storage, const Graph& graph, const float* vector,
                            const Query& query, std::size_t ef, std::size_t wanted,
                            const Allowed& allowed, SearchContext& context, Probe& probe) const;
    // What each way is expected to take, and to make blocks and copies, in ns.
    struct Costs {
        double walk, rows, blocks, copies, packing, copying;
        double spared_by_blocks() const noexcept {
            return std::max(0.0, std::min(walk, rows) - std::min(blocks, copies));
        }
    };
    Costs costs(const Storage& storage, std::size_t ef, std::size_t wanted,
                std::size_t allowed) const noexcept;
    CodeBlocks blocks_of(const Allowed& allowed, bool copies) const;
    std::size_t block_bytes(std::size_t allowed) const noexcept;
    std::size_t copy_bytes(std::size_t allowed) const noexcept;

    // What a snapshot holds besides codes and four-bit rows: the codebook, where walks start, and
    // when to learn anew. Reading it back, for `graph`, is false where it holds what none writes.
    std::vector<std::byte> state() const;
    bool restore(std::span<const std::byte> state, const Graph& graph);
    Codes& codes() noexcept { return codes_; }
    Sq4* rounded_rows() noexcept { return round_ ? &*refined_ : nullptr; }

  private:
    template <class Probe>
    void sweep_refined(const Storage& storage, const float* vector, const Query& query,
                       std::size_t wanted, const Allowed& allowed, const std::uint8_t* copies,
                       SearchContext& context, Probe& probe) const;
    template <class Probe>
    void sweep_blocks(const Storage& storage, const float* vector, const Query& query,
                      std::size_t ef, std::size_t wanted, const Allowed& allowed,
                      SearchContext& context, Probe& probe) const;
    template <class Probe>
    Candidate approach(const FourBitRows& rows, const Graph& graph, SearchContext& context,
                       Probe& probe) const;
    template <class Probe>
    bool walk_rounded(const Storage& storage, const Graph& graph, const float* vector,
                      const Query& query, std::size_t ef, std::size_t wanted,
                      const Allowed& allowed, std::size_t max_steps, SearchContext& context,
                      Probe& probe) const;
    bool walk_allowed(const Storage& storage, const Graph& graph, const WalkQuery& query,
                      std::size_t ef, std::size_t wanted, double depth, const Allowed& allowed,
                      double sweep, SearchContext& context) const;
    // Leaves in context.accepted the nearest of context.todo.
    void compare(const Storage& storage, const Query& query, std::size_t wanted,
                 SearchContext& context) const;
    WalkRows rows_of(const Graph& graph, const Storage& storage, bool refine) const noexcept;
    void count_walk(std::size_t steps, SearchContext& context) const noexcept;
    void pass_by(Slot slot, const WalkQuery& query, WalkPool& pool) const;
    void order(const Storage& storage, const WalkPool& pool, const float* vector,
               const Query& query, std::size_t wanted, bool refine, SearchContext& context) const;
    bool refines(std::size_t ef, std::size_t wanted) const noexcept;
    void drop_distant(std::size_t wanted, SearchContext& context) const;
    bool tells_neighbours(const Storage& storage, std::span<const Slot> slots) const;
    void drop_rounded() noexcept;
    bool rounding_tells_neighbours(const Storage& storage, std::span<const Slot> slots) const;
    const BesideLinks* beside() const noexcept { return walks_rows() ? this : nullptr; }
    std::size_t beside_bytes() const noexcept { return walks_rows() ? codes_.layout().bytes() : 0; }

    bool rounded_;
    Codes codes_;                 // untrained with sq4
    std::optional<Sq4> refined_;  // where rows are much longer, or with sq4
    Starts starts_;
    bool round_ = false;           // all slots have their four-bit rows
    std::size_t trained_for_ = 0;  // vectors
    bool useful_ = false;
    Reach reach_;
    std::size_t surveyed_for_ = 0;  // vectors
};

}  // namespace llmspell::index
