/* Preloaded with record.c: a wall clock that is off by some seconds, and can be stepped. Clocks that
 * count from boot stay as they are. CRASH_CLOCK gives the seconds to begin with; the program itself
 * calls crash_clock.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

static _Atomic int64_t shift;

__attribute__((constructor)) static void begin(void) {
    const char* given = getenv("CRASH_CLOCK");
    if (given != NULL) shift = strtoll(given, NULL, 10);
}

API void crash_clock(int64_t seconds) { shift = seconds; }

API int clock_gettime(clockid_t clock, struct timespec* out) {
    int result = (int)syscall(SYS_clock_gettime, clock, out);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        out->tv_sec += shift;
    }
    return result;
}

API int gettimeofday(struct timeval* restrict out, void* restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

API time_t time(time_t* out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) *out = now.tv_sec;
    return now.tv_sec;
}

API int timespec_get(struct timespec* out, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}
