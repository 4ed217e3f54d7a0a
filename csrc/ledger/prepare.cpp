#include "ledger/prepare.hpp"

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "ledger/file.hpp"
#include "ledger/format.hpp"

namespace llmspell::ledger {

namespace {

using SlotImage = std::array<std::byte, sizeof(Slot)>;

// What survives when a file is made anew: nothing, or all live slots and the header.
struct Contents {
    std::array<std::byte, sizeof(Header)> header{};
    std::vector<SlotImage> slots;
};

// Nobody else has the file open, so all holds are of the dead. They name slots by their place,
// which changes.
Contents read_contents(std::byte* memory, std::size_t bytes) {
    for (std::size_t hold = 0; hold < hold_count; ++hold) {
        if (holds_in(memory)[hold].owner.load() != 0) give_back_in(memory, bytes, hold);
    }
    Contents contents;
    std::memcpy(contents.header.data(), memory, sizeof(Header));
    for (const Slot& slot : slots_in(memory, bytes)) {
        if (!is_live(slot)) continue;
        std::memcpy(contents.slots.emplace_back().data(), static_cast<const void*>(&slot),
                    sizeof(Slot));
    }
    return contents;
}

// For the only one who has the file open. The checksum comes last, so that a death on the way
// leaves a file that the next one to open it makes anew.
void write_contents(std::byte* memory, std::size_t bytes, const Contents& contents) noexcept {
    const std::span<Slot> slots = slots_in(memory, bytes);
    std::memset(memory, 0, bytes);
    for (const SlotImage& image : contents.slots) {
        Key key;
        std::memcpy(key.data(), image.data() + offsetof(Slot, key), sizeof key);
        Slot* const free = find_free(slots, slots.size(), key);
        std::memcpy(static_cast<void*>(free), image.data(), image.size());
    }
    std::memcpy(memory, contents.header.data(), offsetof(Header, checksum));
    Header& header = header_in(memory);
    header.magic = file_magic;
    header.version = file_version;
    header.slot_size = sizeof(Slot);
    header.hold_size = sizeof(Hold);
    header.hold_count = hold_count;
    header.table_size = slots.size();
    set_clock(header, header.clock);
}

}  // namespace

Status prepare(int file, std::size_t table_size, const Environment& environment, std::byte*& memory,
               std::size_t& mapped, std::size_t& bytes, int& error) {
    const bool alone = try_become_exclusive(file);
    Contents contents;
    Header fresh{};
    fresh.clock = {environment.boot_id, offset_of(environment), environment.boot_ns};
    std::memcpy(contents.header.data(), static_cast<const void*>(&fresh), sizeof fresh);

    if ((error = size_of(file, bytes)) != 0) return Status::system_error;
    if (bytes >= slots_at) {
        mapped = mapped_bytes_of(bytes);
        if ((error = map(file, mapped, memory)) != 0) return Status::system_error;
        mend(header_in(memory));
        const bool good = fits(header_in(memory), bytes);
        if (good) {
            bytes = bytes_in_use(header_in(memory).table_size, bytes);
            if (!alone || bytes >= file_bytes_of(table_size)) return Status::ok;
            contents = read_contents(memory, bytes);
        }
        unmap(std::exchange(memory, nullptr), mapped);
    }
    if (!alone) return Status::in_use;
    bytes = file_bytes_of(table_size);
    if ((error = set_size(file, bytes)) != 0) return Status::system_error;
    mapped = mapped_bytes_of(bytes);
    if ((error = map(file, mapped, memory)) != 0) return Status::system_error;
    write_contents(memory, bytes, contents);
    return Status::ok;
}

}  // namespace llmspell::ledger
