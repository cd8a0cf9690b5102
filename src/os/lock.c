/* Locks on bytes of a file, and files that only grow. */
#include "os/lock.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Locks that belong to the open file and not to the process: closing another descriptor does not end them. */
#ifdef F_OFD_SETLK
#define SET_LOCK F_OFD_SETLK
#else
#define SET_LOCK F_SETLK
#endif

anemo_status an_lock_open(int *fd, const char *path, anemo_error *err)
{
    int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (opened < 0) return an_fail_errno(err, errno, "open the lock file", path);
    *fd = opened;
    return ANEMO_OK;
}

static int set_lock(int fd, short type, uint64_t index)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)index, .l_len = 1};
    int rc;
    do
        rc = fcntl(fd, SET_LOCK, &lock);
    while (rc != 0 && errno == EINTR);
    return rc;
}

anemo_status an_lock_try(int fd, const char *path, uint64_t index, bool *taken, anemo_error *err)
{
    *taken = set_lock(fd, F_WRLCK, index) == 0;
    if (*taken || errno == EAGAIN || errno == EACCES) return ANEMO_OK;
    if (errno == ENOLCK || errno == ENOTSUP || errno == EINVAL)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: this file system has no locks; choose a folder on another one",
                       path);
    return an_fail_errno(err, errno, "lock", path);
}

void an_lock_release(int fd, uint64_t index)
{
    (void)set_lock(fd, F_UNLCK, index);
}

anemo_status an_lock_note(int fd, const char *path, const void *data, size_t n, anemo_error *err)
{
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, n, 0) != (ssize_t)n) return an_fail_errno(err, errno, "write", path);
    return ANEMO_OK;
}

void an_lock_read_note(int fd, char *out, size_t cap)
{
    ssize_t n = pread(fd, out, cap - 1, 0);
    out[n > 0 ? n : 0] = '\0';
}

anemo_status an_append_open(int *fd, const char *path, anemo_error *err)
{
    int opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (opened < 0) return an_fail_errno(err, errno, "open", path);
    *fd = opened;
    return ANEMO_OK;
}
