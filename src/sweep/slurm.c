/* A sweep as an array of Slurm jobs: the script, and sbatch's arguments. */
#include "sweep/sweep.h"

#include "base/alloc.h"

#include <string.h>

void an_shell_quote(an_str *out, const char *text)
{
    an_str_append_char(out, '\'');
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            an_str_append(out, "'\\''");
        else
            an_str_append_char(out, *p);
    }
    an_str_append_char(out, '\'');
}

void an_slurm_script(const an_slurm_job *job, an_str *out)
{
    an_str_appendf(
        out,
        "#!/bin/sh\n"
        "# Sweep %s: %zu tasks of %zu units. Written by 'anemo sweep --slurm', which hands its options to sbatch by\n"
        "# the command line. A task whose results are there already ends at once, so requeueing does no harm.\n"
        "set -eu\n"
        "exec ",
        job->id, job->n_task, job->per_task);
    an_shell_quote(out, job->anemo);
    an_str_append(out, " sweep --manifest ");
    an_shell_quote(out, job->manifest);
    an_str_append(out, " --out ");
    an_shell_quote(out, job->dir);
    an_str_appendf(out, " --per-task %zu --cell \"$SLURM_ARRAY_TASK_ID\"\n", job->per_task);
}

/* In the name of sbatch's --output a % begins a replacement, and a backslash turns replacements off. */
static void append_output(an_str *out, const char *dir)
{
    an_str_append(out, "--output=");
    for (const char *p = dir; *p; p++) {
        if (*p == '%') an_str_append_char(out, '%');
        an_str_append_char(out, *p);
    }
    an_str_append(out, "/slurm-%A_%a.out");
}

/* The arguments so far, and room for what comes. */
typedef struct arguments {
    char **items;
    size_t n, cap;
    bool failed;
} arguments;

static void add(arguments *a, const char *text)
{
    if (a->n + 1 >= a->cap || a->failed || !(a->items[a->n] = an_strdup(text))) {
        a->failed = true;
        return;
    }
    a->n++;
}

static void addf(arguments *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void addf(arguments *a, const char *fmt, ...)
{
    an_str s = {0};
    va_list ap;
    va_start(ap, fmt);
    an_str_vappendf(&s, fmt, ap);
    va_end(ap);
    if (s.failed) a->failed = true;
    add(a, an_str_text(&s));
    an_str_free(&s);
}

anemo_status an_slurm_arguments(const an_slurm_job *job, const char *script, char ***argv, anemo_error *err)
{
    enum { OWN = 16 };
    arguments a = {.cap = job->n_extra + OWN};
    an_str output = {0};
    a.items = an_calloc(a.cap, sizeof *a.items);
    if (!a.items) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (strchr(job->dir, '\\')) {
        an_argv_free(a.items);
        return an_fail(err, ANEMO_ERR_INVAL,
                       "%s: sbatch cannot write its logs below a folder with a backslash in its name; give another "
                       "with --out",
                       job->dir);
    }
    add(&a, "sbatch");
    add(&a, "--parsable");
    if (job->n_parallel)
        addf(&a, "--array=0-%zu%%%zu", job->n_task - 1, job->n_parallel);
    else
        addf(&a, "--array=0-%zu", job->n_task - 1);
    add(&a, "--requeue");
    addf(&a, "--job-name=%s", job->id);
    append_output(&output, job->dir);
    if (output.failed) a.failed = true;
    add(&a, an_str_text(&output));
    add(&a, "--open-mode=append");
    add(&a, "--hint=nomultithread");
    add(&a, "--ntasks=1");
    if (job->shared_node)
        addf(&a, "--cpus-per-task=%d", job->n_thread);
    else
        add(&a, "--exclusive");
    if (job->partition) addf(&a, "--partition=%s", job->partition);
    for (size_t i = 0; i < job->n_extra; i++)
        add(&a, job->extra[i]);
    add(&a, script);
    an_str_free(&output);
    if (a.failed) {
        an_argv_free(a.items);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    *argv = a.items;
    return ANEMO_OK;
}
