/*
 * Files below one folder, by relative names that may come from strangers: no component of a name is followed when it is
 * a symbolic link, so nothing outside the folder is read or written whatever lies in it. The folder itself may be a
 * link. Names are relative, with "/" between components; ".", ".." and empty components are ERR_INVAL.
 */
#ifndef AN_OS_BENEATH_H
#define AN_OS_BENEATH_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_beneath {
    int fd;     /* of the folder */
    char *path; /* as it was opened, for messages */
} an_beneath;

/* Open (with `make`: after making it, with its parents) a folder. ERR_NOTFOUND, ERR_IO. an_beneath_close. */
ANEMO_MUST_CHECK anemo_status an_beneath_open(an_beneath *b, const char *path, bool make, anemo_error *err);
void an_beneath_close(an_beneath *b); /* also of a zeroed one with fd -1 */

typedef enum an_node_kind { AN_NODE_ABSENT, AN_NODE_FILE, AN_NODE_DIR, AN_NODE_LINK, AN_NODE_OTHER } an_node_kind;

typedef struct an_node {
    an_node_kind kind;
    uint64_t bytes;               /* of a file */
    uint64_t disk_bytes;          /* that it takes */
    uint64_t read_ns, written_ns; /* last access and last change, since the Unix epoch */
} an_node;

/* What the name is; a link is not followed. Anything that is in the way counts as absent. */
an_node an_beneath_probe(const an_beneath *b, const char *name);

/* Make the folder `name` and its parents. */
ANEMO_MUST_CHECK anemo_status an_beneath_make_dir(const an_beneath *b, const char *name, anemo_error *err);

/* A regular file of at most `limit` bytes. Gives *out (an_free), NUL-terminated beyond *n. */
ANEMO_MUST_CHECK anemo_status an_beneath_read(const an_beneath *b, const char *name, uint64_t limit, char **out,
                                              size_t *n, anemo_error *err);

/* Put a small file in place in one step: a temporary beside it, fsync, rename. Parents are made. */
ANEMO_MUST_CHECK anemo_status an_beneath_write(const an_beneath *b, const char *name, const void *data, size_t n,
                                               anemo_error *err);

/* Add to the end of a file, made when it is absent, in one write. Parents are made. */
ANEMO_MUST_CHECK anemo_status an_beneath_append(const an_beneath *b, const char *name, const void *data, size_t n,
                                                anemo_error *err);

/* The text of a symbolic link; false when the name is none, or its text does not fit. */
bool an_beneath_link_text(const an_beneath *b, const char *name, char *out, size_t cap);

/* Make (or replace a file or link by) a symbolic link with that text. ERR_UNSUPPORTED where there are no links. */
ANEMO_MUST_CHECK anemo_status an_beneath_symlink(const an_beneath *b, const char *text, const char *name,
                                                 anemo_error *err);

/* Rename within the folder, replacing a file; `to`'s parents are made and its folder is synced. */
ANEMO_MUST_CHECK anemo_status an_beneath_rename(const an_beneath *b, const char *from, const char *to,
                                                anemo_error *err);

/* A second name for a file, by a hard link or, where there are none, a copy. */
ANEMO_MUST_CHECK anemo_status an_beneath_duplicate(const an_beneath *b, const char *from, const char *to,
                                                   anemo_error *err);

/* Remove a file, a link or an empty folder; absent is success. */
ANEMO_MUST_CHECK anemo_status an_beneath_remove(const an_beneath *b, const char *name, anemo_error *err);

/* Remove a folder with all that is in it (links are removed, not followed). Adds the freed bytes to *freed. */
ANEMO_MUST_CHECK anemo_status an_beneath_remove_tree(const an_beneath *b, const char *name, uint64_t *freed,
                                                     anemo_error *err);

/* Names in a folder ("" is the folder itself), sorted bytewise; an_names_free. ERR_NOTFOUND. */
ANEMO_MUST_CHECK anemo_status an_beneath_list(const an_beneath *b, const char *name, char ***names, size_t *n,
                                              anemo_error *err);

/*
 * All that is neither folder nor absent below folder `name`, as names relative to it, sorted by folder; at most `limit`
 * (ERR_FORMAT beyond) and 64 folders deep. Gives *names: an_names_free.
 */
ANEMO_MUST_CHECK anemo_status an_beneath_walk(const an_beneath *b, const char *name, size_t limit, char ***names,
                                              size_t *n, anemo_error *err);

/*
 * A regular file for reading and writing at offsets, made when it is absent (parents too). A name that is a link, or a
 * file with a second name, is refused: ERR_IO says to remove it. Gives *fd: an_fd_close.
 */
ANEMO_MUST_CHECK anemo_status an_beneath_edit(const an_beneath *b, const char *name, int *fd, anemo_error *err);

/*
 * An exclusive lock on lock file `name` (made when absent). *fd stays -1 when another process holds it. Gives *fd:
 * an_fd_close ends the lock. The lock is flock's, as Python's filelock takes it.
 */
ANEMO_MUST_CHECK anemo_status an_beneath_try_lock(const an_beneath *b, const char *name, int *fd, anemo_error *err);

/* What an unprivileged process can still write to the folder's file system. */
uint64_t an_beneath_free_bytes(const an_beneath *b);

/* Of an open file; `what` names it in messages. A short read is ERR_IO. */
ANEMO_MUST_CHECK anemo_status an_fd_read_at(int fd, void *data, size_t n, uint64_t offset, const char *what,
                                            anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_fd_write_at(int fd, const void *data, size_t n, uint64_t offset, const char *what,
                                             anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_fd_set_size(int fd, uint64_t bytes, const char *what, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_fd_sync(int fd, const char *what, anemo_error *err);
uint64_t an_fd_size(int fd);

#endif
