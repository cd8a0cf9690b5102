/* Files that a test made. */
#ifndef AN_TESTS_SUPPORT_FILES_H
#define AN_TESTS_SUPPORT_FILES_H

#include "support/test.h"

#include "base/alloc.h"
#include "os/file.h"

/* Remove everything in a flat directory, and the directory. */
static inline void remove_flat_dir(const char *dir)
{
    anemo_error err;
    char **names;
    size_t n;
    assert_ok(an_dir_list(dir, &names, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        char *path = an_path_join(dir, names[i]);
        assert_ok(an_path_remove(path, &err), &err);
        an_free(path);
    }
    an_names_free(names);
    assert_ok(an_path_remove(dir, &err), &err);
}

#endif
