/* The decoder's contract: its memory plan, no allocation while it runs, errors, rewinding, interruption. */
#include "support/fail_alloc.h"
#include "support/test.h"

#include "base/alloc.h"
#include "model/decoder.h"
#include "os/cpu.h"
#include "support/gguf_build.h"

#include <stdlib.h>
#include <unistd.h>

enum { N_VOCAB = 32, N_CTX = 48 };

static char path[64];
static an_model_file *model;
static anemo_error err;
static const int32_t IDS[20] = {3, 9, 27, 1, 0, 31, 14, 5, 8, 8, 2, 19, 30, 7, 7, 6, 11, 12, 4, 20};

static an_decoder_options options(void)
{
    return (an_decoder_options){.n_ctx = N_CTX,
                                .n_batch = 16,
                                .kv = AN_KV_F16,
                                .compute = AN_COMPUTE_F32,
                                .n_thread_prefill = 2,
                                .n_thread_decode = 1,
                                .kernels = an_kernels_for(0)};
}

/* Logits of the last n_last of n ids, run in batches of n_batch by n_thread threads, then those last ones in steps. */
static void run_last(an_decoder_options o, const int32_t *ids, int n, int n_last, int n_step, float *out)
{
    an_decoder *d;
    assert_ok(an_decoder_open(&d, model, &o, &err), &err);
    assert_ok(an_decoder_run(d, ids, n - n_last, false, NULL, NULL, &err), &err);
    for (int done = 0; done < n_last; done += n_step) {
        int step = n_last - done < n_step ? n_last - done : n_step;
        assert_ok(an_decoder_run(d, ids + n - n_last + done, step, true, out + done * N_VOCAB, NULL, &err), &err);
    }
    an_decoder_close(d);
}

/*
 * A token's logits have the same bits alone, among any others of a batch, in any batch of the prompt and for any number of
 * threads: that is what makes verified drafts exact. With every type of cache, and with a window.
 */
static void test_same_bits(void **state)
{
    (void)state;
    enum { N = 700, LAST = 40 };
    static const int threads[] = {1, 2, 3, 5}, batches[] = {128, 1, 13, 700, 33}, steps[] = {1, 2, 4, 5, 16, 40};
    static int32_t ids[N];
    static float first[LAST * N_VOCAB], other[LAST * N_VOCAB];
    for (int i = 0; i < N; i++) ids[i] = (i * 7 + i / 5) % N_VOCAB;
    for (int kind = 0; kind < 2 * AN_KV_N; kind++) {
        an_decoder_options o = options();
        o.n_ctx = N;
        o.kv = (an_kv_dtype)(kind / 2);
        o.kv_v = (an_kv_dtype)((kind / 2 + kind % 2) % AN_KV_N);
        o.kv_v_set = kind % 2;
        if (kind >= AN_KV_N) o.kernels = an_kernels_for(an_cpu_isa());
        o.compute = an_kernels_default_compute(o.kernels);
        for (int l = 0; l < model->hp.n_layer; l++) model->layers[l].window = kind % 2 ? 300 : 0;
        for (int i = 0; i < 6; i++) {
            o.n_thread_decode = threads[i % 4];
            o.n_thread_prefill = threads[(i + 1) % 4];
            o.n_batch = batches[i % 5];
            run_last(o, ids, N, LAST, steps[i], i ? other : first);
            for (int j = 0; i && j < LAST * N_VOCAB; j++)
                if (memcmp(&first[j], &other[j], sizeof *first) != 0)
                    fail_msg("cache %s, %s, steps of %d, batches of %d: %.9g and %.9g at token %d", an_kv_name(o.kv),
                             an_kernels_name(o.kernels), steps[i], o.n_batch, (double)first[j], (double)other[j],
                             j / N_VOCAB);
        }
    }
    for (int l = 0; l < model->hp.n_layer; l++) model->layers[l].window = 0;
}

/* Scratch does not grow with the context, apart from the parts that a single token's chunks leave. */
static void test_scratch_is_bounded(void **state)
{
    (void)state;
    an_decoder_plan small, large;
    an_decoder_options o = options();
    o.n_batch = 16;
    o.n_ctx = 1024;
    assert_ok(an_decoder_plan_memory(model, &o, &small, &err), &err);
    o.n_ctx = 32768;
    assert_ok(an_decoder_plan_memory(model, &o, &large, &err), &err);
    uint64_t parts = (uint64_t)model->hp.n_head * 256 * an_attention_part_floats(model->hp.head_dim) * sizeof(float);
    assert_true(large.scratch_bytes - small.scratch_bytes <= parts);
    assert_int_equal(large.activation_bytes, small.activation_bytes);
}

static an_decoder *open_decoder(void)
{
    an_decoder *d;
    an_decoder_options o = options();
    assert_ok(an_decoder_open(&d, model, &o, &err), &err);
    return d;
}

static int count_allocations(void *ctx, size_t bytes, uint64_t idx)
{
    (void)bytes;
    (void)idx;
    ++*(int *)ctx;
    return 0;
}

static void test_running_allocates_nothing(void **state)
{
    (void)state;
    float logits[N_VOCAB];
    int n = 0;
    an_decoder *d = open_decoder();
    an_alloc_set_hook(count_allocations, &n);
    anemo_status prefill = an_decoder_run(d, IDS, 20, false, logits, NULL, &err);
    anemo_status decode = an_decoder_run(d, IDS, 1, false, logits, NULL, &err);
    an_alloc_set_hook(NULL, NULL);
    assert_int_equal(prefill, ANEMO_OK);
    assert_int_equal(decode, ANEMO_OK);
    assert_int_equal(n, 0);
    an_decoder_close(d);
}

/* The largest block that opening takes is the plan's arena, and it is all but the handle and the threads. */
static int find_largest(void *ctx, size_t bytes, uint64_t idx)
{
    (void)idx;
    size_t *largest = ctx;
    if (bytes > *largest) *largest = bytes;
    return 0;
}

static void test_plan(void **state)
{
    (void)state;
    an_decoder_plan plan, twice;
    an_decoder_options o = options();
    assert_ok(an_decoder_plan_memory(model, &o, &plan, &err), &err);
    /* Keys and values: 2 layers x 2 KV heads x 64 positions (48 in whole blocks) x 16 values x 2 bytes, both. Rounding on top. */
    assert_in_range(plan.kv_bytes, 2 * 2 * 2 * 64 * 16 * 2, 2 * 2 * 2 * 64 * 16 * 2 + 256);
    assert_int_equal(plan.total_bytes, plan.kv_bytes + plan.activation_bytes + plan.scratch_bytes);
    size_t largest = 0;
    an_alloc_set_hook(find_largest, &largest);
    an_decoder *d = open_decoder();
    an_alloc_set_hook(NULL, NULL);
    an_decoder_close(d);
    assert_in_range(largest, plan.total_bytes, plan.total_bytes + 128);
    o.n_ctx = 2 * N_CTX;
    assert_ok(an_decoder_plan_memory(model, &o, &twice, &err), &err);
    assert_in_range(twice.kv_bytes, 2 * plan.kv_bytes - 256, 2 * plan.kv_bytes);
    o.kv = AN_KV_F32;
    assert_ok(an_decoder_plan_memory(model, &o, &plan, &err), &err);
    assert_in_range(plan.kv_bytes, 2 * twice.kv_bytes - 256, 2 * twice.kv_bytes);
}

static void test_options(void **state)
{
    (void)state;
    an_decoder *d;
    an_decoder_options o = options();
    o.n_ctx = 0;
    assert_fails(an_decoder_open(&d, model, &o, &err), &err, ANEMO_ERR_INVAL, "context length");
    o = options();
    o.n_batch = 0;
    assert_fails(an_decoder_open(&d, model, &o, &err), &err, ANEMO_ERR_INVAL, "batch");
    o = options();
    o.n_thread_decode = 0;
    assert_fails(an_decoder_open(&d, model, &o, &err), &err, ANEMO_ERR_INVAL, "threads");
    o = options();
    o.n_ctx = 1 << 28; /* 2^28 positions of 256 bytes: more than there is; says need and have */
    assert_fails(an_decoder_open(&d, model, &o, &err), &err, ANEMO_ERR_NOMEM, "available");
}

static void test_out_of_memory(void **state)
{
    (void)state;
    an_decoder_options o = options();
    o.n_thread_prefill = 1;
    fail_alloc f = {0};
    do {
        an_decoder *d;
        f.refused = false;
        an_alloc_set_hook(fail_alloc_at, &f);
        anemo_status status = an_decoder_open(&d, model, &o, &err);
        an_alloc_set_hook(NULL, NULL);
        if (status == ANEMO_OK) an_decoder_close(d); /* how much memory there is may stay unknown */
        else assert_true(f.refused && status == ANEMO_ERR_NOMEM);
        f.at++;
    } while (f.refused);
    assert_true(f.at > 5);
}

static void test_input_errors(void **state)
{
    (void)state;
    float logits[N_VOCAB];
    int32_t bad[3] = {1, N_VOCAB, 2}, many[N_CTX + 1] = {0};
    an_decoder *d = open_decoder();
    assert_fails(an_decoder_run(d, bad, 3, false, logits, NULL, &err), &err, ANEMO_ERR_INVAL, "token id 32");
    bad[1] = -1;
    assert_fails(an_decoder_run(d, bad, 3, false, logits, NULL, &err), &err, ANEMO_ERR_INVAL, "token id -1");
    assert_fails(an_decoder_run(d, many, 0, false, logits, NULL, &err), &err, ANEMO_ERR_INVAL, "no tokens");
    assert_fails(an_decoder_run(d, many, N_CTX + 1, false, logits, NULL, &err), &err, ANEMO_ERR_INVAL, "full");
    assert_int_equal(an_decoder_n_past(d), 0);
    assert_ok(an_decoder_run(d, many, N_CTX, false, NULL, NULL, &err), &err);
    assert_int_equal(an_decoder_n_past(d), N_CTX);
    assert_fails(an_decoder_run(d, many, 1, false, logits, NULL, &err), &err, ANEMO_ERR_INVAL, "full");
    an_decoder_close(d);
}

static void test_rewind(void **state)
{
    (void)state;
    float first[N_VOCAB], again[N_VOCAB], other[N_VOCAB];
    an_decoder *d = open_decoder();
    assert_ok(an_decoder_run(d, IDS, 20, false, first, NULL, &err), &err);
    an_decoder_rewind(d, 12);
    assert_ok(an_decoder_run(d, IDS, 8, false, other, NULL, &err), &err); /* another end */
    assert_memory_not_equal(first, other, sizeof first);
    an_decoder_rewind(d, 0);
    assert_ok(an_decoder_run(d, IDS, 20, false, again, NULL, &err), &err);
    assert_memory_equal(first, again, sizeof first);
    an_decoder_close(d);
}

static void test_interrupt(void **state)
{
    (void)state;
    volatile int stop = 1;
    float logits[N_VOCAB];
    an_decoder *d = open_decoder();
    assert_fails(an_decoder_run(d, IDS, 20, false, logits, &stop, &err), &err, ANEMO_ERR_INTERRUPTED, "");
    stop = 0;
    assert_ok(an_decoder_run(d, IDS, 20, false, logits, &stop, &err), &err);
    an_decoder_close(d);
}

static int open_model(void **state)
{
    (void)state;
    strcpy(path, "/tmp/anemo-decoder-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 3); /* Q4_1 */
    test_buf f = gguf_build_finish(&b);
    test_buf_write(&f, path);
    test_buf_free(&f);
    return an_model_file_open(&model, path, &err) == ANEMO_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    an_model_file_close(model);
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_running_allocates_nothing),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_input_errors),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_scratch_is_bounded),
        cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
