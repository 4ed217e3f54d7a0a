// How the methods of Index get at it: its locks, and the scratch of its searches.
#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "index/index.hpp"

namespace llmspell::index {

// What a search holds.
class Index::SharedLock {
  public:
    explicit SharedLock(const Index& index, const Watch* watch = nullptr)
        : entry_((index.readers_.lock_shared(watch), index.readers_), std::adopt_lock) {}

  private:
    SharedEntry entry_;
};

// Slots that are filled, or given away, in one step.
inline constexpr std::size_t kSlotsAtOnce = 64;

// A short step of a change, during which nobody searches or links.
class Index::ExclusiveStep {
  public:
    explicit ExclusiveStep(const Index& index) : links_(index.writers_), index_(index.readers_) {}

  private:
    ExclusiveEntry links_, index_;
};

// A search's scratch, given back for the next one.
class Index::Borrowed {
  public:
    explicit Borrowed(const Index& index) : index_(&index) {
        const std::lock_guard<std::mutex> guard(index.contexts_mutex_);
        index.contexts_.reserve(kMost);  // so that it can be given back without memory
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
        if (index_->contexts_.size() < kMost) index_->contexts_.push_back(std::move(context_));
    }
    SearchContext& operator*() const noexcept { return *context_; }

  private:
    static constexpr std::size_t kMost = 64;  // are kept for later

    const Index* index_;
    std::unique_ptr<SearchContext> context_;
};

}  // namespace llmspell::index
