/*
 * INI text: sections with keys, or with whole lines, each with its place, so that whoever gives them a meaning can say
 * where a fault is. Nothing here reads a file.
 *
 * A line is blank, a comment (# or ;), [section], key = value, or in a section of rules any text. A comment may also
 * follow a value after a blank. Double quotes keep blanks, commas, # and ; in a value; \" and \\ stand for themselves
 * inside them.
 */
#ifndef AN_SWEEP_INI_H
#define AN_SWEEP_INI_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct an_ini_entry {
    char *section, *key, *value; /* key NULL: a whole line of a section of rules; value trimmed, without its comment */
    size_t line;                 /* from 1 */
} an_ini_entry;

typedef struct an_ini {
    char *name; /* what messages call it */
    an_ini_entry *entries;
    size_t n;
} an_ini;

/*
 * Read n bytes. Sections among `rules` (NULL-terminated) hold whole lines. ERR_FORMAT ("name:line: …") for bytes that
 * are not UTF-8 text, a line outside all sections, a section that comes twice, and what is none of the above;
 * ERR_NOMEM. Gives *out: an_ini_free.
 */
ANEMO_MUST_CHECK anemo_status an_ini_parse(an_ini *out, const char *text, size_t n, const char *name,
                                           const char *const *rules, anemo_error *err);
void an_ini_free(an_ini *ini);

/*
 * Cut a value at `separator` (',' or ' ', which also stands for tabs) outside quotes, and take the quotes off. An empty
 * item between commas and a quote without its end are ERR_FORMAT, whose message begins with `place`. Gives a
 * NULL-terminated list of *n items: an_names_free.
 */
ANEMO_MUST_CHECK anemo_status an_ini_split(const char *value, char separator, const char *place, char ***items,
                                           size_t *n, anemo_error *err);

#endif
