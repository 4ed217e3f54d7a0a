// What lies in the ledger's file: one page of header, the pool of holds, then tables of slots,
// whose sizes are powers of two. There is one at first; each that is added when they are full has
// as many slots as all before it. Nothing moves then, so that others go on meanwhile, and how many
// there are is told by the size of the file alone. Private to the ledger and its tests.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/checksum.hpp"
#include "ledger/layout.hpp"
#include "ledger/ledger.hpp"
#include "ledger/reservation.hpp"
#include "ledger/steps.hpp"
#include "ledger/system.hpp"

namespace llmspell::ledger {

inline constexpr std::array<char, 8> file_magic = {'L', 'L', 'M', 'S', 'L', 'E', 'D', 'G'};
inline constexpr std::uint32_t file_version = 2;
inline constexpr std::size_t header_bytes = 4096;
inline constexpr std::size_t pool_bytes = hold_count * sizeof(Hold);
inline constexpr std::size_t slots_at = header_bytes + pool_bytes;

// Address space, of which a file takes what it has come to: it grows under those who have it
// mapped. That is three million tenants.
inline constexpr std::size_t reserved_bytes = slots_at + (std::size_t{1} << 22) * sizeof(Slot);

inline constexpr std::size_t max_capacity = std::size_t{1} << (slot_index_bits - 1);

// What of the header changes.
struct Clock {
    BootId boot_id;
    std::int64_t utc_offset;    // what turns time since boot into the ledger's calendar
    std::uint64_t adjusted_at;  // boot time when utc_offset last followed the wall clock
};

// The checksummed fields change only under the file lock.
struct Header {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t slot_size;
    std::uint32_t hold_size;
    std::uint32_t hold_count;
    std::uint64_t table_size;  // slots of the first table
    Clock clock;
    std::uint32_t checksum;  // CRC-32C of all before it
    std::uint32_t padding;
    std::atomic<std::int64_t> calendar;  // utc_offset again, for those who take no lock
    Word live;                           // slots in use; counted again by each walk over them
    Word walked_day;                     // of the last walk; a sweep on a later day makes another
    Clock before;                        // the clock before its last change; see set_clock
};
static_assert(sizeof(Header) <= header_bytes);

inline std::uint32_t checksum_of(const Header& header) noexcept {
    return crc32c(&header, offsetof(Header, checksum));
}

inline std::size_t file_bytes_of(std::size_t slots) noexcept {
    return slots_at + slots * sizeof(Slot);
}

inline std::size_t mapped_bytes_of(std::size_t file_bytes) noexcept {
    return std::max(file_bytes, reserved_bytes);
}

// Bytes of a file that whole tables take; a growth that was cut short may have left more. None goes
// beyond the reserved bytes, so whatever is there nobody of the ledger has written.
inline std::size_t bytes_in_use(std::size_t table_size, std::size_t file_bytes) noexcept {
    std::size_t slots = table_size;
    while (file_bytes_of(2 * slots) <= std::min(file_bytes, reserved_bytes)) slots *= 2;
    return file_bytes_of(slots);
}

inline bool fits(const Header& header, std::size_t file_bytes) noexcept {
    return header.magic == file_magic && header.checksum == checksum_of(header) &&
           header.version == file_version && header.slot_size == sizeof(Slot) &&
           header.hold_size == sizeof(Hold) && header.hold_count == hold_count &&
           std::has_single_bit(header.table_size) && header.table_size <= 2 * max_capacity &&
           file_bytes >= file_bytes_of(header.table_size);
}

// A quarter of the table stays free, so that probing stays short.
inline std::size_t table_size_for(std::size_t capacity) noexcept {
    return std::bit_ceil((std::clamp<std::size_t>(capacity, 6, max_capacity) * 4 + 2) / 3);
}

inline std::size_t capacity_of(std::size_t slots) noexcept { return slots / 4 * 3; }

inline Header& header_in(std::byte* memory) noexcept { return *reinterpret_cast<Header*>(memory); }

// By the size of the file and not by the header, which someone may damage meanwhile.
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

// Undoes a change of the clock in whose midst a process died: to take the file for damaged would
// give up all that is counted in it.
inline void mend(Header& header) noexcept {
    if (header.checksum == checksum_of(header)) return;
    Header whole;
    std::memcpy(static_cast<void*>(&whole), static_cast<const void*>(&header), sizeof whole);
    whole.clock = header.before;
    if (whole.checksum == checksum_of(whole)) header.clock = header.before;
}

// A step of set_clock, which the compiler moves nothing across: the stores of a process that dies
// are seen by others up to some point in their order.
inline void clock_step() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    step();
}

inline void set_clock(Header& header, const Clock& clock) noexcept {
    mend(header);
    if (header.checksum == checksum_of(header)) header.before = header.clock;
    clock_step();
    header.clock.boot_id = clock.boot_id;
    clock_step();
    header.clock.utc_offset = clock.utc_offset;
    clock_step();
    header.clock.adjusted_at = clock.adjusted_at;
    clock_step();
    header.checksum = checksum_of(header);
    clock_step();
    header.calendar.store(clock.utc_offset, std::memory_order_release);
    clock_step();
}

inline std::int64_t offset_of(const Environment& environment) noexcept {
    return environment.utc_ns - static_cast<std::int64_t>(environment.boot_ns);
}

inline bool is_live(const Slot& slot) noexcept {
    return slot.state.load(std::memory_order_acquire) == State::live;
}

// Walks the slots of a table where a key may lie until `visit` returns true or nothing can follow.
template <typename Visit>
void probe_table(std::span<Slot> table, const Key& key, Visit visit) {
    const std::size_t mask = table.size() - 1;
    for (std::size_t i = 0; i < table.size(); ++i) {
        // Keys are digests, so any of their bits are as good as a hash.
        Slot& slot = table[(key[0] + i) & mask];
        if (visit(slot, i) || slot.state.load(std::memory_order_acquire) == State::empty) return;
    }
}

// The same in each table.
template <typename Visit>
void probe(std::span<Slot> slots, std::size_t table_size, const Key& key, Visit visit) {
    bool found = false;
    const auto visit_too = [&](Slot& slot, std::size_t step) { return found = visit(slot, step); };
    probe_table(slots.first(table_size), key, visit_too);
    for (std::size_t at = table_size; at < slots.size() && !found; at *= 2) {
        probe_table(slots.subspan(at, at), key, visit_too);
    }
}

// The free slot that a search for the key comes to after the fewest steps.
inline Slot* find_free(std::span<Slot> slots, std::size_t table_size, const Key& key) noexcept {
    Slot* free = nullptr;
    std::size_t fewest = slots.size();
    probe(slots, table_size, key, [&](Slot& slot, std::size_t step) {
        if (!is_live(slot) && step < fewest) {
            free = &slot;
            fewest = step;
        }
        return step == 0 && free == &slot;
    });
    return free;
}

}  // namespace llmspell::ledger
