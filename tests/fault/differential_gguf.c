/*
 * Mutated GGUF files through our reader and through ggml's: what ggml refuses we must refuse too, except for two
 * listed differences. A target for fuzz/mutate.c; ggml's library comes from ANEMO_ENGINES, without it the test is skipped.
 * ggml sees a file only when we accepted it, in a child process of its own: a crash there counts as a refusal.
 */
#include "fuzz/fuzz.h"

#include "format/gguf.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ggml's gguf_init_params, passed by value: with a context given it also reads the tensors' data. */
struct ggml_params {
    bool no_alloc;
    void **ctx;
};

static struct {
    void *(*open)(const char *path, struct ggml_params params);
    void (*log_set)(void (*log)(int level, const char *text, void *data), void *data);
    uint64_t n_input, n_ours, n_theirs, n_gap, n_unpadded, n_bad;
} run;

enum { MEMORY_MAX = 1 << 30, SECONDS_MAX = 10, SHOWN_MAX = 10 };

static void quiet(int level, const char *text, void *data)
{
    (void)level;
    (void)text;
    (void)data;
}

static void report(void)
{
    printf("%llu inputs: we accept %llu, ggml %llu of these; refused by ggml only: %llu for gaps between tensors, "
           "%llu for padding cut off, %llu for other reasons\n",
           (unsigned long long)run.n_input, (unsigned long long)run.n_ours, (unsigned long long)run.n_theirs,
           (unsigned long long)run.n_gap, (unsigned long long)run.n_unpadded, (unsigned long long)run.n_bad);
    fflush(stdout);
    if (run.n_bad > 0 || run.n_ours < run.n_input / 100 || run.n_theirs == 0) _exit(1);
}

static void skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(77);
}

static void load_ggml(void)
{
    const char *engines = getenv("ANEMO_ENGINES");
    char pattern[4096];
    glob_t found;
    if (!engines || !*engines) skip("ANEMO_ENGINES is not set");
    snprintf(pattern, sizeof pattern, "%s/lib/python3*/site-packages/lib/libggml-base.so", engines);
    if (glob(pattern, 0, NULL, &found) != 0) skip("the engines hold no libggml-base.so");
    void *lib = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
    if (!lib) skip(dlerror());
    *(void **)&run.open = dlsym(lib, "gguf_init_from_file");
    *(void **)&run.log_set = dlsym(lib, "ggml_log_set");
    if (!run.open || !run.log_set) skip("libggml-base.so lacks gguf_init_from_file");
    atexit(report);
}

/* Does ggml open these bytes? */
static bool ggml_accepts(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("mutated", 0), status;
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
        const struct rlimit memory = {MEMORY_MAX, MEMORY_MAX}, no_core = {0, 0};
        void *ctx = NULL;
        setrlimit(RLIMIT_AS, &memory);
        setrlimit(RLIMIT_CORE, &no_core);
        alarm(SECONDS_MAX);
        if (!freopen("/dev/null", "w", stderr)) _exit(2);
        run.log_set(quiet, NULL);
        _exit(run.open(path, (struct ggml_params){.no_alloc = false, .ctx = &ctx}) ? 0 : 1);
    }
    if (waitpid(child, &status, 0) != child) abort();
    close(fd);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/*
 * The first listed difference: ggml wants each tensor to begin where the one before it, padded, ends (formats.md 1.1); a
 * reader needs only that they are aligned, inside the file and apart.
 */
static bool has_gaps(const an_gguf *g)
{
    uint64_t alignment = an_gguf_alignment(g), expected = 0;
    for (size_t i = 0; i < an_gguf_n_tensor(g); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(g, i);
        if (i > 0 && t->offset != expected) return true;
        expected = t->offset + (t->bytes + alignment - 1) / alignment * alignment;
    }
    return false;
}

/* The second: the file ends with the last tensor, without the padding that ggml reads behind it. */
static bool lacks_padding(const an_gguf *g, size_t size)
{
    uint64_t alignment = an_gguf_alignment(g), end = 0;
    for (size_t i = 0; i < an_gguf_n_tensor(g); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(g, i);
        if (t->offset + t->bytes > end) end = t->offset + t->bytes;
    }
    return (end + alignment - 1) / alignment * alignment > size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_gguf *g;
    if (!run.open) load_ggml();
    run.n_input++;
    if (an_gguf_open_bytes(&g, data, size, "mutated", &err) != ANEMO_OK) return 0;
    run.n_ours++;
    if (ggml_accepts(data, size)) {
        run.n_theirs++;
    } else if (has_gaps(g)) {
        run.n_gap++;
    } else if (lacks_padding(g, size)) {
        run.n_unpadded++;
    } else if (run.n_bad++ < SHOWN_MAX) {
        char path[64];
        snprintf(path, sizeof path, "differential-%llu.gguf", (unsigned long long)run.n_input);
        FILE *f = fopen(path, "wb");
        if (f) {
            fwrite(data, 1, size, f);
            fclose(f);
        }
        printf("input %llu: accepted by us, refused by ggml; kept as %s\n", (unsigned long long)run.n_input, path);
    }
    an_gguf_close(g);
    return 0;
}
