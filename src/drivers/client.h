/* The insides of a client, shared by client.c and the conformance test. */
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
    const an_generate_request *watched; /* whose on_wait is called while its answer is waited for; NULL */
    bool dead; /* it ended or was ended; dead_reason completes "the worker …" */
    anemo_status dead_status;
    char dead_reason[400];
    char stderr_text[AN_STDERR_KEEP + 1];
    size_t n_stderr;
};

#endif
