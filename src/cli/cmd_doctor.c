/* anemo doctor: is this machine fit to measure, which engines are there, and does each of them give
 * a token? */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/doctor_fitness.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "bench/environment.h"
#include "drivers/driver.h"
#include "kernels/kernels.h"
#include "os/cpu.h"
#include "os/file.h"
#include "quant/dtype.h"

#include <stdio.h>
#include <string.h>

typedef struct doctor_args {
    int64_t threads, timeout_s;
    bool json, quick, strict;
} doctor_args;

/* docs/exit-codes.md: a gate that the user asked for. */
enum { EXIT_GATE = 7 };

static const an_option options[] = {
    {.name = "json",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(doctor_args, json),
     .help = "Print JSON"},
    {.name = "quick",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(doctor_args, quick),
     .help = "Measure neither bandwidth nor arithmetic nor noise"},
    {.name = "strict",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(doctor_args, strict),
     .help = "Exit 7 when a finding is bad"},
    {.name = "threads",
     .short_name = "t",
     .kind = AN_OPT_I64,
     .offset = offsetof(doctor_args, threads),
     .min = 1,
     .max = 1024,
     .arg = "N",
     .help = "Threads of the trial, and the most that are measured (default: the usable CPUs)"},
    {.name = "timeout",
     .kind = AN_OPT_I64,
     .offset = offsetof(doctor_args, timeout_s),
     .min = 1,
     .max = 1000000,
     .arg = "S",
     .help = "Seconds after which an engine counts as hung (default: 120)"},
    AN_OPTION_END,
};

/* The models that engines are tried on: one of each container, NULL where there is none. */
typedef struct trial_models {
    char *path[2]; /* by an_container */
} trial_models;

static anemo_status find_models(const char *given, trial_models *m, anemo_error *err)
{
    static const char *const defaults[] = {"smollm2-135m-instruct-q4_1",
                                           "smollm2-135m-instruct-q4_1-mlx"};
    an_container container;
    char *path = NULL;
    if (given) {
        anemo_status status = an_cli_model_path(given, &path, err);
        if (status == ANEMO_OK) status = an_model_probe(path, &container, err);
        if (status == ANEMO_OK)
            m->path[container] = path;
        else
            an_free(path);
        return status;
    }
    for (size_t i = 0; i < AN_COUNT_OF(defaults); i++) {
        if (an_model_resolve(defaults[i], &path, NULL) != ANEMO_OK) continue;
        if (an_model_probe(path, &container, NULL) == ANEMO_OK && !m->path[container])
            m->path[container] = path;
        else
            an_free(path);
    }
    return ANEMO_OK;
}

static const char *model_for(const trial_models *m, const an_engine_info *e)
{
    for (int c = AN_CONTAINER_GGUF; c <= AN_CONTAINER_MLX; c++)
        if (m->path[c] && an_engine_reads(e, (an_container)c)) return m->path[c];
    return NULL;
}

/* Load and generate one token; on success its time from ids to token. */
static anemo_status try_token(an_client *c, const char *model, const doctor_args *a, double *load_s,
                              double *token_s, anemo_error *err)
{
    static const int32_t prompt[] = {1, 2, 3, 4};
    an_settings s = an_settings_default();
    an_load_result loaded = {0};
    an_generation g = {0};
    const an_generate_request r = {.prompt_ids = prompt,
                                   .n_prompt = AN_COUNT_OF(prompt),
                                   .n_predict = 1,
                                   .fixed_length = true};
    anemo_status status = ANEMO_OK;
    s.n_ctx = 64;
    if (a->threads) s.threads = s.threads_batch = (int)a->threads;
    AN_TRY(an_client_load(c, model, &s, &loaded, err));
    AN_TRY(an_client_generate(c, &r, &g, err));
    *load_s = loaded.load_s;
    *token_s = g.n ? g.t_s[0] : 0;
cleanup:
    an_load_result_free(&loaded);
    an_generation_free(&g);
    return status;
}

static void set_reason(json_t *entry, const char *status, an_client *c, const anemo_error *err)
{
    an_str reason = {0};
    if (c)
        an_client_describe_failure(c, err, &reason);
    else
        an_str_append(&reason, err->message);
    json_object_set_new(entry, "status", json_string(status));
    json_object_set_new(entry, "reason", an_json_str(&reason));
    an_str_free(&reason);
}

/* One engine as JSON; *failed when it is there and does not work. */
static json_t *examine(const an_engine_info *e, const trial_models *models, const doctor_args *a,
                       bool *failed)
{
    anemo_error err = {0};
    char **argv = NULL;
    an_client *c = NULL;
    double load_s, token_s;
    const char *model = model_for(models, e);
    const an_client_options o = {.timeout_ns = (uint64_t)a->timeout_s * 1000000000u};
    json_t *entry = json_pack("{s:s}", "engine", e->name);
    anemo_status status = an_engine_command(e, NULL, &argv, &err);
    if (status != ANEMO_OK) {
        set_reason(entry, "missing", NULL, &err);
        json_object_set_new(entry, "how_to_get", json_string(e->how_to_get));
        return entry;
    }
    if (an_client_open(&c, (const char *const *)argv, &o, &err) != ANEMO_OK) {
        *failed = true;
        set_reason(entry, "failed", NULL, &err);
        goto cleanup;
    }
    const an_hello *h = an_client_hello(c);
    json_object_set_new(entry, "version", json_string(h->engine_version));
    json_object_set_new(entry, "driver_version", json_string(h->driver_version));
    json_object_set_new(entry, "driver", an_json_text(argv[0], strlen(argv[0])));
    json_object_set_new(entry, "library", h->library ? json_string(h->library) : json_null());
    json_object_set(entry, "devices", json_object_get(h->raw, "devices"));
    if (!model) {
        json_object_set_new(entry, "status", json_string("untried"));
        json_object_set_new(entry, "reason",
                            json_string("no model that it reads: name one, or run ./quickstart"));
    } else if (try_token(c, model, a, &load_s, &token_s, &err) != ANEMO_OK) {
        *failed = true;
        set_reason(entry, "failed", c, &err);
    } else {
        json_object_set_new(entry, "status", json_string("ok"));
        json_object_set_new(entry, "model", json_string(model));
        json_object_set_new(entry, "load_s", an_json_real(load_s));
        json_object_set_new(entry, "ttft_s", an_json_real(token_s));
    }
cleanup:
    an_client_close(c);
    an_argv_free(argv);
    return entry;
}

/* The level that a session would take now, and the kernel of each operation. */
static json_t *kernels_json(void)
{
    static const char *const ops[] = {"rms_norm",      "silu_mul",     "rope",
                                      "kv_store",      "quantize",     "attention_f32",
                                      "attention_f16", "attention_bf16", "attention_q8_0",
                                      "matmul_affine"};
    uint32_t mask = an_cpu_isa(), wanted;
    const char *forced = an_env("ANEMO_ISA");
    if (forced && an_kernels_isa_mask(forced, &wanted)) mask &= wanted;
    const an_kernels *k = an_kernels_for(mask);
    json_t *serving = json_object();
    for (size_t i = 0; i < AN_COUNT_OF(ops); i++) {
        const char *name = an_kernels_serving(k, ops[i]);
        json_object_set_new(serving, ops[i], name ? json_string(name) : json_null());
    }
    for (int type = 0; type < AN_DTYPE_N; type++) {
        const an_dtype_info *info = an_dtype_get((an_dtype)type);
        char op[64];
        if (!info->weight) continue;
        snprintf(op, sizeof op, "matmul_%s", info->name);
        const char *name = an_kernels_serving(k, op);
        json_object_set_new(serving, op, name ? json_string(name) : json_null());
    }
    return json_pack("{s:s,s:s?,s:s,s:o}", "level", an_kernels_name(k), "forced", forced, "compute",
                     an_compute_name(an_kernels_default_compute(k)), "serving",
                     serving);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void print_engine(const json_t *e)
{
    const char *status = text_of(e, "status");
    const json_t *devices = json_object_get(e, "devices");
    size_t i;
    json_t *device;
    printf("  %-17s %-8s %s\n", text_of(e, "engine"), status, text_of(e, "version"));
    if (*text_of(e, "library")) printf("%20s%-8s %s\n", "", "library", text_of(e, "library"));
    json_array_foreach(devices, i, device)
    {
        const char *kind = text_of(device, "kind");
        if (strcmp(kind, "cpu") != 0)
            printf("%20s%-8s %s %s\n", "", kind, text_of(device, "name"),
                   text_of(device, "description"));
    }
    if (!strcmp(status, "ok"))
        printf("%20strial    load %.2f s, first token %.3f s on %s\n", "",
               json_number_value(json_object_get(e, "load_s")),
               json_number_value(json_object_get(e, "ttft_s")), an_path_base(text_of(e, "model")));
    const char *reason = text_of(e, "reason");
    while (*reason) {
        size_t n = strcspn(reason, "\n");
        printf("%20s%.*s\n", "", (int)n, reason);
        reason += n + (reason[n] == '\n');
    }
}

/* Operations grouped by the kernel that serves them: mostly one line. */
static void print_kernels(const json_t *kernels)
{
    json_t *serving = json_object_get(kernels, "serving"), *value;
    const char *op, *level = text_of(kernels, "level");
    size_t n = 0;
    printf("Kernels\n  level             %s%s, activations %s\n", level,
           *text_of(kernels, "forced") ? " (forced by ANEMO_ISA)" : "",
           text_of(kernels, "compute"));
    json_object_foreach(serving, op, value)
    {
        const char *name = json_string_value(value);
        if (name && !strcmp(name, level))
            n++;
        else
            printf("  %-17s %s\n", op, name ? name : "none");
    }
    printf("  %zu of %zu operations are served by it\n", n, json_object_size(serving));
}

static void print_report(const json_t *report)
{
    const json_t *m = json_object_get(report, "machine");
    size_t i;
    json_t *item;
    printf("Machine\n  system            %s\n  processor         %s, %d of %d CPUs usable\n  "
           "instruction sets  %s\n",
           text_of(m, "os"), text_of(m, "cpu"),
           (int)json_integer_value(json_object_get(m, "cpus_usable")),
           (int)json_integer_value(json_object_get(m, "cpus_online")), text_of(m, "isa"));
    printf("  memory            %.1f GB, %.1f GB available\n",
           (double)json_integer_value(json_object_get(m, "mem_total_bytes")) / 1e9,
           (double)json_integer_value(json_object_get(m, "mem_available_bytes")) / 1e9);
    json_array_foreach(json_object_get(report, "warnings"), i, item)
        printf("  warning           %s\n", json_string_value(item));
    an_cli_print_fitness(report);
    print_kernels(json_object_get(report, "kernels"));
    printf("Engines\n");
    json_array_foreach(json_object_get(report, "engines"), i, item) print_engine(item);
    printf("  %-17s by address: anemo compare --engine http --url URL\n", "http");
}

static anemo_status make_report(const trial_models *models, const doctor_args *a, json_t **out, bool *failed, int *worst,
                                anemo_error *err)
{
    an_environment env;
    json_t *report = json_object(), *engines = json_array();
    anemo_status status = ANEMO_OK;
    an_environment_read(&env);
    json_object_set_new(report, "schema", json_string("anemo.doctor/1"));
    json_object_set_new(report, "machine", an_environment_json(&env));
    json_object_set_new(report, "warnings", an_environment_warnings(&env, 0));
    /* The machine first, before engines have warmed it and filled its memory. */
    const an_fitness_request request = {.quick = a->quick,
                                        .n_thread = a->threads ? (int)a->threads : env.cpus_usable,
                                        .cpus_online = env.cpus_online,
                                        .cpus_usable = env.cpus_usable,
                                        .build_type = env.build_type,
                                        .quiet = a->json};
    AN_TRY(an_cli_measure_fitness(&request, report, worst, err));
    json_object_set_new(report, "kernels", kernels_json());
    for (size_t i = 0; i < an_engine_n(); i++) {
        const an_engine_info *e = an_engine_at(i);
        if (!e->reads_gguf && !e->reads_mlx) continue; /* a server is found by its address only */
        if (!a->json) fprintf(stderr, "trying %s\n", e->name);
        json_array_append_new(engines, examine(e, models, a, failed));
    }
    json_object_set(report, "engines", engines);
    if (!report) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    json_decref(engines);
    an_environment_free(&env);
    if (status == ANEMO_OK) *out = report;
    else json_decref(report);
    return status;
}

static int run(int argc, char **argv);

const an_command an_cmd_doctor = {
    .name = "doctor",
    .args = "[MODEL]",
    .summary = "Is this machine fit to measure? Try one token on each engine",
    .details = "Looks at what disturbs measurements (load, clocks, heat, memory, power, limits, other engines), measures\n"
               "bandwidth and arithmetic for 1 to N threads and how much the same work differs, and says what to do.\n"
               "Without MODEL the two models that ./quickstart leaves in the models folder are tried. An engine that is\n"
               "missing is no fault; the exit status is 1 when one that is there does not work.",
    .options = options,
    .args_bytes = sizeof(doctor_args),
    .run = run,
};

static int run(int argc, char **argv)
{
    doctor_args args = {.timeout_s = 120};
    an_positional pos;
    anemo_error err = {0};
    trial_models models = {{NULL, NULL}};
    bool help, failed = false;
    int worst = 0;
    json_t *report = NULL;
    anemo_status status = an_options_parse(&an_cmd_doctor, argc, argv, &args, &pos, &help, &err);
    if (status != ANEMO_OK) return an_cli_fail("doctor", &err);
    if (help) goto cleanup;
    if (pos.n > 1) {
        status = an_fail(&err, ANEMO_ERR_INVAL, "expected at most one model");
        goto cleanup;
    }
    AN_TRY(find_models(pos.n ? pos.items[0] : NULL, &models, &err));
    AN_TRY(make_report(&models, &args, &report, &failed, &worst, &err));
    if (args.json) {
        status = an_cli_print_json(report, JSON_INDENT(2), &err);
        report = NULL;
    } else {
        print_report(report);
    }
    if (status == ANEMO_OK && fflush(stdout) != 0) status = an_fail(&err, ANEMO_ERR_IO, "stdout cannot be written");
cleanup:
    json_decref(report);
    an_free(models.path[0]);
    an_free(models.path[1]);
    an_options_free(&an_cmd_doctor, &args, &pos);
    if (status != ANEMO_OK) return an_cli_fail("doctor", &err);
    if (failed) return 1;
    return args.strict && worst == 2 ? EXIT_GATE : 0;
}
