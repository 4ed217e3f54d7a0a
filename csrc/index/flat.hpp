// Exact search: the answer for small indexes and narrow filters, and the oracle of the tests.
#pragma once

#include <span>
#include <vector>

#include "index/filter.hpp"
#include "index/pool.hpp"
#include "index/storage.hpp"
#include "index/watch.hpp"

namespace llmspell::index {

// Leaves in `nearest` the k live rows of lowest key.
template <class Probe>
void sweep(const Storage& storage, const Query& query, std::size_t k, CandidatePool& nearest,
           Probe& probe);

// The same among `slots`, which are live: a span of them, or Allowed.
template <class Probe, class Slots>
void sweep(const Storage& storage, const Query& query, const Slots& slots, std::size_t k,
           CandidatePool& nearest, Probe& probe);

// Adds to `found` the live rows whose key is at most `bound`, in any order.
template <class Probe>
void sweep_within(const Storage& storage, const Query& query, float bound,
                  std::vector<Candidate>& found, Probe& probe);

template <class Probe>
void sweep_within(const Storage& storage, const Query& query, const Allowed& allowed, float bound,
                  std::vector<Candidate>& found, Probe& probe);

}  // namespace llmspell::index
