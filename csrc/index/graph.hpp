// The links of a hierarchical navigable small world graph (Malkov and Yashunin 2018,
// arXiv:1603.09320) and nothing else: no vectors, no distances.
//
// Layer 0 is one array of rows: max_neighbors places, for links and behind them extras, nodes near
// by that a walk may look at where it reads the whole row anyway; kNoSlot where there is none. The
// rest of a row is its owner's, to hold what belongs to the places. Those of the layers above are
// UpperRows.
//
// A row is changed as a whole: copy_links and the walk by codes read it beside writers, and get it
// as it was at some moment. All other readers of links need writers to stay away, and writers of
// one node need its lock. Whatever adds, removes or moves nodes needs the graph for itself.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "base/aligned.hpp"
#include "base/racing.hpp"
#include "index/block_guard.hpp"
#include "index/params.hpp"
#include "index/upper_rows.hpp"

namespace llmspell::index {

// Lays into a row of layer 0 what belongs to its places.
class BesideLinks {
  public:
    // The whole row, places and all.
    virtual void pack(std::byte* row, std::span<const Slot> places) const noexcept = 0;

  protected:
    ~BesideLinks() = default;
};

class Graph {
  public:
    // Where walks start, and the layer of that node; read and written as one.
    struct alignas(8) Top {
        Slot slot;
        int level;
    };

    Graph(std::uint32_t m, std::uint32_t max_neighbors) noexcept;

    void reserve(std::size_t slots);                                    // room for as many
    void reserve_rows(std::size_t more) { upper_.reserve_rows(more); }  // above layer 0
    void resize(std::size_t slots);
    void clear() noexcept;
    std::size_t slots() const noexcept { return levels_.size(); }
    std::size_t bytes() const noexcept;
    std::size_t upper_bytes() const noexcept { return upper_.bytes(); }  // of these
    std::size_t mapped_bytes() const noexcept;                           // besides, of a file

    bool empty() const noexcept { return entry() == kNoSlot; }
    Top top() const noexcept {
        return std::atomic_ref<Top>(const_cast<Top&>(top_)).load(std::memory_order_acquire);
    }
    Slot entry() const noexcept { return top().slot; }
    int max_level() const noexcept { return top().level; }
    void set_entry(Slot slot, int level) noexcept {
        std::atomic_ref<Top>(top_).store({slot, level}, std::memory_order_release);
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
        const Slot* row = upper_.row(slot, level);
        return {row + 1, row[0]};
    }
    std::size_t degree(Slot slot) const noexcept {  // on layer 0, beside writers
        return std::atomic_ref<std::uint16_t>(const_cast<std::uint16_t&>(counts_[slot]))
            .load(std::memory_order_acquire);
    }
    std::span<const Slot> extras(Slot slot) const noexcept;
    std::vector<Slot> extras_but(Slot slot, Slot left_out) const;
    // Copies a node's links, beside writers; how many there are. Of a snapshot whose blocks may not
    // have been looked at: may throw Error(corrupt_file).
    std::size_t copy_links(Slot slot, int level, Slot* out) const {
        if (level == 0 && guard_ != nullptr) guard_->check(slot);
        return copy_now(slot, level, out);
    }
    const Versions& versions() const noexcept { return versions_; }  // of rows, by slot
    void prefetch_links(Slot slot) const noexcept {
        __builtin_prefetch(bottom_row(slot));
        __builtin_prefetch(bottom_row(slot) + 64);
    }

    // Extras that find no place are left out; layers above 0 have none. What belongs to the places
    // is laid beside them at the same moment.
    void set_links(Slot slot, int level, std::span<const Slot> links,
                   std::span<const Slot> extras = {}) noexcept;

    std::size_t row_bytes() const noexcept { return row_bytes_; }
    // Of rows of layer 0 that take so much, or as their links need.
    std::size_t row_bytes_for(std::size_t bytes) const noexcept;
    // Makes rows of layer 0 so long, or as their links need, and has `beside` (may be null) fill
    // what set_links writes from now on; pack_row does so for a row that is there already. The
    // graph is the caller's alone.
    void set_beside(const BesideLinks* beside, std::size_t bytes);
    void pack_row(Slot slot) noexcept;
    const std::byte* bottom_row(Slot slot) const noexcept {
        return bottom_.data() + slot * row_bytes_;
    }
    // The nodes whose links were set since the last call, on any layer.
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
    // Makes a node of the tree its root. The node must link to the one that was from now on.
    void reroot(Slot root, Slot old) noexcept {
        set_parent(old, root);
        set_parent(root, root);
    }
    // Takes into the tree all that can be reached from `slot`, which is in it, without `left_out`,
    // which are sorted.
    void grow_tree(Slot slot, std::span<const Slot> left_out = {});

    // The same graph where moved[old] is the new slot of each node. Searches may go on.
    Graph renumbered(const std::vector<Slot>& moved, std::size_t live) const;

    // What a snapshot holds: the arrays as they are, and the rows of the layers above 0, node by
    // node.
    struct Arrays {
        AlignedArray<std::byte> bottom;
        AlignedArray<std::uint16_t> counts;
        AlignedArray<std::int8_t> levels;
        AlignedArray<Slot> parents;
        AlignedArray<Slot> upper;
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
    std::size_t copy_now(Slot slot, int level, Slot* out) const noexcept;
    std::byte* bottom_row(Slot slot) noexcept { return bottom_.data() + slot * row_bytes_; }
    const Slot* places(Slot slot) const noexcept {
        return reinterpret_cast<const Slot*>(bottom_row(slot));
    }
    void set_parent(Slot slot, Slot parent) noexcept {
        std::atomic_ref<Slot>(parents_[slot]).store(parent, std::memory_order_relaxed);
    }

    std::uint32_t m_;
    std::uint32_t max_neighbors_;
    std::size_t row_bytes_;
    const BesideLinks* beside_ = nullptr;
    std::size_t beside_bytes_ = 0;  // of a row that it fills
    AlignedArray<std::byte> bottom_;
    AlignedArray<std::uint16_t> counts_;  // links on layer 0
    std::vector<std::uint64_t> changed_;  // a bit for each slot
    AlignedArray<std::int8_t> levels_;    // -1: not in the graph
    UpperRows upper_;
    AlignedArray<Slot> parents_;         // the root is its own; kNoSlot: none
    const BlockGuard* guard_ = nullptr;  // of rows of layer 0 that were mapped
    Top top_{kNoSlot, -1};
    Versions versions_;
};

// One lock for many nodes; held by those who set a node's links by what they are, never two at a
// time.
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
        constexpr unsigned kTurns = 64;
        for (unsigned turn = 0; flag_ != nullptr && flag_->test_and_set(std::memory_order_acquire);
             ++turn) {
            if (turn >= kTurns) std::this_thread::yield();  // the holder may wait for this core
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
