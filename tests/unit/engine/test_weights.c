/*
 * Layouts of weights: which one is taken and what is said of it, sharing between sessions, and the layout cache against files
 * that are stale, cut, damaged, somebody else's or cannot be written. That the bits do not change is in tests/parity.
 */
#include "support/files.h"
#include "support/test.h"

#include "base/str.h"
#include "engine/layout_file.h"
#include "engine/session.h"
#include "os/cpu.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TYPES AN_TEST_DIR "/golden/tiny/types/"

static char dir[64], model[128], cache[128];
static anemo_error err;
static an_str notes;

static void take_note(void *ctx, const char *text)
{
    (void)ctx;
    an_str_appendf(&notes, "%s\n", text);
}

static void copy_file(const char *from, const char *to)
{
    char *data;
    size_t n;
    assert_ok(an_file_read(from, 1 << 24, &data, &n, &err), &err);
    assert_ok(an_file_write(to, data, n, &err), &err);
    an_free(data);
}

static int open_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/anemo-weights-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    snprintf(model, sizeof model, "%s/model.gguf", dir);
    snprintf(cache, sizeof cache, "%s/cache", dir);
    copy_file(TYPES "mix-q4_k_m.gguf", model);
    an_str_clear(&notes);
    unsetenv("ANEMO_ISA");
    return 0;
}

static int close_dir(void **state)
{
    (void)state;
    if (an_path_probe(cache) == AN_PATH_DIR) remove_flat_dir(cache);
    remove_flat_dir(dir);
    return 0;
}

/* The only file of the cache folder. an_free. */
static char *cache_file(void)
{
    char **names;
    size_t n;
    assert_ok(an_dir_list(cache, &names, &n, &err), &err);
    assert_int_equal(n, 1);
    char *path = an_path_join(cache, names[0]);
    an_names_free(names);
    return path;
}

static bool have_panels(void)
{
    const an_kernels *k;
    assert_ok(an_session_choose_kernels(NULL, &k, &err), &err);
    return an_kernels_default_compute(k) == AN_COMPUTE_Q8;
}

/* Three logits tell enough. Checks the layout that was taken, and that the notes hold `note` (NULL: there are none). */
static void check_open(an_weights_layout layout, an_weights_layout expected, const char *note)
{
    static float first[3];
    const int32_t ids[4] = {1, 2, 3, 4};
    an_session *s;
    an_session_options o = {.n_thread = 2, .layout = layout, .cache_dir = cache, .note = take_note};
    an_str_clear(&notes);
    assert_ok(an_session_open(&s, model, &o, &err), &err);
    assert_string_equal(an_weights_layout_name(an_session_effective(s)->layout), an_weights_layout_name(expected));
    if (note ? !strstr(an_str_text(&notes), note) : notes.len > 0)
        fail_msg("notes '%s', expected '%s'", an_str_text(&notes), note ? note : "");
    assert_ok(an_session_eval(s, ids, 4, &err), &err);
    if (layout == AN_WEIGHTS_MAPPED) memcpy(first, an_session_logits(s), sizeof first);
    assert_memory_equal(first, an_session_logits(s), sizeof first);
    an_session_close(s);
}

static void test_choice(void **state)
{
    (void)state;
    an_session *s;
    an_session_options o = {.layout = AN_WEIGHTS_REPACKED, .isa = "scalar"};
    an_weights_layout layout;
    assert_true(an_weights_layout_from_name("cached", &layout));
    assert_int_equal(layout, AN_WEIGHTS_CACHED);
    assert_false(an_weights_layout_from_name("packed", &layout));
    assert_fails(an_session_open(&s, model, &o, &err), &err, ANEMO_ERR_INVAL, "--layout mapped");
    o.layout = AN_WEIGHTS_AUTO;
    assert_ok(an_session_open(&s, model, &o, &err), &err);
    assert_int_equal(an_session_effective(s)->layout, AN_WEIGHTS_MAPPED);
    an_session_close(s);
    if (!have_panels()) return;
    check_open(AN_WEIGHTS_MAPPED, AN_WEIGHTS_MAPPED, NULL);
    check_open(AN_WEIGHTS_AUTO, AN_WEIGHTS_REPACKED, NULL);
    check_open(AN_WEIGHTS_REPACKED, AN_WEIGHTS_REPACKED, NULL);
    o = (an_session_options){.layout = AN_WEIGHTS_REPACKED, .compute_set = true, .compute = AN_COMPUTE_F32};
    assert_fails(an_session_open(&s, model, &o, &err), &err, ANEMO_ERR_INVAL, "q8");
    o = (an_session_options){.layout = AN_WEIGHTS_REPACKED};
    assert_fails(an_session_open(&s, TYPES "type-f16.gguf", &o, &err), &err, ANEMO_ERR_INVAL, "F16");
    o.layout = AN_WEIGHTS_CACHED;
    assert_ok(an_session_open(&s, TYPES "type-f16.gguf", &o, &err), &err);
    assert_int_equal(an_session_effective(s)->layout, AN_WEIGHTS_MAPPED);
    an_session_close(s);
}

static void test_plan(void **state)
{
    (void)state;
    an_model_file *m;
    an_session_plan plan;
    an_session_options o = {.n_thread = 1};
    assert_ok(an_model_file_open(&m, model, &err), &err);
    assert_ok(an_session_plan_memory(m, &o, &plan, &err), &err);
    assert_int_equal(plan.layout, have_panels() ? AN_WEIGHTS_REPACKED : AN_WEIGHTS_MAPPED);
    if (have_panels()) assert_in_range(plan.weight_bytes, m->weight_bytes / 2, 2 * m->weight_bytes);
    o.layout = AN_WEIGHTS_MAPPED;
    assert_ok(an_session_plan_memory(m, &o, &plan, &err), &err);
    assert_int_equal(plan.weight_bytes, 0);
    an_model_file_close(m);
}

/* Memory that is not there: who insists fails with the numbers, the default goes on mapped and says so. */
static void test_short_memory(void **state)
{
    (void)state;
    an_model_file *m;
    an_weights *w;
    an_weights_options o = {.n_thread = 1, .compute = AN_COMPUTE_Q8, .note = take_note, .other_bytes = UINT64_MAX / 2};
    if (!have_panels() || an_mem_available_bytes() == 0) skip();
    assert_ok(an_session_choose_kernels(NULL, &o.kernels, &err), &err);
    assert_ok(an_model_file_open(&m, model, &err), &err);
    o.layout = AN_WEIGHTS_REPACKED;
    assert_fails(an_weights_open(&w, m, &o, &err), &err, ANEMO_ERR_NOMEM, "available");
    o.layout = AN_WEIGHTS_AUTO;
    assert_ok(an_weights_open(&w, m, &o, &err), &err);
    assert_int_equal(an_weights_effective(w), AN_WEIGHTS_MAPPED);
    assert_non_null(strstr(an_str_text(&notes), "stay mapped"));
    an_weights_close(w);
    an_model_file_close(m);
}

/* Sessions over one model have one copy of its weights; one that wants them mapped has its way. */
static void test_shared(void **state)
{
    (void)state;
    an_model_file *m;
    an_weights *a, *b, *c;
    an_weights_shelf shelf = {.lock = an_mutex_open()};
    an_weights_options o = {.n_thread = 2, .compute = AN_COMPUTE_Q8};
    if (!have_panels()) skip();
    assert_non_null(shelf.lock);
    assert_ok(an_session_choose_kernels(NULL, &o.kernels, &err), &err);
    assert_ok(an_model_file_open(&m, model, &err), &err);
    assert_ok(an_weights_take(&a, &shelf, m, &o, &err), &err);
    assert_ok(an_weights_take(&b, &shelf, m, &o, &err), &err);
    assert_ptr_equal(a, b);
    assert_in_range(an_weights_memory_bytes(a), 1, 2 * m->weight_bytes);
    assert_int_equal(an_weights_model(a)->layers[0].wq.layout, AN_LAYOUT_PANELS);
    assert_int_equal(an_weights_model(a)->token_embd.layout, AN_LAYOUT_ROWS);
    o.layout = AN_WEIGHTS_MAPPED;
    assert_ok(an_weights_take(&c, &shelf, m, &o, &err), &err);
    assert_ptr_not_equal(a, c);
    assert_int_equal(an_weights_model(c)->layers[0].wq.layout, AN_LAYOUT_ROWS);
    assert_ptr_equal(an_weights_model(c)->layers[0].wq.data, m->layers[0].wq.data);
    an_weights_shelf_close(&shelf);
    an_model_file_close(m);
}

/* ------------------------------------------------------------------------------------------------ the layout cache */

static void set_time(const char *path, const struct stat *like, int more_s)
{
    struct timespec t[2] = {like->st_atim, like->st_mtim};
    t[1].tv_sec += more_s;
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void test_cache(void **state)
{
    (void)state;
    struct stat st;
    if (!have_panels()) skip();
    check_open(AN_WEIGHTS_MAPPED, AN_WEIGHTS_MAPPED, NULL);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "written in");
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, NULL);
    assert_int_equal(stat(model, &st), 0);
    set_time(model, &st, 1);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "older than the model");
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, NULL);
    /* Another model in its place: of another type, then of other weights with the same length and time. */
    copy_file(TYPES "type-q8_0.gguf", model);
    set_time(model, &st, 1);
    check_open(AN_WEIGHTS_MAPPED, AN_WEIGHTS_MAPPED, NULL);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "made anew");
    an_model_file *m;
    assert_ok(an_model_file_open(&m, model, &err), &err);
    const char *data = m->layers[0].w_down.data, *begin = (const char *)an_gguf_shard_map(m->gguf, 0)->data;
    long at = data - begin + 3;
    an_model_file_close(m);
    FILE *f = fopen(model, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(0x55, f), 0x55);
    assert_int_equal(fclose(f), 0);
    set_time(model, &st, 1);
    check_open(AN_WEIGHTS_MAPPED, AN_WEIGHTS_MAPPED, NULL);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "other weights");
}

/* Files that are not what was written: refused, with a reason, and made anew. */
static void test_cache_bad(void **state)
{
    (void)state;
    char *path, *data;
    size_t n;
    if (!have_panels()) skip();
    check_open(AN_WEIGHTS_MAPPED, AN_WEIGHTS_MAPPED, NULL);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "written in");
    path = cache_file();
    assert_ok(an_file_read(path, 1 << 24, &data, &n, &err), &err);
    static const struct {
        const char *what;
        long cut; /* bytes to leave; from the end when not above 0 */
    } CUTS[] = {{"cut short", 10}, {"bytes, its header says", 4096}, {"bytes, its header says", -1}};
    for (size_t i = 0; i < AN_COUNT_OF(CUTS); i++) {
        size_t left = CUTS[i].cut > 0 ? (size_t)CUTS[i].cut : n + (size_t)CUTS[i].cut;
        assert_ok(an_file_write(path, data, left, &err), &err);
        check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, CUTS[i].what);
    }
    assert_ok(an_file_write(path, "", 0, &err), &err);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "made anew");
    assert_ok(an_file_write(path, "GGUF", 4, &err), &err);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "made anew");
    copy_file(model, path);
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED, "not a file of the layout cache");
    an_free(data);
    an_free(path);
}

static void test_cache_unwritable(void **state)
{
    (void)state;
    if (!have_panels()) skip();
    check_open(AN_WEIGHTS_MAPPED, AN_WEIGHTS_MAPPED, NULL);
    snprintf(cache, sizeof cache, "%s/below", model); /* a folder inside a file */
    check_open(AN_WEIGHTS_CACHED, AN_WEIGHTS_REPACKED, "going on without");
    snprintf(cache, sizeof cache, "%s/cache", dir);
}

/* ------------------------------------------------------------------------------------------------------ the header */

enum { N = 3, PANELS = 4096 };

/* A whole file of three matrices. an_free. */
static unsigned char *make_file(size_t *size)
{
    unsigned char *header, tail[AN_LAYOUT_TAIL];
    an_layout_entry entries[N];
    an_layout_header h = {.entries = entries, .n = N, .header_bytes = an_layout_header_bytes(N)};
    memset(h.source, 'a', AN_LAYOUT_DIGEST);
    h.file_bytes = h.header_bytes + N * PANELS + AN_LAYOUT_TAIL;
    for (int i = 0; i < N; i++)
        entries[i] = (an_layout_entry){
            .dtype = 1, .n_row = 16, .n_col = 32, .offset = h.header_bytes + (uint64_t)i * PANELS, .bytes = PANELS - 64};
    assert_ok(an_layout_header_build(&h, &header, tail, &err), &err);
    unsigned char *out = an_calloc(1, (size_t)h.file_bytes);
    assert_non_null(out);
    memcpy(out, header, (size_t)h.header_bytes);
    memcpy(out + h.file_bytes - AN_LAYOUT_TAIL, tail, AN_LAYOUT_TAIL);
    an_free(header);
    *size = (size_t)h.file_bytes;
    return out;
}

static void test_header(void **state)
{
    (void)state;
    size_t size;
    unsigned char *file = make_file(&size);
    an_layout_header h;
    assert_ok(an_layout_header_read(&h, file, size, "file", &err), &err);
    assert_int_equal(h.n, N);
    assert_int_equal(h.entries[2].offset, h.header_bytes + 2 * PANELS);
    assert_int_equal(h.source[0], 'a');
    an_layout_header_free(&h);
    /* No byte of header and tail may change, and none be missing. */
    for (size_t i = 0; i < size; i++) {
        if (i >= 4096 && i < size - AN_LAYOUT_TAIL) continue;
        file[i] ^= 1;
        assert_fails(an_layout_header_read(&h, file, size, "file", &err), &err, ANEMO_ERR_FORMAT, "file: ");
        file[i] ^= 1;
    }
    for (size_t cut = 1; cut < size; cut += cut < 300 ? 1 : 97)
        assert_fails(an_layout_header_read(&h, file, size - cut, "file", &err), &err, ANEMO_ERR_FORMAT, "file: ");
    an_free(file);
}

/* Headers that are whole and signed, and lie. */
static void test_header_lies(void **state)
{
    (void)state;
    const uint64_t base = an_layout_header_bytes(N), end = base + N * PANELS;
    static const char *const INSIDE = "does not lie inside";
    const struct {
        uint64_t offset, bytes;
    } LIES[] = {{0, 64},           {base + 64, 64},   {base + PANELS - 4096, 64}, {end, 4096},        {end + 4096, 64},
                {UINT64_MAX, 64},  {UINT64_MAX & ~(uint64_t)4095, 8192}, {base + PANELS, UINT64_MAX}, {base + PANELS, 0}};
    for (size_t i = 0; i < AN_COUNT_OF(LIES); i++) {
        unsigned char *header, tail[AN_LAYOUT_TAIL];
        an_layout_entry entries[N] = {{.offset = base, .bytes = PANELS}, {.offset = LIES[i].offset, .bytes = LIES[i].bytes},
                                      {.offset = base + 2 * PANELS, .bytes = PANELS}};
        an_layout_header h = {.entries = entries, .n = N, .header_bytes = base, .file_bytes = end + AN_LAYOUT_TAIL};
        assert_ok(an_layout_header_build(&h, &header, tail, &err), &err);
        unsigned char *file = an_calloc(1, (size_t)h.file_bytes);
        assert_non_null(file);
        memcpy(file, header, (size_t)base);
        memcpy(file + end, tail, AN_LAYOUT_TAIL);
        assert_fails(an_layout_header_read(&h, file, (size_t)end + AN_LAYOUT_TAIL, "file", &err), &err, ANEMO_ERR_FORMAT, INSIDE);
        an_free(header);
        an_free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_choice, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_plan, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_short_memory, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_shared, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_cache, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_cache_bad, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_cache_unwritable, open_dir, close_dir),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_header_lies),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    an_str_free(&notes);
    return failed;
}
