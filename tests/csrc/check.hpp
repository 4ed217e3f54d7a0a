// The whole test framework: CHECK prints the failing expression and counts it; a test ends with
// `return check_result();`.
#pragma once

#include <cstdio>

inline int& check_failures() {
    static int failures = 0;
    return failures;
}

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            std::fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
            ++check_failures();                                                                \
        }                                                                                      \
    } while (0)

inline int check_result() {
    std::printf("%d failed\n", check_failures());
    return check_failures() == 0 ? 0 : 1;
}
