// Taking deleted nodes out of the graph, in the manner of FreshDiskANN (Singh et al. 2021,
// arXiv:2105.09613): a node that linked to a deleted one is offered that one's neighbours instead.
#pragma once

#include <vector>

#include "index/build.hpp"

namespace llmspell::index {

// Takes nodes out of the graph in steps, between which others may link, delete and search. What
// is deleted after it began is left for the next time.
//
// First of all the tree is made anew of what stays, so that a walk comes to all of that, whatever
// links a step exchanges; the doomed have no parent from then on.
class Repair {
  public:
    // Nobody else may change the graph during this, or during a step; searches may go on. Something
    // must stay (find_entry).
    Repair(const Storage& storage, Graph& graph, const Params& params);

    // Gives other links to the next few nodes that link to the doomed. True once there are none:
    // then, before anybody links again, these may go.
    bool step(const Storage& storage, Graph& graph, const Params& params);
    const std::vector<Slot>& doomed() const noexcept { return doomed_; }

  private:
    bool is_doomed(const Storage& storage, Slot slot) const;
    bool touches_doomed(const Storage& storage, std::span<const Slot> links) const;
    void gather(const Storage& storage, const Graph& graph, Slot slot, int level);
    void bridge(const Storage& storage, Graph& graph, const Params& params, Slot slot, int level);
    void renew_extras(const Storage& storage, Graph& graph, const Params& params, Slot slot);
    bool mend(const Storage& storage, Graph& graph, const Params& params, Slot slot);

    std::vector<Slot> doomed_;  // sorted
    std::vector<Slot> left_;    // to look at, the next one last
    SearchContext context_;
};

// A linked node of the highest layer that isn't deleted; kNoSlot where there is none.
Slot find_entry(const Storage& storage, const Graph& graph);
// Makes it the entry.
void choose_entry(const Storage& storage, Graph& graph);

}  // namespace llmspell::index
