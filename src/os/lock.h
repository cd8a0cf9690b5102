/* Locks between processes, and files that only grow. Both end with the process that holds them, however it ends. */
#ifndef AN_OS_LOCK_H
#define AN_OS_LOCK_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Open a lock file, made when absent. Gives *fd: an_fd_close ends its locks. */
ANEMO_MUST_CHECK anemo_status an_lock_open(int *fd, const char *path, anemo_error *err);

/*
 * Lock number `index` of the file without waiting: one file holds any number of locks. *taken false: another process,
 * or another an_lock_open() of this one, has it. ERR_UNSUPPORTED where the file system has no locks. `path` is named in
 * messages.
 */
ANEMO_MUST_CHECK anemo_status an_lock_try(int fd, const char *path, uint64_t index, bool *taken, anemo_error *err);
void an_lock_release(int fd, uint64_t index);

/* Write n bytes into a lock file from its begin, in place of what it held; and read up to cap - 1 of them as text (""
 * when none). */
ANEMO_MUST_CHECK anemo_status an_lock_note(int fd, const char *path, const void *data, size_t n, anemo_error *err);
void an_lock_read_note(int fd, char *out, size_t cap);

/* Open a file for adding at its end (an_fd_write), made when absent. Gives *fd: an_fd_close. */
ANEMO_MUST_CHECK anemo_status an_append_open(int *fd, const char *path, anemo_error *err);

#endif
