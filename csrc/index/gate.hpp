// A lock with a shared and an exclusive side, that starves neither: who waits for the exclusive
// side keeps later ones out of the shared one. A wait with a watch throws when that says so.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "index/watch.hpp"

namespace llmspell::index {

class Gate {
  public:
    void lock_shared(const Watch* watch = nullptr) {
        if (watch != nullptr && watch->may_stop()) {
            poll_shared(*watch);
            return;
        }
        turnstile_.lock();
        turnstile_.unlock();
        mutex_.lock_shared();
    }
    void unlock_shared() { mutex_.unlock_shared(); }
    void lock(const Watch* watch = nullptr) {
        if (polling_.load(std::memory_order_relaxed) > 0) std::this_thread::sleep_for(2 * kPause);
        if (watch != nullptr && watch->may_stop()) {
            poll(*watch);
            return;
        }
        turnstile_.lock();
        mutex_.lock();
        turnstile_.unlock();
    }
    bool try_lock() {
        if (!turnstile_.try_lock()) return false;
        const bool locked = mutex_.try_lock();
        turnstile_.unlock();
        return locked;
    }
    void unlock() { mutex_.unlock(); }

  private:
    static constexpr std::chrono::microseconds kPause{100};

    // For who may be stopped while it waits; later ones wait as well.
    void poll(const Watch& watch) {
        const std::lock_guard<std::mutex> turn(turnstile_);
        while (!mutex_.try_lock()) {
            watch.check();
            std::this_thread::sleep_for(kPause);
        }
    }

    // For who may be stopped while it waits: asks again and again. Meanwhile who wants the
    // exclusive side leaves time for it each time, or it might never come in between.
    void poll_shared(const Watch& watch) {
        constexpr int kYields = 16;
        if (try_lock_shared(watch)) return;
        struct Polling {
            std::atomic<unsigned>& count;
            explicit Polling(std::atomic<unsigned>& of) : count(of) { ++count; }
            ~Polling() { --count; }
        } polling(polling_);
        for (int turn = 0; !try_lock_shared(watch); ++turn) {
            if (turn < kYields) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(kPause);
            }
        }
    }
    bool try_lock_shared(const Watch& watch) {
        watch.check();
        if (!turnstile_.try_lock()) return false;
        turnstile_.unlock();
        return mutex_.try_lock_shared();
    }

    std::atomic<unsigned> polling_{0};
    std::mutex turnstile_;
    std::shared_mutex mutex_;
};

using SharedEntry = std::shared_lock<Gate>;
using ExclusiveEntry = std::unique_lock<Gate>;

}  // namespace llmspell::index
