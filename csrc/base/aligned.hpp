// A growable array of trivially copyable elements, aligned to cache lines, which may be a private
// view of a part of a file. Unlike std::vector it makes no more room than it is asked for.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "base/memory.hpp"

namespace llmspell {

template <class T>
class AlignedArray {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    static constexpr std::size_t kCacheLine = Memory::kCacheLine;

    AlignedArray() = default;
    explicit AlignedArray(Memory memory) noexcept
        : memory_(std::move(memory)), size_(memory_.size() / sizeof(T)) {}
    AlignedArray(AlignedArray&& other) noexcept { swap(other); }
    AlignedArray& operator=(AlignedArray&& other) noexcept {
        swap(other);
        return *this;
    }

    T* data() noexcept { return reinterpret_cast<T*>(memory_.data()); }
    const T* data() const noexcept { return reinterpret_cast<const T*>(memory_.data()); }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    std::size_t capacity() const noexcept { return memory_.size() / sizeof(T); }
    std::size_t bytes() const noexcept { return memory_.bytes(); }
    std::size_t mapped_bytes() const noexcept { return memory_.mapped_bytes(); }
    T& operator[](std::size_t i) noexcept { return data()[i]; }
    const T& operator[](std::size_t i) const noexcept { return data()[i]; }
    T* begin() noexcept { return data(); }
    T* end() noexcept { return data() + size_; }
    const T* begin() const noexcept { return data(); }
    const T* end() const noexcept { return data() + size_; }
    std::span<const std::byte> as_bytes(std::size_t count) const noexcept {
        return {memory_.data(), count * sizeof(T)};
    }

    // These throw std::bad_alloc and then change nothing.
    void reserve(std::size_t count) {
        if (count <= capacity()) return;
        if (count > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
        memory_.resize(count * sizeof(T));
    }
    // Keeps what is there, zeroes what is new.
    void resize(std::size_t count) {
        const std::size_t used = capacity();  // what lies behind that comes zeroed
        reserve(count);
        if (count > size_ && used > size_) {
            std::memset(static_cast<void*>(data() + size_), 0,
                        ((count < used ? count : used) - size_) * sizeof(T));
        }
        size_ = count;
    }
    void resize(std::size_t count, T value) {
        reserve(count);
        for (; size_ < count; ++size_) data()[size_] = value;
        size_ = count;
    }
    // Gives back what is not used.
    void shrink_to_fit() { memory_.resize(size_ * sizeof(T)); }
    // Into reserved room.
    void push_back(T value) noexcept { data()[size_++] = value; }

    void swap(AlignedArray& other) noexcept {
        memory_.swap(other.memory_);
        std::swap(size_, other.size_);
    }

  private:
    Memory memory_;
    std::size_t size_ = 0;
};

}  // namespace llmspell
