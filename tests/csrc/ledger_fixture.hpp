// A ledger in a directory of its own, at noon of some day.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "check.hpp"
#include "ledger/format.hpp"
#include "ledger/ledger.hpp"
#include "ledger/reservation.hpp"

namespace llmspell::ledger {

constexpr std::uint64_t hour = 3600 * second_ns;
// Noon of some day, three hours after boot.
constexpr std::uint64_t noon_boot = 3 * hour;
constexpr std::int64_t noon_utc = static_cast<std::int64_t>(20'000 * day_ns + 12 * hour);

inline BootId boot_named(char name) {
    BootId id{};
    id[0] = name;
    return id;
}

inline Environment environment(char boot, std::uint64_t boot_ns, std::int64_t utc_ns) {
    return {boot_named(boot), boot_ns, utc_ns};
}

inline EnvironmentSource always(const Environment& when) {
    return [when] { return when; };
}

inline void refund(const Handle& slot, Item item, Now charged, Now when) {
    refund(slot, item, receipt_at(slot, item, charged), when);
}

inline const Environment noon = environment('a', noon_boot, noon_utc);

struct Directory {
    std::filesystem::path path;
    Directory() {
        std::string name = (std::filesystem::temp_directory_path() / "ledgerXXXXXX").string();
        path = mkdtemp(name.data());
    }
    ~Directory() { std::filesystem::remove_all(path); }
    std::filesystem::path file() const { return path / "ledger"; }
};

inline std::unique_ptr<Ledger> open(const Directory& directory, const Environment& when = noon,
                                    std::size_t capacity = 64) {
    std::unique_ptr<Ledger> ledger;
    int error = 0;
    CHECK(Ledger::open(directory.file(), capacity, always(when), ledger, error) == Status::ok);
    return ledger;
}

inline Handle slot_of(Ledger& ledger, std::uint64_t key = 7) {
    Handle handle;
    int error = 0;
    CHECK(ledger.slot({key, key}, handle, error) == Status::ok);
    return handle;
}

inline bool charge(const Handle& slot, Item item, Now now, Refusal& refusal) {
    Receipt receipt;
    return try_charge(slot, item, now, refusal, receipt);
}

inline bool charge(const Handle& slot, Quota quota, std::int64_t amount, Now now) {
    Refusal refusal{};
    return charge(slot, {quota, amount}, now, refusal);
}

inline void set_limit(const Handle& slot, Quota quota, std::int64_t limit) {
    set_limit(slot, quota, limit, false);
}

inline std::int64_t used(const Handle& slot, Quota quota, Now now) {
    return usage(slot, quota, now).used;
}

inline std::size_t sweep(Ledger& ledger, const Environment& when) {
    std::size_t given_back = 0;
    int error = 0;
    CHECK(ledger.sweep(always(when), given_back, error) == Status::ok);
    return given_back;
}

inline Now at(std::uint64_t boot_ns, std::int64_t utc_ns) {
    return {boot_ns, static_cast<std::uint64_t>(utc_ns)};
}

inline const Now now = at(noon_boot, noon_utc);

inline constexpr std::uint64_t never = ~std::uint64_t{0};

// A hold with one call, one document, and as many vectors and tokens as given.
inline bool reserve_some(const Handle& slot, Ticket& ticket, std::int64_t amount, Now when = now,
                         std::uint64_t lease_end = never) {
    const Item items[] = {{Quota::api_calls, 1},
                          {Quota::documents, 1},
                          {Quota::vectors, amount},
                          {Quota::tokens, amount}};
    Refusal refusal{};
    Receipt receipt;
    return open_hold(slot, own_process(), lease_end, ticket) &&
           reserve(slot, ticket, items, when, refusal, receipt);
}

inline Parts keep(std::int64_t amount) {
    Parts kept{};
    kept[index_of(Quota::vectors)] = amount;
    kept[index_of(Quota::tokens)] = amount;
    return kept;
}

inline std::size_t holds_in_use(const Handle& slot) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < hold_count; ++i) {
        if (slot.holds[i].owner.load() != 0) ++count;
    }
    return count;
}

}  // namespace llmspell::ledger
