// A growable array of trivially copyable elements, aligned to cache lines and, where it is large,
// to huge pages: a random row of a large index otherwise costs a TLB miss besides the cache miss.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace llmspell {

template <class T>
class AlignedArray {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    static constexpr std::size_t kCacheLine = 64;
    static constexpr std::size_t kHugePage = std::size_t{2} << 20;

    AlignedArray() = default;
    AlignedArray(AlignedArray&& other) noexcept { swap(other); }
    AlignedArray& operator=(AlignedArray&& other) noexcept {
        swap(other);
        return *this;
    }
    AlignedArray(const AlignedArray&) = delete;
    AlignedArray& operator=(const AlignedArray&) = delete;
    ~AlignedArray() { release(data_); }

    T* data() noexcept { return data_; }
    const T* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::size_t bytes() const noexcept { return allocated_; }
    T& operator[](std::size_t i) noexcept { return data_[i]; }
    const T& operator[](std::size_t i) const noexcept { return data_[i]; }

    // Keeps what is there, zeroes what is new. Throws std::bad_alloc and then changes nothing.
    void resize(std::size_t count) {
        if (count == size_) return;
        std::size_t allocated = 0;
        T* fresh = count == 0 ? nullptr : allocate(count, allocated);
        const std::size_t kept = std::min(count, size_);
        if (kept > 0) std::memcpy(static_cast<void*>(fresh), data_, kept * sizeof(T));
        if (count > kept) {
            std::memset(static_cast<void*>(fresh + kept), 0, (count - kept) * sizeof(T));
        }
        release(data_);
        data_ = fresh;
        size_ = count;
        allocated_ = allocated;
    }

    void swap(AlignedArray& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(allocated_, other.allocated_);
    }

  private:
    static T* allocate(std::size_t count, std::size_t& allocated) {
        if (count > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
        const std::size_t wanted = count * sizeof(T);
        const std::size_t alignment = wanted >= kHugePage ? kHugePage : kCacheLine;
        allocated = (wanted + kCacheLine - 1) / kCacheLine * kCacheLine;
        void* memory = ::operator new(
            allocated, std::align_val_t{kCacheLine > alignment ? kCacheLine : alignment});
#ifdef __linux__
        if (alignment == kHugePage) ::madvise(memory, allocated, MADV_HUGEPAGE);  // best effort
#endif
        return static_cast<T*>(memory);
    }

    void release(T* memory) noexcept {
        if (memory == nullptr) return;
        const std::size_t alignment = size_ * sizeof(T) >= kHugePage ? kHugePage : kCacheLine;
        ::operator delete(memory, std::align_val_t{alignment});
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t allocated_ = 0;
};

}  // namespace llmspell
