#include "index/graph.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/heap.hpp"

namespace llmspell::index {

namespace {

constexpr std::size_t kLine = AlignedArray<std::byte>::kCacheLine;
constexpr std::size_t kMaxPlaces = 512;  // params allow as many
constexpr std::size_t kMaxRowBytes = kMaxPlaces * 80;

std::size_t row_size(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

}  // namespace

Graph::Graph(std::uint32_t m, std::uint32_t max_neighbors) noexcept
    : m_(m),
      max_neighbors_(max_neighbors),
      row_bytes_(row_size(max_neighbors * sizeof(Slot))),
      upper_(m) {}

std::size_t Graph::row_bytes_for(std::size_t bytes) const noexcept {
    return row_size(std::max(bytes, max_neighbors_ * sizeof(Slot)));
}

void Graph::set_beside(const BesideLinks* beside, std::size_t bytes) {
    const std::size_t places = max_neighbors_ * sizeof(Slot);
    const std::size_t fresh_bytes = row_bytes_for(bytes);
    if (fresh_bytes != row_bytes_) {
        AlignedArray<std::byte> fresh;
        fresh.resize(bottom_.size() / row_bytes_ * fresh_bytes);
        for (std::size_t slot = 0; slot < slots(); ++slot) {
            std::memcpy(fresh.data() + slot * fresh_bytes, bottom_.data() + slot * row_bytes_,
                        places);
        }
        bottom_ = std::move(fresh);
        row_bytes_ = fresh_bytes;
    }
    beside_ = beside;
    beside_bytes_ = bytes;
}

void Graph::pack_row(Slot slot) noexcept {
    const std::span<const Slot> there = links(slot, 0);
    const std::size_t count = there.size() + extras(slot).size();
    Slot places[kMaxPlaces];
    std::copy_n(there.data(), count, places);
    beside_->pack(bottom_row(slot), {places, count});
}

void Graph::reserve(std::size_t slots) {
    if (slots * row_bytes_ > bottom_.size()) bottom_.resize(slots * row_bytes_);
    counts_.reserve(slots);
    changed_.reserve((slots + 63) / 64);
    parents_.reserve(slots);
    levels_.reserve(slots);
    upper_.reserve(slots);
}

void Graph::resize(std::size_t slots) {
    // Grown by half as much again, as Storage is; levels_ holds the number of slots in use.
    const std::size_t rows = bottom_.size() / row_bytes_;
    if (slots > rows) {
        const std::size_t grown = std::max(slots, rows + rows / 2);
        bottom_.resize(grown * row_bytes_);
        counts_.reserve(grown);
        parents_.reserve(grown);
        levels_.reserve(grown);
        upper_.reserve(grown);
    }
    counts_.resize(slots);
    changed_.resize((slots + 63) / 64);
    parents_.resize(slots, kNoSlot);
    levels_.resize(slots, -1);
    upper_.resize(slots);
}

void Graph::clear() noexcept { *this = Graph(m_, max_neighbors_); }

std::size_t Graph::bytes() const noexcept {
    return bottom_.bytes() + parents_.bytes() + levels_.bytes() + counts_.bytes() +
           held_bytes(changed_) + upper_bytes();
}

std::size_t Graph::mapped_bytes() const noexcept {
    return bottom_.mapped_bytes() + parents_.mapped_bytes() + levels_.mapped_bytes() +
           counts_.mapped_bytes() + upper_.mapped_bytes();
}

void Graph::add_node(Slot slot, int level) {
    if (level > 0) upper_.add(slot, level);
    levels_[slot] = static_cast<std::int8_t>(level);
    set_links(slot, 0, {});
    set_parent(slot, kNoSlot);
}

void Graph::remove_node(Slot slot) noexcept {
    if (level(slot) > 0) upper_.remove(slot, level(slot));
    levels_[slot] = -1;
    std::memset(bottom_row(slot), 0xff,
                row_bytes_);  // what lay by its links told of its neighbours
    set_parent(slot, kNoSlot);
}

std::span<const Slot> Graph::extras(Slot slot) const noexcept {
    const Slot* begin = places(slot) + counts_[slot];
    return {begin, std::find(begin, places(slot) + max_neighbors_, kNoSlot)};
}

std::vector<Slot> Graph::extras_but(Slot slot, Slot left_out) const {
    std::vector<Slot> kept;
    for (const Slot extra : extras(slot)) {
        if (extra != left_out) kept.push_back(extra);
    }
    return kept;
}

void Graph::set_links(Slot slot, int level, std::span<const Slot> links,
                      std::span<const Slot> extras) noexcept {
    std::atomic_ref<std::uint64_t>(changed_[slot / 64])
        .fetch_or(std::uint64_t{1} << (slot % 64), std::memory_order_relaxed);
    if (level > 0) {
        Slot* row = upper_.row(slot, level);
        versions_.begin_write(slot);
        racing_write(row + 1, links.data(), links.size_bytes());
        std::atomic_ref<Slot>(*row).store(static_cast<Slot>(links.size()),
                                          std::memory_order_release);
        versions_.end_write(slot);
        return;
    }
    Slot places[kMaxPlaces];
    Slot* end = std::copy(links.begin(), links.end(), places);
    end = std::copy_n(extras.begin(), std::min(extras.size(), max_neighbors_ - links.size()), end);
    const auto count = static_cast<std::uint16_t>(links.size());
    const auto write = [&](const void* row, std::size_t bytes) {
        versions_.begin_write(slot);
        racing_write(bottom_row(slot), row, bytes);
        std::atomic_ref<std::uint16_t>(counts_[slot]).store(count, std::memory_order_release);
        versions_.end_write(slot);
    };
    if (beside_ == nullptr) {
        std::fill(end, places + max_neighbors_, kNoSlot);
        write(places, max_neighbors_ * sizeof(Slot));
    } else {
        alignas(kLine) std::byte row[kMaxRowBytes];
        beside_->pack(row, {places, end});
        write(row, beside_bytes_);
    }
}

std::size_t Graph::copy_now(Slot slot, int level, Slot* out) const noexcept {
    for (;;) {
        const std::uint32_t version = versions_.begin_read(slot);
        std::size_t count = 0;
        if (level == 0) {
            count = degree(slot);
            racing_read(out, places(slot), count * sizeof(Slot));
        } else {
            const Slot* row = upper_.row(slot, level);
            count = std::atomic_ref<Slot>(const_cast<Slot&>(*row)).load(std::memory_order_acquire);
            racing_read(out, row + 1, count * sizeof(Slot));
        }
        if (versions_.holds(slot, version)) return count;
    }
}

std::vector<Slot> Graph::take_changed() {
    std::vector<Slot> slots;
    for (std::size_t i = 0; i < changed_.size(); ++i) {
        for (std::uint64_t word = std::exchange(changed_[i], 0); word != 0; word &= word - 1) {
            slots.push_back(static_cast<Slot>(i * 64) + static_cast<Slot>(std::countr_zero(word)));
        }
    }
    return slots;
}

bool Graph::adopt(Slot slot, Slot child) noexcept {
    if (!rooted(slot)) return false;
    const std::span<const Slot> there = links(slot, 0);
    const auto children =
        std::count_if(there.begin(), there.end(), [&](Slot s) { return is_child(s, slot); });
    if (children >= max_neighbors_ / 2) return false;
    set_parent(child, slot);
    return true;
}

void Graph::keep_children(Slot slot, std::span<const Slot> offered,
                          std::vector<Slot>& links) const {
    for (const Slot child : offered) {
        if (!is_child(child, slot) || std::find(links.begin(), links.end(), child) != links.end()) {
            continue;
        }
        if (links.size() < max_neighbors_) {
            links.push_back(child);
            continue;
        }
        const auto other =
            std::find_if(links.rbegin(), links.rend(), [&](Slot s) { return !is_child(s, slot); });
        if (other != links.rend()) *other = child;
    }
}

void Graph::plant_tree(Slot root) noexcept {
    std::fill(parents_.begin(), parents_.end(), kNoSlot);
    set_parent(root, root);
}

void Graph::grow_tree(Slot slot, std::span<const Slot> left_out) {
    // Depth first, so that a node has few children: a child is a link that it can't exchange.
    struct Step {
        Slot slot;
        std::uint32_t next;
    };
    const auto is_open = [&](Slot s) {
        return !rooted(s) && !std::binary_search(left_out.begin(), left_out.end(), s);
    };
    std::vector<Step> path{{slot, 0}};
    while (!path.empty()) {
        Step& step = path.back();
        const std::span<const Slot> there = links(step.slot, 0);
        while (step.next < there.size() && !is_open(there[step.next])) ++step.next;
        if (step.next == there.size()) {
            path.pop_back();
            continue;
        }
        const Slot child = there[step.next++];
        set_parent(child, step.slot);
        path.push_back({child, 0});
    }
}

}  // namespace llmspell::index
