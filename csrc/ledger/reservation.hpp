// Reservations: charged at once, settled later, and given back when their process dies, whatever
// instruction it died at, or when their lease has passed.
//
// A hold's part of a level or window is written down before the word is changed, and the change
// puts the hold's tag into the word. Whoever changes that word next first notes in the hold that
// the change was done. So a change was done if it was noted or if its tag is still in the word, and
// a sweep always knows what to give back.
//
// A tag is the hold's place in the pool and 4 bits of the part's version, which goes up with each
// change. Versions come round, so before a change the hold takes a tag equal to the new one out of
// the word: nobody else can have put it there. And whoever notes looks at the word again once it
// has read the part, so that a tag taken out meanwhile names nothing.
//
// A hold goes through phases in one word with a count of its uses. Its owner alone acts on it until
// it is open; from then on its owner and a sweep take it from each other by compare-and-swap, and
// the one who loses does nothing. Settling is decided by one store: a process that dies before it
// has reserved all, one that dies after it has settled all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ledger/slot.hpp"

namespace llmspell::ledger {

using Levels = std::array<std::int64_t, level_count>;
using Parts = std::array<std::int64_t, part_count>;

// A hold that its owner has, for as long as `life` is what the hold says.
struct Ticket {
    std::size_t hold = hold_count;
    std::uint64_t life = 0;
};

// Takes a free hold in the name of a process, or returns false: none is free, or the pool is
// crowded and the slot has about as many as are free.
bool open_hold(const Handle& handle, std::uint64_t owner, std::uint64_t lease_end,
               Ticket& ticket) noexcept;

// Charges each item or none; levels and windows are held by the ticket's hold, which is freed on
// refusal. No quota may be given twice. With rates alone there need be no hold: the ticket is not
// looked at then.
[[nodiscard]] bool reserve(const Handle& handle, Ticket& ticket, std::span<const Item> items,
                           Now now, Refusal& refusal, Receipt& receipt) noexcept;

// Keeps `kept` of each level and window, gives the rest back and frees the hold. False if a sweep
// has given it all back.
[[nodiscard]] bool settle(const Handle& handle, const Ticket& ticket, const Parts& kept) noexcept;

// Sets another end of the lease. False if a sweep has given all back.
[[nodiscard]] bool renew(const Handle& handle, Ticket& ticket, std::uint64_t lease_end) noexcept;

// Whether a sweep must give the hold back: another had begun to, or its lease has passed, or its
// owner is dead. `life` is what seize() needs.
enum class Due { no, yes, if_owner_is_dead };
Due due_at(const Hold& hold, std::uint64_t boot_ns, std::uint64_t& life) noexcept;

// Takes a hold that is due from its living owner; false if that one was faster.
bool seize(Hold& hold, std::uint64_t life, std::uint64_t sweeper) noexcept;

// Finishes what the owner of a seized hold had decided, or gives all of it back, and frees it.
// `handle` is of the slot that the hold names, or null where that has changed hands. One caller at
// a time; if that one dies as well, the next goes on where it was.
void give_back(const Handle* handle, Hold* holds, std::size_t hold) noexcept;

// Sets a level to what the log says, plus what is reserved at the moment. Only for the process that
// may write the tenant, and not between a commit and the settlement of its reservation, which would
// be counted twice.
void set_level(const Handle& handle, Quota quota, std::int64_t used) noexcept;

// Sets which of no_writes_flag and suspended_flag the slot has; whoever charges looks at them.
void set_suspension(const Handle& handle, std::uint64_t flags) noexcept;

// Sets all, and notes that they are known.
void set_levels(const Handle& handle, const Levels& used) noexcept;

// For a sweep: empties a window of a period past, and makes one that is more than `most_ahead`
// periods to come the present one. The calendar was last looked at at `last_utc_ns`, near which the
// window's period must be, for it is known modulo its range only.
void tidy_window(const Handle& handle, Quota quota, std::uint64_t last_utc_ns, std::uint64_t utc_ns,
                 std::int64_t most_ahead) noexcept;

}  // namespace llmspell::ledger
