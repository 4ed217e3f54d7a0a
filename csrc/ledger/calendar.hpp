// Days and months in UTC, as numbers since 1970 (H. Hinnant, "chrono-Compatible Low-Level Date
// Algorithms"). Times before 1970 do not occur.
#pragma once

#include <cstdint>

#include "ledger/layout.hpp"

namespace llmspell::ledger {

constexpr std::uint64_t day_of(std::uint64_t utc_ns) noexcept { return utc_ns / day_ns; }

// Years here begin in March, so that the day that leap years have is a year's last.
constexpr std::uint64_t month_of(std::uint64_t utc_ns) noexcept {
    // Since 1 March of year 0; in 32 bits, whose divisions are faster.
    const std::uint32_t days = static_cast<std::uint32_t>(day_of(utc_ns)) + 719'468;
    const std::uint32_t era = days / 146'097;
    const std::uint32_t in_era = days - era * 146'097;
    const std::uint32_t year = (in_era - in_era / 1'460 + in_era / 36'524 - in_era / 146'096) / 365;
    const std::uint32_t in_year = in_era - (365 * year + year / 4 - year / 100);
    return std::uint64_t{(era * 400 + year) * 12 + (5 * in_year + 2) / 153 + 2 - 1'970 * 12};
}

// The first nanosecond of a month.
constexpr std::uint64_t start_of_month(std::uint64_t month) noexcept {
    const std::uint64_t months = month + 1'970 * 12 - 2;
    const std::uint64_t year = months / 12;
    const std::uint64_t in_year = (153 * (months % 12) + 2) / 5;
    return (365 * year + year / 4 - year / 100 + year / 400 + in_year - 719'468) * day_ns;
}

constexpr std::uint64_t period_at(Quota window, std::uint64_t utc_ns) noexcept {
    return window == Quota::cost ? month_of(utc_ns) : day_of(utc_ns);
}

constexpr std::uint64_t next_period_ns(Quota window, std::uint64_t utc_ns) noexcept {
    return window == Quota::cost ? start_of_month(month_of(utc_ns) + 1)
                                 : (day_of(utc_ns) + 1) * day_ns;
}

}  // namespace llmspell::ledger
