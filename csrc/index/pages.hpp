// The vectors nearest to a query, page after page, by one walk that goes on where it stopped.
//
// The index may change between pages. No label comes twice and none that is deleted; what is there
// all the time comes, and what was added before the last page. Where slots have come to mean other
// vectors, the walk begins anew and passes by what has come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/filter.hpp"
#include "index/pool.hpp"
#include "index/searcher.hpp"

namespace llmspell::index {

struct Page {
    std::vector<Label> labels;
    std::vector<float> scores;
};

// Not thread-safe.
class PageWalk {
  public:
    // Query and filter are copied. An ef of 0 is the index's own.
    PageWalk(const void* vector, std::size_t bytes, std::size_t ef, const Filter* filter);

    // The next `size`, best first among themselves; fewer where no more are left. Where it throws,
    // what it would have given is for the next call.
    template <class Probe>
    Page next(const Searcher& searcher, std::size_t size, SearchContext& context, Probe& probe);

  private:
    bool admits(const Storage& storage, Slot slot) const;
    std::size_t count_eligible(const Storage& storage) const;
    void remember_returned();
    void put(Candidate candidate);
    void offer(const Storage& storage, Candidate candidate);
    template <class Probe>
    void catch_up(const Searcher& searcher, const Query& query, std::size_t size,
                  SearchContext& context, Probe& probe);
    template <class Probe>
    void gather(const Searcher& searcher, const Query& query, std::size_t size,
                SearchContext& context, Probe& probe);
    template <class Probe>
    bool sweep_rest(const Storage& storage, const Query& query, Probe& probe);
    Page take(const Storage& storage, std::size_t size);

    std::vector<std::byte> vector_;
    std::size_t ef_;
    enum class Kind : std::uint8_t { all, ids, bits } kind_ = Kind::all;
    std::vector<Label> ids_;  // sorted
    std::vector<std::uint8_t> bits_;

    bool begun_ = false;
    std::uint64_t version_ = 0, layout_ = 0;  // of the storage when the walk last looked
    VisitedSet visited_;
    Frontier frontier_;
    std::size_t width_ = 0;
    std::vector<Candidate>
        near_;      // a heap of the `width_` nearest for coming pages, farthest first
    Frontier far_;  // the others
    std::vector<Candidate> staged_;  // may be published before the next page
    std::vector<Label> returned_;
    std::size_t sorted_ = 0;  // of returned_: those that a change may bring up again
};

}  // namespace llmspell::index
