// The layout of a snapshot's header; see docs/reference/snapshot.md.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/checksum.hpp"
#include "index/params.hpp"

namespace llmspell::index {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

inline constexpr char kMagic[8] = {'L', 'L', 'S', 'P', 'I', 'D', 'X', '\n'};
inline constexpr std::uint32_t kVersion = 5;
inline constexpr std::size_t kAlignment = 4096;  // of sections, so that each can be mapped

enum Section : std::size_t {
    kLabels,
    kStates,
    kTable,
    kLevels,
    kCounts,
    kParents,
    kUpper,
    kCoding,
    kChecksums,  // of the blocks of those that follow
    kRows,
    kBottom,
    kCodes,
    kFactors,
    kBiases,
    kRefined,
    kSections
};

struct Extent {
    std::uint64_t offset;
    std::uint64_t length;
    std::uint32_t row_bytes;  // of sections in blocks
    std::uint32_t crc;        // of others
};

struct FileHeader {
    char magic[8];
    std::uint32_t version;
    std::uint32_t crc;  // of this header with crc = 0
    std::uint32_t dim;
    std::uint8_t metric;
    std::uint8_t type;
    std::uint8_t has_graph;
    std::uint8_t quantization;
    std::uint32_t m;
    std::uint32_t max_neighbors;
    std::uint32_t ef_construction;
    std::uint32_t ef_search;
    std::uint64_t graph_threshold;
    std::uint64_t seed;
    std::uint64_t tag;
    std::uint64_t slots;
    Slot entry;
    std::int32_t max_level;
    Slot first_free;
    std::uint32_t has_codes;
    std::array<Extent, kSections> sections;
};
static_assert(sizeof(FileHeader) == 88 + 24 * kSections &&
              std::is_trivially_copyable_v<FileHeader>);

inline std::uint32_t header_crc(FileHeader header) {
    header.crc = 0;
    return crc32c(&header, sizeof(header));
}

inline std::uint64_t aligned(std::uint64_t offset) {
    return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace llmspell::index
