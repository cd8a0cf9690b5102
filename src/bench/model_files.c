/* A model's weight files: their pages in the page cache, dropping them before a cold load, and who they are. */
#include "bench/bench_internal.h"

#include "base/alloc.h"
#include "base/sha256.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 99999 };

typedef bool (*file_fn)(void *ctx, const char *path);

/* Call fn for every shard of a split GGUF file, whose first one is `path`, or for the one file; true when all calls were. */
static bool each_shard(const char *path, file_fn fn, void *ctx)
{
    static const char first[] = "-00001-of-", tail[] = ".gguf";
    const char *at = strstr(an_path_base(path), first);
    long n = at ? strtol(at + sizeof first - 1, NULL, 10) : 0;
    if (!at || n < 1 || n > SHARDS_MAX || strlen(at) != sizeof first - 1 + 5 + sizeof tail - 1) return fn(ctx, path);
    bool all = true;
    for (long i = 1; i <= n && all; i++) {
        an_str shard = {0};
        an_str_appendf(&shard, "%.*s-%05ld-of-%05ld%s", (int)(at - path), path, i, n, tail);
        all = !shard.failed && fn(ctx, an_str_text(&shard));
        an_str_free(&shard);
    }
    return all;
}

/* The same for each weight file of a directory. */
static bool each_file(const char *path, an_container container, file_fn fn, void *ctx)
{
    char **names;
    size_t n;
    bool all = true;
    if (container == AN_CONTAINER_GGUF) return each_shard(path, fn, ctx);
    if (an_dir_list(path, &names, &n, NULL) != ANEMO_OK) return false;
    for (size_t i = 0; i < n && all; i++) {
        if (!an_str_ends_with(names[i], ".safetensors")) continue;
        char *file = an_path_join(path, names[i]);
        all = file && fn(ctx, file);
        an_free(file);
    }
    an_names_free(names);
    return all;
}

typedef struct page_count {
    uint64_t resident, total;
} page_count;

static bool count_pages(void *ctx, const char *path)
{
    page_count *count = ctx;
    an_file_map map;
    if (an_file_map_open(&map, path, NULL) != ANEMO_OK) return false;
    int64_t r = an_file_map_resident(&map);
    count->total += map.size;
    if (r > 0) count->resident += (uint64_t)r;
    an_file_unmap(&map);
    return r >= 0;
}

const char *an_page_cache_state(const char *path, an_container container)
{
    page_count count = {0};
    if (!each_file(path, container, count_pages, &count) || count.total == 0) return "unknown";
    double share = (double)count.resident / (double)count.total;
    return share >= 0.99 ? "warm" : share < 0.01 ? "cold" : "mixed";
}

static bool drop(void *ctx, const char *path)
{
    int64_t left;
    (void)ctx;
    return an_file_drop_cache(path, &left, NULL) == ANEMO_OK;
}

bool an_page_cache_drop(const char *path, an_container container)
{
    return each_file(path, container, drop, NULL);
}

static bool digest(void *ctx, const char *path)
{
    an_str *list = ctx;
    an_file_map map;
    char hex[65];
    if (an_file_map_open(&map, path, NULL) != ANEMO_OK) return false;
    bool done = an_sha256_hex(map.data, (size_t)map.size, hex);
    an_file_unmap(&map);
    if (done) an_str_append(list, hex);
    return done;
}

void an_model_digest(const char *path, an_container container, char out[65])
{
    an_str list = {0};
    out[0] = '\0';
    bool done = each_file(path, container, digest, &list) && list.len >= 64 && !list.failed;
    if (done && list.len == 64)
        memcpy(out, list.data, 65);
    else if (done && !an_sha256_hex(list.data, list.len, out))
        out[0] = '\0';
    an_str_free(&list);
}
