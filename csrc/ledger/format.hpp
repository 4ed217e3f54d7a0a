// What lies in the ledger's file: one page of header, then a table of slots whose size is a power
// of two. Private to ledger.cpp and its tests.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/checksum.hpp"
#include "ledger/slot.hpp"
#include "ledger/system.hpp"

namespace llmspell::ledger {

inline constexpr std::array<char, 8> file_magic = {'L', 'L', 'M', 'S', 'L', 'E', 'D', 'G'};
inline constexpr std::uint32_t file_version = 1;
inline constexpr std::size_t header_bytes = 4096;
inline constexpr std::size_t max_capacity = std::size_t{1} << 26;

// The checksummed fields change only under the file lock.
struct Header {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t slot_size;
    std::uint64_t table_size;
    BootId boot_id;
    std::int64_t utc_offset;    // what turns time since boot into the ledger's calendar
    std::uint64_t adjusted_at;  // boot time when utc_offset last followed the wall clock
    std::uint32_t checksum;     // CRC-32C of all before it
    std::uint32_t padding;
    std::atomic<std::int64_t> calendar;  // utc_offset again, for those who take no lock
    Word live;                           // slots in use; counted again by each sweep
};
static_assert(sizeof(Header) <= header_bytes);

inline std::uint32_t checksum_of(const Header& header) noexcept {
    return crc32c(&header, offsetof(Header, checksum));
}

inline std::size_t file_bytes_of(std::size_t table_size) noexcept {
    return header_bytes + table_size * sizeof(Slot);
}

inline bool fits(const Header& header, std::size_t file_bytes) noexcept {
    return header.magic == file_magic && header.checksum == checksum_of(header) &&
           header.version == file_version && header.slot_size == sizeof(Slot) &&
           std::has_single_bit(header.table_size) && header.table_size <= 2 * max_capacity &&
           file_bytes == file_bytes_of(header.table_size);
}

// A quarter of the table stays free, so that probing stays short.
inline std::size_t table_size_for(std::size_t capacity) noexcept {
    return std::bit_ceil((std::clamp<std::size_t>(capacity, 6, max_capacity) * 4 + 2) / 3);
}

inline std::size_t capacity_of(std::size_t table_size) noexcept { return table_size / 4 * 3; }

}  // namespace llmspell::ledger
