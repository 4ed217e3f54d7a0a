#include "ledger/ledger.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "ledger/file.hpp"
#include "ledger/format.hpp"
#include "ledger/prepare.hpp"
#include "ledger/reservation.hpp"

namespace llmspell::ledger {

namespace {

// A calendar that jumped with the wall clock would open a new day early. It follows at no more than
// an eighth of real speed instead, and by no more than 7.5 minutes at a time.
constexpr std::uint64_t catch_up_divisor = 8;
constexpr std::uint64_t catch_up_window_ns = 3'600'000'000'000;

std::filesystem::path lock_path(const std::filesystem::path& path) {
    std::filesystem::path name = path;
    return name += ".lock";
}

void start_slot(Slot& slot, const Key& key) noexcept {
    for (Gauge& gauge : slot.gauges) {
        gauge.word.store(0, std::memory_order_relaxed);
        gauge.limit.store(unlimited, false);
    }
    for (Rate& rate : slot.rates) {
        rate.arrival.store(0, std::memory_order_relaxed);
        rate.limit.store(unlimited, false);
        for (Word& told : rate.told) told.store(0, std::memory_order_relaxed);
    }
    slot.log_head.store(0, std::memory_order_relaxed);
    slot.flags.store(0, std::memory_order_relaxed);
    slot.key[0].store(key[0], std::memory_order_relaxed);
    slot.key[1].store(key[1], std::memory_order_relaxed);
    slot.state.store(State::live, std::memory_order_release);
}

// No charge leads further ahead than one burst; what does comes from a damaged file.
void tidy_rate(Rate& rate, Quota quota, std::uint64_t boot_ns) noexcept {
    const std::int64_t limit = rate.limit.load().limit;
    const std::uint64_t period = period_ns(quota);
    for (Word& told : rate.told) {
        if (told.load(std::memory_order_relaxed) > boot_ns + period) {
            told.store(0, std::memory_order_relaxed);
        }
    }
    if (limit <= 0 || limit == unlimited) return;
    const std::uint64_t burst =
        static_cast<std::uint64_t>(limit) * detail::interval_ns(limit, period);
    std::uint64_t arrival = rate.arrival.load(std::memory_order_relaxed);
    if (arrival > boot_ns + burst) {
        rate.arrival.compare_exchange_strong(arrival, boot_ns + period, std::memory_order_acq_rel);
    }
}

constexpr std::array<Quota, window_count> windows = {Quota::embeddings, Quota::tokens, Quota::cost};
constexpr std::array<Quota, rate_count> rates = {Quota::api_calls, Quota::queries};
static_assert(index_of(windows[0]) == level_count && index_of(rates[0]) == part_count);

// What a rate's `told` says while its time is carried over to another boot, which no crossing does:
// the time as it will be, and the calendar's offset in that boot, without its lowest bit. Where
// that boot's process dies before the clock says so, the next one goes on from there: it writes to
// the word that doesn't have the time, and that bit says which one has. The walk at the end of an
// opening clears it.
constexpr std::uint64_t moving_bit = std::uint64_t{1} << 63;
constexpr std::uint64_t in_told_bit = 1;

void move_rate(Rate& rate, std::int64_t from, std::int64_t to, std::uint64_t latest) noexcept {
    const std::uint64_t moved_to = rate.told[1].load(std::memory_order_acquire);
    const bool is_moving = (moved_to & moving_bit) != 0;
    const bool in_told = is_moving && (moved_to & in_told_bit) != 0;
    const std::uint64_t arrival =
        (in_told ? rate.told[0] : rate.arrival).load(std::memory_order_relaxed) & ~moving_bit;
    if (is_moving) from = static_cast<std::int64_t>((moved_to & ~in_told_bit) << 1) >> 1;
    const auto moved = static_cast<std::int64_t>(arrival + static_cast<std::uint64_t>(from) -
                                                 static_cast<std::uint64_t>(to));
    const auto due = static_cast<std::uint64_t>(
        std::clamp<std::int64_t>(moved, 0, static_cast<std::int64_t>(latest)));
    if (in_told) {
        rate.arrival.store(due, std::memory_order_release);
    } else {
        rate.told[0].store(due | moving_bit, std::memory_order_release);
    }
    step();
    rate.told[1].store(
        (static_cast<std::uint64_t>(to) & ~in_told_bit) | moving_bit | (in_told ? 0 : in_told_bit),
        std::memory_order_release);
    step();
    if (!in_told) rate.arrival.store(due, std::memory_order_release);
    step();
}

std::uint64_t utc_of(std::uint64_t boot_ns, std::int64_t offset) noexcept {
    const auto utc = static_cast<std::int64_t>(boot_ns + static_cast<std::uint64_t>(offset));
    return static_cast<std::uint64_t>(std::max<std::int64_t>(utc, 0));
}

}  // namespace

Ledger::Ledger(std::filesystem::path path, int file, std::byte* memory, std::size_t mapped,
               std::size_t bytes) noexcept
    : path_(std::move(path)),
      file_(file),
      memory_(memory),
      mapped_(mapped),
      table_size_(header_in(memory).table_size),
      bytes_(bytes) {}

Ledger::~Ledger() {
    unmap(memory_, mapped_);
    close_file(file_);
}

Status Ledger::open(const std::filesystem::path& path, std::size_t capacity,
                    const EnvironmentSource& source, std::unique_ptr<Ledger>& out, int& error) {
    const FileLock lock(lock_path(path));
    if ((error = lock.error()) == ENOSYS) return Status::unsupported;
    if (error != 0) return Status::system_error;
    const Environment environment = source();
    int file = -1;
    if ((error = open_file(path, file)) != 0) return Status::system_error;
    std::byte* memory = nullptr;
    std::size_t mapped = 0;
    std::size_t bytes = 0;
    Status status = Status::system_error;
    try {
        status = prepare(file, table_size_for(capacity), environment, memory, mapped, bytes, error);
    } catch (const std::bad_alloc&) {
        error = ENOMEM;
    }
    // A clock behind the last look at it means a restart, whatever the name of the boot. But those
    // who have the file mapped live: it is their boot that goes on, and this one's clock isn't
    // theirs.
    bool is_new_boot = false;
    if (status == Status::ok) {
        const Clock& clock = header_in(memory).clock;
        is_new_boot =
            clock.boot_id != environment.boot_id || environment.boot_ns < clock.adjusted_at;
        if (is_new_boot && !try_become_exclusive(file)) status = Status::other_boot;
    }
    if (status == Status::ok && (error = become_shared(file)) != 0) status = Status::system_error;
    if (status != Status::ok) {
        if (memory != nullptr) unmap(memory, mapped);
        close_file(file);
        return status;
    }
    out.reset(new Ledger(path, file, memory, mapped, bytes));
    if (is_new_boot) out->begin_boot(environment);
    out->sweep_locked(environment, true);
    return Status::ok;
}

// After a restart the old boot's times are carried over by the calendar, and none further ahead
// than a period. All who held anything are gone. What power took with it is not known here, so
// levels and the log's head wait for whoever opens the tenant. Where it dies on the way, the next
// to open the file does all of it again, and comes to the same.
void Ledger::begin_boot(const Environment& environment) noexcept {
    Header& header = header_in(memory_);
    const std::int64_t offset = offset_of(environment);
    const std::uint64_t last_utc_ns = utc_of(header.clock.adjusted_at, header.clock.utc_offset);
    for (std::size_t hold = 0; hold < hold_count; ++hold) {
        if (holds_in(memory_)[hold].owner.load() != 0) give_back_in(memory_, bytes_.load(), hold);
    }
    for (Slot& slot : slots()) {
        if (!is_live(slot)) continue;
        for (const Quota quota : rates) {
            Rate& rate = slot.rates[index_of(quota) - part_count];
            move_rate(rate, header.clock.utc_offset, offset,
                      environment.boot_ns + period_ns(quota));
        }
        const Handle handle = handle_of(memory_, bytes_.load(), slot);
        for (const Quota quota : windows) {
            tidy_window(handle, quota, last_utc_ns, utc_of(environment.boot_ns, offset), 0);
        }
        slot.flags.store(0);
        slot.log_head.store(0);
    }
    set_clock(header, {environment.boot_id, offset, environment.boot_ns});
}

std::size_t Ledger::sweep_locked(const Environment& environment, bool walk) noexcept {
    follow_growth();
    std::size_t given_back = 0;
    std::uint64_t last_owner = own_process();
    bool last_alive = true;
    for (std::size_t i = 0; i < hold_count; ++i) {
        Hold& hold = holds_in(memory_)[i];
        std::uint64_t life = 0;
        const std::uint64_t owner = hold.owner.load(std::memory_order_acquire);
        Due due = due_at(hold, environment.boot_ns, life);
        if (due == Due::yes && !seize(hold, life, own_process())) due = Due::no;
        if (due == Due::if_owner_is_dead) {
            if (owner != last_owner) last_alive = is_alive(last_owner = owner);
            // Looked at again: it may have changed hands before its owner died, and not since.
            due = last_alive || hold.owner.load() != owner ? Due::no : Due::yes;
        }
        if (due == Due::no) continue;
        give_back_in(memory_, bytes_.load(), i);
        ++given_back;
    }
    Header& header = header_in(memory_);
    mend(header);
    const Clock last = header.clock;
    const std::uint64_t last_utc_ns = utc_of(last.adjusted_at, last.utc_offset);
    const std::uint64_t passed =
        environment.boot_ns - std::min(environment.boot_ns, last.adjusted_at);
    const auto most =
        static_cast<std::int64_t>(std::min(passed, catch_up_window_ns) / catch_up_divisor);
    const std::int64_t wanted = offset_of(environment) - last.utc_offset;
    const std::int64_t offset = last.utc_offset + std::clamp(wanted, -most, most);
    set_clock(header, {last.boot_id, offset, environment.boot_ns});
    const std::uint64_t today = day_of(at(environment.boot_ns).utc_ns);
    if (walk || header.walked_day.load(std::memory_order_relaxed) != today) {
        walk_slots(environment, last_utc_ns);
        header.walked_day.store(today, std::memory_order_relaxed);
    }
    return given_back;
}

void Ledger::walk_slots(const Environment& environment, std::uint64_t last_utc_ns) noexcept {
    std::uint64_t live = 0;
    for (Slot& slot : slots()) {
        if (!is_live(slot)) continue;
        ++live;
        for (const Quota quota : rates) {
            tidy_rate(slot.rates[index_of(quota) - part_count], quota, environment.boot_ns);
        }
        const Handle handle = handle_of(memory_, bytes_.load(), slot);
        for (const Quota quota : windows) {
            tidy_window(handle, quota, last_utc_ns, at(environment.boot_ns).utc_ns, 1);
        }
    }
    header_in(memory_).live.store(live, std::memory_order_relaxed);
}

Status Ledger::sweep(const EnvironmentSource& source, std::size_t& given_back, int& error) {
    const FileLock lock(lock_path(path_));
    if ((error = lock.error()) != 0) return Status::system_error;
    given_back = sweep_locked(source(), false);
    return Status::ok;
}

bool Ledger::sweep_before_refusal(const EnvironmentSource& source) noexcept {
    const std::uint64_t boot_ns = boot_time_ns();
    std::uint64_t last = swept_at_.load(std::memory_order_relaxed);
    if (last != 0 && boot_ns - last < refusal_sweep_ns) return false;
    if (!swept_at_.compare_exchange_strong(last, boot_ns, std::memory_order_relaxed)) return false;
    const FileLock lock(lock_path(path_), false);
    return lock.error() == 0 && sweep_locked(source(), false) > 0;
}

Handle Ledger::find(const Key& key) const noexcept {
    Handle found;
    probe(slots(), table_size_, key, [&](Slot& slot, std::size_t) {
        // Read before and after the key, so that a slot that changes hands meanwhile is not taken.
        const std::uint64_t generation = slot.generation.load(std::memory_order_acquire);
        if (is_live(slot) && slot.key[0].load(std::memory_order_acquire) == key[0] &&
            slot.key[1].load(std::memory_order_acquire) == key[1] &&
            slot.generation.load(std::memory_order_relaxed) == generation) {
            found = handle_of(memory_, bytes_.load(), slot);
            found.generation = generation;
        }
        return found.slot != nullptr;
    });
    return found;
}

Status Ledger::slot(const Key& key, Handle& out, int& error) {
    out = find(key);
    if (out.slot != nullptr) return Status::ok;
    const FileLock lock(lock_path(path_));
    if ((error = lock.error()) != 0) return Status::system_error;
    follow_growth();
    out = find(key);
    if (out.slot != nullptr) return Status::ok;
    Slot* slot = nullptr;
    if (const Status status = find_place(key, slot, error); status != Status::ok) return status;
    start_slot(*slot, key);
    header_in(memory_).live.fetch_add(1, std::memory_order_relaxed);
    out = handle_of(memory_, bytes_.load(), *slot);
    return Status::ok;
}

// Slots are counted again before the file grows: the count may have been damaged, or its process
// have died between a slot and it.
Status Ledger::find_place(const Key& key, Slot*& out, int& error) noexcept {
    if (size() < capacity()) out = find_free(slots(), table_size_, key);
    if (out != nullptr) return Status::ok;
    const std::span<const Slot> all = slots();
    const auto live = static_cast<std::size_t>(std::count_if(all.begin(), all.end(), is_live));
    header_in(memory_).live.store(live, std::memory_order_relaxed);
    if (live >= capacity()) {
        if (const Status status = grow(error); status != Status::ok) return status;
    }
    out = find_free(slots(), table_size_, key);
    return Status::ok;
}

Status Ledger::release(const Key& key, bool& released, int& error) {
    const FileLock lock(lock_path(path_));
    if ((error = lock.error()) != 0) return Status::system_error;
    follow_growth();
    const Handle handle = find(key);
    released = handle.slot != nullptr;
    if (!released) return Status::ok;
    handle.slot->generation.fetch_add(1, std::memory_order_acq_rel);
    handle.slot->state.store(State::released, std::memory_order_release);
    header_in(memory_).live.fetch_sub(1, std::memory_order_relaxed);
    return Status::ok;
}

Now Ledger::at(std::uint64_t boot_ns) const noexcept {
    return {boot_ns, utc_of(boot_ns, header_in(memory_).calendar.load(std::memory_order_relaxed))};
}

std::span<Slot> Ledger::slots() const noexcept {
    return slots_in(memory_, bytes_.load(std::memory_order_acquire));
}

// Under the file lock, so that nobody makes it longer meanwhile.
void Ledger::follow_growth() noexcept {
    std::size_t found = 0;
    if (size_of(file_, found) != 0) return;
    const std::size_t bytes = bytes_in_use(table_size_, std::min(found, mapped_));
    if (bytes > bytes_.load(std::memory_order_relaxed)) {
        bytes_.store(bytes, std::memory_order_release);
    }
}

// New slots are zeros, which are empty ones. Nothing has to be written for others to find them.
Status Ledger::grow(int& error) noexcept {
    const std::size_t bytes = file_bytes_of(2 * slots().size());
    if (bytes > reserved_bytes) return Status::full;
    if ((error = set_size(file_, bytes)) != 0) return Status::system_error;
    bytes_.store(bytes, std::memory_order_release);
    return Status::ok;
}

std::size_t Ledger::capacity() const noexcept { return capacity_of(slots().size()); }

std::size_t Ledger::size() const noexcept {
    return header_in(memory_).live.load(std::memory_order_relaxed);
}

}  // namespace llmspell::ledger
