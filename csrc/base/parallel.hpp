// A loop shared by several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace llmspell {

inline constexpr std::size_t kMaxThreads = 256;

// Calls each(i, state) for every i below `count`, with a state of its own, made by make_state(),
// for each of at most `threads` threads; this one is the first. Does with fewer threads where the
// system refuses more. Rethrows the first exception after all threads have ended; which other i
// were done then is open.
template <class MakeState, class Each>
void parallel_for(std::size_t count, std::size_t threads, const MakeState& make_state,
                  const Each& each) {
    threads = std::min({threads, count, kMaxThreads});
    if (threads <= 1) {
        auto state = make_state();
        for (std::size_t i = 0; i < count; ++i) each(i, state);
        return;
    }
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex failure_mutex;
    std::exception_ptr failure;
    const auto work = [&] {
        try {
            auto state = make_state();
            for (std::size_t i = next++; i < count && !failed; i = next++) each(i, state);
        } catch (...) {
            const std::lock_guard<std::mutex> guard(failure_mutex);
            if (!failed.exchange(true)) failure = std::current_exception();
        }
    };
    std::vector<std::thread> helpers;
    helpers.reserve(threads - 1);
    try {
        while (helpers.size() + 1 < threads) helpers.emplace_back(work);
    } catch (const std::exception&) {
        // No more threads, or no memory for one, to be had; those that there are do the work.
    }
    work();
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace llmspell
