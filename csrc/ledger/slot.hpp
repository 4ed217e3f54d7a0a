// One tenant's slot in the ledger: layout, and the charges that must cost nanoseconds.
//
// Every function here is lock-free, may be called from any number of threads and processes on the
// same memory, and takes the time as an argument. A charge checks and adds in one compare-and-swap,
// so a limit is never exceeded, not even for a moment. Amounts are never negative; a caller checks.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace llmspell::ledger {

// The first three are levels, which a crash-safe store knows best; order is part of the format.
enum class Quota : std::uint8_t { documents, vectors, storage, embeddings, api_calls };

inline constexpr std::size_t level_count = 3;
inline constexpr std::size_t quota_count = 5;
inline constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t level_max = (std::int64_t{1} << 48) - 1;  // of one level: 256 TiB
inline constexpr std::uint64_t minute_ns = 60'000'000'000;
inline constexpr std::uint64_t day_ns = 86'400'000'000'000;
inline constexpr std::size_t hold_count = 32;

using Word = std::atomic<std::uint64_t>;
using Amount = std::atomic<std::int64_t>;
static_assert(
    Word::is_always_lock_free && Amount::is_always_lock_free,
    "processes share these words, so a lock hidden in the library would not protect them");

// boot_ns counts from boot and never steps; utc_ns is the ledger's calendar, which runs with it.
struct Now {
    std::uint64_t boot_ns;
    std::uint64_t utc_ns;
};

struct Item {
    Quota quota;
    std::int64_t amount;
};

// retry_after_ns is negative where waiting doesn't help.
struct Refusal {
    Quota quota;
    std::int64_t limit;
    std::int64_t used;
    std::int64_t requested;
    std::int64_t retry_after_ns;
};

// What charges did, for their refund: when, on which day, and what they cost of the rate.
struct Receipt {
    std::uint64_t boot_ns = 0;
    std::uint64_t day = 0;
    std::uint64_t cost_ns = 0;
};

struct Usage {
    std::int64_t used;
    std::int64_t limit;
};

// 48 bits of amount, and the tag of the reservation that changed it last; see reservation.hpp.
struct Level {
    Word word;
    Amount limit;
};

// Day number since 1970 and amount used that day, in one word so that both change at once.
struct Window {
    Word word;
    Amount limit;
};

// Theoretical arrival time of the generic cell rate algorithm (ITU-T I.371), in ns since boot.
struct Rate {
    Word arrival;
    Amount limit;  // a minute, and the burst
};

// An open reservation: its process (see system.hpp; 0 where the entry is free) and its part of each
// level.
struct Hold {
    Word owner;
    std::array<Word, level_count> parts;
};

enum class State : std::uint64_t { empty, live, released };

struct alignas(64) Slot {
    std::atomic<State> state;
    Word generation;  // changes when the slot changes hands
    std::array<Word, 2> key;
    Word log_head;  // sequence of the newest committed record, for readers in other processes
    alignas(64) std::array<Level, level_count> levels;
    alignas(64) Window embeddings;
    Rate api_calls;
    alignas(64) std::array<Hold, hold_count> holds;
    alignas(64) std::array<std::byte, 64> spare;
};
static_assert(sizeof(Slot) == 1280, "the size is part of the format");

namespace detail {

inline constexpr unsigned used_bits = 44;
inline constexpr std::uint64_t used_mask = (std::uint64_t{1} << used_bits) - 1;

inline std::uint64_t day_of(std::uint64_t word) noexcept { return word >> used_bits; }

inline std::int64_t used_of(std::uint64_t word) noexcept {
    return static_cast<std::int64_t>(word & used_mask);
}

inline std::uint64_t pack(std::uint64_t day, std::int64_t used) noexcept {
    return day << used_bits | static_cast<std::uint64_t>(used);
}

// Rounded up, so that a burst of `limit` is followed by no more than `limit` a minute.
inline std::uint64_t interval_ns(std::int64_t limit) noexcept {
    const auto per_minute = static_cast<std::uint64_t>(limit);
    return per_minute >= minute_ns ? 1 : (minute_ns + per_minute - 1) / per_minute;
}

inline constexpr unsigned tag_bits = 16;
inline constexpr std::uint64_t tag_mask = (std::uint64_t{1} << tag_bits) - 1;

inline std::int64_t level_used(std::uint64_t word) noexcept {
    return static_cast<std::int64_t>(word >> tag_bits);
}

inline std::uint64_t level_word(std::int64_t used, std::uint64_t tag) noexcept {
    return static_cast<std::uint64_t>(used) << tag_bits | tag;
}

// Notes in the reservation that `tag` names that its change of this level has been done. Whoever
// replaces a tag calls this first, so a tag that is gone has always been noted.
void note(Slot& slot, std::size_t level, std::uint64_t tag) noexcept;

inline bool charge_level(Slot& slot, Quota quota, std::int64_t amount, std::uint64_t tag,
                         Refusal& refusal) noexcept {
    const auto index = static_cast<std::size_t>(quota);
    Level& level = slot.levels[index];
    const std::int64_t limit = level.limit.load(std::memory_order_relaxed);
    const std::int64_t room = std::min(limit, level_max);
    std::uint64_t word = level.word.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
        const std::int64_t used = level_used(word);
        if (amount > room - used && amount > 0) {
            refusal = {quota, limit, used, amount, -1};
            return false;
        }
        if ((word & tag_mask) != 0) note(slot, index, word & tag_mask);
        next = level_word(used + amount, tag);
    } while (!level.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                               std::memory_order_acquire));
    return true;
}

inline void refund_level(Slot& slot, Quota quota, std::int64_t amount, std::uint64_t tag) noexcept {
    const auto index = static_cast<std::size_t>(quota);
    Level& level = slot.levels[index];
    std::uint64_t word = level.word.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
        if ((word & tag_mask) != 0) note(slot, index, word & tag_mask);
        const std::int64_t used = level_used(word);
        next = level_word(used > amount ? used - amount : 0, tag);
    } while (!level.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                               std::memory_order_acquire));
}

inline bool charge_window(Window& window, Quota quota, std::int64_t amount, Now now,
                          Refusal& refusal, Receipt& receipt) noexcept {
    // The packed word holds 44 bits, which is more embeddings than a day can see.
    const std::int64_t limit = window.limit.load(std::memory_order_relaxed);
    const std::int64_t room = std::min(limit, static_cast<std::int64_t>(used_mask));
    const std::uint64_t today = now.utc_ns / day_ns;
    std::uint64_t word = window.word.load(std::memory_order_relaxed);
    std::uint64_t next = 0;
    do {
        // A clock that reads an earlier day than the one charged last opens nothing.
        const std::uint64_t day = std::max(today, day_of(word));
        const std::int64_t used = day == day_of(word) ? used_of(word) : 0;
        if (amount > room - used && amount > 0) {
            const auto wait =
                static_cast<std::int64_t>(day > today ? day_ns : (today + 1) * day_ns - now.utc_ns);
            refusal = {quota, limit, used, amount, amount > limit ? -1 : wait};
            return false;
        }
        next = pack(day, used + amount);
        receipt.day = day;
    } while (!window.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                                std::memory_order_relaxed));
    return true;
}

// Gives back what was charged on a day; a later day owes nothing to it.
inline void refund_window(Window& window, std::int64_t amount, std::uint64_t charged_day) noexcept {
    std::uint64_t word = window.word.load(std::memory_order_relaxed);
    std::uint64_t next = 0;
    do {
        if (day_of(word) > charged_day) return;
        const std::int64_t used = used_of(word);
        next = pack(day_of(word), used > amount ? used - amount : 0);
    } while (!window.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                                std::memory_order_relaxed));
}

inline bool charge_rate(Rate& rate, Quota quota, std::int64_t amount, Now now, Refusal& refusal,
                        Receipt& receipt) noexcept {
    const std::int64_t limit = rate.limit.load(std::memory_order_relaxed);
    if (limit == unlimited || amount == 0) return true;
    if (limit == 0) {
        refusal = {quota, limit, 0, amount, -1};
        return false;
    }
    const std::uint64_t interval = interval_ns(limit);
    const std::uint64_t burst = static_cast<std::uint64_t>(limit) * interval;
    std::uint64_t arrival = rate.arrival.load(std::memory_order_relaxed);
    std::uint64_t next = 0;
    do {
        const std::uint64_t from = std::max(arrival, now.boot_ns);
        const std::uint64_t debt = from - now.boot_ns;
        const std::uint64_t cost =
            amount > limit ? 0 : static_cast<std::uint64_t>(amount) * interval;
        if (amount > limit || debt > burst || cost > burst - debt) {
            const auto used =
                std::min((debt + interval - 1) / interval, static_cast<std::uint64_t>(limit));
            refusal = {quota, limit, static_cast<std::int64_t>(used), amount,
                       amount > limit ? -1 : static_cast<std::int64_t>(debt + cost - burst)};
            return false;
        }
        next = from + cost;
        receipt.cost_ns = cost;
    } while (!rate.arrival.compare_exchange_weak(arrival, next, std::memory_order_acq_rel,
                                                 std::memory_order_relaxed));
    return true;
}

// The part of the charge that time has given back already is not given back twice.
inline void refund_rate(Rate& rate, const Receipt& receipt, Now now) noexcept {
    const std::uint64_t passed = now.boot_ns - std::min(receipt.boot_ns, now.boot_ns);
    const std::uint64_t owed = receipt.cost_ns - std::min(receipt.cost_ns, passed);
    std::uint64_t arrival = rate.arrival.load(std::memory_order_relaxed);
    while (!rate.arrival.compare_exchange_weak(arrival, arrival - std::min(arrival, owed),
                                               std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
    }
}

}  // namespace detail

// Charges one quota, or leaves it as it was and says why. A zero amount is always admitted. The
// receipt may be that of other quotas too.
[[nodiscard]] inline bool try_charge(Slot& slot, Item item, Now now, Refusal& refusal,
                                     Receipt& receipt) noexcept {
    receipt.boot_ns = now.boot_ns;
    switch (item.quota) {
        case Quota::embeddings:
            return detail::charge_window(slot.embeddings, item.quota, item.amount, now, refusal,
                                         receipt);
        case Quota::api_calls:
            return detail::charge_rate(slot.api_calls, item.quota, item.amount, now, refusal,
                                       receipt);
        default:
            return detail::charge_level(slot, item.quota, item.amount, 0, refusal);
    }
}

[[nodiscard]] inline bool try_charge(Slot& slot, Item item, Now now, Refusal& refusal) noexcept {
    Receipt receipt;
    return try_charge(slot, item, now, refusal, receipt);
}

// The receipt of a charge that is taken to have been made at `charged`, under the present limits.
inline Receipt receipt_at(const Slot& slot, Item item, Now charged) noexcept {
    const std::int64_t limit = slot.api_calls.limit.load(std::memory_order_relaxed);
    const bool costs = item.quota == Quota::api_calls && limit != unlimited && limit > 0;
    return {charged.boot_ns, charged.utc_ns / day_ns,
            costs ? static_cast<std::uint64_t>(std::min(item.amount, limit)) *
                        detail::interval_ns(limit)
                  : 0};
}

// Gives back what was charged; never below zero, and never more than is still owed.
inline void refund(Slot& slot, Item item, const Receipt& receipt, Now now) noexcept {
    switch (item.quota) {
        case Quota::embeddings:
            detail::refund_window(slot.embeddings, item.amount, receipt.day);
            break;
        case Quota::api_calls:
            detail::refund_rate(slot.api_calls, receipt, now);
            break;
        default:
            detail::refund_level(slot, item.quota, item.amount, 0);
    }
}

// Charges every item, at most quota_count, or none. While it rolls back, others may be refused for
// a moment; none is admitted beyond a limit.
[[nodiscard]] inline bool try_charge_all(Slot& slot, std::span<const Item> items, Now now,
                                         Refusal& refusal) noexcept {
    std::array<Receipt, quota_count> receipts;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (try_charge(slot, items[i], now, refusal, receipts[i])) continue;
        while (i-- > 0) refund(slot, items[i], receipts[i], now);
        return false;
    }
    return true;
}

Usage usage(const Slot& slot, Quota quota, Now now) noexcept;
void set_limit(Slot& slot, Quota quota, std::int64_t limit) noexcept;

}  // namespace llmspell::ledger
