// Conversion between float32 and IEEE 754 binary16 at every level, against the definition.
// To float32: all 65,536 halves, bit by bit. To half: each midpoint between neighbours and the
// floats beside it, of both signs, so that rounding to nearest even is settled for all inputs.
// Excluded: which NaN a NaN becomes.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "check.hpp"
#include "forced_level.hpp"
#include "simd/kernels.hpp"

namespace simd = llmspell::simd;

namespace {

constexpr std::uint16_t kInfinity = 0x7c00;

double value_of(std::uint16_t half) {
    const int exponent = (half >> 10) & 0x1f;
    const int mantissa = half & 0x3ff;
    const double magnitude = exponent == 0    ? std::ldexp(mantissa, -24)
                             : exponent != 31 ? std::ldexp(mantissa + 1024, exponent - 25)
                             : mantissa == 0  ? std::numeric_limits<double>::infinity()
                                              : std::numeric_limits<double>::quiet_NaN();
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

void every_half_becomes_its_value(const simd::Kernels& kernels) {
    std::vector<std::uint16_t> halves(65'536);
    for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
    std::vector<float> floats(halves.size());
    kernels.f16_to_f32(halves.data(), floats.data(), halves.size());
    for (std::size_t i = 0; i < halves.size(); ++i) {
        const double expected = value_of(halves[i]);
        CHECK(std::isnan(expected) ? std::isnan(floats[i])
                                   : floats[i] == static_cast<float>(expected));
        CHECK(std::signbit(floats[i]) == (i >= 0x8000));
    }
}

void every_float_rounds_to_the_nearest_half_ties_to_even(const simd::Kernels& kernels) {
    std::vector<float> floats;
    std::vector<std::uint16_t> expected;
    const auto add = [&](float value, unsigned half) {
        floats.insert(floats.end(), {value, -value});
        expected.insert(expected.end(), {static_cast<std::uint16_t>(half),
                                         static_cast<std::uint16_t>(half | 0x8000u)});
    };
    for (unsigned half = 0; half < kInfinity; ++half) {
        const double lower = value_of(static_cast<std::uint16_t>(half));
        // Beyond the largest half lies 2^16, were there one more.
        const double upper =
            half + 1 == kInfinity ? 65'536.0 : value_of(static_cast<std::uint16_t>(half + 1));
        const auto middle = static_cast<float>((lower + upper) / 2);
        add(static_cast<float>(lower), half);
        add(std::nextafter(middle, 0.0f), half);
        add(middle, half + (half & 1u));
        add(std::nextafter(middle, std::numeric_limits<float>::infinity()), half + 1);
    }
    add(std::numeric_limits<float>::infinity(), kInfinity);
    add(std::numeric_limits<float>::max(), kInfinity);
    add(std::numeric_limits<float>::denorm_min(), 0);
    add(std::numeric_limits<float>::min(), 0);
    std::vector<std::uint16_t> halves(floats.size());
    kernels.f32_to_f16(floats.data(), halves.data(), floats.size());
    for (std::size_t i = 0; i < floats.size(); ++i) CHECK(halves[i] == expected[i]);
}

void a_nan_stays_a_nan(const simd::Kernels& kernels) {
    const float nans[] = {std::numeric_limits<float>::quiet_NaN(),
                          -std::numeric_limits<float>::quiet_NaN()};
    std::uint16_t halves[2];
    kernels.f32_to_f16(nans, halves, 2);
    for (const std::uint16_t half : halves) CHECK(std::isnan(value_of(half)));
}

// Vector bodies and their scalar tails must agree, and nothing beyond count may be written.
void every_count_converts_just_that_many(const simd::Kernels& kernels) {
    constexpr std::size_t kMost = 67;
    constexpr std::uint16_t kUntouched = 0xabcd;
    std::vector<float> floats(kMost);
    for (std::size_t i = 0; i < kMost; ++i) floats[i] = static_cast<float>(i) * 0.3f - 7.0f;
    std::vector<std::uint16_t> whole(kMost);
    kernels.f32_to_f16(floats.data(), whole.data(), kMost);
    for (std::size_t count = 0; count < kMost; ++count) {
        std::vector<std::uint16_t> halves(kMost, kUntouched);
        kernels.f32_to_f16(floats.data(), halves.data(), count);
        std::vector<float> back(kMost, -1e9f);
        kernels.f16_to_f32(halves.data(), back.data(), count);
        for (std::size_t i = 0; i < kMost; ++i) {
            CHECK(halves[i] == (i < count ? whole[i] : kUntouched));
            CHECK(back[i] == (i < count ? static_cast<float>(value_of(whole[i])) : -1e9f));
        }
    }
}

}  // namespace

int main() {
    for (const simd::Level level : kLevels) {
        const simd::Kernels* kernels = simd::table(level);
        if (kernels == nullptr) continue;
        std::printf("%s\n", simd::name(level).data());
        every_half_becomes_its_value(*kernels);
        every_float_rounds_to_the_nearest_half_ties_to_even(*kernels);
        a_nan_stays_a_nan(*kernels);
        every_count_converts_just_that_many(*kernels);
    }
    return check_result();
}
