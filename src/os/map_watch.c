/* Names for SIGBUS: which file a faulting address belongs to. */
#include "os/map_watch.h"

#include "base/error.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { WATCHED_MAX = 256, PATH_BYTES = 256 };

typedef struct watched {
    _Atomic uintptr_t base; /* 0: free; TAKEN: being filled */
    size_t bytes;
    char path[PATH_BYTES];
} watched;

#define TAKEN UINTPTR_MAX

/* A signal handler can reach nothing but static memory. */
static watched maps[WATCHED_MAX];
static atomic_bool watching;

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t at = (uintptr_t)info->si_addr;
    /* With si_code <= 0 somebody sent it, and there is no address. */
    for (size_t i = 0; info->si_code > 0 && i < WATCHED_MAX; i++) {
        uintptr_t base = atomic_load(&maps[i].base);
        if (base == 0 || base == TAKEN || at < base || at - base >= maps[i].bytes) continue;
        say("anemo: ");
        say(maps[i].path);
        say(": the file was cut short, or could not be read any more, while it was in use; restore it and try again\n");
        _exit(anemo_status_exit_code(ANEMO_ERR_FORMAT));
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

void an_maps_watch(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL) == 0) atomic_store(&watching, true);
}

void an_map_watch_add(const void *base, size_t bytes, const char *path)
{
    if (!atomic_load(&watching)) return;
    size_t len = strlen(path), skip = len < PATH_BYTES ? 0 : len - (PATH_BYTES - 1);
    for (size_t i = 0; i < WATCHED_MAX; i++) {
        uintptr_t unused = 0;
        if (!atomic_compare_exchange_strong(&maps[i].base, &unused, TAKEN)) continue;
        maps[i].bytes = bytes;
        memcpy(maps[i].path, path + skip, len - skip + 1);
        atomic_store(&maps[i].base, (uintptr_t)base);
        return;
    }
}

void an_map_watch_remove(const void *base)
{
    for (size_t i = 0; i < WATCHED_MAX; i++) {
        uintptr_t wanted = (uintptr_t)base;
        if (atomic_compare_exchange_strong(&maps[i].base, &wanted, 0)) return;
    }
}
