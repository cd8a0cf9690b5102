/* The insides of a client, shared by the files that make its requests. */
#ifndef AN_DRIVERS_CLIENT_H
#define AN_DRIVERS_CLIENT_H

#include "drivers/driver.h"
#include "drivers/lines.h"
#include "os/process.h"

enum { AN_STDERR_KEEP = 4096 };

struct an_client {
    an_process process;
    an_hello hello;
    an_lines lines;
    char name[64]; /* the driver's own name once it has said hello */
    uint64_t timeout_ns;
    uint64_t arrival_ns; /* when the bytes read last arrived */
    json_int_t last_id;
    int n_vocab;
    an_load_result loaded; /* of its last load */
    char *tag;             /* the caller's; NULL */
    const an_generate_request *watched; /* whose on_wait is called while its answer is waited for; NULL */
    bool dead; /* it ended or was ended; dead_reason completes "the worker …" */
    anemo_status dead_status;
    char dead_reason[400];
    char stderr_text[AN_STDERR_KEEP + 1];
    size_t n_stderr;
};

/* Send one message (stolen) while keeping the worker's pipes drained. */
ANEMO_MUST_CHECK anemo_status an_client_send(an_client *c, json_t *message, anemo_error *err);

/*
 * The next message of request `id` with one of `types` (NULL-terminated); an error message becomes a
 * failure. `stop` may be NULL; when it becomes non-zero, *stopped is set and *out stays as it was.
 * Gives *out: json_decref.
 */
ANEMO_MUST_CHECK anemo_status an_client_expect(an_client *c, json_int_t id, const char *const *types,
                                               const volatile int *stop, bool *stopped,
                                               uint64_t limit_ns, json_t **out, anemo_error *err);

/* Ask the running request to end; a driver that cannot be asked is ended: ERR_INTERRUPTED. */
ANEMO_MUST_CHECK anemo_status an_client_cancel(an_client *c, json_int_t id, anemo_error *err);

/* The worker broke the protocol or the limit: end it, and say so. `what` completes "the worker …". */
anemo_status an_client_fail_kill(an_client *c, anemo_status status, const char *what, anemo_error *err);

/* What every call after a worker's end says. */
anemo_status an_client_fail_dead(const an_client *c, anemo_error *err);

#endif
