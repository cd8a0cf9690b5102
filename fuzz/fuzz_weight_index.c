/*
 * The bytes of an index of weight files, in a folder of this process: the names that come out of it
 * are plain, and each pair is handed out as the index has it.
 */
#include "fuzz/fuzz.h"

#include "format/weight_list.h"
#include "os/file.h"

#include <stdio.h>
#include <unistd.h>

static char folder[64], path[128];

static void clean_up(void)
{
    unlink(path);
    rmdir(folder);
}

static anemo_status check_pair(void *ctx, const char *tensor, const char *file, anemo_error *err)
{
    const an_weight_list *list = ctx;
    (void)err;
    (void)tensor;
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i], file) == 0) return ANEMO_OK;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_weight_list list;
    if (!folder[0]) {
        /* In memory where there is such a place: one file is written for each input. */
        snprintf(folder, sizeof folder, "%s/anemo-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(folder)) abort();
        snprintf(path, sizeof path, "%s/%s", folder, an_weight_set_torch.index);
        atexit(clean_up);
    }
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
    if (an_weight_list_open(&list, folder, &an_weight_set_torch, &err) == ANEMO_OK) {
        for (size_t i = 0; i < list.n; i++)
            if (strpbrk(list.items[i], "/\\") || list.items[i][0] == '.' ||
                strlen(list.items[i]) < 5)
                abort();
        if (an_weight_list_pairs(&list, folder, &an_weight_set_torch, check_pair, &list, &err) !=
            ANEMO_OK)
            abort();
        an_weight_list_free(&list);
    } else if (!err.message[0]) {
        abort();
    }
    return 0;
}
