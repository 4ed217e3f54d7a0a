// How the methods of Index get at it: its locks, and the scratch of its searches.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "index/index.hpp"

namespace llmspell::index {

class Index::SharedLock {
  public:
    explicit SharedLock(const Index& index, const Watch* watch = nullptr) {
        if (watch != nullptr && watch->may_stop()) {
            wait(index, *watch);
            return;
        }
        index.turnstile_.lock();
        index.turnstile_.unlock();
        lock_ = std::shared_lock(index.mutex_);
    }

  private:
    // A search that may be stopped may be so while it waits for a change: it asks again and again.
    void wait(const Index& index, const Watch& watch) {
        constexpr int kYields = 16;
        constexpr std::chrono::microseconds kPause{100};
        lock_ = std::shared_lock(index.mutex_, std::defer_lock);
        for (int turn = 0;; ++turn) {
            watch.check();
            if (index.turnstile_.try_lock()) {
                index.turnstile_.unlock();
                if (lock_.try_lock()) return;
            }
            if (turn < kYields) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(kPause);
            }
        }
    }

    std::shared_lock<std::shared_mutex> lock_;
};

class Index::ExclusiveLock {
  public:
    explicit ExclusiveLock(const Index& index) : turn_(index.turnstile_), lock_(index.mutex_) {}

  private:
    std::unique_lock<std::mutex> turn_;
    std::unique_lock<std::shared_mutex> lock_;
};

// A search's scratch, given back for the next one.
class Index::Borrowed {
  public:
    explicit Borrowed(const Index& index) : index_(&index) {
        const std::lock_guard<std::mutex> guard(index.contexts_mutex_);
        if (index.contexts_.empty()) {
            context_ = std::make_unique<SearchContext>();
        } else {
            context_ = std::move(index.contexts_.back());
            index.contexts_.pop_back();
        }
    }
    Borrowed(Borrowed&&) = default;
    ~Borrowed() {
        if (context_ == nullptr) return;
        const std::lock_guard<std::mutex> guard(index_->contexts_mutex_);
        index_->contexts_.push_back(std::move(context_));
    }
    SearchContext& operator*() const noexcept { return *context_; }

  private:
    const Index* index_;
    std::unique_ptr<SearchContext> context_;
};

}  // namespace llmspell::index
