/*
 * Mutations of a fuzz target's corpus without a fuzzing engine: mutate N FOLDER. First the
 * systematic ones of every small seed (each truncation, each bit, each aligned-or-not length field
 * set to extreme values), then random ones, N inputs in all, the same on every machine. `mutate N
 * FOLDER OUT` writes them into OUT instead of running them.
 */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/str.h"
#include "os/file.h"

#include <stdio.h>

enum { SYSTEMATIC_BYTES_MAX = 4096, SEEDS_MAX = 256 };

typedef struct seed {
    char *data;
    size_t n;
} seed;

typedef struct run {
    seed seeds[SEEDS_MAX];
    size_t n_seed;
    uint64_t limit, done;
    const char *out; /* NULL: run the target */
    uint8_t *buf;    /* as long as the longest seed, and 4096 more */
} run;

static const uint64_t extremes[] = {0,
                                    1,
                                    0x7F,
                                    0xFF,
                                    0xFFFF,
                                    0x7FFFFFFF,
                                    0x80000000,
                                    0xFFFFFFFF,
                                    UINT64_C(1) << 32,
                                    UINT64_C(1) << 61,
                                    UINT64_C(1) << 63,
                                    UINT64_MAX};

/* One input; false when there were enough. */
static int submit(run *r, size_t n)
{
    if (r->done >= r->limit) return 0;
    if (r->out) {
        anemo_error err;
        char path[600];
        snprintf(path, sizeof path, "%s/%06llu", r->out, (unsigned long long)r->done);
        if (an_file_write(path, r->buf, n, &err) != ANEMO_OK) {
            fprintf(stderr, "%s\n", err.message);
            exit(1);
        }
    } else {
        LLVMFuzzerTestOneInput(r->buf, n);
    }
    r->done++;
    return 1;
}

static void load(run *r, const seed *s)
{
    memcpy(r->buf, s->data, s->n);
}

/* Every step-th mutation of each kind, so that a small N still sees all kinds. */
static void systematic(run *r, const seed *s, size_t step)
{
    size_t head = s->n < SYSTEMATIC_BYTES_MAX ? s->n : SYSTEMATIC_BYTES_MAX;
    for (size_t n = 0; n < head; n += step) {
        load(r, s);
        if (!submit(r, n)) return;
    }
    for (size_t bit = 0; bit < head * 8; bit += step) {
        load(r, s);
        r->buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (!submit(r, s->n)) return;
    }
    for (size_t k = 0; k < (sizeof extremes / sizeof *extremes) * head; k += step) {
        size_t at = k / (sizeof extremes / sizeof *extremes), width = k % 2 ? 8 : 4;
        if (at + width > s->n) break;
        load(r, s);
        memcpy(r->buf + at, &extremes[k % (sizeof extremes / sizeof *extremes)], width);
        if (!submit(r, s->n)) return;
    }
}

/* A few random edits: bytes, fields, cuts, copies of one part over another, a splice with another
 * seed. */
static size_t random_edit(run *r, an_rng *rng, size_t n, size_t cap)
{
    size_t at = n ? (size_t)an_rng_below(rng, n) : 0, len = 1 + (size_t)an_rng_below(rng, 64);
    switch (an_rng_below(rng, 7)) {
    case 0:
        if (n) r->buf[at] = (uint8_t)an_rng_u64(rng);
        return n;
    case 1:
        if (n) r->buf[at] ^= (uint8_t)(1u << an_rng_below(rng, 8));
        return n;
    case 2:
        if (at + 8 <= n)
            memcpy(r->buf + at, &extremes[an_rng_below(rng, sizeof extremes / sizeof *extremes)],
                   8);
        return n;
    case 3:
        return at;
    case 4: /* remove a part */
        if (len > n - at) len = n - at;
        memmove(r->buf + at, r->buf + at + len, n - at - len);
        return n - len;
    case 5: /* double a part */
        if (len > n - at) len = n - at;
        if (n + len > cap) return n;
        memmove(r->buf + at + len, r->buf + at, n - at);
        return n + len;
    default: {
        const seed *other = &r->seeds[an_rng_below(rng, r->n_seed)];
        size_t take = other->n < len ? other->n : len,
               from = other->n > take ? (size_t)an_rng_below(rng, other->n - take) : 0;
        if (at + take > n) return n;
        memcpy(r->buf + at, other->data + from, take);
        return n;
    }
    }
}

int main(int argc, char **argv)
{
    static run r;
    anemo_error err;
    char **names;
    size_t n, longest = 0;
    if (argc < 3 || argc > 4 || !an_parse_u64(argv[1], &r.limit)) {
        fprintf(stderr, "usage: %s N FOLDER [OUT]\n", argv[0]);
        return 2;
    }
    r.out = argc == 4 ? argv[3] : NULL;
    if (an_dir_list(argv[2], &names, &n, &err) != ANEMO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < n && r.n_seed < SEEDS_MAX; i++) {
        char *path = an_path_join(argv[2], names[i]);
        seed *s = &r.seeds[r.n_seed];
        if (!path || an_file_read(path, 1 << 20, &s->data, &s->n, &err) != ANEMO_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        if (s->n > longest) longest = s->n;
        r.n_seed++;
        an_free(path);
    }
    an_names_free(names);
    r.buf = malloc(longest + 4096);
    if (!r.buf || r.n_seed == 0) return 1;

    uint64_t total = 0, limit = r.limit;
    for (size_t i = 0; i < r.n_seed; i++)
        total += 21 * (uint64_t)(r.seeds[i].n < SYSTEMATIC_BYTES_MAX ? r.seeds[i].n
                                                                     : SYSTEMATIC_BYTES_MAX);
    size_t step = (size_t)(2 * total / (limit ? limit : 1)) + 1;
    r.limit = limit / 2;
    for (size_t i = 0; i < r.n_seed; i++)
        systematic(&r, &r.seeds[i], step);
    r.limit = limit;
    an_rng rng;
    an_rng_seed(&rng, 20261123);
    for (;;) {
        const seed *s = &r.seeds[an_rng_below(&rng, r.n_seed)];
        size_t len = s->n;
        load(&r, s);
        for (uint64_t edits = 1 + an_rng_below(&rng, 4); edits > 0; edits--)
            len = random_edit(&r, &rng, len, longest + 4096);
        if (!submit(&r, len)) break;
    }
    printf("%llu inputs\n", (unsigned long long)r.done);
    for (size_t i = 0; i < r.n_seed; i++)
        an_free(r.seeds[i].data);
    free(r.buf);
    return 0;
}
