// Death between any two stores of a reservation, and of a sweep that gives it back.
//
// Built with the ledger's own sources, in which step() is what stands here.
#include <signal.h>

#include "ledger/steps.hpp"
#include "ledger_fixture.hpp"

namespace {

int steps_left = -1;  // no end
void (*at_each_step)() = nullptr;

}  // namespace

void llmspell::ledger::step() noexcept {
    if (at_each_step != nullptr) at_each_step();
    if (steps_left == 0) raise(SIGKILL);
    if (steps_left > 0) --steps_left;
}

using namespace llmspell::ledger;

namespace {

enum class End { finished, died };

// Runs `work` in a child that dies at its `steps`-th step.
template <typename Work>
End run(int steps, Work work) {
    const pid_t child = fork();
    if (child == 0) {
        steps_left = steps;
        work();
        _exit(0);
    }
    int code = 0;
    CHECK(waitpid(child, &code, 0) == child);
    CHECK(WIFSIGNALED(code) || WEXITSTATUS(code) == 0);
    return WIFSIGNALED(code) ? End::died : End::finished;
}

// Changes the words that are being reserved, so that tags are replaced and must have been noted.
Handle shared;
void disturb() {
    for (const Quota quota : {Quota::documents, Quota::vectors, Quota::tokens}) {
        if (charge(shared, quota, 1, now)) refund(shared, {quota, 1}, now, now);
    }
}

void reserve_and_settle(const Handle& slot, std::int64_t reserved, std::int64_t kept) {
    Ticket ticket;
    if (!reserve_some(slot, ticket, reserved)) _exit(1);
    if (!settle(slot, ticket, keep(kept))) _exit(2);
}

bool nothing_but(const Handle& slot, std::int64_t amount) {
    return used(slot, Quota::documents, now) == 0 && used(slot, Quota::vectors, now) == amount &&
           used(slot, Quota::tokens, now) == amount && holds_in_use(slot) == 0;
}

// All of it or none of it: the decision is one store.
void a_death_at_any_step_keeps_all_that_was_settled_or_nothing() {
    for (void (*const disturbing)() : {static_cast<void (*)()>(nullptr), &disturb}) {
        Directory directory;
        const Environment here = system_environment();
        auto ledger = open(directory, here);
        shared = slot_of(*ledger);
        std::int64_t before = 0;
        bool has_settled = false;
        for (int steps = 0;; ++steps) {
            const End end = run(steps, [&] {
                at_each_step = disturbing;
                reserve_and_settle(shared, 10, 4);
            });
            sweep(*ledger, here);
            const bool settled = nothing_but(shared, before + 4);
            CHECK(settled || nothing_but(shared, before));
            CHECK(settled || !has_settled);  // once decided, it stays so at all later steps
            has_settled = settled;
            before += settled ? 4 : 0;
            if (end == End::finished) break;
            CHECK(steps < 1000);
        }
        CHECK(has_settled);
    }
}

void a_refused_reservation_that_dies_at_any_step_leaves_nothing() {
    Directory directory;
    const Environment here = system_environment();
    auto ledger = open(directory, here);
    shared = slot_of(*ledger);
    set_limit(shared, Quota::tokens, 5);
    for (int steps = 0;; ++steps) {
        const End end = run(steps, [&] {
            at_each_step = disturb;
            Ticket ticket;
            if (reserve_some(shared, ticket, 6)) _exit(1);
        });
        sweep(*ledger, here);
        CHECK(nothing_but(shared, 0));
        if (end == End::finished) break;
    }
}

// A sweep of a dead owner's hold, or of a lease that has passed, dies itself; the next goes on.
void a_sweep_that_dies_at_any_step_is_finished_by_the_next() {
    const Environment here = system_environment();
    for (const bool has_passed : {false, true}) {
        for (int owner_steps = 0;; ++owner_steps) {
            End owner = End::died;
            for (int sweep_steps = 0;; ++sweep_steps) {
                Directory directory;
                auto ledger = open(directory, here);
                shared = slot_of(*ledger);
                Ticket ticket;
                if (has_passed) {
                    CHECK(reserve_some(shared, ticket, 10, now, 0));
                } else {
                    owner = run(owner_steps, [&] { reserve_and_settle(shared, 10, 4); });
                }
                const End swept = run(sweep_steps, [&] {
                    at_each_step = disturb;
                    sweep(*ledger, here);
                });
                sweep(*ledger, here);
                CHECK(nothing_but(shared, 0) || (!has_passed && nothing_but(shared, 4)));
                if (has_passed) CHECK(!settle(shared, ticket, keep(10)));
                if (swept == End::finished) break;
            }
            if (has_passed || owner == End::finished) break;
        }
    }
}

void a_renewal_that_dies_at_any_step_leaves_nothing() {
    const Environment here = system_environment();
    for (int steps = 0;; ++steps) {
        Directory directory;
        auto ledger = open(directory, here);
        shared = slot_of(*ledger);
        const End end = run(steps, [&] {
            Ticket ticket;
            if (!reserve_some(shared, ticket, 10) || !renew(shared, ticket, never)) _exit(1);
        });
        sweep(*ledger, here);
        CHECK(nothing_but(shared, 0));
        if (end == End::finished) break;
    }
}

// An old tag like the new one is in the word when the process dies just before its change: the
// change has not been made, whatever the word says.
void an_old_tag_in_the_word_does_not_vouch_for_a_new_change() {
    Directory directory;
    const Environment here = system_environment();
    auto ledger = open(directory, here);
    const Handle other = slot_of(*ledger, 1);
    shared = slot_of(*ledger, 2);
    bool died = true;
    for (int steps = 0; died; ++steps) {
        for (int uses = 0; uses < 16; ++uses) {
            // One child, so that all of it is by one hold: its tag stays in the word of `shared`
            // while it is used elsewhere until its version reads the same again.
            died = run(-1, [&] {
                       reserve_and_settle(shared, 10, 10);
                       for (int i = 0; i < uses; ++i) reserve_and_settle(other, 1, i % 2);
                       steps_left = steps;
                       reserve_and_settle(shared, 10, 10);
                   }) == End::died;
            sweep(*ledger, here);
            const std::int64_t vectors = used(shared, Quota::vectors, now);
            CHECK(vectors == 10 || vectors == 20);
            CHECK(used(shared, Quota::tokens, now) == vectors);
            CHECK(holds_in_use(shared) == 0);
            refund(shared, {Quota::vectors, vectors}, now, now);
            refund(shared, {Quota::tokens, vectors}, now, now);
        }
    }
}

// Until then nothing is lost, whether others have the file open or not, and no day begins early.
void a_change_of_the_clock_that_dies_at_any_step_loses_nothing() {
    for (const char boot : {'a', 'b'}) {
        for (int steps = 0;; ++steps) {
            Directory directory;
            auto ledger = open(directory);
            shared = slot_of(*ledger);
            set_limit(shared, Quota::tokens, 5);
            CHECK(charge(shared, Quota::tokens, 5, ledger->at(noon_boot)));
            // Eleven hours on, by a wall clock that is a day ahead of them.
            const std::uint64_t later = noon_boot + 11 * hour;
            const Environment ahead =
                environment(boot, later, noon_utc + static_cast<std::int64_t>(day_ns + 11 * hour));
            if (boot == 'b') ledger.reset();  // nobody has it open over a restart
            const End end = run(steps, [&] {
                if (ledger == nullptr) {
                    open(directory, ahead);
                } else {
                    sweep(*ledger, ahead);
                }
            });
            for (int opened = 0; opened < 2; ++opened) {  // with the first ledger open, and without
                auto next = open(directory, ahead);
                if (next == nullptr) break;
                CHECK(next->size() == 1);
                const Handle slot = slot_of(*next);
                if (boot == 'a') CHECK(!charge(slot, Quota::tokens, 1, next->at(later)));
                CHECK(usage(slot, Quota::tokens, next->at(later)).limit == 5);
                next.reset();
                ledger.reset();
            }
            if (end == End::finished) break;
        }
    }
}

// After a restart that died on the way, and one more: what the last opening comes to is the same.
bool two_restarts_that_die_move_rates_once(int steps, int more) {
    Directory directory;
    auto ledger = open(directory);
    const Handle slot = slot_of(*ledger, 1);
    set_limit(slot, Quota::api_calls, 60);
    CHECK(charge(slot, Quota::api_calls, 40, ledger->at(noon_boot)));
    ledger.reset();
    const auto utc = noon_utc + static_cast<std::int64_t>(10 * second_ns);
    run(steps, [&] { open(directory, environment('b', second_ns, utc)); });
    const End end = run(more, [&] { open(directory, environment('c', 2 * second_ns, utc)); });
    ledger = open(directory, environment('d', 3 * second_ns, utc));
    CHECK(used(slot_of(*ledger, 1), Quota::api_calls, ledger->at(3 * second_ns)) == 30);
    return end == End::finished;
}

void any_two_restarts_that_die_move_rates_once() {
    for (int steps = 0; steps < 40; ++steps) {
        for (int more = 0; !two_restarts_that_die_move_rates_once(steps, more); ++more) {
            CHECK(more < 1000);
        }
    }
}

// One that dies on the way is done again by the next opening, which comes to the same.
void a_restart_that_dies_at_any_step_moves_rates_once() {
    for (int steps = 0;; ++steps) {
        Directory directory;
        auto ledger = open(directory);
        for (const std::uint64_t key : {1, 2}) {
            const Handle slot = slot_of(*ledger, key);
            set_limit(slot, Quota::api_calls, 60);
            CHECK(charge(slot, Quota::api_calls, 40, ledger->at(noon_boot)));
        }
        ledger.reset();
        // Ten seconds later by the wall clock, and booted a second ago.
        const Environment again =
            environment('b', second_ns, noon_utc + static_cast<std::int64_t>(10 * second_ns));
        const End end = run(steps, [&] { open(directory, again); });
        // The next one may be another boot still.
        const Environment next =
            steps % 2 == 0 ? again : environment('c', 2 * second_ns, again.utc_ns);
        ledger = open(directory, next);
        for (const std::uint64_t key : {1, 2}) {
            const Handle slot = slot_of(*ledger, key);
            CHECK(used(slot, Quota::api_calls, ledger->at(next.boot_ns)) == 30);
        }
        if (end == End::finished) break;
        CHECK(steps < 1000);
    }
}

}  // namespace

int main() {
    a_restart_that_dies_at_any_step_moves_rates_once();
    any_two_restarts_that_die_move_rates_once();
    a_change_of_the_clock_that_dies_at_any_step_loses_nothing();
    a_death_at_any_step_keeps_all_that_was_settled_or_nothing();
    a_refused_reservation_that_dies_at_any_step_leaves_nothing();
    a_sweep_that_dies_at_any_step_is_finished_by_the_next();
    a_renewal_that_dies_at_any_step_leaves_nothing();
    an_old_tag_in_the_word_does_not_vouch_for_a_new_change();
    return check_result();
}
