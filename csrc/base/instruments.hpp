// A counter and a latency histogram for hot paths. Thread-safe and wait-free; a reader sees each
// number whole, not all of them at one instant.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace llmspell {

class Counter {
  public:
    void add(std::uint64_t amount) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
    std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};

// Bucket bounds grow by quarters of a power of two from 1,024 ns to 2^35 ns (34 s), so a quantile
// is right within a quarter. A value equal to a bound lies below it, as Prometheus has it.
class Histogram {
  public:
    static constexpr unsigned first_bits = 10;
    static constexpr unsigned last_bits = 35;
    static constexpr unsigned steps = 4;
    static constexpr std::size_t bucket_count = 2 + (last_bits - first_bits) * steps;

    static constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
        const std::uint64_t below = ns == 0 ? 0 : ns - 1;
        if (below >> first_bits == 0) return 0;
        const auto exponent = static_cast<unsigned>(std::bit_width(below)) - 1;
        if (exponent >= last_bits) return bucket_count - 1;
        const std::uint64_t step = below >> (exponent - 2) & (steps - 1);
        return 1 + (exponent - first_bits) * steps + static_cast<std::size_t>(step);
    }

    // Largest value of a bucket in ns; the last bucket has none and gives 0.
    static constexpr std::uint64_t bound_of(std::size_t bucket) noexcept {
        if (bucket == 0) return std::uint64_t{1} << first_bits;
        if (bucket >= bucket_count - 1) return 0;
        const std::size_t exponent = first_bits + (bucket - 1) / steps;
        return (steps + 1 + (bucket - 1) % steps) << (exponent - 2);
    }

    void record(std::uint64_t ns) noexcept {
        counts_[bucket_of(ns)].fetch_add(1, std::memory_order_relaxed);
        sum_.fetch_add(ns, std::memory_order_relaxed);
    }

    std::uint64_t count_in(std::size_t bucket) const noexcept {
        return counts_[bucket].load(std::memory_order_relaxed);
    }
    std::uint64_t sum() const noexcept { return sum_.load(std::memory_order_relaxed); }

  private:
    std::array<std::atomic<std::uint64_t>, bucket_count> counts_{};
    std::atomic<std::uint64_t> sum_{0};
};

}  // namespace llmspell
