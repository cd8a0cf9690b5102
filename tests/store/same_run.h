/* Runs compared by their documents. */
#ifndef AN_TESTS_STORE_SAME_RUN_H
#define AN_TESTS_STORE_SAME_RUN_H

#include "support/test.h"

#include "base/alloc.h"
#include "base/json.h"
#include "record/run.h"

/* The document of a run, as one text: an_free. */
static char *text_of(const an_run *run)
{
    anemo_error err = {0};
    an_str text = {0};
    assert_ok(an_json_write(an_run_json(run), JSON_COMPACT | JSON_SORT_KEYS, &text, &err), &err);
    return an_str_take(&text);
}

static void assert_same(const an_run *a, const an_run *b)
{
    char *text_a = text_of(a), *text_b = text_of(b);
    assert_string_equal(text_a, text_b);
    an_free(text_a);
    an_free(text_b);
}

#endif
