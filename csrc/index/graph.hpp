// The links of a hierarchical navigable small world graph (Malkov and Yashunin 2018,
// arXiv:1603.09320) and nothing else: no vectors, no distances.
//
// Layer 0 is one array of rows: max_neighbors places, for links and behind them extras, nodes near
// by that a walk may look at where it reads the whole row anyway; kNoSlot where there is none. The
// rest of a row is its owner's, to hold what belongs to the places. A node of level L > 0 has L
// rows of a count and m slots for the layers above. Readers may run beside each other; writers need
// either the whole graph to themselves or the node's lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned.hpp"
#include "index/block_guard.hpp"
#include "index/params.hpp"

namespace llmspell::index {

class Graph {
  public:
    Graph(std::uint32_t m, std::uint32_t max_neighbors) noexcept;

    void reserve(std::size_t slots);  // room for as many
    void resize(std::size_t slots);
    void clear() noexcept;
    std::size_t slots() const noexcept { return levels_.size(); }
    std::size_t bytes() const noexcept;
    std::size_t upper_bytes() const noexcept;   // of these, for layers above 0
    std::size_t mapped_bytes() const noexcept;  // besides, of a file

    bool empty() const noexcept { return entry_ == kNoSlot; }
    Slot entry() const noexcept { return entry_; }
    int max_level() const noexcept { return max_level_; }
    void set_entry(Slot slot, int level) noexcept {
        entry_ = slot;
        max_level_ = level;
    }

    bool contains(Slot slot) const noexcept { return levels_[slot] >= 0; }
    int level(Slot slot) const noexcept { return levels_[slot]; }
    void add_node(Slot slot, int level);
    void remove_node(Slot slot) noexcept;  // links that lead to it are the caller's to remove

    std::uint32_t degree_limit(int level) const noexcept {
        return level == 0 ? max_neighbors_ : m_;
    }
    std::span<const Slot> links(Slot slot, int level) const noexcept {
        if (level == 0) return {places(slot), counts_[slot]};
        const Slot* row = upper_row(slot, level);
        return {row + 1, row[0]};
    }
    // The same, of a snapshot whose blocks may not have been looked at: may throw
    // Error(corrupt_file).
    std::span<const Slot> checked_links(Slot slot, int level) const {
        if (level == 0 && guard_ != nullptr) guard_->check(slot);
        return links(slot, level);
    }
    std::span<const Slot> extras(Slot slot) const noexcept;
    void prefetch_links(Slot slot) const noexcept {
        __builtin_prefetch(bottom_row(slot));
        __builtin_prefetch(bottom_row(slot) + 64);
    }

    // Extras that find no place are left out; layers above 0 have none.
    void set_links(Slot slot, int level, std::span<const Slot> links,
                   std::span<const Slot> extras = {}) noexcept;

    std::size_t row_bytes() const noexcept { return row_bytes_; }
    // Of rows of layer 0 that take so much, or as their links need.
    std::size_t row_bytes_for(std::size_t bytes) const noexcept;
    // Makes rows of layer 0 so long, or as their links need. All count as changed; what lay beside
    // the places is gone.
    void set_row_bytes(std::size_t bytes);
    const std::byte* bottom_row(Slot slot) const noexcept {
        return bottom_.data() + slot * row_bytes_;
    }
    std::byte* bottom_row(Slot slot) noexcept { return bottom_.data() + slot * row_bytes_; }
    // The nodes whose places were set since the last call.
    std::vector<Slot> take_changed();

    // A tree over the links of layer 0: every node but the root has a parent, which always links
    // to it, so that a walk from the root comes to every node whatever the choice of links drops.
    Slot parent(Slot slot) const noexcept {
        return std::atomic_ref<Slot>(const_cast<Slot&>(parents_[slot]))
            .load(std::memory_order_relaxed);
    }
    bool rooted(Slot slot) const noexcept { return parent(slot) != kNoSlot; }
    bool is_child(Slot slot, Slot of) const noexcept { return parent(slot) == of && slot != of; }
    // Makes `slot` the parent of `child`, which it is about to link to. False where it has no
    // parent itself, or so many children that they would leave it few links of its own choice.
    bool adopt(Slot slot, Slot child) noexcept;
    // Puts those of `offered` that are children of `slot` into `links`, in place of the last ones
    // that aren't where there is no room.
    void keep_children(Slot slot, std::span<const Slot> offered, std::vector<Slot>& links) const;
    // Forgets the tree and makes `root` the root of a new one.
    void plant_tree(Slot root) noexcept;
    // Takes into the tree all that can be reached from `slot`, which is in it.
    void grow_tree(Slot slot);

    // Renumbers after Storage::compact: moved[old] is the new slot, or kNoSlot.
    void renumber(const std::vector<Slot>& moved, std::size_t live);

    // What a snapshot holds: the arrays as they are, and the rows of the layers above 0, node by
    // node.
    struct Arrays {
        AlignedArray<std::byte> bottom;
        AlignedArray<std::uint16_t> counts;
        AlignedArray<std::int8_t> levels;
        AlignedArray<Slot> parents;
        std::span<const Slot> upper;
        Slot entry = kNoSlot;
        int max_level = -1;
    };
    const AlignedArray<std::uint16_t>& counts() const noexcept { return counts_; }
    const AlignedArray<std::int8_t>& levels() const noexcept { return levels_; }
    const AlignedArray<Slot>& parents() const noexcept { return parents_; }
    std::vector<Slot> upper_rows() const;
    // Takes them, of rows of `row_bytes`; false where they can't be those of a graph. The rows of
    // layer 0 are the guard's to check, by sound_row.
    bool restore(Arrays arrays, std::size_t row_bytes);
    // Of the `places` that a row begins with; those beyond links and extras hold kNoSlot.
    bool sound_row(Slot slot, std::size_t places) const noexcept;
    void guard_by(const BlockGuard* guard) noexcept { guard_ = guard; }
    const BlockGuard* guard() const noexcept { return guard_; }
    const AlignedArray<std::byte>& bottom() const noexcept { return bottom_; }
    std::uint32_t max_neighbors() const noexcept { return max_neighbors_; }

  private:
    std::size_t upper_row_bytes() const noexcept { return (m_ + 1) * sizeof(Slot); }
    const Slot* places(Slot slot) const noexcept {
        return reinterpret_cast<const Slot*>(bottom_row(slot));
    }
    Slot* upper_row(Slot slot, int level) const noexcept {
        return upper_[slot].get() + std::size_t(level - 1) * (m_ + 1);
    }
    void set_parent(Slot slot, Slot parent) noexcept {
        std::atomic_ref<Slot>(parents_[slot]).store(parent, std::memory_order_relaxed);
    }

    std::uint32_t m_;
    std::uint32_t max_neighbors_;
    std::size_t row_bytes_;
    AlignedArray<std::byte> bottom_;
    AlignedArray<std::uint16_t> counts_;  // links on layer 0
    std::vector<std::uint64_t> changed_;  // a bit for each slot
    AlignedArray<std::int8_t> levels_;    // -1: not in the graph
    std::vector<std::unique_ptr<Slot[]>> upper_;
    AlignedArray<Slot> parents_;         // the root is its own; kNoSlot: none
    const BlockGuard* guard_ = nullptr;  // of rows of layer 0 that were mapped
    Slot entry_ = kNoSlot;
    int max_level_ = -1;
};

// One lock for many nodes; held for a copy or a rewrite of one row, never two at a time.
class NodeLocks {
  public:
    NodeLocks() : flags_(kStripes) {}

  private:
    friend class NodeLock;
    static constexpr std::size_t kStripes = 4096;
    std::vector<std::atomic_flag> flags_;
};

class NodeLock {
  public:
    // Without locks (one thread) it does nothing.
    NodeLock(NodeLocks* locks, Slot slot) noexcept
        : flag_(locks == nullptr ? nullptr : &locks->flags_[slot % NodeLocks::kStripes]) {
        while (flag_ != nullptr && flag_->test_and_set(std::memory_order_acquire)) {
            while (flag_->test(std::memory_order_relaxed)) {
            }
        }
    }
    ~NodeLock() {
        if (flag_ != nullptr) flag_->clear(std::memory_order_release);
    }
    NodeLock(const NodeLock&) = delete;
    NodeLock& operator=(const NodeLock&) = delete;

  private:
    std::atomic_flag* flag_;
};

}  // namespace llmspell::index
