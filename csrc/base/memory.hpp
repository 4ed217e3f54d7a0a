// Zeroed bytes that grow, or a private view of a part of a file that does.
//
// Large ones come in pages from the system: they grow without being copied, new ones come zeroed,
// and huge pages are asked for, since a random row of a large index otherwise costs a TLB miss
// besides the cache miss. Of a file, writing copies only the pages that are written to; what grows
// behind them belongs to no file. Where the system can't map, a view of a file is a copy of it.
#pragma once

#include <cstddef>

namespace llmspell {

class File;

class Memory {
  public:
    static constexpr std::size_t kCacheLine = 64;
    static constexpr std::size_t kHugePage = std::size_t{2} << 20;

    Memory() = default;
    // Throws Error(storage) or std::bad_alloc. The part must lie within the file.
    // Unless `map`, it is a copy.
    Memory(const File& file, std::size_t offset, std::size_t bytes, bool map);
    Memory(Memory&& other) noexcept { swap(other); }
    Memory& operator=(Memory&& other) noexcept {
        swap(other);
        return *this;
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { release(); }

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    // What is taken, of a file or not.
    std::size_t bytes() const noexcept { return taken_ - of_file_; }
    std::size_t mapped_bytes() const noexcept { return of_file_ - before_; }

    // Keeps what is there, zeroes what is new. Throws std::bad_alloc and then changes nothing.
    void resize(std::size_t bytes);

    void swap(Memory& other) noexcept;

  private:
    void release() noexcept;
    void resize_pages(std::size_t bytes);

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t taken_ = 0;    // with what rounding up adds, and what lies before
    std::size_t of_file_ = 0;  // of these, the first ones
    std::size_t before_ = 0;   // of the file in its first page, where larger pages begin earlier
    bool in_pages_ = false;
};

}  // namespace llmspell
