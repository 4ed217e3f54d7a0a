// The filters that searches came with lately, turned into slots: one that comes again, with the
// same ids, costs a comparison of its bytes. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <vector>

#include "index/filter.hpp"

namespace llmspell::index {

class PreparedFilter {
  public:
    PreparedFilter(const Storage& storage, const Filter& filter);

    Allowed allowed() const noexcept {
        return {bits_, count_, blocks_.load(std::memory_order_acquire)};
    }
    // Whether it is still what the filter lets through.
    bool is_current(const Storage& storage) const noexcept {
        return version_ == storage.version() && slots_ == storage.slots();
    }
    std::size_t bytes() const noexcept;

    // Notes what searches could have been spared by blocks so far, in ns, and calls make() for them
    // once, when that is as much as they cost.
    template <class Make>
    void spend(double could_be_spared, double cost, const Make& make) {
        if (blocks_.load(std::memory_order_relaxed) != nullptr) return;
        const std::unique_lock<std::mutex> guard(making_, std::try_to_lock);
        if (!guard.owns_lock() || made_ != nullptr) return;
        spent_ += could_be_spared;
        if (spent_ < cost) return;
        try {
            made_ = std::make_unique<const CodeBlocks>(make());
        } catch (const std::bad_alloc&) {
            return;  // it goes without
        }
        blocks_.store(made_.get(), std::memory_order_release);
    }

  private:
    friend class FilterCache;

    bool holds(const Filter& filter) const noexcept;

    bool ids_;
    std::vector<std::byte> content_;
    std::uint64_t version_;  // of the storage
    std::size_t slots_;      // in it
    std::vector<std::uint64_t> bits_;
    std::size_t count_;
    std::mutex making_;
    double spent_ = 0.0;
    std::unique_ptr<const CodeBlocks> made_;
    std::atomic<const CodeBlocks*> blocks_{nullptr};
    bool again_ = false;          // whether it came more than once
    std::uint64_t last_use_ = 0;  // of the cache's clock
};

class FilterCache {
  public:
    // What was prepared for the same ids since the storage last changed, or is now. Kept are some,
    // of `budget` bytes together.
    std::shared_ptr<PreparedFilter> prepare(const Storage& storage, const Filter& filter,
                                            std::size_t budget);
    std::size_t bytes() const;

  private:
    static constexpr std::size_t kMost = 64;

    void shrink(std::size_t budget);

    mutable std::mutex mutex_;
    std::vector<std::shared_ptr<PreparedFilter>> entries_;
    std::uint64_t clock_ = 0;  // filters that came
};

}  // namespace llmspell::index
