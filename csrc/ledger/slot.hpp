// The charges of one tenant, which must cost nanoseconds.
//
// Every function here is lock-free, may be called from any number of threads and processes on the
// same memory, and takes the time as an argument. A charge checks and adds in one compare-and-swap,
// so a limit is never exceeded, not even for a moment. Amounts are never negative; a caller checks.
// What is read from memory is not trusted: any of its bits may have been damaged.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ledger/calendar.hpp"
#include "ledger/layout.hpp"

namespace llmspell::ledger {

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

// What charges did, one of each quota at most. For their refund: when, in which periods, and what
// they cost of the rates. For their caller: which of them took use from below 80 % or 100 % to it.
struct Receipt {
    std::uint64_t boot_ns = 0;
    std::uint32_t crossed = 0;  // two bits a quota: 80 %, 100 %
    // Set by charges, where they apply; clearing all of them would slow each charge.
    std::array<std::uint64_t, window_count> periods;
    std::array<std::uint64_t, rate_count> costs_ns;
    std::array<std::int64_t, quota_count> reached;  // use after the charge, where crossed
};

struct Usage {
    std::int64_t used;
    std::int64_t limit;
};

namespace detail {

inline std::int64_t level_used(std::uint64_t word) noexcept {
    return static_cast<std::int64_t>(word >> tag_bits);
}

inline std::uint64_t level_word(std::int64_t used, std::uint64_t tag) noexcept {
    return static_cast<std::uint64_t>(used) << tag_bits | tag;
}

inline std::int64_t window_used(WindowShape shape, std::uint64_t word) noexcept {
    return static_cast<std::int64_t>(word >> tag_bits) & shape.max();
}

inline std::uint64_t window_period(WindowShape shape, std::uint64_t word) noexcept {
    return word >> (tag_bits + shape.amount_bits);
}

inline std::uint64_t window_word(WindowShape shape, std::uint64_t period, std::int64_t used,
                                 std::uint64_t tag) noexcept {
    return period << (tag_bits + shape.amount_bits) | static_cast<std::uint64_t>(used) << tag_bits |
           tag;
}

// By how many periods a word's is ahead of another, both modulo their range.
inline std::int64_t periods_ahead(WindowShape shape, std::uint64_t word,
                                  std::uint64_t period) noexcept {
    const unsigned unused = 64 - shape.period_bits;
    return static_cast<std::int64_t>((window_period(shape, word) - period) << unused) >> unused;
}

// Rounded up, so that a burst of `limit` is followed by no more than `limit` a period.
inline std::uint64_t interval_ns(std::int64_t limit, std::uint64_t period) noexcept {
    const auto per_period = static_cast<std::uint64_t>(limit);
    return per_period >= period ? 1 : (period + per_period - 1) / per_period;
}

inline std::int64_t eighty_percent(std::int64_t limit) noexcept { return limit - limit / 5; }

inline void mark(Receipt& receipt, Quota quota, unsigned thresholds, std::int64_t used) noexcept {
    receipt.crossed |= thresholds << (2 * index_of(quota));
    receipt.reached[index_of(quota)] = used;
}

// One charge alone takes use from below to at or above, by its own compare-and-swap.
inline void watch(Receipt& receipt, Quota quota, std::int64_t limit, std::int64_t before,
                  std::int64_t after) noexcept {
    const std::int64_t warning = eighty_percent(limit);
    if (after < warning) return;
    const unsigned thresholds =
        (before < warning ? 1U : 0U) | (before < limit && after >= limit ? 2U : 0U);
    if (thresholds != 0) mark(receipt, quota, thresholds, after);
}

// A rate in steady use goes up and down about a threshold with each call, so it tells of one once a
// period; of all who pass it, the one who moves `told` on.
void watch_rate(Rate& rate, Receipt& receipt, Quota quota, std::int64_t limit, std::uint64_t before,
                std::uint64_t after, Now now) noexcept;

// Notes in the hold that the tag of a word names that its change of the word has been done. Whoever
// replaces a tag calls this first, so a tag that is gone has always been noted.
void note(const Handle& handle, std::size_t part, std::uint64_t tag) noexcept;

inline bool charge_level(const Handle& handle, Quota quota, std::int64_t amount, std::uint64_t tag,
                         Refusal& refusal, Receipt& receipt) noexcept {
    Gauge& gauge = handle.slot->gauges[index_of(quota)];
    const auto [limit, soft] = gauge.limit.load();
    const std::int64_t room = soft ? level_max : std::min(limit, level_max);
    std::uint64_t word = gauge.word.load(std::memory_order_acquire);
    std::int64_t used = 0;
    do {
        used = level_used(word);
        if (amount > room - used && amount > 0) {
            refusal = {quota, room, used, amount, -1};
            return false;
        }
        if ((word & tag_mask) != 0) note(handle, index_of(quota), word & tag_mask);
    } while (!gauge.word.compare_exchange_weak(word, level_word(used + amount, tag),
                                               std::memory_order_acq_rel,
                                               std::memory_order_acquire));
    watch(receipt, quota, limit, used, used + amount);
    return true;
}

inline void refund_level(const Handle& handle, Quota quota, std::int64_t amount,
                         std::uint64_t tag) noexcept {
    Gauge& gauge = handle.slot->gauges[index_of(quota)];
    std::uint64_t word = gauge.word.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
        if ((word & tag_mask) != 0) note(handle, index_of(quota), word & tag_mask);
        const std::int64_t used = level_used(word);
        next = level_word(used > amount ? used - amount : 0, tag);
    } while (!gauge.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                               std::memory_order_acquire));
}

// `written` is where the period is put down before each try, for whoever finds the charge done.
template <Quota quota>
bool charge_window(const Handle& handle, std::int64_t amount, std::uint64_t tag, Now now,
                   Refusal& refusal, Receipt& receipt, Word* written) noexcept {
    constexpr WindowShape shape = shape_of(quota);
    constexpr std::uint64_t period_mask = (std::uint64_t{1} << shape.period_bits) - 1;
    Gauge& gauge = handle.slot->gauges[index_of(quota)];
    const auto [limit, soft] = gauge.limit.load();
    const std::int64_t room = soft ? shape.max() : std::min(limit, shape.max());
    const std::uint64_t today = period_at(quota, now.utc_ns) & period_mask;
    std::uint64_t word = gauge.word.load(std::memory_order_acquire);
    std::uint64_t period = 0;
    std::int64_t used = 0;
    do {
        used = window_used(shape, word);
        // A clock that reads an earlier day than the one charged last opens nothing.
        const std::int64_t ahead = used == 0 ? 0 : periods_ahead(shape, word, today);
        if (ahead < 0) used = 0;
        period = ahead > 0 ? window_period(shape, word) : today;
        if (amount > room - used && amount > 0) {
            std::uint64_t end = next_period_ns(quota, now.utc_ns);
            if (ahead > 0) end = next_period_ns(quota, end);
            refusal = {quota, room, used, amount,
                       amount > room ? -1 : static_cast<std::int64_t>(end - now.utc_ns)};
            return false;
        }
        if ((word & tag_mask) != 0) note(handle, index_of(quota), word & tag_mask);
        if (written != nullptr) written->store(period, std::memory_order_relaxed);
    } while (!gauge.word.compare_exchange_weak(word, window_word(shape, period, used + amount, tag),
                                               std::memory_order_acq_rel,
                                               std::memory_order_acquire));
    receipt.periods[index_of(quota) - level_count] = period;
    watch(receipt, quota, limit, used, used + amount);
    return true;
}

// Gives back what was charged in a period; a later period owes nothing to it.
inline void refund_window(const Handle& handle, Quota quota, std::int64_t amount,
                          std::uint64_t charged_period, std::uint64_t tag) noexcept {
    const WindowShape shape = shape_of(quota);
    Gauge& gauge = handle.slot->gauges[index_of(quota)];
    std::uint64_t word = gauge.word.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
        const std::int64_t used = window_used(shape, word);
        if (periods_ahead(shape, word, charged_period) > 0) return;
        if ((word & tag_mask) != 0) note(handle, index_of(quota), word & tag_mask);
        next =
            window_word(shape, window_period(shape, word), used > amount ? used - amount : 0, tag);
    } while (!gauge.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                               std::memory_order_acquire));
}

// A soft rate is never further ahead than one burst, so that an excess isn't made up for later.
inline bool charge_rate(const Handle& handle, Quota quota, std::int64_t amount, Now now,
                        Refusal& refusal, Receipt& receipt) noexcept {
    const std::size_t index = index_of(quota) - part_count;
    Rate& rate = handle.slot->rates[index];
    const auto [limit, soft] = rate.limit.load();
    receipt.costs_ns[index] = 0;
    if (limit == unlimited || amount == 0) return true;
    if (limit == 0) {
        refusal = {quota, limit, 0, amount, -1};
        return soft;
    }
    const std::uint64_t interval = interval_ns(limit, period_ns(quota));
    const std::uint64_t burst = static_cast<std::uint64_t>(limit) * interval;
    const std::uint64_t cost = static_cast<std::uint64_t>(std::min(amount, limit)) * interval;
    std::uint64_t arrival = rate.arrival.load(std::memory_order_relaxed);
    std::uint64_t debt = 0;
    std::uint64_t next = 0;
    do {
        debt = std::max(arrival, now.boot_ns) - now.boot_ns;
        const bool fits = amount <= limit && debt <= burst && cost <= burst - debt;
        if (!fits && !soft) {
            const auto used =
                std::min((debt + interval - 1) / interval, static_cast<std::uint64_t>(limit));
            refusal = {quota, limit, static_cast<std::int64_t>(used), amount,
                       amount > limit ? -1 : static_cast<std::int64_t>(debt + cost - burst)};
            return false;
        }
        debt = std::min(debt, burst);
        next = std::min(debt + cost, burst);
    } while (!rate.arrival.compare_exchange_weak(
        arrival, now.boot_ns + next, std::memory_order_acq_rel, std::memory_order_relaxed));
    receipt.costs_ns[index] = next - debt;
    if (next > static_cast<std::uint64_t>(eighty_percent(limit) - 1) * interval) {
        watch_rate(rate, receipt, quota, limit, debt, next, now);
    }
    return true;
}

// The part of the charge that time has given back already is not given back twice.
inline void refund_rate(const Handle& handle, Quota quota, const Receipt& receipt,
                        Now now) noexcept {
    const std::size_t index = index_of(quota) - part_count;
    Rate& rate = handle.slot->rates[index];
    const std::uint64_t passed = now.boot_ns - std::min(receipt.boot_ns, now.boot_ns);
    const std::uint64_t owed = receipt.costs_ns[index] - std::min(receipt.costs_ns[index], passed);
    std::uint64_t arrival = rate.arrival.load(std::memory_order_relaxed);
    while (!rate.arrival.compare_exchange_weak(arrival, arrival - std::min(arrival, owed),
                                               std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
    }
}

// A charge whose part of a hold, where there is one, has been written down under `tag`.
inline bool charge(const Handle& handle, Item item, std::uint64_t tag, Now now, Refusal& refusal,
                   Receipt& receipt, Word* period) noexcept {
    switch (item.quota) {
        case Quota::embeddings:
            return charge_window<Quota::embeddings>(handle, item.amount, tag, now, refusal, receipt,
                                                    period);
        case Quota::tokens:
            return charge_window<Quota::tokens>(handle, item.amount, tag, now, refusal, receipt,
                                                period);
        case Quota::cost:
            return charge_window<Quota::cost>(handle, item.amount, tag, now, refusal, receipt,
                                              period);
        case Quota::api_calls:
        case Quota::queries:
            return charge_rate(handle, item.quota, item.amount, now, refusal, receipt);
        default:
            return charge_level(handle, item.quota, item.amount, tag, refusal, receipt);
    }
}

}  // namespace detail

// Charges one quota, or leaves it as it was and says why. A zero amount is always admitted. The
// receipt may be that of other quotas too.
[[nodiscard]] inline bool try_charge(const Handle& handle, Item item, Now now, Refusal& refusal,
                                     Receipt& receipt) noexcept {
    receipt.boot_ns = now.boot_ns;
    return detail::charge(handle, item, 0, now, refusal, receipt, nullptr);
}

// The receipt of a charge that is taken to have been made at `charged`, under the present limits.
Receipt receipt_at(const Handle& handle, Item item, Now charged) noexcept;

// Gives back what was charged; never below zero, and never more than is still owed.
void refund(const Handle& handle, Item item, const Receipt& receipt, Now now) noexcept;

// The same of a charge that was made just now, whose receipt nobody has.
void refund_latest(const Handle& handle, Item item, Now now) noexcept;

// Charges every item or none; no quota may be given twice. While it rolls back, others may be
// refused for a moment; none is admitted beyond a limit.
[[nodiscard]] bool try_charge_all(const Handle& handle, std::span<const Item> items, Now now,
                                  Refusal& refusal, Receipt& receipt) noexcept;

// Takes out of a receipt the crossings of what has been rolled back, unless others have meanwhile
// kept use beyond the threshold: then nobody else will tell of it.
void forget_crossings(const Handle& handle, Receipt& receipt, Now now) noexcept;

// Whether a level would take an amount at this moment, or why not; changes nothing.
[[nodiscard]] bool has_room(const Handle& handle, Item item, Refusal& refusal) noexcept;

Usage usage(const Handle& handle, Quota quota, Now now) noexcept;
void set_limit(const Handle& handle, Quota quota, std::int64_t limit, bool soft) noexcept;

// Raises the head of the log to `sequence` at least.
void publish(const Handle& handle, std::uint64_t sequence) noexcept;

}  // namespace llmspell::ledger
