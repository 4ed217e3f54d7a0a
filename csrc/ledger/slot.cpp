#include "ledger/slot.hpp"

namespace llmspell::ledger {

Usage usage(const Slot& slot, Quota quota, Now now) noexcept {
    switch (quota) {
        case Quota::embeddings: {
            const std::uint64_t word = slot.embeddings.word.load(std::memory_order_relaxed);
            const bool open = detail::day_of(word) >= now.utc_ns / day_ns;
            return {open ? detail::used_of(word) : 0,
                    slot.embeddings.limit.load(std::memory_order_relaxed)};
        }
        case Quota::api_calls: {
            const std::int64_t limit = slot.api_calls.limit.load(std::memory_order_relaxed);
            const std::uint64_t arrival = slot.api_calls.arrival.load(std::memory_order_relaxed);
            if (limit == unlimited || limit == 0 || arrival <= now.boot_ns) return {0, limit};
            const std::uint64_t interval = detail::interval_ns(limit);
            const std::uint64_t used = (arrival - now.boot_ns - 1) / interval + 1;
            return {static_cast<std::int64_t>(std::min(used, static_cast<std::uint64_t>(limit))),
                    limit};
        }
        default: {
            const Level& level = slot.levels[static_cast<std::size_t>(quota)];
            return {detail::level_used(level.word.load(std::memory_order_relaxed)),
                    level.limit.load(std::memory_order_relaxed)};
        }
    }
}

void set_limit(Slot& slot, Quota quota, std::int64_t limit) noexcept {
    Amount& target = quota == Quota::embeddings ? slot.embeddings.limit
                     : quota == Quota::api_calls
                         ? slot.api_calls.limit
                         : slot.levels[static_cast<std::size_t>(quota)].limit;
    target.store(limit, std::memory_order_relaxed);
}

}  // namespace llmspell::ledger
