/* Files below one folder, on POSIX: every name is walked component by component with O_NOFOLLOW. */
#include "os/beneath.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { DEPTH_MAX = 64, COMPONENT_MAX = 255, COPY_BYTES = 1 << 20 };

/* ------------------------------------------------------------------------------------------------- messages */

/* errno of an operation on `name`; what a link in the way does to O_NOFOLLOW is said in words. */
static anemo_status fail_at(const an_beneath *b, int err_no, const char *what, const char *name, anemo_error *err)
{
    if (err_no == ELOOP || err_no == ENOTDIR)
        return an_fail(
            err, ANEMO_ERR_IO,
            "%s/%s: cannot %s: a symbolic link or a file is in the way, and links are not followed here; remove it",
            b->path, name, what);
    char *path = an_path_join(b->path, name);
    anemo_status status = an_fail_errno(err, err_no, what, path ? path : name);
    an_free(path);
    return status;
}

/* ------------------------------------------------------------------------------------------------- walking */

anemo_status an_beneath_open(an_beneath *b, const char *path, bool make, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    *b = (an_beneath){.fd = -1};
    if (make && an_path_probe(path) == AN_PATH_ABSENT) AN_TRY(an_dir_make(path, err));
    b->path = an_strdup(path);
    if (!b->path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    b->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->fd < 0) {
        status = errno == ENOTDIR ? an_fail(err, ANEMO_ERR_INVAL, "%s: exists and is not a directory", path)
                                  : an_fail_errno(err, errno, "open", path);
        an_beneath_close(b);
    }
cleanup:
    return status;
}

void an_beneath_close(an_beneath *b)
{
    if (b->fd >= 0 && b->path) close(b->fd);
    an_free(b->path);
    *b = (an_beneath){.fd = -1};
}

/*
 * The folder that holds the last component of `name`, opened (made on the way when `make`), and that component,
 * borrowed from `name`. -1 with errno. EINVAL for components that lead elsewhere.
 */
static int open_parent(const an_beneath *b, const char *name, bool make, const char **base)
{
    int fd = fcntl(b->fd, F_DUPFD_CLOEXEC, 0);
    const char *at = name;
    for (int depth = 0; fd >= 0; depth++) {
        char part[COMPONENT_MAX + 1];
        const char *slash = strchr(at, '/');
        size_t n = slash ? (size_t)(slash - at) : strlen(at);
        int saved = 0;
        if (n == 0 || n > COMPONENT_MAX || depth > DEPTH_MAX) saved = n > COMPONENT_MAX ? ENAMETOOLONG : EINVAL;
        if (!saved) {
            memcpy(part, at, n);
            part[n] = '\0';
            if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0) saved = EINVAL;
        }
        if (!saved && !slash) {
            *base = at;
            return fd;
        }
        int next = -1;
        if (!saved) {
            next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (next < 0 && errno == ENOENT && make && (mkdirat(fd, part, 0777) == 0 || errno == EEXIST))
                next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            saved = errno;
        }
        close(fd);
        fd = next;
        errno = saved;
        at = slash ? slash + 1 : at;
    }
    return -1;
}

static int open_dir(const an_beneath *b, const char *name)
{
    const char *base;
    if (name[0] == '\0') return openat(b->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int parent = open_parent(b, name, false, &base);
    if (parent < 0) return -1;
    int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int saved = errno;
    close(parent);
    errno = saved;
    return fd;
}

static an_node node_of(const struct stat *st)
{
    an_node node = {.kind = S_ISREG(st->st_mode)   ? AN_NODE_FILE
                            : S_ISDIR(st->st_mode) ? AN_NODE_DIR
                            : S_ISLNK(st->st_mode) ? AN_NODE_LINK
                                                   : AN_NODE_OTHER,
                    .disk_bytes = (uint64_t)st->st_blocks * 512,
                    .read_ns = (uint64_t)st->st_atim.tv_sec * 1000000000u + (uint64_t)st->st_atim.tv_nsec,
                    .written_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec};
    if (node.kind == AN_NODE_FILE) node.bytes = (uint64_t)st->st_size;
    return node;
}

an_node an_beneath_probe(const an_beneath *b, const char *name)
{
    const char *base;
    struct stat st;
    an_node node = {.kind = AN_NODE_ABSENT};
    int parent = open_parent(b, name, false, &base);
    if (parent < 0) return node;
    if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0) node = node_of(&st);
    close(parent);
    return node;
}

anemo_status an_beneath_make_dir(const an_beneath *b, const char *name, anemo_error *err)
{
    const char *base;
    struct stat st;
    int parent = open_parent(b, name, true, &base);
    if (parent < 0) return fail_at(b, errno, "make", name, err);
    int rc = mkdirat(parent, base, 0777) == 0 || errno == EEXIST ? 0 : errno;
    if (rc == 0 && (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))) rc = ENOTDIR;
    close(parent);
    return rc == 0 ? ANEMO_OK : fail_at(b, rc, "make", name, err);
}

/* ------------------------------------------------------------------------------------------------- small files */

anemo_status an_beneath_read(const an_beneath *b, const char *name, uint64_t limit, char **out, size_t *n,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *base;
    struct stat st;
    char *text = NULL;
    int fd = -1, parent = open_parent(b, name, false, &base);
    /* Non-blocking, so that a pipe of that name cannot hold us up. */
    if (parent >= 0) fd = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        status = fail_at(b, errno, "read", name, err);
        goto cleanup;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > limit) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s/%s: not a file of at most %" PRIu64 " bytes", b->path, name, limit);
        goto cleanup;
    }
    text = an_malloc((size_t)st.st_size + 1);
    if (!text) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s/%s: out of memory", b->path, name);
        goto cleanup;
    }
    AN_TRY(an_fd_read_at(fd, text, (size_t)st.st_size, 0, name, err));
    text[st.st_size] = '\0';
    *n = (size_t)st.st_size;
    *out = text;
    text = NULL;
cleanup:
    an_free(text);
    if (fd >= 0) close(fd);
    if (parent >= 0) close(parent);
    return status;
}

/* A name for a temporary beside `base`. */
static char *temporary_name(const char *base, int attempt)
{
    an_str s = {0};
    an_str_appendf(&s, "%.200s.%ld-%d.tmp", base, (long)getpid(), attempt);
    return an_str_take(&s);
}

anemo_status an_beneath_write(const an_beneath *b, const char *name, const void *data, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *base;
    char *tmp = NULL;
    int fd = -1, parent = open_parent(b, name, true, &base);
    if (parent < 0) return fail_at(b, errno, "write", name, err);
    for (int attempt = 0; fd < 0 && attempt < 16; attempt++) {
        an_free(tmp);
        tmp = temporary_name(base, attempt);
        if (!tmp) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "%s/%s: out of memory", b->path, name);
            goto cleanup;
        }
        fd = openat(parent, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
        /* What is left of a dead process with our number. */
        if (fd < 0) unlinkat(parent, tmp, 0);
    }
    if (fd < 0) {
        status = fail_at(b, errno, "write", name, err);
        goto cleanup;
    }
    status = an_fd_write_at(fd, data, n, 0, name, err);
    if (status == ANEMO_OK && (fsync(fd) != 0 || renameat(parent, tmp, parent, base) != 0))
        status = fail_at(b, errno, "write", name, err);
    if (status != ANEMO_OK) unlinkat(parent, tmp, 0);
cleanup:
    if (fd >= 0) close(fd);
    close(parent);
    an_free(tmp);
    return status;
}

anemo_status an_beneath_append(const an_beneath *b, const char *name, const void *data, size_t n, anemo_error *err)
{
    const char *base;
    int fd = -1, parent = open_parent(b, name, true, &base);
    if (parent >= 0)
        fd = openat(parent, base, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    int rc = fd < 0 ? errno : 0;
    if (fd >= 0) {
        ssize_t put = write(fd, data, n);
        rc = put == (ssize_t)n ? 0 : put < 0 ? errno : ENOSPC;
        close(fd);
    }
    if (parent >= 0) close(parent);
    return rc == 0 ? ANEMO_OK : fail_at(b, rc, "write", name, err);
}

/* ------------------------------------------------------------------------------------------------- names */

bool an_beneath_link_text(const an_beneath *b, const char *name, char *out, size_t cap)
{
    const char *base;
    int parent = open_parent(b, name, false, &base);
    if (parent < 0) return false;
    ssize_t n = readlinkat(parent, base, out, cap);
    close(parent);
    if (n <= 0 || (size_t)n >= cap) return false;
    out[n] = '\0';
    return true;
}

anemo_status an_beneath_symlink(const an_beneath *b, const char *text, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *base;
    int parent = open_parent(b, name, true, &base);
    if (parent < 0) return fail_at(b, errno, "link", name, err);
    int rc = symlinkat(text, parent, base) == 0 ? 0 : errno;
    if (rc == EEXIST) {
        /* Made under another name first: at no moment is there no file of this name. */
        char *tmp = temporary_name(base, 0);
        rc = !tmp ? ENOMEM : 0;
        if (tmp) unlinkat(parent, tmp, 0);
        if (rc == 0 && (symlinkat(text, parent, tmp) != 0 || renameat(parent, tmp, parent, base) != 0)) {
            rc = errno;
            unlinkat(parent, tmp, 0);
        }
        an_free(tmp);
    }
    close(parent);
    if (rc == EPERM || rc == EOPNOTSUPP || rc == ENOSYS)
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s/%s: this file system has no symbolic links", b->path, name);
    else if (rc != 0)
        status = fail_at(b, rc, "link", name, err);
    return status;
}

anemo_status an_beneath_rename(const an_beneath *b, const char *from, const char *to, anemo_error *err)
{
    const char *from_base, *to_base;
    int from_parent = open_parent(b, from, false, &from_base);
    if (from_parent < 0) return fail_at(b, errno, "rename", from, err);
    int to_parent = open_parent(b, to, true, &to_base);
    int rc = to_parent < 0 || renameat(from_parent, from_base, to_parent, to_base) != 0 ? errno : 0;
    /* Best effort: some file systems refuse to sync a directory. */
    if (rc == 0) (void)fsync(to_parent);
    if (to_parent >= 0) close(to_parent);
    close(from_parent);
    return rc == 0 ? ANEMO_OK : fail_at(b, rc, "rename into place", to, err);
}

/* The contents of one open file into another. */
static anemo_status copy_bytes(int from, int to, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t size = an_fd_size(from);
    char *chunk = an_malloc(COPY_BYTES);
    if (!chunk) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
    for (uint64_t at = 0; at < size; at += COPY_BYTES) {
        size_t n = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES;
        AN_TRY(an_fd_read_at(from, chunk, n, at, name, err));
        AN_TRY(an_fd_write_at(to, chunk, n, at, name, err));
    }
    AN_TRY(an_fd_sync(to, name, err));
cleanup:
    an_free(chunk);
    return status;
}

anemo_status an_beneath_duplicate(const an_beneath *b, const char *from, const char *to, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *from_base, *to_base;
    char *tmp = NULL;
    int in = -1, out = -1, to_parent = -1, from_parent = open_parent(b, from, false, &from_base);
    if (from_parent >= 0) to_parent = open_parent(b, to, true, &to_base);
    if (to_parent < 0) {
        status = fail_at(b, errno, "copy", from, err);
        goto cleanup;
    }
    tmp = temporary_name(to_base, 1);
    if (!tmp) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s/%s: out of memory", b->path, to);
        goto cleanup;
    }
    unlinkat(to_parent, tmp, 0);
    if (linkat(from_parent, from_base, to_parent, tmp, 0) != 0) {
        in = openat(from_parent, from_base, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (in >= 0) out = openat(to_parent, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (out < 0) {
            status = fail_at(b, errno, "copy", from, err);
            goto cleanup;
        }
        status = copy_bytes(in, out, to, err);
    }
    if (status == ANEMO_OK && renameat(to_parent, tmp, to_parent, to_base) != 0)
        status = fail_at(b, errno, "rename into place", to, err);
    if (status != ANEMO_OK) unlinkat(to_parent, tmp, 0);
cleanup:
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    if (to_parent >= 0) close(to_parent);
    if (from_parent >= 0) close(from_parent);
    an_free(tmp);
    return status;
}

anemo_status an_beneath_remove(const an_beneath *b, const char *name, anemo_error *err)
{
    const char *base;
    int parent = open_parent(b, name, false, &base);
    if (parent < 0) return errno == ENOENT ? ANEMO_OK : fail_at(b, errno, "remove", name, err);
    int rc = unlinkat(parent, base, 0) == 0 ? 0 : errno;
    if (rc == EISDIR || rc == EPERM) rc = unlinkat(parent, base, AT_REMOVEDIR) == 0 ? 0 : errno;
    close(parent);
    return rc == 0 || rc == ENOENT ? ANEMO_OK : fail_at(b, rc, "remove", name, err);
}

/* ------------------------------------------------------------------------------------------------- folders */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct name_list {
    char **items;
    size_t n, cap;
} name_list;

/* Takes `name` (NULL is out of memory); keeps the list NULL-terminated. */
static bool keep_name(name_list *list, char *name)
{
    if (name && list->n + 2 > list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 32;
        char **bigger = an_realloc(list->items, cap * sizeof *bigger);
        if (bigger) {
            list->items = bigger;
            list->cap = cap;
        }
    }
    if (!name || list->n + 2 > list->cap) {
        an_free(name);
        return false;
    }
    list->items[list->n++] = name;
    list->items[list->n] = NULL;
    return true;
}

anemo_status an_beneath_list(const an_beneath *b, const char *name, char ***names, size_t *n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    name_list list = {0};
    int fd = open_dir(b, name);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        status = errno == ENOENT ? an_fail(err, ANEMO_ERR_NOTFOUND, "%s/%s: no such directory", b->path, name)
                                 : fail_at(b, errno, "list", name, err);
        if (fd >= 0) close(fd);
        return status;
    }
    list.items = an_calloc(1, sizeof *list.items);
    list.cap = list.items ? 1 : 0;
    if (!list.items) status = an_fail(err, ANEMO_ERR_NOMEM, "%s/%s: out of memory", b->path, name);
    for (struct dirent *e; status == ANEMO_OK && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (!keep_name(&list, an_strdup(e->d_name)))
            status = an_fail(err, ANEMO_ERR_NOMEM, "%s/%s: out of memory", b->path, name);
    }
    closedir(dir);
    if (status != ANEMO_OK) {
        an_names_free(list.items);
        return status;
    }
    qsort(list.items, list.n, sizeof *list.items, compare_names);
    *names = list.items;
    *n = list.n;
    return ANEMO_OK;
}

static char *joined(const char *dir, const char *name)
{
    return dir[0] ? an_path_join(dir, name) : an_strdup(name);
}

/*
 * Files and, when `dirs` is given, folders below `root`. The folders are their own queue: each is listed once, in the
 * order in which it was found.
 */
static anemo_status walk(const an_beneath *b, const char *root, size_t limit, name_list *files, name_list *dirs,
                         anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL, *path = NULL;
    size_t n = 0;
    if (!keep_name(dirs, an_strdup(""))) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", b->path);
    for (size_t next = 0; next < dirs->n; next++) {
        path = joined(root, dirs->items[next]);
        if (!path) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", b->path);
            goto cleanup;
        }
        if (path[0] && an_str_ends_with(path, "/")) path[strlen(path) - 1] = '\0';
        AN_TRY(an_beneath_list(b, path, &names, &n, err));
        for (size_t i = 0; i < n; i++) {
            char *full = joined(path, names[i]);
            bool is_dir = full && an_beneath_probe(b, full).kind == AN_NODE_DIR;
            an_free(full);
            if (files->n + dirs->n >= limit) {
                status = an_fail(err, ANEMO_ERR_FORMAT, "%s/%s: more than %zu files", b->path, root, limit);
                goto cleanup;
            }
            if (!keep_name(is_dir ? dirs : files, joined(dirs->items[next], names[i]))) {
                status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", b->path);
                goto cleanup;
            }
        }
        an_names_free(names);
        names = NULL;
        an_free(path);
        path = NULL;
    }
cleanup:
    an_names_free(names);
    an_free(path);
    return status;
}

anemo_status an_beneath_walk(const an_beneath *b, const char *name, size_t limit, char ***names, size_t *n,
                             anemo_error *err)
{
    name_list files = {0}, dirs = {0};
    files.items = an_calloc(1, sizeof *files.items);
    files.cap = files.items ? 1 : 0;
    anemo_status status = files.items ? walk(b, name, limit, &files, &dirs, err)
                                      : an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", b->path);
    an_names_free(dirs.items);
    if (status != ANEMO_OK) {
        an_names_free(files.items);
        return status;
    }
    *names = files.items;
    *n = files.n;
    return ANEMO_OK;
}

anemo_status an_beneath_remove_tree(const an_beneath *b, const char *name, uint64_t *freed, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    name_list files = {0}, dirs = {0};
    char *path = NULL;
    an_node node = an_beneath_probe(b, name);
    if (node.kind != AN_NODE_DIR) {
        *freed += node.disk_bytes;
        return an_beneath_remove(b, name, err);
    }
    AN_TRY(walk(b, name, SIZE_MAX, &files, &dirs, err));
    for (size_t i = 0; i < files.n + dirs.n; i++) {
        /* Folders last, those found last first: they are deeper. */
        const char *rest = i < files.n ? files.items[i] : dirs.items[dirs.n - 1 - (i - files.n)];
        path = rest[0] ? an_path_join(name, rest) : an_strdup(name);
        if (!path) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", b->path);
            goto cleanup;
        }
        if (i < files.n) *freed += an_beneath_probe(b, path).disk_bytes;
        AN_TRY(an_beneath_remove(b, path, err));
        an_free(path);
        path = NULL;
    }
cleanup:
    an_free(path);
    an_names_free(files.items);
    an_names_free(dirs.items);
    return status;
}

/* ------------------------------------------------------------------------------------------------- open files */

anemo_status an_beneath_edit(const an_beneath *b, const char *name, int *fd, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *base;
    struct stat st;
    int parent = open_parent(b, name, true, &base);
    if (parent < 0) return fail_at(b, errno, "open", name, err);
    int opened = openat(parent, base, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    int saved = errno;
    close(parent);
    if (opened < 0 || fstat(opened, &st) != 0) return fail_at(b, saved, "open", name, err);
    if (!S_ISREG(st.st_mode) || st.st_nlink > 1) {
        status = an_fail(err, ANEMO_ERR_IO, "%s/%s: not a plain file with one name; remove it", b->path, name);
        close(opened);
        return status;
    }
    *fd = opened;
    return ANEMO_OK;
}

anemo_status an_beneath_try_lock(const an_beneath *b, const char *name, int *fd, anemo_error *err)
{
    const char *base;
    *fd = -1;
    for (int attempt = 0; attempt < 16; attempt++) {
        struct stat mine, there;
        int opened = -1, parent = open_parent(b, name, true, &base);
        if (parent >= 0) opened = openat(parent, base, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0664);
        if (opened < 0) {
            int saved = errno;
            if (parent >= 0) close(parent);
            return fail_at(b, saved, "lock", name, err);
        }
        int rc = flock(opened, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
        /* Some clients remove the lock file when they are done: a lock on a file without a name locks nobody out. */
        bool stale = rc == 0 && (fstat(opened, &mine) != 0 || fstatat(parent, base, &there, AT_SYMLINK_NOFOLLOW) != 0 ||
                                 mine.st_ino != there.st_ino || mine.st_dev != there.st_dev);
        close(parent);
        if (rc == 0 && !stale) {
            *fd = opened;
            return ANEMO_OK;
        }
        close(opened);
        if (rc == EWOULDBLOCK) return ANEMO_OK;
        if (rc != 0) return fail_at(b, rc, "lock", name, err);
    }
    return ANEMO_OK;
}

uint64_t an_beneath_free_bytes(const an_beneath *b)
{
    struct statvfs fs;
    return fstatvfs(b->fd, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

anemo_status an_fd_read_at(int fd, void *data, size_t n, uint64_t offset, const char *what, anemo_error *err)
{
    char *p = data;
    while (n > 0) {
        ssize_t got = pread(fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return an_fail_errno(err, errno, "read", what);
        if (got == 0)
            return an_fail(err, ANEMO_ERR_IO, "%s: ends at byte %" PRIu64 ", more was there before", what, offset);
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return ANEMO_OK;
}

anemo_status an_fd_write_at(int fd, const void *data, size_t n, uint64_t offset, const char *what, anemo_error *err)
{
    const char *p = data;
    while (n > 0) {
        ssize_t put = pwrite(fd, p, n, (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return an_fail_errno(err, errno, "write", what);
        p += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return ANEMO_OK;
}

anemo_status an_fd_set_size(int fd, uint64_t bytes, const char *what, anemo_error *err)
{
    return ftruncate(fd, (off_t)bytes) == 0 ? ANEMO_OK : an_fail_errno(err, errno, "resize", what);
}

anemo_status an_fd_sync(int fd, const char *what, anemo_error *err)
{
    return fsync(fd) == 0 ? ANEMO_OK : an_fail_errno(err, errno, "sync", what);
}

uint64_t an_fd_size(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}
