#include "index/select.hpp"

#include <algorithm>
#include <cstring>

namespace llmspell::index {
namespace {

// Rows have at least 16 bytes, and the first eight tell nearly all of them apart.
bool same_row(const Storage& storage, Slot a, Slot b) {
    const std::byte* x = storage.row(a);
    const std::byte* y = storage.row(b);
    return std::memcmp(x, y, 8) == 0 && std::memcmp(x, y, storage.quantiser().row_bytes()) == 0;
}

}  // namespace

void select_neighbours(const Storage& storage, std::vector<Candidate>& candidates,
                       std::size_t limit, std::vector<Slot>& selected, SearchContext& context) {
    selected.clear();
    constexpr std::size_t kAtOnce = 4;
    float keys[kAtOnce];
    for (const Candidate& candidate : candidates) {
        if (selected.size() >= limit) break;
        const Query query =
            storage.quantiser().query_of_row(storage.row(candidate.slot), context.pair_query);
        bool kept = true;
        for (std::size_t i = 0; i < selected.size() && kept; i += kAtOnce) {
            const std::size_t count = std::min(kAtOnce, selected.size() - i);
            storage.keys(query, selected.data() + i, count, keys);
            for (std::size_t j = 0; j < count; ++j) {
                kept = kept && !(keys[j] < candidate.key) &&
                       !same_row(storage, candidate.slot, selected[i + j]);
            }
        }
        if (kept) selected.push_back(candidate.slot);
    }
}

std::vector<Slot> choose_extras(const std::vector<Candidate>& candidates,
                                std::span<const Slot> links, const Params& params) {
    std::vector<Slot> extras;
    if (params.quantization != Quantization::pq) return extras;
    for (const Candidate& candidate : candidates) {
        if (links.size() + extras.size() >= params.max_neighbors) break;
        if (std::find(links.begin(), links.end(), candidate.slot) == links.end()) {
            extras.push_back(candidate.slot);
        }
    }
    return extras;
}

}  // namespace llmspell::index
