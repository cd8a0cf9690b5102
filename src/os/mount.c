/* Kinds of file systems, by Linux's magic numbers (statfs(2)). */
#include "os/mount.h"

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __linux__
#include <errno.h>
#include <sys/vfs.h>

static const struct {
    uint32_t magic;
    const char *name;
} networks[] = {
    {0x6969, "nfs"},       {0x517b, "smb"},         {0xff534d42, "smb"},       {0xfe534d42, "smb"},
    {0x5346414f, "afs"},   {0x6b414653, "afs"},     {0x73757245, "coda"},      {0x00c36400, "ceph"},
    {0x0bd00bd0, "lustre"}, {0x47504653, "gpfs"},   {0x19830326, "beegfs"},    {0xaad7aaea, "panfs"},
    {0x01021997, "9p"},    {0x7461636f, "ocfs2"},   {0x01161970, "gfs2"},
};

const char *an_mount_network(const char *path)
{
    struct statfs fs;
    int rc;
    do rc = statfs(path, &fs);
    while (rc != 0 && errno == EINTR);
    for (size_t i = 0; rc == 0 && i < AN_COUNT_OF(networks); i++)
        if ((uint32_t)fs.f_type == networks[i].magic) return networks[i].name;
    return NULL;
}
#else
const char *an_mount_network(const char *path)
{
    (void)path;
    return NULL;
}
#endif
