// Exact search: the answer for small indexes and narrow filters, and the oracle of the tests.
#pragma once

#include <span>

#include "index/pool.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

// Leaves in `nearest` the k live rows of lowest key.
void sweep(const Storage& storage, const Query& query, std::size_t k, CandidatePool& nearest);

// The same among `slots`, which are live.
void sweep(const Storage& storage, const Query& query, std::span<const Slot> slots, std::size_t k,
           CandidatePool& nearest);

}  // namespace llmspell::index
