/*
 * Stores made-up runs and says after each call that it is stored: writer DB NAME N_RUN [LOG]. Lines on stdout, or appended to the
 * file LOG: "begin RUN", "rep RUN CELL ORDER", "finish RUN".
 */
#include "store/made_run.h"

#include "base/json.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CELL = 3, N_REP = 6 };

static int log_fd = 1;

static void must(anemo_status status, const anemo_error *err)
{
    if (status == ANEMO_OK) return;
    fprintf(stderr, "writer: %s\n", err->message);
    exit(anemo_status_exit_code(status));
}

static void say(const char *line)
{
    size_t n = strlen(line);
    if (write(log_fd, line, n) != (ssize_t)n) exit(1);
}

static void write_run(an_store *s, const char *id, uint64_t seed)
{
    an_run run;
    anemo_error err;
    char line[100];
    int64_t order = 0;
    made_run(&run, id, N_CELL, 0, seed);
    for (int c = 0; c < N_CELL; c++) run.cells[c].status = AN_CELL_PENDING;
    must(an_store_begin(s, &run, &err), &err);
    snprintf(line, sizeof line, "begin %s\n", id);
    say(line);
    for (int r = 0; r < N_REP; r++)
        for (int c = 0; c < N_CELL; c++) {
            made_rep(&run, c, &order, seed);
            if (r + 1 == N_REP) run.cells[c].status = AN_CELL_OK;
            must(an_store_put_cell(s, &run, (size_t)c, &err), &err);
            snprintf(line, sizeof line, "rep %s %d %d\n", id, c, (int)order - 1);
            say(line);
        }
    must(an_store_finish(s, &run, &err), &err);
    snprintf(line, sizeof line, "finish %s\n", id);
    say(line);
    an_run_free(&run);
}

int main(int argc, char **argv)
{
    an_store *s;
    anemo_error err;
    if (argc < 4) return 2;
    if (argc > 4) log_fd = open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log_fd < 0) return 1;
    an_json_watch_memory();
    must(an_store_open(&s, argv[1], AN_STORE_WRITE, &err), &err);
    for (int i = 0; i < atoi(argv[3]); i++) {
        char id[32];
        snprintf(id, sizeof id, "%.20s-%d", argv[2], i);
        write_run(s, id, (uint64_t)i);
    }
    an_store_close(s);
    return 0;
}
