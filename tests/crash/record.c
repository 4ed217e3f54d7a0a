/* Preloaded into a program: writes down, in their order, all changes to files beneath one
 * directory, and makes calls on them fail.
 *
 * CRASH_ROOT names the directory, CRASH_TRACE the file that the changes are appended to (none where
 * it isn't set). tests/crash/trace.py reads that file. The program itself calls crash_mark,
 * crash_arm and crash_calls. What the model of a disk can't replay ends the program: better no
 * trace than one with a hole.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define FDS 4096
#define MAPS 64
#define PAGE 4096

enum { CREATE = 1, MKDIR, RENAME, REMOVE, LINK, WRITE, RESIZE, SYNC, MAPPED, MARK, LOST };
/* Which calls an armed fault counts. */
enum {
    F_OPEN = 1,
    F_READ = 2,
    F_WRITE = 4,
    F_SYNC = 8,
    F_SIZE = 16,
    F_NAME = 32,
    F_MAP = 64,
    F_WRITTEN = 128 /* to kill behind a write that syncs itself, as that which ends a commit */
};
/* How it fails: with nothing done; with half of a write done; or, for a sync, as Linux does where
 * the disk fails: reads show what was to be written, and no later sync writes it. */
enum { PLAIN, SHORTENED, DROPPED };

struct header {
    uint32_t op, flags;
    uint64_t ino, offset;
    uint32_t first, second; /* bytes that follow: a path, then another or data */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int trace = -1;
static struct {
    dev_t dev;
    ino_t ino;
} tracked[FDS];
static struct {
    char* start;
    size_t bytes;
    ino_t ino;
    int fd; /* of our own: the file may grow into its mapping, and the program may close its fd */
} maps[MAPS];
static struct {
    unsigned mask;
    int error, sticky, how;
    long left, calls;
} fault;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("CRASH_ROOT"), *to = getenv("CRASH_TRACE");
    if (given == NULL || strlen(given) >= sizeof root) return;
    strcpy(root, given);
    root_length = strlen(root);
    if (to == NULL) return;
    int fd =
        (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    trace = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, fd);
}

static void give_up(const char* what) {
    fprintf(stderr, "record.c: %s can't be replayed\n", what);
    abort();
}

static void put(uint32_t op, uint32_t flags, uint64_t ino, uint64_t offset, const char* first,
                const void* second, size_t bytes) {
    if (trace < 0) return;
    int saved = errno;
    struct header head = {
        op, flags, ino, offset, first ? (uint32_t)strlen(first) : 0, (uint32_t)bytes};
    struct iovec parts[3] = {
        {&head, sizeof head}, {(void*)first, head.first}, {(void*)second, bytes}};
    ssize_t all = (ssize_t)(sizeof head + head.first + bytes);
    if (syscall(SYS_writev, trace, parts, 3) != all) give_up("a trace that can't be written");
    errno = saved;
}

/* The path relative to the root, empty for that itself, or NULL where it lies elsewhere. */
static const char* beneath(int at, const char* path, char out[PATH_MAX]) {
    if (root_length == 0 || path == NULL) return NULL;
    size_t used = 0;
    if (path[0] != '/') {
        char link[64];
        snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
        ssize_t n = syscall(SYS_readlink, link, out, PATH_MAX - 2);
        if (n < 0) return NULL;
        used = (size_t)n;
        out[used++] = '/';
    }
    if (used + strlen(path) >= PATH_MAX) return NULL;
    strcpy(out + used, path);
    for (size_t n = strlen(out); n > root_length && out[n - 1] == '/'; --n) out[n - 1] = 0;
    if (strncmp(out, root, root_length) != 0) return NULL;
    if (out[root_length] == 0) return out + root_length;
    return out[root_length] == '/' ? out + root_length + 1 : NULL;
}

static int is_tracked(int fd, struct stat* about) {
    return root_length != 0 && fd >= 0 && fd < FDS && tracked[fd].ino != 0 &&
           fstat(fd, about) == 0 && about->st_ino == tracked[fd].ino &&
           about->st_dev == tracked[fd].dev;
}

/* Whether this call is the one to fail; sets errno then. Hold the lock. */
static int fails(unsigned kind) {
    if (!(fault.mask & kind)) return 0;
    ++fault.calls;
    if (fault.left > 0 && --fault.left == 0) {
        if (fault.error < 0) kill(getpid(), SIGKILL);
        if (fault.sticky) fault.left = 1;
        errno = fault.error;
        return 1;
    }
    return 0;
}

/* --- called by the program */

API void crash_mark(uint32_t kind, uint64_t number) {
    static const char zero[PAGE];
    pthread_mutex_lock(&lock);
    /* What is stored into mapped files is seen only here. */
    for (int i = 0; trace >= 0 && i < MAPS; ++i) {
        if (maps[i].start == NULL) continue;
        struct stat about;
        if (fstat(maps[i].fd, &about) != 0) give_up("a mapped file that can't be looked at");
        size_t bytes = maps[i].bytes;
        if ((size_t)about.st_size < bytes) bytes = (size_t)about.st_size;
        put(MAPPED, 1, maps[i].ino, bytes, NULL, NULL, 0);
        for (size_t at = 0; at + PAGE <= bytes; at += PAGE) {
            if (memcmp(maps[i].start + at, zero, PAGE) != 0) {
                put(MAPPED, 0, maps[i].ino, at, NULL, maps[i].start + at, PAGE);
            }
        }
    }
    put(MARK, kind, 0, number, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
}

API void crash_arm(unsigned mask, long nth, int error, int sticky, int how) {
    pthread_mutex_lock(&lock);
    fault.mask = mask;
    fault.left = nth;
    fault.error = error;
    fault.sticky = sticky;
    fault.how = how;
    fault.calls = 0;
    pthread_mutex_unlock(&lock);
}

API long crash_calls(void) { return fault.calls; }

/* --- opening */

static int opened(int at, const char* path, int flags, mode_t mode) {
    char room[PATH_MAX];
    const char* name = beneath(at, path, room);
    if (name == NULL) {
        int fd = (int)syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0 && fd < FDS) tracked[fd].ino = 0;
        return fd;
    }
    pthread_mutex_lock(&lock);
    struct stat before, after;
    int is_new = (flags & O_CREAT) && fstatat(at, path, &before, 0) != 0;
    int fd = fails(F_OPEN) ? -1 : (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= FDS) give_up("a file descriptor that large");
    if (fd >= 0 && fstat(fd, &after) == 0) {
        tracked[fd].dev = after.st_dev;
        tracked[fd].ino = after.st_ino;
        if (is_new) put(CREATE, 0, after.st_ino, 0, name, NULL, 0);
        if (flags & O_TRUNC) put(RESIZE, 0, after.st_ino, 0, NULL, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags)                        \
    mode_t mode = 0;                       \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more;                      \
        va_start(more, flags);             \
        mode = va_arg(more, mode_t);       \
        va_end(more);                      \
    }

API int open(const char* path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}
API int open64(const char* path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}
API int openat(int at, const char* path, int flags, ...) {
    MODE(flags)
    return opened(at, path, flags, mode);
}
API int openat64(int at, const char* path, int flags, ...) {
    MODE(flags)
    return opened(at, path, flags, mode);
}
API int creat(const char* path, mode_t mode) {
    return opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

API FILE* fopen(const char* path, const char* how) {
    char room[PATH_MAX];
    if (beneath(AT_FDCWD, path, room) == NULL) return REAL(fopen)(path, how);
    int flags =
        how[0] == 'r' ? O_RDONLY : O_WRONLY | O_CREAT | (how[0] == 'w' ? O_TRUNC : O_APPEND);
    if (strchr(how, '+')) flags = (flags & ~(O_RDONLY | O_WRONLY)) | O_RDWR;
    if (strchr(how, 'x')) flags |= O_EXCL;
    if (strchr(how, 'e')) flags |= O_CLOEXEC;
    int fd = opened(AT_FDCWD, path, flags, 0666);
    return fd < 0 ? NULL : fdopen(fd, how[0] == 'r' ? "rb" : how[0] == 'w' ? "wb" : "ab");
}
API FILE* fopen64(const char* path, const char* how) { return fopen(path, how); }

/* --- data */

static ssize_t written(int fd, const struct iovec* parts, int count, off_t at, int is_at) {
    struct stat about;
    if (!is_tracked(fd, &about)) {
        if (is_at) return syscall(SYS_pwritev, fd, parts, count, at, 0);
        return syscall(SYS_writev, fd, parts, count);
    }
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    int flags = fcntl(fd, F_GETFL);
    off_t from = is_at ? at : (flags & O_APPEND) ? about.st_size : lseek(fd, 0, SEEK_CUR);
    struct iovec half = {parts[0].iov_base, parts[0].iov_len / 2};
    int is_synced = (flags & (O_DSYNC | O_SYNC)) != 0;
    int is_lost = is_synced && fault.how == DROPPED && fails(F_SYNC);
    if (is_lost || !fails(F_WRITE)) {
        done = is_at ? syscall(SYS_pwritev, fd, parts, count, at, 0)
                     : syscall(SYS_writev, fd, parts, count);
    } else if (fault.how == SHORTENED && half.iov_len > 0) {
        parts = &half;
        count = 1;
        done =
            is_at ? syscall(SYS_pwritev, fd, &half, 1, at, 0) : syscall(SYS_writev, fd, &half, 1);
    }
    int saved = errno;
    ssize_t left = done;
    for (int i = 0; i < count && left > 0; ++i) {
        size_t bytes = parts[i].iov_len < (size_t)left ? parts[i].iov_len : (size_t)left;
        put(WRITE, is_synced && !is_lost, about.st_ino, (uint64_t)from, NULL, parts[i].iov_base,
            bytes);
        from += (off_t)bytes;
        left -= (ssize_t)bytes;
    }
    if (is_synced) fails(F_WRITTEN);
    if (is_lost) {
        put(LOST, 0, about.st_ino, 0, NULL, NULL, 0);
        done = -1;
        saved = fault.error;
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

API ssize_t write(int fd, const void* data, size_t bytes) {
    struct iovec part = {(void*)data, bytes};
    return written(fd, &part, 1, 0, 0);
}
API ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
    struct iovec part = {(void*)data, bytes};
    return written(fd, &part, 1, at, 1);
}
API ssize_t pwrite64(int fd, const void* data, size_t bytes, off_t at) {
    return pwrite(fd, data, bytes, at);
}
API ssize_t writev(int fd, const struct iovec* parts, int count) {
    return written(fd, parts, count, 0, 0);
}
API ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t at) {
    return written(fd, parts, count, at, 1);
}
API ssize_t pwritev64(int fd, const struct iovec* parts, int count, off_t at) {
    return written(fd, parts, count, at, 1);
}

/* The library's own fwrite would write past us. */
API size_t fwrite(const void* data, size_t size, size_t count, FILE* file) {
    struct stat about;
    if (!is_tracked(fileno(file), &about)) return REAL(fwrite)(data, size, count, file);
    size_t bytes = size * count, done = 0;
    while (done < bytes) {
        ssize_t n = write(fileno(file), (const char*)data + done, bytes - done);
        if (n < 0) break;
        done += (size_t)n;
    }
    return size ? done / size : 0;
}

#define READS(call)                  \
    struct stat about;               \
    if (is_tracked(fd, &about)) {    \
        pthread_mutex_lock(&lock);   \
        int failed = fails(F_READ);  \
        pthread_mutex_unlock(&lock); \
        if (failed) return -1;       \
    }                                \
    return call;

API ssize_t read(int fd, void* to,
                 size_t bytes){READS(syscall(SYS_read, fd, to, bytes))} API ssize_t
    pread(int fd, void* to, size_t bytes,
          off_t at){READS(syscall(SYS_pread64, fd, to, bytes, at))} API ssize_t
    pread64(int fd, void* to, size_t bytes, off_t at) {
    return pread(fd, to, bytes, at);
}

/* A caller must take these for missing, and write instead. */
API ssize_t sendfile(int out, int in, off_t* at, size_t bytes) {
    struct stat about;
    if (!is_tracked(out, &about)) return syscall(SYS_sendfile, out, in, at, bytes);
    errno = ENOTSOCK;
    return -1;
}
API ssize_t sendfile64(int out, int in, off_t* at, size_t bytes) {
    return sendfile(out, in, at, bytes);
}
API ssize_t copy_file_range(int in, off_t* from, int out, off_t* to, size_t bytes, unsigned flags) {
    struct stat about;
    if (!is_tracked(out, &about)) {
        return syscall(SYS_copy_file_range, in, from, out, to, bytes, flags);
    }
    errno = EXDEV;
    return -1;
}

/* --- size */

#define SIZED(call, failure)                                                  \
    struct stat about;                                                        \
    if (!is_tracked(fd, &about)) return call;                                 \
    pthread_mutex_lock(&lock);                                                \
    int result = fails(F_SIZE) ? (failure) : call;                            \
    if (result == 0 && fstat(fd, &about) == 0) {                              \
        put(RESIZE, 0, about.st_ino, (uint64_t)about.st_size, NULL, NULL, 0); \
    }                                                                         \
    pthread_mutex_unlock(&lock);                                              \
    return result;

API int ftruncate(int fd, off_t size){SIZED((int)syscall(SYS_ftruncate, fd, size), -1)} API
    int ftruncate64(int fd, off_t size) {
    return ftruncate(fd, size);
}
API int posix_fallocate(int fd, off_t at, off_t bytes){
    SIZED((syscall(SYS_fallocate, fd, 0, at, bytes) == 0 ? 0 : errno), errno)} API
    int posix_fallocate64(int fd, off_t at, off_t bytes) {
    return posix_fallocate(fd, at, bytes);
}
API int fallocate(int fd, int mode, off_t at, off_t bytes) {
    if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE) give_up("this mode of fallocate");
    SIZED((int)syscall(SYS_fallocate, fd, mode, at, bytes), -1)
}
API int fallocate64(int fd, int mode, off_t at, off_t bytes) {
    return fallocate(fd, mode, at, bytes);
}
API int truncate(const char* path, off_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = ftruncate(fd, size);
    close(fd);
    return result;
}
API int truncate64(const char* path, off_t size) { return truncate(path, size); }

/* --- durability; sync_file_range and msync promise nothing that the model could use */

#define SYNCED(call)                                                                       \
    struct stat about;                                                                     \
    if (!is_tracked(fd, &about)) return (int)call;                                         \
    pthread_mutex_lock(&lock);                                                             \
    int result = fails(F_SYNC) ? -1 : (int)call;                                           \
    if (result == 0) put(SYNC, 0, about.st_ino, 0, NULL, NULL, 0);                         \
    if (result != 0 && fault.how == DROPPED) put(LOST, 0, about.st_ino, 0, NULL, NULL, 0); \
    pthread_mutex_unlock(&lock);                                                           \
    return result;

API int fsync(int fd){SYNCED(syscall(SYS_fsync, fd))} API
    int fdatasync(int fd){SYNCED(syscall(SYS_fdatasync, fd))} API
    int syncfs(int fd){SYNCED(syscall(SYS_syncfs, fd))}
/* --- names */

#define NAMED(name, call, note)                  \
    if ((name) == NULL) return (int)call;        \
    pthread_mutex_lock(&lock);                   \
    int result = fails(F_NAME) ? -1 : (int)call; \
    if (result == 0) note;                       \
    pthread_mutex_unlock(&lock);                 \
    return result;

API int renameat2(int from_at, const char* from, int to_at, const char* to, unsigned flags) {
    char room[PATH_MAX], other[PATH_MAX];
    const char *old = beneath(from_at, from, room), *new = beneath(to_at, to, other);
    if ((old == NULL) != (new == NULL) || (flags & ~1u)) give_up("this rename");
    NAMED(old, syscall(SYS_renameat2, from_at, from, to_at, to, flags),
          put(RENAME, 0, 0, 0, old, new, strlen(new)))
}
API int renameat(int from_at, const char* from, int to_at, const char* to) {
    return renameat2(from_at, from, to_at, to, 0);
}
API int rename(const char* from, const char* to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}
API int linkat(int from_at, const char* from, int to_at, const char* to, int flags) {
    char room[PATH_MAX], other[PATH_MAX];
    const char *old = beneath(from_at, from, room), *new = beneath(to_at, to, other);
    if ((old == NULL) != (new == NULL)) give_up("this link");
    NAMED(old, syscall(SYS_linkat, from_at, from, to_at, to, flags),
          put(LINK, 0, 0, 0, old, new, strlen(new)))
}
API int link(const char* from, const char* to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
API int symlinkat(const char* target, int at, const char* path) {
    char room[PATH_MAX];
    if (beneath(at, path, room) != NULL) give_up("a symbolic link");
    return (int)syscall(SYS_symlinkat, target, at, path);
}
API int symlink(const char* target, const char* path) { return symlinkat(target, AT_FDCWD, path); }
API int unlinkat(int at, const char* path, int flags) {
    char room[PATH_MAX];
    const char* name = beneath(at, path, room);
    NAMED(name, syscall(SYS_unlinkat, at, path, flags), put(REMOVE, 0, 0, 0, name, NULL, 0))
}
API int unlink(const char* path) { return unlinkat(AT_FDCWD, path, 0); }
API int rmdir(const char* path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
API int remove(const char* path) {
    int result = unlink(path);
    return result != 0 && errno == EISDIR ? rmdir(path) : result;
}
API int mkdirat(int at, const char* path, mode_t mode) {
    char room[PATH_MAX];
    const char* name = beneath(at, path, room);
    struct stat about;
    NAMED(name, syscall(SYS_mkdirat, at, path, mode),
          put(MKDIR, 0, fstatat(at, path, &about, 0) == 0 ? about.st_ino : 0, 0, name, NULL, 0))
}
API int mkdir(const char* path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* --- mapped files */

API void* mmap(void* near, size_t bytes, int protection, int flags, int fd, off_t at) {
    struct stat about;
    int is_ours = is_tracked(fd, &about);
    if (is_ours) {
        pthread_mutex_lock(&lock);
        int failed = fails(F_MAP);
        pthread_mutex_unlock(&lock);
        if (failed) return MAP_FAILED;
    }
    char* start = (char*)syscall(SYS_mmap, near, bytes, protection, flags, fd, at);
    if (is_ours && start != MAP_FAILED && (protection & PROT_WRITE) && (flags & MAP_SHARED)) {
        pthread_mutex_lock(&lock);
        int i = 0;
        while (i < MAPS && maps[i].start != NULL) ++i;
        if (i == MAPS) give_up("so many mapped files");
        maps[i].start = start;
        maps[i].bytes = bytes;
        maps[i].ino = about.st_ino;
        maps[i].fd = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
        pthread_mutex_unlock(&lock);
    }
    return start;
}
API void* mmap64(void* near, size_t bytes, int protection, int flags, int fd, off_t at) {
    return mmap(near, bytes, protection, flags, fd, at);
}
API int munmap(void* start, size_t bytes) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAPS; ++i) {
        if (maps[i].start != start) continue;
        maps[i].start = NULL;
        syscall(SYS_close, maps[i].fd);
    }
    pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_munmap, start, bytes);
}
