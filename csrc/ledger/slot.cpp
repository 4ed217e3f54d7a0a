#include "ledger/slot.hpp"

namespace llmspell::ledger {

namespace {

constexpr std::uint64_t beyond(std::uint64_t units, std::uint64_t interval) noexcept {
    return (units - 1) * interval;
}

// A rate whose crossing has been undone may tell of the next one at once.
void forget(const Handle& handle, Receipt& receipt, std::size_t quota,
            unsigned threshold) noexcept {
    const std::uint32_t bit = 1U << (2 * quota + threshold);
    if ((receipt.crossed & bit) == 0) return;
    receipt.crossed &= ~bit;
    if (quota < part_count) return;
    std::uint64_t told = receipt.boot_ns + period_ns(static_cast<Quota>(quota));
    handle.slot->rates[quota - part_count].told[threshold].compare_exchange_strong(
        told, 0, std::memory_order_relaxed);
}

}  // namespace

void detail::watch_rate(Rate& rate, Receipt& receipt, Quota quota, std::int64_t limit,
                        std::uint64_t before, std::uint64_t after, Now now) noexcept {
    const std::uint64_t period = period_ns(quota);
    const std::uint64_t interval = interval_ns(limit, period);
    const std::array<std::int64_t, 2> thresholds = {eighty_percent(limit), limit};
    for (std::size_t i = 0; i < thresholds.size(); ++i) {
        const std::uint64_t units = static_cast<std::uint64_t>(thresholds[i]);
        if (before > beyond(units, interval) || after <= beyond(units, interval)) continue;
        std::uint64_t told = rate.told[i].load(std::memory_order_relaxed);
        if (told > now.boot_ns) continue;
        if (rate.told[i].compare_exchange_strong(told, now.boot_ns + period,
                                                 std::memory_order_relaxed)) {
            mark(receipt, quota, 1U << i,
                 static_cast<std::int64_t>((after + interval - 1) / interval));
        }
    }
}

Receipt receipt_at(const Handle& handle, Item item, Now charged) noexcept {
    Receipt receipt;
    receipt.boot_ns = charged.boot_ns;
    if (is_rate(item.quota)) {
        const std::size_t index = index_of(item.quota) - part_count;
        const std::int64_t limit = handle.slot->rates[index].limit.load().limit;
        if (limit != unlimited && limit > 0) {
            receipt.costs_ns[index] = static_cast<std::uint64_t>(std::min(item.amount, limit)) *
                                      detail::interval_ns(limit, period_ns(item.quota));
        }
    } else if (!is_level(item.quota)) {
        receipt.periods[index_of(item.quota) - level_count] = period_at(item.quota, charged.utc_ns);
    }
    return receipt;
}

void refund(const Handle& handle, Item item, const Receipt& receipt, Now now) noexcept {
    if (is_rate(item.quota)) {
        detail::refund_rate(handle, item.quota, receipt, now);
    } else if (is_level(item.quota)) {
        detail::refund_level(handle, item.quota, item.amount, 0);
    } else {
        detail::refund_window(handle, item.quota, item.amount,
                              receipt.periods[index_of(item.quota) - level_count], 0);
    }
}

void refund_latest(const Handle& handle, Item item, Now now) noexcept {
    Receipt receipt = receipt_at(handle, item, now);
    if (!is_level(item.quota) && !is_rate(item.quota)) {
        const WindowShape shape = shape_of(item.quota);
        const Word& gauge = handle.slot->gauges[index_of(item.quota)].word;
        const std::uint64_t word = gauge.load(std::memory_order_acquire);
        std::uint64_t& period = receipt.periods[index_of(item.quota) - level_count];
        // Where the calendar has stepped back over midnight, the charge went into the day behind.
        if (detail::periods_ahead(shape, word, period) > 0) {
            period = detail::window_period(shape, word);
        }
    }
    refund(handle, item, receipt, now);
}

bool try_charge_all(const Handle& handle, std::span<const Item> items, Now now, Refusal& refusal,
                    Receipt& receipt) noexcept {
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (try_charge(handle, items[i], now, refusal, receipt)) continue;
        while (i-- > 0) refund(handle, items[i], receipt, now);
        forget_crossings(handle, receipt, now);
        return false;
    }
    return true;
}

void forget_crossings(const Handle& handle, Receipt& receipt, Now now) noexcept {
    for (std::size_t i = 0; receipt.crossed >> (2 * i) != 0; ++i) {
        const auto [used, limit] = usage(handle, static_cast<Quota>(i), now);
        if (used < detail::eighty_percent(limit)) forget(handle, receipt, i, 0);
        if (used < limit) forget(handle, receipt, i, 1);
    }
}

bool has_room(const Handle& handle, Item item, Refusal& refusal) noexcept {
    const Gauge& gauge = handle.slot->gauges[index_of(item.quota)];
    const auto [limit, soft] = gauge.limit.load();
    const std::int64_t room = soft ? level_max : std::min(limit, level_max);
    const std::int64_t used = detail::level_used(gauge.word.load(std::memory_order_acquire));
    if (item.amount == 0 || item.amount <= room - used) return true;
    refusal = {item.quota, room, used, item.amount, -1};
    return false;
}

Usage usage(const Handle& handle, Quota quota, Now now) noexcept {
    if (is_rate(quota)) {
        const Rate& rate = handle.slot->rates[index_of(quota) - part_count];
        const std::int64_t limit = rate.limit.load().limit;
        const std::uint64_t arrival = rate.arrival.load(std::memory_order_relaxed);
        if (limit == unlimited || limit == 0 || arrival <= now.boot_ns) return {0, limit};
        const std::uint64_t interval = detail::interval_ns(limit, period_ns(quota));
        const std::uint64_t used = (arrival - now.boot_ns - 1) / interval + 1;
        return {static_cast<std::int64_t>(std::min(used, static_cast<std::uint64_t>(limit))),
                limit};
    }
    const Gauge& gauge = handle.slot->gauges[index_of(quota)];
    const std::int64_t limit = gauge.limit.load().limit;
    const std::uint64_t word = gauge.word.load(std::memory_order_relaxed);
    if (is_level(quota)) return {detail::level_used(word), limit};
    const WindowShape shape = shape_of(quota);
    const bool open = detail::periods_ahead(shape, word, period_at(quota, now.utc_ns)) >= 0;
    return {open ? detail::window_used(shape, word) : 0, limit};
}

void set_limit(const Handle& handle, Quota quota, std::int64_t limit, bool soft) noexcept {
    Limit& target = is_rate(quota) ? handle.slot->rates[index_of(quota) - part_count].limit
                                   : handle.slot->gauges[index_of(quota)].limit;
    target.store(limit, soft);
}

void publish(const Handle& handle, std::uint64_t sequence) noexcept {
    Word& head = handle.slot->log_head;
    std::uint64_t seen = head.load(std::memory_order_relaxed);
    while (seen < sequence && !head.compare_exchange_weak(seen, sequence, std::memory_order_release,
                                                          std::memory_order_relaxed)) {
    }
}

}  // namespace llmspell::ledger
