/*
 * LD_PRELOAD library that records what a program does to the files under one folder, data included, so that the states in
 * which a power cut may leave the disk can be made from it (power_loss.py).
 *
 *   ANEMO_RECORD_DIR=DIR    absolute path without links; only what lies under it is recorded
 *   ANEMO_RECORD_LOG=FILE   records are appended: "OP ARG…\n", a write followed by its bytes
 *
 *   open N PATH   N is a number of its own for each open file or folder, PATH is relative to DIR, "." is DIR itself
 *   write N OFFSET BYTES, size N BYTES (truncated or reserved up to), sync N
 *   rename FROM<tab>TO, exchange A<tab>B, mkdir PATH, remove PATH, symlink TARGET<tab>PATH
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FDS_MAX = 1024, EXCHANGE = 2 /* RENAME_EXCHANGE */ };

static char dir[PATH_MAX];
static int log_fd = -1;
static long number_of[FDS_MAX]; /* 0 = not one of ours */
static long n_open;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(name) ((__typeof__(&name))next_of(#name))

static void *next_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f) abort();
    return f;
}

__attribute__((constructor)) static void configure(void)
{
    const char *folder = getenv("ANEMO_RECORD_DIR"), *log = getenv("ANEMO_RECORD_LOG");
    if (!folder || !log) return;
    snprintf(dir, sizeof dir, "%s", folder);
    log_fd = NEXT(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static void put(const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t done = NEXT(write)(log_fd, p, n);
        if (done < 0) abort();
        p += done;
        n -= (size_t)done;
    }
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
    char line[3 * PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    put(line, (size_t)n);
}

/* The path under the folder, without its beginning; false when it lies elsewhere. */
static bool below(int at, const char *path, char out[PATH_MAX])
{
    char base[PATH_MAX] = "", whole[2 * PATH_MAX], link[64], *slash;
    if (log_fd < 0) return false;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        if (at == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return false;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            if (readlink(link, base, sizeof base - 1) < 0) return false;
        }
        snprintf(whole, sizeof whole, "%s/%s", base, path);
    }
    /* The folder that holds it is real by now; its last name may be absent or a link. */
    slash = strrchr(whole, '/');
    char name[NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", slash + 1);
    if (slash == whole) return false;
    *slash = '\0';
    if (!realpath(whole, base)) return false;
    size_t n = strlen(dir), n_base = strlen(base);
    if (!strncmp(dir, base, n_base) && dir[n_base] == '/' && !strcmp(dir + n_base + 1, name)) {
        snprintf(out, PATH_MAX, ".");
        return true;
    }
    if (strncmp(base, dir, n) != 0 || (base[n] && base[n] != '/')) return false;
    snprintf(out, PATH_MAX, "%.2000s%s%.255s", base[n] ? base + n + 1 : "", base[n] ? "/" : "", name);
    return true;
}

static int opened(int fd, int at, const char *path)
{
    char name[PATH_MAX];
    int kept = errno;
    struct stat st;
    if (fd >= 0 && fd < FDS_MAX && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
        below(at, path, name)) {
        pthread_mutex_lock(&lock);
        number_of[fd] = ++n_open;
        say("open %ld %s\n", n_open, name);
        pthread_mutex_unlock(&lock);
    }
    errno = kept;
    return fd;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd < FDS_MAX && number_of[fd] > 0;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    return opened(NEXT(open)(path, flags, mode), AT_FDCWD, path);
}

/* The names that SQLite was built with. */
int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    return opened(NEXT(open64)(path, flags, mode), AT_FDCWD, path);
}

int openat(int at, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    return opened(NEXT(openat)(at, path, flags, mode), at, path);
}

int mkostemp(char *template, int flags)
{
    return opened(NEXT(mkostemp)(template, flags), AT_FDCWD, template);
}

int close(int fd)
{
    if (is_ours(fd)) number_of[fd] = 0;
    return NEXT(close)(fd);
}

static ssize_t wrote(int fd, const void *data, ssize_t n, off_t at)
{
    if (n <= 0 || !is_ours(fd)) return n;
    pthread_mutex_lock(&lock);
    say("write %ld %" PRId64 " %zd\n", number_of[fd], (int64_t)at, n);
    put(data, (size_t)n);
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t write(int fd, const void *data, size_t n)
{
    off_t at = is_ours(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    return wrote(fd, data, NEXT(write)(fd, data, n), at);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    return wrote(fd, data, NEXT(pwrite)(fd, data, n, at), at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    return wrote(fd, data, NEXT(pwrite64)(fd, data, n, at), at);
}

static int sized(int fd, int result, int64_t bytes)
{
    if (result != 0 || !is_ours(fd)) return result;
    pthread_mutex_lock(&lock);
    say("size %ld %" PRId64 "\n", number_of[fd], bytes);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t bytes)
{
    return sized(fd, NEXT(ftruncate)(fd, bytes), bytes);
}

int ftruncate64(int fd, off64_t bytes)
{
    return sized(fd, NEXT(ftruncate64)(fd, bytes), bytes);
}

int fallocate(int fd, int mode, off_t at, off_t bytes)
{
    int result = NEXT(fallocate)(fd, mode, at, bytes);
    return mode == 0 ? sized(fd, result, at + bytes) : result;
}

static int synced(int fd, int result)
{
    if (result != 0 || !is_ours(fd)) return result;
    pthread_mutex_lock(&lock);
    say("sync %ld\n", number_of[fd]);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd)
{
    return synced(fd, NEXT(fsync)(fd));
}

int fdatasync(int fd)
{
    return synced(fd, NEXT(fdatasync)(fd));
}

/* One record for a change of names, made while no other thread records. */
static int named(int result, const char *op, const char *text, int at, const char *path)
{
    char name[PATH_MAX];
    if (result == 0 && below(at, path, name)) {
        pthread_mutex_lock(&lock);
        if (text) say("%s %s\t%s\n", op, text, name);
        else say("%s %s\n", op, name);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

static int renamed(int result, const char *op, int from_at, const char *from, int at, const char *to)
{
    char old[PATH_MAX];
    int kept = errno;
    if (result == 0 && below(from_at, from, old)) named(0, op, old, at, to);
    errno = kept;
    return result;
}

int rename(const char *from, const char *to)
{
    return renamed(NEXT(rename)(from, to), "rename", AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_at, const char *from, int at, const char *to)
{
    return renamed(NEXT(renameat)(from_at, from, at, to), "rename", from_at, from, at, to);
}

int renameat2(int from_at, const char *from, int at, const char *to, unsigned flags)
{
    return renamed(NEXT(renameat2)(from_at, from, at, to, flags), flags & EXCHANGE ? "exchange" : "rename", from_at, from,
                   at, to);
}

int mkdir(const char *path, mode_t mode)
{
    return named(NEXT(mkdir)(path, mode), "mkdir", NULL, AT_FDCWD, path);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    return named(NEXT(mkdirat)(at, path, mode), "mkdir", NULL, at, path);
}

int unlink(const char *path)
{
    return named(NEXT(unlink)(path), "remove", NULL, AT_FDCWD, path);
}

int unlinkat(int at, const char *path, int flags)
{
    return named(NEXT(unlinkat)(at, path, flags), "remove", NULL, at, path);
}

int remove(const char *path)
{
    return named(NEXT(remove)(path), "remove", NULL, AT_FDCWD, path);
}

int rmdir(const char *path)
{
    return named(NEXT(rmdir)(path), "remove", NULL, AT_FDCWD, path);
}

int symlink(const char *target, const char *path)
{
    return named(NEXT(symlink)(target, path), "symlink", target, AT_FDCWD, path);
}

int symlinkat(const char *target, int at, const char *path)
{
    return named(NEXT(symlinkat)(target, at, path), "symlink", target, at, path);
}
