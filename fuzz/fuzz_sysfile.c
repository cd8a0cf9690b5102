/* What a kernel's small files or a user's power command may say: every parser of os/sysfile.h on the same bytes. */
#include "fuzz/fuzz.h"

#include "os/sysfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char out[16];
    bool counter;
    double value = -1;
    an_sys_cpu_ticks cpu;
    an_sys_pid_ticks pid;
    uint8_t *line = fuzz_copy(data, size);
    if (an_sys_power_line((const char *)line, size, &counter, &value) && !(value >= 0 && value <= 1e15)) abort();
    free(line);

    char *text = malloc(size + 1);
    if (!text) abort();
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    if (an_sys_list_count(text) < 0 || an_sys_list_count(text) > 65536) abort();
    (void)an_sys_size(text);
    an_sys_choice(text, out, sizeof out);
    if (strlen(out) >= sizeof out) abort();
    if (an_sys_cpu_stat(text, &cpu) && (cpu.idle > cpu.total || cpu.steal > cpu.total)) abort();
    if (an_sys_pid_stat(text, &pid))
        for (const char *p = pid.name; *p; p++)
            if (*p < 32 || *p > 126) abort();
    for (const char *at = text; (at = an_sys_value(at, "a")) != NULL;) {
        if (at < text || at > text + size) abort();
    }
    free(text);
    return 0;
}
