#include "index/types.hpp"

namespace llmspell::index {

void check_types(Metric metric, simd::ElementType, Quantization quantization) {
    if (quantization == Quantization::pq && metric == Metric::l1) {
        throw Error(ErrorCode::config,
                    "quantization 'pq' is for metric 'ip', 'cosine' or 'l2', not 'l1'");
    }
}

}  // namespace llmspell::index
