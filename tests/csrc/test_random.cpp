// SplitMix64 against the reference implementation's output (Vigna, splitmix64.c) and the range and
// mean of its unit numbers.

#include "base/random.hpp"

#include <cmath>
#include <cstdint>

#include "check.hpp"

using llmspell::SplitMix64;

namespace {

void seed_1234567_gives_the_reference_sequence() {
    SplitMix64 random(1234567);
    constexpr std::uint64_t kExpected[] = {6457827717110365317u, 3203168211198807973u,
                                           9817491932198370423u, 4593380528125082431u,
                                           16408922859458223821u};
    for (const std::uint64_t expected : kExpected) CHECK(random() == expected);
}

void equal_seeds_give_equal_sequences() {
    SplitMix64 a(7), b(7), c(8);
    bool differs = false;
    for (int i = 0; i < 100; ++i) {
        const std::uint64_t value = a();
        CHECK(value == b());
        differs = differs || value != c();
    }
    CHECK(differs);
}

void unit_numbers_fill_zero_to_one_without_zero() {
    SplitMix64 random(3);
    constexpr int kCount = 100'000;
    double sum = 0, least = 1, most = 0;
    for (int i = 0; i < kCount; ++i) {
        const double value = random.unit();
        CHECK(value > 0 && value <= 1);
        sum += value;
        least = value < least ? value : least;
        most = value > most ? value : most;
    }
    // Six standard deviations of the mean of uniform numbers.
    CHECK(std::fabs(sum / kCount - 0.5) < 6 * std::sqrt(1.0 / 12 / kCount));
    CHECK(least < 1e-3 && most > 1 - 1e-3);
}

}  // namespace

int main() {
    seed_1234567_gives_the_reference_sequence();
    equal_seeds_give_equal_sequences();
    unit_numbers_fill_zero_to_one_without_zero();
    return check_result();
}
