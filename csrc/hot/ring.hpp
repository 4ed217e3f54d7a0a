// A list of which each member takes itself off, whatever its place.
#pragma once

#include <Python.h>
#ifdef Py_GIL_DISABLED
#include <mutex>
#endif

namespace llmspell::hot {

struct Link {
    void* owner = nullptr;
    Link* before = nullptr;  // null while it is on no ring
    Link* after = nullptr;
};

// To be locked by whoever looks at it or changes it: the GIL, where there is one, does that
// already.
class Ring {
  public:
    Ring() noexcept { ends_.before = ends_.after = &ends_; }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    void add(Link& link) noexcept {
        link.before = &ends_;
        link.after = ends_.after;
        ends_.after->before = &link;
        ends_.after = &link;
    }

    void remove(Link& link) noexcept {
        if (link.before == nullptr) return;
        link.before->after = link.after;
        link.after->before = link.before;
        link.before = link.after = nullptr;
    }

    // Null where it is empty.
    Link* first() noexcept { return ends_.after == &ends_ ? nullptr : ends_.after; }

#ifdef Py_GIL_DISABLED
    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }
#else
    void lock() noexcept {}
    void unlock() noexcept {}
#endif

  private:
    Link ends_;
#ifdef Py_GIL_DISABLED
    std::mutex mutex_;
#endif
};

}  // namespace llmspell::hot
