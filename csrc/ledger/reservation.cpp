#include "ledger/reservation.hpp"

#include "ledger/steps.hpp"

namespace llmspell::ledger {

namespace {

// Charging and refunding are under way: written down, but perhaps not done.
enum class Stage : std::uint64_t { none, charging, held, refunding };

constexpr unsigned stage_bits = 2;
constexpr std::uint64_t version_mask = (std::uint64_t{1} << (tag_bits - hold_bits)) - 1;

constexpr Stage stage_of(std::uint64_t state) noexcept { return static_cast<Stage>(state & 3); }
constexpr std::uint64_t version_of(std::uint64_t state) noexcept { return state >> stage_bits; }
constexpr std::uint64_t state_of(std::uint64_t version, Stage stage) noexcept {
    return version << stage_bits | static_cast<std::uint64_t>(stage);
}

// Its low bits are never 0, so that no tag is 0.
constexpr std::uint64_t next_version(std::uint64_t version) noexcept {
    ++version;
    return (version & version_mask) == 0 ? version + 1 : version;
}

constexpr std::uint64_t tag_of(std::size_t hold, std::uint64_t version) noexcept {
    return (version & version_mask) << hold_bits | hold;
}

// The owner is at work while a hold is claimed: what it has done counts as reserved.
enum class Phase : std::uint64_t { free, claimed, open, settling, reclaimed };

constexpr unsigned phase_bits = 3;

constexpr Phase phase_of(std::uint64_t life) noexcept { return static_cast<Phase>(life & 7); }
constexpr std::uint64_t in_phase(std::uint64_t life, Phase phase) noexcept {
    return life >> phase_bits << phase_bits | static_cast<std::uint64_t>(phase);
}
constexpr std::uint64_t next_life(std::uint64_t life, Phase phase) noexcept {
    return in_phase(life + (std::uint64_t{1} << phase_bits), phase);
}

bool take(Hold& hold, std::uint64_t life, Phase phase) noexcept {
    return hold.life.compare_exchange_strong(life, in_phase(life, phase),
                                             std::memory_order_acq_rel);
}

void set_phase(Hold& hold, std::uint64_t life, Phase phase) noexcept {
    hold.life.store(in_phase(life, phase), std::memory_order_release);
}

// A change that is about to be written down as `version`. A tag like its own that is in the word
// already is of an earlier change by the same hold, which has long been finished.
std::uint64_t begin(const Handle& handle, std::size_t hold, std::size_t part,
                    Stage stage) noexcept {
    Word& state = handle.holds[hold].parts[part].state;
    Word& word = handle.slot->gauges[part].word;
    const std::uint64_t version = next_version(version_of(state.load(std::memory_order_relaxed)));
    const std::uint64_t tag = tag_of(hold, version);
    std::uint64_t seen = word.load(std::memory_order_acquire);
    while ((seen & tag_mask) == tag &&
           !word.compare_exchange_weak(seen, seen & ~tag_mask, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
    }
    step();
    state.store(state_of(version, stage), std::memory_order_release);
    step();
    return version;
}

void end(Hold& hold, std::size_t part, std::uint64_t version, Stage stage) noexcept {
    step();
    hold.parts[part].state.store(state_of(version, stage), std::memory_order_release);
    step();
}

// What is given back of a part: chosen by a settlement, or all. Never more than any word holds,
// whatever the memory says.
std::int64_t due_of(const Hold& hold, const Part& part) noexcept {
    const bool settling = phase_of(hold.life.load(std::memory_order_acquire)) == Phase::settling;
    const Amount& amount = settling ? part.back : part.reserved;
    return std::clamp<std::int64_t>(amount.load(std::memory_order_relaxed), 0, level_max);
}

void refund_part(const Handle& handle, std::size_t hold, std::size_t part, std::uint64_t version,
                 std::int64_t amount) noexcept {
    const auto quota = static_cast<Quota>(part);
    const std::uint64_t tag = tag_of(hold, version);
    if (is_level(quota)) {
        detail::refund_level(handle, quota, amount, tag);
    } else {
        const Word& period = handle.holds[hold].parts[part].period;
        detail::refund_window(handle, quota, amount, period.load(std::memory_order_relaxed), tag);
    }
    end(handle.holds[hold], part, version, Stage::none);
}

void drop_part(Hold& hold, std::size_t part) noexcept {
    Word& state = hold.parts[part].state;
    end(hold, part, version_of(state.load(std::memory_order_relaxed)), Stage::none);
}

void finish_part(const Handle& handle, std::size_t hold, std::size_t part) noexcept {
    const Part& held = handle.holds[hold].parts[part];
    const std::uint64_t state = held.state.load(std::memory_order_acquire);
    if (stage_of(state) == Stage::none) return;
    const std::int64_t due = due_of(handle.holds[hold], held);
    if (stage_of(state) == Stage::refunding) {
        refund_part(handle, hold, part, version_of(state), due);
    } else if (stage_of(state) == Stage::held && due > 0) {
        refund_part(handle, hold, part, begin(handle, hold, part, Stage::refunding), due);
    } else {
        drop_part(handle.holds[hold], part);
    }
}

void free_hold(Hold& hold) noexcept {
    set_phase(hold, hold.life.load(std::memory_order_relaxed), Phase::free);
    step();
    hold.owner.store(0, std::memory_order_release);
}

// A slot that has changed hands owes nothing to anybody who held something of it before.
void finish(const Handle* handle, Hold* holds, std::size_t hold) noexcept {
    for (std::size_t part = 0; part < part_count; ++part) {
        if (handle != nullptr) {
            finish_part(*handle, hold, part);
        } else {
            drop_part(holds[hold], part);
        }
    }
    step();
    free_hold(holds[hold]);
}

bool charge_part(const Handle& handle, std::size_t hold, Item item, Now now, Refusal& refusal,
                 Receipt& receipt) noexcept {
    const std::size_t index = index_of(item.quota);
    Part& part = handle.holds[hold].parts[index];
    part.reserved.store(item.amount, std::memory_order_relaxed);
    const std::uint64_t version = begin(handle, hold, index, Stage::charging);
    const bool charged =
        detail::charge(handle, item, tag_of(hold, version), now, refusal, receipt, &part.period);
    end(handle.holds[hold], index, version, charged ? Stage::held : Stage::none);
    return charged;
}

// Where threads and processes begin to look: far from each other, and a thread at the same place
// each time, by where its stack is.
std::size_t place_to_begin(std::uint64_t owner) noexcept {
    const int local = 0;
    const auto stack = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&local) >> 16);
    return ((stack ^ owner) * 0x9E3779B97F4A7C15) >> (64 - hold_bits);
}

// Whoever passes that many places that are taken asks for its share: the pool may be filling up.
constexpr std::size_t crowd = 16;

// Whether a slot has fewer holds than are free, so that others find some, by one place in so many.
constexpr std::size_t share_stride = 64;

bool has_share(const Handle& handle) noexcept {
    std::size_t free = 0;
    std::size_t own = 0;
    for (std::size_t i = 0; i < hold_count; i += share_stride) {
        const Hold& hold = handle.holds[i];
        if (hold.owner.load(std::memory_order_relaxed) == 0) {
            ++free;
        } else if (hold.whose.load(std::memory_order_relaxed) == handle.whose()) {
            ++own;
        }
    }
    return own < free;
}

}  // namespace

void detail::note(const Handle& handle, std::size_t part, std::uint64_t tag) noexcept {
    const std::size_t hold = tag & (hold_count - 1);
    Word& state = handle.holds[hold].parts[part].state;
    std::uint64_t seen = state.load(std::memory_order_acquire);
    const Stage stage = stage_of(seen);
    if (stage != Stage::charging && stage != Stage::refunding) return;
    if (tag_of(hold, version_of(seen)) != tag) return;
    const Word& word = handle.slot->gauges[part].word;
    if ((word.load(std::memory_order_acquire) & tag_mask) != tag) return;
    if (handle.holds[hold].whose.load(std::memory_order_acquire) != handle.whose()) return;
    const Stage done = stage == Stage::charging ? Stage::held : Stage::none;
    state.compare_exchange_strong(seen, state_of(version_of(seen), done), std::memory_order_acq_rel,
                                  std::memory_order_relaxed);
}

bool open_hold(const Handle& handle, std::uint64_t owner, std::uint64_t lease_end,
               Ticket& ticket) noexcept {
    const std::size_t first = place_to_begin(owner);
    for (std::size_t i = 0; i < hold_count; ++i) {
        const std::size_t index = (first + i) & (hold_count - 1);
        Hold& hold = handle.holds[index];
        if (i == crowd && !has_share(handle)) return false;
        std::uint64_t nobody = 0;
        if (hold.owner.load(std::memory_order_relaxed) != 0 ||
            !hold.owner.compare_exchange_strong(nobody, owner, std::memory_order_acq_rel)) {
            continue;
        }
        step();
        hold.whose.store(handle.whose(), std::memory_order_relaxed);
        hold.lease_end.store(lease_end, std::memory_order_relaxed);
        step();
        ticket = {index, next_life(hold.life.load(std::memory_order_relaxed), Phase::claimed)};
        hold.life.store(ticket.life, std::memory_order_release);
        step();
        return true;
    }
    return false;
}

bool reserve(const Handle& handle, Ticket& ticket, std::span<const Item> items, Now now,
             Refusal& refusal, Receipt& receipt) noexcept {
    receipt.boot_ns = now.boot_ns;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const Item item = items[i];
        if (item.amount == 0) continue;
        if (is_rate(item.quota) ? try_charge(handle, item, now, refusal, receipt)
                                : charge_part(handle, ticket.hold, item, now, refusal, receipt)) {
            continue;
        }
        while (i-- > 0) {
            if (is_rate(items[i].quota)) refund(handle, items[i], receipt, now);
        }
        if (ticket.hold < hold_count) {
            finish(handle.is_stale() ? nullptr : &handle, handle.holds, ticket.hold);
        }
        forget_crossings(handle, receipt, now);
        return false;
    }
    if (ticket.hold < hold_count) {
        ticket.life = in_phase(ticket.life, Phase::open);
        handle.holds[ticket.hold].life.store(ticket.life, std::memory_order_release);
        step();
    }
    return true;
}

bool settle(const Handle& handle, const Ticket& ticket, const Parts& kept) noexcept {
    Hold& hold = handle.holds[ticket.hold];
    if (!take(hold, ticket.life, Phase::claimed)) return false;
    step();
    for (std::size_t i = 0; i < part_count; ++i) {
        Part& part = hold.parts[i];
        if (stage_of(part.state.load(std::memory_order_relaxed)) != Stage::held) continue;
        const std::int64_t reserved = part.reserved.load(std::memory_order_relaxed);
        part.back.store(std::max<std::int64_t>(reserved - kept[i], 0), std::memory_order_relaxed);
    }
    step();
    set_phase(hold, ticket.life, Phase::settling);
    step();
    finish(handle.is_stale() ? nullptr : &handle, handle.holds, ticket.hold);
    return true;
}

bool renew(const Handle& handle, Ticket& ticket, std::uint64_t lease_end) noexcept {
    Hold& hold = handle.holds[ticket.hold];
    if (!take(hold, ticket.life, Phase::claimed)) return false;
    step();
    hold.lease_end.store(lease_end, std::memory_order_relaxed);
    step();
    // Another count, so that a sweep that saw the lease of before takes nothing.
    ticket.life = next_life(ticket.life, Phase::open);
    hold.life.store(ticket.life, std::memory_order_release);
    return true;
}

Due due_at(const Hold& hold, std::uint64_t boot_ns, std::uint64_t& life) noexcept {
    if (hold.owner.load(std::memory_order_acquire) == 0) return Due::no;
    life = hold.life.load(std::memory_order_acquire);
    if (phase_of(life) == Phase::reclaimed) return Due::yes;
    const bool over = hold.lease_end.load(std::memory_order_relaxed) <= boot_ns;
    return phase_of(life) == Phase::open && over ? Due::yes : Due::if_owner_is_dead;
}

bool seize(Hold& hold, std::uint64_t life, std::uint64_t sweeper) noexcept {
    if (phase_of(life) != Phase::reclaimed && !take(hold, life, Phase::reclaimed)) return false;
    step();
    // Whoever frees a hold must be its owner: a free one that somebody living has is being taken.
    hold.owner.store(sweeper, std::memory_order_release);
    return true;
}

void give_back(const Handle* handle, Hold* holds, std::size_t hold) noexcept {
    if (handle != nullptr) {
        for (std::size_t part = 0; part < part_count; ++part) {
            // The tag first and the part after it: a tag gone by now has been noted in the part.
            const Word& word = handle->slot->gauges[part].word;
            detail::note(*handle, part, word.load(std::memory_order_acquire) & tag_mask);
        }
    }
    step();
    finish(handle, holds, hold);
}

void set_level(const Handle& handle, Quota quota, std::int64_t used) noexcept {
    const std::size_t level = index_of(quota);
    Word& word = handle.slot->gauges[level].word;
    std::uint64_t seen = word.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
        detail::note(handle, level, seen & tag_mask);
        std::int64_t held = 0;
        for (std::size_t i = 0; i < hold_count; ++i) {
            const Hold& hold = handle.holds[i];
            if (hold.owner.load(std::memory_order_relaxed) == 0 ||
                hold.whose.load(std::memory_order_relaxed) != handle.whose()) {
                continue;
            }
            const Part& part = hold.parts[level];
            const Stage stage = stage_of(part.state.load(std::memory_order_acquire));
            if (stage != Stage::held && stage != Stage::refunding) continue;
            held = std::min(level_max, held + due_of(hold, part));
        }
        next = detail::level_word(std::min(used, level_max - held) + held, 0);
    } while (!word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                         std::memory_order_acquire));
}

void set_suspension(const Handle& handle, std::uint64_t flags) noexcept {
    constexpr std::uint64_t mask = no_writes_flag | suspended_flag;
    Word& word = handle.slot->flags;
    std::uint64_t seen = word.load(std::memory_order_acquire);
    while (!word.compare_exchange_weak(seen, (seen & ~mask) | (flags & mask),
                                       std::memory_order_acq_rel, std::memory_order_acquire)) {
    }
}

void set_levels(const Handle& handle, const Levels& used) noexcept {
    for (std::size_t level = 0; level < level_count; ++level) {
        set_level(handle, static_cast<Quota>(level), used[level]);
    }
    handle.slot->flags.fetch_or(levels_known_flag, std::memory_order_release);
}

void tidy_window(const Handle& handle, Quota quota, std::uint64_t last_utc_ns, std::uint64_t utc_ns,
                 std::int64_t most_ahead) noexcept {
    const WindowShape shape = shape_of(quota);
    const std::uint64_t last = period_at(quota, last_utc_ns);
    const std::uint64_t today = period_at(quota, utc_ns);
    Word& word = handle.slot->gauges[index_of(quota)].word;
    std::uint64_t seen = word.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
        const std::int64_t ahead =
            detail::periods_ahead(shape, seen, last) + static_cast<std::int64_t>(last - today);
        if (seen == 0 || (ahead >= 0 && ahead <= most_ahead)) return;
        detail::note(handle, index_of(quota), seen & tag_mask);
        next =
            detail::window_word(shape, today, ahead < 0 ? 0 : detail::window_used(shape, seen), 0);
    } while (!word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                         std::memory_order_acquire));
}

}  // namespace llmspell::ledger
