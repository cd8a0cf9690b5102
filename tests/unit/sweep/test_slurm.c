/* sweep: nothing of a path or an option is read by the shell, nor by sbatch where it replaces signs. */
#include "support/test.h"

#include "base/alloc.h"
#include "drivers/driver.h"
#include "os/clock.h"
#include "os/process.h"
#include "sweep/sweep.h"

static const char *const hostile[] = {"plain",        "a b",   "it's", "\"x\"", "$(touch owned)", "`touch owned`",
                                      "a;b&c|d",      "a\nb",  "#x",   "~",     "*?[a]",          "\\",
                                      "'; exit 3; '", "$HOME", "-n",   "",      "\xC3\xA9\t!",    "a\n#!/bin/x"};

/* A shell gives the quoted word back as it was. */
static void quoted_words(void **state)
{
    (void)state;
    anemo_error err;
    for (size_t i = 0; i < AN_COUNT_OF(hostile); i++) {
        an_str script = {0};
        an_process p;
        char out[200];
        size_t n = 0;
        an_str_append(&script, "printf %s ");
        an_shell_quote(&script, hostile[i]);
        const char *argv[] = {"sh", "-c", an_str_text(&script), NULL};
        assert_ok(an_process_start(&p, argv, NULL, &err), &err);
        for (long got = 0; got >= 0 && n<sizeof out - 1; n += got> 0 ? (size_t)got : 0) {
            an_process_poll(&p, 1000000000u);
            got = an_fd_read(p.fd_out, out + n, sizeof out - 1 - n);
        }
        out[n] = '\0';
        assert_string_equal(out, hostile[i]);
        an_process_close(&p);
        an_str_free(&script);
    }
}

static an_slurm_job job_of(const char *path)
{
    return (an_slurm_job){
        .anemo = path, .manifest = path, .dir = path, .n_task = 200, .per_task = 1, .n_thread = 4, .id = "sweep-0"};
}

/* The script's one command has exactly our arguments: the shell is asked with a program that prints them. */
static void script(void **state)
{
    (void)state;
    anemo_error err;
    for (size_t i = 0; i < AN_COUNT_OF(hostile); i++) {
        an_slurm_job job = job_of(hostile[i]);
        an_str text = {0}, quoted = {0}, all = {0}, want = {0};
        an_process p;
        char out[2000];
        size_t n = 0;
        an_slurm_script(&job, &text);
        an_str_append(&quoted, "exec ");
        an_shell_quote(&quoted, hostile[i]);
        char *at = strstr(an_str_text(&text), quoted.data);
        assert_non_null(at);
        an_str_append_bytes(&all, text.data, (size_t)(at - text.data));
        an_str_append(&all, "exec printf '<%s>' ");
        an_str_append(&all, at + quoted.len);
        const char *argv[] = {"sh", "-c", all.data, NULL}, *env[] = {"SLURM_ARRAY_TASK_ID=17", NULL};
        assert_ok(an_process_start(&p, argv, env, &err), &err);
        for (long got = 0; got >= 0 && n<sizeof out - 1; n += got> 0 ? (size_t)got : 0) {
            an_process_poll(&p, 1000000000u);
            got = an_fd_read(p.fd_out, out + n, sizeof out - 1 - n);
        }
        out[n] = '\0';
        an_str_appendf(&want, "<sweep><--manifest><%s><--out><%s><--per-task><1><--cell><17>", hostile[i], hostile[i]);
        assert_string_equal(out, want.data);
        an_process_close(&p);
        an_str_free(&text);
        an_str_free(&quoted);
        an_str_free(&all);
        an_str_free(&want);
    }
}

static bool has(char **argv, const char *word)
{
    for (size_t i = 0; argv[i]; i++)
        if (!strcmp(argv[i], word)) return true;
    return false;
}

static void arguments(void **state)
{
    (void)state;
    anemo_error err;
    char *extra[] = {"--account=$(id)", "--comment=a b", NULL}, **argv;
    an_slurm_job job = job_of("/a 100%/b");
    job.partition = "p;q";
    job.extra = extra;
    job.n_extra = 2;
    job.n_parallel = 8;
    assert_ok(an_slurm_arguments(&job, "/s", &argv, &err), &err);
    assert_true(has(argv, "--array=0-199%8") && has(argv, "--requeue") && has(argv, "--exclusive") &&
                has(argv, "--hint=nomultithread"));
    assert_true(has(argv, "--output=/a 100%%/b/slurm-%A_%a.out") && has(argv, "--partition=p;q") &&
                has(argv, "--account=$(id)"));
    assert_true(has(argv, "--comment=a b") && has(argv, "/s"));
    an_argv_free(argv);
    job.shared_node = true;
    job.n_parallel = 0;
    assert_ok(an_slurm_arguments(&job, "/s", &argv, &err), &err);
    assert_true(has(argv, "--array=0-199") && has(argv, "--cpus-per-task=4") && !has(argv, "--exclusive"));
    an_argv_free(argv);
    job.dir = "/a\\b";
    assert_fails(an_slurm_arguments(&job, "/s", &argv, &err), &err, ANEMO_ERR_INVAL, "backslash");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quoted_words), cmocka_unit_test(script),
                                       cmocka_unit_test(arguments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
