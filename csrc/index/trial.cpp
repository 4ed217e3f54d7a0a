// Whether codes are of use for the vectors at hand: tried on a sample of these.
#include <algorithm>

#include "index/coded.hpp"
#include "index/flat.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kNearest = 10;

std::vector<Slot> sample_of(std::span<const Slot> slots, std::size_t most) {
    std::vector<Slot> sample(std::min(most, slots.size()));
    for (std::size_t i = 0; i < sample.size(); ++i) {
        sample[i] = slots[i * slots.size() / sample.size()];
    }
    return sample;
}

// Whether, of the vectors nearest to some of a sample, enough are among those that
// find(vector, context), a range of slots, has them near. context.accepted has the nearest.
template <class Find>
bool finds_neighbours(const Storage& storage, std::span<const Slot> sample, SearchContext& context,
                      const Find& find) {
    constexpr std::size_t kLooked = 48;
    constexpr double kEnough = 0.7;
    std::vector<float> vector(storage.quantiser().dim());
    std::size_t hits = 0;
    for (std::size_t i = 0; i < kLooked; ++i) {
        const std::byte* row = storage.row(sample[i * sample.size() / kLooked]);
        const Query query = storage.quantiser().query_of_row(row, context.row_query);
        Unwatched probe;
        sweep(storage, query, sample, kNearest, context.accepted, probe);
        storage.quantiser().decode(row, vector.data());
        const std::span<const Slot> found = find(vector.data(), context);
        for (std::size_t n = 0; n < kNearest; ++n) {
            hits += std::find(found.begin(), found.end(), context.accepted[n].slot) != found.end();
        }
    }
    return static_cast<double>(hits) >= kEnough * static_cast<double>(kLooked * kNearest);
}

}  // namespace

// Where most vectors lie much more closely together than the whole is wide, codes that are learnt
// from the whole may be too coarse to tell.
bool CodedGraph::tells_neighbours(const Storage& storage, std::span<const Slot> slots) const {
    constexpr std::size_t kAmong = std::size_t{1} << 15;
    const std::vector<Slot> sample = sample_of(slots, kAmong);
    if (sample.size() <= 8 * kNearest) return true;
    const RowLayout layout = codes_.layout().one_block();
    const std::size_t blocks = (sample.size() + kBlock - 1) / kBlock;
    AlignedArray<std::byte> rows;
    rows.resize(blocks * layout.bytes());
    for (std::size_t b = 0; b < blocks; ++b) {
        const std::span<const Slot> rest = std::span(sample).subspan(b * kBlock);
        codes_.pack(rows.data() + b * layout.bytes(), layout,
                    rest.first(std::min(kBlock, rest.size())));
    }
    SearchContext scratch;
    return finds_neighbours(
        storage, sample, scratch, [&](const float* vector, SearchContext& context) {
            const WalkQuery query = codes_.query(vector, context.code);
            context.walk.reset(kept_of(kNearest), 0);
            codes_.kernels().scan({rows.data(), layout.bytes(), layout, nullptr}, blocks, query,
                                  context.walk);
            return std::span<const Slot>(context.walk.slots(), context.walk.size);
        });
}

// Rounded rows don't where a few components are so large that all others are rounded to nothing.
bool CodedGraph::rounding_tells_neighbours(const Storage& storage,
                                           std::span<const Slot> slots) const {
    constexpr std::size_t kAmong = std::size_t{1} << 14, kKept = 2 * kNearest, kAtOnce = 256;
    const std::vector<Slot> sample = sample_of(slots, kAmong);
    if (sample.size() <= 8 * kNearest) return true;
    SearchContext scratch;
    const FourBitRows rows(*refined_, codes_.kernels(), scratch.products);
    Slot near[kKept];
    return finds_neighbours(
        storage, sample, scratch, [&](const float* vector, SearchContext& context) {
            float keys[kAtOnce];
            refined_->query(codes_.kernels(), vector, context.sq4);
            context.beam.reset(kKept);
            for (std::size_t first = 0; first < sample.size(); first += kAtOnce) {
                const std::size_t n = std::min(kAtOnce, sample.size() - first);
                rows.keys(context.sq4, &sample[first], n, keys);
                for (std::size_t j = 0; j < n; ++j) context.beam.insert(keys[j], sample[first + j]);
            }
            for (std::size_t j = 0; j < kKept; ++j) near[j] = context.beam[j].slot;
            return std::span<const Slot>(near);
        });
}

}  // namespace llmspell::index
