/* Writing a run to the results database as it grows. */
#include "cli/keeper.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

static void warn(an_keeper *k, const anemo_error *err)
{
    if (!k->behind) fprintf(stderr, "anemo %s: the result is not kept for now: %s\n", k->verb, err->message);
    k->behind = true;
}

void an_keeper_open(an_keeper *k, const char *verb, const char *path)
{
    anemo_error err;
    *k = (an_keeper){.verb = verb};
    if (an_store_open(&k->store, path, AN_STORE_WRITE, &err) == ANEMO_OK) return;
    k->store = NULL;
    fprintf(stderr, "anemo %s: the result will be shown and not kept: %s\n", verb, err.message);
}

void an_keeper_begin(an_keeper *k, const an_run *run)
{
    anemo_error err;
    if (!k->store) return;
    k->begun = an_store_begin(k->store, run, &err) == ANEMO_OK;
    if (!k->begun) warn(k, &err);
}

void an_keeper_cell(an_keeper *k, const an_run *run, size_t cell)
{
    anemo_error err;
    if (!k->store || !k->begun) return;
    if (an_store_put_cell(k->store, run, cell, &err) != ANEMO_OK) warn(k, &err);
}

bool an_keeper_finish(an_keeper *k, const an_run *run)
{
    anemo_error err;
    anemo_status status = ANEMO_OK;
    if (!k->store) return false;
    if (!k->begun) status = an_store_begin(k->store, run, &err);
    /* Whatever an earlier write left out goes in now. */
    for (size_t i = 0; i < run->n_cell && status == ANEMO_OK; i++) status = an_store_put_cell(k->store, run, i, &err);
    if (status == ANEMO_OK) status = an_store_finish(k->store, run, &err);
    if (status == ANEMO_OK) return true;
    fprintf(stderr, "anemo %s: the result could not be kept whole: %s\n", k->verb, err.message);
    return false;
}

void an_keeper_close(an_keeper *k)
{
    an_store_close(k->store);
    k->store = NULL;
}

void an_keeper_on_begun(void *ctx, const an_run *run)
{
    an_keeper_begin(ctx, run);
}

void an_keeper_on_changed(void *ctx, const an_run *run, size_t cell)
{
    an_keeper_cell(ctx, run, cell);
}

anemo_status an_keeper_describe(an_run *run, const char *command, const char *note, const an_opt_list *tags,
                                anemo_error *err)
{
    if (command && !(run->command = an_strdup(command))) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (note && !(run->note = an_strdup(note))) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < tags->n; i++) {
        anemo_status status = an_store_check_tag(tags->items[i], err);
        if (status != ANEMO_OK) return status;
        if (!run->tags) run->tags = json_array();
        if (json_array_append_new(run->tags, an_json_text(tags->items[i], strlen(tags->items[i]))) != 0)
            return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    return ANEMO_OK;
}
