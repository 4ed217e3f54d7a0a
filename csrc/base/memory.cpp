#include "base/memory.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "base/file.hpp"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace llmspell {
namespace {

std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

#ifdef __linux__
constexpr std::size_t kMinMapped = std::size_t{64} << 10;  // smaller parts of files are read

std::size_t page_bytes() {
    static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return bytes;
}

// Address space that nothing lies in, from a huge page's border on.
std::byte* reserve(std::size_t bytes) {
    const std::size_t more = bytes + Memory::kHugePage;
    void* found = ::mmap(nullptr, more, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) throw std::bad_alloc();
    auto* begin = static_cast<std::byte*>(found);
    const std::size_t head = round_up(reinterpret_cast<std::uintptr_t>(begin), Memory::kHugePage) -
                             reinterpret_cast<std::uintptr_t>(begin);
    if (head > 0) ::munmap(begin, head);
    ::munmap(begin + head + bytes, more - head - bytes);
    return begin + head;
}

bool fill(std::byte* at, std::size_t bytes) {
    return ::mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                  0) != MAP_FAILED;
}

bool move(std::byte* from, std::size_t bytes, std::byte* to, std::size_t to_bytes) {
    return ::mremap(from, bytes, to_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
}
#endif

std::byte* allocate(std::size_t bytes) {
    return static_cast<std::byte*>(::operator new(bytes, std::align_val_t{Memory::kCacheLine}));
}

}  // namespace

Memory::Memory(const File& file, std::size_t offset, std::size_t bytes, [[maybe_unused]] bool map) {
    if (bytes == 0) return;
#ifdef __linux__
    const std::size_t before = offset % page_bytes();
    if (map && bytes >= kMinMapped && before % kCacheLine == 0) {
        const std::size_t taken = round_up(before + bytes, page_bytes());
        std::byte* at = reserve(taken);
        if (::mmap(at, taken, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file.descriptor(),
                   static_cast<off_t>(offset - before)) == MAP_FAILED) {
            ::munmap(at, taken);
            throw std::bad_alloc();
        }
        data_ = at + before;
        size_ = bytes;
        taken_ = of_file_ = taken;
        before_ = before;
        in_pages_ = true;
        return;
    }
#endif
    resize(bytes);
    file.read(offset, data_, bytes);
}

void Memory::resize(std::size_t bytes) {
    if (bytes == size_) return;
    if (bytes > static_cast<std::size_t>(-1) / 2) throw std::bad_alloc();
    if (bytes == 0) {
        release();
        return;
    }
#ifdef __linux__
    if (in_pages_ && (of_file_ > 0 || bytes >= kHugePage)) {
        resize_pages(bytes);
        return;
    }
#endif
    Memory fresh;
    const std::size_t kept = std::min(bytes, size_);
#ifdef __linux__
    if (bytes >= kHugePage) {
        fresh.in_pages_ = true;
        fresh.resize_pages(bytes);
    }
#endif
    if (fresh.data_ == nullptr) {
        fresh.taken_ = round_up(bytes, kCacheLine);
        fresh.data_ = allocate(fresh.taken_);
        fresh.size_ = bytes;
        std::memset(fresh.data_ + kept, 0, fresh.taken_ - kept);
    }
    if (kept > 0) std::memcpy(fresh.data_, data_, kept);
    swap(fresh);
}

#ifdef __linux__
// Two mappings at most, one of the file and one of none behind it, each of which the system moves
// as a whole.
void Memory::resize_pages(std::size_t bytes) {
    const std::size_t taken = round_up(before_ + bytes, page_bytes());
    std::byte* begin = data_ - before_;
    if (taken < taken_) {
        ::munmap(begin + taken, taken_ - taken);
    } else if (taken > taken_) {
        const std::size_t own = taken_ - of_file_, fresh_own = taken - of_file_;
        std::byte* at = reserve(taken);
        const bool grown = own == 0 ? fill(at + of_file_, fresh_own)
                                    : move(begin + of_file_, own, at + of_file_, fresh_own);
        bool moved = grown;
        if (grown && of_file_ > 0 && !move(begin, of_file_, at, of_file_)) {
            moved = false;
            if (own > 0) move(at + of_file_, fresh_own, begin + of_file_, own);
        }
        if (!moved) {
            ::munmap(at, taken);
            throw std::bad_alloc();
        }
        ::madvise(at + of_file_, fresh_own, MADV_HUGEPAGE);  // best effort
        data_ = at + before_;
    }
    // What lies behind the end in its page: of the file, or of what was there before.
    const std::size_t end = before_ + std::min(bytes, size_), border = round_up(end, page_bytes());
    if (end < border && border <= taken) {
        std::memset(data_ - before_ + end, 0, border - end);
    }
    size_ = bytes;
    taken_ = taken;
    of_file_ = std::min(of_file_, taken);
}
#endif

void Memory::release() noexcept {
    if (data_ != nullptr) {
#ifdef __linux__
        if (in_pages_) ::munmap(data_ - before_, taken_);
#endif
        if (!in_pages_) ::operator delete(data_, std::align_val_t{kCacheLine});
    }
    data_ = nullptr;
    size_ = taken_ = of_file_ = before_ = 0;
    in_pages_ = false;
}

void Memory::swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(taken_, other.taken_);
    std::swap(of_file_, other.of_file_);
    std::swap(before_, other.before_);
    std::swap(in_pages_, other.in_pages_);
}

}  // namespace llmspell
