/*
 * Files: read-only maps, small reads, atomic writes, paths. Every message names the path.
 */
#ifndef AN_OS_FILE_H
#define AN_OS_FILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file mapped read-only. An inaccessible page follows the last one, so that an over-read faults at once. */
typedef struct an_file_map {
    const unsigned char *data; /* NULL when size is 0 */
    uint64_t size;
    int64_t mtime_ns; /* of its last change, when it was opened */
    void *reserved; /* the reservation that holds the map and its guard page */
    size_t reserved_bytes;
} an_file_map;

/* ERR_NOTFOUND, ERR_IO, ERR_NOMEM; ERR_INVAL for a directory. Unmap with an_file_unmap. */
ANEMO_MUST_CHECK anemo_status an_file_map_open(an_file_map *map, const char *path, anemo_error *err);
void an_file_unmap(an_file_map *map);

/* Bytes of the map that are in the page cache now; -1 when unknown. */
int64_t an_file_map_resident(const an_file_map *map);

/*
 * Ask the system to drop a file's pages from the page cache, what was written first brought to the disk. *left: bytes that are
 * still there (pages that a process has mapped stay); -1 when unknown. ERR_NOTFOUND, ERR_IO; ERR_INVAL for a directory.
 */
ANEMO_MUST_CHECK anemo_status an_file_drop_cache(const char *path, int64_t *left, anemo_error *err);

/*
 * These n bytes of a map are not needed for now: the whole pages among them leave the process's memory. They stay
 * readable and come back from the file.
 */
void an_file_release(const void *data, uint64_t n);

/*
 * Whether these n bytes of a map lie alone (`sparse`): reading them brings their pages and none behind them. Otherwise, as at
 * first, the system reads ahead, on some disks by megabytes.
 */
void an_file_sparse(const void *data, uint64_t n, bool sparse);

/* Read a whole file of at most `limit` bytes. Gives *out (an_free), NUL-terminated beyond *n. */
ANEMO_MUST_CHECK anemo_status an_file_read(const char *path, uint64_t limit, char **out, size_t *n,
                                           anemo_error *err);

/*
 * Atomic write: the data go to a temporary file beside `path`; commit does fsync, rename and fsync of the
 * directory; close without commit removes the temporary. Writing a final path never leaves a partial file. What a killed
 * process left beside it is removed by the next open for the same path; temporaries of living ones are locked (flock).
 * A path that exists and is not a regular file (a pipe, /dev/full, a terminal) is written directly.
 */
typedef struct an_file_writer {
    int fd;
    bool direct;
    char *path;
    char *tmp_path; /* NULL when direct */
    uint64_t written;
} an_file_writer;

ANEMO_MUST_CHECK anemo_status an_file_writer_open(an_file_writer *w, const char *path,
                                                  anemo_error *err);
/*
 * The file will have `bytes` bytes: take them now, so that a full disk is known before the work and not in its middle.
 * ERR_NOSPACE says what is needed and what is there. File systems that cannot reserve are left alone.
 */
ANEMO_MUST_CHECK anemo_status an_file_writer_reserve(an_file_writer *w, uint64_t bytes, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_file_writer_put(an_file_writer *w, const void *data, size_t n,
                                                 anemo_error *err);
/*
 * The same at a position, for a file whose parts become known in another order. Any number of threads may write at a time,
 * each to bytes of its own; `written` does not count them.
 */
ANEMO_MUST_CHECK anemo_status an_file_writer_put_at(const an_file_writer *w, uint64_t at, const void *data, size_t n,
                                                    anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_file_writer_commit(an_file_writer *w, anemo_error *err);
void an_file_writer_close(an_file_writer *w); /* after commit a no-op; never fails */

/* The three steps for data in memory. */
ANEMO_MUST_CHECK anemo_status an_file_write(const char *path, const void *data, size_t n,
                                            anemo_error *err);

typedef enum an_path_kind { AN_PATH_ABSENT, AN_PATH_FILE, AN_PATH_DIR, AN_PATH_OTHER } an_path_kind;
an_path_kind an_path_probe(const char *path); /* follows links */
int64_t an_path_size(const char *path);       /* bytes of a regular file; -1 otherwise */

/* Bytes that we may still write to the file system of an existing path; UINT64_MAX when unknown. */
uint64_t an_path_free_bytes(const char *path);

ANEMO_MUST_CHECK anemo_status an_dir_make(const char *path, anemo_error *err); /* with parents */

/*
 * Names in a directory (without "." and ".."), sorted bytewise. Gives a NULL-terminated list: free with
 * an_names_free.
 */
ANEMO_MUST_CHECK anemo_status an_dir_list(const char *path, char ***names, size_t *n,
                                          anemo_error *err);
void an_names_free(char **names);

/* Remove a file or an empty directory; absent is success. */
ANEMO_MUST_CHECK anemo_status an_path_remove(const char *path, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_path_rename(const char *from, const char *to, anemo_error *err);

/*
 * Let two existing paths of one file system change places in one step (renameat2): whatever happens, each name holds one of
 * the two. ERR_UNSUPPORTED where the system or the file system cannot.
 */
ANEMO_MUST_CHECK anemo_status an_path_exchange(const char *a, const char *b, anemo_error *err);

/* dir + "/" + name, or name alone when it is absolute. NULL when out of memory; an_free. */
char *an_path_join(const char *dir, const char *name);
/* Last component, borrowed from path. */
const char *an_path_base(const char *path);
/* Everything before the last component ("." when there is none); an_free. */
char *an_path_dir(const char *path);
/* Absolute form with links resolved; NULL when absent. an_free. */
char *an_path_real(const char *path);

/* Path of the running executable; NULL when unknown. an_free. */
char *an_path_self(void);

/* Path of the shared library that holds this address; NULL when unknown. an_free. */
char *an_path_of_code(const void *address);

/* XDG base directories with their defaults, joined with "anemo". NULL when HOME is not set, or out of memory; an_free. */
char *an_dir_data(void);   /* $XDG_DATA_HOME/anemo */
char *an_dir_cache(void);  /* $XDG_CACHE_HOME/anemo */
/* Which of the two such a NULL was: with a HOME, ERR_NOMEM; else `status` with `text`. */
anemo_status an_fail_no_dir(anemo_error *err, anemo_status status, const char *text);

/* A shared-memory file of `bytes` for bulk data between processes. Gives *path (an_free; remove it yourself). */
ANEMO_MUST_CHECK anemo_status an_shm_create(uint64_t bytes, char **path, anemo_error *err);

/* Map the first `bytes` (> 0) of such a file for reading and writing, shared. ERR_INVAL when it is shorter. */
ANEMO_MUST_CHECK anemo_status an_shm_map(const char *path, uint64_t bytes, void **data, anemo_error *err);
void an_shm_unmap(void *data, uint64_t bytes);

/* Environment variable, NULL when unset or empty. */
const char *an_env(const char *name);

/* errno as a status with "path: reason". */
anemo_status an_fail_errno(anemo_error *err, int err_no, const char *what, const char *path);

#endif
