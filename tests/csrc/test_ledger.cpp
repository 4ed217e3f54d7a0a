#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "ledger_fixture.hpp"

using namespace llmspell::ledger;

namespace {

void level_admits_exactly_its_limit() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::vectors, 10);
    CHECK(charge(slot, Quota::vectors, 9, now));
    Refusal refusal{};
    CHECK(!charge(slot, {Quota::vectors, 2}, now, refusal));
    CHECK(refusal.limit == 10 && refusal.used == 9 && refusal.requested == 2);
    CHECK(refusal.retry_after_ns < 0);
    CHECK(charge(slot, Quota::vectors, 1, now));
    CHECK(!charge(slot, Quota::vectors, 1, now));
    CHECK(charge(slot, Quota::vectors, 0, now));
    refund(slot, {Quota::vectors, 100}, now, now);
    CHECK(usage(slot, Quota::vectors, now).used == 0);
}

void largest_amounts_do_not_wrap_around() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    for (const Quota quota : {Quota::documents, Quota::embeddings, Quota::api_calls}) {
        set_limit(slot, quota, 1000);
        CHECK(charge(slot, quota, 1, now));
        CHECK(!charge(slot, quota, unlimited, now));
        CHECK(usage(slot, quota, now).used == 1);
    }
    CHECK(!charge(slot, Quota::storage, unlimited, now));
    CHECK(charge(slot, Quota::storage, level_max, now));
    CHECK(!charge(slot, Quota::storage, 1, now));
    CHECK(usage(slot, Quota::storage, now).used == level_max);
    refund(slot, {Quota::storage, unlimited}, now, now);
    CHECK(usage(slot, Quota::storage, now).used == 0);
}

void window_rolls_over_at_midnight_and_never_back() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::embeddings, 100);
    CHECK(charge(slot, Quota::embeddings, 100, now));
    Refusal refusal{};
    CHECK(!charge(slot, {Quota::embeddings, 1}, now, refusal));
    CHECK(refusal.retry_after_ns == static_cast<std::int64_t>(12 * hour));
    const auto midnight = noon_utc + static_cast<std::int64_t>(12 * hour);
    CHECK(!charge(slot, Quota::embeddings, 1, at(noon_boot + 12 * hour - 1, midnight - 1)));
    const Now tomorrow = at(noon_boot + 12 * hour, midnight);
    CHECK(usage(slot, Quota::embeddings, tomorrow).used == 0);
    CHECK(charge(slot, Quota::embeddings, 60, tomorrow));
    CHECK(!charge(slot, Quota::embeddings, 41, now));
    CHECK(charge(slot, Quota::embeddings, 40, now));
    CHECK(!charge(slot, Quota::embeddings, 1, tomorrow));
}

void refund_of_yesterday_gives_nothing_today() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::embeddings, 10);
    const Now tomorrow = at(noon_boot + 24 * hour, noon_utc + static_cast<std::int64_t>(day_ns));
    CHECK(charge(slot, Quota::embeddings, 5, now));
    CHECK(charge(slot, Quota::embeddings, 10, tomorrow));
    refund(slot, {Quota::embeddings, 5}, now, tomorrow);
    CHECK(usage(slot, Quota::embeddings, tomorrow).used == 10);
    refund(slot, {Quota::embeddings, 4}, tomorrow, tomorrow);
    CHECK(usage(slot, Quota::embeddings, tomorrow).used == 6);
}

void rate_admits_a_burst_then_one_each_interval() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    for (const std::int64_t limit : {1, 7, 60, 100, 1'000'003}) {
        slot.slot->rates[0].arrival.store(0);
        set_limit(slot, Quota::api_calls, limit);
        CHECK(charge(slot, Quota::api_calls, limit, now));
        CHECK(usage(slot, Quota::api_calls, now).used == limit);
        Refusal refusal{};
        CHECK(!charge(slot, {Quota::api_calls, 1}, now, refusal));
        CHECK(refusal.used == limit);
        const auto wait = static_cast<std::uint64_t>(refusal.retry_after_ns);
        CHECK(!charge(slot, Quota::api_calls, 1, at(noon_boot + wait - 1, noon_utc)));
        CHECK(charge(slot, Quota::api_calls, 1, at(noon_boot + wait, noon_utc)));
        CHECK(!charge(slot, Quota::api_calls, 1, at(noon_boot + wait, noon_utc)));
        CHECK(!charge(slot, {Quota::api_calls, limit + 1}, now, refusal));
        CHECK(refusal.retry_after_ns < 0);
    }
    set_limit(slot, Quota::api_calls, 0);
    CHECK(!charge(slot, Quota::api_calls, 1, at(noon_boot + hour, noon_utc)));
}

void rate_admits_no_more_than_its_limit_in_the_minute_after_a_burst() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    for (const std::int64_t limit : {1, 7, 100, 1'000'003}) {
        slot.slot->rates[0].arrival.store(0);
        set_limit(slot, Quota::api_calls, limit);
        CHECK(charge(slot, Quota::api_calls, limit, now));
        CHECK(!charge(slot, Quota::api_calls, limit, at(noon_boot + minute_ns - 1, noon_utc)));
    }
}

void rate_refund_gives_no_more_than_is_still_owed() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::api_calls, 60);
    CHECK(charge(slot, Quota::api_calls, 10, now));
    refund(slot, {Quota::api_calls, 10}, now, now);
    CHECK(usage(slot, Quota::api_calls, now).used == 0);
    CHECK(charge(slot, Quota::api_calls, 60, now));
    const Now later = at(noon_boot + 60 * second_ns, noon_utc);
    CHECK(charge(slot, Quota::api_calls, 60, later));
    refund(slot, {Quota::api_calls, 60}, now, later);
    CHECK(!charge(slot, Quota::api_calls, 1, later));
}

void a_refund_is_of_what_was_charged_whatever_has_changed_since() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    Refusal refusal{};
    Receipt receipt;
    // A day ahead, as after midnight in another thread: today's charge counts on that day.
    set_limit(slot, Quota::embeddings, 10);
    const Now tomorrow = at(noon_boot, noon_utc + static_cast<std::int64_t>(day_ns));
    CHECK(charge(slot, Quota::embeddings, 1, tomorrow));
    CHECK(try_charge(slot, {Quota::embeddings, 5}, now, refusal, receipt));
    refund(slot, {Quota::embeddings, 5}, receipt, now);
    CHECK(usage(slot, Quota::embeddings, tomorrow).used == 1);
    set_limit(slot, Quota::documents, 7);
    const Item too_much[] = {{Quota::embeddings, 2}, {Quota::documents, 8}};
    CHECK(!try_charge_all(slot, too_much, now, refusal, receipt));
    CHECK(usage(slot, Quota::embeddings, tomorrow).used == 1);
    // At another limit a call costs another time.
    set_limit(slot, Quota::api_calls, 1000);
    CHECK(try_charge(slot, {Quota::api_calls, 10}, now, refusal, receipt));
    set_limit(slot, Quota::api_calls, 10);
    CHECK(charge(slot, Quota::api_calls, 9, now));
    refund(slot, {Quota::api_calls, 10}, receipt, now);
    CHECK(charge(slot, Quota::api_calls, 1, now));
    CHECK(!charge(slot, Quota::api_calls, 1, now));
}

// What was read before the wait is of the past: another's look at the clock would be ahead of it,
// which means a restart, and all that is reserved would be given back.
void the_environment_is_read_under_the_lock() {
    Directory directory;
    std::size_t locked = 0;
    const EnvironmentSource source = [&] {
        for (const auto& entry : std::filesystem::directory_iterator(directory.path)) {
            const int file = ::open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
            if (flock(file, LOCK_EX | LOCK_NB) != 0) ++locked;
            close(file);
        }
        return noon;
    };
    std::unique_ptr<Ledger> ledger;
    int error = 0;
    CHECK(Ledger::open(directory.file(), 64, source, ledger, error) == Status::ok);
    CHECK(locked == 1);
    locked = 0;
    std::size_t given_back = 0;
    CHECK(ledger->sweep(source, given_back, error) == Status::ok);
    CHECK(locked == 2);  // the ledger itself is held shared while it is mapped
}

void several_quotas_are_charged_together_or_not_at_all() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::api_calls, 60);
    set_limit(slot, Quota::storage, 100);
    const Item items[] = {{Quota::api_calls, 1},
                          {Quota::documents, 2},
                          {Quota::embeddings, 3},
                          {Quota::storage, 101}};
    Refusal refusal{};
    Receipt receipt;
    CHECK(!try_charge_all(slot, items, now, refusal, receipt));
    CHECK(refusal.quota == Quota::storage);
    for (std::uint8_t quota = 0; quota < quota_count; ++quota) {
        CHECK(usage(slot, static_cast<Quota>(quota), now).used == 0);
    }
    CHECK(try_charge_all(slot, std::span(items).first(3), now, refusal, receipt));
    CHECK(usage(slot, Quota::api_calls, now).used == 1);
    CHECK(usage(slot, Quota::documents, now).used == 2);
    CHECK(usage(slot, Quota::embeddings, now).used == 3);
}

void threads_admit_exactly_the_limit() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    constexpr std::int64_t limit = 20'000;
    const Now tomorrow = at(noon_boot + 24 * hour, noon_utc + static_cast<std::int64_t>(day_ns));
    std::atomic<std::int64_t> admitted[quota_count] = {};
    for (std::uint8_t quota = 0; quota < quota_count; ++quota) {
        set_limit(slot, static_cast<Quota>(quota), limit);
    }
    CHECK(charge(slot, Quota::embeddings, limit, now));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 20'000; ++i) {
                const std::uint8_t quota = static_cast<std::uint8_t>((i + t) % quota_count);
                const std::int64_t amount = 1 + i % 3;
                // Half of them race to roll the window over.
                if (charge(slot, static_cast<Quota>(quota), amount, tomorrow)) {
                    admitted[quota] += amount;
                    if (i % 7 == 0) {
                        refund(slot, {static_cast<Quota>(quota), amount}, tomorrow, tomorrow);
                        admitted[quota] -= amount;
                    }
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::uint8_t quota = 0; quota < quota_count; ++quota) {
        while (charge(slot, static_cast<Quota>(quota), 1, tomorrow)) ++admitted[quota];
        CHECK(admitted[quota] == limit);
    }
}

void open_processes_share_slots_and_growth_keeps_them() {
    Directory directory;
    {
        auto first = open(directory, noon, 6);
        auto second_ledger = open(directory, noon, 1000);
        CHECK(second_ledger->capacity() == first->capacity());
        CHECK(charge(slot_of(*first), Quota::vectors, 5, now));
        CHECK(usage(slot_of(*second_ledger), Quota::vectors, now).used == 5);
        Handle handle;
        int error = 0;
        for (std::uint64_t key = 100; first->size() < first->capacity(); ++key) {
            CHECK(first->slot({key, key}, handle, error) == Status::ok);
        }
        // Both find what the other made, before and after the growth.
        const std::size_t before = first->capacity();
        CHECK(first->slot({99, 99}, handle, error) == Status::ok);
        CHECK(first->capacity() == 2 * before);
        CHECK(charge(handle, Quota::vectors, 3, now));
        CHECK(usage(slot_of(*second_ledger, 99), Quota::vectors, now).used == 3);
        CHECK(usage(slot_of(*second_ledger), Quota::vectors, now).used == 5);
        CHECK(charge(slot_of(*second_ledger), Quota::vectors, 1, now));
        CHECK(usage(slot_of(*first), Quota::vectors, now).used == 6);
        for (std::uint64_t key = 1'000; key < 2'000; ++key) {
            Ledger& one = key % 2 == 0 ? *first : *second_ledger;
            Ledger& other = key % 2 == 0 ? *second_ledger : *first;
            const Handle slot = slot_of(one, key);
            CHECK(charge(slot, Quota::vectors, static_cast<std::int64_t>(key), now));
            CHECK(slot_of(other, key).whose() == slot.whose());
        }
        bool released = false;
        CHECK(first->release({1'999, 1'999}, released, error) == Status::ok && released);
        CHECK(slot_of(*second_ledger, 1'998).whose() == slot_of(*first, 1'998).whose());
        CHECK(second_ledger->release({1'998, 1'998}, released, error) == Status::ok && released);
        CHECK(first->capacity() >= first->size());
    }
    {
        // What grew is as it was, opened again as it is.
        auto again = open(directory, noon, 6);
        for (std::uint64_t key = 1'000; key < 1'998; ++key) {
            CHECK(used(slot_of(*again, key), Quota::vectors, now) ==
                  static_cast<std::int64_t>(key));
        }
    }
    // A growth that was cut short leaves a longer file, of which nobody sees more than before.
    const auto size = std::filesystem::file_size(directory.file());
    std::filesystem::resize_file(directory.file(), size + 5000);
    CHECK(used(slot_of(*open(directory), 1'500), Quota::vectors, now) == 1'500);
    auto grown = open(directory, noon, 10'000);
    CHECK(grown->capacity() >= 10'000);
    CHECK(usage(slot_of(*grown), Quota::vectors, now).used == 6);
    CHECK(used(slot_of(*grown, 1'500), Quota::vectors, now) == 1'500);
}

void released_slot_makes_handles_stale() {
    Directory directory;
    auto ledger = open(directory);
    Handle old;
    Handle fresh;
    int error = 0;
    bool released = false;
    CHECK(ledger->slot({1, 2}, old, error) == Status::ok);
    CHECK(charge(old, Quota::vectors, 5, now));
    CHECK(ledger->release({1, 2}, released, error) == Status::ok && released);
    CHECK(ledger->release({1, 2}, released, error) == Status::ok && !released);
    CHECK(old.is_stale() && ledger->size() == 0);
    CHECK(ledger->slot({1, 2}, fresh, error) == Status::ok);
    CHECK(!fresh.is_stale() && old.is_stale());
    CHECK(usage(fresh, Quota::vectors, now).used == 0);
}

void damaged_header_is_rebuilt() {
    for (const std::streamoff where : {0, 8, 12, 16, 20, 24, 40, 72, 80, 88}) {
        Directory directory;
        CHECK(charge(slot_of(*open(directory)), Quota::vectors, 5, now));
        // Of a clock that has gone on, so that it isn't taken for a change that was cut short.
        open(directory, environment('a', noon_boot + second_ns, noon_utc + second_ns));
        {
            std::fstream file(directory.file(), std::ios::in | std::ios::out | std::ios::binary);
            file.seekg(where);
            const int byte = file.get();
            file.seekp(where);
            file.put(static_cast<char>(byte ^ 0x10));
        }
        auto ledger = open(directory);
        CHECK(ledger->size() == 0);
        CHECK(usage(slot_of(*ledger), Quota::vectors, now).used == 0);
    }
    Directory directory;
    open(directory);
    std::filesystem::resize_file(directory.file(), 5000);
    CHECK(open(directory)->size() == 0);
}

void damage_while_another_has_it_open_is_refused() {
    Directory directory;
    auto ledger = open(directory);
    {
        std::fstream file(directory.file(), std::ios::in | std::ios::out | std::ios::binary);
        file.put('x');
    }
    std::unique_ptr<Ledger> second_ledger;
    int error = 0;
    CHECK(Ledger::open(directory.file(), 64, always(noon), second_ledger, error) == Status::in_use);
    CHECK(second_ledger == nullptr);
}

// A restart: the clock since boot starts again, the calendar goes on by the wall clock.
void restart_keeps_rates_and_windows() {
    Directory directory;
    {
        auto ledger = open(directory);
        const Handle slot = slot_of(*ledger);
        set_limit(slot, Quota::api_calls, 60);
        set_limit(slot, Quota::embeddings, 10);
        CHECK(charge(slot, Quota::api_calls, 59, ledger->at(noon_boot)));
        CHECK(charge(slot, Quota::embeddings, 10, ledger->at(noon_boot)));
        Ticket ticket;
        CHECK(reserve_some(slot, ticket, 5, ledger->at(noon_boot)));
        set_levels(slot, {1, 2, 3, 4});
        publish(slot, 9);
    }
    const auto later = noon_utc + static_cast<std::int64_t>(20 * second_ns);
    auto ledger = open(directory, environment('b', second_ns, later));
    const Handle slot = slot_of(*ledger);
    const Now start = ledger->at(second_ns);
    CHECK(start.utc_ns == static_cast<std::uint64_t>(later));
    CHECK(usage(slot, Quota::api_calls, start).used == 40);
    CHECK(!charge(slot, Quota::embeddings, 1, start));
    CHECK(used(slot, Quota::vectors, start) == 2);
    CHECK(used(slot, Quota::tokens, start) == 0);
    CHECK(holds_in_use(slot) == 0);
    CHECK(slot.slot->flags.load() == 0 && slot.slot->log_head.load() == 0);
}

void restart_with_a_wrong_clock_opens_nothing_and_blocks_one_period_at_most() {
    for (const int days : {-400, -1, -2}) {
        Directory directory;
        {
            auto ledger = open(directory);
            const Handle slot = slot_of(*ledger);
            set_limit(slot, Quota::api_calls, 60);
            set_limit(slot, Quota::embeddings, 10);
            CHECK(charge(slot, Quota::api_calls, 60, ledger->at(noon_boot)));
            CHECK(charge(slot, Quota::embeddings, 10, ledger->at(noon_boot)));
        }
        const std::int64_t wrong = noon_utc + days * static_cast<std::int64_t>(day_ns);
        auto ledger = open(directory, environment('b', second_ns, wrong));
        const Handle slot = slot_of(*ledger);
        CHECK(!charge(slot, Quota::api_calls, 1, ledger->at(second_ns)));
        CHECK(!charge(slot, Quota::embeddings, 1, ledger->at(second_ns)));
        CHECK(charge(slot, Quota::api_calls, 60, ledger->at(61 * second_ns)));
        CHECK(charge(slot, Quota::embeddings, 10, ledger->at(second_ns + day_ns)));
    }
}

void step_of_the_wall_clock_opens_nothing() {
    for (const int days : {-30, -1, 1, 30}) {
        Directory directory;
        auto ledger = open(directory);
        const Handle slot = slot_of(*ledger);
        set_limit(slot, Quota::embeddings, 10);
        CHECK(charge(slot, Quota::embeddings, 10, ledger->at(noon_boot)));
        const std::int64_t stepped = noon_utc + days * static_cast<std::int64_t>(day_ns);
        std::size_t given_back = 0;
        int error = 0;
        for (std::uint64_t passed = 0; passed < 10 * hour; passed += hour / 2) {
            const std::int64_t wall = stepped + static_cast<std::int64_t>(passed);
            const Environment when = environment('a', noon_boot + passed, wall);
            CHECK(ledger->sweep(always(when), given_back, error) == Status::ok);
            CHECK(!charge(slot, Quota::embeddings, 1, ledger->at(noon_boot + passed)));
        }
        const std::uint64_t next_day = noon_boot + 36 * hour;
        CHECK(charge(slot, Quota::embeddings, 10, ledger->at(next_day)));
    }
}

void calendar_follows_the_wall_clock_in_the_end() {
    Directory directory;
    auto ledger = open(directory);
    const auto ahead = static_cast<std::int64_t>(hour);
    std::size_t given_back = 0;
    int error = 0;
    std::uint64_t passed = 0;
    for (; passed <= 9 * hour; passed += hour) {
        const std::int64_t wall = noon_utc + ahead + static_cast<std::int64_t>(passed);
        const Environment when = environment('a', noon_boot + passed, wall);
        CHECK(ledger->sweep(always(when), given_back, error) == Status::ok);
    }
    CHECK(ledger->at(noon_boot).utc_ns == static_cast<std::uint64_t>(noon_utc + ahead));
}

void own_process_is_alive_and_a_reused_pid_is_not() {
    CHECK(is_alive(own_process()));
    constexpr std::uint64_t another_start = std::uint64_t{1} << 50;
    CHECK(!is_alive(own_process() ^ another_start));
    constexpr std::uint64_t another_container = std::uint64_t{1} << 30;
    CHECK(is_alive(own_process() ^ another_container));
}

// Counts may be wrong then, but nothing outside of the file is touched and no range is left: the
// sanitizers watch.
void flipped_bits_do_no_harm_beyond_the_counts() {
    Directory directory;
    llmspell::SplitMix64 random(1);
    std::vector<char> content;
    {
        auto ledger = open(directory, noon, 6);
        Ticket ticket;
        for (std::uint64_t key = 1; key < 5; ++key) {
            CHECK(reserve_some(slot_of(*ledger, key), ticket, 3));
        }
        std::ifstream file(directory.file(), std::ios::binary);
        content.assign(std::istreambuf_iterator<char>(file), {});
    }
    std::vector<std::size_t> blocks;
    for (std::size_t at = 0; at < content.size(); at += sizeof(Slot)) {
        const auto* block = content.data() + at;
        if (std::any_of(block, block + sizeof(Slot), [](char byte) { return byte != 0; })) {
            blocks.push_back(at);
        }
    }
    std::size_t opened = 0;
    for (int i = 0; i < 500; ++i) {
        std::vector<char> damaged = content;
        for (int flips = 0; flips < 4; ++flips) {
            // The header is one of them, and checked as a whole elsewhere.
            const std::size_t at = blocks[1 + random() % (blocks.size() - 1)];
            damaged[at + random() % sizeof(Slot)] ^= static_cast<char>(1 << random() % 8);
        }
        std::ofstream(directory.file(), std::ios::binary)
            .write(damaged.data(), static_cast<std::streamsize>(damaged.size()));
        std::unique_ptr<Ledger> ledger;
        int error = 0;
        if (Ledger::open(directory.file(), 6, always(noon), ledger, error) != Status::ok) continue;
        ++opened;
        for (std::uint64_t key = 1; key < 5; ++key) {
            Handle slot;
            if (ledger->slot({key, key}, slot, error) != Status::ok) continue;
            Ticket ticket;
            if (reserve_some(slot, ticket, 3)) static_cast<void>(settle(slot, ticket, keep(1)));
            set_levels(slot, {1, 2, 3, 4});
            for (std::size_t q = 0; q < quota_count; ++q) {
                const auto quota = static_cast<Quota>(q);
                charge(slot, quota, 1, ledger->at(noon_boot));
                refund(slot, {quota, 1}, now, now);
                const std::int64_t count = used(slot, quota, ledger->at(noon_boot));
                CHECK(count >= 0 && count <= range_of(quota));
            }
        }
        sweep(*ledger, environment('a', noon_boot + 13 * hour, noon_utc));
    }
    CHECK(opened == 500);
}

}  // namespace

int main() {
    level_admits_exactly_its_limit();
    largest_amounts_do_not_wrap_around();
    window_rolls_over_at_midnight_and_never_back();
    refund_of_yesterday_gives_nothing_today();
    rate_admits_a_burst_then_one_each_interval();
    rate_admits_no_more_than_its_limit_in_the_minute_after_a_burst();
    rate_refund_gives_no_more_than_is_still_owed();
    a_refund_is_of_what_was_charged_whatever_has_changed_since();
    the_environment_is_read_under_the_lock();
    several_quotas_are_charged_together_or_not_at_all();
    threads_admit_exactly_the_limit();
    open_processes_share_slots_and_growth_keeps_them();
    released_slot_makes_handles_stale();
    damaged_header_is_rebuilt();
    damage_while_another_has_it_open_is_refused();
    restart_keeps_rates_and_windows();
    restart_with_a_wrong_clock_opens_nothing_and_blocks_one_period_at_most();
    step_of_the_wall_clock_opens_nothing();
    calendar_follows_the_wall_clock_in_the_end();
    own_process_is_alive_and_a_reused_pid_is_not();
    flipped_bits_do_no_harm_beyond_the_counts();
    return check_result();
}
