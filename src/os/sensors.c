/* The sensors of Linux: powercap, hwmon, cpufreq, thermal zones, and the counters of /proc. */
#include "os/sensors.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/sensors_internal.h"
#include "os/sysfile.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    COUNTERS_MAX = 16,
    FILES_MAX = 16, /* clocks, temperatures and throttle counters that are read: of the CPUs some, evenly spread */
    PATH_BYTES = 256,
    DIR_ENTRIES_MAX = 4096,
};

/* A counter of microjoules. */
typedef struct energy_counter {
    char path[PATH_BYTES];
    uint64_t range;  /* goes round behind this; 0: it does not */
    uint64_t last;
    double sum_j;
    bool known;
} energy_counter;

typedef struct file_list {
    char paths[FILES_MAX][PATH_BYTES];
    int n;
} file_list;

struct an_sensors {
    char *root;
    int n_busy;
    energy_counter counters[COUNTERS_MAX];
    int n_counter;
    double update_s;  /* time between two values of the counters */
    double power_max; /* W of all counters, to know when one may have gone round unseen */
    an_power_poll *poll;
    file_list clocks, temperatures, throttles;
    char source[AN_SENSOR_N][64], reason[AN_SENSOR_N][288];
};

static void put(char *out, size_t cap, const char *text)
{
    snprintf(out, cap, "%s", text);
}

static void no_sensor(an_sensors *s, an_sensor_kind kind, const char *reason)
{
    s->source[kind][0] = '\0';
    put(s->reason[kind], sizeof s->reason[kind], reason);
}

static void has_sensor(an_sensors *s, an_sensor_kind kind, const char *source)
{
    put(s->source[kind], sizeof s->source[kind], source);
    s->reason[kind][0] = '\0';
}

/* Names in a folder of the tree, sorted; *n 0 when it is not there. */
static char **list_dir(const an_sensors *s, const char *path, size_t *n)
{
    char full[1024], **names = NULL;
    *n = 0;
    if ((size_t)snprintf(full, sizeof full, "%s%s", s->root, path) >= sizeof full) return NULL;
    if (an_dir_list(full, &names, n, NULL) != ANEMO_OK) {
        *n = 0;
        return NULL;
    }
    if (*n > DIR_ENTRIES_MAX) *n = DIR_ENTRIES_MAX;
    return names;
}

/* ------------------------------------------------------------------------------------------------ energy */

static bool add_counter(an_sensors *s, const char *path, uint64_t range)
{
    if (s->n_counter == COUNTERS_MAX || strlen(path) >= PATH_BYTES) return false;
    energy_counter *c = &s->counters[s->n_counter++];
    *c = (energy_counter){.range = range};
    put(c->path, sizeof c->path, path);
    return true;
}

/*
 * Packages of powercap. intel-rapl-mmio repeats package 0 and serves only where nothing else is there; zones inside a package
 * (cores, memory) are parts of it.
 */
static void find_rapl(an_sensors *s, char **zones, size_t n, bool mmio)
{
    char source[64] = "rapl:", why[200] = "";
    for (size_t i = 0; i < n; i++) {
        char path[PATH_BYTES], name[32];
        const char *colon = strchr(zones[i], ':');
        uint64_t now, range = 0, limit;
        int e = 0;
        if (!colon || strchr(colon + 1, ':') || strlen(zones[i]) > 64 || (strstr(zones[i], "mmio") != NULL) != mmio) continue;
        snprintf(path, sizeof path, "/sys/class/powercap/%s/name", zones[i]);
        if (!an_sys_line(s->root, path, name, sizeof name) || !an_str_starts_with(name, "package")) continue;
        snprintf(path, sizeof path, "/sys/class/powercap/%s/max_energy_range_uj", zones[i]);
        (void)an_sys_u64(s->root, path, &range);
        snprintf(path, sizeof path, "/sys/class/powercap/%s/constraint_0_power_limit_uw", zones[i]);
        bool limited = an_sys_u64(s->root, path, &limit) && limit > 0 && limit < UINT64_C(10000000000);
        snprintf(path, sizeof path, "/sys/class/powercap/%s/energy_uj", zones[i]);
        char text[32];
        if (!an_sys_read(s->root, path, text, sizeof text, &e)) {
            snprintf(why, sizeof why, "%s cannot be read (%s)%s", path, e ? strerror(e) : "empty",
                     e == EACCES || e == EPERM ? ": run as root, or let your user read it (chmod a+r)" : "");
            continue;
        }
        if (!an_parse_u64(text, &now)) {
            snprintf(why, sizeof why, "%s does not hold a number", path);
            continue;
        }
        if (!add_counter(s, path, range)) break;
        /* Packages may draw more than their limit for seconds. */
        s->power_max += limited ? 2e-6 * (double)limit : 1000;
        size_t used = strlen(source);
        snprintf(source + used, sizeof source - used, "%s%s", s->n_counter > 1 ? "+" : "", name);
    }
    s->update_s = 0.001;
    if (s->n_counter) has_sensor(s, AN_SENSOR_ENERGY, source);
    else if (why[0]) no_sensor(s, AN_SENSOR_ENERGY, why);
}

static bool is_gpu(const char *chip)
{
    static const char *const names[] = {"amdgpu", "nouveau", "radeon", "i915", "xe", "nvme"};
    for (size_t i = 0; i < AN_COUNT_OF(names); i++)
        if (!strcmp(chip, names[i])) return true;
    return false;
}

/* Counters of one hwmon chip: of its sockets where it names them, else the first one. */
static void find_hwmon_energy(an_sensors *s, const char *dir, const char *chip)
{
    char path[PATH_BYTES], label[32], source[64];
    uint64_t v;
    int n_before = s->n_counter;
    for (int pass = 0; pass < 2 && s->n_counter == n_before; pass++)
        for (int i = 1; i <= 256 && s->n_counter < COUNTERS_MAX; i++) {
            snprintf(path, sizeof path, "/sys/class/hwmon/%s/energy%d_label", dir, i);
            bool labelled = an_sys_line(s->root, path, label, sizeof label);
            snprintf(path, sizeof path, "/sys/class/hwmon/%s/energy%d_input", dir, i);
            if (pass == 0 && !(labelled && an_str_starts_with(label, "Esocket"))) continue;
            if (!an_sys_u64(s->root, path, &v)) continue;
            add_counter(s, path, 0);
            if (pass == 1) break;
        }
    if (s->n_counter == n_before) return;
    snprintf(source, sizeof source, "hwmon:%s", chip);
    s->update_s = 0.1;
    s->power_max = INFINITY;
    has_sensor(s, AN_SENSOR_ENERGY, source);
}

static anemo_status find_hwmon_power(an_sensors *s, const char *dir, const char *chip, anemo_error *err)
{
    static const char *const files[] = {"power1_average", "power1_input"};
    char path[PATH_BYTES], full[1024], source[64];
    uint64_t v, period_ms = 0;
    for (size_t i = 0; i < AN_COUNT_OF(files); i++) {
        snprintf(path, sizeof path, "/sys/class/hwmon/%s/%s", dir, files[i]);
        if (!an_sys_u64(s->root, path, &v)) continue;
        snprintf(full, sizeof full, "%s%s", s->root, path);
        snprintf(path, sizeof path, "/sys/class/hwmon/%s/%s", dir, i == 0 ? "power1_average_interval" : "update_interval");
        if (!an_sys_u64(s->root, path, &period_ms) || period_ms < 100) period_ms = 100;
        if (period_ms > 10000) period_ms = 10000;
        snprintf(source, sizeof source, "hwmon:%s", chip);
        has_sensor(s, AN_SENSOR_ENERGY, source);
        return an_power_poll_open(&s->poll, NULL, full, period_ms * 1000000, err);
    }
    return ANEMO_OK;
}

static anemo_status find_energy(an_sensors *s, const an_sensors_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n;
    no_sensor(s, AN_SENSOR_ENERGY, "this machine has no energy sensor that its system shows (powercap, hwmon); --power-cmd names another");
    if (o->power_cmd) {
        has_sensor(s, AN_SENSOR_ENERGY, "power-cmd");
        return an_power_poll_open(&s->poll, o->power_cmd, NULL, 0, err);
    }
    char **zones = list_dir(s, "/sys/class/powercap", &n);
    if (zones) find_rapl(s, zones, n, false);
    if (zones && !s->n_counter) find_rapl(s, zones, n, true);
    an_names_free(zones);
    char **chips = s->n_counter ? NULL : list_dir(s, "/sys/class/hwmon", &n);
    for (int pass = 0; chips && pass < 2 && !s->n_counter && !s->poll && status == ANEMO_OK; pass++)
        for (size_t i = 0; i < n && !s->n_counter && !s->poll && status == ANEMO_OK; i++) {
            char path[PATH_BYTES], chip[32];
            if (strlen(chips[i]) > 64) continue;
            snprintf(path, sizeof path, "/sys/class/hwmon/%s/name", chips[i]);
            if (!an_sys_line(s->root, path, chip, sizeof chip) || is_gpu(chip)) continue;
            if (pass == 0) find_hwmon_energy(s, chips[i], chip);
            else status = find_hwmon_power(s, chips[i], chip, err);
        }
    an_names_free(chips);
    return status;
}

/* Add what a counter gave since the last look; false when it cannot be read or was set back without a known range. */
static bool read_counter(const an_sensors *s, energy_counter *c)
{
    uint64_t now;
    if (!an_sys_u64(s->root, c->path, &now)) {
        c->known = false;
        return false;
    }
    bool good = true;
    if (c->known && now >= c->last) c->sum_j += (double)(now - c->last) * 1e-6;
    else if (c->known && c->range && now <= c->range && c->last <= c->range) c->sum_j += ((double)(c->range - c->last) + (double)now) * 1e-6;
    else good = !c->known;
    c->known = true;
    c->last = now;
    return good;
}

static void read_energy(an_sensors *s, an_sensor_sample *out)
{
    if (s->poll) {
        an_power_state state;
        an_power_poll_read(s->poll, out->t_ns, &state);
        out->power_w = state.power_w;
        out->energy_updates = state.n_update;
        if (!state.silent) out->energy_j = state.energy_j;
        put(s->reason[AN_SENSOR_ENERGY], sizeof s->reason[0], state.reason);
        return;
    }
    double sum = 0;
    bool good = s->n_counter > 0;
    for (int i = 0; i < s->n_counter; i++) {
        good = read_counter(s, &s->counters[i]) && good;
        sum += s->counters[i].sum_j;
    }
    if (!good) return;
    out->energy_j = sum;
    out->energy_updates = (double)out->t_ns * 1e-9 / s->update_s;
}

double an_sensors_energy(const an_sensors *s, const an_sensor_sample *from, const an_sensor_sample *to, const char **why)
{
    const char *text = "", **reason = why ? why : &text;
    double window_s = (double)(to->t_ns - from->t_ns) * 1e-9, range_j = INFINITY;
    *reason = "";
    if (!s->n_counter && !s->poll) *reason = s->reason[AN_SENSOR_ENERGY];
    else if (!isfinite(from->energy_j) || !isfinite(to->energy_j)) *reason = "the energy sensor could not be read";
    else if (to->energy_updates - from->energy_updates < AN_SENSOR_UPDATES_MIN)
        *reason = "the repetition is shorter than 20 values of the energy sensor";
    for (int i = 0; i < s->n_counter; i++)
        if (s->counters[i].range) range_j = fmin(range_j, (double)s->counters[i].range * 1e-6);
    if (!**reason && window_s * s->power_max / (s->n_counter ? s->n_counter : 1) > range_j)
        *reason = "the repetition is so long that the energy counter may have gone round unseen";
    if (**reason) return NAN;
    return to->energy_j - from->energy_j;
}

double an_sensors_idle_power(an_sensors *s, uint64_t ns)
{
    an_sensor_sample from, to;
    if (!s->n_counter && !s->poll) return NAN;
    an_sensors_read(s, &from);
    for (uint64_t waited = 0; waited < UINT64_C(10000000000);) {
        uint64_t step = waited == 0 ? ns : 250000000;
        an_clock_sleep_ns(step);
        waited += step;
        an_sensors_read(s, &to);
        if (to.energy_updates - from.energy_updates >= 25 || !isfinite(to.energy_j)) break;
    }
    return an_sensors_energy(s, &from, &to, NULL) / ((double)(to.t_ns - from.t_ns) * 1e-9);
}

/* ------------------------------------------------------------------------------- clocks, heat, throttling */

static void add_file(file_list *list, const char *path)
{
    if (list->n < FILES_MAX && strlen(path) < PATH_BYTES) put(list->paths[list->n++], PATH_BYTES, path);
}

/* The files `name` of all CPUs, or of FILES_MAX of them, evenly spread. */
static void find_cpu_files(an_sensors *s, file_list *list, const char *name)
{
    char path[PATH_BYTES], text[1024];
    int n = an_sys_line(s->root, "/sys/devices/system/cpu/online", text, sizeof text) ? an_sys_list_count(text) : 0;
    int step = n > FILES_MAX ? n / FILES_MAX : 1;
    for (int i = 0; i < n && list->n < FILES_MAX; i += step) {
        char value[32];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", i, name);
        if (an_sys_read(s->root, path, value, sizeof value, NULL)) add_file(list, path);
    }
}

static void find_clocks(an_sensors *s)
{
    char text[16384];
    find_cpu_files(s, &s->clocks, "cpufreq/scaling_cur_freq");
    if (s->clocks.n) {
        has_sensor(s, AN_SENSOR_CLOCK, "cpufreq");
        return;
    }
    /* Without the counters of real cycles /proc/cpuinfo repeats the nominal clock. */
    bool told = an_sys_read(s->root, "/proc/cpuinfo", text, sizeof text, NULL) && an_sys_value(text, "cpu MHz");
    const char *flags = told ? an_sys_value(text, "flags") : NULL, *at = flags ? strstr(flags, " aperfmperf") : NULL;
    if (told && at && at < flags + strcspn(flags, "\n")) has_sensor(s, AN_SENSOR_CLOCK, "cpuinfo");
    else
        no_sensor(s, AN_SENSOR_CLOCK, told ? "no cpufreq, and /proc/cpuinfo tells the nominal clock only (as in most virtual machines)"
                                           : "the system tells no CPU clock");
}

static void find_temperatures(an_sensors *s)
{
    static const char *const chips[] = {"coretemp", "k10temp", "zenpower", "cpu_thermal", "macsmc_hwmon", "scpi_sensors"};
    static const char *const zones[] = {"x86_pkg_temp", "cpu", "soc", "bigcore", "littlecore"};
    char path[PATH_BYTES], name[64], source[64] = "";
    size_t n;
    char **dirs = list_dir(s, "/sys/class/hwmon", &n);
    for (size_t i = 0; dirs && i < n; i++) {
        bool wanted = false;
        if (strlen(dirs[i]) > 64) continue;
        snprintf(path, sizeof path, "/sys/class/hwmon/%s/name", dirs[i]);
        if (!an_sys_line(s->root, path, name, sizeof name)) continue;
        for (size_t j = 0; j < AN_COUNT_OF(chips); j++) wanted = wanted || !strcmp(name, chips[j]);
        for (int k = 1; wanted && k <= 32 && s->temperatures.n < FILES_MAX; k++) {
            int64_t v;
            snprintf(path, sizeof path, "/sys/class/hwmon/%s/temp%d_input", dirs[i], k);
            if (!an_sys_i64(s->root, path, &v)) continue;
            add_file(&s->temperatures, path);
            put(source, sizeof source, name);
        }
    }
    an_names_free(dirs);
    dirs = s->temperatures.n ? NULL : list_dir(s, "/sys/class/thermal", &n);
    for (size_t i = 0; dirs && i < n; i++) {
        bool wanted = false;
        if (!an_str_starts_with(dirs[i], "thermal_zone") || strlen(dirs[i]) > 64) continue;
        snprintf(path, sizeof path, "/sys/class/thermal/%s/type", dirs[i]);
        if (!an_sys_line(s->root, path, name, sizeof name)) continue;
        for (size_t j = 0; j < AN_COUNT_OF(zones); j++) wanted = wanted || an_str_starts_with(name, zones[j]);
        if (!wanted) continue;
        snprintf(path, sizeof path, "/sys/class/thermal/%s/temp", dirs[i]);
        add_file(&s->temperatures, path);
        put(source, sizeof source, name);
    }
    an_names_free(dirs);
    if (s->temperatures.n) has_sensor(s, AN_SENSOR_TEMPERATURE, source);
    else no_sensor(s, AN_SENSOR_TEMPERATURE, "the system shows no temperature of the CPU (hwmon, thermal zones)");
}

static void find_throttles(an_sensors *s)
{
    find_cpu_files(s, &s->throttles, "thermal_throttle/core_throttle_count");
    if (s->throttles.n == FILES_MAX) s->throttles.n--;
    find_cpu_files(s, &s->throttles, "thermal_throttle/package_throttle_count");
    if (s->throttles.n) has_sensor(s, AN_SENSOR_THROTTLE, "thermal_throttle");
    else no_sensor(s, AN_SENSOR_THROTTLE, "the system counts no thermal throttling");
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static double read_clock(const an_sensors *s)
{
    double hz[64], sum = 0;
    int n = 0;
    for (int i = 0; i < s->clocks.n; i++) {
        uint64_t khz;
        if (an_sys_u64(s->root, s->clocks.paths[i], &khz) && khz > 0 && khz < 100000000) hz[n++] = (double)khz * 1e3;
    }
    if (!strcmp(s->source[AN_SENSOR_CLOCK], "cpuinfo")) {
        char text[32768];
        const char *at = an_sys_read(s->root, "/proc/cpuinfo", text, sizeof text, NULL) ? text : NULL;
        while (at && n < 64 && (at = an_sys_value(at, "cpu MHz")) != NULL) {
            double mhz = strtod(at, NULL);
            if (mhz > 0 && mhz < 100000) hz[n++] = mhz * 1e6;
        }
    }
    if (n == 0) return NAN;
    qsort(hz, (size_t)n, sizeof *hz, falling);
    int n_mean = s->n_busy > 0 && s->n_busy < n ? s->n_busy : n;
    for (int i = 0; i < n_mean; i++) sum += hz[i];
    return sum / n_mean;
}

static double read_temperature(const an_sensors *s)
{
    double hottest = NAN;
    for (int i = 0; i < s->temperatures.n; i++) {
        int64_t v;
        if (!an_sys_i64(s->root, s->temperatures.paths[i], &v) || v < -50000 || v > 200000) continue;
        if (!(hottest >= (double)v * 1e-3)) hottest = (double)v * 1e-3;
    }
    return hottest;
}

static double read_throttles(const an_sensors *s)
{
    double sum = 0;
    for (int i = 0; i < s->throttles.n; i++) {
        uint64_t v;
        if (!an_sys_u64(s->root, s->throttles.paths[i], &v)) return NAN;
        sum += (double)v;
    }
    return s->throttles.n ? sum : NAN;
}

static void read_counters(const an_sensors *s, an_sensor_sample *out)
{
    char text[16384];
    an_sys_cpu_ticks ticks;
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    if (an_sys_read(s->root, "/proc/stat", text, 512, NULL) && an_sys_cpu_stat(text, &ticks)) {
        out->cpu_total_s = (double)ticks.total * tick_s;
        out->cpu_idle_s = (double)ticks.idle * tick_s;
        out->cpu_steal_s = (double)ticks.steal * tick_s;
    }
    if (an_sys_read(s->root, "/proc/vmstat", text, sizeof text, NULL)) {
        const char *in = an_sys_value(text, "pswpin "), *from = an_sys_value(text, "pswpout ");
        if (in) out->swap_in_bytes = (double)strtoull(in, NULL, 10) * page;
        if (from) out->swap_out_bytes = (double)strtoull(from, NULL, 10) * page;
    }
}

void an_sensors_read(an_sensors *s, an_sensor_sample *out)
{
    *out = (an_sensor_sample){
        .energy_j = NAN, .power_w = NAN, .cpu_hz = NAN, .temperature_c = NAN, .cpu_total_s = NAN, .cpu_idle_s = NAN,
        .cpu_steal_s = NAN, .swap_in_bytes = NAN, .swap_out_bytes = NAN, .throttle_count = NAN, .t_ns = an_clock_ns(),
    };
    read_energy(s, out);
    out->cpu_hz = read_clock(s);
    out->temperature_c = read_temperature(s);
    out->throttle_count = read_throttles(s);
    read_counters(s, out);
}

/* ---------------------------------------------------------------------------------------------- handle */

anemo_status an_sensors_open(an_sensors **out, const an_sensors_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_sensor_sample first;
    an_sensors *s = an_calloc(1, sizeof *s);
    if (!s || !(s->root = an_strdup(o->root ? o->root : ""))) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the sensors");
        goto cleanup;
    }
    s->n_busy = o->n_busy;
    find_clocks(s);
    find_temperatures(s);
    find_throttles(s);
    AN_TRY(find_energy(s, o, err));
    an_sensors_read(s, &first);
    if (isfinite(first.cpu_total_s)) has_sensor(s, AN_SENSOR_CPU, "/proc/stat");
    else no_sensor(s, AN_SENSOR_CPU, "/proc/stat does not tell the machine's CPU time");
    if (isfinite(first.swap_in_bytes)) has_sensor(s, AN_SENSOR_SWAP, "/proc/vmstat");
    else no_sensor(s, AN_SENSOR_SWAP, "/proc/vmstat does not count pages that were swapped");
    *out = s;
cleanup:
    if (status != ANEMO_OK) an_sensors_close(s);
    return status;
}

void an_sensors_close(an_sensors *s)
{
    if (!s) return;
    an_power_poll_close(s->poll);
    an_free(s->root);
    an_free(s);
}

const char *an_sensors_source(const an_sensors *s, an_sensor_kind kind)
{
    return s->source[kind];
}

const char *an_sensors_reason(const an_sensors *s, an_sensor_kind kind)
{
    return s->reason[kind];
}
