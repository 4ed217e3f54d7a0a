// What lies in the ledger's file: one page of header, the pool of holds, then a table of slots
// whose size is a power of two. Private to the ledger and its tests.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/checksum.hpp"
#include "ledger/layout.hpp"
#include "ledger/ledger.hpp"
#include "ledger/reservation.hpp"
#include "ledger/system.hpp"

namespace llmspell::ledger {

inline constexpr std::array<char, 8> file_magic = {'L', 'L', 'M', 'S', 'L', 'E', 'D', 'G'};
inline constexpr std::uint32_t file_version = 2;
inline constexpr std::size_t header_bytes = 4096;
inline constexpr std::size_t pool_bytes = hold_count * sizeof(Hold);
inline constexpr std::size_t slots_at = header_bytes + pool_bytes;
inline constexpr std::size_t max_capacity = std::size_t{1} << (slot_index_bits - 1);

// The checksummed fields change only under the file lock.
struct Header {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t slot_size;
    std::uint32_t hold_size;
    std::uint32_t hold_count;
    std::uint64_t table_size;
    BootId boot_id;
    std::int64_t utc_offset;    // what turns time since boot into the ledger's calendar
    std::uint64_t adjusted_at;  // boot time when utc_offset last followed the wall clock
    std::uint32_t checksum;     // CRC-32C of all before it
    std::uint32_t padding;
    std::atomic<std::int64_t> calendar;  // utc_offset again, for those who take no lock
    Word live;                           // slots in use; counted again by each walk over them
    Word walked_day;                     // of the last walk; a sweep on a later day makes another
};
static_assert(sizeof(Header) <= header_bytes);

inline std::uint32_t checksum_of(const Header& header) noexcept {
    return crc32c(&header, offsetof(Header, checksum));
}

inline std::size_t file_bytes_of(std::size_t table_size) noexcept {
    return slots_at + table_size * sizeof(Slot);
}

inline bool fits(const Header& header, std::size_t file_bytes) noexcept {
    return header.magic == file_magic && header.checksum == checksum_of(header) &&
           header.version == file_version && header.slot_size == sizeof(Slot) &&
           header.hold_size == sizeof(Hold) && header.hold_count == hold_count &&
           std::has_single_bit(header.table_size) && header.table_size <= 2 * max_capacity &&
           file_bytes == file_bytes_of(header.table_size);
}

// A quarter of the table stays free, so that probing stays short.
inline std::size_t table_size_for(std::size_t capacity) noexcept {
    return std::bit_ceil((std::clamp<std::size_t>(capacity, 6, max_capacity) * 4 + 2) / 3);
}

inline std::size_t capacity_of(std::size_t table_size) noexcept { return table_size / 4 * 3; }

inline Header& header_in(std::byte* memory) noexcept { return *reinterpret_cast<Header*>(memory); }

// By the size of the mapping and not by the header, which someone may damage meanwhile.
inline std::span<Slot> slots_in(std::byte* memory, std::size_t bytes) noexcept {
    return {reinterpret_cast<Slot*>(memory + slots_at), (bytes - slots_at) / sizeof(Slot)};
}

inline Hold* holds_in(std::byte* memory) noexcept {
    return reinterpret_cast<Hold*>(memory + header_bytes);
}

inline Handle handle_of(std::byte* memory, std::size_t bytes, Slot& slot) noexcept {
    const auto index = static_cast<std::uint64_t>(&slot - slots_in(memory, bytes).data());
    return {&slot, holds_in(memory), slot.generation.load(std::memory_order_acquire), index};
}

// The slot that a hold names, with a null slot where it has changed hands or never was.
inline Handle handle_of(std::byte* memory, std::size_t bytes, const Hold& hold) noexcept {
    const std::uint64_t whose = hold.whose.load(std::memory_order_acquire);
    const std::uint64_t index = whose & ((std::uint64_t{1} << slot_index_bits) - 1);
    const std::span<Slot> slots = slots_in(memory, bytes);
    if (index >= slots.size()) return {};
    const Handle handle = handle_of(memory, bytes, slots[index]);
    return handle.whose() == whose ? handle : Handle{};
}

// Of a hold that nobody else acts on any more.
inline void give_back_in(std::byte* memory, std::size_t bytes, std::size_t hold) noexcept {
    const Handle handle = handle_of(memory, bytes, holds_in(memory)[hold]);
    give_back(handle.slot == nullptr ? nullptr : &handle, holds_in(memory), hold);
}

inline void set_offset(Header& header, std::int64_t offset, std::uint64_t boot_ns) noexcept {
    header.utc_offset = offset;
    header.adjusted_at = boot_ns;
    header.checksum = checksum_of(header);
    header.calendar.store(offset, std::memory_order_release);
}

inline std::int64_t offset_of(const Environment& environment) noexcept {
    return environment.utc_ns - static_cast<std::int64_t>(environment.boot_ns);
}

inline bool is_live(const Slot& slot) noexcept {
    return slot.state.load(std::memory_order_acquire) == State::live;
}

// Walks the slots where a key may lie until `visit` returns true or nothing can follow.
template <typename Visit>
void probe(std::span<Slot> slots, const Key& key, Visit visit) {
    const std::size_t mask = slots.size() - 1;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        // Keys are digests, so any of their bits are as good as a hash.
        Slot& slot = slots[(key[0] + i) & mask];
        if (visit(slot) || slot.state.load(std::memory_order_acquire) == State::empty) return;
    }
}

inline Slot* find_free(std::span<Slot> slots, const Key& key) noexcept {
    Slot* free = nullptr;
    probe(slots, key, [&](Slot& slot) {
        if (!is_live(slot)) free = &slot;
        return free != nullptr;
    });
    return free;
}

}  // namespace llmspell::ledger
