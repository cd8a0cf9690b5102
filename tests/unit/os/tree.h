/* A made-up /proc and /sys in a folder of the test's own. */
#ifndef AN_TESTS_OS_TREE_H
#define AN_TESTS_OS_TREE_H

#include "support/test.h"

#include "base/alloc.h"
#include "os/file.h"

#include <stdlib.h>

static inline char *tree_make(void)
{
    char *dir = an_strdup("/tmp/anemo-tree-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void tree_put_bytes(const char *root, const char *path, const void *data, size_t n)
{
    anemo_error err;
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    char *dir = an_path_dir(full);
    assert_ok(an_dir_make(dir, &err), &err);
    assert_ok(an_file_write(full, data, n, &err), &err);
    an_free(dir);
}

static inline void tree_put(const char *root, const char *path, const char *text)
{
    tree_put_bytes(root, path, text, strlen(text));
}

/* Removes everything and frees root. */
static inline void tree_free(char *root)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
    an_free(root);
}

#endif
