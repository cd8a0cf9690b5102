/* The environment as JSON and back, and what it says against measuring. */
#include "record/environment.h"

#include "base/json.h"
#include "base/num.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Members that are text, with their sizes, for both directions. */
typedef struct text_member {
    const char *key;
    size_t offset, size;
} text_member;

#define TEXT(member) {#member, offsetof(an_environment, member), sizeof(((an_environment *)0)->member)}
static const text_member texts[] = {TEXT(date), TEXT(anemo_version), TEXT(anemo_commit), TEXT(compiler), TEXT(build_type),
                                    TEXT(host), TEXT(os),            TEXT(cpu),          TEXT(isa),      TEXT(governor)};
#undef TEXT

json_t *an_environment_json(const an_environment *e)
{
    json_t *obj = e->more ? json_copy(e->more) : json_object();
    for (size_t i = 0; i < AN_COUNT_OF(texts); i++) {
        const char *text = (const char *)e + texts[i].offset;
        json_object_set_new(obj, texts[i].key, text[0] ? json_string(text) : json_null());
    }
    json_object_set_new(obj, "cpus_online", json_integer(e->cpus_online));
    json_object_set_new(obj, "cpus_usable", json_integer(e->cpus_usable));
    json_object_set_new(obj, "mem_total_bytes", json_integer((json_int_t)e->mem_total_bytes));
    json_object_set_new(obj, "mem_available_bytes", json_integer((json_int_t)e->mem_available_bytes));
    json_object_set_new(obj, "load_average", e->load_average < 0 ? json_null() : an_json_real(e->load_average));
    json_object_set_new(obj, "peak_bandwidth_bps", an_json_real(e->peak_bandwidth_bps));
    json_object_set_new(obj, "peak_flops", an_json_real(e->peak_flops));
    return obj;
}

an_peaks an_environment_peaks(const an_environment *e, int threads)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(e->more, "peaks_by_threads"), i, item)
    {
        double bandwidth = json_number_value(json_object_get(item, "bandwidth_bps"));
        double flops = json_number_value(json_object_get(item, "flops"));
        if (json_integer_value(json_object_get(item, "threads")) == threads && bandwidth > 0 && flops > 0)
            return (an_peaks){bandwidth, flops};
    }
    return (an_peaks){e->peak_bandwidth_bps, e->peak_flops};
}

anemo_status an_environment_from_json(an_environment *e, const json_t *obj, const char *name, anemo_error *err)
{
    static const char *const numbers[] = {"cpus_online",  "cpus_usable",        "mem_total_bytes", "mem_available_bytes",
                                          "load_average", "peak_bandwidth_bps", "peak_flops"};
    anemo_status status = ANEMO_OK;
    int64_t n;
    *e = (an_environment){.load_average = -1, .peak_bandwidth_bps = NAN, .peak_flops = NAN};
    if (!json_is_object(obj)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"environment\" is not an object", name);
    for (size_t i = 0; i < AN_COUNT_OF(texts); i++) {
        const char *text;
        AN_TRY(an_json_get_str(obj, texts[i].key, "", &text, name, err));
        an_utf8_copy((char *)e + texts[i].offset, texts[i].size, text);
    }
    AN_TRY(an_json_get_i64(obj, "cpus_online", 0, 0, 1 << 20, &n, name, err));
    e->cpus_online = (int)n;
    AN_TRY(an_json_get_i64(obj, "cpus_usable", 0, 0, 1 << 20, &n, name, err));
    e->cpus_usable = (int)n;
    AN_TRY(an_json_get_i64(obj, "mem_total_bytes", 0, 0, INT64_MAX, &n, name, err));
    e->mem_total_bytes = (uint64_t)n;
    AN_TRY(an_json_get_i64(obj, "mem_available_bytes", 0, 0, INT64_MAX, &n, name, err));
    e->mem_available_bytes = (uint64_t)n;
    AN_TRY(an_json_get_f64(obj, "load_average", -1, &e->load_average, name, err));
    AN_TRY(an_json_get_f64(obj, "peak_bandwidth_bps", NAN, &e->peak_bandwidth_bps, name, err));
    AN_TRY(an_json_get_f64(obj, "peak_flops", NAN, &e->peak_flops, name, err));
    e->more = json_copy((json_t *)obj);
    if (!e->more) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < AN_COUNT_OF(texts); i++) json_object_del(e->more, texts[i].key);
    for (size_t i = 0; i < AN_COUNT_OF(numbers); i++) json_object_del(e->more, numbers[i]);
cleanup:
    if (status != ANEMO_OK) an_environment_free(e);
    return status;
}

void an_environment_free(an_environment *e)
{
    json_decref(e->more);
    e->more = NULL;
}

static void warn(json_t *list, const char *text)
{
    json_array_append_new(list, json_string(text));
}

/* What `more` tells against measuring; results of older versions and other programs lack these keys. */
static void warn_of_more(json_t *list, const an_environment *e)
{
    char text[256];
    const json_t *cpus = json_object_get(e->more, "cgroup_cpus");
    const char *profile = json_string_value(json_object_get(e->more, "platform_profile"));
    double swapped = json_number_value(json_object_get(e->more, "swap_total_bytes")) -
                     json_number_value(json_object_get(e->more, "swap_free_bytes"));
    if (json_is_true(json_object_get(e->more, "on_battery"))) warn(list, "The machine ran on battery");
    if (profile && (strstr(profile, "low-power") || strstr(profile, "quiet") || strstr(profile, "cool"))) {
        snprintf(text, sizeof text, "The platform profile is '%.60s': it holds the machine back", profile);
        warn(list, text);
    }
    if (json_is_number(cpus) && json_number_value(cpus) < e->cpus_usable) {
        snprintf(text, sizeof text, "A control group allows %.2f CPUs' time of %d CPUs", json_number_value(cpus), e->cpus_usable);
        warn(list, text);
    }
    if (swapped > 0.02 * (double)e->mem_total_bytes) {
        snprintf(text, sizeof text, "%.1f GB of memory lay in swap", swapped * 1e-9);
        warn(list, text);
    }
}

json_t *an_environment_warnings(const an_environment *e, uint64_t need_bytes)
{
    json_t *list = json_array();
    char text[256];
    if (e->build_type[0] && strcmp(e->build_type, "release") != 0) {
        snprintf(text, sizeof text, "anemo is a %s build: native's speed means nothing", e->build_type);
        warn(list, text);
    }
    if (e->load_average > 0.1 * e->cpus_online) {
        snprintf(text, sizeof text, "Other work was running or had just run: load average %.2f on %d CPUs",
                 e->load_average, e->cpus_online);
        warn(list, text);
    }
    if (e->governor[0] && strcmp(e->governor, "performance") != 0) {
        snprintf(text, sizeof text, "The CPU frequency governor is '%s', not 'performance'", e->governor);
        warn(list, text);
    }
    warn_of_more(list, e);
    if (e->mem_available_bytes && need_bytes > e->mem_available_bytes) {
        snprintf(text, sizeof text, "The models need about %" PRIu64 " MiB, %" PRIu64 " MiB are available",
                 need_bytes >> 20, e->mem_available_bytes >> 20);
        warn(list, text);
    }
    return list;
}
