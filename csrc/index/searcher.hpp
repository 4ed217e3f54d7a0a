// How one query is answered: by a sweep, a walk of the graph or a walk by codes. It reads an index
// that nobody changes meanwhile; Index sees to that.
#pragma once

#include <cstddef>
#include <vector>

#include "index/coded.hpp"
#include "index/filter.hpp"
#include "index/graph.hpp"
#include "index/pool.hpp"
#include "index/search.hpp"
#include "index/storage.hpp"
#include "index/watch.hpp"

namespace llmspell::index {

// So few rows are compared before anything else would have begun.
inline constexpr std::size_t kSweptRows = 128;

class Searcher {
  public:
    // Without a graph everything is a sweep; without codes no walk goes by them. `nearest` without
    // a filter doesn't follow the links of `passed_by`, which is a node of layer 0 alone.
    Searcher(const Storage& storage, const Graph* graph, const CodedGraph* coded,
             const Params& params, Slot passed_by = kNoSlot)
        : storage_(storage), graph_(graph), coded_(coded), params_(params), passed_by_(passed_by) {}

    // The min(k, eligible) nearest, in a pool of `context`; more may follow them. An ef of 0 is
    // the index's own. A walk by codes is watched before and after alone.
    template <class Probe>
    const CandidatePool& nearest(const void* vector, std::size_t k, std::size_t ef,
                                 const Allowed* allowed, SearchContext& context,
                                 Probe& probe) const;

    // Leaves in `found` all whose key is at most `bound`, nearest first: exactly where a sweep is
    // cheaper than a walk, else what a walk finds that is `ef` nodes wider than the range.
    template <class Probe>
    void within(const void* vector, float bound, std::size_t ef, const Allowed* allowed,
                SearchContext& context, std::vector<Candidate>& found, Probe& probe) const;

    const Storage& storage() const noexcept { return storage_; }
    const Graph* graph() const noexcept { return graph_; }
    const Params& params() const noexcept { return params_; }
    bool sweep_is_cheaper(std::size_t allowed, std::size_t ef) const;
    // Where the walk of layer 0 begins.
    template <class Probe>
    Candidate approach(const Query& query, SearchContext& context, Probe& probe) const;

  private:
    std::size_t max_steps(std::size_t ef, std::size_t eligible) const noexcept;
    template <class Probe>
    bool walk_within(const Query& query, float bound, std::size_t ef, std::size_t max_steps,
                     const Allowed* allowed, SearchContext& context, std::vector<Candidate>& found,
                     Probe& probe) const;

    const Storage& storage_;
    const Graph* graph_;
    const CodedGraph* coded_;
    const Params& params_;
    Slot passed_by_;
};

}  // namespace llmspell::index
