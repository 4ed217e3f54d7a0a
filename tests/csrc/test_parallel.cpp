#include "base/parallel.hpp"

#include <atomic>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"

using llmspell::parallel_for;

namespace {

void each_index_is_visited_once() {
    for (const std::size_t threads : {0u, 1u, 2u, 7u, 100'000u}) {
        for (const std::size_t count : {0u, 1u, 5u, 1000u}) {
            std::vector<std::atomic<int>> visits(count);
            parallel_for(
                count, threads, [] { return 0; }, [&](std::size_t i, int&) { ++visits[i]; });
            for (const std::atomic<int>& n : visits) CHECK(n == 1);
        }
    }
}

void no_more_states_than_threads_are_made() {
    std::atomic<std::size_t> states{0};
    parallel_for(10'000, 3, [&] { return ++states; }, [](std::size_t, std::size_t&) {});
    CHECK(states <= 3);
}

void the_first_exception_comes_back_after_all_have_ended() {
    for (const std::size_t threads : {1u, 4u}) {
        std::atomic<int> running{0};
        bool caught = false;
        try {
            parallel_for(
                1000, threads, [] { return 0; },
                [&](std::size_t i, int&) {
                    ++running;
                    const bool fails = i == 10;
                    --running;
                    if (fails) throw std::runtime_error("ten");
                });
        } catch (const std::runtime_error& error) {
            caught = std::string(error.what()) == "ten";
        }
        CHECK(caught);
        CHECK(running == 0);
    }
}

void a_failing_state_is_an_error_too() {
    bool caught = false;
    try {
        parallel_for(100, 4, []() -> int { throw std::bad_alloc(); }, [](std::size_t, int&) {});
    } catch (const std::bad_alloc&) {
        caught = true;
    }
    CHECK(caught);
}

}  // namespace

int main() {
    each_index_is_visited_once();
    no_more_states_than_threads_are_made();
    the_first_exception_comes_back_after_all_have_ended();
    a_failing_state_is_an_error_too();
    return check_result();
}
