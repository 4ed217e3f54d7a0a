/* Prints the filters of system calls as BPF, by libseccomp: what llmspell ships needs no library.

       cc generate.c -lseccomp -o generate && ./generate x86_64 safe > safe.x86_64.inc

   What isn't allowed is refused with EPERM, not killed: libraries probe. A call by the numbers of
   another architecture, x32 among them, ends the process. The test of the sandbox generates them
   again and compares, where libseccomp can be had. */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static scmp_filter_ctx filter;

static void check(int result, const char* what) {
    if (result == 0) return;
    fprintf(stderr, "%s: %s\n", what, strerror(-result));
    exit(1);
}

/* Not every architecture has every call: openat is on all, open isn't. */
static void rule(unsigned action, const char* name, unsigned count,
                 const struct scmp_arg_cmp* arguments) {
    const int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR) check(-EINVAL, name);
    const int result = seccomp_rule_add_exact_array(filter, action, call, count, arguments);
    if (result != -EDOM) check(result, name);
}

static void allow(const char* const* names) {
    for (; *names; ++names) rule(SCMP_ACT_ALLOW, *names, 0, NULL);
}

static void refuse(int error, const char* const* names) {
    for (; *names; ++names) rule(SCMP_ACT_ERRNO(error), *names, 0, NULL);
}

static void allow_if(const char* name, struct scmp_arg_cmp argument) {
    rule(SCMP_ACT_ALLOW, name, 1, &argument);
}

static void allow_values(const char* name, unsigned argument, const scmp_datum_t* values,
                         size_t count) {
    for (size_t i = 0; i < count; ++i) allow_if(name, SCMP_CMP(argument, SCMP_CMP_EQ, values[i]));
}

#define ALLOW(...) allow((const char* const[]){__VA_ARGS__, NULL})
#define REFUSE(error, ...) refuse(error, (const char* const[]){__VA_ARGS__, NULL})
#define VALUES(name, argument, ...)                                   \
    allow_values(name, argument, (const scmp_datum_t[]){__VA_ARGS__}, \
                 sizeof((const scmp_datum_t[]){__VA_ARGS__}) / sizeof(scmp_datum_t))

/* Its own memory, threads, time and open descriptors: what a SAFE tool has. */
static void allow_computing(void) {
    ALLOW("brk", "mmap", "mprotect", "munmap", "mremap", "madvise", "membarrier");
    ALLOW("futex", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "sched_yield",
          "sched_getaffinity", "getcpu", "restart_syscall", "exit", "exit_group");
    ALLOW("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend",
          "rt_sigtimedwait", "sigaltstack", "pause");
    ALLOW("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
          "times", "getrusage", "alarm", "getitimer", "setitimer");
    ALLOW("getpid", "gettid", "getppid", "getpgrp", "getuid", "geteuid", "getgid", "getegid",
          "getresuid", "getresgid", "getgroups", "uname", "getrandom");
    ALLOW("read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2",
          "pwritev2", "close", "lseek", "fstat", "dup", "dup2", "dup3", "pipe", "pipe2", "eventfd2",
          "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
          "epoll_pwait", "epoll_pwait2", "recvfrom", "recvmsg", "shutdown");
    /* Others would tell who is at the other end, and give a descriptor of it. */
    VALUES("getsockopt", 2, SO_TYPE, SO_ERROR, SO_SNDBUF, SO_RCVBUF, SO_ACCEPTCONN, SO_PROTOCOL,
           SO_DOMAIN);
    /* F_SETOWN and F_SETSIG would have the kernel send signals in its name. */
    VALUES("fcntl", 1, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL,
           1032 /* F_GETPIPE_SZ */);
    VALUES("ioctl", 1, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS);
    VALUES("prctl", 0, PR_SET_NAME, PR_GET_NAME);
    rule(SCMP_ACT_ALLOW, "prlimit64", 2,
         (const struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)});
    VALUES("getrlimit", 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    /* A connected pair of its own, as asyncio has; a datagram socket could be turned to others. */
    rule(SCMP_ACT_ALLOW, "socketpair", 2,
         (const struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
                                       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM)});
    allow_if("sendto", SCMP_A4(SCMP_CMP_EQ, 0));
    /* Threads; the flags of clone3 lie in memory that can't be looked at, and glibc does without.
     */
    allow_if("clone", SCMP_A0(SCMP_CMP_MASKED_EQ,
                              CLONE_THREAD | CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID |
                                  CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
                              CLONE_THREAD));
    REFUSE(ENOSYS, "clone3");
    REFUSE(ENOSYS, "io_uring_setup", "io_uring_enter", "io_uring_register");
}

/* A file of these bits runs with its owner's rights, whoever runs it. */
static void allow_unless_set_id(const char* name, unsigned mode) {
    allow_if(name, (struct scmp_arg_cmp){mode, SCMP_CMP_MASKED_EQ, 06000, 0});
}

/* Files, as far as Landlock lets it. It knows no modes, owners and times of files: what changes
   these would change any file of the user, and is left out. */
static void allow_reading(void) {
    allow_unless_set_id("openat", 3);
    allow_unless_set_id("open", 2);
    REFUSE(ENOSYS, "openat2"); /* its mode lies in memory */
    ALLOW("newfstatat", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink",
          "readlinkat", "getdents64", "getcwd", "fadvise64", "fstatfs", "chdir", "fchdir", "umask",
          "flock");
    VALUES("fcntl", 1, F_GETLK, F_SETLK, F_SETLKW, 36 /* F_OFD_GETLK */, 37, 38);
}

static void allow_changing(void) {
    ALLOW("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "truncate", "ftruncate",
          "fsync", "fdatasync", "sendfile", "copy_file_range");
    /* Other modes keep the size, which is what a limit holds. */
    allow_if("fallocate", SCMP_A1(SCMP_CMP_EQ, 0));
    allow_unless_set_id("mkdir", 1);
    allow_unless_set_id("mkdirat", 2);
}

static void refuse_files(void) {
    REFUSE(EACCES, "openat", "open", "openat2", "creat", "newfstatat", "stat", "lstat", "statx",
           "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "chdir");
}

/* Processes of its own; Landlock keeps its signals among them. */
static void allow_processes(void) {
    allow_if("clone", SCMP_A0(SCMP_CMP_MASKED_EQ,
                              CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                  CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
                              0));
    ALLOW("fork", "vfork", "wait4", "waitid", "kill", "tgkill", "setpgid", "getpgid", "setsid",
          "getsid", "close_range");
}

/* What a program's start takes, of the loader of shared libraries and of the C library. */
static void allow_programs(void) {
    ALLOW("execve", "execveat", "sysinfo");
    VALUES("arch_prctl", 0, 0x1002 /* ARCH_SET_FS */, 0x1003 /* ARCH_GET_FS */);
}

/* Plain TCP of version 4, to where a network of its own leads: a proxy and nothing else. */
static void allow_connecting(void) {
    static const scmp_datum_t protocols[] = {0, IPPROTO_TCP}; /* multipath TCP is another */
    for (size_t i = 0; i < 2; ++i) {
        rule(SCMP_ACT_ALLOW, "socket", 3,
             (const struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_EQ, AF_INET),
                                           SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM),
                                           SCMP_A2(SCMP_CMP_EQ, protocols[i])});
    }
    allow_if("getsockopt", SCMP_A1(SCMP_CMP_EQ, IPPROTO_TCP));
    ALLOW("connect", "getsockname", "getpeername", "setsockopt", "sendmsg");
}

int main(int count, char** words) {
    if (count != 3) {
        fprintf(stderr,
                "usage: generate x86_64|aarch64 safe|restricted|processes|programs|networked\n");
        return 2;
    }
    filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    const uint32_t arch = seccomp_arch_resolve_name(words[1]);
    if (arch != seccomp_arch_native()) {
        check(seccomp_arch_remove(filter, seccomp_arch_native()), "native");
        check(seccomp_arch_add(filter, arch), words[1]);
    }
    check(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "bad arch");
    check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree");
    allow_computing();
    if (strcmp(words[2], "safe") == 0) {
        refuse_files();
    } else {
        allow_reading();
        allow_changing();
    }
    const int is_networked = strcmp(words[2], "networked") == 0;
    const int has_programs = is_networked || strcmp(words[2], "programs") == 0;
    if (has_programs || strcmp(words[2], "processes") == 0) allow_processes();
    if (has_programs) allow_programs();
    if (is_networked) allow_connecting();
    FILE* raw = tmpfile();
    check(seccomp_export_bpf(filter, fileno(raw)), "export");
    rewind(raw);
    printf("// %s, %s: made by generate.c.\n", words[2], words[1]);
    struct sock_filter step;
    lseek(fileno(raw), 0, SEEK_SET);
    while (read(fileno(raw), &step, sizeof step) == (ssize_t)sizeof step) {
        printf("{0x%02x, %u, %u, 0x%08x},\n", step.code, step.jt, step.jf, step.k);
    }
    return 0;
}
