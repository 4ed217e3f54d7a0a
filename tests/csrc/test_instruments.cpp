#include <thread>
#include <vector>

#include "base/instruments.hpp"
#include "check.hpp"

using llmspell::Counter;
using llmspell::Histogram;

namespace {

void every_duration_lies_in_the_bucket_that_bounds_it() {
    std::uint64_t below = 0;
    for (std::size_t bucket = 0; bucket + 1 < Histogram::bucket_count; ++bucket) {
        const std::uint64_t bound = Histogram::bound_of(bucket);
        CHECK(bound > below);
        CHECK(Histogram::bucket_of(below + 1) == bucket);
        CHECK(Histogram::bucket_of(bound) == bucket);
        CHECK(bucket == 0 || bound - below <= below / 4);
        below = bound;
    }
    CHECK(below == std::uint64_t{1} << Histogram::last_bits);
    CHECK(Histogram::bucket_of(0) == 0);
    CHECK(Histogram::bucket_of(below + 1) == Histogram::bucket_count - 1);
    CHECK(Histogram::bucket_of(~std::uint64_t{0}) == Histogram::bucket_count - 1);
}

void threads_lose_no_count() {
    Counter counter;
    Histogram histogram;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (std::uint64_t i = 0; i < 10'000; ++i) {
                counter.add(2);
                histogram.record(i * 100);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(counter.value() == 80'000);
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < Histogram::bucket_count; ++i) total += histogram.count_in(i);
    CHECK(total == 40'000);
    CHECK(histogram.sum() == 4 * 100 * (9'999ull * 10'000 / 2));
}

}  // namespace

int main() {
    every_duration_lies_in_the_bucket_that_bounds_it();
    threads_lose_no_count();
    return check_result();
}
