// What the ledger's memory is made of: a slot for each tenant, and one pool of holds for the open
// reservations of all tenants. Order and sizes are part of the file's format.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace llmspell::ledger {

// Levels first, which a crash-safe store knows best; then calendar windows; then rates.
enum class Quota : std::uint8_t {
    documents,
    vectors,
    storage,
    dimensions,
    embeddings,  // of a day
    tokens,      // of a day
    cost,        // of a month, in millionths
    api_calls,   // of a minute
    queries,     // of a second
};

inline constexpr std::size_t level_count = 4;
inline constexpr std::size_t window_count = 3;
inline constexpr std::size_t rate_count = 2;
inline constexpr std::size_t part_count = level_count + window_count;  // what a hold can hold
inline constexpr std::size_t quota_count = part_count + rate_count;
inline constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
inline constexpr std::uint64_t second_ns = 1'000'000'000;
inline constexpr std::uint64_t minute_ns = 60 * second_ns;
inline constexpr std::uint64_t day_ns = 86'400 * second_ns;

constexpr std::size_t index_of(Quota quota) noexcept { return static_cast<std::size_t>(quota); }
constexpr bool is_level(Quota quota) noexcept { return index_of(quota) < level_count; }
constexpr bool is_rate(Quota quota) noexcept { return index_of(quota) >= part_count; }

using Word = std::atomic<std::uint64_t>;
using Amount = std::atomic<std::int64_t>;
static_assert(
    Word::is_always_lock_free && Amount::is_always_lock_free,
    "processes share these words, so a lock hidden in the library would not protect them");

// The lowest 16 bits of a level's or a window's word name the change of a hold that was made last;
// see reservation.hpp. 12 of them are the hold's place in the pool.
inline constexpr unsigned tag_bits = 16;
inline constexpr unsigned hold_bits = 12;
inline constexpr std::size_t hold_count = std::size_t{1} << hold_bits;
inline constexpr std::uint64_t tag_mask = (std::uint64_t{1} << tag_bits) - 1;

// A level is 48 bits of amount above the tag: 256 TiB of storage.
inline constexpr std::int64_t level_max = (std::int64_t{1} << 48) - 1;

// A window is a period and an amount above the tag. Periods are numbers since 1970 modulo their
// range and compared by their distance, which is right up to half the range: 5.6 years of days, 10
// years of months. Opening and a sweep a day clear what is past long before.
struct WindowShape {
    unsigned period_bits;
    unsigned amount_bits;
    constexpr std::int64_t max() const noexcept { return (std::int64_t{1} << amount_bits) - 1; }
};
inline constexpr WindowShape day_shape = {12, 36};   // 68 thousand million tokens
inline constexpr WindowShape month_shape = {8, 40};  // 1.09 million, in millionths
static_assert(day_shape.period_bits + day_shape.amount_bits + tag_bits == 64);
static_assert(month_shape.period_bits + month_shape.amount_bits + tag_bits == 64);

constexpr WindowShape shape_of(Quota quota) noexcept {
    return quota == Quota::cost ? month_shape : day_shape;
}

constexpr std::int64_t range_of(Quota quota) noexcept {
    return is_level(quota) ? level_max : is_rate(quota) ? unlimited : shape_of(quota).max();
}

constexpr std::uint64_t period_ns(Quota rate) noexcept {
    return rate == Quota::queries ? second_ns : minute_ns;
}

// The top bit of a limit marks a soft quota, which counts and tells of crossings, but admits.
struct Limit {
    Word word{static_cast<std::uint64_t>(unlimited)};

    static constexpr std::uint64_t soft_bit = std::uint64_t{1} << 63;
    struct Value {
        std::int64_t limit;
        bool soft;
    };
    Value load() const noexcept {
        const std::uint64_t value = word.load(std::memory_order_relaxed);
        return {static_cast<std::int64_t>(value & ~soft_bit), (value & soft_bit) != 0};
    }
    void store(std::int64_t limit, bool soft) noexcept {
        word.store(static_cast<std::uint64_t>(limit) | (soft ? soft_bit : 0),
                   std::memory_order_relaxed);
    }
};

// A level or a window.
struct Gauge {
    Word word;
    Limit limit;
};

// Theoretical arrival time of the generic cell rate algorithm (ITU-T I.371), in ns since boot.
struct Rate {
    Word arrival;
    Limit limit;               // a period, and the burst
    std::array<Word, 2> told;  // until when a crossing of 80 % and of 100 % is not told again
};

enum class State : std::uint64_t { empty, live, released };

inline constexpr std::uint64_t levels_known_flag = 1;
inline constexpr std::uint64_t no_writes_flag = 2;
inline constexpr std::uint64_t suspended_flag = 4;

struct alignas(64) Slot {
    std::atomic<State> state;
    Word generation;  // changes when the slot changes hands
    std::array<Word, 2> key;
    Word log_head;  // sequence of the newest committed record, for readers in other processes
    Word flags;
    alignas(64) std::array<Rate, rate_count> rates;
    alignas(64) std::array<Gauge, part_count> gauges;  // levels, then windows
};
static_assert(sizeof(Slot) == 256, "the size is part of the format");

// What a hold has of one level or window; reservation.cpp explains it.
struct Part {
    Word state;       // version and stage
    Amount reserved;  // charged
    Amount back;      // of that, what a settlement gives back
    Word period;      // of a window, when it was charged
};

// An open reservation, or a free place for one.
struct alignas(64) Hold {
    Word owner;      // process, see system.hpp; 0 where the place is free
    Word life;       // a count of uses and renewals, and the phase
    Word whose;      // index and generation of the slot
    Word lease_end;  // ns since boot
    std::array<Part, part_count> parts;
};
static_assert(sizeof(Hold) == 256, "the size is part of the format");

inline constexpr unsigned slot_index_bits = 27;

// A slot and the generation it was found in. Once it is released or changes hands, it is stale.
struct Handle {
    Slot* slot = nullptr;
    Hold* holds = nullptr;  // hold_count of them
    std::uint64_t generation = 0;
    std::uint64_t index = 0;

    bool is_stale() const noexcept {
        return slot->generation.load(std::memory_order_relaxed) != generation;
    }
    std::uint64_t whose() const noexcept { return generation << slot_index_bits | index; }
};

}  // namespace llmspell::ledger
