#include "ledger/reservation.hpp"

namespace llmspell::ledger {

namespace {

// Charging and refunding are under way: written down, but perhaps not done.
enum class Stage : std::uint64_t { none, charging, held, refunding };

struct Part {
    Stage stage;
    std::uint64_t version;
    std::int64_t amount;
};

constexpr unsigned stage_bits = 2;
constexpr unsigned version_bits = 11;
constexpr unsigned hold_bits = 5;
constexpr std::uint64_t versions = std::uint64_t{1} << version_bits;
static_assert(hold_count == 1 << hold_bits && hold_bits + version_bits == detail::tag_bits);

constexpr std::uint64_t pack(Part part) noexcept {
    return static_cast<std::uint64_t>(part.amount) << (version_bits + stage_bits) |
           part.version << stage_bits | static_cast<std::uint64_t>(part.stage);
}

constexpr Part unpack(std::uint64_t word) noexcept {
    return {static_cast<Stage>(word & 3), word >> stage_bits & (versions - 1),
            static_cast<std::int64_t>(word >> (version_bits + stage_bits))};
}

// Never 0, so that no tag is 0.
constexpr std::uint64_t next_version(std::uint64_t version) noexcept {
    return version % (versions - 1) + 1;
}

constexpr std::uint64_t tag_of(std::size_t hold, std::uint64_t version) noexcept {
    return version << hold_bits | hold;
}

Part advance(Word& word, Stage stage, std::int64_t amount) noexcept {
    const Part old = unpack(word.load(std::memory_order_relaxed));
    const Part part = {stage, next_version(old.version), amount};
    word.store(pack(part), std::memory_order_release);
    return part;
}

void finish(Word& word, Part part) noexcept {
    std::uint64_t expected = pack(part);
    const bool charged = part.stage == Stage::charging;
    const Part done = {charged ? Stage::held : Stage::none, part.version,
                       charged ? part.amount : 0};
    word.compare_exchange_strong(expected, pack(done), std::memory_order_acq_rel,
                                 std::memory_order_relaxed);
}

void refund_part(Slot& slot, std::size_t hold, std::size_t level, Part part) noexcept {
    detail::refund_level(slot, static_cast<Quota>(level), part.amount, tag_of(hold, part.version));
    finish(slot.holds[hold].parts[level], part);
}

bool charge_part(Slot& slot, std::size_t hold, Item item, Refusal& refusal) noexcept {
    Word& word = slot.holds[hold].parts[static_cast<std::size_t>(item.quota)];
    const std::int64_t written = std::min(item.amount, level_max);
    const Part part = advance(word, Stage::charging, written);
    if (detail::charge_level(slot, item.quota, item.amount, tag_of(hold, part.version), refusal)) {
        finish(word, part);
        return true;
    }
    word.store(pack({Stage::none, part.version, 0}), std::memory_order_release);
    return false;
}

void settle_part(Slot& slot, std::size_t hold, std::size_t level, std::int64_t kept) noexcept {
    Word& word = slot.holds[hold].parts[level];
    const Part part = unpack(word.load(std::memory_order_relaxed));
    if (part.stage != Stage::held) return;
    if (part.amount > kept) {
        refund_part(slot, hold, level, advance(word, Stage::refunding, part.amount - kept));
    } else {
        advance(word, Stage::none, 0);
    }
}

bool is_level(Quota quota) noexcept { return static_cast<std::size_t>(quota) < level_count; }

}  // namespace

void detail::note(Slot& slot, std::size_t level, std::uint64_t tag) noexcept {
    Word& word = slot.holds[tag & (hold_count - 1)].parts[level];
    const Part part = unpack(word.load(std::memory_order_acquire));
    const bool under_way = part.stage == Stage::charging || part.stage == Stage::refunding;
    if (under_way && part.version == tag >> hold_bits) finish(word, part);
}

std::size_t open_hold(Slot& slot, std::uint64_t owner) noexcept {
    for (std::size_t i = 0; i < hold_count; ++i) {
        std::uint64_t nobody = 0;
        if (slot.holds[i].owner.load(std::memory_order_relaxed) == 0 &&
            slot.holds[i].owner.compare_exchange_strong(nobody, owner, std::memory_order_acq_rel)) {
            return i;
        }
    }
    return no_hold;
}

bool reserve(Slot& slot, std::size_t hold, std::span<const Item> items, Now now, Refusal& refusal,
             Receipt& receipt) noexcept {
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (items[i].amount == 0) continue;
        if (is_level(items[i].quota) ? charge_part(slot, hold, items[i], refusal)
                                     : try_charge(slot, items[i], now, refusal, receipt)) {
            continue;
        }
        while (i-- > 0) {
            if (!is_level(items[i].quota)) refund(slot, items[i], receipt, now);
        }
        if (hold != no_hold) settle(slot, hold, {});
        return false;
    }
    return true;
}

void settle(Slot& slot, std::size_t hold, const Levels& kept) noexcept {
    for (std::size_t level = 0; level < level_count; ++level) {
        settle_part(slot, hold, level, kept[level]);
    }
    slot.holds[hold].owner.store(0, std::memory_order_release);
}

void give_back(Slot& slot, std::size_t hold) noexcept {
    for (std::size_t level = 0; level < level_count; ++level) {
        // The tag first and the part after it: a tag gone by now has been noted in the part.
        const std::uint64_t word = slot.levels[level].word.load(std::memory_order_acquire);
        detail::note(slot, level, word & detail::tag_mask);
        const Part part = unpack(slot.holds[hold].parts[level].load(std::memory_order_acquire));
        if (part.stage == Stage::refunding) refund_part(slot, hold, level, part);
        if (part.stage == Stage::charging) advance(slot.holds[hold].parts[level], Stage::none, 0);
        if (part.stage == Stage::held) settle_part(slot, hold, level, 0);
    }
    slot.holds[hold].owner.store(0, std::memory_order_release);
}

void set_level(Slot& slot, Quota quota, std::int64_t used) noexcept {
    const auto level = static_cast<std::size_t>(quota);
    Word& word = slot.levels[level].word;
    std::uint64_t seen = word.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
        detail::note(slot, level, seen & detail::tag_mask);
        std::int64_t held = 0;
        for (const Hold& hold : slot.holds) {
            const Part part = unpack(hold.parts[level].load(std::memory_order_acquire));
            if (part.stage == Stage::held || part.stage == Stage::refunding) held += part.amount;
        }
        next = detail::level_word(std::min(used, level_max - held) + held, 0);
    } while (!word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                         std::memory_order_acquire));
}

}  // namespace llmspell::ledger
