#include "index/searcher.hpp"

#include <algorithm>

#include "index/flat.hpp"

namespace llmspell::index {
namespace {

// Tells the probe what searches by codes count in their context, however they end.
template <class Probe>
class CountedWalks {
  public:
    CountedWalks(SearchContext& context, Probe& probe) : context_(context), probe_(probe) {
        context_.visited_rows = context_.estimated = 0;
    }
    CountedWalks(const CountedWalks&) = delete;
    CountedWalks& operator=(const CountedWalks&) = delete;
    ~CountedWalks() {
        probe_.visited(context_.visited_rows);
        probe_.estimated(context_.estimated);
    }

  private:
    SearchContext& context_;
    Probe& probe_;
};

}  // namespace

// A walk that passes through everything must be 1 / selectivity times wider to see as many allowed
// nodes; a sweep over the list computes one distance for each.
bool Searcher::sweep_is_cheaper(std::size_t allowed, std::size_t ef) const {
    return allowed * allowed / std::max<std::size_t>(storage_.live(), 1) <= kDistancesPerStep * ef;
}

// A walk that has cost as much as a sweep and hasn't ended would not end soon.
std::size_t Searcher::max_steps(std::size_t ef, std::size_t eligible) const noexcept {
    return std::max(ef, eligible / kDistancesPerStep);
}

template <class Probe>
Candidate Searcher::approach(const Query& query, SearchContext& context, Probe& probe) const {
    context.prepare(graph_->slots(), params_.max_neighbors);
    const Graph::Top top = graph_->top();
    Candidate start{0.0f, top.slot};
    storage_.keys(query, &start.slot, 1, &start.key);
    return descend(storage_, *graph_, query, start, top.level, 0, context, probe);
}

template <class Probe>
const CandidatePool& Searcher::nearest(const void* vector, std::size_t k, std::size_t ef,
                                       const Allowed* allowed, SearchContext& context,
                                       Probe& probe) const {
    const Query query = storage_.quantiser().query(vector, context.query);
    const std::size_t live = storage_.live();
    const std::size_t eligible = allowed == nullptr ? live : allowed->count;
    const std::size_t wanted = std::min(k, eligible);
    ef = std::min(live, std::max(wanted, ef == 0 ? params_.ef_search : ef));
    const auto exactly = [&]() -> const CandidatePool& {
        if (allowed != nullptr) {
            sweep(storage_, query, *allowed, wanted, context.accepted, probe);
        } else {
            sweep(storage_, query, wanted, context.accepted, probe);
        }
        probe.used(Strategy::exact);
        return context.accepted;
    };
    if (wanted == 0) {
        context.accepted.reset(1);
        return context.accepted;
    }
    if (graph_ == nullptr || sweeps_for(wanted, eligible) ||
        (allowed != nullptr &&
         (eligible <= kSweptRows || (coded_ == nullptr && sweep_is_cheaper(eligible, ef))))) {
        return exactly();
    }
    if (coded_ != nullptr) {
        const float* unit =
            storage_.quantiser().unit(static_cast<const float*>(vector), context.unit);
        Strategy way = Strategy::quantized;
        const CountedWalks counted(context, probe);
        if (allowed != nullptr) {
            way = coded_->search_allowed(storage_, *graph_, unit, query, ef, wanted, *allowed,
                                         context, probe);
            if (way == Strategy::none) return exactly();
        } else if (coded_->rounded()) {
            coded_->search_rounded(storage_, *graph_, unit, query, ef, wanted, context, passed_by_,
                                   probe);
        } else {
            coded_->search(storage_, *graph_, unit, query, ef, wanted, context, passed_by_);
        }
        probe.reranked(context.todo.size());  // what it left to be ordered by the rows
        probe.used(way, way == Strategy::swept_codes ? 0 : ef);
        probe.check();
        return context.accepted.size() < wanted ? exactly() : context.accepted;
    }
    const Candidate start = approach(query, context, probe);
    if (passed_by_ != kNoSlot) context.visited.insert(passed_by_);
    probe.used(allowed == nullptr ? Strategy::graph : Strategy::filtered_graph, ef);
    if (allowed == nullptr && storage_.hidden() == 0) {
        beam_search(storage_, *graph_, query, start, 0, ef, 0, AcceptAll{}, context, probe);
        return context.beam.size() < wanted ? exactly() : context.beam;
    }
    const std::size_t max_steps = this->max_steps(ef, eligible);
    const bool settled =
        allowed != nullptr
            ? beam_search(storage_, *graph_, query, start, 0, ef, max_steps, *allowed, context,
                          probe)
            : beam_search(
                  storage_, *graph_, query, start, 0, ef, max_steps,
                  [this](Slot slot) { return storage_.is_live(slot); }, context, probe);
    return settled && context.accepted.size() >= wanted ? context.accepted : exactly();
}

template Candidate Searcher::approach(const Query&, SearchContext&, Unwatched&) const;
template Candidate Searcher::approach(const Query&, SearchContext&, Watched&) const;
template const CandidatePool& Searcher::nearest(const void*, std::size_t, std::size_t,
                                                const Allowed*, SearchContext&, Unwatched&) const;
template const CandidatePool& Searcher::nearest(const void*, std::size_t, std::size_t,
                                                const Allowed*, SearchContext&, Watched&) const;

}  // namespace llmspell::index
