/* Small files of the kernel, and their parsers. */
#include "os/sysfile.h"

#include "base/num.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool an_sys_read(const char *root, const char *path, char *out, size_t cap, int *why)
{
    char full[1024];
    size_t n = 0;
    int e = 0;
    out[0] = '\0';
    int len = snprintf(full, sizeof full, "%s%s", root, path);
    /* A made-up tree may hold a pipe, and a real one a file that waits for events. */
    int fd = len > 0 && (size_t)len < sizeof full ? open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0) e = (size_t)len < sizeof full ? errno : ENAMETOOLONG;
    while (fd >= 0 && n < cap - 1) {
        ssize_t got = read(fd, out + n, cap - 1 - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) e = errno;
        if (got <= 0) break;
        n += (size_t)got;
    }
    if (fd >= 0) close(fd);
    out[n] = '\0';
    n = strlen(out);
    while (n > 0 && isspace((unsigned char)out[n - 1])) out[--n] = '\0';
    if (e) out[0] = '\0';
    if (why) *why = e;
    return out[0] != '\0';
}

bool an_sys_u64(const char *root, const char *path, uint64_t *out)
{
    char text[32];
    return an_sys_read(root, path, text, sizeof text, NULL) && an_parse_u64(text, out);
}

bool an_sys_i64(const char *root, const char *path, int64_t *out)
{
    char text[32];
    return an_sys_read(root, path, text, sizeof text, NULL) && an_parse_i64(text, out);
}

bool an_sys_line(const char *root, const char *path, char *out, size_t cap)
{
    if (!an_sys_read(root, path, out, cap, NULL)) return false;
    out[strcspn(out, "\n")] = '\0';
    for (char *p = out; *p; p++)
        if (*p < 32 || *p > 126) *p = '?';
    return out[0] != '\0';
}

const char *an_sys_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, n) != 0) continue;
        line += n;
        while (*line == ' ' || *line == '\t' || *line == ':') line++;
        return line;
    }
    return NULL;
}

uint64_t an_sys_size(const char *text)
{
    char *end;
    uint64_t n, unit = 1;
    if (!isdigit((unsigned char)*text)) return 0;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno) return 0;
    if (*end == 'K') unit = 1u << 10;
    if (*end == 'M') unit = 1u << 20;
    if (*end == 'G') unit = 1u << 30;
    if (unit > 1) end++;
    return *end == '\0' && an_mul_u64(n, unit, &n) ? n : 0;
}

int an_sys_list_count(const char *text)
{
    enum { MAX = 65536 };
    long count = 0;
    for (const char *p = text; *p;) {
        char *end;
        if (!isdigit((unsigned char)*p)) return 0;
        errno = 0;
        long first = strtol(p, &end, 10), last = first;
        if (*end == '-') {
            if (!isdigit((unsigned char)end[1])) return 0;
            last = strtol(end + 1, &end, 10);
        }
        if (errno || last < first || last >= MAX || (*end && *end != ',')) return 0;
        count += last - first + 1;
        p = *end ? end + 1 : end;
    }
    return count <= MAX ? (int)count : 0;
}

void an_sys_choice(const char *text, char *out, size_t cap)
{
    const char *begin = strchr(text, '['), *end = begin ? strchr(begin, ']') : NULL;
    snprintf(out, cap, "%.*s", end ? (int)(end - begin - 1) : 0, begin ? begin + 1 : "");
}

bool an_sys_cpu_stat(const char *text, an_sys_cpu_ticks *out)
{
    /* user nice system idle iowait irq softirq steal; guest time is in user already. */
    uint64_t v[8] = {0}, total = 0;
    if (strncmp(text, "cpu ", 4) != 0) return false;
    char *p = (char *)text + 4;
    int n = 0;
    for (; n < 8; n++) {
        while (*p == ' ') p++;
        if (!isdigit((unsigned char)*p)) break;
        errno = 0;
        v[n] = strtoull(p, &p, 10);
        if (errno || !an_add_u64(total, v[n], &total)) return false;
    }
    if (n < 4) return false;
    *out = (an_sys_cpu_ticks){.total = total, .idle = v[3] + v[4], .steal = v[7]};
    return true;
}

bool an_sys_pid_stat(const char *text, an_sys_pid_ticks *out)
{
    /* The name stands in parentheses and may hold some itself: the last one ends it. */
    const char *name = strchr(text, '('), *end = strrchr(text, ')');
    uint64_t v[16] = {0};
    if (!name || !end || end < name) return false;
    *out = (an_sys_pid_ticks){0};
    size_t n = (size_t)(end - name - 1), cap = sizeof out->name - 1;
    for (size_t i = 0; i < n && i < cap; i++) out->name[i] = name[1 + i] >= 32 && name[1 + i] <= 126 ? name[1 + i] : '?';
    /* Behind it: state, then numbers from the fourth field on (some negative). */
    char *p = (char *)end + 1;
    while (*p == ' ') p++;
    if (*p) p++;
    for (int i = 4; i <= 15; i++) {
        char *next;
        errno = 0;
        long long number = strtoll(p, &next, 10);
        if (next == p || errno) return false;
        v[i] = number < 0 ? 0 : (uint64_t)number;
        p = next;
    }
    out->faults_minor = v[10];
    out->faults_major = v[12];
    out->user_ticks = v[14];
    out->system_ticks = v[15];
    return true;
}

bool an_sys_power_line(const char *line, size_t n, bool *is_counter, double *value)
{
    char text[64];
    while (n > 0 && isspace((unsigned char)line[n - 1])) n--;
    while (n > 0 && isspace((unsigned char)*line)) line++, n--;
    if (n == 0 || n >= sizeof text || memchr(line, '\0', n)) return false;
    memcpy(text, line, n);
    text[n] = '\0';
    bool counter = text[0] == 'J' && (text[1] == ' ' || text[1] == '\t');
    char *p = text + (counter ? 1 : 0);
    while (*p == ' ' || *p == '\t') p++;
    if (!counter && n > 1 && text[n - 1] == 'W') {
        text[--n] = '\0';
        while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) text[--n] = '\0';
    }
    double v;
    if (!an_parse_f64(p, &v) || v < 0 || v > (counter ? 1e15 : 1e6)) return false;
    *is_counter = counter;
    *value = v;
    return true;
}
