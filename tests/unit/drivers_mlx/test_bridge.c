/*
 * The bridge to libmlx against plain C arithmetic: each operation on small arrays, failures as
 * status and message, and no handle left at the end of any test.
 */
#include "drivers/mlx/mlx_graph.h"
#include "support/test.h"

#include <math.h>

static anemo_error err;

static int no_handle_left(void **state)
{
    (void)state;
    assert_int_equal(an_mlx_live_handles(), 0);
    return 0;
}

/* n numbers in [-1, 1), different for each seed. */
static void fill(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1;
    }
}

static an_mlx_array array_f32(an_mlx_graph *g, const float *x, size_t n_dim, const int *shape)
{
    return an_mlxg_data(g, x, shape, n_dim, AN_MLX_F32);
}

static void read_back(const an_mlx_graph *g, an_mlx_array a, float *out, size_t n)
{
    if (g->status != ANEMO_OK) fail_msg("%s", err.message);
    assert_ok(an_mlx_copy_f32(out, n, a, &err), &err);
}

static void assert_close(const float *got, const double *want, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance))
            fail_msg("element %zu is %.9g, expected %.9g", i, (double)got[i], want[i]);
}

static void test_elementwise(void **state)
{
    (void)state;
    an_mlx_graph g;
    float x[6], y[6], got[6];
    double want[6];
    an_mlxg_init(&g, &err);
    fill(x, 6, 1);
    fill(y, 6, 2);
    an_mlx_array a = array_f32(&g, x, 2, (int[]){2, 3}), b = array_f32(&g, y, 2, (int[]){2, 3});
    read_back(&g, an_mlxg_add(&g, a, b), got, 6);
    for (int i = 0; i < 6; i++)
        want[i] = (double)x[i] + (double)y[i];
    assert_close(got, want, 6, 1e-7);
    read_back(&g, an_mlxg_multiply(&g, a, b), got, 6);
    for (int i = 0; i < 6; i++)
        want[i] = (double)x[i] * (double)y[i];
    assert_close(got, want, 6, 1e-7);
    read_back(&g, an_mlxg_silu(&g, a), got, 6);
    for (int i = 0; i < 6; i++)
        want[i] = (double)x[i] / (1 + exp(-(double)x[i]));
    assert_close(got, want, 6, 1e-6);
    an_mlx_array half = an_mlxg_astype(&g, a, AN_MLX_F16);
    assert_int_equal(an_mlx_dtype_of(half), AN_MLX_F16);
    read_back(&g, half, got, 6);
    for (int i = 0; i < 6; i++)
        want[i] = (double)x[i];
    assert_close(got, want, 6, 1.0 / 2048);
    an_mlxg_clear(&g);
}

static void test_shapes(void **state)
{
    (void)state;
    an_mlx_graph g;
    float x[24], got[24];
    double want[24];
    an_mlxg_init(&g, &err);
    for (int i = 0; i < 24; i++)
        x[i] = (float)i;
    an_mlx_array a = array_f32(&g, x, 4, (int[]){1, 2, 3, 4});
    assert_int_equal(an_mlx_n_dim(a), 4);
    assert_int_equal(an_mlx_dim(a, 3), 4);
    assert_int_equal(an_mlx_dim(a, 4), 0);
    read_back(&g, an_mlxg_swap_middle(&g, a), got, 24);
    for (int j = 0, n = 0; j < 3; j++)
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < 4; k++)
                want[n++] = i * 12 + j * 4 + k;
    assert_close(got, want, 24, 0);
    /* Positions 1 and 2 of 3, and the same replaced by the first. */
    read_back(&g, an_mlxg_positions(&g, a, 1, 3), got, 16);
    for (int i = 0, n = 0; i < 2; i++)
        for (int j = 1; j < 3; j++)
            for (int k = 0; k < 4; k++)
                want[n++] = i * 12 + j * 4 + k;
    assert_close(got, want, 16, 0);
    an_mlx_array first = an_mlxg_positions(&g, a, 0, 1);
    read_back(&g, an_mlxg_positions_set(&g, a, first, 2), got, 24);
    for (int i = 0; i < 24; i++)
        want[i] = i % 12 < 8 ? i : i - 8;
    assert_close(got, want, 24, 0);
    read_back(&g, an_mlxg_concatenate(&g, first, first, 2), got, 16);
    for (int i = 0; i < 16; i++)
        want[i] = i / 8 * 12 + i % 4;
    assert_close(got, want, 16, 0);
    an_mlx_array flat = an_mlxg_reshape3(&g, a, 1, 6, 4);
    assert_int_equal(an_mlx_n_dim(flat), 3);
    an_mlx_array zeros = an_mlxg_zeros4(&g, (int[]){1, 1, 2, 2}, AN_MLX_BF16);
    read_back(&g, zeros, got, 4);
    assert_close(got, (double[]){0, 0, 0, 0}, 4, 0);
    an_mlxg_clear(&g);
}

static void test_rows_and_argmax(void **state)
{
    (void)state;
    an_mlx_graph g;
    float table[12], got[8];
    double want[8];
    an_mlxg_init(&g, &err);
    for (int i = 0; i < 12; i++)
        table[i] = (float)i;
    an_mlx_array rows = array_f32(&g, table, 2, (int[]){3, 4});
    an_mlx_array ids = an_mlxg_data(&g, (int32_t[]){2, 0}, (int[]){1, 2}, 2, AN_MLX_I32);
    read_back(&g, an_mlxg_take(&g, rows, ids), got, 8);
    for (int i = 0; i < 8; i++)
        want[i] = i < 4 ? 8 + i : i - 4;
    assert_close(got, want, 8, 0);
    /* A tie goes to the smallest index, at the start, in the middle and across vector lanes. */
    for (int n = 3; n < 200; n += 28) {
        float logits[200] = {0};
        int32_t best = -1;
        logits[1] = logits[n - 1] = logits[n / 2 + 1 < n ? n / 2 + 1 : 1] = 7;
        an_mlx_array a = array_f32(&g, logits, 3, (int[]){1, 1, n});
        assert_ok(an_mlx_item_i32(&best, an_mlxg_argmax(&g, a), &err), &err);
        assert_int_equal(best, 1);
        an_mlxg_clear(&g);
    }
}

static void test_products(void **state)
{
    (void)state;
    enum { N = 3, IN = 64, OUT = 5, GROUP = 32, WORDS = IN / 8 };
    an_mlx_graph g;
    float x[N * IN], scales[OUT * IN / GROUP], biases[OUT * IN / GROUP], got[OUT * IN];
    double w[OUT * IN], want[OUT * IN];
    uint32_t codes[OUT * WORDS];
    an_mlxg_init(&g, &err);
    fill(x, N * IN, 3);
    fill(scales, OUT * IN / GROUP, 4);
    fill(biases, OUT * IN / GROUP, 5);
    for (uint32_t i = 0; i < OUT * WORDS; i++)
        codes[i] = (i + 1) * 2654435761u;
    for (int o = 0; o < OUT; o++) {
        for (int i = 0; i < IN; i++) {
            uint32_t code = codes[o * WORDS + i / 8] >> (4 * (i % 8)) & 15;
            int group = o * (IN / GROUP) + i / GROUP;
            w[o * IN + i] = code * (double)scales[group] + (double)biases[group];
        }
    }
    an_mlx_array a = array_f32(&g, x, 3, (int[]){1, N, IN});
    an_mlx_array packed = an_mlxg_data(&g, codes, (int[]){OUT, WORDS}, 2, AN_MLX_U32);
    an_mlx_array s = array_f32(&g, scales, 2, (int[]){OUT, IN / GROUP});
    an_mlx_array b = array_f32(&g, biases, 2, (int[]){OUT, IN / GROUP});
    an_mlx_array plain = an_mlxg_dequantize(&g, packed, s, b, GROUP, 4);
    read_back(&g, plain, got, OUT * IN);
    assert_close(got, w, OUT * IN, 1e-5);
    for (int n = 0; n < N; n++) {
        for (int o = 0; o < OUT; o++) {
            want[n * OUT + o] = 0;
            for (int i = 0; i < IN; i++)
                want[n * OUT + o] += (double)x[n * IN + i] * w[o * IN + i];
        }
    }
    read_back(&g, an_mlxg_quantized_matmul(&g, a, packed, s, b, GROUP, 4), got, N * OUT);
    assert_close(got, want, N * OUT, 1e-3);
    an_mlx_array turned = {NULL};
    assert_ok(an_mlx_transpose(&turned, plain, (int[]){1, 0}, 2, &err), &err);
    read_back(&g, an_mlxg_matmul(&g, a, turned), got, N * OUT);
    assert_close(got, want, N * OUT, 1e-3);
    an_mlx_array_free(&turned);
    an_mlxg_clear(&g);
}

static void test_norm_and_rope(void **state)
{
    (void)state;
    enum { HEADS = 2, N = 3, DIM = 8, OFFSET = 11 };
    an_mlx_graph g;
    float x[HEADS * N * DIM], weight[DIM], periods[DIM / 2], got[HEADS * N * DIM];
    double want[HEADS * N * DIM];
    an_mlxg_init(&g, &err);
    fill(x, HEADS * N * DIM, 6);
    fill(weight, DIM, 7);
    for (int i = 0; i < DIM / 2; i++)
        periods[i] = (float)pow(50, 2.0 * i / DIM) * 1.5f;
    for (int r = 0; r < HEADS * N; r++) {
        double sum = 0;
        for (int i = 0; i < DIM; i++)
            sum += (double)x[r * DIM + i] * (double)x[r * DIM + i];
        for (int i = 0; i < DIM; i++)
            want[r * DIM + i] = (double)x[r * DIM + i] / sqrt(sum / DIM + 1e-5) * (double)weight[i];
    }
    an_mlx_array a = array_f32(&g, x, 4, (int[]){1, HEADS, N, DIM});
    read_back(&g, an_mlxg_rms_norm(&g, a, array_f32(&g, weight, 1, (int[]){DIM}), 1e-5f), got,
              HEADS * N * DIM);
    assert_close(got, want, HEADS * N * DIM, 1e-5);
    for (int r = 0; r < HEADS * N; r++) {
        for (int i = 0; i < DIM / 2; i++) {
            double angle = (OFFSET + r % N) / (double)periods[i];
            double re = (double)x[r * DIM + i], im = (double)x[r * DIM + i + DIM / 2];
            want[r * DIM + i] = re * cos(angle) - im * sin(angle);
            want[r * DIM + i + DIM / 2] = re * sin(angle) + im * cos(angle);
        }
    }
    an_mlx_array p = array_f32(&g, periods, 1, (int[]){DIM / 2});
    read_back(&g, an_mlxg_rope(&g, a, DIM, OFFSET, p), got, HEADS * N * DIM);
    assert_close(got, want, HEADS * N * DIM, 1e-5);
    an_mlxg_clear(&g);
}

enum { HEADS = 6, HEADS_KV = 2, N_QUERY = 3, N_KEY = 5, DIM = 4 };

/* Attention by its definition; sees(q, k) says whether query q sees key k. */
static void attend(const float *q, const float *k, const float *v, bool (*sees)(int, int),
                   double *out)
{
    for (int h = 0; h < HEADS; h++) {
        const float *kh = k + h / (HEADS / HEADS_KV) * N_KEY * DIM,
                    *vh = v + h / (HEADS / HEADS_KV) * N_KEY * DIM;
        for (int i = 0; i < N_QUERY; i++) {
            double weight[N_KEY], sum = 0;
            for (int j = 0; j < N_KEY; j++) {
                double dot = 0;
                for (int d = 0; d < DIM; d++)
                    dot += (double)q[(h * N_QUERY + i) * DIM + d] * (double)kh[j * DIM + d];
                weight[j] = sees(i, j) ? exp(0.5 * dot) : 0;
                sum += weight[j];
            }
            for (int d = 0; d < DIM; d++) {
                double *o = &out[(h * N_QUERY + i) * DIM + d];
                *o = 0;
                for (int j = 0; j < N_KEY; j++)
                    *o += weight[j] / sum * (double)vh[j * DIM + d];
            }
        }
    }
}

static bool sees_all(int i, int j)
{
    (void)i, (void)j;
    return true;
}

static bool sees_past(int i, int j)
{
    return j <= i + N_KEY - N_QUERY;
}

static bool sees_window(int i, int j)
{
    return sees_past(i, j) && j > i + N_KEY - N_QUERY - 2;
}

static void test_attention(void **state)
{
    (void)state;
    enum { N_OUT = HEADS * N_QUERY * DIM };
    an_mlx_graph g;
    float q[HEADS * N_QUERY * DIM], k[HEADS_KV * N_KEY * DIM], v[HEADS_KV * N_KEY * DIM],
        got[N_OUT];
    double want[N_OUT];
    bool see[N_QUERY * N_KEY];
    an_mlxg_init(&g, &err);
    fill(q, HEADS * N_QUERY * DIM, 8);
    fill(k, HEADS_KV * N_KEY * DIM, 9);
    fill(v, HEADS_KV * N_KEY * DIM, 10);
    for (int i = 0; i < N_QUERY * N_KEY; i++)
        see[i] = sees_window(i / N_KEY, i % N_KEY);
    an_mlx_array qa = array_f32(&g, q, 4, (int[]){1, HEADS, N_QUERY, DIM});
    an_mlx_array ka = array_f32(&g, k, 4, (int[]){1, HEADS_KV, N_KEY, DIM});
    an_mlx_array va = array_f32(&g, v, 4, (int[]){1, HEADS_KV, N_KEY, DIM});
    an_mlx_array mask = an_mlxg_data(&g, see, (int[]){N_QUERY, N_KEY}, 2, AN_MLX_BOOL),
                 none = {NULL};
    read_back(&g, an_mlxg_attention(&g, qa, ka, va, 0.5f, AN_MLX_MASK_NONE, none), got, N_OUT);
    attend(q, k, v, sees_all, want);
    assert_close(got, want, N_OUT, 1e-5);
    read_back(&g, an_mlxg_attention(&g, qa, ka, va, 0.5f, AN_MLX_MASK_CAUSAL, none), got, N_OUT);
    attend(q, k, v, sees_past, want);
    assert_close(got, want, N_OUT, 1e-5);
    read_back(&g, an_mlxg_attention(&g, qa, ka, va, 0.5f, AN_MLX_MASK_ARRAY, mask), got, N_OUT);
    attend(q, k, v, sees_window, want);
    assert_close(got, want, N_OUT, 1e-5);
    an_mlxg_clear(&g);
}

static void test_failures(void **state)
{
    (void)state;
    an_mlx_graph g;
    float x[6] = {0};
    an_mlx_array out = {NULL}, none = {NULL};
    an_mlx_weights w = {NULL};
    an_mlxg_init(&g, &err);
    an_mlx_array a = array_f32(&g, x, 2, (int[]){2, 3});
    assert_fails(an_mlx_matmul(&out, a, a, &err), &err, ANEMO_ERR_ENGINE, "matmul");
    assert_null(out.ctx);
    assert_fails(an_mlx_add(&out, a, none, &err), &err, ANEMO_ERR_ENGINE, "empty");
    assert_fails(an_mlx_copy_f32(x, 5, a, &err), &err, ANEMO_ERR_ENGINE, "number of elements");
    assert_fails(an_mlx_weights_load(&w, "/nonexistent/model.safetensors", &err), &err,
                 ANEMO_ERR_ENGINE, "mlx: load");
    assert_null(w.ctx);
    assert_fails(an_mlx_weights_get(&out, w, "model.norm.weight", &err), &err, ANEMO_ERR_NOTFOUND,
                 "model.norm.weight");
    /* After the first failure a graph does nothing and says what that one was. */
    an_mlx_array bad = an_mlxg_matmul(&g, a, a);
    assert_null(bad.ctx);
    assert_int_equal(g.status, ANEMO_ERR_ENGINE);
    size_t n = g.n;
    assert_null(an_mlxg_add(&g, a, a).ctx);
    assert_int_equal(g.n, n);
    assert_non_null(strstr(err.message, "matmul"));
    assert_null(an_mlxg_keep(&g, a).ctx);
    an_mlxg_clear(&g);
    /* Without a record nothing is written. */
    assert_int_equal(an_mlx_add(&out, none, none, NULL), ANEMO_ERR_ENGINE);
}

static void test_library(void **state)
{
    (void)state;
    an_mlx_graph g;
    an_mlx_memory memory = {0};
    float x[4096];
    assert_string_equal(an_mlx_version(), an_mlx_version_built());
    assert_ok(an_mlx_use_gpu(false, &err), &err);
    an_mlxg_init(&g, &err);
    fill(x, 4096, 11);
    an_mlx_array a = array_f32(&g, x, 1, (int[]){4096}), twice = an_mlxg_add(&g, a, a),
                 again = {NULL};
    assert_ok(an_mlx_async_eval(&twice, 1, &err), &err);
    assert_ok(an_mlx_synchronize(&err), &err);
    assert_ok(an_mlx_memory_get(&memory, &err), &err);
    assert_true(memory.active_bytes >= 2 * sizeof x && memory.peak_bytes >= memory.active_bytes);
    again = an_mlxg_keep(&g, twice);
    an_mlxg_clear(&g);
    float got[4096];
    assert_ok(an_mlx_copy_f32(got, 4096, again, &err), &err);
    for (int i = 0; i < 4096; i++)
        assert_true(got[i] == 2 * x[i]);
    an_mlx_array_free(&again);
    an_mlx_array_free(&again);
    assert_ok(an_mlx_clear_cache(&err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_elementwise, no_handle_left),
        cmocka_unit_test_teardown(test_shapes, no_handle_left),
        cmocka_unit_test_teardown(test_rows_and_argmax, no_handle_left),
        cmocka_unit_test_teardown(test_products, no_handle_left),
        cmocka_unit_test_teardown(test_norm_and_rope, no_handle_left),
        cmocka_unit_test_teardown(test_attention, no_handle_left),
        cmocka_unit_test_teardown(test_failures, no_handle_left),
        cmocka_unit_test_teardown(test_library, no_handle_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
