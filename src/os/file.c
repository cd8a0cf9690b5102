/* Files on POSIX. */
#include "os/file.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "os/map_watch.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

anemo_status an_fail_errno(anemo_error *err, int err_no, const char *what, const char *path)
{
    anemo_status status = ANEMO_ERR_IO;
    if (err_no == ENOENT || err_no == ENOTDIR) status = ANEMO_ERR_NOTFOUND;
    if (err_no == ENOMEM) status = ANEMO_ERR_NOMEM;
    if (err_no == ENOSPC || err_no == EDQUOT || err_no == EFBIG) status = ANEMO_ERR_NOSPACE;
    if (err_no == EISDIR) status = ANEMO_ERR_INVAL;
    return an_fail(err, status, "%s: cannot %s: %s", path, what, strerror(err_no));
}

anemo_status an_file_map_open(an_file_map *map, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *map = (an_file_map){0};
    if (fd < 0) return an_fail_errno(err, errno, "open", path);
    if (fstat(fd, &st) != 0) {
        status = an_fail_errno(err, errno, "stat", path);
        goto cleanup;
    }
    if (!S_ISREG(st.st_mode)) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: not a regular file", path);
        goto cleanup;
    }
    map->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    if (st.st_size == 0) goto cleanup;

    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t body, total;
    if (!an_align_up_u64((uint64_t)st.st_size, page, &body) || !an_add_u64(body, page, &total) ||
        total > SIZE_MAX) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: too large to map", path);
        goto cleanup;
    }
    void *base = mmap(NULL, (size_t)total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        status = an_fail(err, ANEMO_ERR_NOMEM,
                         "%s: cannot map %" PRIu64 " bytes: %s; raise the address-space limit", path,
                         total, strerror(errno));
        goto cleanup;
    }
    void *data = mmap(base, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    if (data == MAP_FAILED) {
        status = an_fail_errno(err, errno, "map", path);
        munmap(base, (size_t)total);
        goto cleanup;
    }
    map->data = data;
    map->size = (uint64_t)st.st_size;
    map->reserved = base;
    map->reserved_bytes = (size_t)total;
    an_map_watch_add(base, (size_t)total, path);
cleanup:
    close(fd);
    return status;
}

void an_file_unmap(an_file_map *map)
{
    if (map->reserved) {
        an_map_watch_remove(map->reserved); /* first: the address may be another file's at once */
        munmap(map->reserved, map->reserved_bytes);
    }
    *map = (an_file_map){0};
}

int64_t an_file_map_resident(const an_file_map *map)
{
    if (!map->reserved) return 0;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n = ((size_t)map->size + page - 1) / page;
    unsigned char *vec = an_malloc(n);
    int64_t resident = -1;
    if (vec && mincore(map->reserved, (size_t)map->size, vec) == 0) {
        resident = 0;
        for (size_t i = 0; i < n; i++)
            if (vec[i] & 1) resident += (int64_t)page;
    }
    an_free(vec);
    return resident;
}

/* Anything but a directory. Gives *fd. */
static anemo_status open_to_read(const char *path, int *fd, anemo_error *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return an_fail_errno(err, errno, "open", path);
    if (fstat(*fd, &st) != 0 || !S_ISDIR(st.st_mode)) return ANEMO_OK;
    close(*fd);
    return an_fail(err, ANEMO_ERR_INVAL, "%s: is a directory", path);
}

anemo_status an_file_drop_cache(const char *path, int64_t *left, anemo_error *err)
{
    an_file_map map;
    int fd;
    anemo_status status = open_to_read(path, &fd, err);
    if (status != ANEMO_OK) return status;
    /* Dirty pages cannot be dropped. File systems that have nothing to write refuse the first call with EINVAL or EROFS. */
    if (fdatasync(fd) != 0 && errno != EINVAL && errno != EROFS) {
        status = an_fail_errno(err, errno, "write back", path);
        goto cleanup;
    }
    int e = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (e != 0) {
        status = an_fail_errno(err, e, "drop from the page cache", path);
        goto cleanup;
    }
    AN_TRY(an_file_map_open(&map, path, err));
    *left = an_file_map_resident(&map);
    an_file_unmap(&map);
cleanup:
    close(fd);
    return status;
}

void an_file_release(const void *data, uint64_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)data + (uintptr_t)n) & ~(page - 1);
    /* Advice alone: a failure changes nothing but the memory in use. posix_madvise ignores this one. */
    if (data && end > begin) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void an_file_sparse(const void *data, uint64_t n, bool sparse)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)data & ~(page - 1), end = ((uintptr_t)data + (uintptr_t)n + page - 1) & ~(page - 1);
    /* Advice alone, as above. */
    if (data && end > begin) madvise((void *)begin, end - begin, sparse ? MADV_RANDOM : MADV_NORMAL);
}

anemo_status an_file_read(const char *path, uint64_t limit, char **out, size_t *n, anemo_error *err)
{
    an_str s = {0};
    char chunk[65536];
    int fd;
    anemo_status status = open_to_read(path, &fd, err);
    if (status != ANEMO_OK) return status;
    an_str_append_bytes(&s, "", 0);
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            status = an_fail_errno(err, errno, "read", path);
            goto cleanup;
        }
        if (got == 0) break;
        if ((uint64_t)got > limit - s.len) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: longer than the limit of %" PRIu64 " bytes",
                             path, limit);
            goto cleanup;
        }
        an_str_append_bytes(&s, chunk, (size_t)got);
    }
    AN_TRY(an_str_check(&s, err));
    *n = s.len;
    *out = an_str_take(&s);
cleanup:
    an_str_free(&s);
    close(fd);
    return status;
}

#define TMP_MARK ".anemo-tmp-" /* a name that nobody gives to a file of his own */
#define TMP_RANDOM "XXXXXX"

/*
 * A temporary file is locked as long as its writer lives, so what can be locked was left by one that was killed. Best effort:
 * it only frees space.
 */
static void remove_stale(const char *path)
{
    const char *base = an_path_base(path);
    size_t len = strlen(base);
    char **names = NULL, *dir = an_path_dir(path);
    size_t n = 0;
    if (!dir || an_dir_list(dir, &names, &n, NULL) != ANEMO_OK) n = 0;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(names[i], base, len) || strncmp(names[i] + len, TMP_MARK, strlen(TMP_MARK)) ||
            strlen(names[i]) != len + strlen(TMP_MARK TMP_RANDOM))
            continue;
        char *stale = an_path_join(dir, names[i]);
        struct stat st;
        int fd = stale ? open(stale, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(stale);
        if (fd >= 0) close(fd);
        an_free(stale);
    }
    an_names_free(names);
    an_free(dir);
}

/*
 * Make and lock the temporary file; tmp_path ends in TMP_RANDOM. Another process may take a file that is not locked yet for a
 * stale one: then there is another. Returns -1 with errno.
 */
static int make_tmp(char *tmp_path)
{
    enum { ATTEMPTS = 16 };
    char *random = tmp_path + strlen(tmp_path) - strlen(TMP_RANDOM);
    for (int i = 0;; i++) {
        struct stat st;
        memcpy(random, TMP_RANDOM, strlen(TMP_RANDOM));
        int fd = mkostemp(tmp_path, O_CLOEXEC);
        if (fd < 0 || i == ATTEMPTS) return fd;
        bool taken = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (!taken && (fstat(fd, &st) != 0 || st.st_nlink > 0)) return fd;
        close(fd);
    }
}

anemo_status an_file_writer_open(an_file_writer *w, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_path_kind kind = an_path_probe(path);
    *w = (an_file_writer){.fd = -1};
    if (kind == AN_PATH_DIR) return an_fail(err, ANEMO_ERR_INVAL, "%s: is a directory", path);
    w->path = an_strdup(path);
    w->direct = kind == AN_PATH_OTHER;
    if (w->path && !w->direct) {
        an_str s = {0};
        an_str_appendf(&s, "%s" TMP_MARK TMP_RANDOM, path);
        w->tmp_path = an_str_take(&s);
    }
    if (!w->path || (!w->direct && !w->tmp_path)) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    if (!w->direct) remove_stale(path);
    w->fd = w->direct ? open(path, O_WRONLY | O_CLOEXEC) : make_tmp(w->tmp_path);
    if (w->fd < 0) {
        status = an_fail_errno(err, errno, "create", path);
        an_free(w->tmp_path);
        w->tmp_path = NULL;
        goto cleanup;
    }
    if (!w->direct) {
        /* mkostemp makes 0600; a result file should obey the user's umask as any other would. */
        mode_t mask = umask(0);
        umask(mask);
        if (fchmod(w->fd, 0666 & ~mask) != 0) status = an_fail_errno(err, errno, "chmod", path);
    }
cleanup:
    if (status != ANEMO_OK) an_file_writer_close(w);
    return status;
}

anemo_status an_file_writer_reserve(an_file_writer *w, uint64_t bytes, anemo_error *err)
{
    struct statvfs fs;
    if (w->direct || bytes == 0) return ANEMO_OK;
    if (bytes > INT64_MAX) return an_fail(err, ANEMO_ERR_INVAL, "%s: %" PRIu64 " bytes are too many", w->path, bytes);
    /* posix_fallocate would write zeros where the system call is missing. */
    if (fallocate(w->fd, 0, 0, (off_t)bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return ANEMO_OK;
    if (errno != ENOSPC) return an_fail_errno(err, errno, "reserve space for", w->path);
    uint64_t there = fstatvfs(w->fd, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0;
    return an_fail(err, ANEMO_ERR_NOSPACE,
                   "%s: %.1f MB are needed and %.1f MB are free on this file system; free some or write elsewhere", w->path,
                   (double)bytes / 1e6, (double)there / 1e6);
}

anemo_status an_file_writer_put(an_file_writer *w, const void *data, size_t n, anemo_error *err)
{
    const char *p = data;
    while (n > 0) {
        ssize_t put = write(w->fd, p, n < (1u << 30) ? n : (1u << 30));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return an_fail_errno(err, errno, "write", w->path);
        p += put;
        n -= (size_t)put;
        w->written += (uint64_t)put;
    }
    return ANEMO_OK;
}

anemo_status an_file_writer_put_at(const an_file_writer *w, uint64_t at, const void *data, size_t n, anemo_error *err)
{
    const char *p = data;
    while (n > 0) {
        ssize_t put = pwrite(w->fd, p, n < (1u << 30) ? n : (1u << 30), (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return an_fail_errno(err, errno, "write", w->path);
        p += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return ANEMO_OK;
}

static void sync_dir_of(const char *path)
{
    char *dir = an_path_dir(path);
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    /* Best effort: some file systems refuse to sync a directory, and the data are already safe. */
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    an_free(dir);
}

anemo_status an_file_writer_commit(an_file_writer *w, anemo_error *err)
{
    if (!w->direct && fsync(w->fd) != 0) return an_fail_errno(err, errno, "sync", w->path);
    if (!w->direct) {
        /* Closing would unlock it, so that comes after; the bytes are on the disk already. */
        if (rename(w->tmp_path, w->path) != 0)
            return an_fail_errno(err, errno, "rename into place", w->path);
        an_free(w->tmp_path);
        w->tmp_path = NULL;
        sync_dir_of(w->path);
    }
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0 && w->direct) return an_fail_errno(err, errno, "close", w->path);
    return ANEMO_OK;
}

void an_file_writer_close(an_file_writer *w)
{
    if (w->fd >= 0) close(w->fd);
    if (w->tmp_path) unlink(w->tmp_path);
    an_free(w->tmp_path);
    an_free(w->path);
    *w = (an_file_writer){.fd = -1};
}

anemo_status an_file_write(const char *path, const void *data, size_t n, anemo_error *err)
{
    an_file_writer w;
    anemo_status status = an_file_writer_open(&w, path, err);
    if (status != ANEMO_OK) return status;
    AN_TRY(an_file_writer_put(&w, data, n, err));
    AN_TRY(an_file_writer_commit(&w, err));
cleanup:
    an_file_writer_close(&w);
    return status;
}

an_path_kind an_path_probe(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return AN_PATH_ABSENT;
    if (S_ISREG(st.st_mode)) return AN_PATH_FILE;
    if (S_ISDIR(st.st_mode)) return AN_PATH_DIR;
    return AN_PATH_OTHER;
}

int64_t an_path_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

uint64_t an_path_free_bytes(const char *path)
{
    struct statvfs fs;
    return statvfs(path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

anemo_status an_dir_make(const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *copy = an_strdup(path);
    if (!copy) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        char old = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            status = an_fail_errno(err, errno, "make directory", copy);
            goto cleanup;
        }
        *p = old;
        if (old == '\0') break;
    }
    if (an_path_probe(path) != AN_PATH_DIR)
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: exists and is not a directory", path);
cleanup:
    an_free(copy);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

anemo_status an_dir_list(const char *path, char ***names, size_t *n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **list = NULL;
    size_t count = 0, cap = 0;
    DIR *dir = opendir(path);
    if (!dir) return an_fail_errno(err, errno, "list", path);
    for (;;) {
        struct dirent *e = readdir(dir);
        if (count + 1 >= cap) {
            cap = cap ? cap * 2 : 32;
            char **bigger = an_realloc(list, cap * sizeof *list);
            if (!bigger) {
                status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
                goto cleanup;
            }
            list = bigger;
        }
        list[count] = NULL;
        if (!e) break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        list[count] = an_strdup(e->d_name);
        if (!list[count]) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
            goto cleanup;
        }
        list[++count] = NULL;
    }
    qsort(list, count, sizeof *list, compare_names);
    *names = list;
    *n = count;
    list = NULL;
cleanup:
    an_names_free(list);
    closedir(dir);
    return status;
}

void an_names_free(char **names)
{
    if (!names) return;
    for (size_t i = 0; names[i]; i++) an_free(names[i]);
    an_free(names);
}

anemo_status an_path_remove(const char *path, anemo_error *err)
{
    if (remove(path) != 0 && errno != ENOENT) return an_fail_errno(err, errno, "remove", path);
    return ANEMO_OK;
}

anemo_status an_path_rename(const char *from, const char *to, anemo_error *err)
{
    if (rename(from, to) != 0) return an_fail_errno(err, errno, "rename into place", to);
    sync_dir_of(to);
    return ANEMO_OK;
}

anemo_status an_path_exchange(const char *a, const char *b, anemo_error *err)
{
#if defined(__linux__) && defined(RENAME_EXCHANGE)
    if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0) {
        /* What gave way may be removed next; that must not reach the disk before the exchange does. */
        sync_dir_of(a);
        sync_dir_of(b);
        return ANEMO_OK;
    }
    if (errno != EINVAL && errno != ENOSYS) return an_fail_errno(err, errno, "exchange", a);
#else
    (void)b;
#endif
    return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: this file system cannot exchange two names", a);
}

char *an_path_join(const char *dir, const char *name)
{
    an_str s = {0};
    if (name[0] != '/' && dir[0]) {
        an_str_append(&s, dir);
        if (!an_str_ends_with(dir, "/")) an_str_append_char(&s, '/');
    }
    an_str_append(&s, name);
    return an_str_take(&s);
}

const char *an_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *an_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return an_strdup(".");
    return an_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

char *an_path_real(const char *path)
{
    char *libc_path = realpath(path, NULL);
    char *copy = an_strdup(libc_path);
    free(libc_path);
    return copy;
}

char *an_path_self(void)
{
    return an_path_real("/proc/self/exe");
}

char *an_path_of_code(const void *address)
{
    Dl_info info;
    if (dladdr(address, &info) == 0 || !info.dli_fname) return NULL;
    return an_path_real(info.dli_fname);
}

const char *an_env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static char *xdg_dir(const char *variable, const char *fallback)
{
    const char *base = an_env(variable);
    /* The specification says to ignore a relative value. */
    if (base && base[0] == '/') return an_path_join(base, "anemo");
    const char *home = an_env("HOME");
    if (!home) return NULL;
    an_str s = {0};
    an_str_appendf(&s, "%s/%s/anemo", home, fallback);
    return an_str_take(&s);
}

char *an_dir_data(void)
{
    return xdg_dir("XDG_DATA_HOME", ".local/share");
}

char *an_dir_cache(void)
{
    return xdg_dir("XDG_CACHE_HOME", ".cache");
}

anemo_status an_fail_no_dir(anemo_error *err, anemo_status status, const char *text)
{
    return an_env("HOME") ? an_fail(err, ANEMO_ERR_NOMEM, "out of memory") : an_fail(err, status, "%s", text);
}

anemo_status an_shm_create(uint64_t bytes, char **path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *tmp = an_env("TMPDIR");
    const char *dir = an_path_probe("/dev/shm") == AN_PATH_DIR ? "/dev/shm" : tmp ? tmp : "/tmp";
    char *name = an_path_join(dir, "anemo-XXXXXX");
    int fd = -1;
    if (!name) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        status = an_fail_errno(err, errno, "create", name);
        goto cleanup;
    }
    int rc = bytes ? posix_fallocate(fd, 0, (off_t)bytes) : 0;
    if (rc != 0) {
        status = an_fail_errno(err, rc, "reserve space in", name);
        unlink(name);
        goto cleanup;
    }
    *path = name;
    name = NULL;
cleanup:
    if (fd >= 0) close(fd);
    an_free(name);
    return status;
}

anemo_status an_shm_map(const char *path, uint64_t bytes, void **data, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return an_fail_errno(err, errno, "open", path);
    if (fstat(fd, &st) != 0) {
        status = an_fail_errno(err, errno, "examine", path);
        goto cleanup;
    }
    if (bytes == 0 || bytes > SIZE_MAX || st.st_size < 0 || (uint64_t)st.st_size < bytes) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: holds %lld bytes, %llu are needed", path,
                         (long long)st.st_size, (unsigned long long)bytes);
        goto cleanup;
    }
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        status = an_fail_errno(err, errno, "map", path);
        goto cleanup;
    }
    *data = p;
cleanup:
    close(fd);
    return status;
}

void an_shm_unmap(void *data, uint64_t bytes)
{
    if (data) munmap(data, (size_t)bytes);
}
