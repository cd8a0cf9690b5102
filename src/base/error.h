/*
 * Reporting failure: every fallible function returns anemo_status and takes anemo_error *err last (may be
 * NULL). AN_TRY is the only macro that hides control flow: it sets `status` and goes to `cleanup`.
 * AN_ASSERT states our own invariants and is always on; never use it on data from outside.
 */
#ifndef AN_BASE_ERROR_H
#define AN_BASE_ERROR_H

#include "anemo/status.h"

#include <stdarg.h>

/* Fill *err with a formatted message and return `status`. A message too long is cut. */
anemo_status an_fail(anemo_error *err, anemo_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "text: " in front of the message already in *err; returns err's status. */
anemo_status an_fail_prefix(anemo_error *err, anemo_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define AN_TRY(call)                                                                               \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != ANEMO_OK) goto cleanup;                                                      \
    } while (0)

/* Print file, line and the broken invariant to stderr and abort. */
_Noreturn void an_assert_failed(const char *file, int line, const char *expr);

#define AN_ASSERT(expr) ((expr) ? (void)0 : an_assert_failed(__FILE__, __LINE__, #expr))

#define AN_COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#endif
