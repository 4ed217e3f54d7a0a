// What the kinds of quotas do beside admitting their limit: months, soft limits, crossings, ranges.
#include <thread>
#include <vector>

#include "ledger_fixture.hpp"

using namespace llmspell::ledger;

namespace {

Now on_day(std::uint64_t day) { return {noon_boot, day * day_ns + 12 * hour}; }

void months_are_those_of_the_calendar() {
    static_assert(month_of(0) == 0 && start_of_month(0) == 0);
    std::uint64_t month = 0;
    std::uint64_t start = 0;
    constexpr std::uint64_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (std::uint64_t year = 1970; year < 2500; ++year) {
        const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (std::uint64_t i = 0; i < 12; ++i, ++month) {
            CHECK(start_of_month(month) == start);
            CHECK(month_of(start) == month);
            start += (lengths[i] + (leap && i == 1 ? 1 : 0)) * day_ns;
            CHECK(month_of(start - 1) == month);
        }
    }
}

void cost_is_counted_until_the_month_ends() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::cost, 1'000'000);
    const std::uint64_t month = month_of(now.utc_ns);
    const Now last = {noon_boot, start_of_month(month + 1) - 1};
    const Now next = {noon_boot + 1, start_of_month(month + 1)};
    CHECK(charge(slot, Quota::cost, 1'000'000, now));
    Refusal refusal{};
    CHECK(!charge(slot, {Quota::cost, 1}, last, refusal));
    CHECK(refusal.retry_after_ns == 1);
    CHECK(charge(slot, Quota::cost, 400'000, next));
    // A clock that reads the month before opens nothing, and knows when this one is over.
    CHECK(!charge(slot, {Quota::cost, 600'001}, last, refusal));
    CHECK(refusal.used == 400'000);
    const std::uint64_t end = start_of_month(month + 2);
    CHECK(refusal.retry_after_ns == static_cast<std::int64_t>(end - last.utc_ns));
}

void a_window_counts_on_whatever_day_its_slot_was_made() {
    for (std::uint64_t day = 20'000; day < 20'000 + 3 * 4096; day += 509) {
        Directory directory;
        auto ledger = open(directory);
        const Handle slot = slot_of(*ledger);
        for (const Quota quota : {Quota::embeddings, Quota::tokens, Quota::cost}) {
            set_limit(slot, quota, 10);
            CHECK(used(slot, quota, on_day(day)) == 0);
            CHECK(charge(slot, quota, 10, on_day(day)));
            CHECK(!charge(slot, quota, 1, on_day(day)));
            CHECK(charge(slot, quota, 10, on_day(day + 31)));
            CHECK(!charge(slot, quota, 1, on_day(day)));
        }
    }
}

// A word has 12 bits of the day: after 4096 days it reads the same again.
void a_window_that_comes_round_is_cleared_before_it_is_read() {
    Directory directory;
    constexpr std::uint64_t days = 4096;
    {
        auto ledger = open(directory);
        const Handle slot = slot_of(*ledger);
        set_limit(slot, Quota::tokens, 10);
        CHECK(charge(slot, Quota::tokens, 10, ledger->at(noon_boot)));
    }
    const auto later = noon_utc + static_cast<std::int64_t>(days * day_ns);
    for (const char boot : {'a', 'b'}) {
        auto ledger = open(directory, environment(boot, noon_boot + days * day_ns, later));
        const Handle slot = slot_of(*ledger);
        CHECK(charge(slot, Quota::tokens, 10, ledger->at(noon_boot + days * day_ns)) ==
              (boot == 'a'));
    }
}

void a_sweep_on_a_new_day_clears_windows_of_the_past() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    const Word& word = slot.slot->gauges[index_of(Quota::tokens)].word;
    CHECK(charge(slot, Quota::tokens, 5, ledger->at(noon_boot)));
    const auto half_a_day = static_cast<std::int64_t>(12 * hour);
    sweep(*ledger, environment('a', noon_boot + 12 * hour - 1, noon_utc + half_a_day - 1));
    CHECK(detail::window_used(day_shape, word.load()) == 5);
    sweep(*ledger, environment('a', noon_boot + 12 * hour, noon_utc + half_a_day));
    CHECK(detail::window_used(day_shape, word.load()) == 0);
}

void nothing_is_counted_beyond_its_range_even_without_a_limit() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    for (const bool soft : {false, true}) {
        for (std::size_t i = 0; i < part_count; ++i) {
            const auto quota = static_cast<Quota>(i);
            const std::int64_t range = range_of(quota);
            set_limit(slot, quota, soft ? 1 : unlimited, soft);
            refund(slot, {quota, unlimited}, now, now);
            Refusal refusal{};
            CHECK(charge(slot, quota, range, now));
            CHECK(!charge(slot, {quota, 1}, now, refusal));
            CHECK(refusal.limit == range && refusal.used == range);
            CHECK(!charge(slot, quota, unlimited, now));
            CHECK(used(slot, quota, now) == range);
        }
    }
}

void a_soft_quota_counts_and_admits() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    for (std::size_t i = 0; i < quota_count; ++i) {
        const auto quota = static_cast<Quota>(i);
        set_limit(slot, quota, 10, true);
        for (int calls = 0; calls < 5; ++calls) CHECK(charge(slot, quota, 8, now));
        CHECK(used(slot, quota, now) == (is_rate(quota) ? 10 : 40));
        CHECK(usage(slot, quota, now).limit == 10);
        set_limit(slot, quota, 10, false);
        CHECK(!charge(slot, quota, 1, now));
    }
    set_limit(slot, Quota::queries, 0, true);
    CHECK(charge(slot, Quota::queries, 1, now));
}

void a_soft_rate_owes_one_burst_at_most() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::queries, 100, true);
    for (int i = 0; i < 1000; ++i) CHECK(charge(slot, Quota::queries, 90, now));
    set_limit(slot, Quota::queries, 100, false);
    CHECK(charge(slot, Quota::queries, 100, at(noon_boot + second_ns, noon_utc)));
}

unsigned crossed(const Handle& slot, Quota quota, std::int64_t amount, Now when = now) {
    Refusal refusal{};
    Receipt receipt;
    CHECK(try_charge(slot, {quota, amount}, when, refusal, receipt));
    return receipt.crossed >> (2 * index_of(quota)) & 3;
}

void a_charge_knows_which_thresholds_it_crossed() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    for (const bool soft : {false, true}) {
        for (std::size_t i = 0; i < quota_count; ++i) {
            const auto quota = static_cast<Quota>(i);
            const Now when = {now.boot_ns + hour * (soft ? 2 : 1), now.utc_ns};
            set_limit(slot, quota, 11, soft);
            refund(slot, {quota, unlimited}, when, when);
            CHECK(crossed(slot, quota, 8, when) == 0);  // 80 % of 11 is 8.8
            CHECK(crossed(slot, quota, 1, when) == 1);
            CHECK(crossed(slot, quota, 1, when) == 0);
            CHECK(crossed(slot, quota, 1, when) == 2);
            if (soft) CHECK(crossed(slot, quota, 5, when) == 0);
        }
    }
    set_limit(slot, Quota::vectors, 1000);
    CHECK(crossed(slot, Quota::vectors, 1000 - used(slot, Quota::vectors, now)) == 3);
    set_limit(slot, Quota::vectors, 0, true);
    CHECK(crossed(slot, Quota::vectors, 1) == 0);
}

void a_rate_tells_of_a_threshold_once_a_period() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::queries, 10);
    int told = 0;
    CHECK(crossed(slot, Quota::queries, 10) == 3);
    for (std::uint64_t passed = second_ns / 10; passed < 3 * second_ns; passed += second_ns / 10) {
        if (crossed(slot, Quota::queries, 1, at(noon_boot + passed, noon_utc)) != 0) ++told;
    }
    CHECK(told == 2);
}

void one_of_many_threads_notices_a_crossing() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    constexpr std::int64_t limit = 40'000;
    std::atomic<int> noticed[quota_count][2] = {};
    for (std::size_t i = 0; i < quota_count; ++i) set_limit(slot, static_cast<Quota>(i), limit);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t n = 0; n < quota_count * limit / 4; ++n) {
                const std::size_t i = (n + t) % quota_count;
                const unsigned found = crossed(slot, static_cast<Quota>(i), 1);
                if ((found & 1) != 0) ++noticed[i][0];
                if ((found & 2) != 0) ++noticed[i][1];
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& counts : noticed) CHECK(counts[0] == 1 && counts[1] == 1);
}

void a_crossing_that_was_rolled_back_is_forgotten() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::vectors, 10);
    set_limit(slot, Quota::storage, 10);
    const Item items[] = {{Quota::vectors, 9}, {Quota::storage, 11}};
    Refusal refusal{};
    Receipt receipt;
    CHECK(!try_charge_all(slot, items, now, refusal, receipt));
    CHECK(receipt.crossed == 0);
    Ticket ticket;
    CHECK(open_hold(slot, own_process(), never, ticket));
    CHECK(!reserve(slot, ticket, items, now, refusal, receipt));
    CHECK(receipt.crossed == 0);
    CHECK(charge(slot, Quota::vectors, 9, now));
}

void the_head_of_the_log_is_published_upwards_and_set_anywhere() {
    Directory directory;
    auto ledger = open(directory);
    auto other = open(directory);
    const Handle slot = slot_of(*ledger);
    publish(slot, 7);
    publish(slot, 5);
    CHECK(slot_of(*other).slot->log_head.load() == 7);
    slot.slot->log_head.store(3);
    CHECK(slot_of(*other).slot->log_head.load() == 3);
}

void levels_are_known_once_they_have_been_set_together() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_level(slot, Quota::vectors, 5);
    CHECK((slot.slot->flags.load() & levels_known_flag) == 0);
    set_levels(slot, {1, 2, 3, 384});
    CHECK((slot.slot->flags.load() & levels_known_flag) != 0);
    CHECK(used(slot, Quota::dimensions, now) == 384);
    bool released = false;
    int error = 0;
    CHECK(ledger->release({7, 7}, released, error) == Status::ok);
    CHECK((slot_of(*ledger).slot->flags.load() & levels_known_flag) == 0);
}

}  // namespace

int main() {
    months_are_those_of_the_calendar();
    cost_is_counted_until_the_month_ends();
    a_window_counts_on_whatever_day_its_slot_was_made();
    a_window_that_comes_round_is_cleared_before_it_is_read();
    a_sweep_on_a_new_day_clears_windows_of_the_past();
    nothing_is_counted_beyond_its_range_even_without_a_limit();
    a_soft_quota_counts_and_admits();
    a_soft_rate_owes_one_burst_at_most();
    a_charge_knows_which_thresholds_it_crossed();
    a_rate_tells_of_a_threshold_once_a_period();
    one_of_many_threads_notices_a_crossing();
    a_crossing_that_was_rolled_back_is_forgotten();
    the_head_of_the_log_is_published_upwards_and_set_anywhere();
    levels_are_known_once_they_have_been_set_together();
    return check_result();
}
