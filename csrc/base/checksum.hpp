// CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the CPU's instruction where it has one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace llmspell {

// Incremental: crc32c(b, n, crc32c(a, m)) is the checksum of a followed by b. Thread-safe.
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed = 0) noexcept;

// The same without that instruction: what crc32c falls back to.
std::uint32_t crc32c_by_table(const void* data, std::size_t size, std::uint32_t seed = 0) noexcept;

}  // namespace llmspell
