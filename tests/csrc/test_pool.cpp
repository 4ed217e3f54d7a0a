// The candidate pool against a sort, and the visited set over more searches than it has stamps.
#include "index/pool.hpp"

#include <algorithm>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

void it_keeps_the_lowest_keys_in_order() {
    SplitMix64 random(1);
    CandidatePool pool;
    for (const std::size_t limit : {1u, 2u, 17u, 1023u, 1024u, 1025u, 5000u}) {
        for (const std::size_t count : {0u, 1u, 16u, 1024u, 6000u}) {
            pool.reset(limit);
            std::vector<float> keys;
            for (std::size_t i = 0; i < count; ++i) {
                keys.push_back(static_cast<float>(random() % 500));
                pool.insert(keys.back(), static_cast<Slot>(i));
            }
            const std::vector<float> given = keys;
            std::sort(keys.begin(), keys.end());
            CHECK(pool.size() == std::min(limit, count));
            for (std::size_t i = 0; i < pool.size(); ++i) {
                CHECK(pool[i].key == keys[i]);
                CHECK(given[pool[i].slot] == keys[i]);
            }
            CHECK(pool.size() < limit || pool.bound() == keys[limit - 1]);
        }
    }
}

void each_is_taken_once_nearest_first() {
    CandidatePool pool;
    pool.reset(3);
    CHECK(pool.take_nearest().slot == kNoSlot);
    CHECK(pool.peek_nearest() == kNoSlot);
    pool.insert(5, 50);
    pool.insert(3, 30);
    CHECK(pool.peek_nearest() == 30);
    CHECK(pool.take_nearest().slot == 30);
    pool.insert(1, 10);  // nearer than what was taken
    CHECK(pool.take_nearest().slot == 10);
    pool.insert(4, 40);  // puts 50 out
    CHECK(pool.take_nearest().slot == 40);
    CHECK(pool.take_nearest().slot == kNoSlot);
    CHECK(pool.size() == 3);
}

void a_huge_limit_takes_no_memory() {
    CandidatePool pool;
    pool.reset(std::size_t{1} << 60);
    pool.insert(1, 1);
    CHECK(pool.size() == 1);
}

void nothing_is_seen_after_a_reset() {
    VisitedSet visited;
    for (int search = 0; search < 70'000; ++search) {
        visited.reset(3);
        CHECK(visited.insert(1));
        CHECK(!visited.insert(1));
    }
    visited.reset(10);
    CHECK(visited.insert(9));
    CHECK(visited.insert(1));
}

}  // namespace

int main() {
    it_keeps_the_lowest_keys_in_order();
    each_is_taken_once_nearest_first();
    a_huge_limit_takes_no_memory();
    nothing_is_seen_after_a_reset();
    return check_result();
}
