// What a search keeps: the best candidates so far, in order, and the nodes it has seen.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "base/heap.hpp"
#include "index/params.hpp"

namespace llmspell::index {

struct Candidate {
    float key;
    Slot slot;
};

inline bool nearer(const Candidate& a, const Candidate& b) noexcept {
    return a.key < b.key || (a.key == b.key && a.slot < b.slot);
}

// A sorted array of bounded length. Insertion moves the tail, which for the few hundred entries of
// a beam is cheaper than two heaps: one predictable memmove and no pops.
class CandidatePool {
  public:
    // `limit` is at least 1.
    void reset(std::size_t limit) {
        limit_ = limit;
        size_ = 0;
        first_open_ = 0;
        // Memory follows what is inserted, so that a huge limit costs nothing by itself.
        const std::size_t least = std::min(limit + 1, kInitial);
        if (entries_.size() < least) make_room(least);
    }

    std::size_t bytes() const noexcept { return held_bytes(entries_) + held_bytes(open_); }
    std::size_t size() const noexcept { return size_; }
    const Candidate& operator[](std::size_t i) const noexcept { return entries_[i]; }
    // What a newcomer must be below.
    float bound() const noexcept {
        return size_ < limit_ ? std::numeric_limits<float>::infinity() : entries_[size_ - 1].key;
    }

    void insert(float key, Slot slot) {
        if (size_ == limit_ && !(key < entries_[size_ - 1].key)) return;
        if (size_ + 1 >= entries_.size()) grow();
        const Candidate* begin = entries_.data();
        const std::size_t at =
            std::upper_bound(begin, begin + size_, key,
                             [](float k, const Candidate& c) { return k < c.key; }) -
            begin;
        const std::size_t moved = size_ - at;
        std::memmove(entries_.data() + at + 1, entries_.data() + at, moved * sizeof(Candidate));
        std::memmove(open_.data() + at + 1, open_.data() + at, moved);
        entries_[at] = {key, slot};
        open_[at] = 1;
        if (size_ < limit_) ++size_;
        first_open_ = std::min(first_open_, at);
    }

    // Takes over what is in order already, at most as many as the limit.
    void assign(const std::vector<Candidate>& sorted) {
        if (entries_.size() < sorted.size() + 1) make_room(sorted.size() + 1);
        std::copy(sorted.begin(), sorted.end(), entries_.begin());
        size_ = sorted.size();
        std::fill_n(open_.begin(), size_, std::uint8_t{1});
        first_open_ = 0;
    }

    // The nearest candidate that has not been taken; its slot is kNoSlot where there is none.
    Candidate take_nearest() noexcept {
        while (first_open_ < size_ && open_[first_open_] == 0) ++first_open_;
        if (first_open_ == size_) return {std::numeric_limits<float>::infinity(), kNoSlot};
        open_[first_open_] = 0;
        return entries_[first_open_++];
    }
    // The one that take_nearest would give next, as things stand.
    Slot peek_nearest() const noexcept {
        for (std::size_t i = first_open_; i < size_; ++i) {
            if (open_[i] != 0) return entries_[i].slot;
        }
        return kNoSlot;
    }

  private:
    static constexpr std::size_t kInitial = 1024;

    // As many flags as entries, or more where memory ran out between the two.
    void make_room(std::size_t count) {
        if (open_.size() < count) open_.resize(count);
        entries_.resize(count);
    }
    void grow() { make_room(std::min(limit_ + 1, entries_.size() * 2)); }

    std::vector<Candidate> entries_;
    std::vector<std::uint8_t> open_;
    std::size_t limit_ = 0;
    std::size_t size_ = 0;
    std::size_t first_open_ = 0;
};

// The nearest of many, where to keep them in order would move too much: cut down to the limit
// whenever there are twice as many.
class NearestOfMany {
  public:
    explicit NearestOfMany(std::size_t limit) : limit_(limit) {}
    // What a newcomer must be below.
    float bound() const noexcept { return bound_; }
    void insert(float key, Slot slot) {
        kept_.push_back({key, slot});
        if (kept_.size() >= 2 * limit_) cut();
    }
    const std::vector<Candidate>& sorted() {
        cut();
        std::sort(kept_.begin(), kept_.end(), nearer);
        return kept_;
    }

  private:
    void cut() {
        if (kept_.size() < limit_) return;
        const auto last = kept_.begin() + static_cast<std::ptrdiff_t>(limit_ - 1);
        std::nth_element(kept_.begin(), last, kept_.end(), nearer);
        bound_ = last->key;
        kept_.resize(limit_);
    }

    std::vector<Candidate> kept_;
    std::size_t limit_;  // at least 1
    float bound_ = std::numeric_limits<float>::infinity();
};

// Candidates that are still to be looked at, the nearest at the front; as many as there are.
class Frontier {
  public:
    std::size_t bytes() const noexcept { return held_bytes(heap_); }
    void clear() noexcept { heap_.clear(); }
    bool empty() const noexcept { return heap_.empty(); }
    const Candidate& front() const noexcept { return heap_.front(); }
    void push(Candidate candidate) {
        heap_.push_back(candidate);
        std::push_heap(heap_.begin(), heap_.end(), farther);
    }
    Candidate pop() noexcept {
        std::pop_heap(heap_.begin(), heap_.end(), farther);
        const Candidate nearest = heap_.back();
        heap_.pop_back();
        return nearest;
    }

  private:
    static bool farther(const Candidate& a, const Candidate& b) noexcept { return nearer(b, a); }

    std::vector<Candidate> heap_;
};

// Generation stamps: clearing is one increment, and a full wipe every 65,535 searches.
class VisitedSet {
  public:
    void reset(std::size_t slots) {
        extend(slots);
        if (++generation_ == 0) {
            std::fill(stamps_.begin(), stamps_.end(), std::uint16_t{0});
            generation_ = 1;
        }
    }
    // Slots that are there since the reset.
    void extend(std::size_t slots) {
        if (stamps_.size() < slots) stamps_.resize(slots, 0);
    }
    std::size_t bytes() const noexcept { return held_bytes(stamps_); }
    bool contains(Slot slot) const noexcept { return stamps_[slot] == generation_; }
    bool insert(Slot slot) noexcept {
        if (stamps_[slot] == generation_) return false;
        stamps_[slot] = generation_;
        return true;
    }

  private:
    std::vector<std::uint16_t> stamps_;
    std::uint16_t generation_ = 0;
};

}  // namespace llmspell::index
