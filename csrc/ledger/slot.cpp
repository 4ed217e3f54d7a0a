#include "ledger/slot.hpp"

namespace llmspell::ledger {

namespace {

bool is_level(Quota quota) noexcept { return static_cast<std::size_t>(quota) < level_count; }

Level& level_of(Slot& slot, Quota quota) noexcept {
    return slot.levels[static_cast<std::size_t>(quota)];
}

}  // namespace

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
            return {level.used.load(std::memory_order_relaxed),
                    level.limit.load(std::memory_order_relaxed)};
        }
    }
}

void set_limit(Slot& slot, Quota quota, std::int64_t limit) noexcept {
    Amount& target = quota == Quota::embeddings  ? slot.embeddings.limit
                     : quota == Quota::api_calls ? slot.api_calls.limit
                                                 : level_of(slot, quota).limit;
    target.store(limit, std::memory_order_relaxed);
}

void set_level(Slot& slot, Quota quota, std::int64_t used) noexcept {
    std::int64_t held = 0;
    for (const Holder& holder : slot.holders) {
        held += holder.held[static_cast<std::size_t>(quota)].load(std::memory_order_acquire);
    }
    level_of(slot, quota).used.store(used + held, std::memory_order_release);
}

Holder* hold(Slot& slot, std::uint64_t owner) noexcept {
    for (Holder& holder : slot.holders) {
        if (holder.owner.load(std::memory_order_acquire) == owner) return &holder;
    }
    for (Holder& holder : slot.holders) {
        std::uint64_t nobody = 0;
        if (holder.owner.compare_exchange_strong(nobody, owner, std::memory_order_acq_rel)) {
            return &holder;
        }
    }
    return nullptr;
}

void add_held(Holder& holder, Item item) noexcept {
    if (is_level(item.quota)) {
        holder.held[static_cast<std::size_t>(item.quota)].fetch_add(item.amount,
                                                                    std::memory_order_acq_rel);
    }
}

void settle(Slot& slot, Holder& holder, Item item, std::int64_t kept) noexcept {
    if (!is_level(item.quota)) return;
    holder.held[static_cast<std::size_t>(item.quota)].fetch_sub(item.amount,
                                                                std::memory_order_acq_rel);
    detail::refund_level(level_of(slot, item.quota), item.amount - kept);
}

void give_back(Slot& slot, Holder& holder) noexcept {
    for (std::size_t i = 0; i < level_count; ++i) {
        const std::int64_t amount = holder.held[i].exchange(0, std::memory_order_acq_rel);
        if (amount > 0) detail::refund_level(slot.levels[i], amount);
    }
    holder.owner.store(0, std::memory_order_release);
}

}  // namespace llmspell::ledger
