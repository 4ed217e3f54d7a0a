// How one query is answered: by a sweep, a walk of the graph or a walk by codes. It reads an index
// that nobody changes meanwhile; Index sees to that.
#pragma once

#include <cstddef>

#include "index/coded.hpp"
#include "index/filter.hpp"
#include "index/graph.hpp"
#include "index/pool.hpp"
#include "index/search.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

class Searcher {
  public:
    // Without a graph everything is a sweep; without codes no walk goes by them.
    Searcher(const Storage& storage, const Graph* graph, const CodedGraph* coded,
             const Params& params)
        : storage_(storage), graph_(graph), coded_(coded), params_(params) {}

    // The min(k, eligible) nearest, in a pool of `context`; more may follow them. An ef of 0 is
    // the index's own.
    const CandidatePool& nearest(const void* vector, std::size_t k, std::size_t ef,
                                 const Allowed* allowed, SearchContext& context) const;

  private:
    bool sweep_is_cheaper(std::size_t allowed, std::size_t ef) const;
    Candidate approach(const Query& query, SearchContext& context) const;

    const Storage& storage_;
    const Graph* graph_;
    const CodedGraph* coded_;
    const Params& params_;
};

}  // namespace llmspell::index
