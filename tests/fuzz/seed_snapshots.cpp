// Writes a snapshot of every kind into a folder, for the fuzzer to begin with.
#include <cstdio>
#include <string>

#include "hostile.hpp"

int main(int count, char** arguments) {
    using namespace llmspell;
    if (count != 2) {
        std::fprintf(stderr, "usage: seed_snapshots FOLDER\n");
        return 2;
    }
    const std::string folder = arguments[1];
    for (const std::uint64_t threshold : {0u, 10'000u}) {
        const std::string kind = threshold == 0 ? "-graph" : "-flat";
        using simd::ElementType;
        hostile::a_snapshot(folder + "/f32" + kind, ElementType::f32, threshold);
        hostile::a_snapshot(folder + "/i8" + kind, ElementType::i8, threshold);
        hostile::a_snapshot(folder + "/binary" + kind, ElementType::binary, threshold);
        hostile::a_snapshot(folder + "/pq" + kind, ElementType::f16, threshold,
                            index::Quantization::pq);
        hostile::a_snapshot(folder + "/sq4" + kind, ElementType::bf16, threshold,
                            index::Quantization::sq4);
    }
}
