/*
 * A plain driver for a fuzz target: runs it on the files and folders given, without a fuzzing
 * engine, so that every build and compiler replays the committed inputs.
 */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "os/file.h"

#include <stdio.h>

static int replay_file(const char *path)
{
    anemo_error err;
    char *data;
    size_t n;
    if (an_file_read(path, UINT64_C(1) << 30, &data, &n, &err) != ANEMO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)data, n);
    an_free(data);
    return 1;
}

static int replay_dir(const char *dir)
{
    anemo_error err;
    char **names;
    size_t n;
    int count = 0;
    if (an_dir_list(dir, &names, &n, &err) != ANEMO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    for (size_t i = 0; i < n && count >= 0; i++) {
        char *path = an_path_join(dir, names[i]);
        int one = path ? replay_file(path) : -1;
        count = one < 0 ? -1 : count + one;
        an_free(path);
    }
    an_names_free(names);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int n = an_path_probe(argv[i]) == AN_PATH_DIR ? replay_dir(argv[i]) : replay_file(argv[i]);
        if (n < 0) return 1;
        total += n;
    }
    if (total == 0) {
        fprintf(stderr, "usage: %s FILE|FOLDER…; nothing was replayed\n", argv[0]);
        return 1;
    }
    printf("%d inputs replayed\n", total);
    return 0;
}
