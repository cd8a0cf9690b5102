/* The terminal: width, colour, one progress line. */
#ifndef AN_OS_TERMINAL_H
#define AN_OS_TERMINAL_H

#include <stdbool.h>

/* Columns of the terminal behind fd; `fallback` when it is none. COLUMNS overrides. */
int an_terminal_width(int fd, int fallback);

/* Is fd a terminal? */
bool an_terminal_is(int fd);

/* when: "always", "never", "auto" = fd is a terminal, NO_COLOR is unset and TERM is not dumb. */
bool an_terminal_color(int fd, const char *when);

/* Does the locale (LC_ALL, LC_CTYPE, LANG) say that text is UTF-8? */
bool an_terminal_utf8(void);

/*
 * Progress on fd: on a terminal one line that is redrawn, elsewhere a plain line at most every ten seconds. NULL when quiet,
 * and NULL is accepted everywhere.
 */
typedef struct an_progress an_progress;
an_progress *an_progress_begin(int fd, bool quiet);
void an_progress_line(an_progress *p, const char *what);
void an_progress_end(an_progress *p); /* clears the line and frees */

#endif
