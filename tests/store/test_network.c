/* store: network file systems are known by their number, and a database is not made on one. */
#include "support/test.h"

#include "base/alloc.h"
#include "os/file.h"
#include "os/mount.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/vfs.h>

static long number;

int __wrap_statfs(const char *path, struct statfs *fs);

/* Every path lies on a file system of this number; -1: cannot be told. */
int __wrap_statfs(const char *path, struct statfs *fs)
{
    (void)path;
    memset(fs, 0, sizeof *fs);
    fs->f_type = (__typeof__(fs->f_type))number;
    errno = EACCES;
    return number == -1 ? -1 : 0;
}

static void known_numbers(void **state)
{
    (void)state;
    static const struct {
        long number;
        const char *name; /* NULL: local */
    } cases[] = {{0x6969, "nfs"}, {0xff534d42, "smb"}, {(int)0xff534d42, "smb"}, {0x0bd00bd0, "lustre"}, {0xef53, NULL},
                 {0x01021994, NULL}, {0x58465342, NULL}, {-1, NULL}};
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        number = cases[i].number;
        const char *name = an_mount_network("/");
        if (cases[i].name) assert_string_equal(name, cases[i].name);
        else assert_null(name);
    }
}

static void no_database_on_a_network(void **state)
{
    (void)state;
    anemo_error err;
    an_store *s;
    char dir[] = "/tmp/anemo-mount-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = an_path_join(dir, "r.db");
    number = 0x6969;
    assert_fails(an_store_open(&s, path, AN_STORE_WRITE, &err), &err, ANEMO_ERR_UNSUPPORTED, "network file system (nfs)");
    assert_int_equal(an_path_probe(path), AN_PATH_ABSENT);
    number = 0xef53;
    assert_ok(an_store_open(&s, path, AN_STORE_WRITE, &err), &err);
    an_store_close(s);
    number = 0x6969;
    assert_ok(an_store_open(&s, path, AN_STORE_READ, &err), &err); /* to get the results out */
    an_store_close(s);
    assert_ok(an_path_remove(path, &err), &err);
    assert_ok(an_path_remove(dir, &err), &err);
    an_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_numbers), cmocka_unit_test(no_database_on_a_network)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
