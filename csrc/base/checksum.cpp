#include "base/checksum.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define LLMSPELL_CRC_SSE42 1
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define LLMSPELL_CRC_ARM 1
#endif

namespace llmspell {
namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
    Tables tables{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0u);
        tables[0][i] = crc;
    }
    for (std::size_t t = 1; t < 8; ++t) {
        for (std::size_t i = 0; i < 256; ++i) {
            const std::uint32_t previous = tables[t - 1][i];
            tables[t][i] = (previous >> 8) ^ tables[0][previous & 0xff];
        }
    }
    return tables;
}

constexpr Tables kTables = make_tables();

std::uint32_t crc_table(const unsigned char* p, std::size_t n, std::uint32_t crc) noexcept {
    for (; n >= 8; p += 8, n -= 8) {  // slicing by 8 (Kounavis and Berry 2005)
        const std::uint32_t low =
            crc ^ (static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
                   static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24);
        crc = kTables[7][low & 0xff] ^ kTables[6][(low >> 8) & 0xff] ^
              kTables[5][(low >> 16) & 0xff] ^ kTables[4][low >> 24] ^ kTables[3][p[4]] ^
              kTables[2][p[5]] ^ kTables[1][p[6]] ^ kTables[0][p[7]];
    }
    for (; n > 0; ++p, --n) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 0xff];
    return crc;
}

#ifdef LLMSPELL_CRC_SSE42
__attribute__((target("sse4.2"))) std::uint32_t crc_sse42(const unsigned char* p, std::size_t n,
                                                          std::uint32_t crc) noexcept {
    std::uint64_t wide = crc;
    for (; n >= 8; p += 8, n -= 8) {
        std::uint64_t word;
        std::memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = static_cast<std::uint32_t>(wide);
    for (; n > 0; ++p, --n) crc = _mm_crc32_u8(crc, *p);
    return crc;
}
#endif

#ifdef LLMSPELL_CRC_ARM
__attribute__((target("+crc"))) std::uint32_t crc_arm(const unsigned char* p, std::size_t n,
                                                      std::uint32_t crc) noexcept {
    for (; n >= 8; p += 8, n -= 8) {
        std::uint64_t word;
        std::memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
    }
    for (; n > 0; ++p, --n) crc = __crc32cb(crc, *p);
    return crc;
}
#endif

}  // namespace

std::uint32_t crc32c_by_table(const void* data, std::size_t size, std::uint32_t seed) noexcept {
    return ~crc_table(static_cast<const unsigned char*>(data), size, ~seed);
}

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed) noexcept {
    [[maybe_unused]] const auto* p = static_cast<const unsigned char*>(data);
#ifdef LLMSPELL_CRC_SSE42
    static const bool hardware = __builtin_cpu_supports("sse4.2");
    if (hardware) return ~crc_sse42(p, size, ~seed);
#endif
#ifdef LLMSPELL_CRC_ARM
    static const bool hardware = (::getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
    if (hardware) return ~crc_arm(p, size, ~seed);
#endif
    return crc32c_by_table(data, size, seed);
}

}  // namespace llmspell
