/* The bytes of one capsule: read, and written again, which scrubs it. And any text through the scrubber. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "base/str.h"
#include "report/capsule.h"
#include "report/scrub.h"

/* Nothing grows but by the one word that hides another, and scrubbing twice is scrubbing once. */
static void use_text(const char *text, bool paths)
{
    an_str once = {0}, twice = {0};
    an_scrub(text, paths, &once);
    if (once.len > 8 * strlen(text) + 8) abort();
    an_scrub(an_str_text(&once), paths, &twice);
    if (strcmp(an_str_text(&once), an_str_text(&twice)) != 0) abort();
    an_str_free(&once);
    an_str_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_capsule c;
    char *text = malloc(size + 1);
    if (!text) abort();
    memcpy(text, data, size);
    text[size] = '\0';
    use_text(text, false);
    use_text(text, true);
    if (an_capsule_read(&c, text, size, "fuzz", &err) == ANEMO_OK) {
        an_str out = {0};
        an_capsule again;
        if (an_capsule_write(&c.run, c.sha256, size % 2, &out, &err) != ANEMO_OK) abort();
        if (an_capsule_read(&again, out.data, out.len, "again", &err) != ANEMO_OK) abort();
        if (again.run.n_cell != c.run.n_cell) abort();
        an_capsule_free(&again);
        an_str_free(&out);
        an_capsule_free(&c);
    } else if (!err.message[0]) {
        abort();
    }
    free(text);
    return 0;
}
