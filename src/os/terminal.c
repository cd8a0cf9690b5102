/* The terminal on POSIX. */
#include "os/terminal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool an_terminal_is(int fd)
{
    return isatty(fd) == 1;
}

struct an_progress {
    int fd;
    bool redraw;
    uint64_t last_ns; /* of the last plain line */
};

int an_terminal_width(int fd, int fallback)
{
    struct winsize w;
    const char *columns = an_env("COLUMNS");
    int64_t n;
    if (columns && an_parse_i64(columns, &n) && n >= 20 && n <= 1000) return (int)n;
    if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20) return w.ws_col;
    return fallback;
}

bool an_terminal_color(int fd, const char *when)
{
    const char *term = an_env("TERM");
    if (strcmp(when, "always") == 0) return true;
    if (strcmp(when, "never") == 0) return false;
    return isatty(fd) && !an_env("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

bool an_terminal_utf8(void)
{
    const char *locale = an_env("LC_ALL");
    if (!locale) locale = an_env("LC_CTYPE");
    if (!locale) locale = an_env("LANG");
    return locale && (strcasestr(locale, "UTF-8") || strcasestr(locale, "UTF8"));
}

an_progress *an_progress_begin(int fd, bool quiet)
{
    an_progress *p = quiet ? NULL : an_calloc(1, sizeof *p);
    if (p) {
        const char *term = an_env("TERM");
        p->fd = fd;
        p->redraw = isatty(fd) && term && strcmp(term, "dumb") != 0;
    }
    return p;
}

void an_progress_line(an_progress *p, const char *what)
{
    if (!p) return;
    uint64_t now = an_clock_ns();
    if (p->redraw)
        dprintf(p->fd, "\r\x1b[K%.*s", an_terminal_width(p->fd, 80) - 1, what);
    else if (p->last_ns == 0 || now - p->last_ns >= 10000000000u) {
        dprintf(p->fd, "%s\n", what);
        p->last_ns = now;
    }
}

void an_progress_end(an_progress *p)
{
    if (p && p->redraw) dprintf(p->fd, "\r\x1b[K");
    an_free(p);
}
