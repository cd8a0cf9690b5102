/*
 * kcheck: tests every kernel of every CPU level that this machine can run against double precision and against the
 * scalar decoders. A level's function is tested when no lower level had it. Also the self-test (broken kernels
 * must be found) and a small benchmark.
 */
#include "kernels/kcheck.h"

#include "base/isa.h"
#include "kernels/wide.h"
#include "os/cpu.h"
#include "quant/encode.h"

#include <fnmatch.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kcheck_fail(kcheck *c, const char *fmt, ...)
{
    c->n_failed++;
    if (c->quiet || c->n_failed > 5) return;
    va_list args;
    va_start(args, fmt);
    printf("    %s %s: ", c->k->name, c->op);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

bool kcheck_near(kcheck *c, const char *what, long index, double got, double exact, double bound)
{
    if (fabs(got - exact) <= bound) return true;
    kcheck_fail(c, "%s %ld: %.9g, exact %.9g, error %.3g > %.3g", what, index, got, exact, fabs(got - exact), bound);
    return false;
}

enum { MAX_OPS = 400 };
static kcheck_op ops[MAX_OPS];
static char op_names[MAX_OPS][48];
static int n_op;

static void add_op(void (*run)(kcheck *, const kcheck_op *), an_dtype type, an_affine affine, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void add_op(void (*run)(kcheck *, const kcheck_op *), an_dtype type, an_affine affine, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(op_names[n_op], sizeof op_names[n_op], fmt, args);
    va_end(args);
    ops[n_op] = (kcheck_op){op_names[n_op], run, type, affine, false};
    n_op++;
}

static void add_wide_op(void (*run)(kcheck *, const kcheck_op *), an_dtype type, an_affine affine, const char *name)
{
    add_op(run, type, affine, type == AN_DTYPE_OTHER ? "%s" : "matmul_bf16_%s", name);
    ops[n_op - 1].wide = true;
}

static void add_weight_ops(an_dtype type, an_affine affine, const char *name)
{
    test_weight probe = {.w = {.dtype = type, .affine = affine}};
    an_code_kind kind;
    add_op(check_matmul_f32, type, affine, "matmul_f32_%s", name);
    if (an_wide_takes(&probe.w)) add_wide_op(check_matmul_wide, type, affine, name);
    if (!an_codes_kind(&probe.w, &kind)) return;
    add_op(check_codes, type, affine, "codes_%s", name);
    add_op(check_unpack, type, affine, "unpack_%s", name);
    add_op(check_matmul_q8, type, affine, "matmul_q8_%s", name);
    add_op(check_panels, type, affine, "panels_%s", name);
    add_op(check_fused, type, affine, "fused_%s", name);
    add_op(check_invariance, type, affine, "invariance_%s", name);
    add_op(check_blocks, type, affine, "blocks_%s", name);
}

static void list_ops(void)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8};
    static const an_dtype scale_types[] = {AN_DTYPE_F16, AN_DTYPE_BF16, AN_DTYPE_F32};
    an_affine none = {0};
    for (int type = 0; type < AN_DTYPE_AFFINE; type++)
        add_weight_ops((an_dtype)type, none, an_dtype_get((an_dtype)type)->name);
    for (int b = 0; b < 6; b++) {
        /* Each width with each group, the three scale types in turn. */
        for (int g = 0; g < 3; g++) {
            char name[48];
            an_affine affine = {.bits = bits[b], .group = 32 << g, .scale_dtype = scale_types[(b + g) % 3]};
            snprintf(name, sizeof name, "affine%d_%d_%s", bits[b], affine.group,
                     an_dtype_get(affine.scale_dtype)->name);
            add_weight_ops(AN_DTYPE_AFFINE, affine, name);
        }
    }
    for (int i = 0; i < FP_MODES; i++) add_weight_ops(fp_modes[i].type, fp_modes[i].affine, an_dtype_get(fp_modes[i].type)->name);
    add_wide_op(check_wide_invariance, AN_DTYPE_OTHER, none, "wide_invariance");
    add_wide_op(check_wide_memory, AN_DTYPE_OTHER, none, "wide_memory");
    add_op(check_twins, AN_DTYPE_OTHER, none, "twins");
    add_op(check_quantize, AN_DTYPE_OTHER, none, "quantize");
    add_op(check_quantize_super, AN_DTYPE_OTHER, none, "quantize_super");
    add_op(check_super_extremes, AN_DTYPE_OTHER, none, "superblocks");
    add_op(check_rms_norm, AN_DTYPE_OTHER, none, "rms_norm");
    add_op(check_exp, AN_DTYPE_OTHER, none, "exp");
    add_op(check_silu, AN_DTYPE_OTHER, none, "silu_mul");
    add_op(check_rope, AN_DTYPE_OTHER, none, "rope_head");
    add_op(check_kv_store, AN_DTYPE_OTHER, none, "kv_store");
    add_op(check_row_f16, AN_DTYPE_OTHER, none, "row_f16");
    add_op(check_attention, AN_DTYPE_OTHER, none, "attention");
    for (int type = 0; type < AN_DTYPE_AFFINE; type++) {
        add_op(check_decode, (an_dtype)type, none, "decode_%s", an_dtype_get((an_dtype)type)->name);
        if (!an_encode_can((an_dtype)type)) continue;
        add_op(check_encode, (an_dtype)type, none, "encode_%s", an_dtype_get((an_dtype)type)->name);
        add_op(check_encode_weighted, (an_dtype)type, none, "encode_weighted_%s", an_dtype_get((an_dtype)type)->name);
    }
    add_op(check_nonfinite, AN_DTYPE_OTHER, none, "nonfinite");
    add_op(check_square_sums, AN_DTYPE_OTHER, none, "square_sums");
    add_op(check_peak, AN_DTYPE_OTHER, none, "peak");
}

/* Two broken tables: one adds a small error to one lane, one writes rows that were not asked for. */
static const an_kernels *broken_of;
static an_code_kind broken_kind;

static void q8_wrong_lane(const an_q8_job *job)
{
    broken_of->q8[broken_kind](job);
    job->out[3] *= 1.0001f;
}

static void q8_writes_too_much(const an_q8_job *job)
{
    an_q8_job all = *job;
    /* Only where a later token's room lies behind, so that the guard page does not catch it first. */
    if (job->n_tok > 1 && job->n_row < 14) {
        all.n_tok = 1;
        all.n_row += 1;
    }
    broken_of->q8[broken_kind](&all);
    if (all.n_tok != job->n_tok) broken_of->q8[broken_kind](job);
}

/*
 * Levels of this build; levels with emulated tiles, of which only what concerns tiles is run: the rest is another level's, and
 * so it is of the level amx; and avxvnni in another encoding. Of avx512bf16 only attention is its own.
 */
static const an_kernels *levels[16];
static int n_level, n_built;

extern const an_wide kcheck_wide_plain, kcheck_wide_avx512;
extern const an_kernels kcheck_vnni512;

static void add_emulated(an_kernels *table, const an_kernels *rest, const an_wide *wide, const char *name, uint32_t needs)
{
    *table = *rest;
    table->name = name;
    table->needs |= needs;
    table->default_compute = AN_COMPUTE_BF16;
    table->wide = wide;
    levels[n_level++] = table;
}

static void list_levels(void)
{
    static an_kernels plain;
    const an_kernels *const *built = an_kernels_levels(&n_built);
    while (n_level < n_built) {
        levels[n_level] = built[n_level];
        n_level++;
    }
    add_emulated(&plain, &an_kernels_scalar, &kcheck_wide_plain, "tiles", 0);
#if defined(__x86_64__)
    static an_kernels avx512;
    add_emulated(&avx512, &an_kernels_avx512vnni, &kcheck_wide_avx512, "tiles512", AN_ISA_AVX512_BF16 | AN_ISA_AVX512_VBMI);
    levels[n_level++] = &kcheck_vnni512;
#endif
}

static int self_test(uint64_t seed)
{
    int n_missed = 0;
    for (int i = 0; i < 2; i++) {
        an_kernels table = an_kernels_scalar;
        table.wide = &kcheck_wide_plain;
        kcheck c = {.k = &table, .op = "self-test", .quiet = true};
        an_rng_seed(&c.rng, seed);
        check_wide_broken(&c, i);
        printf("self-test: %s tiles %s\n", i ? "short" : "correct", c.n_failed ? "fail" : "pass");
        n_missed += (c.n_failed > 0) != i;
    }
    static const struct {
        an_dtype type;
        an_code_kind kind;
        int n_col;
    } weights[] = {{AN_DTYPE_Q4_1, AN_CODES_MIN32, 576}, {AN_DTYPE_Q4_K, AN_CODES_K32, 512}};
    an_q8_fn *broken[] = {NULL, q8_wrong_lane, q8_writes_too_much};
    broken_of = an_kernels_for(an_cpu_isa());
    for (int i = 0; i < 2 * 3; i++) {
        an_kernels table = *broken_of;
        int how = i % 3;
        broken_kind = weights[i / 3].kind;
        if (broken[how]) table.q8[broken_kind] = broken[how];
        kcheck c = {.k = &table, .op = "self-test", .quiet = true};
        an_rng_seed(&c.rng, seed);
        test_weight w = weight_make(&c, weights[i / 3].type, (an_affine){0}, 21, weights[i / 3].n_col, 0, false);
        check_matmul_q8_once(&c, &w, 4, 21, 0, false);
        weight_free(&w);
        bool found = c.n_failed > 0;
        printf("self-test: %s %s kernel %s\n", how == 0 ? "correct" : how == 1 ? "wrong-lane" : "overwriting",
               an_dtype_get(weights[i / 3].type)->name, found ? "fails" : "passes");
        n_missed += found != (how > 0);
    }
    return n_missed ? 1 : 0;
}

static int run_levels(const char *pattern, const char *only, uint64_t seed, int n_round)
{
    int n_run = 0, n_failed = 0, n_lacking = 0;
    uint32_t isa = an_cpu_isa();
    for (int l = 0; l < n_level; l++) {
        if (only && strcmp(only, levels[l]->name)) continue;
        if (levels[l]->needs & ~isa) {
            printf("%-12s not run: this processor lacks it\n", levels[l]->name);
            n_lacking++;
            continue;
        }
        int n_level_run = 0, n_level_failed = 0;
        for (int i = 0; i < n_op; i++) {
            if (fnmatch(pattern, ops[i].name, 0) || ops[i].wide != (levels[l]->wide != NULL)) continue;
            if (levels[l]->kv_pairs && !ops[i].wide && ops[i].run != check_attention) continue;
            kcheck c = {.k = levels[l], .op = ops[i].name, .n_round = n_round};
            an_rng_seed(&c.rng, seed + (uint64_t)i);
            ops[i].run(&c, &ops[i]);
            n_level_run++;
            n_level_failed += c.n_failed > 0;
            if (c.n_failed) printf("FAILED %s %s: %d\n", levels[l]->name, ops[i].name, c.n_failed);
        }
        printf("%-12s %d operations, %d failed\n", levels[l]->name, n_level_run, n_level_failed);
        n_run += n_level_run;
        n_failed += n_level_failed;
    }
    printf("%d passed, %d failed (seed %llu)\n", n_run - n_failed, n_failed, (unsigned long long)seed);
    if (!n_run && n_lacking) return 77;
    return n_failed || !n_run ? 1 : 0;
}

static const char usage[] =
    "usage: kcheck [options]\n"
    "\n"
    "Tests every kernel of every CPU level that this processor has: products against double precision, decoders and\n"
    "encoders against the scalar ones, every array ending at an inaccessible page.\n"
    "\n"
    "  --isa NAME     only the level that ANEMO_ISA=NAME takes: scalar, avx2, avxvnni, avx512, avx512vnni, avx512bf16,\n"
    "                 amx, neon, dotprod, i8mm\n"
    "  --level NAME   only this level; also tiles and tiles512, which emulate AMX, and vnni512, which is avxvnni by AVX-512\n"
    "  --op GLOB      only these operations, as --list names them\n"
    "  --seed N       other inputs\n"
    "  --rounds N     inputs of the checks that take any number of them\n"
    "  --list         print the operations\n"
    "  --self-test    broken kernels must be found\n"
    "  --bench        speeds instead. --op picks: a type (Q4_K, affine4, …), encode, attention(_TYPE), rows; fused_TYPE, few tokens\n"
    "                 beside reading; tiles_TYPE, matrix tiles; roof_TYPE, one and two threads as shares of what the level\n"
    "                 reads and multiplies in the same run, K = 4096 and 14336\n"
    "  --help         print this\n"
    "\n"
    "Exit status: 0 passed, 1 something failed, 2 wrong options, 77 this processor lacks the level.\n";

/* The value of option `name`, given as --name=VALUE or --name VALUE; NULL when argv[*i] is another one. */
static const char *option(int argc, char **argv, int *i, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n)) return NULL;
    if (argv[*i][n] == '=') return argv[*i] + n + 1;
    return !argv[*i][n] && *i + 1 < argc ? argv[++*i] : NULL;
}

/* The level that ANEMO_ISA takes for a name; NULL for an unknown name. */
static const char *level_of(const char *isa)
{
    uint32_t mask;
    return an_kernels_isa_mask(isa, &mask) ? an_kernels_name(an_kernels_for(mask)) : NULL;
}

static int run_benches(const char *pattern, const char *level)
{
    int n_run = 0;
    for (int l = 0; l < n_level; l++) {
        if ((levels[l]->needs & ~an_cpu_isa()) || (!level && l >= n_built)) continue;
        if (level && strcmp(level, levels[l]->name)) continue;
        bench_run(levels[l], pattern);
        n_run++;
    }
    return n_run ? 0 : 77;
}

int main(int argc, char **argv)
{
    const char *pattern = "*", *level = NULL, *value;
    bool list = false, bench = false, self = false;
    uint64_t seed = 20261123;
    int n_round = 60;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            return 0;
        }
        if (!strcmp(argv[i], "--list")) list = true;
        else if (!strcmp(argv[i], "--bench")) bench = true;
        else if (!strcmp(argv[i], "--self-test")) self = true;
        else if ((value = option(argc, argv, &i, "--op"))) pattern = value;
        else if ((value = option(argc, argv, &i, "--level"))) level = value;
        else if ((value = option(argc, argv, &i, "--isa")) && level_of(value)) level = level_of(value);
        else if ((value = option(argc, argv, &i, "--seed"))) seed = strtoull(value, NULL, 0);
        else if ((value = option(argc, argv, &i, "--rounds"))) n_round = atoi(value);
        else {
            fprintf(stderr, "kcheck: '%s' is no option or lacks a value that it takes\n%s", argv[i], usage);
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    list_ops();
    list_levels();
    if (list) {
        for (int i = 0; i < n_op; i++) puts(ops[i].name);
        return 0;
    }
    if (self) return self_test(seed);
    return bench ? run_benches(pattern, level) : run_levels(pattern, level, seed, n_round);
}
