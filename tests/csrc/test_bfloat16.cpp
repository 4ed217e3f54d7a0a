// Conversion between float32 and bfloat16 at every level, against the definition: a bfloat16 is
// the float32 of the same upper half. To bfloat16: each midpoint between neighbours and the floats
// beside it, of both signs, so that rounding to nearest even is settled for all inputs.
// Excluded: which NaN a NaN becomes.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "check.hpp"
#include "forced_level.hpp"
#include "simd/kernels.hpp"

namespace simd = llmspell::simd;
using simd::BFloat16;

namespace {

constexpr std::uint32_t kInfinity = 0x7f80;
constexpr float kInfinite = std::numeric_limits<float>::infinity();

float value_of(std::uint32_t bits) { return std::bit_cast<float>(bits << 16); }

void every_bfloat16_becomes_its_value(const simd::Kernels& kernels) {
    std::vector<BFloat16> shorts(65'536);
    for (std::uint32_t i = 0; i < shorts.size(); ++i) shorts[i] = static_cast<BFloat16>(i);
    std::vector<float> floats(shorts.size());
    kernels.bf16_to_f32(shorts.data(), floats.data(), shorts.size());
    for (std::uint32_t i = 0; i < shorts.size(); ++i) {
        CHECK(std::bit_cast<std::uint32_t>(floats[i]) == i << 16);
    }
}

void every_float_rounds_to_the_nearest_bfloat16_ties_to_even(const simd::Kernels& kernels) {
    std::vector<float> floats;
    std::vector<std::uint32_t> expected;
    const auto add = [&](float value, std::uint32_t bits) {
        floats.insert(floats.end(), {value, -value});
        expected.insert(expected.end(), {bits, bits | 0x8000u});
    };
    for (std::uint32_t bits = 0; bits < kInfinity; ++bits) {
        // Beyond the largest lies 2^128, were there one more.
        const double upper = bits + 1 == kInfinity ? 0x1.0p128 : value_of(bits + 1);
        const auto middle = static_cast<float>((value_of(bits) + upper) / 2);
        add(value_of(bits), bits);
        add(std::nextafter(middle, 0.0f), bits);
        add(middle, bits + (bits & 1u));
        add(std::nextafter(middle, kInfinite), bits + 1);
    }
    add(kInfinite, kInfinity);
    std::vector<BFloat16> shorts(floats.size());
    kernels.f32_to_bf16(floats.data(), shorts.data(), floats.size());
    for (std::size_t i = 0; i < floats.size(); ++i) {
        CHECK(static_cast<std::uint32_t>(shorts[i]) == expected[i]);
    }
}

void a_nan_stays_a_nan(const simd::Kernels& kernels) {
    for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xffffffffu}) {
        const float nan = std::bit_cast<float>(bits);
        BFloat16 rounded;
        kernels.f32_to_bf16(&nan, &rounded, 1);
        CHECK(std::isnan(value_of(static_cast<std::uint32_t>(rounded))));
    }
}

// Vector bodies and their scalar tails must agree, and nothing beyond count may be written.
void every_count_converts_just_that_many(const simd::Kernels& kernels) {
    constexpr std::size_t kMost = 67;
    constexpr auto kUntouched = static_cast<BFloat16>(0xabcd);
    std::vector<float> floats(kMost);
    for (std::size_t i = 0; i < kMost; ++i) floats[i] = static_cast<float>(i) * 0.3f - 7.0f;
    std::vector<BFloat16> whole(kMost);
    kernels.f32_to_bf16(floats.data(), whole.data(), kMost);
    for (std::size_t count = 0; count < kMost; ++count) {
        std::vector<BFloat16> shorts(kMost, kUntouched);
        kernels.f32_to_bf16(floats.data(), shorts.data(), count);
        std::vector<float> back(kMost, -1e9f);
        kernels.bf16_to_f32(shorts.data(), back.data(), count);
        for (std::size_t i = 0; i < kMost; ++i) {
            CHECK(shorts[i] == (i < count ? whole[i] : kUntouched));
            CHECK(back[i] == (i < count ? value_of(static_cast<std::uint32_t>(whole[i])) : -1e9f));
        }
    }
}

}  // namespace

int main() {
    for (const simd::Level level : kLevels) {
        const simd::Kernels* kernels = simd::table(level);
        if (kernels == nullptr) continue;
        std::printf("%s\n", simd::name(level).data());
        every_bfloat16_becomes_its_value(*kernels);
        every_float_rounds_to_the_nearest_bfloat16_ties_to_even(*kernels);
        a_nan_stays_a_nan(*kernels);
        every_count_converts_just_that_many(*kernels);
    }
    return check_result();
}
