// The search for one vector as one extension module calls it in another: what binds the index makes
// a searcher, what surrounds a tenant's search calls it, and neither links the other's code.
#pragma once

#include <cstddef>
#include <cstdint>

struct _object;  // of Python, which nothing here looks into

namespace llmspell {

// A float query, and how many, how wide or how well; ef and recall are 0 where they aren't given.
struct OneQuery {
    const float* vector;
    std::size_t dim;
    std::size_t k;
    std::size_t ef;
    double recall;
};

class OneSearcher {
  public:
    // Takes the arguments of a call apart, while the GIL is held; the vector is that of the array,
    // not a copy. False where they are of another kind or out of range: the general search tells.
    virtual bool take(_object* query, _object* k, _object* ef, _object* recall,
                      OneQuery& taken) const noexcept = 0;
    // Writes up to k ids and scores, best first, and returns how many; it needs no GIL, and waits
    // for changes. Negative where it goes wrong: the general search tells.
    virtual std::ptrdiff_t search(const OneQuery& query, std::int64_t* ids,
                                  float* scores) const noexcept = 0;

  protected:
    ~OneSearcher() = default;
};

// Of the capsule that holds a searcher.
inline constexpr const char* one_searcher_capsule = "llmspell.one_search";

}  // namespace llmspell
