/* What kind of file system a path lies on. */
#ifndef AN_OS_MOUNT_H
#define AN_OS_MOUNT_H

/*
 * The name of the network or cluster file system that holds an existing path ("nfs", "smb", "lustre", …); NULL when it is local
 * or cannot be told. Static.
 */
const char *an_mount_network(const char *path);

#endif
