/*
 * A file that shrinks, or cannot be read any more, while it is mapped: the access ends in SIGBUS, long after the
 * function that opened the map. A program that watches its maps says which file it was and exits with 3 instead of
 * dying by the signal. Only programs ask for this, never the library: it takes a signal of the process and ends it.
 */
#ifndef AN_OS_MAP_WATCH_H
#define AN_OS_MAP_WATCH_H

#include <stddef.h>

/* From now on. Maps that are open already are not known. Call before there are other threads. */
void an_maps_watch(void);

/*
 * For os/file.c: a map begins or ends. Without a watch both do nothing. The path is copied (its end, when it is long).
 * Any thread; beyond 256 maps at a time the further ones are not known, and SIGBUS there is an ordinary one.
 */
void an_map_watch_add(const void *base, size_t bytes, const char *path);
void an_map_watch_remove(const void *base);

#endif
