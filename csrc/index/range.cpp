// Everything within a range, rather than a number of nearest.
#include <algorithm>

#include "index/expansion.hpp"
#include "index/flat.hpp"
#include "index/searcher.hpp"

namespace llmspell::index {

// The walk follows whatever lies within the range, and the `ef` nearest nodes beyond it: as wide a
// beam as a search for as many as there are would have.
template <class Probe>
bool Searcher::walk_within(const Query& query, float bound, std::size_t ef, std::size_t max_steps,
                           const Allowed* allowed, SearchContext& context,
                           std::vector<Candidate>& found, Probe& probe) const {
    Frontier& frontier = context.frontier;
    CandidatePool& beyond = context.beam;
    const auto seen = [&](Candidate candidate) {
        if (candidate.key <= bound) {
            const bool wanted =
                allowed == nullptr ? storage_.is_live(candidate.slot) : (*allowed)(candidate.slot);
            if (wanted) found.push_back(candidate);
            return true;
        }
        if (!(candidate.key < beyond.bound())) return false;
        beyond.insert(candidate.key, candidate.slot);
        return true;
    };
    const Candidate start = approach(query, context, probe);
    frontier.clear();
    beyond.reset(ef);
    context.visited.insert(start.slot);
    if (seen(start)) frontier.push(start);
    while (!frontier.empty() && frontier.front().key <= std::max(bound, beyond.bound())) {
        if (max_steps-- == 0) return false;
        probe.poll();
        expand(storage_, *graph_, query, context.visited, frontier, context, seen, probe);
    }
    return true;
}

template <class Probe>
void Searcher::within(const void* vector, float bound, std::size_t ef, const Allowed* allowed,
                      SearchContext& context, std::vector<Candidate>& found, Probe& probe) const {
    const Query query = storage_.quantiser().query(vector, context.query);
    const std::size_t live = storage_.live();
    const std::size_t eligible = allowed == nullptr ? live : allowed->count;
    ef = std::min(live, ef == 0 ? params_.ef_search : ef);
    found.clear();
    if (eligible == 0) return;
    bool settled = false;
    if (graph_ != nullptr && (allowed == nullptr || !sweep_is_cheaper(eligible, ef))) {
        probe.used(allowed == nullptr ? Strategy::graph : Strategy::filtered_graph);
        settled =
            walk_within(query, bound, ef, max_steps(ef, eligible), allowed, context, found, probe);
    }
    if (!settled) {
        probe.used(Strategy::exact);
        found.clear();
        if (allowed != nullptr) {
            sweep_within(storage_, query, *allowed, bound, found, probe);
        } else {
            sweep_within(storage_, query, bound, found, probe);
        }
    }
    std::sort(found.begin(), found.end(), nearer);
}

template void Searcher::within(const void*, float, std::size_t, const Allowed*, SearchContext&,
                               std::vector<Candidate>&, Unwatched&) const;
template void Searcher::within(const void*, float, std::size_t, const Allowed*, SearchContext&,
                               std::vector<Candidate>&, Watched&) const;

}  // namespace llmspell::index
