#include "ledger/ledger.hpp"

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
    for (Level& level : slot.levels) {
        level.word.store(0, std::memory_order_relaxed);
        level.limit.store(unlimited, std::memory_order_relaxed);
    }
    slot.embeddings.word.store(0, std::memory_order_relaxed);
    slot.embeddings.limit.store(unlimited, std::memory_order_relaxed);
    slot.api_calls.arrival.store(0, std::memory_order_relaxed);
    slot.api_calls.limit.store(unlimited, std::memory_order_relaxed);
    slot.log_head.store(0, std::memory_order_relaxed);
    for (Hold& hold : slot.holds) {
        hold.owner.store(0, std::memory_order_relaxed);
        for (Word& part : hold.parts) part.store(0, std::memory_order_relaxed);
    }
    slot.key[0].store(key[0], std::memory_order_relaxed);
    slot.key[1].store(key[1], std::memory_order_relaxed);
    slot.state.store(State::live, std::memory_order_release);
}

// No charge leads further ahead than one burst; what does comes from a damaged file.
void limit_debt(Rate& rate, std::uint64_t boot_ns) noexcept {
    const std::int64_t limit = rate.limit.load(std::memory_order_relaxed);
    if (limit <= 0 || limit == unlimited) return;
    const std::uint64_t latest =
        boot_ns + static_cast<std::uint64_t>(limit) * detail::interval_ns(limit);
    std::uint64_t arrival = rate.arrival.load(std::memory_order_relaxed);
    if (arrival > latest) {
        rate.arrival.compare_exchange_strong(arrival, boot_ns + minute_ns,
                                             std::memory_order_acq_rel);
    }
}

}  // namespace

Ledger::Ledger(std::filesystem::path path, int file, std::byte* memory, std::size_t bytes) noexcept
    : path_(std::move(path)), file_(file), memory_(memory), bytes_(bytes) {}

Ledger::~Ledger() {
    unmap(memory_, bytes_);
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
    std::size_t bytes = 0;
    Status status = Status::system_error;
    try {
        status = prepare(file, table_size_for(capacity), environment, memory, bytes, error);
    } catch (const std::bad_alloc&) {
        error = ENOMEM;
    }
    if (status == Status::ok && (error = become_shared(file)) != 0) status = Status::system_error;
    if (status != Status::ok) {
        if (memory != nullptr) unmap(memory, bytes);
        close_file(file);
        return status;
    }
    out.reset(new Ledger(path, file, memory, bytes));
    const Header& header = header_in(memory);
    // A clock behind the last look at it means a restart, whatever the name of the boot.
    if (header.boot_id != environment.boot_id || environment.boot_ns < header.adjusted_at) {
        out->begin_boot(environment);
    }
    out->sweep_locked(environment);
    return Status::ok;
}

// After a restart the old boot's times are carried over by the calendar, and none further ahead
// than a minute or a day.
void Ledger::begin_boot(const Environment& environment) noexcept {
    Header& header = header_in(memory_);
    const std::int64_t offset = offset_of(environment);
    const std::int64_t shift = header.utc_offset - offset;
    const auto latest = static_cast<std::int64_t>(environment.boot_ns + minute_ns);
    const std::uint64_t today =
        static_cast<std::uint64_t>(std::max<std::int64_t>(environment.utc_ns, 0)) / day_ns;
    for (Slot& slot : slots_in(memory_, bytes_)) {
        if (!is_live(slot)) continue;
        Word& arrival = slot.api_calls.arrival;
        const auto moved =
            static_cast<std::int64_t>(arrival.load() + static_cast<std::uint64_t>(shift));
        arrival.store(static_cast<std::uint64_t>(std::clamp<std::int64_t>(moved, 0, latest)));
        const std::uint64_t word = slot.embeddings.word.load();
        if (detail::day_of(word) > today) {
            slot.embeddings.word.store(detail::pack(today, detail::used_of(word)));
        }
        for (std::size_t i = 0; i < hold_count; ++i) give_back(slot, i);
    }
    header.boot_id = environment.boot_id;
    set_offset(header, offset, environment.boot_ns);
}

std::size_t Ledger::sweep_locked(const Environment& environment) noexcept {
    std::size_t given_back = 0;
    std::uint64_t live = 0;
    std::uint64_t last_owner = 0;
    bool last_alive = true;
    for (Slot& slot : slots_in(memory_, bytes_)) {
        if (!is_live(slot)) continue;
        ++live;
        limit_debt(slot.api_calls, environment.boot_ns);
        for (std::size_t i = 0; i < hold_count; ++i) {
            const std::uint64_t owner = slot.holds[i].owner.load(std::memory_order_acquire);
            if (owner == 0) continue;
            if (owner != last_owner) last_alive = is_alive(last_owner = owner);
            if (last_alive) continue;
            give_back(slot, i);
            ++given_back;
        }
    }
    Header& header = header_in(memory_);
    header.live.store(live, std::memory_order_relaxed);
    const std::uint64_t passed =
        environment.boot_ns - std::min(environment.boot_ns, header.adjusted_at);
    const auto most =
        static_cast<std::int64_t>(std::min(passed, catch_up_window_ns) / catch_up_divisor);
    const std::int64_t wanted = offset_of(environment) - header.utc_offset;
    set_offset(header, header.utc_offset + std::clamp(wanted, -most, most), environment.boot_ns);
    return given_back;
}

Status Ledger::sweep(const EnvironmentSource& source, std::size_t& given_back, int& error) {
    const FileLock lock(lock_path(path_));
    if ((error = lock.error()) != 0) return Status::system_error;
    given_back = sweep_locked(source());
    return Status::ok;
}

Handle Ledger::find(const Key& key) const noexcept {
    Handle found;
    probe(slots_in(memory_, bytes_), key, [&](Slot& slot) {
        // Read before and after the key, so that a slot that changes hands meanwhile is not taken.
        const std::uint64_t generation = slot.generation.load(std::memory_order_acquire);
        if (is_live(slot) && slot.key[0].load(std::memory_order_acquire) == key[0] &&
            slot.key[1].load(std::memory_order_acquire) == key[1] &&
            slot.generation.load(std::memory_order_relaxed) == generation) {
            found = {&slot, generation};
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
    out = find(key);
    if (out.slot != nullptr) return Status::ok;
    Word& live = header_in(memory_).live;
    Slot* slot = size() < capacity() ? find_free(slots_in(memory_, bytes_), key) : nullptr;
    if (slot == nullptr) return Status::full;
    start_slot(*slot, key);
    live.fetch_add(1, std::memory_order_relaxed);
    out = {slot, slot->generation.load(std::memory_order_relaxed)};
    return Status::ok;
}

Status Ledger::release(const Key& key, bool& released, int& error) {
    const FileLock lock(lock_path(path_));
    if ((error = lock.error()) != 0) return Status::system_error;
    const Handle handle = find(key);
    released = handle.slot != nullptr;
    if (!released) return Status::ok;
    handle.slot->generation.fetch_add(1, std::memory_order_acq_rel);
    handle.slot->state.store(State::released, std::memory_order_release);
    header_in(memory_).live.fetch_sub(1, std::memory_order_relaxed);
    return Status::ok;
}

Now Ledger::at(std::uint64_t boot_ns) const noexcept {
    const std::int64_t offset = header_in(memory_).calendar.load(std::memory_order_relaxed);
    const std::int64_t utc = static_cast<std::int64_t>(boot_ns) + offset;
    return {boot_ns, static_cast<std::uint64_t>(std::max<std::int64_t>(utc, 0))};
}

std::size_t Ledger::capacity() const noexcept {
    return capacity_of(slots_in(memory_, bytes_).size());
}

std::size_t Ledger::size() const noexcept {
    return header_in(memory_).live.load(std::memory_order_relaxed);
}

}  // namespace llmspell::ledger
