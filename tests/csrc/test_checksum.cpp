// CRC-32C against the published vectors of RFC 3720 appendix B.4 and the check value of the
// catalogue of parametrised CRCs, and against the polynomial bit by bit; with the CPU's
// instruction, where it has one, and by table.

#include "base/checksum.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"

namespace {

using Checksum = std::uint32_t (*)(const void*, std::size_t, std::uint32_t);

std::uint32_t bit_by_bit(const std::vector<unsigned char>& data, std::size_t from,
                         std::size_t size) {
    std::uint32_t crc = 0xffffffffu;
    for (std::size_t i = from; i < from + size; ++i) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0x82f63b78u : 0u);
    }
    return ~crc;
}

void published_vectors_hold(Checksum crc32c) {
    constexpr std::string_view digits = "123456789";
    CHECK(crc32c(digits.data(), digits.size(), 0) == 0xe3069283u);

    unsigned char block[32] = {};
    CHECK(crc32c(block, sizeof block, 0) == 0x8a9136aau);
    for (auto& byte : block) byte = 0xff;
    CHECK(crc32c(block, sizeof block, 0) == 0x62a8ab43u);
    for (unsigned i = 0; i < 32; ++i) block[i] = static_cast<unsigned char>(i);
    CHECK(crc32c(block, sizeof block, 0) == 0x46dd794eu);
    for (unsigned i = 0; i < 32; ++i) block[i] = static_cast<unsigned char>(31 - i);
    CHECK(crc32c(block, sizeof block, 0) == 0x113fdb5cu);

    // A SCSI read (10) command.
    constexpr unsigned char kIscsiRead[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
        0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
        0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
    CHECK(crc32c(kIscsiRead, sizeof kIscsiRead, 0) == 0xd9963a56u);
}

void nothing_has_checksum_zero(Checksum crc32c) {
    CHECK(crc32c(nullptr, 0, 0) == 0);
    CHECK(crc32c(nullptr, 0, 0x12345678u) == 0x12345678u);
}

void every_length_and_alignment_agrees_with_the_polynomial(Checksum crc32c) {
    llmspell::SplitMix64 random(1);
    std::vector<unsigned char> data(2000);
    for (auto& byte : data) byte = static_cast<unsigned char>(random());
    for (std::size_t from = 0; from < 9; ++from) {
        for (std::size_t size = 0; size <= 1900; size += size < 40 ? 1 : size < 280 ? 17 : 61) {
            CHECK(crc32c(data.data() + from, size, 0) == bit_by_bit(data, from, size));
        }
    }
}

void parts_give_the_checksum_of_the_whole(Checksum crc32c) {
    llmspell::SplitMix64 random(2);
    std::vector<unsigned char> data(4099);
    for (auto& byte : data) byte = static_cast<unsigned char>(random());
    const std::uint32_t whole = crc32c(data.data(), data.size(), 0);
    for (std::size_t split = 0; split <= data.size(); split += 13) {
        const std::uint32_t first = crc32c(data.data(), split, 0);
        CHECK(crc32c(data.data() + split, data.size() - split, first) == whole);
    }
}

void one_flipped_bit_changes_it(Checksum crc32c) {
    std::vector<unsigned char> data(64, 0x5a);
    const std::uint32_t before = crc32c(data.data(), data.size(), 0);
    for (std::size_t bit = 0; bit < data.size() * 8; ++bit) {
        data[bit / 8] = static_cast<unsigned char>(data[bit / 8] ^ (1u << (bit % 8)));
        CHECK(crc32c(data.data(), data.size(), 0) != before);
        data[bit / 8] = static_cast<unsigned char>(data[bit / 8] ^ (1u << (bit % 8)));
    }
}

}  // namespace

int main() {
    for (const Checksum crc32c : {&llmspell::crc32c, &llmspell::crc32c_by_table}) {
        published_vectors_hold(crc32c);
        nothing_has_checksum_zero(crc32c);
        every_length_and_alignment_agrees_with_the_polynomial(crc32c);
        parts_give_the_checksum_of_the_whole(crc32c);
        one_flipped_bit_changes_it(crc32c);
    }
    return check_result();
}
