// Copies of bytes that another thread may be writing at the same moment, for readers who find out
// afterwards, by a version, whether that was so.
//
// To the language such a copy is a data race unless every access is atomic; to the machine it is a
// copy. So it is a plain one in general, between fences that keep it inside of what the version
// guards, and one of atomic words where ThreadSanitizer looks, which then finds all other races.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>

#if defined(__SANITIZE_THREAD__)
#define LLMSPELL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LLMSPELL_TSAN 1
#endif
#endif

namespace llmspell {

// Both pointers are aligned to four bytes, and `bytes` is a multiple of four. `from` may change.
inline void racing_read(void* to, const void* from, std::size_t bytes) noexcept {
#ifdef LLMSPELL_TSAN
    const auto* words = static_cast<const std::uint32_t*>(from);
    for (std::size_t i = 0; i < bytes / 4; ++i) {
        static_cast<std::uint32_t*>(to)[i] = __atomic_load_n(words + i, __ATOMIC_ACQUIRE);
    }
#else
    if (bytes > 0) std::memcpy(to, from, bytes);
#endif
}

// The same, where `to` may be read meanwhile.
inline void racing_write(void* to, const void* from, std::size_t bytes) noexcept {
#ifdef LLMSPELL_TSAN
    auto* words = static_cast<std::uint32_t*>(to);
    for (std::size_t i = 0; i < bytes / 4; ++i) {
        __atomic_store_n(words + i, static_cast<const std::uint32_t*>(from)[i], __ATOMIC_RELEASE);
    }
#else
    if (bytes > 0) std::memcpy(to, from, bytes);
#endif
}

// Many numbers that tell whether what belongs to one of them was changed while it was read
// (sequence locks). What belongs together shares a number: a reader may read again for nothing,
// but the numbers stay in the CPU's first cache.
class Versions {
  public:
    // Waits until nobody writes.
    std::uint32_t begin_read(std::size_t of) const noexcept {
        for (unsigned turn = 0;; ++turn) {
            const std::uint32_t version =
                __atomic_load_n(&numbers_[of % kNumbers], __ATOMIC_ACQUIRE);
            if (version % 2 == 0) return version;
            if (turn >= kTurns) std::this_thread::yield();  // the writer may wait for this core
        }
    }
    // Whether what was read since begin_read is one state.
    bool holds(std::size_t of, std::uint32_t version) const noexcept {
#ifndef LLMSPELL_TSAN
        std::atomic_thread_fence(std::memory_order_acquire);
#endif
        return __atomic_load_n(&numbers_[of % kNumbers], __ATOMIC_RELAXED) == version;
    }
    // Waits until nobody else writes. For no longer than a copy takes.
    void begin_write(std::size_t of) noexcept {
        std::uint32_t version = begin_read(of);
        while (!__atomic_compare_exchange_n(&numbers_[of % kNumbers], &version, version + 1, false,
                                            __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            version = begin_read(of);
        }
#ifndef LLMSPELL_TSAN
        std::atomic_thread_fence(std::memory_order_release);
#endif
    }
    void end_write(std::size_t of) noexcept {
        std::uint32_t* number = &numbers_[of % kNumbers];
        __atomic_store_n(number, __atomic_load_n(number, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
    }

  private:
    static constexpr std::size_t kNumbers = 1024;
    static constexpr unsigned kTurns = 64;
    std::uint32_t numbers_[kNumbers] = {};
};

}  // namespace llmspell
