// A file of slots, mapped by all processes of a data directory.
//
// Finding a slot and charging it takes no lock. A file that is full grows while all go on. Opening,
// creating, releasing and sweeping hold a file lock beside the file ("<path>.lock"), which the
// system frees when its holder dies. A file whose header does not fit is rebuilt empty: the log is
// the truth for levels, and rates and windows start again. A sweep walks the pool of holds, and the
// slots once a day. All functions are thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "ledger/layout.hpp"
#include "ledger/slot.hpp"
#include "ledger/system.hpp"

namespace llmspell::ledger {

using Key = std::array<std::uint64_t, 2>;

// A sweep reads the whole pool, and a tenant at its limit may be refused a million times a second.
inline constexpr std::uint64_t refusal_sweep_ns = 100'000'000;

enum class Status {
    ok,
    system_error,  // errno in Result::error
    in_use,        // the file must be rebuilt, but another process has it mapped
    other_boot,    // as above, by time that counts from another start than theirs
    full,          // no slot left: there are as many as a mapping has address space for
    unsupported,   // no shared memory mapping on this platform
};

class Ledger {
  public:
    // Maps the file, made anew where it is missing or damaged, with room for `capacity` keys at
    // least; sweeps it. `error` is the errno of a system_error.
    static Status open(const std::filesystem::path& path, std::size_t capacity,
                       const EnvironmentSource& source, std::unique_ptr<Ledger>& out, int& error);
    ~Ledger();
    Ledger(const Ledger&) = delete;
    Ledger& operator=(const Ledger&) = delete;

    // Finds the slot of a key or makes one without limits and with nothing used.
    Status slot(const Key& key, Handle& out, int& error);

    // Frees the slot of a key, so that handles of it are stale; false where there is none.
    Status release(const Key& key, bool& released, int& error);

    // Gives back what dead processes held and what leases held that have passed, and lets the
    // calendar follow the wall clock by a little.
    Status sweep(const EnvironmentSource& source, std::size_t& given_back, int& error);

    // The same before a charge is refused for good, at most once in refusal_sweep_ns and without
    // waiting for another who has the file lock; true if something was given back.
    bool sweep_before_refusal(const EnvironmentSource& source) noexcept;

    Now at(std::uint64_t boot_ns) const noexcept;
    Now now() const noexcept { return at(boot_time_ns()); }
    std::size_t capacity() const noexcept;  // at present
    std::size_t size() const noexcept;      // slots in use

  private:
    Ledger(std::filesystem::path path, int file, std::byte* memory, std::size_t mapped,
           std::size_t bytes) noexcept;
    Handle find(const Key& key) const noexcept;
    void begin_boot(const Environment& environment) noexcept;
    std::size_t sweep_locked(const Environment& environment, bool walk) noexcept;
    void walk_slots(const Environment& environment, std::uint64_t last_utc_ns) noexcept;
    std::span<Slot> slots() const noexcept;
    void follow_growth() noexcept;
    Status find_place(const Key& key, Slot*& out, int& error) noexcept;
    Status grow(int& error) noexcept;

    std::filesystem::path path_;
    int file_;
    std::byte* memory_;
    std::size_t mapped_;
    std::size_t table_size_;          // of the first table
    std::atomic<std::size_t> bytes_;  // of the file, as far as this process has seen it grow
    Word swept_at_{0};                // boot time of the last sweep_before_refusal
};

}  // namespace llmspell::ledger
