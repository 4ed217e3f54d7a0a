#include "base/checksum.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define LLMSPELL_CRC_TARGET __attribute__((target("sse4.2")))
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define LLMSPELL_CRC_TARGET __attribute__((target("+crc")))
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

#ifdef LLMSPELL_CRC_TARGET
// The instruction takes three cycles and another can begin in each: of three pieces, which lie one
// behind the other, all are read at once (Gopal et al. 2011, "Fast CRC computation for iSCSI").
constexpr std::size_t kPiece = 256;

// What becomes of each byte of a checksum when a piece of zeros follows.
constexpr std::array<std::array<std::uint32_t, 256>, 4> make_shifts() {
    std::array<std::array<std::uint32_t, 256>, 4> shifts{};
    for (std::size_t bit = 0; bit < 32; ++bit) {
        std::uint32_t crc = std::uint32_t{1} << bit;
        for (std::size_t i = 0; i < kPiece; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xff];
        for (std::size_t value = 0; value < 256; ++value) {
            if ((value >> bit % 8 & 1) != 0) shifts[bit / 8][value] ^= crc;
        }
    }
    return shifts;
}

constexpr auto kShifts = make_shifts();

constexpr std::uint32_t before_a_piece(std::uint32_t crc) noexcept {
    return kShifts[0][crc & 0xff] ^ kShifts[1][(crc >> 8) & 0xff] ^ kShifts[2][(crc >> 16) & 0xff] ^
           kShifts[3][crc >> 24];
}

LLMSPELL_CRC_TARGET std::uint32_t crc_of_word(std::uint32_t crc, const unsigned char* p) noexcept {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
#ifdef __x86_64__
    return static_cast<std::uint32_t>(_mm_crc32_u64(crc, word));
#else
    return __crc32cd(crc, word);
#endif
}

LLMSPELL_CRC_TARGET std::uint32_t crc_of_byte(std::uint32_t crc, unsigned char byte) noexcept {
#ifdef __x86_64__
    return _mm_crc32_u8(crc, byte);
#else
    return __crc32cb(crc, byte);
#endif
}

LLMSPELL_CRC_TARGET std::uint32_t crc_by_instruction(const unsigned char* p, std::size_t n,
                                                     std::uint32_t crc) noexcept {
    for (; n >= 3 * kPiece; p += 3 * kPiece, n -= 3 * kPiece) {
        std::uint32_t second = 0, third = 0;
        for (std::size_t i = 0; i < kPiece; i += 8) {
            crc = crc_of_word(crc, p + i);
            second = crc_of_word(second, p + kPiece + i);
            third = crc_of_word(third, p + 2 * kPiece + i);
        }
        crc = before_a_piece(before_a_piece(crc) ^ second) ^ third;
    }
    for (; n >= 8; p += 8, n -= 8) crc = crc_of_word(crc, p);
    for (; n > 0; ++p, --n) crc = crc_of_byte(crc, *p);
    return crc;
}

bool has_instruction() noexcept {
#ifdef __x86_64__
    return __builtin_cpu_supports("sse4.2") != 0;
#else
    return (::getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#endif
}
#endif

}  // namespace

std::uint32_t crc32c_by_table(const void* data, std::size_t size, std::uint32_t seed) noexcept {
    return ~crc_table(static_cast<const unsigned char*>(data), size, ~seed);
}

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed) noexcept {
#ifdef LLMSPELL_CRC_TARGET
    static const bool by_instruction = has_instruction();
    if (by_instruction) {
        return ~crc_by_instruction(static_cast<const unsigned char*>(data), size, ~seed);
    }
#endif
    return crc32c_by_table(data, size, seed);
}

}  // namespace llmspell
