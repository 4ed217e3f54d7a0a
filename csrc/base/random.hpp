// Small, fast, seedable generators. Not for secrets.
#pragma once

#include <cstdint>

namespace llmspell {

// Steele, Lea and Flood 2014; also the recommended seeder of xoshiro.
class SplitMix64 {
  public:
    explicit constexpr SplitMix64(std::uint64_t seed) noexcept : state_(seed) {}

    constexpr std::uint64_t operator()() noexcept {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    // Uniform in (0, 1]: never zero, so its logarithm is finite.
    constexpr double unit() noexcept {
        return static_cast<double>(((*this)() >> 11) + 1) * 0x1.0p-53;
    }

  private:
    std::uint64_t state_;
};

}  // namespace llmspell
