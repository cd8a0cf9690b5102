/*
 * Small text files of the kernel (/proc, /sys): one read, no allocation, nothing believed. `root` goes before the path: ""
 * in earnest, a folder with a made-up tree in tests.
 */
#ifndef AN_OS_SYSFILE_H
#define AN_OS_SYSFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The first cap - 1 bytes of a file as text that ends at a NUL byte of its own; white space at the end is cut off. False when it
 * cannot be read, then *why (may be NULL) is the errno, or when nothing is in it (*why 0). out is "" then.
 */
bool an_sys_read(const char *root, const char *path, char *out, size_t cap, int *why);

/* A file that holds one number, and nothing behind it. */
bool an_sys_u64(const char *root, const char *path, uint64_t *out);
bool an_sys_i64(const char *root, const char *path, int64_t *out);

/* The first line of a file, bytes outside ASCII's printable ones replaced by '?'; "" and false when it is not there. */
bool an_sys_line(const char *root, const char *path, char *out, size_t cap);

/* ---- parsers of text */

/* Rest of the line that begins with `key` (at the very beginning or after a line end), blanks before it skipped; NULL when absent. */
const char *an_sys_value(const char *text, const char *key);

/* "8MiB-style" sizes of /sys: "48K", "2048K", "1M", "1G", "512"; 0 when it is none. */
uint64_t an_sys_size(const char *text);

/* Members of a list such as "0-3,8,10-11"; 0 when it is none. */
int an_sys_list_count(const char *text);

/* The word in brackets of "always [madvise] never"; "" when there is none. */
void an_sys_choice(const char *text, char *out, size_t cap);

/* The first line of /proc/stat, in clock ticks: all, idle with waiting for disks, stolen. */
typedef struct an_sys_cpu_ticks {
    uint64_t total, idle, steal;
} an_sys_cpu_ticks;
bool an_sys_cpu_stat(const char *text, an_sys_cpu_ticks *out);

/* /proc/<pid>/stat. */
typedef struct an_sys_pid_ticks {
    char name[20]; /* comm, printable; */
    uint64_t faults_minor, faults_major, user_ticks, system_ticks;
} an_sys_pid_ticks;
bool an_sys_pid_stat(const char *text, an_sys_pid_ticks *out);

/*
 * A line of a power command: "J 1234.5" is a counter, a number alone (perhaps with " W" behind it) is watts. n bytes without a line
 * end. False for anything else, for negative numbers and for more than a megawatt.
 */
bool an_sys_power_line(const char *line, size_t n, bool *is_counter, double *value);

#endif
