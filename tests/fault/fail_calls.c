/*
 * LD_PRELOAD library that makes one chosen call fail: the K-th one, or every one from the K-th on, of a group. Only calls
 * made by the program itself and by its JSON and database libraries count, so that K means the same in every run.
 *
 *   ANEMO_FAULT=GROUP:KIND:K:once|on   GROUP memory, KIND any: malloc calloc realloc aligned_alloc strdup mmap fopen
 *                                      GROUP io, KIND EIO ENOSPC EDQUOT EROFS EINTR short: open read pread write pwrite
 *                                      fsync fdatasync rename mkdir fallocate truncate and close; "short" halves reads and writes
 *   ANEMO_FAULT_IN=main|worker         which process: the command itself or the worker that it starts
 *   ANEMO_FAULT_REPORT=FILE            at exit "CALLS FAILED LIVE": counted calls, calls failed, blocks of the program not freed
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
void __libc_free(void *p);

enum { BLOCKS_MAX = 1 << 20, RANGES_MAX = 16 };

static struct {
    bool on, memory, io, is_short, from_then_on;
    int err;
    unsigned long at;
    char report[4096];
} cfg;

static struct {
    uintptr_t begin, end;
    bool program; /* not one of its libraries */
} ranges[RANGES_MAX];
static size_t n_range;

static atomic_ulong n_call, n_failed;

/* The program's blocks that are not freed yet: open addressing, NULL = empty, TOMB = removed. */
#define TOMB ((void *)1)
static void *blocks[BLOCKS_MAX];
static size_t n_block;
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;

static int add_ranges(struct dl_phdr_info *info, size_t size, void *first)
{
    bool *is_first = first, program = *is_first;
    (void)size;
    *is_first = false;
    bool library = strstr(info->dlpi_name, "libjansson") || strstr(info->dlpi_name, "libsqlite3");
    if (!program && !library && !strstr(info->dlpi_name, "libanemo")) return 0;
    for (int i = 0; i < info->dlpi_phnum && n_range < RANGES_MAX; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        ranges[n_range].begin = info->dlpi_addr + p->p_vaddr;
        ranges[n_range].end = ranges[n_range].begin + p->p_memsz;
        ranges[n_range++].program = !library;
    }
    return 0;
}

static int errno_of(const char *name)
{
    static const struct {
        const char *name;
        int err;
    } known[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS}, {"EINTR", EINTR}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) return known[i].err;
    return EIO;
}

__attribute__((constructor)) static void configure(int argc, char **argv)
{
    const char *fault = getenv("ANEMO_FAULT"), *in = getenv("ANEMO_FAULT_IN"), *report = getenv("ANEMO_FAULT_REPORT");
    char group[16] = "", kind[16] = "", mode[8] = "";
    bool first = true, worker = argc > 2 && !strcmp(argv[1], "worker") && strcmp(argv[2], "--check") != 0;
    if (!fault || sscanf(fault, "%15[^:]:%15[^:]:%lu:%7s", group, kind, &cfg.at, mode) != 4) return;
    if (in && !strcmp(in, "worker") != worker) return;
    if (report) snprintf(cfg.report, sizeof cfg.report, "%s", report);
    dl_iterate_phdr(add_ranges, &first);
    cfg.memory = !strcmp(group, "memory");
    cfg.io = !strcmp(group, "io");
    cfg.is_short = !strcmp(kind, "short");
    cfg.err = cfg.memory ? ENOMEM : errno_of(kind);
    cfg.from_then_on = !strcmp(mode, "on");
    cfg.on = true;
}

/* What is allocated and called from here on is no longer the program's doing: exit handlers, a coverage report. */
static void write_report(void)
{
    if (!cfg.on || !*cfg.report) return;
    cfg.on = false;
    FILE *f = fopen(cfg.report, "w");
    if (!f) return;
    fprintf(f, "%lu %lu %zu\n", atomic_load(&n_call), atomic_load(&n_failed), n_block);
    fclose(f);
}

static int (*program_main)(int, char **, char **);

static int watched_main(int argc, char **argv, char **env)
{
    int code = program_main(argc, argv, env);
    write_report();
    return code;
}

int __libc_start_main(int (*entry)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

/* The C library's start of the program, so that its main() is seen to return. */
int __libc_start_main(int (*entry)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    __typeof__(&__libc_start_main) next = (__typeof__(&__libc_start_main))dlsym(RTLD_NEXT, "__libc_start_main");
    program_main = entry;
    return next(watched_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/* 0 for foreign callers, 1 for the libraries, 2 for the program. */
static int caller_kind(const void *caller)
{
    for (size_t i = 0; i < n_range; i++)
        if ((uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end) return ranges[i].program ? 2 : 1;
    return 0;
}

static bool fails(bool group, const void *caller)
{
    if (!cfg.on || !group || !caller_kind(caller)) return false;
    unsigned long k = atomic_fetch_add(&n_call, 1) + 1;
    if (k != cfg.at && !(cfg.from_then_on && cfg.at > 0 && k > cfg.at)) return false;
    atomic_fetch_add(&n_failed, 1);
    return true;
}

static size_t slot_of(const void *p)
{
    return ((uintptr_t)p >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 44;
}

static void *remember(void *p, const void *caller)
{
    if (!cfg.on || !p || caller_kind(caller) != 2) return p;
    pthread_mutex_lock(&blocks_lock);
    size_t i = slot_of(p);
    while (blocks[i] && blocks[i] != TOMB) i = (i + 1) % BLOCKS_MAX;
    blocks[i] = p;
    n_block++;
    pthread_mutex_unlock(&blocks_lock);
    return p;
}

static void forget(const void *p)
{
    if (!p || !n_block) return;
    pthread_mutex_lock(&blocks_lock);
    for (size_t i = slot_of(p); blocks[i]; i = (i + 1) % BLOCKS_MAX)
        if (blocks[i] == p) {
            blocks[i] = TOMB;
            n_block--;
            break;
        }
    pthread_mutex_unlock(&blocks_lock);
}

#define CALLER __builtin_return_address(0)
/* The definition behind ours. */
#define NEXT(name) ((__typeof__(&name))next_of(#name))

static void *next_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f) abort();
    return f;
}

#define FAIL_MEMORY(value)                                                                                             \
    do {                                                                                                               \
        if (fails(cfg.memory, CALLER)) {                                                                               \
            errno = ENOMEM;                                                                                            \
            return value;                                                                                              \
        }                                                                                                              \
    } while (0)

#define FAIL_IO(value)                                                                                                 \
    do {                                                                                                               \
        if (!cfg.is_short && fails(cfg.io, CALLER)) {                                                                  \
            errno = cfg.err;                                                                                           \
            return value;                                                                                              \
        }                                                                                                              \
    } while (0)

/* A short transfer is a success of at least one byte. */
#define SHORTEN(n)                                                                                                     \
    do {                                                                                                               \
        if (cfg.is_short && (n) > 1 && fails(cfg.io, CALLER)) (n) /= 2;                                                \
    } while (0)

/* ---- memory */

void *malloc(size_t n)
{
    FAIL_MEMORY(NULL);
    return remember(__libc_malloc(n), CALLER);
}

void *calloc(size_t n, size_t size)
{
    FAIL_MEMORY(NULL);
    return remember(__libc_calloc(n, size), CALLER);
}

void *realloc(void *p, size_t n)
{
    FAIL_MEMORY(NULL);
    void *grown = __libc_realloc(p, n);
    if (grown || n == 0) forget(p);
    return remember(grown, CALLER);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    FAIL_MEMORY(NULL);
    return remember(__libc_memalign(alignment, n), CALLER);
}

void free(void *p)
{
    forget(p);
    __libc_free(p);
}

char *strdup(const char *text)
{
    FAIL_MEMORY(NULL);
    size_t n = strlen(text) + 1;
    char *copy = __libc_malloc(n);
    return copy ? remember(memcpy(copy, text, n), CALLER) : NULL;
}

void *mmap(void *addr, size_t n, int prot, int flags, int fd, off_t offset)
{
    FAIL_MEMORY(MAP_FAILED);
    return NEXT(mmap)(addr, n, prot, flags, fd, offset);
}

FILE *fopen(const char *path, const char *mode)
{
    FAIL_MEMORY(NULL);
    return NEXT(fopen)(path, mode);
}

/* ---- input and output */

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    FAIL_IO(-1);
    return NEXT(open)(path, flags, mode);
}

/* The names that SQLite was built with. */
int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    FAIL_IO(-1);
    return NEXT(open64)(path, flags, mode);
}

int mkostemp(char *template, int flags)
{
    FAIL_IO(-1);
    return NEXT(mkostemp)(template, flags);
}

ssize_t read(int fd, void *buf, size_t n)
{
    FAIL_IO(-1);
    SHORTEN(n);
    return NEXT(read)(fd, buf, n);
}

ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
    FAIL_IO(-1);
    SHORTEN(n);
    return NEXT(pread)(fd, buf, n, at);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    FAIL_IO(-1);
    SHORTEN(n);
    return NEXT(write)(fd, buf, n);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    FAIL_IO(-1);
    SHORTEN(n);
    return NEXT(pwrite)(fd, buf, n, at);
}

ssize_t pread64(int fd, void *buf, size_t n, off64_t at)
{
    FAIL_IO(-1);
    SHORTEN(n);
    return NEXT(pread64)(fd, buf, n, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
    FAIL_IO(-1);
    SHORTEN(n);
    return NEXT(pwrite64)(fd, buf, n, at);
}

int fdatasync(int fd)
{
    FAIL_IO(-1);
    return NEXT(fdatasync)(fd);
}

int fsync(int fd)
{
    FAIL_IO(-1);
    return NEXT(fsync)(fd);
}

int rename(const char *from, const char *to)
{
    FAIL_IO(-1);
    return NEXT(rename)(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    FAIL_IO(-1);
    return NEXT(renameat2)(from_dir, from, to_dir, to, flags);
}

int mkdir(const char *path, mode_t mode)
{
    FAIL_IO(-1);
    return NEXT(mkdir)(path, mode);
}

int ftruncate(int fd, off_t n)
{
    FAIL_IO(-1);
    return NEXT(ftruncate)(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    FAIL_IO(-1);
    return NEXT(ftruncate64)(fd, n);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
    if (!cfg.is_short && fails(cfg.io, CALLER)) return cfg.err;
    return NEXT(posix_fallocate)(fd, at, n);
}

/* The descriptor is gone either way, as on Linux. */
int close(int fd)
{
    bool failed = !cfg.is_short && fails(cfg.io, CALLER);
    int result = NEXT(close)(fd);
    if (!failed) return result;
    errno = cfg.err;
    return -1;
}
