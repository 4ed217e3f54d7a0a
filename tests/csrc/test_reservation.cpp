// Reservations: what they hold, what a sweep gives back, and what no death of a process leaks.
#include <signal.h>

#include <thread>
#include <vector>

#include "ledger_fixture.hpp"

using namespace llmspell::ledger;

namespace {

void refused_reservation_charges_nothing_and_frees_its_hold() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    set_limit(slot, Quota::api_calls, 60);
    for (const Quota quota : {Quota::vectors, Quota::tokens}) {
        set_limit(slot, quota, 10);
        Ticket ticket;
        CHECK(!reserve_some(slot, ticket, 11));
        for (std::size_t i = 0; i < quota_count; ++i) {
            CHECK(used(slot, static_cast<Quota>(i), now) == 0);
        }
        CHECK(holds_in_use(slot) == 0);
        set_limit(slot, quota, unlimited);
    }
}

void holds_run_out_and_come_back() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    // Shares are counted by one place in 64, at either end of a run.
    const auto is_half_of = [](std::size_t taken, std::size_t all) {
        return 2 * taken + 256 >= all && 2 * taken <= all + 256;
    };
    std::vector<Ticket> tickets;
    Ticket late;
    while (open_hold(slot, own_process(), never, late)) tickets.push_back(late);
    CHECK(is_half_of(tickets.size(), hold_count));
    // Others have the other half between them, each about as many as it leaves.
    std::size_t left = hold_count - tickets.size();
    for (std::uint64_t key = 100; left > 512; ++key) {
        const Handle other = slot_of(*ledger, key);
        std::size_t taken = 0;
        while (open_hold(other, own_process(), never, late)) ++taken;
        CHECK(is_half_of(taken, left));
        left -= taken;
    }
    CHECK(!open_hold(slot, own_process(), never, late));
    for (std::size_t i = 0; i < tickets.size(); ++i) {
        if (i != 5) CHECK(settle(slot, tickets[i], {}));
    }
    CHECK(open_hold(slot, own_process(), never, late));
}

void settling_keeps_what_it_says_of_levels_and_windows() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    Ticket ticket;
    CHECK(reserve_some(slot, ticket, 10));
    Parts kept = keep(4);
    kept[index_of(Quota::documents)] = 1;
    CHECK(settle(slot, ticket, kept));
    CHECK(used(slot, Quota::vectors, now) == 4 && used(slot, Quota::tokens, now) == 4);
    CHECK(used(slot, Quota::documents, now) == 1);
    CHECK(holds_in_use(slot) == 0);
    CHECK(!settle(slot, ticket, {}));
}

void what_was_reserved_of_a_day_is_not_given_back_to_the_next() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    const Now tomorrow = at(noon_boot + 24 * hour, noon_utc + static_cast<std::int64_t>(day_ns));
    Ticket ticket;
    CHECK(reserve_some(slot, ticket, 10));
    CHECK(charge(slot, Quota::tokens, 7, tomorrow));
    CHECK(settle(slot, ticket, {}));
    CHECK(used(slot, Quota::tokens, tomorrow) == 7);
    CHECK(used(slot, Quota::vectors, tomorrow) == 0);
}

void level_set_under_open_reservations_keeps_them() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    const Handle neighbour = slot_of(*ledger, 8);
    Ticket first;
    Ticket other;
    Ticket foreign;
    CHECK(reserve_some(slot, first, 10) && reserve_some(slot, other, 20));
    CHECK(reserve_some(neighbour, foreign, 40));
    set_level(slot, Quota::vectors, 100);
    CHECK(used(slot, Quota::vectors, now) == 130);
    CHECK(settle(slot, first, keep(4)));
    CHECK(used(slot, Quota::vectors, now) == 124);
    CHECK(settle(slot, other, {}));
    CHECK(used(slot, Quota::vectors, now) == 104);
}

void a_hold_of_a_slot_that_changed_hands_touches_nobody() {
    Directory directory;
    auto ledger = open(directory);
    const Handle old = slot_of(*ledger);
    Ticket ticket;
    Ticket lost;
    CHECK(reserve_some(old, ticket, 10) && reserve_some(old, lost, 10, now, noon_boot));
    bool released = false;
    int error = 0;
    CHECK(ledger->release({7, 7}, released, error) == Status::ok && released);
    const Handle fresh = slot_of(*ledger);
    CHECK(fresh.slot == old.slot && charge(fresh, Quota::vectors, 30, now));
    CHECK(settle(old, ticket, {}));
    CHECK(sweep(*ledger, noon) == 1);
    CHECK(used(fresh, Quota::vectors, now) == 30);
    CHECK(holds_in_use(fresh) == 0);
}

void a_lease_that_has_passed_is_given_back_and_its_owner_finds_out() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    Ticket ticket;
    CHECK(reserve_some(slot, ticket, 10, now, noon_boot + second_ns));
    CHECK(sweep(*ledger, environment('a', noon_boot + second_ns - 1, noon_utc)) == 0);
    CHECK(sweep(*ledger, environment('a', noon_boot + second_ns, noon_utc)) == 1);
    CHECK(used(slot, Quota::vectors, now) == 0 && used(slot, Quota::tokens, now) == 0);
    // Somebody else has the place by now.
    Ticket other;
    CHECK(reserve_some(slot, other, 3) && other.hold == ticket.hold);
    CHECK(!renew(slot, ticket, never));
    CHECK(!settle(slot, ticket, keep(10)));
    CHECK(used(slot, Quota::vectors, now) == 3);
    CHECK(settle(slot, other, keep(3)));
    CHECK(used(slot, Quota::vectors, now) == 3);
}

void a_renewed_lease_holds() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    Ticket ticket;
    CHECK(reserve_some(slot, ticket, 10, now, noon_boot + second_ns));
    CHECK(renew(slot, ticket, noon_boot + hour));
    CHECK(sweep(*ledger, environment('a', noon_boot + hour - 1, noon_utc)) == 0);
    CHECK(settle(slot, ticket, keep(10)));
    CHECK(used(slot, Quota::vectors, now) == 10);
}

// The sweep has looked at the lease, and is slower than its owner.
void a_sweep_takes_no_hold_that_was_renewed_or_settled_meanwhile() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    for (const bool renews : {true, false}) {
        Ticket ticket;
        CHECK(reserve_some(slot, ticket, 10, now, noon_boot));
        Hold& hold = slot.holds[ticket.hold];
        std::uint64_t life = 0;
        CHECK(due_at(hold, noon_boot, life) == Due::yes);
        CHECK(renews ? renew(slot, ticket, never) : settle(slot, ticket, {}));
        CHECK(!seize(hold, life, own_process()));
        if (renews) CHECK(settle(slot, ticket, {}));
    }
    CHECK(holds_in_use(slot) == 0 && used(slot, Quota::vectors, now) == 0);
}

void a_refusal_sweeps_first_but_not_each_time() {
    Directory directory;
    auto ledger = open(directory, system_environment());
    const Handle slot = slot_of(*ledger);
    Ticket ticket;
    CHECK(reserve_some(slot, ticket, 10, ledger->now(), boot_time_ns()));
    const std::uint64_t swept_at = boot_time_ns();
    CHECK(ledger->sweep_before_refusal(system_environment));
    CHECK(used(slot, Quota::vectors, ledger->now()) == 0);
    CHECK(reserve_some(slot, ticket, 10, ledger->now(), boot_time_ns()));
    bool swept_again = false;
    for (int i = 0; i < 1000 && !swept_again; ++i) {
        swept_again = ledger->sweep_before_refusal(system_environment);
        // A machine that stalls may have let so much time pass at once.
        CHECK(!swept_again || boot_time_ns() - swept_at >= refusal_sweep_ns);
        if (!swept_again) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(swept_again);
}

// A tag has 4 bits of the version, and a thread takes the same hold each time: old tags of a hold
// are everywhere when it comes back to a slot.
void tags_that_come_round_are_not_mistaken() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slots[] = {slot_of(*ledger, 1), slot_of(*ledger, 2), slot_of(*ledger, 3)};
    for (int round = 0; round < 200; ++round) {
        for (int other = 0; other < round % 17; ++other) {
            Ticket ticket;
            CHECK(reserve_some(slots[1 + other % 2], ticket, 2));
            CHECK(settle(slots[1 + other % 2], ticket, keep(other % 3 == 0 ? 1 : 0)));
        }
        Ticket ticket;
        CHECK(reserve_some(slots[0], ticket, 5, now, noon_boot));
        CHECK(sweep(*ledger, noon) == 1);
        CHECK(used(slots[0], Quota::vectors, now) == 0);
        CHECK(used(slots[0], Quota::tokens, now) == 0);
    }
}

void threads_reserve_exactly_the_limit() {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger);
    constexpr std::int64_t limit = 10'000;
    set_limit(slot, Quota::vectors, limit);
    set_limit(slot, Quota::tokens, limit);
    std::atomic<std::int64_t> kept{0};
    std::atomic<bool> done{false};
    // Leases that have passed are seized while their owners settle; who wins decides what is kept.
    std::thread sweeper([&] {
        while (!done) sweep(*ledger, noon);
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 10'000; ++i) {
                Ticket ticket;
                const std::uint64_t lease_end = i % 4 == 0 ? noon_boot : never;
                if (!reserve_some(slot, ticket, 1 + i % 4, now, lease_end)) continue;
                const std::int64_t keeps = i % 2 == 0 ? (1 + i % 4) / 2 : 0;
                if (settle(slot, ticket, keep(keeps))) kept += keeps;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    done = true;
    sweeper.join();
    sweep(*ledger, noon);
    CHECK(kept <= limit);
    CHECK(used(slot, Quota::vectors, now) == kept && used(slot, Quota::tokens, now) == kept);
    CHECK(used(slot, Quota::documents, now) == 0);
    CHECK(holds_in_use(slot) == 0);
}

void death_with_a_reservation_gives_back_on_sweep() {
    Directory directory;
    const Environment here = system_environment();
    auto ledger = open(directory, here);
    const Handle slot = slot_of(*ledger);
    Ticket own;
    CHECK(reserve_some(slot, own, 10));
    const pid_t child = fork();
    if (child == 0) {
        Ticket settled;
        Ticket left;
        if (!reserve_some(slot, settled, 10) || !settle(slot, settled, keep(4))) _exit(1);
        _exit(reserve_some(slot, left, 10) ? 0 : 2);
    }
    int code = -1;
    CHECK(waitpid(child, &code, 0) == child && code == 0);
    CHECK(used(slot, Quota::vectors, now) == 24 && used(slot, Quota::tokens, now) == 24);
    CHECK(sweep(*ledger, here) == 1);
    CHECK(used(slot, Quota::vectors, now) == 14 && used(slot, Quota::tokens, now) == 14);
    CHECK(settle(slot, own, {}));
    CHECK(used(slot, Quota::vectors, now) == 4);
    CHECK(sweep(*ledger, here) == 0);
}

// Children that do nothing but reserve and settle are killed at random, so most die inside of it,
// while this process changes the same words.
void death_at_any_instruction_leaks_nothing() {
    Directory directory;
    const Environment here = system_environment();
    auto ledger = open(directory, here);
    const Handle slot = slot_of(*ledger);
    std::atomic<bool> done{false};
    std::thread neighbour([&] {
        while (!done) {
            Ticket ticket;
            CHECK(reserve_some(slot, ticket, 3));
            CHECK(settle(slot, ticket, {}));
            for (const Quota quota : {Quota::vectors, Quota::tokens}) {
                CHECK(charge(slot, quota, 1, now));
                refund(slot, {quota, 1}, now, now);
            }
        }
    });
    for (useconds_t i = 0; i < 150; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            for (;;) {
                Ticket ticket;
                if (!reserve_some(slot, ticket, 10) || !settle(slot, ticket, {})) _exit(1);
            }
        }
        usleep(200 + i * 7 % 300);
        kill(child, SIGKILL);
        int code = 0;
        CHECK(waitpid(child, &code, 0) == child && WIFSIGNALED(code));
        sweep(*ledger, here);
    }
    done = true;
    neighbour.join();
    for (std::size_t i = 0; i < part_count; ++i) {
        CHECK(used(slot, static_cast<Quota>(i), now) == 0);
    }
    CHECK(holds_in_use(slot) == 0);
}

void growth_gives_back_what_the_dead_held() {
    Directory directory;
    {
        auto ledger = open(directory, noon, 6);
        Ticket ticket;
        CHECK(charge(slot_of(*ledger), Quota::vectors, 5, now));
        CHECK(reserve_some(slot_of(*ledger), ticket, 10));
    }
    auto grown = open(directory, noon, 1000);
    CHECK(grown->capacity() >= 1000);
    CHECK(used(slot_of(*grown), Quota::vectors, now) == 5);
    CHECK(holds_in_use(slot_of(*grown)) == 0);
}

}  // namespace

int main() {
    refused_reservation_charges_nothing_and_frees_its_hold();
    holds_run_out_and_come_back();
    settling_keeps_what_it_says_of_levels_and_windows();
    what_was_reserved_of_a_day_is_not_given_back_to_the_next();
    level_set_under_open_reservations_keeps_them();
    a_hold_of_a_slot_that_changed_hands_touches_nobody();
    a_lease_that_has_passed_is_given_back_and_its_owner_finds_out();
    a_renewed_lease_holds();
    a_sweep_takes_no_hold_that_was_renewed_or_settled_meanwhile();
    a_refusal_sweeps_first_but_not_each_time();
    tags_that_come_round_are_not_mistaken();
    threads_reserve_exactly_the_limit();
    death_with_a_reservation_gives_back_on_sweep();
    death_at_any_instruction_leaks_nothing();
    growth_gives_back_what_the_dead_held();
    return check_result();
}
