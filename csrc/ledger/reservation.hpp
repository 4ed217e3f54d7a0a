// Reservations: charged at once, settled later, and given back when their process dies, whatever
// instruction it died at.
//
// A reservation's part of a level is written down before the level is changed, and the change puts
// the reservation's tag into the level's word. Whoever changes that word next first notes in the
// reservation that the change was done. So a change was done if it was noted or if its tag is still
// in the word, and a sweep always knows what to give back. A tag is an entry and 11 bits of its
// version; a version goes up with each change, so that an old tag names no later one.
//
// An entry belongs to one thread at a time. All else may run at once in all processes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ledger/slot.hpp"

namespace llmspell::ledger {

using Levels = std::array<std::int64_t, level_count>;

inline constexpr std::size_t no_hold = hold_count;

// Takes a free entry in the name of a process, or returns no_hold.
std::size_t open_hold(Slot& slot, std::uint64_t owner) noexcept;

// Charges each item or none; levels are held by the entry, which is freed on refusal. No quota may
// be given twice. Without levels among them there need be no entry: `hold` is not looked at then.
[[nodiscard]] bool reserve(Slot& slot, std::size_t hold, std::span<const Item> items, Now now,
                           Refusal& refusal, Receipt& receipt) noexcept;

// Keeps `kept` of each level, gives the rest back and frees the entry.
void settle(Slot& slot, std::size_t hold, const Levels& kept) noexcept;

// Gives back all that the entry of a dead process holds and frees it. One caller at a time; if that
// one dies as well, the next goes on where it was.
void give_back(Slot& slot, std::size_t hold) noexcept;

// Sets a level to what the log says, plus what is reserved at the moment. Only for the process that
// may write the tenant, and not between a commit and the settlement of its reservation, which would
// be counted twice.
void set_level(Slot& slot, Quota quota, std::int64_t used) noexcept;

}  // namespace llmspell::ledger
