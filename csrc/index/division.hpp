// How what is known of vectors is divided: which axes stand apart, and how many bits of a code each
// of the others gets.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace llmspell::index {

inline constexpr double kGroupBits = 4.0;
inline constexpr double kAxesPerGroup = 2.7;  // at most
// What is left of a vector's squared length is the error of sums in float32, where it is less.
inline constexpr double kNoise = 1e-6;

struct Division {
    std::vector<std::size_t> leading;  // axes that stand apart, an even number
    std::vector<double> bits;          // of each axis; 0 for those, and for such as tell too little
    std::size_t groups = 0;            // a multiple of kGroupsStep
};

// Of vectors with these variances along their axes, `total` in all. `nearest` are the squared
// distances of some of them from what is nearest, infinity where nothing is.
Division divide(std::span<const double> variances, double total, std::span<const double> nearest);

// The same where codes are of what is left of a vector beside the axes that stand apart, in units
// of its length: as many stand apart as make codes shortest. `along` has the coordinates of some
// vectors, (count, axes), and `squared` their squared lengths; `nearest` is of the first of them.
Division divide_rests(std::span<const double> variances, std::span<const float> along,
                      std::span<const double> squared, std::span<const double> nearest);

// The lower eighth of those that are finite: how near vectors lie where they lie closely. 0 without
// any.
double lower_eighth(std::vector<double> values);

}  // namespace llmspell::index
